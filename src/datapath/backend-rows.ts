// Numbers and rows of `backends`: shared by every Service port that lists the same endpoint, counted, and kept after the last one
// drops it until no flow has pointed at the number for a grace period, so that none is misled. Meanwhile the row is `gone`, and its
// flows are judged afresh; but a connection over TCP belongs to its endpoint as long as there is a way to it: such a row lingers
// as `terminating`.
//
// Backends that the host's stack delivers to (host-network pods, pods whose device is not known) have their address in the filter
// too: what they answer is looked up on its way out of the uplinks.
//
// Services may differ about an endpoint (one publishes what is not ready); the row says the best that any of them says.
//
// The kernel may refuse any write. Who counts on a row (`acquire`, `update`) is told by a throw, and is counted only when it succeeded.
// Who lets go of one never fails: what could not be written then is owed, and `wake` writes it.

import type { BackendStateName, DesiredBackend } from '../services/desired.ts'
import { backendName } from '../services/desired.ts'
import { NexthopRow } from './abi.gen.ts'
import { BackendColumns } from './backend-columns.ts'
import type { FrontendFilter } from './frontend-filter.ts'
import { IdPool } from './id-pool.ts'
import type { BackendKey, BackendValue, KernelArray, KernelHash } from './kernel-tables.ts'

/** Where a backend is reached; asked again whenever its row is written. */
export interface BackendPlacement {
  readonly isLocal: boolean
  readonly nexthopId: number
  readonly nodeId: number
}

export interface BackendPlacing {
  readonly place: (backend: DesiredBackend) => BackendPlacement
  /** The same for one that nobody lists any more, by what its row says; absent: it stays where it was. */
  readonly placeAgain?: (value: BackendValue) => BackendPlacement
}

export class BackendRows {
  readonly #backends: KernelArray<BackendValue>
  readonly #ids: KernelHash<BackendKey, number>
  readonly #pool: IdPool
  readonly #place: (backend: DesiredBackend) => BackendPlacement
  readonly #placeAgain: (value: BackendValue) => BackendPlacement
  readonly #idOf = new Map<string, number>()
  /** By number, as all that follows. */
  readonly #names: (string | undefined)[] = []
  /** As far as this process knows. */
  readonly #values: BackendColumns
  /** How many list it in each state. */
  readonly #counts: Readonly<Record<BackendStateName, Uint32Array>>
  /** 1: `backend_ids` leads here, as far as this process knows. */
  readonly #areNamed: Uint8Array
  readonly #filter: FrontendFilter
  readonly #lingering = new Set<number>()
  /** Whose address the filter holds. */
  readonly #held = new Set<number>()
  /** What the kernel has of them is not what their counts say, for it refused. */
  readonly #owed = new Set<number>()

  constructor(
    tables: { backends: KernelArray<BackendValue>; backendIds: KernelHash<BackendKey, number> },
    filter: FrontendFilter,
    { place, placeAgain = (value) => value }: BackendPlacing,
    graceMs: number,
  ) {
    this.#backends = tables.backends
    this.#ids = tables.backendIds
    this.#filter = filter
    this.#place = place
    this.#placeAgain = placeAgain
    const { length } = tables.backends
    this.#values = new BackendColumns(length)
    this.#areNamed = new Uint8Array(length)
    const column = () => new Uint32Array(length)
    this.#counts = { active: column(), terminating: column(), gone: column() }
    // Number 0 means "none" in a slot.
    this.#pool = new IdPool(1, length, graceMs)
  }

  get used(): number {
    return this.#idOf.size
  }

  *rows(): Generator<readonly [number, BackendValue]> {
    for (const id of this.#idOf.values()) {
      const value = this.#values.get(id)
      if (value) yield [id, value]
    }
  }

