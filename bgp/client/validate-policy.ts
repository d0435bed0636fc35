// Which sets and policies may be sent, as far as they can be judged alone; whether a neighbor set is empty is asked of the daemon.

import { GobgpError } from './errors.ts'
import { familyBits, parseAddress, parsePrefix, parsePrefixOrAddress } from './prefix.ts'
import type {
  CommunityChange,
  DefinedSet,
  Policy,
  PolicyAssignment,
  PolicyChanges,
  PolicyConditions,
  PolicyStatement,
  PrefixSet,
} from './types.ts'
import { isAsn, isInteger, isNextHop, parseCommunity, parseLargeCommunity } from './validate-path.ts'

const UINT32_MAX = 0xffff_ffff
/** gobgpd keeps one byte of the count. */
const PREPEND_MAX = 64

function refuse(what: string): never {
  throw new GobgpError('INVALID_POLICY', what)
}

export function checkSet(set: DefinedSet): void {
  if (set.name === '') refuse(`a ${set.kind} set without a name`)
  if (set.kind === 'prefix') checkPrefixSet(set)
  else if (set.kind === 'neighbor') {
    for (const member of set.members)
      if (!parsePrefixOrAddress(member))
        refuse(`neighbor set ${set.name}: '${member}' is neither an address nor a prefix`)
  } else {
    const parse = set.kind === 'community' ? parseCommunity : parseLargeCommunity
    for (const member of set.members) asPolicy(`${set.kind} set ${set.name}`, () => parse(member))
  }
}

function checkPrefixSet(set: PrefixSet): void {
  const families = new Set<string>()
  for (const member of set.members) {
    const prefix = parsePrefix(member.prefix)
    const bits = prefix ? familyBits(prefix.family) : 0
    if (
      !prefix ||
      !isInteger(member.lengthMin, prefix.length, bits) ||
      !isInteger(member.lengthMax, member.lengthMin, bits)
    )
      refuse(
        `prefix set ${set.name}: '${member.prefix}' ${member.lengthMin}..${member.lengthMax} is no prefix with a range of longer lengths`,
      )
    families.add(prefix.family)
  }
  if (families.size > 1) refuse(`prefix set ${set.name} mixes families: make one set for each`)
}

export function checkPolicy(policy: Policy): void {
  if (policy.name === '') refuse('a policy without a name')
  const names = new Set<string>()
  for (const statement of policy.statements) {
    // gobgpd would name it itself, or fail half-way and keep the statements before it.
    if (statement.name === '' || names.has(statement.name))
      refuse(`policy ${policy.name}: the statement name '${statement.name}' is empty or stands twice`)
    names.add(statement.name)
    checkStatement(`policy ${policy.name}: statement ${statement.name}`, statement)
  }
}

function checkStatement(where: string, { conditions, changes = {}, action }: PolicyStatement): void {
  checkConditions(where, conditions)
  if (action === 'continue' && Object.keys(changes).length === 0)
    refuse(`${where} neither decides nor changes anything`)
  if (action === 'reject' && Object.keys(changes).length > 0) refuse(`${where} changes what it rejects`)
  checkChanges(where, changes)
}

/** gobgpd takes an empty name for no condition at all, which then matches everything. */
function checkConditions(where: string, conditions: PolicyConditions): void {
  const { prefixSet, outsidePrefixSet, neighborSet, communitySet, largeCommunitySet } = conditions
  const names = [prefixSet, outsidePrefixSet, neighborSet, communitySet?.name, largeCommunitySet?.name]
  for (const name of names) if (name === '') refuse(`${where} names a set without a name`)
  if (prefixSet !== undefined && outsidePrefixSet !== undefined)
    refuse(`${where} asks for prefixes inside one set and outside another: gobgpd knows one of both`)
}

function checkChanges(where: string, changes: PolicyChanges): void {
  const { communities, largeCommunities, med, localPref, prepend, nextHop } = changes
  checkCommunityChange(where, communities, parseCommunity)
  checkCommunityChange(where, largeCommunities, parseLargeCommunity)
  if (med && !isInteger(med.value, med.kind === 'set' ? 0 : -UINT32_MAX, UINT32_MAX))
    refuse(`${where}: MED ${med.value} is out of range`)
  // 0 is taken for no action.
  if (localPref !== undefined && !isInteger(localPref, 1, UINT32_MAX))
    refuse(`${where}: local preference ${localPref} is not between 1 and ${UINT32_MAX}`)
  if (prepend && !(isAsn(prepend.asn) && isInteger(prepend.repeat, 1, PREPEND_MAX)))
    refuse(`${where}: AS ${prepend.asn} is prepended 1–${PREPEND_MAX} times, not ${prepend.repeat}`)
  if (typeof nextHop === 'object') {
    const family = parseAddress(nextHop.address)?.family
    if (!family || !isNextHop(nextHop.address, family))
      refuse(`${where}: next hop '${nextHop.address}' is no unicast address`)
  }
}

function checkCommunityChange(
  where: string,
  change: CommunityChange | undefined,
  parse: (text: string) => unknown,
): void {
  if (!change) return
  // gobgpd would replace by nothing, and tell of no such change when asked.
  if (change.communities.length === 0) refuse(`${where}: no community to ${change.kind}`)
  for (const community of change.communities) asPolicy(where, () => parse(community))
}

export function checkAssignment({ policies, direction }: PolicyAssignment): void {
  if (new Set(policies).size < policies.length) refuse(`the ${direction} assignment names a policy twice`)
}

/** A malformed community is the policy's fault here, not a path's. */
function asPolicy(where: string, check: () => unknown): void {
  try {
    check()
  } catch (error) {
    if (error instanceof GobgpError) refuse(`${where}: ${error.message}`)
    throw error
  }
}
