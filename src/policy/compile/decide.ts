// The kernel's look-ups over the rows, in TypeScript: what the compiled tables say of a packet. Tests hold it against the evaluator, and
// the programs against it; nothing of the compiler's insides is known here.

import { type Address, familyOf, type Prefix } from '../../model/address.ts'
import type { PolicyDirection, PolicyPacket } from '../../model/policy.ts'
import { IDENTITY_WORLD } from './identity-numbers.ts'
import { PrefixIndex, placeOfAddress } from './prefix-index.ts'
import {
  type CellId,
  CLASS_PROTOCOLS,
  type ClassId,
  type ClassRow,
  type EarlierRows,
  type IdentityId,
  type IdentityRow,
  type PeerKey,
  type PeerRow,
  type PolicyWrite,
  type PortInterval,
  RULE_NO_ROOM,
  RULE_OWN_NODE,
  RULE_SELF,
  type RuleId,
  SCOPES,
  type Scope,
  type SetId,
  type SetRow,
  type SubjectRow,
} from './rows.ts'

export interface Decision {
  readonly isAllowed: boolean
  readonly rule: RuleId
  /** Not 0: with the audited policies in force it would be the other way round, by this rule. */
  readonly wouldBeRule: RuleId
  readonly keepsExisting: boolean
  /** Of the subject's set, as it was before judging. */
  readonly epoch: number
}

const CLOSED: Omit<Decision, 'epoch'> = {
  isAllowed: false,
  rule: RULE_NO_ROOM,
  wouldBeRule: 0,
  keepsExisting: false,
}

/** Rows of an earlier agent. */
interface Leftovers {
  readonly peers: Set<string>
  readonly sets: Set<SetId>
  readonly cells: Set<CellId>
  readonly classes: Set<ClassId>
}

const NO_LEFTOVERS = (): Leftovers => ({
  peers: new Set(),
  sets: new Set(),
  cells: new Set(),
  classes: new Set(),
})

function peerText({ set, direction, identity }: PeerKey): string {
  return `${set} ${direction} ${identity}`
}

/** The six tables. Refuses a row that points to one that is not there (yet, or any more): such an order would open a window. */
export class PolicyTables {
  readonly #classes = new Map<ClassId, ClassRow>()
  readonly #cells = new Map<CellId, ClassId>()
  readonly #peers = new Map<string, PeerRow>()
  readonly #sets = new Map<SetId, SetRow>()
  readonly #identities = new Map<string, IdentityRow>()
  readonly #prefixes = new PrefixIndex()
  readonly #subjects = new Map<string, SubjectRow>()
  #leftovers = NO_LEFTOVERS()

  apply(write: PolicyWrite): void {
    if ('put' in write) this.#put(write)
    else this.#delete(write)
  }

