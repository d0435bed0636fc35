// The attributes of a path (RFC 4271 §5) between our types and the wire: the same for both versions, which differ in how an attribute is
// wrapped. IPv4 carries its next hop in an attribute of its own, IPv6 inside MP_REACH_NLRI (RFC 4760). The unspecified next hop makes
// gobgpd put in the session's own address, per session.

import type { Family, Prefix } from './prefix.ts'
import type { Path, PathAttributes } from './types.ts'
import { parseCommunity, parseLargeCommunity } from './validate-path.ts'

/** One attribute; `kind` is its name in version 4's oneof. */
export type Attribute =
  | { readonly kind: 'origin'; readonly origin: number }
  | { readonly kind: 'asPath'; readonly numbers: readonly number[] }
  | { readonly kind: 'nextHop'; readonly nextHop: string }
  | { readonly kind: 'multiExitDisc'; readonly med: number }
  | { readonly kind: 'localPref'; readonly localPref: number }
  | { readonly kind: 'communities'; readonly communities: readonly number[] }
  | { readonly kind: 'mpReach'; readonly nextHop: string; readonly prefix?: Prefix }
  | { readonly kind: 'largeCommunities'; readonly communities: readonly LargeCommunity[] }

export interface LargeCommunity {
  readonly globalAdmin: number
  readonly localData1: number
  readonly localData2: number
}

const ORIGINS = ['igp', 'egp', 'incomplete'] as const
const SELF: Readonly<Record<Family, string>> = { ipv4: '0.0.0.0', ipv6: '::' }

/** Of a global and a link-local one (RFC 2545 §3) the first that is an address: over a link without global addresses that is `::`. */
export function usefulNextHop(nextHops: readonly string[]): string {
  return nextHops.find((address) => address !== SELF.ipv6) ?? ''
}

/** In ascending order of their type codes, as RFC 4271 §5 recommends. */
export function attributesOf(path: Path, prefix: Prefix): Attribute[] {
  const { asPath = [], med, localPref, communities = [], largeCommunities = [], origin = 'igp' } = path
  const nextHop = path.nextHop ?? SELF[prefix.family]
  const attributes: (Attribute | undefined)[] = [
    { kind: 'origin', origin: ORIGINS.indexOf(origin) },
    asPath.length > 0 ? { kind: 'asPath', numbers: asPath } : undefined,
    prefix.family === 'ipv4' ? { kind: 'nextHop', nextHop } : undefined,
    med === undefined ? undefined : { kind: 'multiExitDisc', med },
    localPref === undefined ? undefined : { kind: 'localPref', localPref },
    communities.length > 0
      ? { kind: 'communities', communities: communities.map(parseCommunity) }
      : undefined,
    prefix.family === 'ipv6' ? { kind: 'mpReach', nextHop, prefix } : undefined,
    largeCommunities.length > 0
      ? { kind: 'largeCommunities', communities: largeCommunities.map(parseLargeCommunity) }
      : undefined,
  ]
  return attributes.filter((attribute) => attribute !== undefined)
}

/** What is at its default stays away, so that a path read back equals the path that was sent. */
export function pathOf(prefix: Prefix, attributes: readonly Attribute[]): Path {
  let read: PathAttributes & { nextHop?: string } = {}
  for (const attribute of attributes) read = { ...read, ...readAttribute(attribute, prefix.family) }
  return { prefix: prefix.text, ...read }
}

function readAttribute(attribute: Attribute, family: Family): PathAttributes & { readonly nextHop?: string } {
  switch (attribute.kind) {
    case 'origin': {
      const origin = ORIGINS[attribute.origin] ?? 'incomplete'
      return origin === 'igp' ? {} : { origin }
    }
    case 'asPath':
      return attribute.numbers.length > 0 ? { asPath: attribute.numbers } : {}
    case 'nextHop':
    case 'mpReach':
      return attribute.nextHop === SELF[family] || attribute.nextHop === ''
        ? {}
        : { nextHop: attribute.nextHop }
    case 'multiExitDisc':
      return { med: attribute.med }
    case 'localPref':
      return { localPref: attribute.localPref }
    case 'communities':
      return { communities: attribute.communities.map((value) => `${value >>> 16}:${value & 0xffff}`) }
    case 'largeCommunities':
      return {
        largeCommunities: attribute.communities.map(
          ({ globalAdmin, localData1, localData2 }) => `${globalAdmin}:${localData1}:${localData2}`,
        ),
      }
  }
}
