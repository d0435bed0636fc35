// Everything that is compared is measured in turns: what disturbs the machine for a while then disturbs all alike.

/** Measures one thing once. */
export type Measurement = () => number | Promise<number>

/**
 * Every measurement once a round, in an order that changes from round to round, so that none always follows the same neighbour.
 * @returns the values of each, by round
 */
export async function interleave<Key>(
  measurements: ReadonlyMap<Key, Measurement>,
  rounds: number,
): Promise<Map<Key, number[]>> {
  const keys = [...measurements.keys()]
  const values = new Map<Key, number[]>(keys.map((key) => [key, []]))
  for (let round = 0; round < rounds; round += 1)
    for (const key of orderOfRound(keys, round)) {
      const measure = measurements.get(key)
      if (measure) values.get(key)?.push(await measure())
    }
  return values
}

/** Rotated by a stride of its own each round, and every other round backwards. */
function orderOfRound<Key>(keys: readonly Key[], round: number): Key[] {
  const start = keys.length === 0 ? 0 : (round * 7) % keys.length
  const order = [...keys.slice(start), ...keys.slice(0, start)]
  return round % 2 === 0 ? order : order.reverse()
}
