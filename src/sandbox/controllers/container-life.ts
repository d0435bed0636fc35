// A container's life within its pod: start, probes, end, restart with backoff. It holds the facts that the pod's status is
// made of and says `changed` whenever one of them moves.

import { join } from 'node:path'
import type { Container } from '../../kube/objects.ts'
import type { Place } from '../process.ts'
import {
  adoptContainer,
  type ContainerEnd,
  EXIT_UNKNOWN,
  type RunningContainer,
  startContainer,
} from './container.ts'
import type { ContainerProgram } from './pod-command.ts'
import type { ContainerRecord } from './pod-record.ts'
import type { ContainerFacts } from './pod-status.ts'
import { type RunningProbe, startProbe } from './probes.ts'

export interface LifeSettings {
  container: Container
  isInit: boolean
  /** Decides whether an ended container is started again. */
  restartPolicy: 'Always' | 'OnFailure' | 'Never'
  directory: string
  hostname: string
  place: () => Place
  program: () => ContainerProgram | undefined
  /** The address probes go to. */
  address: () => string
  changed: () => void
  warn: (reason: string, message: string) => void
}

/** As kubelet: the first restart at once, then 10 s, doubling to 5 minutes; a run of 10 minutes is forgiven. */
const BACKOFF_FIRST_MS = 10_000
const BACKOFF_MAX_MS = 300_000
const FORGIVEN_AFTER_MS = 600_000

export class ContainerLife {
  readonly facts: ContainerFacts
  readonly #settings: LifeSettings
  readonly #probes: RunningProbe[] = []
  #running: RunningContainer | undefined
  #restartTimer: NodeJS.Timeout | undefined
  #backoffMs = 0
  #isStopping = false

  constructor(settings: LifeSettings) {
    this.#settings = settings
    this.facts = {
      container: settings.container,
      isInit: settings.isInit,
      state: 'waiting',
      waiting: { reason: settings.isInit ? 'PodInitializing' : 'ContainerCreating' },
      restartCount: 0,
      ready: false,
    }
  }

  get pidFile(): string {
    return join(this.#settings.directory, `${this.facts.container.name}.pid`)
  }

  async start(): Promise<void> {
    const { container } = this.facts
    const program = this.#settings.program()
    if (program === undefined) {
      const message = 'the rack has no images: give the container a command or args'
      this.facts.waiting = { reason: 'CreateContainerError', message }
      this.#settings.warn('Failed', `container ${container.name}: ${message}`)
      this.#settings.changed()
      return
    }
    const running = await startContainer({
      place: this.#settings.place(),
      hostname: this.#settings.hostname,
      argv: program.argv,
      env: program.env,
      workingDirectory: container.workingDir,
      logFile: join(this.#settings.directory, `${container.name}.log`),
      pidFile: this.pidFile,
    })
    this.#follow(running)
  }

  /**
   * Takes up what a former control process recorded; false when the container is to be started again. A running one stays as ready
   * as it was until its probe says otherwise: a restart of ours must not take an endpoint away.
   */
  adopt(record: ContainerRecord, wasReady: boolean): boolean {
    const { facts } = this
    facts.restartCount = record.restartCount
    const running = record.end === undefined ? adoptContainer(this.pidFile, record.startedMs) : undefined
    if (running !== undefined) {
      this.#follow(running, wasReady)
      return true
    }
    // It ended while nobody looked, or was recorded as ended and waited for its restart.
    const end = record.end ?? {
      exitCode: EXIT_UNKNOWN,
      signal: undefined,
      startedMs: record.startedMs,
      finishedMs: Date.now(),
    }
    if (!this.#isRestartedAfter(end.exitCode)) {
      this.#markEnded(end)
      return true
    }
    facts.lastEnd = end
    facts.restartCount++
    return false
  }

  #markEnded(end: NonNullable<ContainerFacts['end']>): void {
    const { facts } = this
    facts.state = 'ended'
    facts.end = end
    delete facts.waiting
    // An init container that succeeded counts as ready, as kubelet has it.
    facts.ready = facts.isInit && end.exitCode === 0
  }

  #isRestartedAfter(exitCode: number): boolean {
    const { isInit, container } = this.facts
    if (isInit && container.restartPolicy === 'Always') return true
    const policy = this.#settings.restartPolicy
    // An init container that succeeded is done, whatever the pod's policy.
    if (isInit) return exitCode !== 0 && policy !== 'Never'
    return policy === 'Always' || (policy === 'OnFailure' && exitCode !== 0)
  }

