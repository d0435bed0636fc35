// How the looks of all pods share the agent's time (inner-pods.ts). Each pod has a part, and so have all together: those whose looks are
// large and those whose looks are small each of their own, so that who is soon looked at waits for the one look that is under way
// alone, whatever other pods do. Who took least lately goes first. Pure.

interface Part {
  /** So much of the time, in the long run. */
  readonly part: number
  /** What nobody took is saved up to this: for looks that come together. */
  readonly savedMaxMs: number
  /** How much a look may take that nothing was saved for. What a look does is limited: the rest is others' work in between. */
  readonly debtMaxMs: number
}

/** One may start ten containers in a row, each looked at several times, on a busy node. */
const OF_POD: Part = { part: 1 / 30, savedMaxMs: 200, debtMaxMs: 10 }
const OF_LARGE: Part = { part: 1 / 30, savedMaxMs: 100, debtMaxMs: 60 }
const OF_SMALL: Part = { part: 1 / 15, savedMaxMs: 100, debtMaxMs: 40 }
/** Saved when the agent starts: it has looked at nobody yet, and does not know whose are large. */
const SAVED_AT_FIRST_MS = 500
/** What was taken counts half after so long, where it says whose turn it is. */
const HALF_LIFE_MS = 3000
/** Whose look was large is taken for that so long, lest every other is paid by those whose are small. */
const LARGE_KEPT_MS = 60_000

class Budget {
  readonly #of: Part
  #savedMs: number
  #atMs: number | undefined

  constructor(of: Part, savedMs = of.savedMaxMs) {
    this.#of = of
    this.#savedMs = savedMs
  }

  freeMs(nowMs: number): number {
    const savedMs = this.#saved(nowMs)
    return savedMs > 0 ? nowMs : nowMs + 1 - savedMs / this.#of.part
  }

  took(ms: number, nowMs: number): void {
    this.#savedMs = Math.max(-this.#of.debtMaxMs, this.#saved(nowMs) - ms)
    this.#atMs = nowMs
  }

  #saved(nowMs: number): number {
    const { part, savedMaxMs } = this.#of
    const moreMs = (nowMs - (this.#atMs ?? nowMs)) * part
    return Math.min(Math.max(savedMaxMs, this.#savedMs), this.#savedMs + moreMs)
  }
}

/** A pod's. */
export class Share {
  readonly #budget = new Budget(OF_POD)
  #usedMs = 0
  #largeUntilMs = Number.NEGATIVE_INFINITY
  #atMs = 0

  freeMs(nowMs: number): number {
    return this.#budget.freeMs(nowMs)
  }

  usedMs(nowMs: number): number {
    return this.#usedMs * 0.5 ** ((nowMs - this.#atMs) / HALF_LIFE_MS)
  }

  /** As far as is known. */
  isLarge(nowMs: number): boolean {
    return nowMs < this.#largeUntilMs
  }

  took(ms: number, isLarge: boolean, nowMs: number): void {
    this.#budget.took(ms, nowMs)
    this.#usedMs = this.usedMs(nowMs) + ms
    if (isLarge) this.#largeUntilMs = nowMs + LARGE_KEPT_MS
    this.#atMs = nowMs
  }
}

interface LookTook {
  /** With others' work in between. */
  readonly ms: number
  readonly isLarge: boolean
}

export class LookPace {
  readonly #ofLarge = new Budget(OF_LARGE)
  readonly #ofSmall = new Budget(OF_SMALL, SAVED_AT_FIRST_MS)

  /** When the pod may be looked at, as far as time is concerned. */
  freeMs(share: Share, nowMs: number): number {
    return Math.max(share.freeMs(nowMs), this.#of(share, nowMs).freeMs(nowMs))
  }

  took(share: Share, { ms, isLarge }: LookTook, nowMs: number): void {
    this.#of(share, nowMs).took(ms, nowMs)
    share.took(ms, isLarge, nowMs)
  }

  #of(share: Share, nowMs: number): Budget {
    return share.isLarge(nowMs) ? this.#ofLarge : this.#ofSmall
  }
}

export interface Waiting {
  readonly share: Share
  /** When it is to be looked at; never: infinity. */
  readonly dueMs: number
}

/** @returns whose turn is next, and when */
export function nextTurn<Pod extends Waiting>(
  pods: Iterable<Pod>,
  pace: LookPace,
  nowMs: number,
): { readonly pod: Pod; readonly atMs: number } | undefined {
  let best: Turn<Pod> | undefined
  for (const pod of pods) {
    if (!Number.isFinite(pod.dueMs)) continue
    const atMs = Math.max(nowMs, pod.dueMs, pace.freeMs(pod.share, nowMs))
    const turn = { pod, atMs, usedMs: pod.share.usedMs(nowMs) }
    if (best === undefined || isBefore(turn, best)) best = turn
  }
  return best
}

interface Turn<Pod> {
  readonly pod: Pod
  readonly atMs: number
  readonly usedMs: number
}

function isBefore(one: Turn<Waiting>, other: Turn<Waiting>): boolean {
  if (one.atMs !== other.atMs) return one.atMs < other.atMs
  if (one.usedMs !== other.usedMs) return one.usedMs < other.usedMs
  // The youngest first: what an agent finds as it starts was let speak before.
  return one.pod.dueMs > other.pod.dueMs
}
