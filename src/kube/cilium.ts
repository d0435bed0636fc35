// Cilium's BGP kinds (cilium.io/v2) → our model. Their CRDs' schema has checked them; absent fields have the defaults written there.

import type {
  CiliumAddressPool,
  CiliumAdvertisement,
  CiliumClusterConfig,
  CiliumNodeOverride,
  CiliumObject,
  CiliumPeerConfig,
} from '../model/cilium.ts'
import { type SelectorSource, toSelector } from '../model/label-selector.ts'
import type { ApiObject, Condition, Resource } from './objects.ts'

interface WithConditions extends ApiObject {
  status?: { conditions?: Condition[] }
}

export interface BgpClusterConfig extends WithConditions {
  spec?: {
    nodeSelector?: SelectorSource
    bgpInstances?: {
      name: string
      localASN?: number
      localPort?: number
      peers?: {
        name: string
        peerAddress?: string
        peerASN?: number
        autoDiscovery?: { mode?: string }
        peerConfigRef?: { name: string }
      }[]
    }[]
  }
}

export interface BgpPeerConfig extends WithConditions {
  spec?: {
    transport?: { peerPort?: number; sourceInterface?: string }
    timers?: { connectRetryTimeSeconds?: number; holdTimeSeconds?: number; keepAliveTimeSeconds?: number }
    authSecretRef?: string
    gracefulRestart?: { enabled?: boolean; restartTimeSeconds?: number }
    ebgpMultihop?: number
    families?: { afi: string; safi: string; advertisements?: SelectorSource }[]
  }
}

export interface BgpAdvertisement extends ApiObject {
  spec?: {
    advertisements?: {
      advertisementType: string
      selector?: SelectorSource
      service?: { addresses?: string[]; aggregationLengthIPv4?: number; aggregationLengthIPv6?: number }
      interface?: { name?: string }
      attributes?: {
        communities?: { standard?: string[]; wellKnown?: string[]; large?: string[] }
        localPreference?: number
      }
    }[]
  }
}

export interface BgpNodeConfigOverride extends ApiObject {
  spec?: {
    bgpInstances?: {
      name: string
      routerID?: string
      localPort?: number
      localASN?: number
      peers?: { name: string; localAddress?: string; localPort?: number }[]
    }[]
  }
}

export interface LoadBalancerIpPool extends WithConditions {
  spec?: {
    blocks?: { cidr?: string; start?: string; stop?: string }[]
    serviceSelector?: SelectorSource
    allowFirstLastIPs?: 'Yes' | 'No'
    disabled?: boolean
  }
}

const kind = (plural: string, name: string) => ({
  group: 'cilium.io',
  version: 'v2',
  plural,
  kind: name,
  namespaced: false,
})

export const BGP_CLUSTER_CONFIGS: Resource<BgpClusterConfig> = kind(
  'ciliumbgpclusterconfigs',
  'CiliumBGPClusterConfig',
)
export const BGP_PEER_CONFIGS: Resource<BgpPeerConfig> = kind('ciliumbgppeerconfigs', 'CiliumBGPPeerConfig')
export const BGP_ADVERTISEMENTS: Resource<BgpAdvertisement> = kind(
  'ciliumbgpadvertisements',
  'CiliumBGPAdvertisement',
)
export const BGP_NODE_CONFIG_OVERRIDES: Resource<BgpNodeConfigOverride> = kind(
  'ciliumbgpnodeconfigoverrides',
  'CiliumBGPNodeConfigOverride',
)

export const LOAD_BALANCER_IP_POOLS: Resource<LoadBalancerIpPool> = kind(
  'ciliumloadbalancerippools',
  'CiliumLoadBalancerIPPool',
)

function commonOf({ metadata, status }: WithConditions): CiliumObject {
  return {
    name: metadata.name ?? '',
    uid: metadata.uid ?? '',
    generation: metadata.generation ?? 0,
    createdMs: Date.parse(metadata.creationTimestamp ?? '') || 0,
    conditions: (status?.conditions ?? []).map((one) => ({
      type: one.type,
      status: one.status,
      reason: one.reason ?? '',
      message: one.message ?? '',
      lastTransitionTime: one.lastTransitionTime ?? '',
      observedGeneration: one.observedGeneration ?? 0,
    })),
  }
}

