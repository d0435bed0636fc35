// What gobgpd's policy must be, and the steps that bring it there without a moment in which more is allowed than before.

import type { GobgpClient, Policy, PolicyDirection, PrefixSet } from '../../bgp/client/gobgp-grpc-client.ts'
import type { Family } from '../model/address.ts'
import type { AllowedPrefix } from '../model/announcement.ts'
import { FAMILY_SETS, LOCAL_ONLY_POLICY, OWN_PREFIXES_POLICY } from './policy-names.ts'

const FAMILIES: readonly Family[] = ['ipv4', 'ipv6']

/** A replacement is built beside the policy in force, under the name that is free, and swapped in by one assignment. */
const SPARE_SUFFIX = '-spare'

export interface PolicyFacts {
  readonly allowed: readonly AllowedPrefix[]
}

/** Adds missing prefix-set members, then brings both directions' policies to what they must be; defaults reject. */
export async function ensurePolicy(client: GobgpClient, { allowed }: PolicyFacts): Promise<void> {
  const present = await client.listSets('prefix')
  for (const set of desiredSets(allowed)) {
    const members = missingMembers(set, present)
    const exists = present.some(({ name }) => name === set.name)
    if (members.length > 0 || !exists) await client.addSetMembers({ ...set, members })
  }
  await ensureAssignment(client, 'import', importPolicy)
  await ensureAssignment(client, 'export', exportPolicy)
}

/**
 * Removes prefix-set members that are no longer allowed. Only after their paths were withdrawn: gobgpd 3.10 does not take
 * back what a narrower policy would refuse.
 */
export async function narrowPolicy(client: GobgpClient, { allowed }: PolicyFacts): Promise<void> {
  const desired = desiredSets(allowed)
  for (const set of await client.listSets('prefix')) {
    const wanted = desired.find(({ name }) => name === set.name)
    const members = wanted ? missingMembers(set, [wanted]) : []
    if (members.length > 0) await client.deleteSetMembers({ ...set, members })
  }
}

function desiredSets(allowed: readonly AllowedPrefix[]): PrefixSet[] {
  return FAMILIES.map((family) => ({
    kind: 'prefix',
    name: FAMILY_SETS[family].prefixSet,
    members: allowed.filter((row) => row.family === family),
  }))
}

/** The members of `set` that the set of the same name in `others` lacks. */
function missingMembers(set: PrefixSet, others: readonly PrefixSet[]): PrefixSet['members'] {
  const key = (member: PrefixSet['members'][number]) =>
    `${member.prefix} ${member.lengthMin} ${member.lengthMax}`
  const counterpart = others.find(({ name }) => name === set.name)?.members ?? []
  const known = new Set(counterpart.map(key))
  return set.members.filter((member) => !known.has(key(member)))
}

function importPolicy(suffix: string): Policy {
  const name = LOCAL_ONLY_POLICY + suffix
  return { name, statements: [{ name, conditions: { routeType: 'local' }, action: 'accept' }] }
}

function exportPolicy(suffix: string): Policy {
  return {
    name: OWN_PREFIXES_POLICY + suffix,
    statements: FAMILIES.map((family) => ({
      name: FAMILY_SETS[family].exportStatement + suffix,
      conditions: { prefixSet: FAMILY_SETS[family].prefixSet, routeType: 'local' },
      action: 'accept',
    })),
  }
}

async function ensureAssignment(
  client: GobgpClient,
  direction: PolicyDirection,
  build: (suffix: string) => Policy,
): Promise<void> {
  const assignment = await client.getAssignment(direction)
  const policies = await client.listPolicies()
  const inForce = policies.find(({ name }) => name === assignment.policies[0])
  const isRight = inForce && sameStatements(inForce, build(''))
  if (isRight && assignment.policies.length === 1 && assignment.defaultAction === 'reject') return
  const suffix = isRight
    ? suffixOf(inForce)
    : assignment.policies.includes(build('').name)
      ? SPARE_SUFFIX
      : ''
  const policy = build(suffix)
  if (!isRight) {
    if (policies.some(({ name }) => name === policy.name)) await client.deletePolicy(policy.name)
    await client.addPolicy(policy)
  }
  await client.setAssignment({ direction, policies: [policy.name], defaultAction: 'reject' })
}

function suffixOf(policy: Policy): string {
  return policy.name.endsWith(SPARE_SUFFIX) ? SPARE_SUFFIX : ''
}

/** By content: a spare one is as good as the first. */
function sameStatements(left: Policy, right: Policy): boolean {
  const content = (policy: Policy) =>
    JSON.stringify(
      policy.statements
        .map(({ conditions, changes = {}, action }) => JSON.stringify([conditions, changes, action]))
        .sort(),
    )
  return content(left) === content(right)
}
