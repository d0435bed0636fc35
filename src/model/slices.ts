// Work in slices: a generator yields wherever others may have their turn, and gives way only when a slice's time is over. What is soon
// done is done at one go.

import { setImmediate } from 'node:timers/promises'

/** A piece of work that may stop wherever it yields. */
export type Steps<Result = void> = Generator<undefined, Result, undefined>

/** Others get their turn after so long. */
const SLICE_MS = 8

export async function inSlices<Result>(steps: Steps<Result>): Promise<Result> {
  let endMs = performance.now() + SLICE_MS
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
    if (performance.now() < endMs) continue
    await setImmediate()
    endMs = performance.now() + SLICE_MS
  }
}

export function atOnce<Result>(steps: Steps<Result>): Result {
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
  }
}

/** The items, with a stop after each so many. */
export function* stopping<Item>(items: Iterable<Item>, each: number, visit: (item: Item) => void): Steps {
  let left = each
  for (const item of items) {
    visit(item)
    left -= 1
    if (left > 0) continue
    left = each
    yield
  }
}
