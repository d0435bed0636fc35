// Writer of the BFD sessions. What an earlier process made is adopted with its numbers, so that no neighbour notices a restart. A
// session that is no longer wanted is switched off (AdminDown, RFC 5880 6.8.16) for as long as its neighbour needs to hear of it, and
// then forgotten.

import type { Address, Family } from '../model/address.ts'
import type { BfdState } from './abi.gen.ts'
import type { BfdKey, BfdSessionValue, BfdTables } from './bfd-tables.ts'

/** Our answers promise no less than one packet a second then, and routers forgive three. */
const LEAVING_NS = 4_000_000_000n

export interface BfdPlan {
  readonly peer: Address
  readonly ifindex: number
  readonly local: Address | undefined
  readonly intervalUs: number
  readonly multiplier: number
  readonly governs: readonly Family[]
}

export interface BfdEntry {
  readonly key: BfdKey
  readonly value: BfdSessionValue
}

export class BfdSessions {
  readonly #tables: BfdTables
  readonly #drawNumber: () => number
  readonly #entries = new Map<string, BfdEntry>()
  readonly #leavingNs = new Map<string, bigint>()

  /** @param drawNumber draws a discriminator from 1 to 2^32 - 1 */
  constructor(tables: BfdTables, drawNumber: () => number) {
    this.#tables = tables
    this.#drawNumber = drawNumber
    for (const [key, value] of tables.sessions.entries()) this.#entries.set(textOf(key), { key, value })
  }

  /** Wanted ones and such as are leaving. */
  get entries(): readonly BfdEntry[] {
    return [...this.#entries.values()]
  }

  get used(): number {
    return this.#entries.size
  }

  state({ value }: BfdEntry): BfdState {
    return this.#tables.states.read(value.row)
  }

  /**
   * Makes these sessions wanted.
   * @param areAll others begin to leave
   * @returns those that found no room
   */
  set(plans: readonly BfdPlan[], areAll: boolean, nowNs: bigint): readonly BfdPlan[] {
    const left: BfdPlan[] = []
    if (areAll) this.#leave(new Set(plans.map(textOf)), nowNs)
    for (const plan of plans) if (!this.#want(plan)) left.push(plan)
    return left
  }

  #leave(wanted: ReadonlySet<string>, nowNs: bigint): void {
    for (const [text, { key, value }] of this.#entries) {
      if (wanted.has(text)) continue
      if (!this.#leavingNs.has(text)) this.#leavingNs.set(text, nowNs + LEAVING_NS)
      if (!value.isAdminDown) this.#write(key, { ...value, isAdminDown: true, governs: [] })
    }
  }

  /** False: no room. */
  #want({ peer, ifindex, ...wishes }: BfdPlan): boolean {
    const key = { peer, ifindex }
    this.#leavingNs.delete(textOf(key))
    const known = this.#entries.get(textOf(key))
    const numbers = known
      ? { row: known.value.row, discriminator: known.value.discriminator }
      : this.#number()
    if (!numbers) return false
    const value = { ...numbers, ...wishes, isAdminDown: false }
    if (known && isEqual(known.value, value)) return true
    if (!known) this.#tables.states.reset(numbers.row)
    this.#write(key, value)
    return true
  }

  /** Forgets those that have left. @returns whether there were any: uplinks they took out of use are to be written again */
  retire(nowNs: bigint): boolean {
    let hasRetired = false
    for (const [text, dueNs] of this.#leavingNs) {
      const entry = this.#entries.get(text)
      if (dueNs > nowNs || !entry) continue
      this.#tables.states.release(entry.value.row)
      this.#tables.sessions.delete(entry.key)
      this.#entries.delete(text)
      this.#leavingNs.delete(text)
      hasRetired = true
    }
    return hasRetired
  }

  #write(key: BfdKey, value: BfdSessionValue): void {
    this.#tables.sessions.set(key, value)
    this.#entries.set(textOf(key), { key, value })
  }

  /** Undefined: every row is taken. */
  #number(): Pick<BfdSessionValue, 'row' | 'discriminator'> | undefined {
    const values = this.entries.map(({ value }) => value)
    const rows = new Set(values.map(({ row }) => row))
    const taken = new Set(values.map(({ discriminator }) => discriminator))
    let row = 0
    while (rows.has(row)) row += 1
    if (row >= this.#tables.states.length) return undefined
    let discriminator = this.#drawNumber()
    while (taken.has(discriminator)) discriminator = this.#drawNumber()
    return { row, discriminator }
  }
}

function textOf({ peer, ifindex }: BfdKey): string {
  return `${ifindex} ${peer}`
}

function isEqual(one: BfdSessionValue, other: BfdSessionValue): boolean {
  return (
    one.intervalUs === other.intervalUs &&
    one.multiplier === other.multiplier &&
    one.isAdminDown === other.isAdminDown &&
    one.local === other.local &&
    one.governs.join() === other.governs.join()
  )
}
