// A Service as the agent's tables hold it, of which a benchmark says what matters to it; tests build on it too (test/unit/model/rows.ts).

import type { ObjectKey, Service } from '../../src/model/service.ts'

export function serviceRow(
  key: ObjectKey,
  said: Pick<Service, 'clusterIps' | 'loadBalancerIps' | 'ports'> & Partial<Service>,
): Service {
  return {
    key,
    uid: key,
    labels: {},
    externalIps: [],
    statusIps: [],
    sourceRanges: [],
    externalTrafficPolicy: 'Cluster',
    internalTrafficPolicy: 'Cluster',
    healthCheckNodePort: 0,
    affinitySeconds: 0,
    forwarding: undefined,
    balancing: 'maglev',
    topologyForExternal: false,
    announcing: undefined,
    loadBalancerFamilies: [],
    isForeignBalancer: false,
    addressWish: undefined,
    addressCondition: undefined,
    refusalCondition: undefined,
    createdMs: 0,
    problems: [],
    ...said,
  }
}
