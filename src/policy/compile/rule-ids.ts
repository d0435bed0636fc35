// Names of rules as the kernel carries them: a u32 in every verdict, for flows, events and counters. A rule keeps its number while its
// policy has a rule at that place, and its name is remembered after it went, for flows and events that still carry it. Numbers are handed
// out in order and come round only after four thousand million others, and then not while in use or remembered. They outlive a compiler,
// and by way of whoever is told of new ones (`onNew`) and hands them over again, the process.

import type { PolicyDirection, PolicyKind } from '../../model/policy.ts'
import {
  FIRST_RULE,
  RULE_DEFAULT,
  RULE_FAIL_SAFE,
  RULE_NO_ROOM,
  RULE_OWN_NODE,
  RULE_SELF,
  RULE_UNKNOWN,
  RULE_UNTRANSLATED,
  type RuleId,
} from './rows.ts'

export interface RuleName {
  readonly kind: PolicyKind
  /** `namespace/name`, or the name of a cluster-wide one. */
  readonly key: string
  readonly part: number
  readonly direction: PolicyDirection
  /** Place in the direction's rules; -1: none of them, the policy isolates whom it selects. */
  readonly index: number
  /** Where it is written: `spec.ingress[2]`; for isolation empty. */
  readonly path: string
}

export type BuiltInCause =
  | 'none'
  | 'default'
  | 'self'
  | 'own-node'
  | 'no-room'
  | 'fail-safe'
  | 'unknown'
  | 'untranslated'

const BUILT_IN: ReadonlyMap<RuleId, BuiltInCause> = new Map([
  [0, 'none'],
  [RULE_DEFAULT, 'default'],
  [RULE_SELF, 'self'],
  [RULE_OWN_NODE, 'own-node'],
  [RULE_NO_ROOM, 'no-room'],
  [RULE_FAIL_SAFE, 'fail-safe'],
  [RULE_UNKNOWN, 'unknown'],
  [RULE_UNTRANSLATED, 'untranslated'],
])

/** Rules gone whose names are still known: more than the flows of a busy node refer to. */
const REMEMBERED_MAX = 65_536
const RULE_LAST = 0xffff_ffff

export interface NumberedRule {
  readonly id: RuleId
  readonly name: RuleName
}

export interface RuleIdsOptions {
  /** The first that nobody had yet. */
  readonly next?: RuleId
  /** Given before, by an earlier process; of two that contradict each other the later one counts. */
  readonly known?: Iterable<NumberedRule>
  /** Called before anybody else has the number, and when the rule is written elsewhere in its policy. */
  readonly onNew?: (rule: NumberedRule) => void
}

interface Entry {
  readonly id: RuleId
  name: RuleName
  uses: number
}

function keyOf({ kind, key, part, direction, index }: RuleName): string {
  return `${kind} ${key} ${part} ${direction} ${index}`
}

export class RuleIds {
  readonly #byKey = new Map<string, Entry>()
  readonly #byId = new Map<RuleId, Entry>()
  /** Keys of rules gone, longest gone first. */
  readonly #gone = new Set<string>()
  readonly #onNew: (rule: NumberedRule) => void
  #next: RuleId

  constructor({ next = FIRST_RULE, known = [], onNew = () => {} }: RuleIdsOptions = {}) {
    this.#onNew = onNew
    this.#next = next
    for (const { id, name } of known) this.#remember(id, name)
  }

  /** Those whose rules are gone first, the longest gone ahead. */
  *list(): IterableIterator<NumberedRule> {
    for (const key of this.#gone) yield this.#byKey.get(key) as Entry
    for (const entry of this.#byId.values()) if (entry.uses > 0) yield entry
  }

  get next(): RuleId {
    return this.#next
  }

  get size(): number {
    return this.#byId.size
  }

  /**
   * Nobody uses any of them: another compiler takes what it needs.
   * @param highest that flows and rows carry; no rule without a name is given a number up to it
   */
  beginAnew(highest: RuleId): void {
    for (const [key, entry] of this.#byKey) {
      if (entry.uses > 0) this.#gone.add(key)
      entry.uses = 0
    }
    if (this.#next <= highest && highest < RULE_LAST) this.#next = highest + 1
  }

  /** One more use of the rule. Its number is the one it had, if it was here lately. */
  take(name: RuleName): RuleId {
    const key = keyOf(name)
    const known = this.#byKey.get(key)
    if (known) {
      const isMoved = known.name.path !== name.path
      known.uses += 1
      known.name = name
      this.#gone.delete(key)
      if (isMoved) this.#onNew(known)
      return known.id
    }
    const entry = { id: this.#freeId(), name, uses: 1 }
    this.#byKey.set(key, entry)
    this.#byId.set(entry.id, entry)
    this.#onNew(entry)
    return entry.id
  }

  give(id: RuleId): void {
    const entry = this.#byId.get(id)
    if (!entry) return
    entry.uses -= 1
    if (entry.uses > 0) return
    this.#gone.add(keyOf(entry.name))
    while (this.#gone.size > REMEMBERED_MAX) this.#forgetOldest()
  }

  /** @returns undefined for a number that names nothing (any more) */
  nameOf(id: RuleId): RuleName | BuiltInCause | undefined {
    return BUILT_IN.get(id) ?? this.#byId.get(id)?.name
  }

  #remember(id: RuleId, name: RuleName): void {
    const key = keyOf(name)
    const before = [this.#byId.get(id), this.#byKey.get(key)]
    for (const entry of before) if (entry) this.#forget(keyOf(entry.name), entry)
    const entry = { id, name, uses: 0 }
    this.#byKey.set(key, entry)
    this.#byId.set(id, entry)
    this.#gone.add(key)
    if (id >= this.#next && id < RULE_LAST) this.#next = id + 1
  }

  #freeId(): RuleId {
    while (this.#byId.has(this.#next)) this.#advance()
    const id = this.#next
    this.#advance()
    return id
  }

  #advance(): void {
    this.#next = this.#next >= RULE_LAST ? FIRST_RULE : this.#next + 1
  }

  #forgetOldest(): void {
    const [oldest] = this.#gone
    const entry = oldest === undefined ? undefined : this.#byKey.get(oldest)
    if (oldest !== undefined && entry) this.#forget(oldest, entry)
  }

  #forget(key: string, { id }: Entry): void {
    this.#gone.delete(key)
    this.#byKey.delete(key)
    this.#byId.delete(id)
  }
}
