// Drains this node when it is asked to: by its Node object (cordoned, with the label or taint weir.network/drain) or by `weir drain`. Gathers the
// facts for the state machine (routing/drain.ts), does what its states say, writes them down before it does it, and tells of it.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { EventRecorder } from '../kube/events.ts'
import type { DrainMark, DrainSettings } from '../model/routing.ts'
import type { Node } from '../model/service.ts'
import {
  ACTIVE,
  type DrainFacts,
  type DrainPhase,
  type DrainState,
  describeDrain,
  drainEffects,
  stepDrain,
} from '../routing/drain.ts'
import type { DrainFiles } from './drain-files.ts'
import { nodeObject } from './report-problems.ts'

/** How often traffic and gobgpd are looked at while a drain is under way. */
const LOOK_MS = 250
/** Rates are taken over at least this long. */
const RATE_MS = 500
const CONDITION_RETRY_MS = 2_000

/** What a drain tells routers through. */
export interface DrainedRouting {
  setDrain(mark: DrainMark | undefined): void
  setDrained(isDrained: boolean): void
  /** Whether gobgpd holds everything that was asked for so far. */
  readonly isInForce: boolean
  /** Announced, or waiting to be withdrawn. */
  readonly vipCount: number
}

/** Packets of clients for Services that entered by this node's uplinks, since the node came up. */
export interface ClientPackets {
  /** To addresses that routers lead here: a drain moves them. */
  readonly announced: number
  /** To ports of the node's own address, which it keeps. */
  readonly nodePorts: number
}

export interface NodeDrainOptions {
  readonly nodeName: string
  readonly files: DrainFiles
  readonly settings: () => DrainSettings
  readonly node: () => Node | undefined
  readonly clientPackets: () => ClientPackets
  readonly routing: DrainedRouting
  /** Writes the Node's condition; rejects when it could not be written. */
  readonly writeCondition: (condition: DrainCondition) => Promise<void>
  readonly events: Pick<EventRecorder, 'record'>
  readonly log: Pick<Logger, 'info' | 'warn'>
  readonly nowMs: () => number
}

export interface DrainCondition {
  readonly isDrained: boolean
  readonly phase: DrainPhase
  readonly message: string
  readonly sinceMs: number
}

export interface DrainView {
  readonly node: string
  readonly phase: DrainPhase
  readonly sinceMs: number
  readonly message: string
  /** Undefined: nobody wants it. */
  readonly wantedBy: 'node' | 'agent' | undefined
  /** Of clients, to addresses that this node announces. */
  readonly packetsPerSecond: number | undefined
  /** Of clients, to node ports; as last measured. */
  readonly nodePortPacketsPerSecond: number | undefined
  readonly vips: number
}

/** Counters read at a time. */
interface Sample {
  readonly atMs: number
  readonly packets: ClientPackets
}

const EVENT_REASONS: Readonly<Record<DrainPhase, string>> = {
  active: 'Undrained',
  marking: 'DrainMarking',
  waiting: 'DrainWaiting',
  withdrawn: 'DrainWithdrawing',
  drained: 'Drained',
}

export class NodeDrain {
  readonly #options: NodeDrainOptions
  #state: DrainState = ACTIVE
  #isWantedLocally = false
  #hasCondition = false
  /** The Node's wish counts from the first look on. */
  #hasBegun = false
  #sample: Sample | undefined
  #packetsPerSecond: number | undefined
  #nodePortPacketsPerSecond: number | undefined
  #timer: NodeJS.Timeout | undefined
  #conditionDue: DrainCondition | undefined
  #isWriting = false
  #isClosed = false

