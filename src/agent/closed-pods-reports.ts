// Tells, once each, of what the closed default does to pods (closed-pods.ts): to the log, and as Events of the Node.

import type { Logger } from 'pino'
import { nodeObject, type Reporter } from './report-problems.ts'

/** Who waits for longer than any start takes is told of. */
const TOLD_AFTER_MS = 30_000
const UNJUDGED =
  'no device of this node leads there, so no policy can be enforced: open as long as none selects the pod, closed from the first that does. Mend: a CNI plug-in that makes veths (ptp, bridge), not IPVLAN or macvlan'

export interface WaitingPod {
  readonly pod: string
  readonly uid: string
  readonly why: string
}

export interface ClosedPodsReporter extends Reporter {
  readonly log: Pick<Logger, 'info' | 'warn'>
  readonly nodeName: string
  readonly nowMs: () => number
}

export class ClosedPodsReports {
  readonly #reporter: ClosedPodsReporter
  #toldProblem: string | undefined
  #toldUnjudged: ReadonlySet<string> = new Set()
  /** By uid: since when pods wait. */
  #waitingSince: ReadonlyMap<string, number> = new Map()
  #hasToldWaiting = false

  constructor(reporter: ClosedPodsReporter) {
    this.#reporter = reporter
  }

  /** Nobody else would tell: of what closes them no packet is seen. @param waiting all that do */
  tellWaiting(waiting: readonly WaitingPod[]): void {
    const now = this.#reporter.nowMs()
    this.#waitingSince = new Map(waiting.map(({ uid }) => [uid, this.#waitingSince.get(uid) ?? now]))
    const long = waiting.filter(({ uid }) => now - (this.#waitingSince.get(uid) ?? now) >= TOLD_AFTER_MS)
    const isNew = long.length > 0 && !this.#hasToldWaiting
    this.#hasToldWaiting = long.length > 0
    const [first] = long
    if (!isNew || !first) return
    const text = `pods stay closed, ${first.pod} because ${first.why}. Mend: 'weir status' names all of them; pods on IPVLAN or macvlan can be judged by nothing: set policy.enforce: false`
    this.#warn('PodsClosed', { pods: long.length }, text)
  }

  /** @param pods all that speak though nothing judges them */
  tellUnjudged(pods: readonly string[]): void {
    const fresh = pods.filter((pod) => !this.#toldUnjudged.has(pod))
    this.#toldUnjudged = new Set(pods)
    if (fresh.length > 0) this.#warn('PodsNotJudged', { pods: fresh }, `${fresh.join(', ')}: ${UNJUDGED}`)
  }

  /** @param problem why nothing is closed; undefined: `cgroups` are */
  tellProblem(problem: string | undefined, cgroups: readonly string[]): void {
    if (problem === this.#toldProblem) return
    this.#toldProblem = problem
    if (problem !== undefined) this.#warn('PodsNotClosed', {}, problem)
    else this.#reporter.log.info({ cgroups }, 'pods that policy does not know are closed')
  }

  #warn(reason: string, facts: object, text: string): void {
    const { log, events, nodeName } = this.#reporter
    log.warn(facts, text)
    events.record(nodeObject(nodeName), 'Warning', reason, `${nodeName}: ${text}`)
  }
}
