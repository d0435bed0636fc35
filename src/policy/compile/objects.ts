// The objects that decide, as far as the compiler was told of them, and the form in which it is told what changed.

import type { Policy, PolicyNode, PolicyPod, PolicyWorld } from '../../model/policy.ts'
import { NAMESPACE_NAME_LABEL, SERVICE_ACCOUNT_LABEL } from '../../model/policy.ts'
import { Grouped } from './grouped.ts'
import type { Labels } from './identities.ts'

export type NetworkGroup = PolicyWorld['networkGroups'][number]
export type PolicyService = PolicyWorld['services'][number]

/** By key; undefined: it is gone. */
export type Changed<Item> = ReadonlyMap<string, Item | undefined>

export interface WorldChange {
  /** By `policyId`. */
  readonly policies?: Changed<Policy>
  /** By `namespace/name`. */
  readonly pods?: Changed<PolicyPod>
  readonly namespaces?: Changed<Labels>
  readonly nodes?: Changed<PolicyNode>
  readonly networkGroups?: Changed<NetworkGroup>
  readonly services?: Changed<PolicyService>
  /** All of them, where any changed. */
  readonly apiServers?: readonly string[]
}

export function policyId({ kind, key, part }: Pick<Policy, 'kind' | 'key' | 'part'>): string {
  return `${kind} ${key} ${part}`
}

function byKey<Item>(items: readonly Item[], keyOf: (item: Item) => string): Changed<Item> {
  return new Map(items.map((item) => [keyOf(item), item]))
}

/** Everything at once: for a compiler that knows nothing yet. */
export function wholeWorld(world: PolicyWorld): WorldChange {
  return {
    policies: byKey(world.policies, policyId),
    pods: byKey(world.pods, ({ key }) => key),
    namespaces: world.namespaces,
    nodes: byKey(world.nodes, ({ name }) => name),
    networkGroups: byKey(world.networkGroups, ({ name }) => name),
    services: byKey(world.services, ({ key }) => key),
    apiServers: world.apiServers,
  }
}

/** Pods, namespaces and nodes: who is there. */
export class Objects {
  readonly pods = new Map<string, PolicyPod>()
  readonly nodes = new Map<string, PolicyNode>()
  readonly services = new Map<string, PolicyService>()
  readonly networkGroups = new Map<string, NetworkGroup>()
  readonly podsByNamespace = new Grouped<string, string>()
  readonly #namespaces = new Map<string, Labels>()

  /** A namespace not heard of yet has its name at least. */
  namespaceLabels(namespace: string): Labels {
    return this.#namespaces.get(namespace) ?? { [NAMESPACE_NAME_LABEL]: namespace }
  }

  /** All that have labels of their own, or pods. */
  namespaces(): readonly string[] {
    return [...new Set([...this.#namespaces.keys(), ...this.podsByNamespace.keys()])]
  }

  setNamespace(namespace: string, labels: Labels | undefined): void {
    if (labels) this.#namespaces.set(namespace, labels)
    else this.#namespaces.delete(namespace)
  }

  setPod(key: string, pod: PolicyPod | undefined): PolicyPod | undefined {
    const before = this.pods.get(key)
    if (before) this.podsByNamespace.delete(before.namespace, key)
    if (pod) {
      this.pods.set(key, pod)
      this.podsByNamespace.add(pod.namespace, key)
    } else this.pods.delete(key)
    return before
  }
}

/** Whether it has addresses of its own that policy knows it by. */
export function isSomebody(pod: PolicyPod): boolean {
  return !pod.isFinished && !pod.isHostNetwork
}

/** What selectors of pods see. */
export function podLabels({ labels, serviceAccount }: PolicyPod): Labels {
  return { ...labels, [SERVICE_ACCOUNT_LABEL]: serviceAccount }
}
