// The compiler of policy: objects in, rows for the kernel out, as they change.
//
// A change is taken in three steps, each of which writes rows in an order that opens no window (see `PolicyChange`):
//   1. who is where. What new policies refer to already counts, so identities are as fine as both the old and the new policies need.
//   2. what is allowed: policies, peers and sets change; nobody moves.
//   3. who is where again: what only the old policies told apart becomes one.
// Steps 1 and 3 that only refine or coarsen change no verdict. A change both of what policies say and of who is there is taken as two, what
// they say first: in between, packets are judged by the new policies as if nobody had moved yet. So whoever hands over such changes one by
// one, in the order in which they came, has no packet judged by a state that never was.
//
// Pure: no clock, no kernel. One compiler per node, for its own pods and itself.

import type { PolicyDirection, PortRange } from '../../model/policy.ts'
import { atOnce, type Steps, stopping } from '../../model/slices.ts'
import { groupPrefixes } from '../network-groups.ts'
import { CellNumbers } from './cell-numbers.ts'
import { Classes } from './classes.ts'
import { EarlierIdentities } from './earlier-identities.ts'
import { uniformContent } from './flatten.ts'
import { Identities } from './identities.ts'
import { NumberPool } from './number-pool.ts'
import { Objects, type WorldChange } from './objects.ts'
import { Peers } from './peers.ts'
import { ReadyPolicies } from './policies.ts'
import { PolicySets } from './policy-sets.ts'
import { Population, type PopulationStep } from './population.ts'
import { type GroupPrefixes, type LabelFilter, References } from './references.ts'
import { type EarlierRows, type PolicyChange, RULE_NO_ROOM, type RuleId } from './rows.ts'
import { type BuiltInCause, RuleIds, type RuleName } from './rule-ids.ts'
import { rulePorts } from './rule-ports.ts'
import { newSetsStep, type PolicySet, type SetsStep } from './sets-step.ts'
import { NO_STRAY_ROWS, type StrayRows, strayRows } from './stray-rows.ts'
import { SubjectRows } from './subject-rows.ts'
import { NODE_SUBJECT, Subjects } from './subjects.ts'
import { Writes } from './writes.ts'

export interface CompilerOptions {
  /** The node it compiles for. */
  readonly node: string
  /** Where a policy says nothing. */
  readonly existingConnections: 'recheck' | 'keep'
  /** Keys of labels that tell identities apart whether rules refer to them or not. */
  readonly labels: LabelFilter
  /** Ports of the node that only a deny which names ports closes. */
  readonly failSafe: Readonly<Record<PolicyDirection, readonly PortRange[]>>
  readonly limits: CompilerLimits
  /** Of an agent before this one. */
  readonly earlier?: EarlierRows
  /** Outlives the compiler, and is its alone until then. Absent: its own. */
  readonly rules?: RuleIds
}

export interface CompilerLimits {
  /** Rows of `policy_sets`, of cells and of classes, number 0 included. */
  readonly sets: number
  readonly cells: number
  readonly classes: number
  /** How long a number that is free again is not taken. */
  readonly restMs: number
  /** How long what no rule refers to any more still tells identities apart. */
  readonly idleReferenceMs: number
  /** So many rows of identities are handed over early: in their hundred thousands they need not be in memory at once. */
  readonly rowsAtOnce: number
}

export const COMPILER_LIMITS: CompilerLimits = {
  sets: 4096,
  cells: 262_144,
  classes: 65_536,
  // Readers hold a number for microseconds, flows and events for their life; a minute is many rounds of either's upkeep.
  restMs: 60_000,
  idleReferenceMs: 600_000,
  rowsAtOnce: 4096,
}

/** Stops are so many identities apart. */
const STOP_IDENTITIES = 64

/** Writes, and ends when they are written or kept for later. */
export type EarlyWrites = (writes: PolicyChange) => Steps

export interface CompilerSize {
  readonly identities: number
  readonly sets: number
  readonly classes: number
  readonly rows: number
  readonly subjects: number
}

