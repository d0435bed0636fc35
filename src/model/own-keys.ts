// Every key under our own prefix that is read from users' objects, by the kind of object it belongs on. What is under the prefix and not here is
// a slip or another version's: it is told of, with the key that was probably meant. Pure.

import { nearMatches } from './near-matches.ts'

export const OWN_PREFIX = 'weir.network/'

export const SERVICE_KEYS = {
  forwarding: 'weir.network/forwarding',
  balancing: 'weir.network/balancing',
  topologyForExternal: 'weir.network/topology-for-external',
  loadBalancerIps: 'weir.network/load-balancer-ips',
  addressPool: 'weir.network/address-pool',
  sharingKey: 'weir.network/sharing-key',
  sharingCrossNamespace: 'weir.network/sharing-cross-namespace',
  communities: 'weir.network/bgp-communities',
  localPref: 'weir.network/bgp-local-pref',
  med: 'weir.network/bgp-med',
  prepend: 'weir.network/bgp-prepend',
  peers: 'weir.network/bgp-peers',
  withoutEndpoints: 'weir.network/bgp-without-endpoints',
} as const

/** Without these a route would go out as one that its author did not mean: to others, or with another preference. */
export const ROUTE_KEYS: readonly string[] = [
  SERVICE_KEYS.communities,
  SERVICE_KEYS.localPref,
  SERVICE_KEYS.med,
  SERVICE_KEYS.prepend,
  SERVICE_KEYS.peers,
]

export const SLICE_KEYS = { weight: 'weir.network/weight' } as const

export const POLICY_KEYS = {
  mode: 'weir.network/policy-mode',
  existingConnections: 'weir.network/existing-connections',
} as const

export const NODE_KEYS = {
  /** Set where `weir drain` did the cordoning, so that `weir undrain` ends no cordon of somebody else. */
  cordonedByDrain: 'weir.network/cordoned-by-drain',
} as const

/** A label or a taint of a Node. */
export const DRAIN_KEY = 'weir.network/drain'

export type Place =
  | 'an annotation of a Service'
  | 'an annotation of an EndpointSlice'
  | 'an annotation of a policy'
  | 'an annotation of a Node'
  | 'a label or taint of a Node'

const PLACES: Readonly<Record<Place, readonly string[]>> = {
  'an annotation of a Service': Object.values(SERVICE_KEYS),
  'an annotation of an EndpointSlice': Object.values(SLICE_KEYS),
  'an annotation of a policy': Object.values(POLICY_KEYS),
  'an annotation of a Node': Object.values(NODE_KEYS),
  'a label or taint of a Node': [DRAIN_KEY],
}

export interface UnknownKey {
  readonly key: string
  readonly value: string
  /** What is wrong with it, and what was meant. */
  readonly why: string
  /** Of this place; undefined: none comes near. */
  readonly near: string | undefined
  /** It is a key of ours, on an object of the wrong kind. */
  readonly isElsewhere: boolean
}

/** The keys under our prefix that nobody follows there. */
export function unknownKeys(given: Readonly<Record<string, string>> | undefined, place: Place): UnknownKey[] {
  const found: UnknownKey[] = []
  for (const key in given) {
    if (!key.startsWith(OWN_PREFIX) || PLACES[place].includes(key)) continue
    const elsewhere = (Object.keys(PLACES) as Place[]).find((other) => PLACES[other].includes(key))
    const near = elsewhere === undefined ? nearKey(key, PLACES[place]) : undefined
    const hint = near === undefined ? '' : ` (did you mean '${near}'?)`
    const why =
      elsewhere === undefined
        ? `is not followed: there is no such key${hint}`
        : `is not followed here: it is ${elsewhere}`
    found.push({ key, value: given[key] ?? '', why, near, isElsewhere: elsewhere !== undefined })
  }
  return found
}

function nearKey(key: string, known: readonly string[]): string | undefined {
  const names = known.map((one) => one.slice(OWN_PREFIX.length))
  const [near] = nearMatches(key.slice(OWN_PREFIX.length), names, 1)
  return near === undefined ? undefined : `${OWN_PREFIX}${near}`
}
