// Who is judged on this node: its pods, and the node itself; and which policies select each.

import type { PolicyNode, PolicyPod } from '../../model/policy.ts'
import { isSomebody, type Objects, podLabels } from './objects.ts'
import { type ReadyPolicies, type ReadyPolicy, type Subjectable, selects } from './policies.ts'
import { type NamedPorts, namedPortsKey } from './rule-ports.ts'

export interface Subject {
  readonly kind: 'pod' | 'node'
  /** A pod's key; of the node empty. */
  readonly id: string
  whom: Subjectable
  /** Ids of the policies that select it. */
  readonly policies: Set<string>
}

/** What subjects must have in common to share a set. */
export interface SetTraits {
  readonly key: string
  readonly kind: 'pod' | 'node'
  /** Ids, in order. */
  readonly policies: readonly string[]
  /** As far as ingress rules name them. */
  readonly namedPorts: NamedPorts
  readonly namedPortsKey: string
}

export const NODE_SUBJECT = ''
const PART = '\u0001'

export class Subjects {
  readonly #node: string
  readonly #objects: Objects
  readonly #policies: ReadyPolicies
  readonly #subjects = new Map<string, Subject>()
  /** Their objects changed, or the policies that select them, or what these say. */
  readonly #dirty = new Set<string>()

  constructor(node: string, objects: Objects, policies: ReadyPolicies) {
    this.#node = node
    this.#objects = objects
    this.#policies = policies
  }

  get(id: string): Subject | undefined {
    return this.#subjects.get(id)
  }

  /** Pods or namespaces changed (they are in `Objects` by now). */
  notePods(keys: Iterable<string>): void {
    for (const key of keys) {
      const pod = this.#objects.pods.get(key)
      if (pod && pod.node === this.#node && isSomebody(pod)) this.#place('pod', key, this.#asPod(pod))
      else if (this.#subjects.delete(key)) this.#dirty.add(key)
    }
  }

  noteNamespace(namespace: string): void {
    this.notePods([...this.#objects.podsByNamespace.get(namespace)].filter((key) => this.#subjects.has(key)))
  }

  noteNode(node: PolicyNode | undefined): void {
    if (node) this.#place('node', NODE_SUBJECT, { kind: 'node', node })
    else if (this.#subjects.delete(NODE_SUBJECT)) this.#dirty.add(NODE_SUBJECT)
  }

  notePolicy(id: string, ready: ReadyPolicy | undefined): void {
    for (const subject of this.#subjects.values()) {
      const isSelected = ready !== undefined && selects(ready.policy, subject.whom)
      const was = isSelected ? subject.policies.has(id) : subject.policies.delete(id)
      if (isSelected) subject.policies.add(id)
      if (was || isSelected) this.#dirty.add(subject.id)
    }
  }

  get dirty(): Iterable<string> {
    return this.#dirty
  }

  takeDirty(): readonly string[] {
    const dirty = [...this.#dirty]
    this.#dirty.clear()
    return dirty
  }

  setTraits({ kind, whom, policies: selected }: Subject): SetTraits {
    const policies = [...selected].sort()
    const owned = whom.kind === 'pod' ? whom.pod.namedPorts : []
    const names = new Set(
      owned.length > 0 ? policies.flatMap((id) => this.#policies.get(id)?.ingress?.portNames ?? []) : [],
    )
    const namedPorts = owned.filter(({ name }) => names.has(name))
    const portsKey = namedPortsKey(namedPorts, () => true)
    const key = [kind, portsKey, ...policies].join(PART)
    return { key, kind, policies, namedPorts, namedPortsKey: portsKey }
  }

  #asPod(pod: PolicyPod): Subjectable {
    return {
      kind: 'pod',
      pod,
      labels: podLabels(pod),
      namespaceLabels: this.#objects.namespaceLabels(pod.namespace),
    }
  }

  #place(kind: Subject['kind'], id: string, whom: Subjectable): void {
    const subject = this.#subjects.get(id) ?? { kind, id, whom, policies: new Set() }
    subject.whom = whom
    subject.policies.clear()
    for (const ready of this.#policies.values())
      if (selects(ready.policy, whom)) subject.policies.add(ready.id)
    this.#subjects.set(id, subject)
    this.#dirty.add(id)
  }
}
