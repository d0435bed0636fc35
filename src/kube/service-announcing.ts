// What a Service's annotations say of its announcements, ours (`weir.network/bgp-…`) and kube-router's (`kube-router.io/service.…`) → our
// model. What cannot be read is skipped and told of.

import { type Community, communitiesOf, describeBadCommunity, parseCommunity } from '../model/communities.ts'
import { nearMatches } from '../model/near-matches.ts'
import { type AnnounceKind, PREPEND_MAX, type RouteAttributes } from '../model/routing.ts'
import type { AddressCondition, Problem, ServiceAnnouncing } from '../model/service.ts'
import type * as api from './objects.ts'
import { problemAt, readChoice } from './parts.ts'

type Annotations = Readonly<Record<string, string>>

const OWN = 'weir.network/bgp-'
const KUBE_ROUTER = 'kube-router.io/service.'
const UINT32_MAX = 0xffff_ffff

const ADVERTISE: readonly (readonly [string, AnnounceKind])[] = [
  ['advertise.clusterip', 'cluster-ip'],
  ['advertise.externalip', 'external-ip'],
  ['advertise.loadbalancerip', 'load-balancer-ip'],
]

/** Undefined: nothing. */
export function readAnnouncing(
  annotations: Annotations | undefined,
  problems: Problem[],
): ServiceAnnouncing | undefined {
  if (annotations === undefined) return undefined
  tellUnknown(annotations, problems)
  const attributes = readAttributes(annotations, problems)
  const peers = readList(annotations, 'peers')
  const advertise = readAdvertise(annotations, problems)
  const withoutEndpoints = readChoice(annotations, `${OWN}without-endpoints`, ['withdraw', 'keep'], problems)
  const saysNothing =
    attributes.communities.length === 0 &&
    attributes.largeCommunities.length === 0 &&
    attributes.localPref === undefined &&
    attributes.med === undefined &&
    attributes.prepend === 0
  if (saysNothing && !peers && !withoutEndpoints && Object.keys(advertise).length === 0) return undefined
  return { attributes, peers: peers && [...new Set(peers)].sort(), advertise, withoutEndpoints }
}

const OWN_NAMES = ['communities', 'local-pref', 'med', 'peers', 'prepend', 'without-endpoints']
const ADVERTISE_PREFIX = `${KUBE_ROUTER}advertise.`
const ADVERTISE_NAMES = ADVERTISE.map(([name]) => name.slice(name.indexOf('.') + 1))

/** A key with a slip in it would be followed by nobody, and told by nobody: its Service would go out without the `no-export` it asks for. */
function tellUnknown(annotations: Annotations, problems: Problem[]): void {
  for (const [key, value] of Object.entries(annotations)) {
    const [prefix, known] = key.startsWith(OWN) ? [OWN, OWN_NAMES] : [ADVERTISE_PREFIX, ADVERTISE_NAMES]
    const name = key.slice(prefix.length)
    if (!key.startsWith(prefix) || known.includes(name)) continue
    const [near] = nearMatches(name, known, 1)
    const hint = near === undefined ? '' : ` (did you mean '${prefix}${near}'?)`
    problems.push(problemAt(`annotation ${key}`, value, `is not followed: there is no such key${hint}`))
  }
}

/** kube-router's: both policies are Local, whatever the spec says. */
export function isServiceLocal(annotations: Annotations | undefined): boolean {
  return annotations?.[`${KUBE_ROUTER}local`]?.trim() === 'true'
}

function readAttributes(annotations: Annotations, problems: Problem[]): RouteAttributes {
  const communities: Community[] = []
  for (const text of readList(annotations, 'communities') ?? []) {
    const parsed = parseCommunity(text)
    if (parsed === undefined)
      problems.push(problemAt(`annotation ${OWN}communities`, text, describeBadCommunity(text)))
    else communities.push(parsed)
  }
  const localPref = readNumber(annotations, 'local-pref', UINT32_MAX, problems)
  const med = readNumber(annotations, 'med', UINT32_MAX, problems)
  return {
    ...communitiesOf(communities),
    ...(localPref === undefined ? {} : { localPref }),
    ...(med === undefined ? {} : { med }),
    prepend: readNumber(annotations, 'prepend', PREPEND_MAX, problems) ?? 0,
  }
}

function readAdvertise(annotations: Annotations, problems: Problem[]): ServiceAnnouncing['advertise'] {
  const advertise: Partial<Record<AnnounceKind, boolean>> = {}
  for (const [name, kind] of ADVERTISE) {
    const said = readChoice(annotations, `${KUBE_ROUTER}${name}`, ['true', 'false'], problems)
    if (said !== undefined) advertise[kind] = said === 'true'
  }
  // Deprecated there, with any value.
  if (annotations[`${KUBE_ROUTER}skiplbips`] !== undefined) advertise['load-balancer-ip'] = false
  return advertise
}

function readList(annotations: Annotations, name: string): string[] | undefined {
  return annotations[`${OWN}${name}`]
    ?.split(',')
    .map((text) => text.trim())
    .filter((text) => text !== '')
}

function readNumber(
  annotations: Annotations,
  name: string,
  most: number,
  problems: Problem[],
): number | undefined {
  const text = annotations[`${OWN}${name}`]
  if (text === undefined) return undefined
  const value = /^\d{1,10}$/.test(text.trim()) ? Number(text) : Number.NaN
  if (value <= most) return value
  problems.push(
    problemAt(`annotation ${OWN}${name}`, text, `is out of range; write a whole number from 0 to ${most}`),
  )
  return undefined
}

/** Only there while an address of the Service may not be announced. */
export const REFUSAL_CONDITION = 'weir.network/AnnouncementRefused'

export function readRefusalCondition({ status }: api.Service): AddressCondition | undefined {
  const found = status?.conditions?.find(({ type }) => type === REFUSAL_CONDITION)
  if (found === undefined) return undefined
  const { reason = '', message = '' } = found
  return { status: found.status === 'True' ? 'True' : 'False', reason, message }
}
