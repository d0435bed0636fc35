// Which pods the kernel's closed default lets speak (bpf/lib/closed.h), and where it hangs: on the roots of the kubelet's pods.
//
// A pod is let speak when its rows are written, its device carries our programs, and the network namespace behind that device is its
// own: a process of the pod's cgroup, which has the pod's uid in its name, is in there. So a pod that gets the address of one that is
// gone, faster than the API tells, is not taken for it. Where nothing can tell which cgroup is whose (none is named by a uid, or the
// processes in it are hidden from us), the address alone tells, and the status says so.
//
// A pod without a device that could be judged (IPVLAN, macvlan) speaks from its own cgroup's namespaces, loudly told and without packet
// sockets, while no policy says anything of it; the first that does closes it wholly.
//
// Network namespaces within the pod, of containers in its container, speak as it does (inner-pods.ts).
//
// What an earlier process let speak stays so until every pod has been looked at: it has established connections.

import type { Logger } from 'pino'
import type { KnownKind, KnownNetns } from '../datapath/known-netns.ts'
import type { PodDevice } from '../datapath/nexthop-plan.ts'
import type { NotedNetns } from '../datapath/noted-netns.ts'
import type { EventRecorder } from '../kube/events.ts'
import type { Address } from '../model/address.ts'
import type { PolicyPod } from '../model/policy.ts'
import { Rounds } from '../reconcile/rounds.ts'
import type { Table } from '../tables/table.ts'
import { ClosedPodsReports, type WaitingPod } from './closed-pods-reports.ts'
import type { Looked, PodPlace } from './inner-look.ts'
import { InnerPods } from './inner-pods.ts'
import { findKubepods, podCgroups, processesIn } from './kubepods.ts'

const SETTLE_MS = 1
const RETRY_MIN_MS = 100
const RETRY_MAX_MS = 10_000
/** Roots and pods are looked for again this often, for nobody tells. */
const LOOK_MS = 2000
/** A pod that waits for its first process, or its device, is looked at this soon again, and ever more seldom. */
const WAIT_MIN_MS = 20
const WAIT_MAX_MS = 1000
/** Pods that an earlier process let speak and that are not proven by then are closed. */
const EARLIER_MS = 60_000
const WAITING_TOLD = 20
/** A pod whose device has not come by then has none. */
const DEVICELESS_MS = 3000

export interface ClosedPodsOptions {
  readonly nodeName: string
  /** `policy.podsCgroup`; undefined: found below the mount. */
  readonly configured: string | undefined
  /** `datapath.cgroup`. */
  readonly mount: string
  /** Index `address`: whom it is said to belong to; `node`: where they run. */
  readonly pods: Table<PolicyPod>
  readonly devices: () => readonly PodDevice[]
  readonly kernel: {
    /** @returns those that are not there */
    closePods(cgroups: readonly string[]): readonly string[]
    judgedAt(address: Address): number | undefined
    /** Whether the rows are written, and no policy says anything of it. */
    isOpen(address: Address): boolean
    readonly knownNetns: Pick<KnownNetns, 'add' | 'set'>
    /** Namespaces that met a closed default since the last call. */
    takeNotedNetns(): readonly NotedNetns[]
    /** Why packet sockets of pods that policy does not know are not refused. */
    readonly noUnseen: string | undefined
  }
  /** The network namespace of a process; throws when it has ended. */
  readonly cookieOfProcess: (pid: number) => bigint
  /** The network namespaces within a pod. */
  readonly lookInside: (place: PodPlace) => Promise<Looked>
  readonly nowMs: () => number
  readonly events: Pick<EventRecorder, 'record'>
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>
}

