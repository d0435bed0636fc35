// Medians, spreads and ratios of figures measured in the same rounds.

import type { Bound, Figure } from './figure.ts'

export interface Summary {
  readonly median: number
  readonly lowest: number
  readonly highest: number
}

/** NaN throughout when there is no sample. */
export function summarize(samples: readonly number[]): Summary {
  const sorted = [...samples].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  const lower = sorted.length % 2 === 0 ? (sorted[middle - 1] ?? Number.NaN) : upper
  return {
    median: (lower + upper) / 2,
    lowest: sorted[0] ?? Number.NaN,
    highest: sorted.at(-1) ?? Number.NaN,
  }
}

/**
 * `dividend` by `divisor`, round by round, as a figure of its own.
 * @throws when the two were not measured in the same number of rounds
 */
export function ratio(
  dividend: Pick<Figure, 'samples'>,
  divisor: Pick<Figure, 'samples'>,
  place: Pick<Figure, 'table' | 'row' | 'column' | 'x' | 'bound'>,
): Figure {
  if (dividend.samples.length !== divisor.samples.length)
    throw new Error(
      `${place.table}, ${place.row}: ${dividend.samples.length} rounds cannot be divided by ${divisor.samples.length}`,
    )
  const samples = dividend.samples.map((value, round) => value / (divisor.samples[round] ?? Number.NaN))
  return { ...place, unit: '×', samples }
}

/** 'unclear': the median is on one side of the bar and a round on the other, so the figure is noisier than the claim. */
export type Standing = 'aim reached' | 'met' | 'unclear' | 'missed'

/** undefined: the figure is held against nothing, or was not measured. */
export function standingOf({ samples, bound }: Pick<Figure, 'samples' | 'bound'>): Standing | undefined {
  if (bound?.must === undefined || samples.length === 0) return undefined
  const { median, lowest, highest } = summarize(samples)
  const clears = (value: number, bar: number) => isWithin(bound, value, bar)
  const worst = bound.sense === 'at most' ? highest : lowest
  const best = bound.sense === 'at most' ? lowest : highest
  if (!clears(median, bound.must)) return clears(best, bound.must) ? 'unclear' : 'missed'
  if (!clears(worst, bound.must)) return 'unclear'
  return bound.aim !== undefined && clears(median, bound.aim) ? 'aim reached' : 'met'
}

function isWithin({ sense }: Bound, value: number, bar: number): boolean {
  return sense === 'at most' ? value <= bar : value >= bar
}
