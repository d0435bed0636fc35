// What a Service's annotations say of its announcements, ours (`weir.network/bgp-…`) and kube-router's (`kube-router.io/service.…`) → our
// model. What cannot be read is told of; where it is about who may see a route and how, the whole is marked as unreadable, for a route
// without the `no-export` it was to have would go to everybody.

import { type Community, communitiesOf, describeBadCommunity, parseCommunity } from '../model/communities.ts'
import { nearMatches } from '../model/near-matches.ts'
import { ROUTE_KEYS, SERVICE_KEYS, unknownKeys } from '../model/own-keys.ts'
import { type AnnounceKind, NO_ATTRIBUTES, PREPEND_MAX, type RouteAttributes } from '../model/routing.ts'
import type { AddressCondition, Problem, ServiceAnnouncing } from '../model/service.ts'
import type * as api from './objects.ts'
import { problemAt, readChoice } from './parts.ts'

type Annotations = Readonly<Record<string, string>>

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
  const slips: Problem[] = []
  tellUnknown(annotations, slips, problems)
  const attributes = readAttributes(annotations, slips)
  problems.push(...slips)
  const peers = readList(annotations, SERVICE_KEYS.peers)
  const advertise = readAdvertise(annotations, problems)
  const withoutEndpoints = readChoice(
    annotations,
    SERVICE_KEYS.withoutEndpoints,
    ['withdraw', 'keep'],
    problems,
  )
  const unreadable = slips.length === 0 ? undefined : describeSlips(slips)
  const saysNothing = attributes === NO_ATTRIBUTES && !peers && !withoutEndpoints && unreadable === undefined
  if (saysNothing && Object.keys(advertise).length === 0) return undefined
  return { attributes, peers: peers && [...new Set(peers)].sort(), advertise, withoutEndpoints, unreadable }
}

/** An Event has room for so many. */
const SLIPS_SHOWN = 2

function describeSlips(slips: readonly Problem[]): string {
  const shown = slips.slice(0, SLIPS_SHOWN).map(({ what, why }) => `${what} ${why}`)
  const more = slips.length - shown.length
  return [...shown, ...(more > 0 ? [`and ${more} more`] : [])].join('; ')
}

const ADVERTISE_PREFIX = `${KUBE_ROUTER}advertise.`
const ADVERTISE_NAMES = ADVERTISE.map(([name]) => name.slice(name.indexOf('.') + 1))

/**
 * A key with a slip in it would be followed by nobody, and told by nobody.
 * @param slips those that were to say what routes carry or who is told
 */
function tellUnknown(annotations: Annotations, slips: Problem[], others: Problem[]): void {
  for (const { key, value, why, near } of unknownKeys(annotations, 'an annotation of a Service'))
    (near !== undefined && ROUTE_KEYS.includes(near) ? slips : others).push(
      problemAt(`annotation ${key}`, value, why),
    )
  for (const [key, value] of Object.entries(annotations)) {
    const name = key.slice(ADVERTISE_PREFIX.length)
    if (!key.startsWith(ADVERTISE_PREFIX) || ADVERTISE_NAMES.includes(name)) continue
    const [near] = nearMatches(name, ADVERTISE_NAMES, 1)
    const hint = near === undefined ? '' : ` (did you mean '${ADVERTISE_PREFIX}${near}'?)`
    others.push(problemAt(`annotation ${key}`, value, `is not followed: there is no such key${hint}`))
  }
}

/** kube-router's: both policies are Local, whatever the spec says. */
export function isServiceLocal(annotations: Annotations | undefined): boolean {
  return annotations?.[`${KUBE_ROUTER}local`]?.trim() === 'true'
}

/** The same object where nothing is said. */
function readAttributes(annotations: Annotations, problems: Problem[]): RouteAttributes {
  const communities: Community[] = []
  for (const text of readList(annotations, SERVICE_KEYS.communities) ?? []) {
    const parsed = parseCommunity(text)
    if (parsed === undefined)
      problems.push(problemAt(`annotation ${SERVICE_KEYS.communities}`, text, describeBadCommunity(text)))
    else communities.push(parsed)
  }
  const localPref = readNumber(annotations, SERVICE_KEYS.localPref, UINT32_MAX, problems)
  const med = readNumber(annotations, SERVICE_KEYS.med, UINT32_MAX, problems)
  const prepend = readNumber(annotations, SERVICE_KEYS.prepend, PREPEND_MAX, problems) ?? 0
  if (communities.length === 0 && localPref === undefined && med === undefined && prepend === 0)
    return NO_ATTRIBUTES
  return {
    ...communitiesOf(communities),
    ...(localPref === undefined ? {} : { localPref }),
    ...(med === undefined ? {} : { med }),
    prepend,
  }
}

/** As Go's ParseBool reads them. */
const TRUE = ['1', 't', 'T', 'TRUE', 'true', 'True']
const FALSE = ['0', 'f', 'F', 'FALSE', 'false', 'False']

/** What cannot be read is a no, as it is to kube-router. */
function readAdvertise(annotations: Annotations, problems: Problem[]): ServiceAnnouncing['advertise'] {
  const advertise: Partial<Record<AnnounceKind, boolean>> = {}
  for (const [name, kind] of ADVERTISE) {
    const text = annotations[`${KUBE_ROUTER}${name}`]
    if (text === undefined) continue
    const isKnown = [...TRUE, ...FALSE].includes(text.trim())
    if (!isKnown)
      problems.push(
        problemAt(
          `annotation ${KUBE_ROUTER}${name}`,
          text,
          'is not known, and taken for false; write true or false',
        ),
      )
    advertise[kind] = TRUE.includes(text.trim())
  }
  // Deprecated there, with any value.
  if (annotations[`${KUBE_ROUTER}skiplbips`] !== undefined) advertise['load-balancer-ip'] = false
  return advertise
}

function readList(annotations: Annotations, key: string): string[] | undefined {
  return annotations[key]
    ?.split(',')
    .map((text) => text.trim())
    .filter((text) => text !== '')
}

function readNumber(
  annotations: Annotations,
  key: string,
  most: number,
  problems: Problem[],
): number | undefined {
  const text = annotations[key]
  if (text === undefined) return undefined
  const value = /^\d{1,10}$/.test(text.trim()) ? Number(text) : Number.NaN
  if (value <= most) return value
  problems.push(
    problemAt(`annotation ${key}`, text, `is out of range; write a whole number from 0 to ${most}`),
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
