// Tells, once each, of what the closed default does to pods (closed-pods.ts): to the log, and as Events of the Node.

import type { Logger } from 'pino'
import { nodeObject, type Reporter } from './report-problems.ts'

/** Who waits for longer than any start takes is told of. */
const TOLD_AFTER_MS = 30_000
const UNJUDGED =
  'no device of this node leads there, so no policy can be enforced: open (but for packet sockets) as long as none selects the pod, closed from the first that does. Mend: a CNI plug-in that makes veths (ptp, bridge), not IPVLAN or macvlan'

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
  #hasToldByAddress = false
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

  /** @param pods all that are told by their address alone, some of them or none */
  tellByAddress(pods: readonly string[]): void {
    const [first] = pods
    const isNew = first !== undefined && !this.#hasToldByAddress
    this.#hasToldByAddress = first !== undefined
    if (!isNew) return
    const text = `pods are told by their address alone, ${first} among them: no cgroup is named by their uid, or its processes are hidden from the agent. One that gets the address of a pod that has just gone may speak by that one's policies until the API server tells. Mend: hostPID: true for the agent, or policy.podsCgroup`
    this.#warn('PodsNotProven', { pods: pods.length }, text)
  }

  /** To be called once. @param problem why packet sockets of pods that are not known are not refused */
  tellUnseen(problem: string): void {
    const text =
      'packet sockets are not refused to pods that policy does not know yet, for this kernel lacks programs on its functions or refuses them: one with CAP_NET_RAW may send frames of its own making before its device is judged. Mend: a kernel with BTF, CONFIG_FUNCTION_TRACER and CONFIG_SECURITY_NETWORK, or pods that drop the capability'
    this.#warn('PacketSocketsOpen', { problem }, text)
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
