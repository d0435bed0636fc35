// Which address is judged by which set: the rows of subjects as they stand in the kernel.

import { POLICY_DIRECTIONS, type PolicyDirection } from '../../model/policy.ts'
import type { Classes, PolicyClass } from './classes.ts'
import { Grouped } from './grouped.ts'
import type { PolicySets } from './policy-sets.ts'
import type { Population } from './population.ts'
import type { SetId, SubjectKey, SubjectRow } from './rows.ts'
import { NODE_SUBJECT } from './subjects.ts'

interface PodRow {
  readonly pod: string
  readonly set: SetId
  /** Undefined: the closed class, for there is no set. */
  readonly hairpin: Readonly<Record<PolicyDirection, PolicyClass>> | undefined
}

export interface SubjectChanges {
  readonly put: SubjectRow[]
  readonly delete: SubjectKey[]
  /** Pods whose own class for what Services lead back changed: their set's verdicts are to be taken anew. */
  readonly rejudged: string[]
}

export class SubjectRows {
  readonly #population: Population
  readonly #sets: PolicySets
  readonly #classes: Classes
  readonly #pods = new Map<string, PodRow>()
  readonly #byPod = new Grouped<string, string>()
  #node: SetId | undefined

  constructor(population: Population, sets: PolicySets, classes: Classes) {
    this.#population = population
    this.#sets = sets
    this.#classes = classes
  }

  get size(): number {
    return this.#pods.size
  }

  has(key: SubjectKey): boolean {
    return key.kind === 'node' ? this.#node !== undefined : this.#pods.has(key.address)
  }

  /**
   * @param addresses whose owner may be another now
   * @param addressesOf of a pod that is judged here, else none
   */
  update(
    subjects: ReadonlySet<string>,
    addresses: Iterable<string>,
    addressesOf: (subject: string) => readonly string[],
    now: number,
  ): SubjectChanges {
    const changes: SubjectChanges = { put: [], delete: [], rejudged: [] }
    const stale = new Set(addresses)
    for (const subject of subjects) {
      if (subject === NODE_SUBJECT) this.#updateNode(changes)
      else for (const address of [...this.#byPod.get(subject), ...addressesOf(subject)]) stale.add(address)
    }
    for (const address of stale) this.#updateAddress(address, addressesOf, changes, now)
    return changes
  }

  #updateNode(changes: SubjectChanges): void {
    const set = this.#sets.setOf(NODE_SUBJECT)?.id
    if (set === this.#node) return
    this.#node = set
    if (set === undefined) changes.delete.push({ kind: 'node' })
    else changes.put.push({ kind: 'node', set })
  }

  #updateAddress(
    address: string,
    addressesOf: (subject: string) => readonly string[],
    changes: SubjectChanges,
    now: number,
  ): void {
    const before = this.#pods.get(address)
    const found = this.#population.podAt(address)
    const isHere = found !== undefined && addressesOf(found.pod.key).includes(address)
    if (!isHere) {
      if (!before) return
      this.#pods.delete(address)
      this.#byPod.delete(before.pod, address)
      changes.delete.push({ kind: 'pod', address })
    } else {
      const pod = found.pod.key
      const set = this.#sets.setOf(pod)
      const take = (direction: PolicyDirection) =>
        set && this.#classes.take(set[direction].plan.hairpinContent(found.identity), now)
      const [ingress, egress] = POLICY_DIRECTIONS.map(take)
      const row = { pod, set: set?.id ?? 0, hairpin: ingress && egress && { ingress, egress } }
      this.#pods.set(address, row)
      if (before && before.pod !== pod) this.#byPod.delete(before.pod, address)
      this.#byPod.add(pod, address)
      if (!before || !isSameRow(before, row)) {
        const classes = { ingress: ingress?.class ?? 0, egress: egress?.class ?? 0 }
        changes.put.push({ kind: 'pod', address, set: row.set, pod, hairpin: classes })
        if (before?.set === row.set) changes.rejudged.push(pod)
      }
    }
    for (const unit of before?.hairpin ? Object.values(before.hairpin) : []) this.#classes.give(unit)
  }
}

function isSameRow(a: PodRow, b: PodRow): boolean {
  return (
    a.pod === b.pod &&
    a.set === b.set &&
    a.hairpin?.ingress === b.hairpin?.ingress &&
    a.hairpin?.egress === b.hairpin?.egress
  )
}
