// From tables to the kernel for policy: what changed → compiler → rows, in rounds. The first one ends before any program that enforces is
// attached, so that what such a program finds is whole: on a node that enforced before, the programs and rows of the agent before go on
// until then, and the numbers that flows carry stay what they are. A compiler that fails is followed by another one in the same way.

import type { Logger } from 'pino'
import type { PolicyMaps, PolicyShortage } from '../datapath/policy-maps.ts'
import type { EventRecorder } from '../kube/events.ts'
import type { PolicyWorld } from '../model/policy.ts'
import { inSlices, type Steps } from '../model/slices.ts'
import {
  COMPILER_LIMITS,
  type CompilerLimits,
  type CompilerSize,
  PolicyCompiler,
} from '../policy/compile/compiler.ts'
import type { EarlierRows, PolicyChange, PolicyWrite, RuleId } from '../policy/compile/rows.ts'
import type { RuleIds } from '../policy/compile/rule-ids.ts'
import { Rounds } from '../reconcile/rounds.ts'
import { type FailSafePorts, type FailSafePortsNow, HeldPorts, LIVE_PORTS_MAX } from './fail-safe-ports.ts'
import type { PolicyRulesFile } from './policy-rules-file.ts'
import { PolicyChanges, type PolicyWorldTables, policyWorld } from './policy-world.ts'
import { nodeObject } from './report-problems.ts'

const SETTLE_MS = 2
const RETRY_MIN_MS = 100
const RETRY_MAX_MS = 10_000
/** Numbers that rest, and references that nobody makes any more, end this late at most. */
const UPKEEP_MS = 30_000

export interface PolicyLoopOptions {
  readonly node: string
  readonly tables: PolicyWorldTables
  readonly maps: PolicyMaps
  readonly limits: Pick<CompilerLimits, 'sets' | 'cells' | 'classes'>
  readonly existingConnections: 'recheck' | 'keep'
  /** Numbers and names of rules, which outlive the agent. */
  readonly rules: Pick<PolicyRulesFile, 'ids' | 'flush'>
  /** Called when what the tables say now is taken; what it gives when the kernel holds that. */
  readonly onTaken?: (() => () => void) | undefined
  /** Where the node stays in touch, as the tables have it now. */
  readonly failSafePorts: () => FailSafePortsNow
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>
  readonly events: Pick<EventRecorder, 'record'>
}

export interface PolicyStatus {
  readonly size: CompilerSize
  readonly shortage: PolicyShortage
  /** Rounds that wrote something, and how long the last of them took. */
  readonly rounds: number
  readonly lastRoundMs: number
}

export class PolicyLoop {
  readonly #options: PolicyLoopOptions
  #compiler: PolicyCompiler
  #changes: PolicyChanges
  readonly #failSafePorts: HeldPorts
  readonly #rounds: Rounds
  /** Compiled, and not in the kernel yet. */
  #waiting: PolicyWrite[] = []
  /** Of this round's writes. */
  #refusal: { readonly error: unknown } | undefined
  /** Handed to the kernel so far. */
  #writes = 0
  /** Rows that an earlier process or compiler left go after the first round. */
  #isAdopting = true
  #isSettled = false
  #toldPorts = false
  #written = 0
  #lastRoundMs = 0
  #toldShortage = ''

  /** The first round is over: the kernel holds all of it, or refused it. */
  readonly begun: Promise<void>
  readonly #begun = Promise.withResolvers<void>()

