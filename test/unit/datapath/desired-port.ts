// A Service port as the planner wants it, short: TCP port 80 to pods 10.244.1.x:8080.

import { address } from '../../../src/model/address.ts'
import type { ObjectKey } from '../../../src/model/service.ts'
import { type DesiredBackend, type DesiredPort, makeBackend } from '../../../src/services/desired.ts'

export const backend = (last: number, more: Partial<DesiredBackend> = {}): DesiredBackend =>
  makeBackend({
    address: address(`10.244.1.${last}`),
    port: 8080,
    protocol: 'TCP',
    nodeName: 'a',
    state: 'active',
    weight: 1,
    ...more,
  })

export const desiredPort = (
  service: ObjectKey,
  frontends: DesiredPort['frontends'],
  backends: readonly DesiredBackend[],
  more: Partial<DesiredPort> = {},
): DesiredPort => ({
  id: `${service} 80/TCP ipv4`,
  service,
  family: 'ipv4',
  portName: `${service} 80/TCP`,
  balancing: 'list',
  isRandom: false,
  forwarding: 'dsr',
  sourceRanges: [],
  frontends,
  backends,
  cluster: backends.map((_, index) => index),
  local: [],
  anyEndpoint: backends.length > 0,
  externalLocal: false,
  internalLocal: false,
  affinitySeconds: 0,
  createdMs: 1,
  ...more,
})
