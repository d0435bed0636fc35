// Classes of policy in the kernel: a row each, and a range of `policy_ports` for those that ask for ports. The ports are written before the
// class that names them, and rest after it. A class without room is left zeroed, which denies, until there is some.

import type { ClassId, ClassRow, PortInterval, RuleId } from '../policy/compile/rows.ts'
import { type Extent, ExtentAllocator } from './extents.ts'
import { Leftovers } from './leftovers.ts'
import type { PolicyTables } from './policy-tables.ts'

/** A program may still read the ports of a class that it was told of a moment ago. */
const REST_MS = 10_000
/** Ranges come in steps, so that those given back fit again. */
const STEP = 4
/** Places of a class's ports are 16 bits. */
const CLASS_PORTS_MAX = 0xffff

export class PolicyClasses {
  readonly #tables: Pick<PolicyTables, 'classes' | 'ports'>
  readonly #nowMs: () => number
  readonly #extents: ExtentAllocator
  readonly #ports = new Map<ClassId, Extent>()
  readonly #waiting = new Map<ClassId, ClassRow>()
  readonly #leftovers: Leftovers<ClassId>

  constructor(tables: Pick<PolicyTables, 'classes' | 'ports'>, nowMs: () => number) {
    this.#tables = tables
    this.#nowMs = nowMs
    this.#extents = new ExtentAllocator(tables.ports.length, REST_MS)
    const adopted: ClassId[] = []
    for (const [id, { base, starts }] of tables.classes.entries()) {
      const extent = { base, size: roundUp(starts.at(-1) ?? 0) }
      if (extent.size > 0 && this.#extents.claim(extent)) this.#ports.set(id, extent)
      adopted.push(id)
    }
    this.#leftovers = new Leftovers(adopted, (id) => id)
  }

  /** Classes that found no room. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** Rows of `policy_ports` in use or at rest. */
  get portsUsed(): number {
    return this.#extents.used
  }

  /** What an earlier process left: its classes, and the highest rule that they name. */
  earlier(): { readonly classes: readonly ClassId[]; readonly rule: RuleId } {
    const classes: ClassId[] = []
    let rule = 0
    const note = (interval: PortInterval) => {
      rule = Math.max(rule, interval.rule, interval.wouldBeRule)
    }
    for (const [id, { uniform, base, starts }] of this.#tables.classes.entries()) {
      classes.push(id)
      if (uniform) note(uniform)
      for (let row = 0; row < (starts.at(-1) ?? 0); row += 1) note(this.#tables.ports.read(base + row))
    }
    return { classes, rule }
  }

  /** What the kernel is told of a class: one beyond its table is closed. */
  numberOf(id: ClassId): ClassId {
    return id < this.#tables.classes.length ? id : 0
  }

  put(row: ClassRow): void {
    const before = this.#ports.get(row.class)
    this.#leftovers.claim(row.class)
    this.#waiting.delete(row.class)
    this.#ports.delete(row.class)
    if (row.class >= this.#tables.classes.length || !this.#write(row)) {
      this.#waiting.set(row.class, row)
      this.#clear(row.class)
    }
    if (before) this.#extents.release(before, this.#nowMs())
  }

  delete(id: ClassId): void {
    const before = this.#ports.get(id)
    this.#leftovers.claim(id)
    this.#waiting.delete(id)
    this.#ports.delete(id)
    this.#clear(id)
    if (before) this.#extents.release(before, this.#nowMs())
  }

  /** After something went. */
  retry(): void {
    for (const row of [...this.#waiting.values()]) this.put(row)
  }

  settle(): void {
    for (const id of this.#leftovers.take()) this.delete(id)
  }

  /** @returns when to call again; undefined when nothing rests */
  wake(): number | undefined {
    this.#extents.wake(this.#nowMs())
    return this.#extents.nextWakeMs()
  }

  /** False: there is no room for its ports. */
  #write(row: ClassRow): boolean {
    const { classes, ports } = this.#tables
    if (row.uniform) {
      classes.set(row.class, { uniform: row.uniform, base: 0, starts: [] })
      return true
    }
    const intervals = row.protocols.flat()
    const extent =
      intervals.length <= CLASS_PORTS_MAX ? this.#extents.allocate(roundUp(intervals.length)) : undefined
    if (!extent) return false
    for (const [index, interval] of intervals.entries()) ports.write(extent.base + index, interval)
    classes.set(row.class, { uniform: undefined, base: extent.base, starts: startsOf(row) })
    this.#ports.set(row.class, extent)
    return true
  }

  #clear(id: ClassId): void {
    if (id < this.#tables.classes.length) this.#tables.classes.set(id, undefined)
  }
}

function roundUp(rows: number): number {
  return Math.ceil(rows / STEP) * STEP
}

/** Where each protocol's ports begin, and the last one's end. */
function startsOf({ protocols }: ClassRow): number[] {
  const starts = [0]
  for (const intervals of protocols) starts.push((starts.at(-1) ?? 0) + intervals.length)
  return starts
}
