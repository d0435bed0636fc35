// When to look for namespaces within pods (inner-look.ts): as a pod becomes known, as the kernel notes one that is not (a socket is made
// there, or a packet is dropped; containers and their devices come one after the other, so again for a while), and from time to time where
// there are some, for nobody tells when they go. Whoever is noted without end is looked at ever more seldom, and takes a small part of
// the time.

import { statSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import type { NotedNetns } from '../datapath/noted-netns.ts'
import { Rounds } from '../reconcile/rounds.ts'
import type { Looked, PodPlace } from './inner-look.ts'

/** Of what the kernel notes. A connection that is refused once is tried again by TCP in a second. */
const NOTES_MS = 50
const AGAIN_MIN_MS = 20
const AGAIN_MAX_MS = 500
/** Where there are some. */
const LOOK_MS = 2000
/** A pod is not looked at again before this many times of what the look took. */
const REST_TIMES = 10
/** Of one pod, to tell new ones. */
const NOTED_KEPT = 256
const RETRY_MIN_MS = 100
const RETRY_MAX_MS = 10_000

export interface InnerPodsOptions {
  readonly takeNoted: () => readonly NotedNetns[]
  readonly lookInside: (place: PodPlace) => Promise<Looked>
  readonly onChange: () => void
  readonly nowMs: () => number
  readonly onError: (error: unknown, retryInMs: number) => void
}

interface Pod {
  readonly place: PodPlace
  readonly cgroupId: bigint
  readonly noted: Set<bigint>
  /** Undefined: not looked at yet. */
  looked: Looked | undefined
  dueMs: number
  /** It is not looked at before. */
  restsUntilMs: number
  lookedMs: number
  againMs: number
}

export class InnerPods {
  readonly #options: InnerPodsOptions
  readonly #rounds: Rounds
  #pods = new Map<string, Pod>()
  #notes: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(options: InnerPodsOptions) {
    this.#options = options
    this.#rounds = new Rounds({
      ...{ name: 'inner namespaces', settleMs: 1, retryMinMs: RETRY_MIN_MS, retryMaxMs: RETRY_MAX_MS },
      run: () => this.#round(),
      onError: options.onError,
    })
  }

  /** @param places of all pods that are known, by uid; what was within others is forgotten */
  follow(places: ReadonlyMap<string, PodPlace>): void {
    const pods = new Map<string, Pod>()
    for (const [uid, place] of places) {
      const before = this.#pods.get(uid)
      const isSame = before?.place.cgroup === place.cgroup && isEqual(before.place.own, place.own)
      const pod = before && isSame ? before : this.#begin(place)
      if (pod) pods.set(uid, pod)
    }
    this.#pods = pods
    this.#notes ??= setInterval(() => this.#rounds.request(), NOTES_MS).unref()
    this.#plan()
  }

  /** What is within it; undefined: it has not been looked at. */
  of(uid: string): Looked | undefined {
    return this.#pods.get(uid)?.looked
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#notes)
    await this.#rounds.close()
  }

  #begin(place: PodPlace): Pod | undefined {
    const cgroupId = statSync(place.cgroup, { bigint: true, throwIfNoEntry: false })?.ino
    if (cgroupId === undefined) return undefined
    return {
      ...{ place, cgroupId, noted: new Set(), looked: undefined },
      ...{ dueMs: 0, restsUntilMs: 0, lookedMs: 0, againMs: AGAIN_MAX_MS },
    }
  }

  #readNotes(): void {
    const noted = this.#options.takeNoted()
    if (noted.length === 0) return
    const byCgroup = new Map([...this.#pods.values()].map((pod) => [pod.cgroupId, pod]))
    for (const { cookie, cgroups } of noted) {
      const pod = cgroups.map((id) => byCgroup.get(id)).find((one) => one !== undefined)
      if (!pod || pod.looked?.inner.has(cookie)) continue
      if (!pod.noted.has(cookie)) {
        if (pod.noted.size >= NOTED_KEPT) pod.noted.clear()
        pod.noted.add(cookie)
        pod.againMs = AGAIN_MIN_MS
        pod.dueMs = 0
      }
      pod.dueMs = Math.min(pod.dueMs, pod.lookedMs + pod.againMs)
    }
  }

  #plan(): void {
    const dueMs = Math.min(...[...this.#pods.values()].map(startMs))
    if (Number.isFinite(dueMs)) this.#rounds.requestIn(Math.max(0, dueMs - this.#options.nowMs()))
  }

  async #round(): Promise<void> {
    const { nowMs, onChange } = this.#options
    this.#readNotes()
    const due = [...this.#pods.values()].filter((pod) => startMs(pod) <= nowMs())
    let hasChanged = false
    for (const pod of due) {
      await setImmediate()
      if (this.#isClosed) return
      hasChanged = (await this.#look(pod)) || hasChanged
    }
    if (hasChanged) onChange()
    this.#plan()
  }

  /** @returns whether something is to be told */
  async #look(pod: Pod): Promise<boolean> {
    const { lookInside, nowMs } = this.#options
    const beganMs = nowMs()
    const looked = await lookInside(pod.place)
    const before = pod.looked
    pod.looked = looked
    pod.lookedMs = nowMs()
    pod.restsUntilMs = pod.lookedMs + (pod.lookedMs - beganMs) * REST_TIMES
    const laterMs = looked.inner.size + looked.closed.length > 0 ? LOOK_MS : Number.POSITIVE_INFINITY
    pod.dueMs = pod.lookedMs + (pod.againMs < AGAIN_MAX_MS ? pod.againMs : laterMs)
    pod.againMs = Math.min(AGAIN_MAX_MS, pod.againMs * 2)
    return before === undefined || !isEqual(before.inner, looked.inner)
  }
}

const startMs = ({ dueMs, restsUntilMs }: Pod) => Math.max(dueMs, restsUntilMs)

function isEqual(one: ReadonlySet<bigint>, other: ReadonlySet<bigint>): boolean {
  return one.size === other.size && [...one].every((cookie) => other.has(cookie))
}
