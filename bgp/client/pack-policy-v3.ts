// Prefix sets, policies and assignments in the form of version 3.

import type { MessageInitShape } from '@bufbuild/protobuf'
import {
  CommunityAction_Type,
  Conditions_RouteType,
  type DefinedSet,
  type DefinedSetSchema,
  DefinedType,
  MatchSet_Type,
  type PolicySchema,
  RouteAction,
  type Statement,
  type StatementSchema,
  type PolicyAssignment as WireAssignment,
  PolicyDirection as WireDirection,
  type Policy as WirePolicy,
} from '../proto/gobgp-v3.gen.ts'
import type { Policy, PolicyAssignment, PolicyDirection, PolicyStatement, PrefixSet } from './types.ts'

export const DIRECTIONS: Readonly<Record<PolicyDirection, WireDirection>> = {
  import: WireDirection.IMPORT,
  export: WireDirection.EXPORT,
}

const ACTIONS: Readonly<Record<PolicyStatement['action'], RouteAction>> = {
  accept: RouteAction.ACCEPT,
  reject: RouteAction.REJECT,
  continue: RouteAction.NONE,
}

export function prefixSetToWire(set: PrefixSet): MessageInitShape<typeof DefinedSetSchema> {
  return {
    definedType: DefinedType.PREFIX,
    name: set.name,
    prefixes: set.members.map((member) => ({
      ipPrefix: member.prefix,
      maskLengthMin: member.lengthMin,
      maskLengthMax: member.lengthMax,
    })),
  }
}

export function prefixSetFromWire(wire: DefinedSet): PrefixSet {
  return {
    name: wire.name,
    members: wire.prefixes.map((member) => ({
      prefix: member.ipPrefix,
      lengthMin: member.maskLengthMin,
      lengthMax: member.maskLengthMax,
    })),
  }
}

export function policyToWire(policy: Policy): MessageInitShape<typeof PolicySchema> {
  return { name: policy.name, statements: policy.statements.map(statementToWire) }
}

function statementToWire(statement: PolicyStatement): MessageInitShape<typeof StatementSchema> {
  return {
    name: statement.name,
    conditions: {
      ...(statement.prefixSet !== undefined && {
        prefixSet: { type: MatchSet_Type.ANY, name: statement.prefixSet },
      }),
      routeType: statement.localOnly ? Conditions_RouteType.LOCAL : Conditions_RouteType.NONE,
    },
    actions: {
      routeAction: ACTIONS[statement.action],
      ...(statement.addCommunities?.length && {
        community: { type: CommunityAction_Type.ADD, communities: [...statement.addCommunities] },
      }),
    },
  }
}

export function policyFromWire(wire: WirePolicy): Policy {
  return { name: wire.name, statements: wire.statements.map(statementFromWire) }
}

function statementFromWire(wire: Statement): PolicyStatement {
  const prefixSet = wire.conditions?.prefixSet?.name ?? ''
  const communities = wire.actions?.community?.communities ?? []
  return {
    name: wire.name,
    ...(prefixSet === '' ? {} : { prefixSet }),
    localOnly: wire.conditions?.routeType === Conditions_RouteType.LOCAL,
    action: actionFromWire(wire.actions?.routeAction),
    ...(communities.length > 0 ? { addCommunities: communities } : {}),
  }
}

function actionFromWire(action: RouteAction | undefined): PolicyStatement['action'] {
  if (action === RouteAction.ACCEPT) return 'accept'
  return action === RouteAction.REJECT ? 'reject' : 'continue'
}

export function assignmentToWire(assignment: PolicyAssignment) {
  return {
    direction: DIRECTIONS[assignment.direction],
    policies: assignment.policies.map((name) => ({ name })),
    defaultAction: assignment.defaultAction === 'accept' ? RouteAction.ACCEPT : RouteAction.REJECT,
  }
}

/** An assignment that was never set accepts everything: that is gobgpd's default. */
export function assignmentFromWire(
  direction: PolicyDirection,
  wire: WireAssignment | undefined,
): PolicyAssignment {
  return {
    direction,
    policies: wire?.policies.map((policy) => policy.name) ?? [],
    defaultAction: wire?.defaultAction === RouteAction.REJECT ? 'reject' : 'accept',
  }
}
