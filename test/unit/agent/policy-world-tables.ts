// The tables that policy is made of, empty.

import type { PolicyWorldTables } from '../../../src/agent/policy-world.ts'
import { unservedTables } from '../../../src/agent/sources.ts'
import type { PolicyObject } from '../../../src/kube/policies/resources.ts'
import type { PolicyPod, PolicyWorld } from '../../../src/model/policy.ts'
import type { EndpointSlice, Node, Service } from '../../../src/model/service.ts'
import { equalRows } from '../../../src/tables/equal-rows.ts'
import { Table } from '../../../src/tables/table.ts'

export function tables() {
  const table = <Row>(name: string) => new Table<Row>({ name, equals: equalRows })
  const policy = {
    objects: {
      NetworkPolicy: table<PolicyObject>('a'),
      ClusterNetworkPolicy: table<PolicyObject>('b'),
      CiliumNetworkPolicy: table<PolicyObject>('c'),
      CiliumClusterwideNetworkPolicy: table<PolicyObject>('d'),
    },
    pods: table<PolicyPod>('pods'),
    namespaces: table<Readonly<Record<string, string>>>('namespaces'),
    networkGroups: table<PolicyWorld['networkGroups'][number]>('groups'),
  }
  return {
    services: table<Service>('services'),
    slices: new Table<EndpointSlice>({ name: 'slices', indexes: { service: ({ service }) => [service] } }),
    unserved: unservedTables(),
    nodes: table<Node>('nodes'),
    policy,
  } satisfies PolicyWorldTables
}
