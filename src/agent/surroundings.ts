// What else is on the node, and what the node must be like: kernel settings held at what we need. Looked at when devices come or go,
// and every half minute, for nobody tells when a setting is changed.

import type { Logger } from 'pino'
import { kernelSysctls, type SysctlStatus, Sysctls } from './sysctls.ts'

const ROUND_MS = 30_000
/** Pods come in bursts. */
const SETTLE_MS = 50

export interface Device {
  readonly name: string
  readonly ifindex: number
  readonly kind: 'uplink' | 'pod'
}

export interface SurroundingsOptions {
  readonly stateDirectory: string
  readonly devices: () => readonly Device[]
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>
}

export class Surroundings {
  readonly #options: SurroundingsOptions
  readonly #sysctls: Sysctls
  readonly #timer: NodeJS.Timeout
  #soon: NodeJS.Timeout | undefined
  #seen = ''

  constructor(options: SurroundingsOptions) {
    this.#options = options
    const { log, stateDirectory } = options
    this.#sysctls = new Sysctls({
      ...kernelSysctls,
      stateDirectory,
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
  }
}
