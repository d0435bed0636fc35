// What the policy kinds have in common: selectors, prefixes, ports, annotations.

import { liesWithin, type Prefix, parseNetwork, prefixParts } from '../../model/address.ts'
import { isRecord } from '../../model/is-record.ts'
import type { LabelSelector } from '../../model/label-selector.ts'
import { POLICY_KEYS, unknownKeys } from '../../model/own-keys.ts'
import {
  NAMESPACE_NAME_LABEL,
  PORT_MAX,
  type Policy,
  type PolicyFault,
  type PolicyPeer,
  type PolicyRule,
  type PortMatch,
  type PortProtocol,
} from '../../model/policy.ts'
import type { ObjectMeta } from '../objects.ts'
import { addFault, type Fields, type Item } from './fields.ts'

export const EVERYTHING: LabelSelector = { requirements: [] }
/** Nobody has a value out of none. */
export const NOTHING: LabelSelector = {
  requirements: [{ key: NAMESPACE_NAME_LABEL, operator: 'In', values: [] }],
}

type Requirement = LabelSelector['requirements'][number]
type Operator = Requirement['operator']
const OPERATORS: readonly Operator[] = ['In', 'NotIn', 'Exists', 'DoesNotExist']

export function namespaceNamed(name: string): LabelSelector {
  return { requirements: [{ key: NAMESPACE_NAME_LABEL, operator: 'In', values: [name] }] }
}

/** Undefined, and faults, when it cannot be read: a selector with a requirement left out would select more than was meant. */
export function readSelector(fields: Fields): LabelSelector | undefined {
  const before = fields.faults.length
  const selector = readWidely(fields)
  return fields.faults.length === before ? selector : undefined
}

/**
 * What can be read of it, and faults for the rest. A requirement less selects more, never less: right for whom a policy protects that
 * allows nothing, for it is closed for whoever may be meant.
 */
export function readWidely(fields: Fields): LabelSelector {
  const requirements: Requirement[] = []
  const labels = fields.object('matchLabels')
  for (const key of labels?.keys() ?? []) {
    const value = labels?.text(key)
    if (value !== undefined) requirements.push({ key, operator: 'In', values: [value] })
  }
  for (const one of fields.objects('matchExpressions') ?? []) {
    const key = one.text('key')
    const operator = one.choice('operator', OPERATORS)
    const values = (one.list('values') ?? []).map(({ value }) => value)
    one.end()
    if (!one.has('key') || !one.has('operator'))
      addFault(fields.faults, one.path, undefined, 'lacks key or operator', 'write both')
    if (key === undefined || operator === undefined) continue
    const takesValues = operator === 'In' || operator === 'NotIn'
    if (takesValues !== values.length > 0 || !values.every((value) => typeof value === 'string'))
      one.refuse('values', `does not go with ${operator}`, takesValues ? 'list texts' : 'remove them')
    else requirements.push({ key, operator, values: [...new Set(values as string[])].sort() })
  }
  fields.end()
  return { requirements }
}

/** The selector below `name`; undefined when it is absent or cannot be read. */
export function selectorAt(fields: Fields, name: string): LabelSelector | undefined {
  const inner = fields.object(name)
  return inner && readSelector(inner)
}

/** What was read, and where it is written. */
export type Placed<What> = readonly [what: What, path: string]

export function placed<What>(path: string, ...all: readonly What[]): readonly Placed<What>[] {
  return all.map((what) => [what, path])
}

/** One rule, and where it and each part of it is written. */
export function ruleAt(
  { path }: Pick<Fields, 'path'>,
  action: PolicyRule['action'],
  peers: readonly Placed<PolicyPeer>[] | 'any',
  ports: readonly Placed<PortMatch>[] | 'any',
): PolicyRule {
  const places = {
    peers: peers === 'any' ? [] : peers.map(([, place]) => placeBelow(path, place)),
    ports: ports === 'any' ? [] : ports.map(([, place]) => placeBelow(path, place)),
  }
  return {
    action,
    peers: peers === 'any' ? peers : peers.map(([peer]) => peer),
    ports: ports === 'any' ? ports : ports.map(([port]) => port),
    path,
    ...(places.peers.length + places.ports.length > 0 ? { places } : {}),
  }
}

/** Most rules have their parts at the same few places: one text for all of them. */
const placesKnown = new Map<string, string>()
const PLACES_KNOWN_MAX = 1024

function placeBelow(path: string, place: string): string {
  const below = place.slice(path.length + 1)
  const known = placesKnown.get(below)
  if (known !== undefined) return known
  if (placesKnown.size < PLACES_KNOWN_MAX) placesKnown.set(below, below)
  return below
}

/** A prefix, or an address alone; undefined, and a fault, when it is none. */
export function readPrefix({ value, path }: Item, faults: PolicyFault[]): Prefix | undefined {
  const text = typeof value === 'string' ? value : ''
  const whole = text === '' || text.includes('/') ? text : `${text}/${text.includes(':') ? 128 : 32}`
  const prefix = parseNetwork(whole)
  if (prefix === undefined)
    addFault(faults, path, value, 'is not a network', 'write one like 192.0.2.0/24 or 2001:db8::/32')
  return prefix
}

/** The exceptions of a prefix, which must lie inside it. */
export function readExcept(fields: Fields, prefix: Prefix | undefined): Prefix[] {
  return (fields.list('except') ?? []).flatMap((item) => {
    const except = readPrefix(item, fields.faults)
    if (except === undefined) return []
    if (prefix === undefined || liesWithin(prefixParts(except), prefixParts(prefix))) return [except]
    addFault(fields.faults, item.path, item.value, `is not inside ${prefix}`, 'write a part of it')
    return []
  })
}

export function wholeProtocol(protocol: PortProtocol): PortMatch {
  return { kind: 'ports', protocol, first: 0, last: PORT_MAX }
}

const MODES = ['enforce', 'audit'] as const
const EXISTING = ['recheck', 'keep'] as const

/** What our annotations say. A value that is not known is told of, and the stricter one holds; so is a key that is none of ours. */
export function readAnnotations(
  metadata: ObjectMeta,
): Pick<Policy, 'isAudit' | 'existingConnections'> & { readonly notes: PolicyFault[] } {
  const notes: PolicyFault[] = []
  const read = <Word extends string>(key: string, words: readonly Word[]): Word | undefined => {
    // In a file it may be anything.
    const value: unknown = metadata.annotations?.[key]
    if (value === undefined) return undefined
    const found = words.find((word) => typeof value === 'string' && word === value.trim())
    if (found === undefined)
      addFault(
        notes,
        `metadata.annotations['${key}']`,
        value,
        `is not known; ${words[0]} holds`,
        `write ${words.join(' or ')}`,
      )
    return found ?? words[0]
  }
  const isAudit = read(POLICY_KEYS.mode, MODES) === 'audit'
  const existingConnections = read(POLICY_KEYS.existingConnections, EXISTING)
  for (const { key, value, why, near } of unknownKeys(metadata.annotations, 'an annotation of a policy'))
    addFault(
      notes,
      `metadata.annotations['${key}']`,
      value,
      why,
      near === undefined ? 'remove it' : `write ${near}`,
    )
  return { isAudit, existingConnections, notes }
}

/** The spec of an object, whatever it is. */
export function specOf(object: unknown, faults: PolicyFault[]): Item | undefined {
  if (isRecord(object) && isRecord(object['spec'])) return { value: object['spec'], path: 'spec' }
  addFault(faults, 'spec', isRecord(object) ? object['spec'] : object, 'is missing', 'write one')
  return undefined
}