export interface ClosedPodsStatus {
  /** What is closed to pods that policy does not know. */
  readonly cgroups: readonly string[]
  /** Why nothing is. */
  readonly problem: string | undefined
  /** Pods that may speak, as their policies say. */
  readonly known: number
  /** Of these, whose namespace was taken for theirs because their address leads there. */
  readonly byAddress: number
  /** Network namespaces within these, of containers in their containers. */
  readonly inner: number
  /** Others within them that may not speak, and why. */
  readonly innerClosed: readonly { readonly pod: string; readonly why: string }[]
  /** Pods that speak though nothing judges them, for no policy says anything of them. */
  readonly unjudged: readonly string[]
  /** Pods that may not speak yet, and why. */
  readonly waiting: readonly { readonly pod: string; readonly why: string }[]
}

interface Known {
  readonly cookies: ReadonlySet<bigint>
  readonly isProven: boolean
  readonly isUnjudged?: boolean
}

type Look = Known | { readonly why: string }

/** Namespaces within pods. */
interface Within {
  readonly cookies: ReadonlySet<bigint>
  readonly closed: ClosedPodsStatus['innerClosed']
  /** All pods have been looked at. */
  readonly isWhole: boolean
}

/** What a round finds, beside the pods themselves. */
interface Found {
  readonly devices: ReadonlyMap<Address, PodDevice>
  /** Cgroups of pods by their uid. */
  readonly places: ReadonlyMap<string, string>
  /** As the round before left it. */
  readonly deviceless: ReadonlyMap<string, number>
}

