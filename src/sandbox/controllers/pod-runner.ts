// The rack's kubelet, one for all nodes: every pod bound to one of its nodes is an instance here. It gives out addresses, takes up
// the pods a former control process left running, and removes those whose object is gone.

import type { Node, Pod } from '../../kube/objects.ts'
import { keyOf } from '../../kube/objects.ts'
import { involved, isPodFinished } from './objects.ts'
import { choosePodAddresses, type PodAddress } from './pod-address.ts'
import type { BuiltIns } from './pod-command.ts'
import { PodInstance, removeStray } from './pod-instance.ts'
import { loadRecords, type PodRecord } from './pod-record.ts'
import type { Controller, ControllerContext } from './store.ts'

export interface RunnerSettings {
  rack: string
  /** Nodes whose pods run here. */
  nodes: readonly string[]
  builtIns: BuiltIns
}

export function createPodRunner(context: ControllerContext, settings: RunnerSettings): Controller {
  return new PodRunner(context, settings)
}

class PodRunner implements Controller {
  readonly #context: ControllerContext
  readonly #settings: RunnerSettings
  readonly #nodes: ReadonlySet<string>
  /** By uid: a pod recreated under its old name is another one. */
  readonly #instances = new Map<string, PodInstance>()
  /** A pod waits here while its predecessor of the same name still holds the namespace. */
  readonly #successors = new Map<string, Pod>()
  #isStarted = false

  constructor(context: ControllerContext, settings: RunnerSettings) {
    this.#context = context
    this.#settings = settings
    this.#nodes = new Set(settings.nodes)
    context.stores.pods.subscribe((changes) => {
      if (!this.#isStarted) return
      for (const change of changes) {
        if (change.type === 'delete') this.#instances.get(change.previous.metadata.uid ?? '')?.vanish()
        else this.#consider(change.row)
      }
    })
    context.stores.nodes.subscribe(() => {
      if (this.#isStarted) for (const pod of context.stores.pods.list()) this.#consider(pod)
    })
  }

  start(): void {
    this.#isStarted = true
    const pods = new Map(this.#context.stores.pods.list().map((pod) => [pod.metadata.uid ?? '', pod]))
    const adopted: [Pod, PodRecord][] = []
    for (const record of loadRecords(this.#settings.rack)) {
      const pod = pods.get(record.uid)
      if (pod !== undefined && pod.spec.nodeName === record.node && this.#nodes.has(record.node))
        adopted.push([pod, record])
      else this.#remove(record)
    }
    // First all that hold addresses, then new ones.
    for (const [pod, record] of adopted) this.#run(pod, record)
    for (const pod of pods.values()) this.#consider(pod)
  }

  close(): void {
    this.#isStarted = false
    for (const instance of this.#instances.values()) instance.forget()
    this.#instances.clear()
  }

  #remove(record: PodRecord): void {
    removeStray(this.#settings.rack, record).catch((error: unknown) => {
      this.#context.log(`stray pod ${record.pod.namespace}/${record.pod.name}: ${String(error)}`)
    })
  }

  #consider(pod: Pod): void {
    const instance = this.#instances.get(pod.metadata.uid ?? '')
    if (instance !== undefined) instance.update(pod)
    else if (pod.spec.nodeName !== undefined && this.#nodes.has(pod.spec.nodeName)) this.#begin(pod)
  }

  #begin(pod: Pod): void {
    if (isPodFinished(pod) && pod.metadata.deletionTimestamp === undefined) return
    const holder = [...this.#instances.values()].some(
      ({ name }) => name.namespace === pod.metadata.namespace && name.name === pod.metadata.name,
    )
    if (holder) this.#successors.set(keyOf(pod), pod)
    else this.#run(pod, undefined)
  }

  #run(pod: Pod, record: PodRecord | undefined): void {
    const node = this.#context.stores.nodes.get(pod.spec.nodeName ?? '')
    // The node's object comes a moment later; its arrival brings us back.
    if (node === undefined) return
    const addresses = record?.addresses ?? this.#reserve(pod, node)
    if (addresses === undefined) return
    const uid = pod.metadata.uid ?? ''
    const instance: PodInstance = new PodInstance(pod, {
      ...this.#settings,
      client: this.#context.client,
      nowMs: this.#context.nowMs,
      log: this.#context.log,
      warn: (reason, message) => this.#context.events.record(involved(pod), 'Warning', reason, message),
      node: node.metadata.name ?? '',
      hostAddresses: internalAddresses(node),
      addresses,
      onGone: () => this.#onGone(uid, keyOf(pod)),
    })
    this.#instances.set(uid, instance)
    if (record !== undefined) instance.adopt(record)
    else if (pod.metadata.deletionTimestamp === undefined) instance.start()
    if (pod.metadata.deletionTimestamp !== undefined) instance.update(pod)
  }

  #onGone(uid: string, key: string): void {
    this.#instances.delete(uid)
    const successor = this.#successors.get(key)
    this.#successors.delete(key)
    const now = this.#context.stores.pods.get(key)
    if (!this.#isStarted || successor === undefined || now === undefined) return
    if (now.metadata.uid === successor.metadata.uid) this.#consider(now)
  }

  /** Addresses nobody holds: neither an instance (also one on its way out) nor a pod another server's history knows. */
  #reserve(pod: Pod, node: Node): readonly PodAddress[] | undefined {
    if (pod.spec.hostNetwork === true) return []
    const used = [...this.#instances.values()].flatMap(({ addresses }) =>
      addresses.map(({ address }) => address),
    )
    try {
      return choosePodAddresses(node.spec?.podCIDRs ?? [], used)
    } catch (error) {
      this.#context.log(`${keyOf(pod)}: ${String(error)}`)
      return undefined
    }
  }
}

function internalAddresses(node: Node): string[] {
  return (node.status?.addresses ?? [])
    .filter(({ type }) => type === 'InternalIP')
    .map(({ address }) => address)
}