  /** No restart from now on; readiness goes on being probed, for a terminating pod may still serve. */
  beginStop(): void {
    this.#isStopping = true
    clearTimeout(this.#restartTimer)
  }

  signal(signal: NodeJS.Signals): void {
    this.#running?.signal(signal)
  }

  async ended(): Promise<void> {
    await this.#running?.ended
  }

  /** Leaves the process alone and forgets it: the control process ends. */
  forget(): void {
    this.beginStop()
    this.#stopProbes()
    this.#running?.forget()
  }

  #follow(running: RunningContainer, wasReady = false): void {
    this.#running = running
    this.facts.state = 'running'
    delete this.facts.waiting
    this.facts.pid = running.identity.pid
    this.facts.startedMs = running.startedMs
    this.facts.ready = wasReady || this.facts.container.readinessProbe === undefined
    this.#startProbes(running)
    void running.ended.then((end) => this.#onEnd(running, end))
    this.#settings.changed()
  }

  #startProbes(running: RunningContainer): void {
    const { container } = this.facts
    const program = this.#settings.program()
    const target = {
      place: this.#settings.place(),
      address: this.#settings.address(),
      container,
      env: program?.env ?? {},
    }
    const begin = () => {
      if (container.readinessProbe !== undefined) {
        const onVerdict = (good: boolean) => {
          if (this.facts.ready === good) return
          this.facts.ready = good
          this.#settings.changed()
        }
        this.#probes.push(startProbe(container.readinessProbe, target, onVerdict))
      }
      if (container.livenessProbe !== undefined) {
        this.#probes.push(
          startProbe(container.livenessProbe, target, (good) => this.#onLiveness(running, good)),
        )
      }
    }
    if (container.startupProbe === undefined) begin()
    else {
      const startup = startProbe(container.startupProbe, target, (good) => {
        startup.stop()
        if (good) begin()
        else this.#onLiveness(running, false)
      })
      this.#probes.push(startup)
    }
  }

  #onLiveness(running: RunningContainer, good: boolean): void {
    if (good || this.#isStopping) return
    const message = `container ${this.facts.container.name} failed its liveness probe and is restarted`
    this.#settings.warn('Unhealthy', message)
    running.signal('SIGKILL')
  }

  #stopProbes(): void {
    for (const probe of this.#probes) probe.stop()
    this.#probes.length = 0
  }

  #onEnd(running: RunningContainer, end: ContainerEnd): void {
    if (this.#running !== running) return
    this.#running = undefined
    this.#stopProbes()
    this.#markEnded({ ...end, startedMs: running.startedMs })
    if (this.#isRestartedAfter(end.exitCode) && !this.#isStopping)
      this.#restart(end.finishedMs - running.startedMs)
    this.#settings.changed()
  }

  #restart(ranMs: number): void {
    if (ranMs > FORGIVEN_AFTER_MS) this.#backoffMs = 0
    const delayMs = this.#backoffMs
    this.#backoffMs = Math.min(BACKOFF_MAX_MS, Math.max(BACKOFF_FIRST_MS, delayMs * 2))
    const { facts } = this
    facts.lastEnd = facts.end
    if (delayMs > 0) {
      facts.state = 'waiting'
      const message = `back-off ${delayMs / 1000}s restarting failed container ${facts.container.name}`
      facts.waiting = { reason: 'CrashLoopBackOff', message }
      this.#settings.warn('BackOff', message)
    }
    this.#restartTimer = setTimeout(() => {
      facts.restartCount++
      this.start().catch((error: unknown) =>
        this.#settings.warn('Failed', `restart of ${facts.container.name}: ${String(error)}`),
      )
    }, delayMs)
  }
}
