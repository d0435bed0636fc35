// What tests of routing are made of, everything defaulted.

import {
  type Address,
  address,
  FAMILIES,
  type Family,
  type Prefix,
  parsePrefix,
} from '../../../src/model/address.ts'
import {
  type AnnounceRule,
  type BgpPeer,
  DEFAULT_RULES,
  GATES_DEFAULT,
  NO_ATTRIBUTES,
  type RouteAttributes,
} from '../../../src/model/routing.ts'
import { objectKey, type ServiceAnnouncing } from '../../../src/model/service.ts'
import type { RulesOfRouting } from '../../../src/routing/exports.ts'
import type { VipContext } from '../../../src/routing/plan-announcements.ts'
import type { NodeState, VipFact } from '../../../src/routing/vip-gates.ts'

export function cidr(text: string): Prefix {
  const parsed = parsePrefix(text)
  if (parsed === undefined) throw new TypeError(`not a prefix: ${text}`)
  return parsed
}

export function peer(name: string, overrides: Partial<BgpPeer> = {}): BgpPeer {
  return {
    name,
    source: 'test',
    remote: { kind: 'address', address: address('198.51.100.1') },
    asn: 'external',
    port: 179,
    families: FAMILIES,
    timers: { holdSeconds: 9, keepaliveSeconds: 3, connectRetrySeconds: 5 },
    ...overrides,
  }
}

export function rule(overrides: Partial<AnnounceRule> = {}): AnnounceRule {
  return { source: 'test', kinds: ['load-balancer-ip'], attributes: NO_ATTRIBUTES, ...overrides }
}

export function attributes(overrides: Partial<RouteAttributes> = {}): RouteAttributes {
  return { ...NO_ATTRIBUTES, ...overrides }
}

export function announcing(overrides: Partial<ServiceAnnouncing> = {}): ServiceAnnouncing {
  return {
    attributes: NO_ATTRIBUTES,
    peers: undefined,
    advertise: {},
    withoutEndpoints: undefined,
    ...overrides,
  }
}

export const RULES: RulesOfRouting = {
  asn: 65_101,
  peers: [peer('tor1'), peer('tor2')],
  rules: DEFAULT_RULES,
}

type FactOverrides = Partial<Omit<VipFact, 'vip' | 'service'>> & {
  readonly vip?: string
  readonly service?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly announcing?: ServiceAnnouncing
}

/** A VIP that is held, of a Cluster Service with two endpoints, one of them here. */
export function vipFact(overrides: FactOverrides = {}): VipFact {
  const { vip = '203.0.113.7', service = 'shop/web', labels = {}, announcing: asks, ...rest } = overrides
  const [namespace = '', name = ''] = service.split('/')
  return {
    vip: address(vip),
    service: { key: objectKey(namespace, name), uid: `uid-${name}`, labels, announcing: asks },
    kinds: ['load-balancer-ip'],
    isHeld: true,
    usableAnywhere: 2,
    usableLocal: 1,
    policy: 'Cluster',
    ...rest,
  }
}

type ContextOverrides = Partial<Omit<VipContext, 'node'>> & { readonly node?: Partial<NodeState> }

const BOTH: ReadonlySet<Family> = new Set(FAMILIES)
const poolOf = (vip: Address) => (/^(203\.0\.113\.|2001:db8:113::)/.test(vip) ? 'default' : undefined)

export function vipContext({ node, ...overrides }: ContextOverrides = {}): VipContext {
  return {
    routing: RULES,
    gates: GATES_DEFAULT,
    poolOf,
    node: { serving: BOTH, isExcluded: false, isDrained: false, ...node },
    ...overrides,
  }
}
