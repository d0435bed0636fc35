// Writes compiled policy into the kernel's tables: the rows of policy/compile/rows.ts in the order they come, which is such that every
// packet is judged as before a change or as after it.
//
// What has no room closes: a class without room for its ports is left zeroed, which denies; a set that lacks a row, or any set while an
// address lacks its identity, is locked; a subject without a row is unknown. It is written as soon as there is room.
//
// A flow's entry carries the generation of the set that judged it. Each epoch of a set has a generation of its own, and a set that a
// subject leaves gets another, for that subject's flows must not go on by it. A number is made current before the set names it, void
// after the set names the next.

import type { Address, Prefix } from '../model/address.ts'
import type { PolicyDirection } from '../model/policy.ts'
import { atOnce, type Steps } from '../model/slices.ts'
import type {
  ClassId,
  EarlierRows,
  IdentityKey,
  IdentityRow,
  PeerKey,
  PeerRow,
  PolicyChange,
  PolicyWrite,
  RuleId,
  SetId,
  SetRow,
  SubjectKey,
  SubjectRow,
} from '../policy/compile/rows.ts'
import type { CarriedVerdicts } from './flow-table.ts'
import { Leftovers } from './leftovers.ts'
import { PolicyCellRows } from './policy-cells.ts'
import { PolicyClasses } from './policy-classes.ts'
import { Generations, NO_GENERATION } from './policy-generations.ts'
import { inPieces } from './policy-pieces.ts'
import { NODE_SUBJECT, type PolicyTables } from './policy-tables.ts'
import { fits, setIfRoom } from './room.ts'

interface HeldSet {
  /** Undefined: an earlier process wrote it. */
  readonly row: SetRow | undefined
  readonly generation: number
}

/** Rows that found no room, and what is closed instead. */
export interface PolicyShortage {
  readonly classes: number
  readonly peers: number
  readonly identities: number
  readonly subjects: number
  readonly lockedSets: number
}

const NO_VERDICTS: CarriedVerdicts = { generations: new Set(), rule: 0 }
/** The node is led to itself by no Service. */
const NO_HAIRPIN = { ingress: 0, egress: 0 } as const

const peerName = ({ set, direction, identity }: PeerKey) => `${set} ${direction} ${identity}`
const subjectAddress = (key: SubjectKey) => (key.kind === 'node' ? NODE_SUBJECT : (key.address as Address))