/** What policies say, and who is there: undefined where nothing of it changed. */
function inParts({ policies, networkGroups, ...who }: WorldChange): readonly (WorldChange | undefined)[] {
  const said = { ...(policies && { policies }), ...(networkGroups && { networkGroups }) }
  return [said, who].map((part) => (Object.keys(part).length > 0 ? part : undefined))
}

export class PolicyCompiler {
  readonly #options: CompilerOptions
  readonly #objects = new Objects()
  readonly #references: References
  readonly #identities: Identities
  readonly #population: Population
  readonly #peers: Peers
  readonly #ruleIds: RuleIds
  readonly #policies: ReadyPolicies
  readonly #subjects: Subjects
  readonly #classes: Classes
  readonly #cellNumbers: CellNumbers
  readonly #sets: PolicySets
  readonly #subjectRows: SubjectRows
  /** Until the first change of one that follows another. */
  #earlier: EarlierRows | undefined

  constructor(options: CompilerOptions) {
    const { node, limits, failSafe, earlier } = options
    this.#options = options
    this.#earlier = earlier
    const prefixesOf: GroupPrefixes = (peer) => new Set(groupPrefixes(peer, this.#objects.networkGroups))
    const pool = (count: number, foreign: Iterable<number> = []) => {
      const numbers = new NumberPool({ first: 1, last: count - 1 }, limits.restMs)
      numbers.keepForeign(foreign)
      return numbers
    }
    this.#references = new References(options.labels, prefixesOf)
    this.#identities = new Identities(limits.restMs)
    const identities = earlier && new EarlierIdentities(earlier.identities)
    this.#population = new Population(node, this.#objects, this.#references, this.#identities, identities)
    this.#peers = new Peers(this.#identities, prefixesOf)
    this.#ruleIds = options.rules ?? new RuleIds()
    this.#ruleIds.beginAnew(earlier?.rule ?? 0)
    this.#policies = new ReadyPolicies(this.#peers, this.#references, this.#ruleIds, options)
    this.#subjects = new Subjects(node, this.#objects, this.#policies)
    this.#classes = new Classes(pool(limits.classes, earlier?.classes), uniformContent(false, RULE_NO_ROOM))
    this.#cellNumbers = new CellNumbers(pool(limits.cells, earlier?.cells))
    const safe = (direction: PolicyDirection) =>
      rulePorts(failSafe[direction].map((range) => ({ kind: 'ports', ...range }))).spans
    this.#sets = new PolicySets({
      classes: this.#classes,
      cellNumbers: this.#cellNumbers,
      identities: this.#identities,
      policies: this.#policies,
      numbers: pool(limits.sets, earlier?.sets),
      failSafe: { ingress: safe('ingress'), egress: safe('egress') },
      firstEpoch: earlier?.epoch ?? 0,
    })
    this.#subjectRows = new SubjectRows(this.#population, this.#sets, this.#classes)
  }

  /** @param now milliseconds of any clock that only goes forward */
  apply(change: WorldChange, now: number): PolicyChange {
    return atOnce(this.steps(change, now))
  }

  /**
   * The same with stops; no other change may begin meanwhile.
   * @param early is given what may be written before the rest is known
   * @returns the rest
   */
  *steps(change: WorldChange, now: number, early?: EarlyWrites): Steps<PolicyChange> {
    const [said, who] = inParts(change)
    // Where nobody is judged yet there is nothing in between, and peers are found faster when all are there.
    const isOne = !said || !who || this.#earlier !== undefined || this.#subjectRows.size === 0
    if (isOne) return yield* this.#take(change, now, early)
    const first = yield* this.#take(said, now, early)
    if (early) yield* early(first)
    const second = yield* this.#take(who, now, early)
    return early ? second : [...first, ...second]
  }

