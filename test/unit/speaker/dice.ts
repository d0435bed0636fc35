// Random numbers that are the same ones for the same seed.

export interface Dice {
  /** A whole number from 0 on. */
  readonly below: (count: number) => number
  readonly chance: (share: number) => boolean
}

/** Marsaglia's xorshift. */
export function dice(seed: number): Dice {
  let state = seed * 2_654_435_761 + 1
  const next = () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
  const below = (count: number) => Math.floor(next() * count)
  return { below, chance: (share: number) => next() < share }
}