export class PolicyMaps {
  readonly #tables: PolicyTables
  readonly #nowMs: () => number
  readonly #generations: Generations
  readonly #ruleOfFlows: RuleId
  #classes: PolicyClasses
  #cells: PolicyCellRows
  readonly #sets = new Map<SetId, HeldSet>()
  readonly #subjects = new Map<Address, SetId>()
  /** What found no room. */
  readonly #waitingPeers = new Map<SetId, Map<string, PeerRow>>()
  readonly #waitingIdentities = new Map<string, IdentityRow>()
  readonly #waitingSubjects = new Map<Address, SubjectRow>()
  #leftovers: {
    readonly identities: Leftovers<Address>
    readonly prefixes: Leftovers<Prefix>
    readonly peers: Leftovers<PeerKey>
    readonly subjects: Leftovers<Address>
    readonly sets: Leftovers<SetId>
  }

  /** @param carried by flows, of an earlier process's verdicts: what it denied stays denied, and its rules' numbers name no others */
  constructor(tables: PolicyTables, nowMs: () => number, carried: CarriedVerdicts = NO_VERDICTS) {
    this.#tables = tables
    this.#nowMs = nowMs
    this.#generations = new Generations(tables.generations, nowMs)
    this.#classes = new PolicyClasses(tables, nowMs)
    this.#cells = new PolicyCellRows(tables.cells)
    this.#leftovers = this.#adopt()
    this.#ruleOfFlows = carried.rule
    for (const generation of carried.generations) this.#generations.rest(generation)
  }

  get shortage(): PolicyShortage {
    const waitingPeers = [...this.#waitingPeers.values()]
    return {
      classes: this.#classes.waiting,
      peers: waitingPeers.reduce((sum, rows) => sum + rows.size, 0),
      identities: this.#waitingIdentities.size,
      subjects: this.#waitingSubjects.size,
      lockedSets: this.#waitingIdentities.size > 0 ? this.#sets.size : waitingPeers.length,
    }
  }

  /** Rows of `policy_ports` in use. */
  get portsUsed(): number {
    return this.#classes.portsUsed
  }

  apply(change: PolicyChange): void {
    atOnce(this.steps(change))
  }

  /** The same with stops between pieces, of which each leaves every packet judged as before or as after. */
  *steps(change: PolicyChange): Steps {
    this.#classes.wake()
    for (const write of change)
      for (const piece of inPieces(write)) {
        this.#apply(piece)
        yield
      }
    if (change.some((write) => 'delete' in write)) this.#retry()
  }

  /** What an earlier process left; to be asked before the first change. */
  earlier(): EarlierRows {
    const { identities, prefixes } = this.#tables
    const { classes, rule } = this.#classes.earlier()
    const known = [
      ...[...identities.entries()].map(
        ([text, { number }]) => ({ kind: 'address', text, identity: number }) as const,
      ),
      ...[...prefixes.entries()].map(
        ([text, { number }]) => ({ kind: 'prefix', text, identity: number }) as const,
      ),
    ]
    // Generations tell the verdicts of before apart, whatever the epochs are.
    return {
      epoch: 0,
      rule: Math.max(rule, this.#ruleOfFlows),
      sets: [...this.#sets.keys()],
      cells: this.#cells.earlier(),
      classes,
      subjects: [...this.#subjects.keys()].map((address) =>
        address === NODE_SUBJECT ? { kind: 'node' } : { kind: 'pod', address },
      ),
      identities: known,
    }
  }

  /** What the kernel holds is an earlier process's from now on: a complete change follows, and `settle`. */
  adoptAnew(): void {
    for (const rows of [this.#waitingPeers, this.#waitingIdentities, this.#waitingSubjects]) rows.clear()
    this.#sets.clear()
    this.#subjects.clear()
    this.#classes = new PolicyClasses(this.#tables, this.#nowMs)
    this.#cells = new PolicyCellRows(this.#tables.cells)
    this.#leftovers = this.#adopt()
  }

  /** After the first complete change: rows of an earlier process that nobody put go. */
  settle(): void {
    const { identities, prefixes, peers, subjects, sets } = this.#leftovers
    for (const address of subjects.take()) this.#deleteSubject(address)
    for (const set of sets.take()) this.#deleteSet(set)
    this.#tables.peers.deleteMany(peers.take())
    this.#cells.settle()
    for (const address of identities.take()) this.#tables.identities.delete(address)
    for (const prefix of prefixes.take()) this.#tables.prefixes.delete(prefix)
    this.#classes.settle()
    this.#retry()
  }

  /**
   * Ends the rest of generations and ports.
   * @param isNamed whether a flow still carries the generation
   * @returns when to call again; undefined when nothing rests
   */
  retire(isNamed: (generation: number) => boolean): number | undefined {
    const wakes = [this.#classes.wake(), this.#generations.wake(isNamed)]
    const due = wakes.filter((wake) => wake !== undefined)
    return due.length > 0 ? Math.min(...due) : undefined
  }

  #apply(write: PolicyWrite): void {
    if ('put' in write) {
      if (write.table === 'classes') for (const row of write.put) this.#classes.put(row)
      else if (write.table === 'cells') this.#cells.put(write.put, (id) => this.#classes.numberOf(id))
      else if (write.table === 'peers') this.#putPeers(write.put)
      else if (write.table === 'sets') for (const row of write.put) this.#putSet(row)
      else if (write.table === 'identities') this.#putIdentities(write.put)
      else this.#putSubjects(write.put)
    } else if (write.table === 'classes') for (const id of write.delete) this.#classes.delete(id)
    else if (write.table === 'cells') this.#cells.delete(write.delete)
    else if (write.table === 'peers') this.#deletePeers(write.delete)
    else if (write.table === 'sets') for (const set of write.delete) this.#deleteSet(set)
    else if (write.table === 'identities') for (const key of write.delete) this.#deleteIdentity(key)
    else for (const key of write.delete) this.#deleteSubject(subjectAddress(key))
  }

  #putPeers(rows: readonly PeerRow[]): void {
    const batch = this.#tables.peers.batch()
    for (const row of rows) {
      this.#leftovers.peers.claim(row)
      batch.add(keyOf(row), this.#cells.numberOf(row.cell))
    }
    const isWritten = fits(() => batch.write())
    if (isWritten && this.#waitingPeers.size === 0) return
    for (const row of rows) {
      if (isWritten || setIfRoom(this.#tables.peers, keyOf(row), this.#cells.numberOf(row.cell)))
        this.#forgetWaitingPeer(row)
      else this.#awaitPeer(row)
    }
  }

  #awaitPeer(row: PeerRow): void {
    const waiting = this.#waitingPeers.get(row.set) ?? new Map<string, PeerRow>()
    waiting.set(peerName(row), row)
    this.#waitingPeers.set(row.set, waiting)
    if (waiting.size === 1) this.#rewriteSet(row.set)
  }

  #forgetWaitingPeer(key: PeerKey): void {
    const waiting = this.#waitingPeers.get(key.set)
    if (!waiting?.delete(peerName(key)) || waiting.size > 0) return
    this.#waitingPeers.delete(key.set)
    this.#rewriteSet(key.set)
  }

  #deletePeers(keys: readonly PeerKey[]): void {
    for (const key of keys) this.#leftovers.peers.claim(key)
    this.#tables.peers.deleteMany(keys.map(keyOf))
    for (const key of keys) this.#forgetWaitingPeer(key)
  }

  #putSet(row: SetRow): void {
    this.#leftovers.sets.claim(row.set)
    if (row.set >= this.#tables.sets.length) return
    this.#writeSet(row, this.#sets.get(row.set)?.row?.epoch !== row.epoch)
  }

  /** @param isAnew its verdicts of before hold no longer */
  #writeSet(row: SetRow, isAnew: boolean): void {
    const before = this.#sets.get(row.set)?.generation ?? NO_GENERATION
    const generation = isAnew ? this.#generations.take() : before
    const classesOf = (defaults: readonly ClassId[]) => defaults.map((id) => this.#classes.numberOf(id))
    const [outside = 0, pod = 0, node = 0] = classesOf(row.ingress.defaults)
    const [outsideOut = 0, podOut = 0, nodeOut = 0] = classesOf(row.egress.defaults)
    this.#tables.sets.set(row.set, {
      generation,
      isOpen: { ingress: row.ingress.isOpen, egress: row.egress.isOpen },
      isAudited: { ingress: row.ingress.isAudited === true, egress: row.egress.isAudited === true },
      isLocked: this.#waitingPeers.has(row.set) || this.#waitingIdentities.size > 0,
      defaults: { ingress: [outside, pod, node], egress: [outsideOut, podOut, nodeOut] },
    })
    this.#sets.set(row.set, { row, generation })
    if (generation !== before) this.#generations.end(before)
  }

  /** The same set, locked or unlocked, or with flows of a subject that it has no more. */
  #rewriteSet(set: SetId): void {
    const held = this.#sets.get(set)
    if (!held) return
    if (held.row) {
      this.#writeSet(held.row, true)
      return
    }
    // What an earlier process meant is told anew soon; until then each packet is judged by its rows.
    this.#sets.set(set, { row: undefined, generation: NO_GENERATION })
    this.#generations.end(held.generation)
  }

  #deleteSet(set: SetId): void {
    this.#leftovers.sets.claim(set)
    if (set >= this.#tables.sets.length) return
    this.#tables.sets.set(set, undefined)
    this.#generations.end(this.#sets.get(set)?.generation ?? NO_GENERATION)
    this.#sets.delete(set)
    this.#waitingPeers.delete(set)
  }

  #putIdentities(rows: readonly IdentityRow[]): void {
    const batch = this.#tables.identities.batch()
    for (const { kind, text, identity, scope } of rows) {
      if (kind !== 'address') continue
      this.#leftovers.identities.claim(text as Address)
      batch.add(text as Address, { number: identity, scope })
    }
    const isWritten = fits(() => batch.write())
    for (const row of rows) {
      if (row.kind === 'prefix') this.#leftovers.prefixes.claim(row.text as Prefix)
      if (isWritten && row.kind === 'address') this.#forgetWaitingIdentity(row)
      else if (this.#putIdentity(row)) this.#forgetWaitingIdentity(row)
      else this.#awaitIdentity(row)
    }
  }

  #putIdentity({ kind, text, identity, scope }: IdentityRow): boolean {
    const value = { number: identity, scope }
    return kind === 'address'
      ? setIfRoom(this.#tables.identities, text as Address, value)
      : setIfRoom(this.#tables.prefixes, text as Prefix, value)
  }

  /** Whoever has no identity would be taken for somebody else. */
  #awaitIdentity(row: IdentityRow): void {
    this.#waitingIdentities.set(row.text, row)
    if (this.#waitingIdentities.size === 1) for (const set of this.#sets.keys()) this.#rewriteSet(set)
  }

  #forgetWaitingIdentity({ text }: IdentityKey): void {
    if (!this.#waitingIdentities.delete(text) || this.#waitingIdentities.size > 0) return
    for (const set of this.#sets.keys()) this.#rewriteSet(set)
  }

  #deleteIdentity(key: IdentityKey): void {
    if (key.kind === 'address') {
      this.#leftovers.identities.claim(key.text as Address)
      this.#tables.identities.delete(key.text as Address)
    } else {
      this.#leftovers.prefixes.claim(key.text as Prefix)
      this.#tables.prefixes.delete(key.text as Prefix)
    }
    this.#forgetWaitingIdentity(key)
  }

  #putSubjects(rows: readonly SubjectRow[]): void {
    const left = new Set<SetId>()
    for (const row of rows) {
      const address = subjectAddress(row)
      const before = this.#subjects.get(address)
      const set = row.set < this.#tables.sets.length ? row.set : 0
      const hairpin = row.kind === 'pod' ? row.hairpin : NO_HAIRPIN
      this.#leftovers.subjects.claim(address)
      this.#waitingSubjects.delete(address)
      if (!setIfRoom(this.#tables.subjects, address, { set, hairpin: this.#classesOf(hairpin) })) {
        this.#waitingSubjects.set(address, row)
        continue
      }
      this.#subjects.set(address, set)
      if (address === NODE_SUBJECT) this.#tables.host.set(0, set)
      if (before !== undefined && before !== set) left.add(before)
    }
    for (const set of left) this.#rewriteSet(set)
  }

  #classesOf({ ingress, egress }: Readonly<Record<PolicyDirection, ClassId>>) {
    return { ingress: this.#classes.numberOf(ingress), egress: this.#classes.numberOf(egress) }
  }

  /** Whether the kernel holds that nothing is said of this pod, in either direction. */
  isOpen(address: Address): boolean {
    const row = this.#sets.get(this.#subjects.get(address) ?? 0)?.row
    return row ? row.ingress.isOpen && row.egress.isOpen : false
  }

  #deleteSubject(address: Address): void {
    const before = this.#subjects.get(address)
    this.#leftovers.subjects.claim(address)
    this.#waitingSubjects.delete(address)
    if (address === NODE_SUBJECT) this.#tables.host.set(0, 0)
    this.#tables.subjects.delete(address)
    this.#subjects.delete(address)
    if (before !== undefined) this.#rewriteSet(before)
  }

  /** What had no room, after something went. */
  #retry(): void {
    this.#classes.retry()
    const identities = [...this.#waitingIdentities.values()]
    if (identities.length > 0) this.#putIdentities(identities)
    for (const waiting of [...this.#waitingPeers.values()]) this.#putPeers([...waiting.values()])
    if (this.#waitingSubjects.size > 0) this.#putSubjects([...this.#waitingSubjects.values()])
  }

  /** What an earlier process left goes on until it is put anew, or settled. */
  #adopt() {
    const { identities, prefixes, peers, subjects, sets } = this.#tables
    for (const [set, { generation }] of sets.entries()) {
      this.#sets.set(set, { row: undefined, generation })
      this.#generations.adopt(generation)
    }
    for (const [address, { set }] of subjects.entries()) this.#subjects.set(address, set)
    return {
      identities: new Leftovers(keysOf(identities.entries()), (address: Address) => address),
      prefixes: new Leftovers(keysOf(prefixes.entries()), (prefix: Prefix) => prefix),
      peers: new Leftovers(keysOf(peers.entries()), peerName),
      subjects: new Leftovers(this.#subjects.keys(), (address: Address) => address),
      sets: new Leftovers(this.#sets.keys(), (set: SetId) => set),
    }
  }
}

const keyOf = ({ set, direction, identity }: PeerKey): PeerKey => ({ set, direction, identity })

function* keysOf<Key>(entries: Iterable<readonly [Key, unknown]>): Generator<Key> {
  for (const [key] of entries) yield key
}
