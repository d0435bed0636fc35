// Network namespaces for a test, gone when it ends, whatever its outcome.

import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import type { Test } from 'tap'
import { Netlink } from '../../../../src/sys/node-netlink/netlink.ts'

let count = 0

// A test that was killed could not tidy up; the next one does, by the process id in the name. Several may try
// at once, so a failure means nothing.
for (const name of existsSync('/run/netns') ? readdirSync('/run/netns') : []) {
  const owner = /^(?:netlink|libc)-(\d+)/.exec(name)?.[1]
  if (owner && !existsSync(`/proc/${owner}`)) spawnSync('ip', ['netns', 'delete', name])
}

/** A fresh namespace with loopback up, and a connection into it. Deleting it deletes every link inside. */
export function makeNamespace(t: Test): { netlink: Netlink; path: string; name: string } {
  const name = `weir-t${process.pid}-netlink-${count++}`
  execFileSync('ip', ['netns', 'add', name])
  t.teardown(() => execFileSync('ip', ['netns', 'delete', name]))
  execFileSync('ip', ['-n', name, 'link', 'set', 'lo', 'up'])
  const path = `/run/netns/${name}`
  const netlink = new Netlink({ namespacePath: path })
  t.teardown(() => netlink.close())
  return { netlink, path, name }
}

/** A veth `near`–`far` inside, both up, `near` with an address of each family. Returns near's index. */
export async function makeVeth(netlink: Netlink): Promise<number> {
  await netlink.links.create({ kind: 'veth', name: 'near', isUp: true, peer: { name: 'far' } })
  await netlink.links.change('far', { isUp: true })
  const index = (await netlink.links.get('near'))?.index ?? 0
  await netlink.addresses.add({ index, address: '10.9.0.1/24' })
  await netlink.addresses.add({ index, address: 'fd09::1/64', skipDuplicateDetection: true })
  return index
}