export class ClosedPods {
  readonly #options: ClosedPodsOptions
  readonly #rounds: Rounds
  readonly #reports: ClosedPodsReports
  readonly #inner: InnerPods
  readonly #startedMs: number
  /** This node's pods whose rows are in the kernel; undefined: nothing has been written yet. */
  #written: ReadonlyMap<string, PolicyPod> | undefined
  #isNetworkKnown = false
  /** By uid: what was proven, and stays so while the device is the same. */
  #proven = new Map<string, ReadonlySet<bigint>>()
  /** By uid: since when no device leads to it. */
  #deviceless = new Map<string, number>()
  #areEarlierSettled = false
  #cgroups: readonly string[] = []
  #isAttached = false
  #problem: string | undefined
  #status: Omit<ClosedPodsStatus, 'cgroups' | 'problem'> = {
    ...{ known: 0, byAddress: 0, inner: 0, innerClosed: [], unjudged: [], waiting: [] },
  }
  #waitMs = WAIT_MIN_MS

  constructor(options: ClosedPodsOptions) {
    this.#options = options
    this.#reports = new ClosedPodsReports(options)
    const { noUnseen } = options.kernel
    if (noUnseen !== undefined) this.#reports.tellUnseen(noUnseen)
    this.#startedMs = options.nowMs()
    this.#inner = new InnerPods({
      takeNoted: () => options.kernel.takeNotedNetns(),
      lookInside: options.lookInside,
      onChange: () => this.#rounds.request(),
      nowMs: options.nowMs,
      onError: (error, retryInMs) =>
        options.log.error(
          { err: error, retryInMs },
          'cannot look at network namespaces within pods; those that come stay closed',
        ),
    })
    this.#rounds = new Rounds({
      name: 'closed pods',
      settleMs: SETTLE_MS,
      retryMinMs: RETRY_MIN_MS,
      retryMaxMs: RETRY_MAX_MS,
      run: () => this.#round(),
      onError: (error, retryInMs) =>
        options.log.error({ err: error, retryInMs }, 'cannot say which pods are known; new ones stay closed'),
    })
  }

  /** To be called when policy takes what the tables say now. @returns to be called when the kernel holds it */
  policyTaken(): () => void {
    const pods = this.#options.pods.find('node', this.#options.nodeName)
    return () => {
      this.#written = new Map(pods.map((pod) => [pod.key, pod]))
      this.#changed()
    }
  }

  /** To be called when programs hang on the devices that are there, and the kernel has their rows. */
  networkWritten(): void {
    this.#isNetworkKnown = true
    this.#changed()
  }

  /** Whether pods that are not known are closed, where there is such a cgroup. */
  get hasBegun(): boolean {
    return this.#isAttached
  }

  get status(): ClosedPodsStatus {
    return { cgroups: this.#cgroups, problem: this.#problem, ...this.#status }
  }

  async close(): Promise<void> {
    await this.#inner.close()
    await this.#rounds.close()
  }

  #changed(): void {
    this.#waitMs = WAIT_MIN_MS
    this.#rounds.request()
  }

  #round(): void {
    if (!this.#written || !this.#isNetworkKnown) return
    const roots = this.#roots()
    const waits = this.#letSpeak(this.#written, roots)
    // Whoever speaks already is known before anything is closed.
    if (roots.join() !== this.#cgroups.join() || !this.#isAttached) {
      const absent = new Set(this.#options.kernel.closePods(roots))
      this.#cgroups = roots.filter((root) => !absent.has(root))
      this.#isAttached = true
    }
    this.#problem = this.#cgroups.length > 0 ? undefined : this.#describeAbsence()
    this.#reports.tellProblem(this.#problem, this.#cgroups)
    this.#rounds.requestIn(waits ? this.#waitMs : LOOK_MS)
    this.#waitMs = Math.min(WAIT_MAX_MS, this.#waitMs * 2)
  }

  #roots(): readonly string[] {
    const { configured, mount } = this.#options
    return configured === undefined ? findKubepods(mount) : [configured]
  }

  /** @returns whether somebody waits for what may come soon */
  #letSpeak(written: ReadonlyMap<string, PolicyPod>, roots: readonly string[]): boolean {
    const { knownNetns } = this.#options.kernel
    const found: Found = {
      devices: new Map(this.#options.devices().map((pod) => [pod.address, pod])),
      places: podCgroups(roots),
      deviceless: this.#deviceless,
    }
    this.#deviceless = new Map()
    const cookies = new Map<bigint, KnownKind>()
    const waiting: WaitingPod[] = []
    const unjudged: string[] = []
    const proven = new Map<string, ReadonlySet<bigint>>()
    const byAddress: string[] = []
    let known = 0
    for (const pod of written.values()) {
      if (pod.addresses.length === 0) continue
      const look = this.#look(pod, found)
      if ('why' in look) {
        waiting.push({ pod: pod.key, uid: uidOf(pod), why: look.why })
        continue
      }
      known += 1
      if (look.isUnjudged) unjudged.push(pod.key)
      if (look.isProven) proven.set(uidOf(pod), look.cookies)
      else if (!look.isUnjudged) byAddress.push(pod.key)
      for (const cookie of look.cookies) cookies.set(cookie, look.isUnjudged ? 'unjudged' : 'judged')
    }
    this.#proven = proven
    const inner = this.#within(written, found.places)
    for (const cookie of inner.cookies) cookies.set(cookie, 'judged')
    const told = waiting.slice(0, WAITING_TOLD).map(({ pod, why }) => ({ pod, why }))
    this.#status = {
      ...{ known, byAddress: byAddress.length, waiting: told },
      ...{ inner: inner.cookies.size, innerClosed: inner.closed.slice(0, WAITING_TOLD) },
      unjudged: unjudged.slice(0, WAITING_TOLD),
    }
    this.#reports.tellWaiting(waiting)
    this.#reports.tellUnjudged(unjudged)
    this.#reports.tellByAddress(byAddress)
    const isSettled = waiting.length === 0 && inner.isWhole
    this.#areEarlierSettled ||= isSettled || this.#options.nowMs() > this.#startedMs + EARLIER_MS
    if (this.#areEarlierSettled) knownNetns.set(cookies)
    else knownNetns.add(cookies)
    return waiting.length > 0
  }

  /** What is within pods whose own namespaces are proven. */
  #within(written: ReadonlyMap<string, PolicyPod>, places: Found['places']): Within {
    const followed = new Map<string, PodPlace>()
    for (const [uid, own] of this.#proven) {
      const cgroup = places.get(uid)
      if (cgroup !== undefined) followed.set(uid, { cgroup, own })
    }
    this.#inner.follow(followed)
    const cookies = new Set<bigint>()
    const closed: Within['closed'][number][] = []
    let isWhole = true
    for (const pod of written.values()) {
      if (!followed.has(uidOf(pod))) continue
      const looked = this.#inner.of(uidOf(pod))
      isWhole &&= looked !== undefined
      for (const cookie of looked?.inner ?? []) cookies.add(cookie)
      for (const why of looked?.closed ?? []) closed.push({ pod: pod.key, why })
    }
    return { cookies, closed, isWhole }
  }

  #look(pod: PolicyPod, found: Found): Look {
    const { pods, kernel } = this.#options
    // Whose rows were written is told by name: another of the same name comes with the next round of policy.
    if (pods.get(pod.key)?.uid !== pod.uid) return { why: 'it is another now' }
    const cookies = new Set<bigint>()
    for (const text of pod.addresses) {
      const address = text as Address
      if (pods.find('address', text).length > 1) return { why: `${text} is said to be another pod’s too` }
      const device = found.devices.get(address)
      if (!device) return this.#withoutDevice(pod, text, found)
      if (kernel.judgedAt(address) !== device.ifindex)
        return { why: `the device of ${text} carries no programs yet` }
      if (!device.namespace) return { why: `the network namespace behind the device of ${text} is not found` }
      cookies.add(device.namespace.cookie)
    }
    return this.#prove(pod, cookies, found)
  }

  #withoutDevice(pod: PolicyPod, address: string, { places, deviceless }: Found): Look {
    const { kernel, nowMs } = this.#options
    const sinceMs = deviceless.get(uidOf(pod)) ?? nowMs()
    this.#deviceless.set(uidOf(pod), sinceMs)
    const why = `no device of this node leads to ${address} (a host route over a veth, or a bridge's port)`
    if (nowMs() < sinceMs + DEVICELESS_MS) return { why }
    if (!pod.addresses.every((one) => kernel.isOpen(one as Address)))
      return { why: `${why}: nothing could judge it, and a policy selects it` }
    const place = places.get(uidOf(pod))
    const cookies = new Set(this.#cookiesOf(place === undefined ? [] : processesIn(place)))
    return cookies.size === 0 ? { why } : { cookies, isProven: false, isUnjudged: true }
  }

  #prove(pod: PolicyPod, cookies: ReadonlySet<bigint>, { places }: Found): Look {
    const uid = uidOf(pod)
    const before = this.#proven.get(uid)
    if (before && [...cookies].every((cookie) => before.has(cookie))) return { cookies, isProven: true }
    const place = places.get(uid)
    // No name of a cgroup tells whose it is.
    if (places.size === 0) return { cookies, isProven: false }
    if (place === undefined) return { why: 'it has no cgroup' }
    const processes = processesIn(place)
    if (processes.some((pid) => pid === 0)) return { cookies, isProven: false }
    const own = new Set<bigint>()
    for (const cookie of this.#cookiesOf(processes)) {
      own.add(cookie)
      if ([...cookies].every((one) => own.has(one))) return { cookies, isProven: true }
    }
    return { why: 'no process of it is in the network namespace that its address leads to' }
  }

  /** Without those of processes that have ended meanwhile. */
  *#cookiesOf(processes: readonly number[]): Generator<bigint> {
    for (const pid of processes) {
      try {
        yield this.#options.cookieOfProcess(pid)
      } catch {
        // It has ended.
      }
    }
  }

  #describeAbsence(): string {
    const { configured, mount } = this.#options
    const where =
      configured === undefined ? `${mount} has no kubepods or kubepods.slice` : `${configured} is not there`
    return `${where}: a pod that has just started is open until its device is judged. Mend: policy.podsCgroup names the cgroup that the kubelet puts pods into; it is looked for again every ${LOOK_MS / 1000} s`
  }
}

const uidOf = ({ uid, key }: PolicyPod) => uid ?? key
