// Model rows for tests: everything defaulted, so that a case names only what it is about.

import { address } from '../../../src/model/address.ts'
import {
  type Endpoint,
  type EndpointSlice,
  type LocalPod,
  type Node,
  objectKey,
  type Service,
} from '../../../src/model/service.ts'

export function serviceRow(overrides: Partial<Service> = {}): Service {
  return {
    key: objectKey('shop', 'web'),
    uid: 'uid-web',
    labels: {},
    clusterIps: [address('10.96.0.10')],
    externalIps: [],
    loadBalancerIps: [],
    statusIps: [],
    ports: [{ name: 'http', protocol: 'TCP', port: 80, nodePort: 0 }],
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
    createdMs: 1,
    problems: [],
    ...overrides,
  }
}

export function endpointRow(text: string, overrides: Partial<Endpoint> = {}): Endpoint {
  return {
    address: address(text),
    nodeName: undefined,
    ready: true,
    serving: true,
    terminating: false,
    forZones: [],
    forNodes: [],
    ...overrides,
  }
}

/** A slice of the Service that `serviceRow` makes. */
export function sliceRow(name: string, overrides: Partial<EndpointSlice> = {}): EndpointSlice {
  return {
    key: objectKey('shop', name),
    uid: `uid-${name}`,
    service: objectKey('shop', 'web'),
    family: 'ipv4',
    ports: [{ name: 'http', protocol: 'TCP', port: 8080 }],
    endpoints: [],
    weight: 1,
    triggeredAtMs: undefined,
    problems: [],
    ...overrides,
  }
}

export function nodeRow(name: string, overrides: Partial<Node> = {}): Node {
  return {
    name,
    uid: `uid-${name}`,
    labels: {},
    annotations: {},
    internalIps: {},
    addresses: Object.values(overrides.internalIps ?? {}),
    podCidrs: [],
    zone: undefined,
    isLeaving: false,
    isCordoned: false,
    asksToDrain: false,
    ...overrides,
  }
}

export function podRow(name: string, overrides: Partial<LocalPod> = {}): LocalPod {
  return {
    key: objectKey('shop', name),
    uid: `uid-${name}`,
    addresses: [],
    isHostNetwork: false,
    hostPorts: [],
    isRunning: true,
    createdMs: 1,
    ...overrides,
  }
}
