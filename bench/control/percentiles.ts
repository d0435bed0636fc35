// Of many single times, what half of them and what nearly all of them stay below.

export interface Percentiles {
  readonly p50: number
  readonly p99: number
  readonly max: number
}

/** NaN throughout when there is no value. */
export function percentiles(values: readonly number[]): Percentiles {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
  return { p50: at(0.5), p99: at(0.99), max: at(1) }
}
