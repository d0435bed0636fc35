// Classifiers, by which devices carry programs on kernels without tcx (before 6.6). One has no link, so a pin of its program marks the
// device, for the next process to find (attach.ts tells the pins' names).

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import {
  attachClsact,
  type BpfProgram,
  queryClsact,
  type TcDirection,
  unpin,
} from '../sys/libbpf-ts/index.ts'
import { CLSACT_PLACE, detachIfAny } from './attach-pins.ts'

interface Classifier {
  readonly ifindex: number
  readonly direction: TcDirection
  readonly program: BpfProgram
}

interface ClassifierLoss {
  readonly ifindex: number
  readonly how: 'detached' | 'unpinned'
}

export class Classifiers {
  readonly #directory: string
  /** By the name of the pin that marks them. */
  readonly #held = new Map<string, Classifier>()

  /** @param directory of the pins */
  constructor(directory: string) {
    this.#directory = directory
  }

  get held(): readonly Classifier[] {
    return [...this.#held.values()]
  }

  /** Marked first: a process killed in between leaves a mark of nothing, which is harmless; the other way round is not. */
  attach(name: string, classifier: Classifier): void {
    const { ifindex, direction, program } = classifier
    const pin = join(this.#directory, name)
    unpin(pin)
    program.pin(pin)
    if (attachClsact(program, { ifindex, direction, ...CLSACT_PLACE }).madeQdisc) {
      const mark = join(this.#directory, `clsact_made_${ifindex}`)
      unpin(mark)
      program.pin(mark)
    }
    this.#held.set(name, classifier)
  }

  /** Also one that an earlier process attached. */
  detach(name: string, ifindex: number, direction: TcDirection): void {
    const pin = join(this.#directory, name)
    if (existsSync(pin)) detachIfAny(ifindex, direction)
    this.forget(name)
    unpin(pin)
  }

  /** Of what is no longer at its place, or whose device is gone. */
  forget(name: string): void {
    this.#held.delete(name)
  }

  /** Pins are put back; what was detached is forgotten. @param present devices that are there */
  verify(present: ReadonlySet<number>): readonly ClassifierLoss[] {
    const losses: ClassifierLoss[] = []
    for (const [name, classifier] of this.#held) {
      if (!present.has(classifier.ifindex)) continue
      const how = this.#mend(name, classifier)
      if (how !== undefined) losses.push({ ifindex: classifier.ifindex, how })
    }
    return losses
  }

  #mend(name: string, { ifindex, direction, program }: Classifier): ClassifierLoss['how'] | undefined {
    const pin = join(this.#directory, name)
    const isThere = queryClsact({ ifindex, direction, ...CLSACT_PLACE }) === program.info().id
    if (!isThere) {
      this.forget(name)
      return 'detached'
    }
    if (existsSync(pin)) return undefined
    program.pin(pin)
    return 'unpinned'
  }
}
