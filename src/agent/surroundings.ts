// What else is on the node, and what the node must be like: others that touch what we do are named, kernel settings are held at what
// we need. Looked at when devices come or go, and every ten seconds, for nobody tells when a rule or a setting is changed.
// A finding is told once when it comes (log, Event) and once when it goes.

import type { Logger } from 'pino'
import type { Finding } from '../datapath/neighbours/finding.ts'
import type { EventRecorder, InvolvedObject } from '../kube/events.ts'
import type { PortRange } from './masquerade-rules.ts'
import { nodeObject } from './report-problems.ts'
import { kernelSysctls, type SysctlStatus, Sysctls } from './sysctls.ts'

const ROUND_MS = 10_000
/** Pods come in bursts. */
const SETTLE_MS = 50

export interface Device {
  readonly name: string
  readonly ifindex: number
  readonly kind: 'uplink' | 'pod'
}

export interface SurroundingsOptions {
  readonly stateDirectory: string
  /** From where the node sends for others. */
  readonly lentPorts: readonly PortRange[]
  readonly devices: () => readonly Device[]
  readonly findNeighbours: () => Promise<readonly Finding[]>
  /** Told of each finding that is no more. */
  readonly onGone: (finding: Finding) => void
  readonly events: Pick<EventRecorder, 'record'>
  readonly nodeName: string
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>
}

/** What is told of at most; the counts tell of all. */
const FINDINGS_MAX = 100

export class Surroundings {
  readonly #options: SurroundingsOptions
  readonly #sysctls: Sysctls
  readonly #timer: NodeJS.Timeout
  #soon: NodeJS.Timeout | undefined
  #seen = ''
  #neighbours = new Map<string, Finding>()
  #looks: 'not yet' | 'between' | 'now' = 'not yet'

  constructor(options: SurroundingsOptions) {
    this.#options = options
    const { log, lentPorts, stateDirectory } = options
    this.#sysctls = new Sysctls({
      ...kernelSysctls,
      stateDirectory,
      lentPorts,
      onSet: (name, former, value) => log.info({ name, former, value }, `kernel setting ${name} set`),
      onProblem: (name, error) =>
        log.error({ err: error, name }, `kernel setting ${name} cannot be set; see /v1/status`),
    })
    this.#timer = setInterval(() => this.#round(), ROUND_MS)
    this.#timer.unref()
    this.#round()
  }

  get sysctls(): readonly SysctlStatus[] {
    return this.#sysctls.status
  }

  /** Others on this node, in the order they were found. */
  get neighbours(): readonly Finding[] {
    return [...this.#neighbours.values()]
  }

  /** To be called when our programs hang where they belong: before, those of an earlier process would pass for others'. */
  startLooking(): void {
    if (this.#looks !== 'not yet') return
    this.#looks = 'between'
    void this.#look()
  }

  /** Cheap when the devices are those of the last time. */
  networkChanged(): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined
      if (this.#describeDevices() !== this.#seen) this.#round()
    }, SETTLE_MS)
    this.#soon.unref()
  }

  close(): void {
    clearInterval(this.#timer)
    clearTimeout(this.#soon)
  }

  #describeDevices(): string {
    return this.#options
      .devices()
      .map(({ name, ifindex }) => `${name} ${ifindex}`)
      .join()
  }

  #round(): void {
    this.#seen = this.#describeDevices()
    try {
      this.#sysctls.apply(this.#options.devices())
    } catch (error) {
      this.#options.log.error({ err: error }, 'kernel settings cannot be held')
    }
    void this.#look()
  }

  async #look(): Promise<void> {
    if (this.#looks !== 'between') return
    this.#looks = 'now'
    try {
      const found = await this.#options.findNeighbours()
      this.#report(
        new Map(found.slice(0, FINDINGS_MAX).map((one) => [`${one.kind} ${one.where} ${one.what}`, one])),
      )
    } catch (error) {
      this.#options.log.error({ err: error }, 'cannot look for others on this node')
    } finally {
      this.#looks = 'between'
    }
  }

  #report(found: ReadonlyMap<string, Finding>): void {
    const { log, events, nodeName } = this.#options
    const before = this.#neighbours
    this.#neighbours = new Map(found)
    for (const [key, finding] of before) {
      if (found.has(key)) continue
      log.info({ kind: finding.kind, where: finding.where }, `${finding.where}: gone`)
      this.#options.onGone(finding)
    }
    for (const [key, { kind, where, what, mend, services }] of found) {
      if (before.has(key)) continue
      const message = `${where}: ${what}. Mend: ${mend}`
      log.warn({ kind, where }, message)
      const objects = services.length > 0 ? services.map(serviceObject) : [nodeObject(nodeName)]
      for (const object of objects) events.record(object, 'Warning', REASONS[kind], `${nodeName}: ${message}`)
    }
  }
}

const REASONS: Readonly<Record<Finding['kind'], string>> = {
  'xdp-program': 'ForeignProgram',
  'tc-program': 'ForeignProgram',
  'cgroup-program': 'ForeignProgram',
  'kube-proxy-rules': 'OtherServiceProxy',
  ipvs: 'OtherServiceProxy',
  process: 'OtherServiceProxy',
  'address-owner': 'AddressHeldElsewhere',
  'node-address': 'NodeAddressDiffers',
}

function serviceObject(key: string): InvolvedObject {
  const [namespace = '', name = ''] = key.split('/')
  return { apiVersion: 'v1', kind: 'Service', namespace, name }
}