  /** Make it when every source has synced. What fails is tried again, and closed until then. */
  constructor(options: PolicyLoopOptions) {
    const { log } = options
    this.begun = this.#begun.promise
    this.#options = options
    this.#failSafePorts = new HeldPorts(options.failSafePorts(), performance.now())
    this.#compiler = newCompiler(options, this.#failSafePorts.ranges)
    this.#rounds = new Rounds({
      name: 'policy',
      settleMs: SETTLE_MS,
      retryMinMs: RETRY_MIN_MS,
      retryMaxMs: RETRY_MAX_MS,
      run: () => this.#round().finally(this.#begun.resolve),
      onError: (error, retryInMs) =>
        log.error({ err: error, retryInMs }, 'writing policy to the kernel failed; trying again'),
    })
    this.#changes = this.#follow()
    this.#rounds.request()
  }

  get world(): PolicyWorld {
    return policyWorld(this.#options.tables, this.#failSafePorts.ranges)
  }

  /** Whether the kernel holds all of it, but for changes on their way, and nothing that an earlier process left. */
  get isSettled(): boolean {
    return this.#isSettled
  }

  get status(): PolicyStatus {
    return {
      size: this.#compiler.size(),
      shortage: this.#options.maps.shortage,
      rounds: this.#written,
      lastRoundMs: this.#lastRoundMs,
    }
  }

  nameOf(rule: RuleId): ReturnType<RuleIds['nameOf']> {
    return this.#options.rules.ids.nameOf(rule)
  }

  async close(): Promise<void> {
    this.#changes.close()
    await this.#rounds.close()
    this.#begun.resolve()
  }

  /** In slices, for at first it is much. Whoever reads the tables meanwhile finds what comes with the next round. */
  async #round(): Promise<void> {
    const { maps, log } = this.#options
    const startedMs = performance.now()
    this.#followFailSafePorts()
    const tellWritten = this.#options.onTaken?.()
    const isWriting = await inSlices(this.#compileAndWrite(startedMs))
    if (this.#isAdopting) {
      maps.settle()
      this.#isAdopting = false
      this.#isSettled = true
      log.info(this.#compiler.size(), 'the kernel holds every policy')
    }
    tellWritten?.()
    this.#rounds.requestIn(UPKEEP_MS)
    if (isWriting) {
      this.#written += 1
      this.#lastRoundMs = performance.now() - startedMs
    }
    this.#tellShortage()
  }

  #follow(): PolicyChanges {
    return new PolicyChanges(this.#options.tables, this.#options.node, () => this.#rounds.request())
  }

  /** They are in every verdict about the node, and hardly ever move: a compiler has them from its beginning. Meanwhile what was written holds. */
  #followFailSafePorts(): void {
    const { failSafePorts, log } = this.#options
    const hasMoved = this.#failSafePorts.follow(failSafePorts(), performance.now())
    this.#tellPorts()
    if (!hasMoved) return
    log.info('the API servers are at other ports: policy is compiled anew')
    this.#beginAnew()
  }

  #tellPorts(): void {
    const { log, events, node } = this.#options
    const { isFull } = this.#failSafePorts
    if (isFull && !this.#toldPorts) {
      const message = `EndpointSlices of default/kubernetes name more than ${LIVE_PORTS_MAX} TCP ports of API servers: at the others policy may cut this node off from them. Mend: 'kubectl -n default get endpointslices -l kubernetes.io/service-name=kubernetes' lists them; delete those that are of no API server, or list their ports in policy.failSafePorts`
      log.warn(message)
      events.record(nodeObject(node), 'Warning', 'PolicyApiPorts', message)
    }
    this.#toldPorts = isFull
  }

  /** Also without a change: numbers come to the end of their rest. */
  *#compile(nowMs: number): Steps {
    try {
      const changes = this.#changes.take()
      const write = (writes: PolicyChange) => this.#write(writes)
      for (const change of changes.length > 0 ? changes : [{}])
        yield* write(yield* this.#compiler.steps(change, nowMs, write))
    } catch (error) {
      this.#beginAnew()
      this.#isSettled = false
      throw error
    }
  }

  /** @returns whether there was anything to write */
  *#compileAndWrite(nowMs: number): Steps<boolean> {
    this.#refusal = undefined
    const before = this.#writes
    yield* this.#compile(nowMs)
    const refusal = this.#refusal as { readonly error: unknown } | undefined
    if (refusal) throw refusal.error
    return this.#writes > before
  }

  /** What the kernel refuses waits, and with it all that comes later. */
  *#write(writes: PolicyChange): Steps {
    for (const write of writes) this.#waiting.push(write)
    this.#writes += this.#waiting.length
    if (this.#refusal || this.#waiting.length === 0) return
    const { maps, rules } = this.#options
    // Ahead of the rows that carry the numbers: whoever is killed in between leaves none without a name.
    rules.flush()
    try {
      yield* maps.steps(this.#waiting)
      this.#waiting = []
    } catch (error) {
      this.#refusal = { error }
    }
  }

  /** What the compiler made of a change that it failed at is unknown, so another one takes the whole world, as after an earlier process. */
  #beginAnew(): void {
    const { maps } = this.#options
    this.#changes.close()
    this.#changes = this.#follow()
    maps.adoptAnew()
    this.#compiler = newCompiler(this.#options, this.#failSafePorts.ranges)
    this.#waiting = []
    this.#isAdopting = true
  }

  #tellShortage(): void {
    const { maps, log, events, node } = this.#options
    const { shortage } = maps
    const text = JSON.stringify(shortage)
    if (text === this.#toldShortage) return
    this.#toldShortage = text
    const short = SHORTAGES.filter(([count]) => shortage[count] > 0).map(([, what]) => what)
    if (short.length === 0) return
    log.warn(shortage, 'policy found no room in the kernel for all of its rows; what lacks them is closed')
    // Without figures, which change from round to round: an Event a change would be many.
    const message = `policy found no room in this node's kernel for ${short.join(', ')}: what lacks them is closed. Mend: fewer pods or fewer different policies on this node; 'weir status -o json' has the counts, under policy`
    events.record(nodeObject(node), 'Warning', 'PolicyNoRoom', message)
  }
}

const SHORTAGES = [
  ['classes', 'verdicts by port'],
  ['peers', 'whom sets of pods tell apart'],
  ['identities', 'addresses and networks'],
  ['subjects', 'pods'],
  ['lockedSets', 'all that some sets of pods say'],
] as const satisfies readonly (readonly [keyof PolicyShortage, string])[]

function newCompiler(
  { node, maps, limits, existingConnections, rules }: PolicyLoopOptions,
  failSafePorts: FailSafePorts,
) {
  const earlier = maps.earlier()
  return new PolicyCompiler({
    ...{ node, existingConnections, rules: rules.ids },
    labels: { include: [], exclude: [] },
    failSafe: failSafePorts,
    limits: { ...COMPILER_LIMITS, ...limits },
    ...(isAnything(earlier) ? { earlier } : {}),
  })
}

/** On a node that never enforced there is nobody to follow: addresses come before those who are judged by them. */
function isAnything({ rule, sets, identities }: EarlierRows): boolean {
  return rule > 0 || [...sets].length > 0 || [...identities].length > 0
}
