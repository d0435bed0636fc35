// Numbers of things that have names: Services, and Service ports. A thing keeps its number as long as it is there, also from one
// process to the next: what refers to it in the kernel tells the number, and the first that asks under that number has it again.

import { IdPool } from './id-pool.ts'

const ID_LIMIT = 0xffff_ffff

export class NamedIds<Name extends string> {
  readonly #pool: IdPool
  readonly #idOf = new Map<Name, number>()
  readonly #nameOf = new Map<number, Name>()
  /** Found in the kernel, and nobody's yet. */
  readonly #adopted = new Set<number>()

  constructor(graceMs: number) {
    this.#pool = new IdPool(1, ID_LIMIT, graceMs)
  }

  nameOf(id: number): Name | undefined {
    return this.#nameOf.get(id)
  }

  /** Takes note of a number that an earlier process gave. */
  adopt(id: number): void {
    if (id === 0 || this.#adopted.has(id)) return
    this.#pool.claim(id)
    this.#adopted.add(id)
  }

  /** @param adopted the number that the kernel has for it, if any; another's is not taken away */
  take(name: Name, adopted?: number): number {
    const known = this.#idOf.get(name)
    if (known !== undefined) return known
    const isFree = adopted !== undefined && this.#adopted.delete(adopted)
    const id = isFree ? adopted : (this.#pool.take() ?? 0)
    this.#idOf.set(name, id)
    this.#nameOf.set(id, name)
    return id
  }

  /** It is gone. */
  release(name: Name, nowMs: number): void {
    const id = this.#idOf.get(name)
    if (id === undefined) return
    this.#idOf.delete(name)
    this.#nameOf.delete(id)
    if (id !== 0) this.#pool.release(id, nowMs)
  }

  /** After the first full plan: numbers that nobody has asked for rest. */
  releaseUnclaimed(nowMs: number): void {
    for (const id of this.#adopted) this.#pool.release(id, nowMs)
    this.#adopted.clear()
  }

  wake(nowMs: number): void {
    this.#pool.wake(nowMs)
  }
}
