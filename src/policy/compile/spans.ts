// Sets of ports as ascending, disjoint spans, both ends included.

import { PORT_MAX } from '../../model/policy.ts'

export interface Span {
  readonly first: number
  readonly last: number
}

export const ALL_PORTS: readonly Span[] = [{ first: 0, last: PORT_MAX }]

/** Ascending and disjoint, from spans in any order; neighbours become one. */
export function joinSpans(spans: readonly Span[]): readonly Span[] {
  if (spans.length < 2) return spans
  const joined: Span[] = []
  for (const span of spans.toSorted((a, b) => a.first - b.first)) {
    const before = joined.at(-1)
    if (!before || span.first > before.last + 1) joined.push(span)
    else if (span.last > before.last) joined[joined.length - 1] = { first: before.first, last: span.last }
  }
  return joined
}

export interface Cut {
  /** What of the first set is in the second. */
  readonly inside: readonly Span[]
  readonly outside: readonly Span[]
}

/** Cuts a set by another. */
export function cutSpans(spans: readonly Span[], by: readonly Span[]): Cut {
  if (by === ALL_PORTS) return { inside: spans, outside: [] }
  const inside: Span[] = []
  const outside: Span[] = []
  let at = 0
  for (const { first, last } of spans) {
    let from = first
    // A span of `by` may reach into the next one too, so it is left only when it ends before.
    while (at < by.length && (by[at]?.last ?? 0) < from) at += 1
    for (let index = at; index < by.length && from <= last; index += 1) {
      const knife = by[index]
      if (!knife || knife.first > last) break
      if (knife.first > from) outside.push({ first: from, last: knife.first - 1 })
      inside.push({ first: Math.max(from, knife.first), last: Math.min(last, knife.last) })
      from = knife.last + 1
    }
    if (from <= last) outside.push({ first: from, last })
  }
  return { inside, outside }
}
