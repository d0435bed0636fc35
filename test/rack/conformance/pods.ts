// Pods that tests of several nodes have in common.

import type { Bed } from './bed.ts'
import { type PodPlace, pod } from './manifests.ts'

/** One of these (`p1`, `p2`, …) on the node of its number, and `caller` on the first node; all of them serve when it resolves. */
export async function podsByNode(
  bed: Bed,
  names: readonly string[],
): Promise<ReadonlyMap<string, Required<PodPlace>>> {
  const nodeOf = (name: string) => `node${name.slice(1)}`
  await bed.apply(
    ...names.map((name) => pod(name, { node: nodeOf(name), labels: { app: 'p' } })),
    pod('caller', { node: 'node1' }),
  )
  await bed.waitForPods('app in (p, caller)')
  const places = new Map<string, Required<PodPlace>>()
  for (const name of names) places.set(name, { addresses: await bed.podAddresses(name), node: nodeOf(name) })
  return places
}
