// Names of rules as the kernel carries them: a u32 in every verdict, for flows, events and counters. A rule keeps its number while its
// policy has a rule at that place, and its name is remembered after it went, for flows and events that still carry it. Numbers are handed
// out in order and come round only after four thousand million others, and then not while in use or remembered.

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
  #next: RuleId

  /** @param first above the numbers that an earlier agent's flows may carry */
  constructor(first: RuleId = FIRST_RULE) {
    this.#next = Math.max(first, FIRST_RULE)
  }

  /** One more use of the rule. Its number is the one it had, if it was here lately. */
  take(name: RuleName): RuleId {
    const key = keyOf(name)
    const known = this.#byKey.get(key)
    if (known) {
      known.uses += 1
      known.name = name
      this.#gone.delete(key)
      return known.id
    }
    const entry = { id: this.#freeId(), name, uses: 1 }
    this.#byKey.set(key, entry)
    this.#byId.set(entry.id, entry)
    return entry.id
  }

  give(id: RuleId): void {
    const entry = this.#byId.get(id)
    if (!entry) return
    entry.uses -= 1
    if (entry.uses > 0) return
    this.#gone.add(keyOf(entry.name))
    if (this.#gone.size > REMEMBERED_MAX) this.#forgetOldest()
  }

  /** @returns undefined for a number that names nothing (any more) */
  nameOf(id: RuleId): RuleName | BuiltInCause | undefined {
    return BUILT_IN.get(id) ?? this.#byId.get(id)?.name
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
    if (oldest === undefined) return
    this.#gone.delete(oldest)
    const entry = this.#byKey.get(oldest)
    this.#byKey.delete(oldest)
    if (entry) this.#byId.delete(entry.id)
  }
}
