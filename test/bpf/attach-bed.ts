// A network namespace and a place for pins, in which devices get programs. Both go with the test, and with the next one if it was killed.

import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import type { Test } from 'tap'
import { withNetworkNamespace } from '../../src/sys/libc/namespaces.ts'

for (const name of existsSync('/run/netns') ? readdirSync('/run/netns') : []) {
  const owner = /^bpf-(\d+)-/.exec(name)?.[1]
  if (owner && !existsSync(`/proc/${owner}`)) spawnSync('ip', ['netns', 'delete', name])
}

export function attachBed(test: Test, name: string) {
  const namespace = `bpf-${process.pid}-${name}`
  const bpffs = `/sys/fs/bpf/weir-test-${name}-${process.pid}`
  execFileSync('ip', ['netns', 'add', namespace])
  test.teardown(() => {
    execFileSync('ip', ['netns', 'delete', namespace])
    rmSync(bpffs, { recursive: true, force: true })
  })
  return {
    bpffs,
    /** In the namespace. */
    ip: (...args: readonly string[]) => execFileSync('ip', ['-n', namespace, ...args]),
    inside: <T>(action: () => T): T => withNetworkNamespace(`/run/netns/${namespace}`, action),
  }
}
