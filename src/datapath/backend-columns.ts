// What `backends` holds, by number: in columns, for a hundred thousand objects of seven fields would be a sixth of the agent's heap, and
// each collection would look at them.

import type { Address } from '../model/address.ts'
import type { Protocol } from '../model/service.ts'
import type { BackendValue } from './kernel-tables.ts'

const PROTOCOLS: readonly Protocol[] = ['TCP', 'UDP', 'SCTP']
/** Place 0: the number has no row. */
const STATES: readonly (BackendValue['state'] | undefined)[] = [undefined, 'active', 'terminating', 'gone']

export class BackendColumns {
  readonly #addresses: (Address | undefined)[] = []
  readonly #ports: Uint16Array
  /** Places in PROTOCOLS and STATES. */
  readonly #protocols: Uint8Array
  readonly #states: Uint8Array
  readonly #areLocal: Uint8Array
  readonly #nexthopIds: Uint32Array
  readonly #nodeIds: Uint32Array

  /** Memory that is never written is never taken, so there is room for all numbers from the beginning. */
  constructor(length: number) {
    this.#ports = new Uint16Array(length)
    this.#protocols = new Uint8Array(length)
    this.#states = new Uint8Array(length)
    this.#areLocal = new Uint8Array(length)
    this.#nexthopIds = new Uint32Array(length)
    this.#nodeIds = new Uint32Array(length)
  }

  get(id: number): BackendValue | undefined {
    const state = STATES[this.#states[id] ?? 0]
    if (state === undefined) return undefined
    return {
      address: this.#addresses[id] as Address,
      port: this.#ports[id] as number,
      protocol: PROTOCOLS[this.#protocols[id] as number] as Protocol,
      state,
      isLocal: this.#areLocal[id] === 1,
      nexthopId: this.#nexthopIds[id] as number,
      nodeId: this.#nodeIds[id] as number,
    }
  }

  set(id: number, value: BackendValue): void {
    this.#addresses[id] = value.address
    this.#ports[id] = value.port
    this.#protocols[id] = PROTOCOLS.indexOf(value.protocol)
    this.#states[id] = STATES.indexOf(value.state)
    this.#areLocal[id] = Number(value.isLocal)
    this.#nexthopIds[id] = value.nexthopId
    this.#nodeIds[id] = value.nodeId
  }

  clear(id: number): void {
    this.#states[id] = 0
    this.#addresses[id] = undefined
  }

  /** Whether the row says so already; its address, port and protocol never change. */
  says(id: number, { state, isLocal, nexthopId, nodeId }: BackendValue): boolean {
    return (
      STATES[this.#states[id] ?? 0] === state &&
      this.#areLocal[id] === Number(isLocal) &&
      this.#nexthopIds[id] === nexthopId &&
      this.#nodeIds[id] === nodeId
    )
  }
}
