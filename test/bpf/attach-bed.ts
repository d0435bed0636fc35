// A network namespace and a place for pins, in which devices get programs. Both go with the test, and with the next one if it was killed.

import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import type { Test } from 'tap'
import { withNetworkNamespace } from '../../src/sys/libc/namespaces.ts'
import { deleteOrphans } from './orphans.ts'

deleteOrphans('bpf')

export function attachBed(test: Test, name: string) {
  const namespace = `weir-t${process.pid}-${name}`
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