  /** Takes over the rows an earlier process left. They have no reference until a Service claims them. */
  adopt(): void {
    for (const [id, value] of this.#backends.entries()) {
      this.#pool.claim(id)
      this.#add(id, backendName(value))
      this.#values.set(id, value)
      this.#holdAddress(id, value)
    }
    const astray: BackendKey[] = []
    for (const [key, id] of this.#ids.entries()) {
      const name = this.#names[id]
      if (name !== undefined && name === backendName(key) && this.#idOf.get(name) === id)
        this.#areNamed[id] = 1
      else astray.push(key)
    }
    // A process killed between two writes leaves a row without its key, or a key that leads elsewhere.
    for (const key of astray) this.#ids.delete(key)
  }

  /** Adds a reference. @returns the number, or undefined when `backends` is full */
  acquire(backend: DesiredBackend, nowMs: number): number | undefined {
    const id = this.#idOf.get(backend.name) ?? this.#create(backend.name)
    if (id === undefined) return undefined
    const isFirst = this.#references(id) === 0
    if (isFirst) this.#pool.claim(id)
    this.#count(id, backend.state, 1)
    try {
      this.#refresh(id, backend)
    } catch (error) {
      this.#count(id, backend.state, -1)
      if (isFirst) this.#pool.release(id, nowMs)
      this.#settleOrOwe(id)
      throw error
    }
    this.#lingering.delete(id)
    this.#owed.delete(id)
    return id
  }

  /** Writes the row anew where its state or placement differs. */
  update(backend: DesiredBackend): void {
    const id = this.#idOf.get(backend.name)
    if (id !== undefined) this.#refresh(id, backend)
  }

  #refresh(id: number, backend: DesiredBackend): void {
    const { address, port, protocol } = backend
    const { isLocal, nexthopId, nodeId } = this.#place(backend)
    this.#write(id, { address, port, protocol, state: this.#bestOf(id), isLocal, nexthopId, nodeId })
    if (this.#areNamed[id] === 1) return
    this.#ids.set(backend, id)
    this.#areNamed[id] = 1
  }

  /** Whether anybody lists it, be it for its old flows alone. */
  holds(backend: BackendKey): boolean {
    const id = this.#idOf.get(backendName(backend))
    return id !== undefined && this.#references(id) > 0
  }

  /** Places those anew that nobody lists any more; a row to which there is no way now is gone. */
  refreshLingering(): void {
    for (const id of this.#lingering) {
      const value = this.#values.get(id)
      if (value) this.#write(id, this.#lingeringValue(value))
    }
  }

  /** Drops a reference that was added in the same state; after the last one the row rests. */
  release(backend: DesiredBackend, nowMs: number): void {
    const id = this.#idOf.get(backend.name)
    if (id === undefined || this.#counts[backend.state][id] === 0)
      throw new RangeError(`backend ${backend.name} has no reference to drop`)
    this.#count(id, backend.state, -1)
    if (this.#references(id) === 0) this.#pool.release(id, nowMs)
    this.#settleOrOwe(id)
  }

  /** After the first full plan: what nobody claimed rests. What a Service claimed and let go again rests already. */
  releaseUnclaimed(nowMs: number): void {
    for (const id of this.#idOf.values()) {
      if (this.#references(id) > 0 || !this.#pool.isUsed(id)) continue
      this.#pool.release(id, nowMs)
      this.#settleOrOwe(id)
    }
  }

  /**
   * Writes what is owed, and forgets the rows whose rest is over and that no flow names. Throws what the kernel refused, when all
   * else is done; it is tried again by the next call.
   */
  wake(nowMs: number, isNamed: (id: number) => boolean): void {
    const refusals: unknown[] = []
    for (const id of this.#owed) {
      try {
        this.#settle(id)
      } catch (error) {
        refusals.push(error)
      }
    }
    for (const id of this.#pool.wake(nowMs, isNamed)) {
      try {
        this.#forget(id)
      } catch (error) {
        // Another must not have the number yet.
        this.#pool.claim(id)
        this.#pool.release(id, nowMs)
        refusals.push(error)
      }
    }
    if (refusals.length > 0) throw refusals[0]
  }

  nextWakeMs(): number | undefined {
    return this.#owed.size > 0 ? 0 : this.#pool.nextWakeMs()
  }

  #write(id: number, value: BackendValue): void {
    if (this.#values.says(id, value)) return
    if (isByStack(value)) this.#holdAddress(id, value)
    this.#backends.set(id, value)
    this.#values.set(id, value)
    if (!isByStack(value) && this.#held.delete(id)) this.#filter.release(value.address)
  }

  /** Before its first packet. A row that is gone keeps it until its rest is over. */
  #holdAddress(id: number, value: BackendValue): void {
    if (!isByStack(value) || this.#held.has(id)) return
    this.#held.add(id)
    this.#filter.hold(value.address)
  }

  #create(name: string): number | undefined {
    const id = this.#pool.take()
    if (id !== undefined) this.#add(id, name)
    return id
  }

  #add(id: number, name: string): void {
    this.#idOf.set(name, id)
    this.#names[id] = name
  }

  #references(id: number): number {
    const { active, terminating, gone } = this.#counts
    return (active[id] as number) + (terminating[id] as number) + (gone[id] as number)
  }

  #count(id: number, state: BackendStateName, change: 1 | -1): void {
    const counts = this.#counts[state]
    counts[id] = (counts[id] as number) + change
  }

  #settleOrOwe(id: number): void {
    try {
      this.#settle(id)
    } catch {
      this.#owed.add(id)
    }
  }

  /** Makes the row say what is left of its references. */
  #settle(id: number): void {
    const value = this.#values.get(id)
    if (value && this.#references(id) > 0) this.#write(id, { ...value, state: this.#bestOf(id) })
    else if (value) this.#rest(id, value)
    this.#owed.delete(id)
  }

  #rest(id: number, before: BackendValue): void {
    const value = this.#lingeringValue(before)
    this.#write(id, value)
    if (value.state === 'gone') this.#unname(id, value)
    else this.#lingering.add(id)
  }

  #lingeringValue(before: BackendValue): BackendValue {
    if (before.protocol !== 'TCP') return { ...before, state: 'gone' }
    const value = { ...before, ...this.#placeAgain(before) }
    // A pod whose device is gone; what was reached by the host's stack before still is.
    const hasWay = value.nexthopId !== NexthopRow.NEXTHOP_NONE || isByStack(before)
    return { ...value, state: hasWay ? 'terminating' : 'gone' }
  }

  #forget(id: number): void {
    const value = this.#values.get(id)
    if (value) this.#unname(id, value)
    this.#backends.set(id, undefined)
    this.#values.clear(id)
    this.#owed.delete(id)
    if (value && this.#held.delete(id)) this.#filter.release(value.address)
    const name = this.#names[id]
    this.#names[id] = undefined
    if (name !== undefined && this.#idOf.get(name) === id) this.#idOf.delete(name)
  }

  /** Flows that come by another node, with their backend's name, find it no more. */
  #unname(id: number, value: BackendValue): void {
    if (this.#areNamed[id] === 1) this.#ids.delete(value)
    this.#areNamed[id] = 0
    this.#lingering.delete(id)
  }

  /** The best that anybody says. */
  #bestOf(id: number): BackendStateName {
    if ((this.#counts.active[id] as number) > 0) return 'active'
    return (this.#counts.terminating[id] as number) > 0 ? 'terminating' : 'gone'
  }
}

function isByStack({ isLocal, nexthopId }: BackendPlacement): boolean {
  return isLocal && nexthopId === NexthopRow.NEXTHOP_NONE
}
