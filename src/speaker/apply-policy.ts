// Planned policy → gobgpd, without a moment in which more is allowed than before: sets are made before what refers to them, a changed
// policy is built beside the one in force and takes its place in one step, and what nothing refers to any more goes last.
//
// Statements of classes that paths in gobgpd's table still carry are kept, though no announcement is of that class any more: gobgpd
// decides by them, when such a path is replaced, to whom it must be withdrawn.
//
// In our own gobgpd both directions are ours, and their defaults reject. In a host's (kube-router's) nothing is ours but a policy at
// the end of its export assignment, which is replaced by appending the next one and taking the last one out.

import type {
  DefinedSet,
  GobgpClient,
  Policy,
  PolicyAssignment,
  PolicyDirection,
  PolicyStatement,
  PrefixSetMember,
  SetKind,
} from '../../bgp/client/gobgp-grpc-client.ts'
import { classSetName, EXPORT_POLICY, IMPORT_POLICY, OWN_NAME_PREFIX, SPARE_SUFFIX } from './policy-names.ts'
import type { PlannedPolicy } from './policy-plan.ts'
import { memberKey } from './prefix-sets.ts'

const SET_KINDS: readonly SetKind[] = ['prefix', 'neighbor', 'large-community']

export interface PolicySituation {
  /** Whose gobgpd it is. */
  readonly host: 'own' | 'kube-router'
  /** Markers of the paths that gobgpd holds. */
  readonly installedMarkers: ReadonlySet<string>
}

export interface PolicyOutcome {
  /** A class that paths carry means something else now: what was sent before must be sent again. */
  readonly mustResend: boolean
  /** What is taken in has changed: what peers told before must be judged again. */
  readonly mustJudgeAgain: boolean
}

export async function ensurePolicy(
  client: GobgpClient,
  planned: PlannedPolicy,
  situation: PolicySituation,
): Promise<PolicyOutcome> {
  const present = await listSets(client)
  for (const set of planned.sets) {
    const there = present.find(({ name }) => name === set.name)
    const missing = missingMembers(set, there)
    if (!there || memberCount(missing) > 0) await client.addSetMembers(missing)
  }
  const policies = await client.listPolicies()
  if (situation.host === 'kube-router') return ensureGuestPolicy(client, planned, situation, policies)
  const imports = await ensureOwn(client, 'import', IMPORT_POLICY, () => planned.imports, policies)
  const exports = await ensureOwn(
    client,
    'export',
    EXPORT_POLICY,
    (inForce) => withCarriedOver(planned.exports, inForce, situation.installedMarkers),
    policies,
  )
  return {
    mustResend: exports !== undefined && changesMeaning(exports.before, exports.after),
    mustJudgeAgain: imports !== undefined && imports.before.length > 0,
  }
}

/**
 * Takes away what is too much: members of sets, sets that nothing refers to. Only after the paths were withdrawn: gobgpd 3.10 does
 * not take back what a narrower policy would refuse.
 */
export async function narrowPolicy(client: GobgpClient, planned: PlannedPolicy): Promise<void> {
  const used = new Set((await client.listPolicies()).flatMap(({ statements }) => statements.flatMap(setsOf)))
  for (const set of await listSets(client)) {
    if (!set.name.startsWith(OWN_NAME_PREFIX)) continue
    const wanted = planned.sets.find(({ name }) => name === set.name)
    if (wanted) {
      const surplus = missingMembers(set, wanted)
      if (memberCount(surplus) > 0) await client.deleteSetMembers(surplus)
    } else if (!used.has(set.name)) await client.deleteSet(set.kind, set.name)
  }
}

/** Everything of ours out of a host's gobgpd: its policies, then the sets they referred to. */
export async function removeGuestPolicy(client: GobgpClient): Promise<void> {
  const { policies } = await client.getAssignment('export')
  const ours = policies.filter(isOurs)
  if (ours.length > 0) await client.removeAssignment('export', ours)
  for (const { name } of await client.listPolicies()) if (isOurs(name)) await client.deletePolicy(name)
  for (const { kind, name } of await listSets(client)) if (isOurs(name)) await client.deleteSet(kind, name)
}

interface Swap {
  readonly before: readonly PolicyStatement[]
  readonly after: readonly PolicyStatement[]
}

/** @returns undefined when nothing changed */
async function ensureOwn(
  client: GobgpClient,
  direction: PolicyDirection,
  name: string,
  wantedBeside: (inForce: readonly PolicyStatement[]) => readonly PolicyStatement[],
  policies: readonly Policy[],
): Promise<Swap | undefined> {
  const assignment = await client.getAssignment(direction)
  const before = policies.find((policy) => policy.name === assignment.policies[0])
  const after = wantedBeside(before?.statements ?? [])
  const isRight = before !== undefined && sameStatements(before.statements, after)
  if (isRight && isAlone(assignment)) return undefined
  if (isRight) {
    await client.setAssignment({ direction, policies: [before.name], defaultAction: 'reject' })
    return undefined
  }
  const made = await buildBeside(client, name, after, assignment.policies, policies)
  await client.setAssignment({ direction, policies: [made], defaultAction: 'reject' })
  const old = policies.find((policy) => isOurs(policy.name) && policy.name === before?.name)
  if (old) await client.deletePolicy(old.name)
  return { before: before?.statements ?? [], after }
}

function isAlone({ policies, defaultAction }: PolicyAssignment): boolean {
  return policies.length === 1 && defaultAction === 'reject'
}

