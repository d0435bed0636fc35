// One pod on its node, from its network to its end. Steps follow each other: network, init containers, containers, and on
// deletion preStop, SIGTERM, the grace period, SIGKILL to the whole cgroup, the network's removal, the object's removal.
// The status is written whenever a fact changed, one write at a time, the newest facts winning.

import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { KubeClient } from '../../kube/client.ts'
import { isKubeError } from '../../kube/errors.ts'
import type { Pod } from '../../kube/objects.ts'
import { PODS } from '../../kube/objects.ts'
import { podHost, runAt } from '../host.ts'
import { namespaceName, type PodName } from '../names.ts'
import type { Place } from '../process.ts'
import { ContainerLife } from './container-life.ts'
import { sameJson } from './objects.ts'
import type { PodAddress } from './pod-address.ts'
import { type BuiltIns, programOf } from './pod-command.ts'
import { createPodNetwork, deletePodNetwork, podNetworkExists } from './pod-network.ts'
import { type PodRecord, podDirectory, removeRecord, saveRecord } from './pod-record.ts'
import { isInitDone, podStatus } from './pod-status.ts'

export interface InstanceSettings {
  rack: string
  node: string
  client: KubeClient
  builtIns: BuiltIns
  hostAddresses: readonly string[]
  /** Reserved for this pod by the runner; empty with hostNetwork. */
  addresses: readonly PodAddress[]
  nowMs: () => number
  log: (message: string) => void
  /** A Warning event on the pod. */
  warn: (reason: string, message: string) => void
  /** Called once namespace, processes and record are gone: the addresses are free. */
  onGone: () => void
}

const GRACE_SECONDS = 30
/** Time SIGKILL is given before we say so; a process stuck in the kernel keeps its cgroup. */
const KILL_WAIT_MS = 5000
const WRITE_RETRY_MS = 500
const CGROUP_TRIES = 50
const CGROUP_RETRY_MS = 20

export class PodInstance {
  readonly uid: string
  readonly name: PodName
  readonly addresses: readonly PodAddress[]
  readonly #settings: InstanceSettings
  readonly #containers: ContainerLife[]
  readonly #cgroup: string
  readonly #hostNetwork: boolean
  #pod: Pod
  #startedMs: number
  #life: Promise<void> = Promise.resolve()
  #stopping: Promise<void> | undefined
  #graceEndMs = Number.POSITIVE_INFINITY
  #wakeGrace: () => void = () => {}
  #isDirty = false
  #isWriting = false
  #isForgotten = false

