// Rows of `noted_netns`: network namespaces of pods that met a closed default, for the agent to look at.

import type { KernelHash, NotedNetnsValue } from './kernel-tables.ts'

export interface NotedNetns {
  readonly cookie: bigint
  /** One of them is its pod's, or none that is there any more. */
  readonly cgroups: NotedNetnsValue
}

/** Takes all of them out: who is met again is noted again. */
export function takeNotedNetns(
  table: Pick<KernelHash<bigint, NotedNetnsValue>, 'entries' | 'delete'>,
): readonly NotedNetns[] {
  const noted = [...table.entries()].map(([cookie, cgroups]) => ({ cookie, cgroups }))
  for (const { cookie } of noted) table.delete(cookie)
  return noted
}