async function ensureGuestPolicy(
  client: GobgpClient,
  { exports }: PlannedPolicy,
  { installedMarkers }: PolicySituation,
  policies: readonly Policy[],
): Promise<PolicyOutcome> {
  const assignment = await client.getAssignment('export')
  const ours = assignment.policies.filter(isOurs)
  const before = policies.find(({ name }) => name === ours[0])?.statements ?? []
  const after = withCarriedOver(exports, before, installedMarkers)
  if (ours.length === 1 && sameStatements(before, after)) return { mustResend: false, mustJudgeAgain: false }
  const made = await buildBeside(client, EXPORT_POLICY, after, assignment.policies, policies)
  // While both stand, the older one decides: what a class means changes in the one step that takes it out.
  await client.appendAssignment('export', [made])
  if (ours.length > 0) await client.removeAssignment('export', ours)
  for (const name of ours) await client.deletePolicy(name)
  return { mustResend: changesMeaning(before, after), mustJudgeAgain: false }
}

/** @returns the name it got: the one that no assignment uses */
async function buildBeside(
  client: GobgpClient,
  name: string,
  statements: readonly PolicyStatement[],
  assigned: readonly string[],
  policies: readonly Policy[],
): Promise<string> {
  const suffix = assigned.includes(name) ? SPARE_SUFFIX : ''
  const made = name + suffix
  if (policies.some((policy) => policy.name === made)) await client.deletePolicy(made)
  const named = statements.map((one) => ({ ...one, name: plainName(one.name) + suffix }))
  await client.addPolicy({ name: made, statements: named })
  return made
}

function plainName(name: string): string {
  return name.endsWith(SPARE_SUFFIX) ? name.slice(0, -SPARE_SUFFIX.length) : name
}

function isOurs(name: string): boolean {
  return name.startsWith(OWN_NAME_PREFIX)
}

function withCarriedOver(
  wanted: readonly PolicyStatement[],
  inForce: readonly PolicyStatement[],
  installedMarkers: ReadonlySet<string>,
): readonly PolicyStatement[] {
  const installed = new Set([...installedMarkers].map(classSetName))
  const planned = new Set(wanted.flatMap((one) => classOf(one) ?? []))
  const kept = inForce.filter((one) => {
    const name = classOf(one)
    return name !== undefined && installed.has(name) && !planned.has(name)
  })
  return [...wanted, ...kept]
}

function classOf({ conditions }: PolicyStatement): string | undefined {
  return conditions.largeCommunitySet?.name
}

/** Whether a class of both says something else in the second. */
function changesMeaning(before: readonly PolicyStatement[], after: readonly PolicyStatement[]): boolean {
  const was = byClass(before)
  const is = byClass(after)
  return [...is].some(([name, text]) => was.has(name) && was.get(name) !== text)
}

function byClass(statements: readonly PolicyStatement[]): Map<string, string> {
  const found = new Map<string, string>()
  for (const one of statements) {
    const name = classOf(one)
    if (name !== undefined) found.set(name, (found.get(name) ?? '') + contentOf(one))
  }
  return found
}

/** By content: a spare one is as good as the first. The order counts, for the first that matches decides. */
function sameStatements(left: readonly PolicyStatement[], right: readonly PolicyStatement[]): boolean {
  return (
    left.length === right.length && left.every((one, index) => contentOf(one) === contentOf(right[index]))
  )
}

function contentOf(statement: PolicyStatement | undefined): string {
  if (!statement) return ''
  const { conditions, changes, action } = statement
  const change = (row: { kind: string; communities: readonly string[] } | undefined) =>
    row ? [row.kind, [...row.communities].sort()] : []
  return JSON.stringify([
    conditions.prefixSet ?? '',
    conditions.outsidePrefixSet ?? '',
    conditions.neighborSet ?? '',
    conditions.largeCommunitySet?.name ?? '',
    conditions.largeCommunitySet?.match ?? '',
    conditions.communitySet?.name ?? '',
    conditions.routeType ?? '',
    conditions.families ?? [],
    change(changes?.communities),
    change(changes?.largeCommunities),
    changes?.med ? [changes.med.kind, changes.med.value] : [],
    changes?.localPref ?? 0,
    changes?.prepend ? [changes.prepend.asn, changes.prepend.repeat] : [],
    typeof changes?.nextHop === 'object' ? changes.nextHop.address : (changes?.nextHop ?? ''),
    action,
  ])
}

function setsOf({ conditions }: PolicyStatement): string[] {
  const { prefixSet, outsidePrefixSet, neighborSet, largeCommunitySet, communitySet } = conditions
  return [prefixSet, outsidePrefixSet, neighborSet, largeCommunitySet?.name, communitySet?.name].filter(
    (name) => name !== undefined,
  )
}

async function listSets(client: GobgpClient): Promise<DefinedSet[]> {
  const lists = await Promise.all(SET_KINDS.map((kind) => client.listSets(kind)))
  return lists.flat()
}

/** `set` with only those members that `other` lacks. */
function missingMembers(set: DefinedSet, other: DefinedSet | undefined): DefinedSet {
  const known = new Set<string>((other?.members ?? []).map(keyOf))
  if (set.kind === 'prefix') return { ...set, members: set.members.filter((one) => !known.has(keyOf(one))) }
  return { ...set, members: set.members.filter((one) => !known.has(keyOf(one))) }
}

function memberCount({ members }: DefinedSet): number {
  return members.length
}

/** gobgpd hands neighbors back as prefixes. */
function keyOf(member: PrefixSetMember | string): string {
  return typeof member === 'string' ? member.replace(/\/(32|128)$/, '') : memberKey(member)
}