  /** Goes on where an earlier agent stopped: what it had withdrawn is never announced in between. */
  constructor(options: NodeDrainOptions) {
    this.#options = options
    const record = options.files.read()
    if (record) {
      this.#state = notLater(record.state, options.nowMs())
      this.#isWantedLocally = record.isWantedLocally
      this.#hasCondition = record.hasCondition
    }
    this.#act()
    if (this.#state.phase !== 'active')
      options.log.info({ phase: this.#state.phase }, 'going on with the drain of an earlier agent')
  }

  /** To be called when the Node may have changed; the first time when the API server has been heard. */
  look(): void {
    this.#hasBegun = true
    this.#step()
  }

  /** A wish for which there is no Node object to hold it. */
  setWantedLocally(isWanted: boolean): void {
    this.#isWantedLocally = isWanted
    this.#writeDown()
    if (this.#hasBegun) this.#step()
  }

  get isWantedLocally(): boolean {
    return this.#isWantedLocally
  }

  view(): DrainView {
    const { nodeName, settings, nowMs } = this.#options
    const { phase, sinceMs } = this.#state
    const facts = this.#facts()
    return {
      node: nodeName,
      phase,
      sinceMs,
      message: describeDrain(this.#state, facts, settings(), nowMs()),
      wantedBy: this.#isWantedLocally ? 'agent' : facts.isWanted ? 'node' : undefined,
      packetsPerSecond: facts.packetsPerSecond,
      nodePortPacketsPerSecond: facts.nodePortPacketsPerSecond,
      vips: facts.vips,
    }
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
  }

  #step(): void {
    if (this.#isClosed) return
    clearTimeout(this.#timer)
    this.#measure()
    // Several states may pass at once: an agent that was away, a node without VIPs.
    for (;;) {
      const { settings, nowMs } = this.#options
      const next = stepDrain(this.#state, this.#facts(), settings(), nowMs())
      if (next === this.#state) break
      const isOther = next.phase !== this.#state.phase
      this.#state = next
      if (!isOther) continue
      this.#writeDown()
      this.#act()
      this.#tell()
    }
    if (this.#state.phase !== 'active' && this.#state.phase !== 'drained')
      this.#timer = setTimeout(() => this.#step(), LOOK_MS)
  }

  #facts(): DrainFacts {
    const { node, routing } = this.#options
    const own = node()
    const nodeWantsIt = own?.isCordoned === true && own.asksToDrain
    return {
      isWanted: this.#isWantedLocally || nodeWantsIt,
      isTold: routing.isInForce,
      vips: routing.vipCount,
      packetsPerSecond: this.#state.phase === 'waiting' ? this.#packetsPerSecond : undefined,
      nodePortPacketsPerSecond: this.#state.phase === 'active' ? undefined : this.#nodePortPacketsPerSecond,
    }
  }

  #measure(): void {
    if (this.#state.phase !== 'waiting') {
      this.#sample = undefined
      this.#packetsPerSecond = undefined
      if (this.#state.phase === 'active') this.#nodePortPacketsPerSecond = undefined
      return
    }
    const atMs = this.#options.nowMs()
    const packets = this.#options.clientPackets()
    const before = this.#sample
    if (before && atMs - before.atMs < RATE_MS) return
    this.#sample = { atMs, packets }
    if (!before) return
    const perSecond = (of: keyof ClientPackets) =>
      ((packets[of] - before.packets[of]) * 1000) / (atMs - before.atMs)
    this.#packetsPerSecond = perSecond('announced')
    this.#nodePortPacketsPerSecond = perSecond('nodePorts')
  }

  /** Before it is done: whoever comes after a crash does it again. */
  #writeDown(): void {
    this.#onDisk((files) =>
      files.write({
        state: this.#state,
        isWantedLocally: this.#isWantedLocally,
        hasCondition: this.#hasCondition,
      }),
    )
  }

  /** A disk that is full keeps no node from draining. */
  #onDisk(write: (files: DrainFiles) => void): void {
    try {
      write(this.#options.files)
    } catch (error) {
      this.#options.log.warn(
        { err: error },
        'the drain was not written down: a restarted agent asks the Node anew',
      )
    }
  }

  #act(): void {
    const { routing, settings } = this.#options
    const { mark, withdrawsVips, leaves } = drainEffects(this.#state, settings())
    this.#onDisk((files) => files.setMarker(leaves))
    routing.setDrain(mark)
    routing.setDrained(withdrawsVips)
  }

  #tell(): void {
    const { events, log, nodeName } = this.#options
    const { phase, sinceMs } = this.#state
    const { message } = this.view()
    log.info({ phase }, message)
    events.record(nodeObject(nodeName), 'Normal', EVENT_REASONS[phase], message)
    if (phase !== 'active' && !this.#hasCondition) {
      this.#hasCondition = true
      this.#writeDown()
    }
    this.#conditionDue = { isDrained: phase === 'drained', phase, message, sinceMs }
    void this.#writeConditions()
  }

  async #writeConditions(): Promise<void> {
    if (this.#isWriting) return
    this.#isWriting = true
    while (this.#conditionDue && this.#hasCondition && !this.#isClosed) {
      const due = this.#conditionDue
      try {
        await this.#options.writeCondition(due)
        if (this.#conditionDue === due) this.#conditionDue = undefined
      } catch (error) {
        this.#options.log.warn({ err: error }, "the Node's condition was not written; trying again")
        await sleep(CONDITION_RETRY_MS, undefined, { ref: false })
      }
    }
    this.#isWriting = false
  }
}

/** Somebody may have set the clock back meanwhile: what began in the future would never be late. */
function notLater(state: DrainState, nowMs: number): DrainState {
  return { ...state, sinceMs: Math.min(state.sinceMs, nowMs), startedMs: Math.min(state.startedMs, nowMs) }
}
