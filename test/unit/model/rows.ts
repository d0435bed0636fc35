// Model rows for tests: everything defaulted, so that a case names only what it is about.

import { serviceRow as plainService } from '../../../bench/bed/service-row.ts'
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
  return plainService(objectKey('shop', 'web'), {
    uid: 'uid-web',
    clusterIps: [address('10.96.0.10')],
    loadBalancerIps: [],
    ports: [{ name: 'http', protocol: 'TCP', port: 80, nodePort: 0 }],
    createdMs: 1,
    ...overrides,
  })
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