export function toClusterConfig(object: BgpClusterConfig): CiliumClusterConfig {
  const { nodeSelector, bgpInstances = [] } = object.spec ?? {}
  return {
    ...commonOf(object),
    nodeSelector: nodeSelector && toSelector(nodeSelector),
    instances: bgpInstances.map(({ name, localASN, localPort, peers = [] }) => ({
      name,
      localAsn: localASN,
      localPort,
      peers: peers.map((peer) => ({
        name: peer.name,
        address: peer.peerAddress,
        asn: peer.peerASN ?? 0,
        autoDiscovery: peer.autoDiscovery?.mode,
        peerConfig: peer.peerConfigRef?.name,
      })),
    })),
  }
}

const PORT_DEFAULT = 179
const CONNECT_RETRY_DEFAULT_SECONDS = 120
const HOLD_DEFAULT_SECONDS = 90
const KEEPALIVE_DEFAULT_SECONDS = 30
const RESTART_DEFAULT_SECONDS = 120

export function toPeerConfig(object: BgpPeerConfig): CiliumPeerConfig {
  const { transport, timers, authSecretRef, gracefulRestart, ebgpMultihop, families } = object.spec ?? {}
  return {
    ...commonOf(object),
    port: transport?.peerPort ?? PORT_DEFAULT,
    sourceInterface: transport?.sourceInterface,
    connectRetrySeconds: timers?.connectRetryTimeSeconds ?? CONNECT_RETRY_DEFAULT_SECONDS,
    holdSeconds: timers?.holdTimeSeconds ?? HOLD_DEFAULT_SECONDS,
    keepaliveSeconds: timers?.keepAliveTimeSeconds ?? KEEPALIVE_DEFAULT_SECONDS,
    authSecret: authSecretRef || undefined,
    restartSeconds:
      gracefulRestart?.enabled === true
        ? (gracefulRestart.restartTimeSeconds ?? RESTART_DEFAULT_SECONDS)
        : undefined,
    multihop: ebgpMultihop ?? 1,
    families: (families ?? UNICAST).map(({ afi, safi, advertisements }) => ({
      afi,
      safi,
      advertisements: advertisements && toSelector(advertisements),
    })),
  }
}

/** Sessions carry both, and nothing is advertised. */
const UNICAST: NonNullable<NonNullable<BgpPeerConfig['spec']>['families']> = [
  { afi: 'ipv4', safi: 'unicast' },
  { afi: 'ipv6', safi: 'unicast' },
]

export function toAdvertisement(object: BgpAdvertisement): CiliumAdvertisement {
  return {
    ...commonOf(object),
    labels: object.metadata.labels ?? {},
    rows: (object.spec?.advertisements ?? []).map(
      ({ advertisementType, selector, service, interface: device, attributes }) => {
        const { standard = [], wellKnown = [], large = [] } = attributes?.communities ?? {}
        return {
          type: advertisementType,
          selector: selector && toSelector(selector),
          addresses: service?.addresses ?? [],
          aggregates:
            service?.aggregationLengthIPv4 !== undefined || service?.aggregationLengthIPv6 !== undefined,
          interface: device?.name,
          communities: [...standard, ...wellKnown, ...large],
          localPref: attributes?.localPreference,
        }
      },
    ),
  }
}

export function toNodeOverride(object: BgpNodeConfigOverride): CiliumNodeOverride {
  return {
    ...commonOf(object),
    instances: (object.spec?.bgpInstances ?? []).map(
      ({ name, routerID, localPort, localASN, peers = [] }) => ({
        name,
        routerId: routerID,
        localPort,
        localAsn: localASN,
        peers: peers.map(({ name: peer, localAddress, localPort: port }) => ({
          name: peer,
          localAddress,
          localPort: port,
        })),
      }),
    ),
  }
}

/** `allowFirstLastIPs` is Yes unless it says No. */
export function toAddressPool(object: LoadBalancerIpPool): CiliumAddressPool {
  const { blocks = [], serviceSelector, allowFirstLastIPs, disabled } = object.spec ?? {}
  return {
    ...commonOf(object),
    blocks: blocks.map(({ cidr, start, stop }) => ({ cidr, start, stop })),
    selector: serviceSelector && toSelector(serviceSelector),
    isDisabled: disabled ?? false,
    allowsFirstLast: allowFirstLastIPs !== 'No',
  }
}
