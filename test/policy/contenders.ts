// Who is held against the evaluator, by the tests and by `npm run fuzz:policy`.

import { judge } from '../../src/policy/evaluate.ts'
import { compiled } from './compiled.ts'
import { inOtherWords } from './laws.ts'
import type { Decide } from './oracle.ts'

export interface Contender {
  readonly name: string
  readonly decide: Decide
}

/** The evaluator itself, asked about a world in which everything that must not matter is otherwise. */
const rewritten: Decide = (world) => {
  const same = inOtherWords(world)
  return (packet, direction) => judge(same, packet, direction)
}

export const CONTENDERS: readonly Contender[] = [
  { name: 'the same in other words', decide: rewritten },
  { name: 'compiled rows', decide: compiled },
]
