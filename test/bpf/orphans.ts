// A test that was killed leaves its namespaces to the next one.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { listNamespaces } from '../../src/sandbox/host.ts'

/** @param prefix of names that go on with the process's number */
export function deleteOrphans(prefix: string): void {
  for (const name of listNamespaces()) {
    const [, of, owner] = /^(\w+)-(\d+)-/.exec(name) ?? []
    if (of === prefix && !existsSync(`/proc/${owner}`)) spawnSync('ip', ['netns', 'delete', name])
  }
}