  constructor(pod: Pod, settings: InstanceSettings) {
    this.#pod = pod
    this.#settings = settings
    this.uid = pod.metadata.uid ?? ''
    this.name = { namespace: pod.metadata.namespace ?? '', name: pod.metadata.name ?? '' }
    this.addresses = settings.addresses
    this.#hostNetwork = pod.spec.hostNetwork === true
    this.#startedMs = settings.nowMs()
    this.#cgroup = podHost(settings.rack, settings.node, this.name, this.uid).cgroup
    const inits = (pod.spec.initContainers ?? []).map((container) => ({ container, isInit: true }))
    const regular = pod.spec.containers.map((container) => ({ container, isInit: false }))
    this.#containers = [...inits, ...regular].map(({ container, isInit }) =>
      this.#makeLife(container, isInit),
    )
  }

  #makeLife(container: Pod['spec']['containers'][number], isInit: boolean): ContainerLife {
    const { builtIns, hostAddresses, rack, node, log, warn } = this.#settings
    return new ContainerLife({
      container,
      isInit,
      restartPolicy: this.#pod.spec.restartPolicy ?? 'Always',
      directory: podDirectory(rack, node, this.name),
      hostname: this.#pod.spec.hostname ?? this.name.name,
      place: () => this.#place(),
      program: () =>
        programOf(this.#pod, container, { podIps: this.#podIps(), hostIps: hostAddresses }, builtIns),
      address: () => this.#podIps()[0] ?? '127.0.0.1',
      changed: () => this.#changed(),
      warn: (reason, message) => {
        log(`${this.name.namespace}/${this.name.name}: ${message}`)
        warn(reason, message)
      },
    })
  }

  /** Brings the pod up. Failures are told in the log and tried again until the pod goes. */
  start(): void {
    this.#life = this.#untilDone(async () => {
      await this.#ensureNetwork()
      this.#save()
      await this.#startContainers(new Set())
    })
  }

  /** Takes up what a former control process left; containers that ended meanwhile are started again by their policy. */
  adopt(record: PodRecord): void {
    this.#startedMs = record.startedMs
    const alive = new Set<ContainerLife>()
    for (const life of this.#containers) {
      const known = record.containers[life.facts.container.name]
      if (known === undefined) continue
      if (life.adopt(known, this.#wasReady(life))) alive.add(life)
    }
    const isRunning = this.#containers.some(({ facts }) => facts.state === 'running')
    this.#life = this.#untilDone(async () => {
      // A process started just before its pid was written would otherwise run beside its successor.
      if (!isRunning) await this.#killAll()
      await this.#ensureNetwork()
      await this.#startContainers(alive)
      this.#changed()
    })
  }

  #wasReady(life: ContainerLife): boolean {
    const { containerStatuses = [], initContainerStatuses = [] } = this.#pod.status ?? {}
    const known = [...containerStatuses, ...initContainerStatuses].find(
      ({ name }) => name === life.facts.container.name,
    )
    return known?.ready === true
  }

  /** The newest state of the object; a deletion timestamp starts the end, a shorter grace period hastens it. */
  update(pod: Pod): void {
    const gatesMoved = !sameJson(pod.status?.conditions, this.#pod.status?.conditions)
    this.#pod = pod
    if (pod.metadata.deletionTimestamp !== undefined) this.#stop(this.#graceMs(pod))
    else if (gatesMoved && (pod.spec.readinessGates ?? []).length > 0) this.#changed()
  }

  /** The object is gone (forced deletion): end without grace. */
  vanish(): void {
    this.#stop(0)
  }

  /** Leaves everything running: the control process ends, another will adopt. */
  forget(): void {
    this.#isForgotten = true
    for (const life of this.#containers) life.forget()
  }

  async #untilDone(step: () => Promise<void>): Promise<void> {
    for (let tries = 0; this.#stopping === undefined && !this.#isForgotten; tries++) {
      try {
        await step()
        return
      } catch (error) {
        this.#settings.log(`${this.name.namespace}/${this.name.name}: ${String(error)}`)
        this.#settings.warn('FailedCreatePodSandBox', String(error))
        await sleep(Math.min(10_000, 200 * 2 ** Math.min(tries, 6)))
      }
    }
  }

  async #ensureNetwork(): Promise<void> {
    mkdirSync(this.#cgroup, { recursive: true })
    if (this.#hostNetwork) return
    const network = { ...this.#settings, pod: this.name, addresses: this.addresses }
    if (!(await podNetworkExists(network))) await createPodNetwork(network)
  }

  async #startContainers(alive: ReadonlySet<ContainerLife>): Promise<void> {
    for (const life of this.#containers) {
      if (this.#stopping !== undefined) return
      if (!alive.has(life) && life.facts.state === 'waiting') await life.start()
      if (life.facts.isInit && !(await this.#initDone(life))) return
    }
  }

  /** Waits for an init container's success; false when the pod ends first or it may not be tried again. */
  async #initDone(life: ContainerLife): Promise<boolean> {
    while (!isInitDone(life.facts)) {
      const failed = life.facts.state === 'ended' && this.#pod.spec.restartPolicy === 'Never'
      if (this.#stopping !== undefined || this.#isForgotten || failed) return false
      await sleep(20)
    }
    return true
  }

  #place(): Place {
    const { rack, node } = this.#settings
    const namespace = this.#hostNetwork
      ? namespaceName(rack, node)
      : podHost(rack, node, this.name, this.uid).namespace
    return { namespace, cgroup: this.#cgroup }
  }

  #podIps(): readonly string[] {
    return this.#hostNetwork ? this.#settings.hostAddresses : this.addresses.map(({ address }) => address)
  }

  #graceMs(pod: Pod): number {
    const seconds =
      pod.metadata.deletionGracePeriodSeconds ?? pod.spec.terminationGracePeriodSeconds ?? GRACE_SECONDS
    const asked = Date.parse(pod.metadata.deletionTimestamp ?? '') - this.#settings.nowMs()
    // The timestamp has whole seconds; after an adoption it is all that tells how much is left.
    return Math.max(0, Math.min(seconds * 1000, Number.isFinite(asked) ? asked + 1000 : seconds * 1000))
  }

  #stop(graceMs: number): void {
    this.#graceEndMs = Math.min(this.#graceEndMs, this.#settings.nowMs() + graceMs)
    this.#wakeGrace()
    this.#stopping ??= this.#end().catch((error: unknown) => {
      this.#settings.log(`${this.name.namespace}/${this.name.name}: end: ${String(error)}`)
      // Once more from the start; every step is repeatable.
      this.#stopping = undefined
      if (!this.#isForgotten) setTimeout(() => this.#stop(0), 1000)
    })
  }

  async #end(): Promise<void> {
    for (const life of this.#containers) life.beginStop()
    this.#changed()
    // A network half made is finished first, or its remains would stay.
    await Promise.race([this.#life, this.#graceOver()])
    await Promise.race([this.#shutDown(), this.#graceOver()])
    if (this.#isForgotten) return
    await this.#killAll()
    await this.#life
    await this.#killAll()
    if (!this.#hostNetwork) await deletePodNetwork({ ...this.#settings, pod: this.name })
    removeRecord(this.#settings.rack, this.#settings.node, this.name)
    await removeCgroup(this.#cgroup)
    this.#settings.onGone()
    await this.#removeObject()
  }

  async #shutDown(): Promise<void> {
    await Promise.all(this.#containers.map((life) => this.#preStop(life)))
    for (const life of this.#containers) life.signal('SIGTERM')
    await Promise.all(this.#containers.map((life) => life.ended()))
  }

  async #preStop(life: ContainerLife): Promise<void> {
    const hook = life.facts.state === 'running' ? life.facts.container.lifecycle?.preStop : undefined
    if (hook?.sleep !== undefined) await sleep(hook.sleep.seconds * 1000, undefined, { ref: false })
    if (hook?.exec?.command !== undefined) {
      const timeoutMs = Math.max(1, this.#graceEndMs - this.#settings.nowMs())
      await runAt(this.#place(), hook.exec.command, { timeoutMs }).catch(() => undefined)
    }
  }

  /** Resolves at the end of the grace period, which may move nearer while we wait. */
  async #graceOver(): Promise<void> {
    for (;;) {
      const leftMs = this.#graceEndMs - this.#settings.nowMs()
      if (leftMs <= 0 || this.#isForgotten) return
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(leftMs, 2 ** 30))
        this.#wakeGrace = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  /** Ends every process of the pod's cgroup, also those its containers left behind. */
  async #killAll(): Promise<void> {
    if (existsSync(this.#cgroup)) writeFileSync(`${this.#cgroup}/cgroup.kill`, '1')
    await Promise.race([Promise.all(this.#containers.map((life) => life.ended())), sleep(KILL_WAIT_MS)])
  }

  async #removeObject(): Promise<void> {
    this.#isForgotten = true
    const options = { gracePeriodSeconds: 0, preconditions: { uid: this.uid } }
    for (let tries = 0; ; tries++) {
      try {
        await this.#settings.client.delete(PODS, this.name, options)
        return
      } catch (error) {
        if (isKubeError(error, 'not-found', 'conflict', 'aborted')) return
        this.#settings.log(`${this.name.namespace}/${this.name.name}: removal: ${String(error)}`)
        await sleep(Math.min(10_000, WRITE_RETRY_MS * 2 ** Math.min(tries, 5)))
      }
    }
  }

  #changed(): void {
    this.#save()
    this.#isDirty = true
    if (!this.#isWriting) void this.#write()
  }

  async #write(): Promise<void> {
    this.#isWriting = true
    while (this.#isDirty && !this.#isForgotten) {
      this.#isDirty = false
      const status = podStatus(this.#pod, {
        addresses: this.#podIps(),
        hostAddresses: this.#settings.hostAddresses,
        startedMs: this.#startedMs,
        containers: this.#containers.map(({ facts }) => facts),
        nowMs: this.#settings.nowMs(),
      })
      try {
        const path = { ...this.name, subresource: 'status' } as const
        const patch = { metadata: { uid: this.uid }, status }
        const written = await this.#settings.client.patch(PODS, path, patch, { kind: 'merge' })
        this.#pod = { ...this.#pod, status: written.status ?? {} }
      } catch (error) {
        // The object went, or another has its name; we shall hear of it through the watch.
        if (isKubeError(error, 'not-found', 'conflict')) break
        if (isKubeError(error, 'invalid')) {
          this.#settings.log(`${this.name.namespace}/${this.name.name}: status: ${String(error)}`)
          break
        }
        this.#isDirty = true
        await sleep(WRITE_RETRY_MS)
      }
    }
    this.#isWriting = false
  }

  #save(): void {
    if (this.#isForgotten) return
    const containers = this.#containers
      .filter(({ facts }) => facts.state !== 'waiting' || facts.restartCount > 0)
      .map(({ facts }) => {
        const { restartCount, startedMs = 0, state, end } = facts
        return [
          facts.container.name,
          { restartCount, startedMs, end: state === 'ended' ? end : undefined },
        ] as const
      })
    saveRecord(this.#settings.rack, {
      uid: this.uid,
      node: this.#settings.node,
      pod: this.name,
      hostNetwork: this.#hostNetwork,
      addresses: [...this.addresses],
      startedMs: this.#startedMs,
      containers: Object.fromEntries(containers),
    })
  }
}

/** Ends and removes what a record describes when its object is gone for good. */
export async function removeStray(rack: string, record: PodRecord): Promise<void> {
  const cgroup = podHost(rack, record.node, record.pod, record.uid).cgroup
  if (existsSync(cgroup)) writeFileSync(`${cgroup}/cgroup.kill`, '1')
  if (!record.hostNetwork) await deletePodNetwork({ rack, node: record.node, pod: record.pod })
  await removeCgroup(cgroup)
  removeRecord(rack, record.node, record.pod)
}

/** A cgroup can be removed once its last process has ended; one that does not end keeps it, and `down` removes it. */
async function removeCgroup(cgroup: string): Promise<void> {
  for (let tries = 0; tries < CGROUP_TRIES; tries++) {
    try {
      rmdirSync(cgroup)
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
      await sleep(CGROUP_RETRY_MS)
    }
  }
}
