// Defined sets, policies and assignments to and from the wire, in either version.

import type { DescMessage, MessageInitShape } from '@bufbuild/protobuf'
import {
  type Actions,
  type CommunityAction,
  type Conditions,
  Conditions_RouteType,
  type DefinedSetSchema,
  type MatchSet,
  type PolicySchema,
  RouteAction,
  type Statement,
  type StatementSchema,
  type PolicyAssignment as WireAssignment,
  PolicyDirection as WireDirection,
  type Policy as WirePolicy,
  type DefinedSet as WireSet,
} from '../proto/gobgp-v3.gen.ts'
import { packFamily, readFamily } from './family.ts'
import { parsePrefixOrAddress } from './prefix.ts'
import type {
  CommunityChange,
  DefinedSet,
  Policy,
  PolicyAssignment,
  PolicyChanges,
  PolicyConditions,
  PolicyDirection,
  PolicyStatement,
  SetKind,
} from './types.ts'
import type { Numbers } from './version.ts'

export const DIRECTIONS: Readonly<Record<PolicyDirection, WireDirection>> = {
  import: WireDirection.IMPORT,
  export: WireDirection.EXPORT,
}

const ACTIONS: Readonly<Record<PolicyStatement['action'], RouteAction>> = {
  accept: RouteAction.ACCEPT,
  reject: RouteAction.REJECT,
  continue: RouteAction.NONE,
}

const ROUTE_TYPES: Readonly<Record<NonNullable<PolicyConditions['routeType']>, Conditions_RouteType>> = {
  internal: Conditions_RouteType.INTERNAL,
  external: Conditions_RouteType.EXTERNAL,
  local: Conditions_RouteType.LOCAL,
}

type Init<T extends DescMessage> = MessageInitShape<T>

export function packSet(numbers: Numbers, set: DefinedSet): Init<typeof DefinedSetSchema> {
  const head = { definedType: numbers.set[set.kind], name: set.name }
  switch (set.kind) {
    case 'prefix':
      return {
        ...head,
        prefixes: set.members.map((member) => ({
          ipPrefix: member.prefix,
          maskLengthMin: member.lengthMin,
          maskLengthMax: member.lengthMax,
        })),
      }
    case 'neighbor':
      return { ...head, list: set.members.map((member) => parsePrefixOrAddress(member)?.text ?? member) }
    case 'community':
    case 'large-community':
      return { ...head, list: [...set.members] }
  }
}

export function readSet<K extends SetKind>(kind: K, wire: WireSet): Extract<DefinedSet, { kind: K }> {
  const members =
    kind === 'prefix'
      ? wire.prefixes.map((member) => ({
          prefix: member.ipPrefix,
          lengthMin: member.maskLengthMin,
          lengthMax: member.maskLengthMax,
        }))
      : wire.list.map(withoutAnchors)
  return { kind, name: wire.name, members } as unknown as Extract<DefinedSet, { kind: K }>
}

/** gobgpd keeps a community to look for as a pattern: `^65535:0$`. */
function withoutAnchors(pattern: string): string {
  return pattern.replace(/^\^(.*)\$$/, '$1')
}

export function packPolicy(numbers: Numbers, policy: Policy): Init<typeof PolicySchema> {
  return {
    name: policy.name,
    statements: policy.statements.map((statement) => packStatement(numbers, statement)),
  }
}

function packStatement(numbers: Numbers, statement: PolicyStatement): Init<typeof StatementSchema> {
  return {
    name: statement.name,
    conditions: packConditions(numbers, statement.conditions),
    actions: { routeAction: ACTIONS[statement.action], ...packChanges(numbers, statement.changes ?? {}) },
  }
}

function packConditions({ match }: Numbers, conditions: PolicyConditions) {
  const { prefixSet, outsidePrefixSet, neighborSet, communitySet, largeCommunitySet } = conditions
  const { routeType, families = [] } = conditions
  return {
    ...(prefixSet !== undefined && { prefixSet: { type: match.any, name: prefixSet } }),
    ...(outsidePrefixSet !== undefined && { prefixSet: { type: match.none, name: outsidePrefixSet } }),
    ...(neighborSet !== undefined && { neighborSet: { type: match.any, name: neighborSet } }),
    ...(communitySet && { communitySet: { type: match[communitySet.match], name: communitySet.name } }),
    ...(largeCommunitySet && {
      largeCommunitySet: { type: match[largeCommunitySet.match], name: largeCommunitySet.name },
    }),
    routeType: routeType === undefined ? Conditions_RouteType.NONE : ROUTE_TYPES[routeType],
    afiSafiIn: families.map(packFamily),
  }
}