  /** A change of one kind, or of a world in which nobody is judged yet. */
  *#take(change: WorldChange, now: number, early: EarlyWrites | undefined): Steps<PolicyChange> {
    const writes = new Writes()
    for (const [name, group] of change.networkGroups ?? []) {
      if (group) this.#objects.networkGroups.set(name, group)
      else this.#objects.networkGroups.delete(name)
    }
    const dropGroups = change.networkGroups ? this.#references.regroup(change.networkGroups, now) : undefined
    const before = [...(change.policies ?? [])].map(([id]) => this.#policies.get(id)?.policy)
    for (const policy of change.policies?.values() ?? []) if (policy) this.#policies.refer(policy, 1, now)
    yield
    yield* this.#population.note(change)
    if (this.#earlier) yield* this.#takeOver(this.#earlier, change, writes, now)
    else {
      this.#noteSubjects(change)
      const { touched } = yield* this.#settle(writes, now, this.#leavingSets(change), early)
      yield* this.#changePolicies(change, touched, newSetsStep(), writes, now)
    }

    for (const policy of before) if (policy) this.#policies.refer(policy, -1, now)
    dropGroups?.()
    this.#references.expire(now, this.#options.limits.idleReferenceMs)
    const { touched } = yield* this.#settle(writes, now)
    this.#changeSubjectRows(newSetsStep(), touched, writes, now)
    writes.deleteCells(this.#cellNumbers.takeGiven(now))
    writes.deleteClasses(this.#classes.takeUnused(now))
    return writes.list
  }

  nameOf(rule: RuleId): RuleName | BuiltInCause | undefined {
    return this.#ruleIds.nameOf(rule)
  }

  size(): CompilerSize {
    let sets = 0
    let rows = 0
    for (const set of this.#sets.values()) {
      sets += 1
      rows += set.ingress.size + set.egress.size
    }
    return {
      identities: this.#identities.size,
      sets,
      classes: this.#classes.size,
      rows,
      subjects: this.#subjectRows.size,
    }
  }

  /**
   * The first change after an earlier agent. Its sets know nothing of new identities, so the sets come before the addresses, and have rows
   * for the numbers that addresses carry until then.
   */
  *#takeOver(earlier: EarlierRows, change: WorldChange, writes: Writes, now: number): Steps {
    this.#earlier = undefined
    const addresses = new Writes()
    const { touched, strays } = yield* this.#settle(addresses, now)
    this.#noteSubjects(change)
    const stray = yield* this.#changePolicies(change, touched, newSetsStep(), writes, now, strays)
    writes.deleteSubjects([...earlier.subjects].filter((key) => !this.#subjectRows.has(key)))
    writes.append(addresses)
    const step = newSetsStep()
    this.#sets.raiseAll(step)
    writes.putSets(this.#sets.takeRaised(step))
    writes.deletePeers(stray.peers)
  }

  /** Sets that subjects will leave, where one event changes both ends of a packet: a pod alone meets only itself. */
  #leavingSets({ pods, namespaces }: WorldChange): ReadonlySet<PolicySet> {
    if (!namespaces && (pods?.size ?? 0) < 2) return new Set()
    return this.#sets.leftBy(
      new Map([...this.#subjects.dirty].map((id) => [id, this.#wantedSet(id)] as const)),
    )
  }

  /** Who is where. */
  *#settle(
    writes: Writes,
    now: number,
    leaving: ReadonlySet<PolicySet> = new Set(),
    early?: EarlyWrites,
  ): Steps<PopulationStep> {
    const step = newSetsStep()
    const population = yield* this.#population.settle(now)
    yield* stopping(population.fresh, STOP_IDENTITIES, (identity) => this.#peers.greet(identity))
    const putRows = () => {
      writes.putClasses(this.#classes.takeFresh())
      writes.putCells(step.putCells.splice(0))
      writes.putPeers(step.putRows.splice(0))
    }
    const greeted = () => this.#handOver(step.putRows, putRows, writes, early)
    yield* this.#sets.greet(population.fresh, population.moves, leaving, step, now, greeted)
    yield
    this.#sets.compare(population.moves, step)
    yield
    putRows()
    writes.putIdentities(population.put)
    writes.deleteIdentities(population.delete)
    writes.putSets(this.#sets.takeRaised(step))
    if (early) yield* early(writes.take())
    // Of nobody: the verdicts of whoever looked them up a moment ago are void by now.
    const deleteRows = () => writes.deletePeers(step.deleteRows.splice(0))
    const forgotten = () => this.#handOver(step.deleteRows, deleteRows, writes, early)
    yield* this.#sets.forget(population.gone, step, now, forgotten)
    for (const identity of population.gone) {
      this.#peers.forget(identity)
      this.#identities.remove(identity, now)
    }
    deleteRows()
    return population
  }

  *#handOver(
    rows: readonly unknown[],
    take: () => void,
    writes: Writes,
    early: EarlyWrites | undefined,
  ): Steps {
    yield
    if (!early || rows.length < this.#options.limits.rowsAtOnce) return
    take()
    yield* early(writes.take())
  }

  #noteSubjects({ pods, namespaces, nodes }: WorldChange): void {
    if (pods) this.#subjects.notePods(pods.keys())
    for (const namespace of namespaces?.keys() ?? []) this.#subjects.noteNamespace(namespace)
    const { node } = this.#options
    if (nodes?.has(node)) this.#subjects.noteNode(nodes.get(node))
  }

  /** What is allowed. @returns rows written for stray numbers */
  *#changePolicies(
    change: WorldChange,
    touched: readonly string[],
    step: SetsStep,
    writes: Writes,
    now: number,
    strays: PopulationStep['strays'] = new Map(),
  ): Steps<StrayRows> {
    const changed = new Set<string>()
    for (const [id, policy] of change.policies ?? []) {
      const before = this.#policies.get(id)
      const after = yield* this.#policies.set(id, policy)
      this.#subjects.notePolicy(id, after)
      if (before?.ingress !== after?.ingress || before?.egress !== after?.egress) changed.add(id)
      yield
    }
    const peers = change.networkGroups ? this.#peers.refreshGroups(change.networkGroups) : new Map()
    const wanted = new Map(this.#subjects.takeDirty().map((id) => [id, this.#wantedSet(id)] as const))
    yield* this.#sets.change(wanted, changed, peers, step, now)
    this.#policies.dropReplaced()
    const stray =
      strays.size > 0 ? strayRows(this.#sets.values(), strays, this.#cellNumbers, now) : NO_STRAY_ROWS
    for (const row of stray.cells) step.putCells.push(row)
    for (const row of stray.peers) step.putRows.push(row)
    this.#changeSubjectRows(step, touched, writes, now)
    return stray
  }

  #wantedSet(id: string) {
    const subject = this.#subjects.get(id)
    if (!subject) return undefined
    // A node that no policy selects is not judged at all.
    return subject.kind === 'node' && subject.policies.size === 0
      ? undefined
      : this.#subjects.setTraits(subject)
  }

  #changeSubjectRows(step: SetsStep, touched: readonly string[], writes: Writes, now: number): void {
    const subjects = this.#subjectRows.update(step.subjects, touched, (id) => this.#addressesOf(id), now)
    for (const pod of subjects.rejudged) this.#sets.raise(pod, step)
    writes.putClasses(this.#classes.takeFresh())
    writes.putCells(step.putCells)
    writes.putPeers(step.putRows)
    writes.putSets(step.putSets)
    writes.deletePeers(step.deleteRows)
    writes.putSubjects(subjects.put)
    writes.deleteSubjects(subjects.delete)
    writes.putSets(this.#sets.takeRaised(step))
    writes.deletePeers(step.closedRows)
    writes.deleteSets(step.closedSets)
  }

  #addressesOf(id: string): readonly string[] {
    const whom = id === NODE_SUBJECT ? undefined : this.#subjects.get(id)?.whom
    return whom?.kind === 'pod' ? whom.pod.addresses : []
  }
}
