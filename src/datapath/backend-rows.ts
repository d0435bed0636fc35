// Numbers and rows of `backends`: shared by every Service port that lists the same endpoint, counted, and kept after the last one
// drops it until no flow has pointed at the number for a grace period, so that none is misled. Meanwhile the row is `gone`, and its
// flows are judged afresh; but a connection over TCP belongs to its endpoint as long as there is a way to it: such a row lingers
// as `terminating`.
//
// Backends that the host's stack delivers to (host-network pods, pods whose device is not known) have their address in the filter
// too: what they answer is looked up on its way out of the uplinks.
//
// Services may differ about an endpoint (one publishes what is not ready); the row says the best that any of them says.

import type { BackendStateName, DesiredBackend } from '../services/desired.ts'
import { backendName } from '../services/desired.ts'
import { NexthopRow } from './abi.gen.ts'
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

/** How many list it in each state. */
interface Row extends Record<BackendStateName, number> {
  readonly id: number
  readonly name: string
  /** How many list it in all. */
  references: number
  /** Whether `backend_ids` leads here, as far as this process knows. */
  isNamed: boolean
  value: BackendValue
}

export class BackendRows {
  readonly #backends: KernelArray<BackendValue>
  readonly #ids: KernelHash<BackendKey, number>
  readonly #pool: IdPool
  readonly #place: (backend: DesiredBackend) => BackendPlacement
  readonly #placeAgain: (value: BackendValue) => BackendPlacement
  readonly #rows = new Map<string, Row>()
  readonly #byId: (Row | undefined)[] = []
  readonly #filter: FrontendFilter
  readonly #lingering = new Set<Row>()
  /** Numbers of rows whose address the filter holds. */
  readonly #held = new Set<number>()

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
    // Number 0 means "none" in a slot.
    this.#pool = new IdPool(1, tables.backends.length, graceMs)
  }

  get used(): number {
    return this.#rows.size
  }

  *rows(): Generator<readonly [number, BackendValue]> {
    for (const { id, value } of this.#rows.values()) yield [id, value]
  }

  /** Takes over the rows an earlier process left. They have no reference until a Service claims them. */
  adopt(): void {
    for (const [id, value] of this.#backends.entries()) {
      const name = backendName(value)
      this.#pool.claim(id)
      this.#add(id, name, value)
      this.#holdAddress(id, value)
    }
    const astray: BackendKey[] = []
    for (const [key, id] of this.#ids.entries()) {
      const row = this.#byId[id]
      if (row && isSame(row.value, key) && this.#rows.get(row.name) === row) row.isNamed = true
      else astray.push(key)
    }
    // A process killed between two writes leaves a row without its key, or a key that leads elsewhere.
    for (const key of astray) this.#ids.delete(key)
  }

  /** Adds a reference. @returns the number, or undefined when `backends` is full */
  acquire(backend: DesiredBackend): number | undefined {
    const row = this.#rows.get(backend.name) ?? this.#create(backend)
    if (!row) return undefined
    if (row.references === 0) this.#pool.claim(row.id)
    this.#lingering.delete(row)
    row[backend.state] += 1
    try {
      this.#refresh(row, backend)
    } catch (error) {
      row[backend.state] -= 1
      throw error
    }
    row.references += 1
    return row.id
  }

  /** Writes the row anew where its state or placement differs. */
  update(backend: DesiredBackend): void {
    const row = this.#rows.get(backend.name)
    if (row) this.#refresh(row, backend)
  }

  #refresh(row: Row, backend: DesiredBackend): void {
    const { address, port, protocol } = backend
    const { isLocal, nexthopId, nodeId } = this.#place(backend)
    this.#write(row, { address, port, protocol, state: bestOf(row), isLocal, nexthopId, nodeId })
    if (row.isNamed) return
    this.#ids.set(backend, row.id)
    row.isNamed = true
  }

  /** Whether anybody lists it, be it for its old flows alone. */
  holds(backend: BackendKey): boolean {
    return (this.#rows.get(backendName(backend))?.references ?? 0) > 0
  }

  /** Places those anew that nobody lists any more; a row to which there is no way now is gone. */
  refreshLingering(): void {
    for (const row of this.#lingering) this.#write(row, this.#lingeringValue(row))
  }

  /** Drops a reference that was added in the same state; after the last one the row rests. */
  release(backend: DesiredBackend, nowMs: number): void {
    const row = this.#rows.get(backend.name)
    if (!row || row[backend.state] === 0)
      throw new RangeError(`backend ${backend.name} has no reference to drop`)
    row[backend.state] -= 1
    row.references -= 1
    if (row.references === 0) this.#rest(row, nowMs)
    else this.#write(row, { ...row.value, state: bestOf(row) })
  }

  /** After the first full plan: what nobody claimed rests. What a Service claimed and let go again rests already. */
  releaseUnclaimed(nowMs: number): void {
    for (const row of this.#rows.values())
      if (row.references === 0 && this.#pool.isUsed(row.id)) this.#rest(row, nowMs)
  }

  /** Forgets the rows whose rest is over and that no flow names. */
  wake(nowMs: number, isNamed: (id: number) => boolean): void {
    for (const id of this.#pool.wake(nowMs, isNamed)) {
      const row = this.#byId[id]
      if (row) this.#unname(row)
      this.#backends.set(id, undefined)
      this.#byId[id] = undefined
      if (!row) continue
      if (this.#held.delete(id)) this.#filter.release(row.value.address)
      this.#rows.delete(row.name)
    }
  }

  nextWakeMs(): number | undefined {
    return this.#pool.nextWakeMs()
  }

  #write(row: Row, value: BackendValue): void {
    if (equalValues(row.value, value)) return
    if (isByStack(value)) this.#holdAddress(row.id, value)
    this.#backends.set(row.id, value)
    row.value = value
    if (!isByStack(value) && this.#held.delete(row.id)) this.#filter.release(value.address)
  }

  /** Before its first packet. A row that is gone keeps it until its rest is over. */
  #holdAddress(id: number, value: BackendValue): void {
    if (!isByStack(value) || this.#held.has(id)) return
    this.#held.add(id)
    this.#filter.hold(value.address)
  }

  #create({ name, address, port, protocol }: DesiredBackend): Row | undefined {
    const id = this.#pool.take()
    if (id === undefined) return undefined
    // Differs from anything wanted, so that the first update writes it.
    const value = { address, port, protocol, state: 'gone', isLocal: false, nexthopId: 0, nodeId: 0 } as const
    return this.#add(id, name, value)
  }

  #add(id: number, name: string, value: BackendValue): Row {
    const row: Row = { id, name, active: 0, terminating: 0, gone: 0, references: 0, isNamed: false, value }
    this.#rows.set(name, row)
    this.#byId[id] = row
    return row
  }

  #rest(row: Row, nowMs: number): void {
    const value = this.#lingeringValue(row)
    this.#write(row, value)
    if (value.state === 'gone') this.#unname(row)
    else this.#lingering.add(row)
    this.#pool.release(row.id, nowMs)
  }

  #lingeringValue(row: Row): BackendValue {
    if (row.value.protocol !== 'TCP') return { ...row.value, state: 'gone' }
    const value = { ...row.value, ...this.#placeAgain(row.value) }
    // A pod whose device is gone; what was reached by the host's stack before still is.
    const hasWay = value.nexthopId !== NexthopRow.NEXTHOP_NONE || isByStack(row.value)
    return { ...value, state: hasWay ? 'terminating' : 'gone' }
  }

  /** Flows that come by another node, with their backend's name, find it no more. */
  #unname(row: Row): void {
    this.#lingering.delete(row)
    if (row.isNamed) this.#ids.delete(row.value)
    row.isNamed = false
  }
}

function isSame(a: BackendKey, b: BackendKey): boolean {
  return a.address === b.address && a.port === b.port && a.protocol === b.protocol
}

function isByStack({ isLocal, nexthopId }: BackendPlacement): boolean {
  return isLocal && nexthopId === NexthopRow.NEXTHOP_NONE
}

/** The best that anybody says. */
function bestOf(row: Row): BackendStateName {
  if (row.active > 0) return 'active'
  return row.terminating > 0 ? 'terminating' : 'gone'
}

function equalValues(a: BackendValue, b: BackendValue): boolean {
  return (
    a.state === b.state && a.isLocal === b.isLocal && a.nexthopId === b.nexthopId && a.nodeId === b.nodeId
  )
}
