// Joins policy's loop to the tables, the kernel and the flows, where policy is enforced.

import type { Ground } from './ground.ts'
import { PolicyLoop } from './policy-loop.ts'

export function startPolicy({
  config,
  datapath,
  sources,
  policySources,
  events,
  log,
}: Pick<Ground, 'config' | 'datapath' | 'sources' | 'policySources' | 'events' | 'log'>):
  | PolicyLoop
  | undefined {
  const { policy: maps } = datapath
  if (maps === undefined || policySources === undefined) return undefined
  const { services, slices, nodes } = sources
  return new PolicyLoop({
    node: config.nodeName,
    tables: { services, slices, nodes, policy: policySources },
    maps,
    limits: datapath.policyLimits,
    existingConnections: config.policy.existingConnections,
    events,
    log,
  })
}