function packChanges(numbers: Numbers, changes: PolicyChanges) {
  const { communities, largeCommunities, med, localPref, prepend, nextHop } = changes
  return {
    ...(communities && { community: packCommunityChange(numbers, communities) }),
    ...(largeCommunities && { largeCommunity: packCommunityChange(numbers, largeCommunities) }),
    ...(med && { med: { type: numbers.med[med.kind], value: BigInt(med.value) } }),
    ...(localPref !== undefined && { localPref: { value: localPref } }),
    ...(prepend && { asPrepend: { asn: prepend.asn, repeat: prepend.repeat, useLeftMost: false } }),
    ...(nextHop !== undefined && { nexthop: packNextHop(nextHop) }),
  }
}

function packCommunityChange(numbers: Numbers, change: CommunityChange) {
  return { type: numbers.communityChange[change.kind], communities: [...change.communities] }
}

function packNextHop(nextHop: NonNullable<PolicyChanges['nextHop']>) {
  if (nextHop === 'self') return { self: true }
  return nextHop === 'unchanged' ? { unchanged: true } : { address: nextHop.address }
}

export function readPolicy(numbers: Numbers, wire: WirePolicy): Policy {
  return { name: wire.name, statements: wire.statements.map((row) => readStatement(numbers, row)) }
}

function readStatement(numbers: Numbers, wire: Statement): PolicyStatement {
  const changes = wire.actions ? readChanges(numbers, wire.actions) : {}
  return {
    name: wire.name,
    conditions: wire.conditions ? readConditions(numbers, wire.conditions) : {},
    ...(Object.keys(changes).length > 0 ? { changes } : {}),
    action: keyOf(ACTIONS, wire.actions?.routeAction) ?? 'continue',
  }
}

function readConditions(numbers: Numbers, wire: Conditions): PolicyConditions {
  const routeType = keyOf(ROUTE_TYPES, wire.routeType)
  const families = wire.afiSafiIn.flatMap((family) => readFamily(family) ?? [])
  const read = (set: MatchSet) => ({ name: set.name, match: keyOf(numbers.match, set.type) ?? 'any' })
  const prefixes = wire.prefixSet?.name ? wire.prefixSet : undefined
  return {
    ...(prefixes && {
      [prefixes.type === numbers.match.none ? 'outsidePrefixSet' : 'prefixSet']: prefixes.name,
    }),
    ...(wire.neighborSet?.name ? { neighborSet: wire.neighborSet.name } : {}),
    ...(wire.communitySet?.name ? { communitySet: read(wire.communitySet) } : {}),
    ...(wire.largeCommunitySet?.name ? { largeCommunitySet: read(wire.largeCommunitySet) } : {}),
    ...(routeType === undefined ? {} : { routeType }),
    ...(families.length > 0 ? { families } : {}),
  }
}

function readChanges(numbers: Numbers, wire: Actions): PolicyChanges {
  const read = (change: CommunityAction): CommunityChange => ({
    kind: keyOf(numbers.communityChange, change.type) ?? 'add',
    communities: change.communities.map(withoutAnchors),
  })
  const med = wire.med && { kind: keyOf(numbers.med, wire.med.type) ?? 'set', value: Number(wire.med.value) }
  const nextHop = wire.nexthop && readNextHop(wire.nexthop)
  return {
    ...(wire.community?.communities.length ? { communities: read(wire.community) } : {}),
    ...(wire.largeCommunity?.communities.length ? { largeCommunities: read(wire.largeCommunity) } : {}),
    ...(med ? { med } : {}),
    ...(wire.localPref?.value ? { localPref: wire.localPref.value } : {}),
    ...(wire.asPrepend?.repeat
      ? { prepend: { asn: wire.asPrepend.asn, repeat: wire.asPrepend.repeat } }
      : {}),
    ...(nextHop === undefined ? {} : { nextHop }),
  }
}

function readNextHop(wire: NonNullable<Actions['nexthop']>): PolicyChanges['nextHop'] {
  if (wire.self) return 'self'
  if (wire.unchanged) return 'unchanged'
  return wire.address === '' ? undefined : { address: wire.address }
}

function keyOf<K extends string, V>(table: Readonly<Record<K, V>>, value: V | undefined): K | undefined {
  return (Object.keys(table) as K[]).find((key) => table[key] === value)
}

export function packAssignment(assignment: PolicyAssignment) {
  return {
    direction: DIRECTIONS[assignment.direction],
    policies: assignment.policies.map((name) => ({ name })),
    defaultAction: assignment.defaultAction === 'accept' ? RouteAction.ACCEPT : RouteAction.REJECT,
  }
}

/** An assignment that was never set accepts everything: that is gobgpd's default. */
export function readAssignment(
  direction: PolicyDirection,
  wire: WireAssignment | undefined,
): PolicyAssignment {
  return {
    direction,
    policies: wire?.policies.map((policy) => policy.name) ?? [],
    defaultAction: wire?.defaultAction === RouteAction.REJECT ? 'reject' : 'accept',
  }
}