  /** Verdict of one direction; undefined where its subject is not judged on this node. */
  decide(
    packet: PolicyPacket,
    direction: PolicyDirection,
    ownAddresses: ReadonlySet<string>,
  ): Decision | undefined {
    const [own, other] =
      direction === 'egress' ? [packet.source, packet.destination] : [packet.destination, packet.source]
    const isBorrowed = packet.isMasqueraded && direction === 'egress'
    const subject = isBorrowed ? undefined : this.#subjects.get(ownAddresses.has(own) ? 'node' : own)
    if (!subject) return undefined
    const set = this.#sets.get(subject.set)
    const epoch = set?.epoch ?? 0
    if (subject.kind === 'node' && direction === 'egress' && this.#subjects.get(other)?.kind === 'pod')
      // Of no epoch: the address may be another's tomorrow, and nothing of the node's set changes then.
      return { isAllowed: true, rule: RULE_OWN_NODE, wouldBeRule: 0, keepsExisting: false, epoch: 0 }
    if (!packet.isMasqueraded && subject.kind === 'pod') {
      const peer = this.#subjects.get(other)
      if (peer?.kind === 'pod' && peer.pod === subject.pod) {
        if (!packet.isHairpin)
          return { isAllowed: true, rule: RULE_SELF, wouldBeRule: 0, keepsExisting: false, epoch }
        return { ...this.#verdict(subject.hairpin[direction], packet), epoch }
      }
    }
    if (!set) return { ...CLOSED, epoch }
    const { identity, scope } = this.identityOf(other, packet.isMasqueraded)
    const row = this.#peers.get(peerText({ set: set.set, direction, identity }))
    const byDefault = set[direction].defaults[SCOPES.indexOf(scope)] ?? 0
    const found = row ? (this.#cells.get(row.cell) ?? 0) : byDefault
    return { ...this.#verdict(found, packet), epoch }
  }

  identityOf(
    address: string,
    isMasqueraded: boolean,
  ): { readonly identity: IdentityId; readonly scope: Scope } {
    const exact = isMasqueraded ? undefined : this.#identities.get(address)
    if (exact) return exact
    const prefix = this.#prefixes.longest(placeOfAddress(address as Address))
    const found = prefix === undefined ? undefined : this.#identities.get(prefix)
    return found ?? { identity: IDENTITY_WORLD, scope: 'outside' }
  }

  /** The epoch by which a subject's verdicts are measured now. */
  epochOf(own: string): number | undefined {
    const subject = this.#subjects.get(own)
    return subject && this.#sets.get(subject.set)?.epoch
  }

  /** As a following agent reads them. @param rule above every rule's number */
  asEarlier(rule: RuleId): EarlierRows {
    this.#leftovers = {
      peers: new Set(this.#peers.keys()),
      sets: new Set(this.#sets.keys()),
      cells: new Set(this.#cells.keys()),
      classes: new Set(this.#classes.keys()),
    }
    return {
      epoch: Math.max(0, ...[...this.#sets.values()].map(({ epoch }) => epoch)),
      rule,
      sets: [...this.#sets.keys()],
      cells: [...this.#cells.keys()],
      classes: [...this.#classes.keys()],
      subjects: [...this.#subjects.values()],
      identities: [...this.#identities.values()],
    }
  }

  /** After the following agent's first change: rows that it did not put go. */
  settle(): void {
    const { peers, sets, cells, classes } = this.#leftovers
    for (const key of peers) this.#peers.delete(key)
    this.#delete({ table: 'sets', delete: [...sets] })
    this.#delete({ table: 'cells', delete: [...cells] })
    this.#delete({ table: 'classes', delete: [...classes] })
    this.#leftovers = NO_LEFTOVERS()
  }

  /** How many rows each table has. */
  sizes(): Readonly<Record<string, number>> {
    return {
      classes: this.#classes.size,
      cells: this.#cells.size,
      peers: this.#peers.size,
      sets: this.#sets.size,
      identities: this.#identities.size,
      subjects: this.#subjects.size,
    }
  }

  #verdict(id: ClassId, packet: PolicyPacket): Omit<Decision, 'epoch'> {
    const unit = this.#classes.get(id)
    if (!unit) return CLOSED
    const family = familyOf(packet.destination as Address)
    const protocol = packet.protocol === 'icmp' && family === 'ipv6' ? 'icmpv6' : packet.protocol
    const intervals = unit.protocols[CLASS_PROTOCOLS.indexOf(protocol)] ?? []
    const found = unit.uniform ?? intervals.findLast(({ first }: PortInterval) => first <= packet.port)
    if (!found) throw new Error(`class ${id} says nothing of ${protocol} port ${packet.port}`)
    const { isAllowed, rule, wouldBeRule, keepsExisting } = found
    return { isAllowed, rule, wouldBeRule, keepsExisting }
  }

  #put(write: Extract<PolicyWrite, { put: unknown }>): void {
    switch (write.table) {
      case 'classes':
        for (const row of write.put) {
          this.#leftovers.classes.delete(row.class)
          this.#classes.set(row.class, row)
        }
        return
      case 'cells':
        for (const row of write.put) {
          this.#needClass(row.class)
          if (row.cell === 0) throw new Error('cell 0 is closed')
          this.#leftovers.cells.delete(row.cell)
          this.#cells.set(row.cell, row.class)
        }
        return
      case 'peers':
        for (const row of write.put) {
          if (row.cell !== 0 && !this.#cells.has(row.cell))
            throw new Error(`a row names cell ${row.cell}, which is not there`)
          this.#leftovers.peers.delete(peerText(row))
          this.#peers.set(peerText(row), row)
        }
        return
      case 'sets':
        for (const row of write.put) {
          for (const id of [...row.ingress.defaults, ...row.egress.defaults]) this.#needClass(id)
          this.#leftovers.sets.delete(row.set)
          this.#sets.set(row.set, row)
        }
        return
      case 'identities':
        for (const row of write.put) {
          this.#identities.set(row.text, row)
          if (row.kind === 'prefix') this.#prefixes.add(row.text as Prefix)
        }
        return
      case 'subjects':
        for (const row of write.put) {
          if (row.set !== 0 && !this.#sets.has(row.set))
            throw new Error(`subject of set ${row.set}, which is not there`)
          if (row.kind === 'pod') for (const id of Object.values(row.hairpin)) this.#needClass(id)
          this.#subjects.set(row.kind === 'pod' ? row.address : 'node', row)
        }
    }
  }

  #delete(write: Exclude<PolicyWrite, { put: unknown }>): void {
    switch (write.table) {
      case 'classes':
        for (const id of write.delete) this.#deleteClass(id)
        return
      case 'cells':
        for (const id of write.delete) this.#deleteCell(id)
        return
      case 'peers':
        for (const key of write.delete) this.#peers.delete(peerText(key))
        return
      case 'sets':
        for (const id of write.delete) {
          if ([...this.#subjects.values()].some(({ set }) => set === id))
            throw new Error(`set ${id} has subjects`)
          if ([...this.#peers.values()].some(({ set }) => set === id)) throw new Error(`set ${id} has rows`)
          this.#sets.delete(id)
        }
        return
      case 'identities':
        for (const { kind, text } of write.delete) {
          this.#identities.delete(text)
          if (kind === 'prefix') this.#prefixes.delete(text as Prefix)
        }
        return
      case 'subjects':
        for (const key of write.delete) this.#subjects.delete(key.kind === 'pod' ? key.address : 'node')
    }
  }

  #needClass(id: ClassId): void {
    if (id !== 0 && !this.#classes.has(id)) throw new Error(`a row names class ${id}, which is not there`)
  }

  #deleteCell(id: CellId): void {
    if ([...this.#peers.values()].some(({ cell }) => cell === id))
      throw new Error(`cell ${id} is deleted, but a row names it`)
    this.#cells.delete(id)
  }

  #deleteClass(id: ClassId): void {
    const names = [
      ...this.#cells.values(),
      ...[...this.#sets.values()].flatMap(({ ingress, egress }) => [...ingress.defaults, ...egress.defaults]),
      ...[...this.#subjects.values()].flatMap((row) =>
        row.kind === 'pod' ? Object.values(row.hairpin) : [],
      ),
    ]
    if (names.includes(id)) throw new Error(`class ${id} is deleted, but a row names it`)
    this.#classes.delete(id)
  }
}
