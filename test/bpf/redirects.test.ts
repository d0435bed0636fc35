// A node whose uplinks are veths: the program never answers XDP_TX, and what it redirects into the device it came in by
// arrives at a peer that has NAPI (GRO on) but no XDP program. With XDP_TX such frames can rest in the peer's queue.

import { execFileSync, spawnSync } from 'node:child_process'
import t, { type Test } from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import type { Family } from '../../src/model/address.ts'
import { attachXdp } from '../../src/sys/libbpf-ts/index.ts'
import { withNetworkNamespace } from '../../src/sys/libc/namespaces.ts'
import { Netlink } from '../../src/sys/node-netlink/netlink.ts'
import { runUplink } from './check.ts'
import { deleteOrphans } from './orphans.ts'
import { type Frame, TCP, UDP } from './packet.ts'
import { arriving } from './tunnel.ts'
import { World, XDP } from './world.ts'

const world = new World('redirects', true)
const usual = new World('redirects-tx')
t.teardown(() => {
  world.close()
  usual.close()
})
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

/** Everything that goes back by the device it came in by. */
function returned(family: Family, protocol: number): Record<string, Frame> {
  const to = (port: number) => world.request(family, protocol, port)
  const echo = family === 'ipv4' ? 8 : 128
  return {
    'no endpoint': to(90),
    'undefined port': to(7777),
    'last hop': to(81).ttl(1),
    'too big for the pod': to(81).payload(1500),
    'too big for the tunnel': to(80).payload(2000),
    'another protocol': to(80).body(47, Buffer.alloc(16)),
    ping: to(0).icmp(echo, 0, Buffer.alloc(32)),
  }
}

for (const family of ['ipv4', 'ipv6'] as const)
  for (const protocol of [TCP, UDP])
    t.test(`${family} ${protocol === TCP ? 'TCP' : 'UDP'}: nothing leaves by XDP_TX`, async (t) => {
      for (const [name, sent] of Object.entries(returned(family, protocol))) {
        const [redirected, transmitted] = [runUplink(world, sent.bytes()), runUplink(usual, sent.bytes())]
        t.equal(transmitted.returnValue, XDP.TX, `${name}: XDP_TX elsewhere`)
        t.equal(redirected.returnValue, XDP.REDIRECT, name)
        t.equal(hex(redirected.dataOut), hex(transmitted.dataOut), `${name}: the same bytes`)
      }
      const tunnelled = runUplink(world, world.request(family, protocol, 80).bytes())
      t.equal(tunnelled.returnValue, XDP.REDIRECT, 'tunnelled by the uplink it came in by')
      t.equal(runUplink(usual, world.request(family, protocol, 80).bytes()).returnValue, XDP.TX)
    })

for (const family of ['ipv4', 'ipv6'] as const)
  for (const protocol of [TCP, UDP])
    t.test(
      `${family} ${protocol === TCP ? 'TCP' : 'UDP'}: unfinished checksums are left to tc`,
      async (t) => {
        for (const port of [80, 81, 90]) {
          const sent = world.request(family, protocol, port).unfinished()
          for (const frame of [sent, sent.tagged(7), arriving(world, sent, family)]) {
            const { returnValue, dataOut } = runUplink(world, frame.bytes())
            t.equal(returnValue, XDP.PASS)
            t.equal(hex(dataOut), hex(frame.bytes()))
          }
          t.not(runUplink(usual, sent.bytes()).returnValue, XDP.PASS, 'a wire brings none')
        }
        const inside = arriving(world, world.request(family, protocol, 81), family)
        t.equal(runUplink(world, inside.bytes()).returnValue, XDP.REDIRECT)
      },
    )

deleteOrphans('bpf')

const NODE_MAC = '02:00:00:00:00:01'
const ATTEMPTS = 200
const ip = (...args: string[]) => execFileSync('ip', args, { encoding: 'utf8' })

/** The node's uplink in one namespace, the client that stands for its router in another. */
async function makeVeth(test: Test): Promise<{ node: string; ifindex: number; client: string }> {
  const [node, client] = [`weir-t${process.pid}-node`, `weir-t${process.pid}-client`]
  for (const name of [node, client]) {
    ip('netns', 'add', name)
    test.teardown(() => ip('netns', 'delete', name))
  }
  ip('-n', node, 'link', 'add', 'up0', 'address', NODE_MAC, 'type', 'veth', 'peer', 'eth0', 'netns', client)
  ip('-n', node, 'link', 'set', 'up0', 'up')
  ip('-n', client, 'link', 'set', 'eth0', 'up')
  for (const family of ['ipv4', 'ipv6'] as const) {
    const { client: address, vip } = world.cast(family)
    ip(
      '-n',
      client,
      'address',
      'add',
      `${address}/32`,
      'dev',
      'eth0',
      ...(family === 'ipv6' ? ['nodad'] : []),
    )
    const prefix = family === 'ipv4' ? '/32' : '/128'
    ip('-n', client, 'route', 'add', `${vip}${prefix}`, 'dev', 'eth0')
    ip('-n', client, 'neighbour', 'add', vip, 'lladdr', NODE_MAC, 'dev', 'eth0', 'nud', 'permanent')
  }
  for (const [offload, state] of [
    ['tx', 'off'],
    ['gro', 'on'],
  ] as const)
    execFileSync('nsenter', [`--net=/run/netns/${client}`, 'ethtool', '-K', 'eth0', offload, state])
  const netlink = new Netlink({ namespacePath: `/run/netns/${node}` })
  const link = await netlink.links.get('up0')
  netlink.close()
  return { node, ifindex: link?.index ?? 0, client }
}

t.test('over a real veth every refusal and every ping comes back', async (t) => {
  const { node, ifindex, client } = await makeVeth(t)
  const link = withNetworkNamespace(`/run/netns/${node}`, () =>
    attachXdp(world.datapath.uplink.xdp, ifindex, 'native'),
  )
  t.teardown(() => link.close())
  const inside = (...args: string[]) =>
    spawnSync('nsenter', [`--net=/run/netns/${client}`, ...args], { encoding: 'utf8', timeout: 60_000 })
  for (const family of ['ipv4', 'ipv6'] as const) {
    const { vip } = world.cast(family)
    const pinged = inside('ping', '-n', '-q', '-c', String(ATTEMPTS), '-i', '0.002', '-W', '5', vip)
    t.match(
      pinged.stdout,
      new RegExp(`${ATTEMPTS} packets transmitted, ${ATTEMPTS} received`),
      `${family} ping`,
    )
    // One at a time: nothing that follows may be what wakes the receiver.
    const before = retransmissions(inside)
    const connect = `for ((i = 0; i < ${ATTEMPTS}; i++)); do : <>/dev/tcp/${vip}/90; done`
    const refused = inside('bash', '-c', connect)
    t.equal(
      (refused.stderr.match(/connect: Connection refused/g) ?? []).length,
      ATTEMPTS,
      `${family} connections refused`,
    )
    t.equal(retransmissions(inside) - before, 0, `${family}: at the first SYN`)
  }
  t.ok((world.metrics().get(abi.VerdictReason.REASON_ECHO) ?? 0) >= 2 * ATTEMPTS)
})

/** TCP segments sent more than once in the client's namespace. */
function retransmissions(inside: (...args: string[]) => { stdout: string }): number {
  const lines = inside('cat', '/proc/net/snmp')
    .stdout.split('\n')
    .filter((line) => line.startsWith('Tcp:'))
  const [names = [], values = []] = lines.map((line) => line.split(' '))
  return Number(values[names.indexOf('RetransSegs')])
}
