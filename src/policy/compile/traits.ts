// What makes somebody an identity: of all that objects say, only what a rule refers to.

import type { PolicyNode, PolicyPod } from '../../model/policy.ts'
import type { IdentityTraits, Labels } from './identities.ts'
import { type Objects, podLabels } from './objects.ts'
import type { References } from './references.ts'
import { namedPortsKey } from './rule-ports.ts'

const NO_LABELS: Labels = {}

/** Somebody of the outside, of whom nothing is known but the address. */
export const OUTSIDER: Omit<IdentityTraits, 'prefix'> = {
  scope: 'outside',
  labels: NO_LABELS,
  namespaceLabels: NO_LABELS,
  isOwnNode: false,
  isApiServer: false,
  services: [],
  namedPorts: [],
  namedPortsKey: '',
}

function picked(labels: Labels, counts: (key: string) => boolean): Labels {
  const result: Record<string, string> = {}
  for (const [key, value] of Object.entries(labels)) if (counts(key)) result[key] = value
  return result
}

export class Traits {
  readonly #node: string
  readonly #objects: Objects
  readonly #references: References
  /** What counts of the labels of a namespace: one object for all its pods. */
  readonly #namespaces = new Map<string, Labels>()

  constructor(node: string, objects: Objects, references: References) {
    this.#node = node
    this.#objects = objects
    this.#references = references
  }

  ofNode({ name, labels }: PolicyNode): Pick<IdentityTraits, 'scope' | 'labels' | 'isOwnNode'> {
    const { nodeKeys } = this.#references
    return {
      scope: 'node',
      labels: picked(labels, (key) => nodeKeys.has(key)),
      isOwnNode: name === this.#node,
    }
  }

  ofPod(
    pod: PolicyPod,
  ): Pick<IdentityTraits, 'scope' | 'labels' | 'namespaceLabels' | 'namedPorts' | 'namedPortsKey'> {
    const { podKeys, portNames } = this.#references
    const isName = (name: string) => portNames.has(name)
    return {
      scope: 'pod',
      labels: picked(podLabels(pod), (key) => podKeys.counts(key)),
      namespaceLabels: this.#ofNamespace(pod.namespace),
      namedPorts: pod.namedPorts.filter(({ name }) => isName(name)),
      namedPortsKey: namedPortsKey(pod.namedPorts, isName),
    }
  }

  /** Its labels changed. */
  forgetNamespace(namespace: string): void {
    this.#namespaces.delete(namespace)
  }

  /** Other keys count now. */
  forgetNamespaces(): void {
    this.#namespaces.clear()
  }

  #ofNamespace(namespace: string): Labels {
    const known = this.#namespaces.get(namespace)
    if (known) return known
    const labels = this.#objects.namespaceLabels(namespace)
    const made = picked(labels, (key) => this.#references.namespaceKeys.counts(key))
    this.#namespaces.set(namespace, made)
    return made
  }
}
