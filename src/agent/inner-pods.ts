// When to look for namespaces within pods (inner-look.ts): as a pod becomes known, as the kernel notes one that is not (a socket is made
// there, or a packet is dropped; containers and their devices come one after the other, so again for a while), and from time to time where
// there are some, for nobody tells when they go. Whoever is noted without end is looked at ever more seldom, and all looks together take
// a small part of the time (inner-pace.ts).

import { statSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import type { NotedNetns } from '../datapath/noted-netns.ts'
import { Rounds } from '../reconcile/rounds.ts'
import type { Looked, PodPlace } from './inner-look.ts'
import { LookPace, nextTurn, Share } from './inner-pace.ts'

/** Of what the kernel notes. A connection that is refused once is tried again by TCP in a second. */
const NOTES_MS = 50
/** Notes are not read again before this many times of what reading them took: pods may fill the table as fast as it is read. */
const NOTES_REST_TIMES = 20
/** What changes all the time is told once in this. */
const TELL_MS = 50
const AGAIN_MIN_MS = 20
const AGAIN_MAX_MS = 500
/** Where there are some. */
const LOOK_MS = 2000
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
  readonly share: Share
  lookedMs: number
  againMs: number
}

export class InnerPods {
  readonly #options: InnerPodsOptions
  readonly #rounds: Rounds
  readonly #pace = new LookPace()
  #notesDueMs = 0
  #hasChanged = false
  #toldMs = Number.NEGATIVE_INFINITY
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
      ...{ dueMs: this.#options.nowMs(), share: new Share(), lookedMs: 0, againMs: AGAIN_MAX_MS },
    }
  }

  #readNotes(): void {
    const { nowMs, takeNoted } = this.#options
    const beganMs = nowMs()
    if (beganMs < this.#notesDueMs) return
    this.#note(takeNoted(), beganMs)
    const endedMs = nowMs()
    this.#notesDueMs = endedMs + (endedMs - beganMs) * NOTES_REST_TIMES
  }

  #note(noted: readonly NotedNetns[], nowMs: number): void {
    if (noted.length === 0) return
    const byCgroup = new Map([...this.#pods.values()].map((pod) => [pod.cgroupId, pod]))
    for (const { cookie, cgroups } of noted) {
      const pod = cgroups.map((id) => byCgroup.get(id)).find((one) => one !== undefined)
      if (!pod || pod.looked?.inner.has(cookie)) continue
      if (!pod.noted.has(cookie)) {
        if (pod.noted.size >= NOTED_KEPT) pod.noted.clear()
        pod.noted.add(cookie)
        pod.againMs = AGAIN_MIN_MS
        pod.dueMs = Math.min(pod.dueMs, nowMs)
      }
      pod.dueMs = Math.min(pod.dueMs, pod.lookedMs + pod.againMs)
    }
  }

  #plan(): void {
    const nowMs = this.#options.nowMs()
    const lookMs = nextTurn(this.#pods.values(), this.#pace, nowMs)?.atMs ?? Number.POSITIVE_INFINITY
    const tellMs = this.#hasChanged ? this.#toldMs + TELL_MS : Number.POSITIVE_INFINITY
    const nextMs = Math.min(lookMs, tellMs)
    if (Number.isFinite(nextMs)) this.#rounds.requestIn(Math.max(0, nextMs - nowMs))
  }

  async #round(): Promise<void> {
    this.#readNotes()
    for (let pod = this.#next(); pod !== undefined; pod = this.#next()) {
      await setImmediate()
      if (this.#isClosed) return
      await this.#look(pod)
      this.#tell()
    }
    this.#tell()
    this.#plan()
  }

  /** Whose turn it is now. */
  #next(): Pod | undefined {
    const nowMs = this.#options.nowMs()
    const turn = nextTurn(this.#pods.values(), this.#pace, nowMs)
    return turn && turn.atMs <= nowMs ? turn.pod : undefined
  }

  #tell(): void {
    const nowMs = this.#options.nowMs()
    if (!this.#hasChanged || nowMs < this.#toldMs + TELL_MS) return
    this.#hasChanged = false
    this.#toldMs = nowMs
    this.#options.onChange()
  }

  async #look(pod: Pod): Promise<void> {
    const { lookInside, nowMs } = this.#options
    const beganMs = nowMs()
    const before = pod.looked
    try {
      const looked = await lookInside(pod.place)
      pod.looked = looked
      this.#hasChanged ||= before === undefined || !isEqual(before.inner, looked.inner)
    } finally {
      pod.lookedMs = nowMs()
      const isLarge = pod.looked?.isLarge ?? false
      this.#pace.took(pod.share, { ms: pod.lookedMs - beganMs, isLarge }, pod.lookedMs)
    }
    const hasSome = pod.looked.inner.size + pod.looked.closed.length > 0
    const laterMs = hasSome ? LOOK_MS : Number.POSITIVE_INFINITY
    pod.dueMs = pod.lookedMs + (pod.againMs < AGAIN_MAX_MS ? pod.againMs : laterMs)
    pod.againMs = Math.min(AGAIN_MAX_MS, pod.againMs * 2)
  }
}

function isEqual(one: ReadonlySet<bigint>, other: ReadonlySet<bigint>): boolean {
  return one.size === other.size && [...one].every((cookie) => other.has(cookie))
}
