// Maglev tables: an even share, little disruption, and the same table on every node.

import { createHash } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { buildMaglevTable, type MaglevBackend, tableSizeFor } from '../../../src/services/maglev.ts'

const backends = (count: number): MaglevBackend[] =>
  Array.from({ length: count }, (_, index) => ({
    name: `10.244.${index >> 8}.${index & 255} 8080 TCP`,
    weight: 1,
  }))

const sharesOf = (table: Uint32Array, count: number) => {
  const shares = new Array<number>(count).fill(0)
  for (const index of table) shares[index] = (shares[index] ?? 0) + 1
  return shares
}

t.test('table sizes are primes at least a hundred slots per backend, a step at least fourfold', async (t) => {
  const isPrime = (n: number) => {
    for (let divisor = 2; divisor * divisor <= n; divisor += 1) if (n % divisor === 0) return false
    return n > 1
  }
  const sizes = [
    ...new Set([1, 2, 3, 10, 11, 40, 41, 163, 164, 655, 656, 2621, 2622, 10000].map(tableSizeFor)),
  ]
  for (const [index, size] of sizes.entries()) {
    t.ok(isPrime(size), `${size} is prime`)
    if (index > 0)
      t.ok(size >= 4 * (sizes[index - 1] ?? 0) - 4, `${size} is a full step above ${sizes[index - 1]}`)
  }
  for (const count of [1, 2, 10, 40, 163, 655, 2621, 10000]) t.ok(tableSizeFor(count) >= 100 * count)
})

t.test('every backend holds nearly the same share', async (t) => {
  for (const count of [1, 2, 3, 6, 10, 40, 150]) {
    const size = tableSizeFor(count)
    const shares = sharesOf(buildMaglevTable(backends(count), size), count)
    t.ok(
      Math.max(...shares) - Math.min(...shares) <= 1,
      `${count} backends: ${Math.min(...shares)}–${Math.max(...shares)} of ${size}`,
    )
  }
})

t.test('weights are shares in proportion, and weight 0 gets nothing while others are there', async (t) => {
  const weighted = backends(3).map((backend, index) => ({ ...backend, weight: [4, 2, 1][index] ?? 1 }))
  const [heavy = 0, middle = 0, light = 0] = sharesOf(buildMaglevTable(weighted, 1021), 3)
  t.ok(Math.abs(heavy / light - 4) < 0.2, `${heavy} : ${middle} : ${light}`)
  t.ok(Math.abs(middle / light - 2) < 0.1)
  const drained = backends(2).map((backend, index) => ({ ...backend, weight: index }))
  t.strictSame(sharesOf(buildMaglevTable(drained, 251), 2), [0, 251])
})

t.test('the order of the input does not matter', async (t) => {
  const list = backends(7)
  const named = (order: readonly MaglevBackend[]) =>
    [...buildMaglevTable(order, 1021)].map((index) => order[index]?.name)
  const expected = named(list)
  fc.assert(
    fc.property(fc.shuffledSubarray(list, { minLength: 7, maxLength: 7 }), (order) => {
      const got = named(order)
      return got.every((name, slot) => name === expected[slot])
    }),
    { numRuns: 50 },
  )
  t.pass('50 shuffles gave one table')
})

t.test('removing one backend of ten moves few slots besides its own', async (t) => {
  const before = backends(10)
  const after = before.slice(0, 9)
  const a = buildMaglevTable(before, 1021)
  const b = buildMaglevTable(after, 1021)
  let moved = 0
  for (const [slot, index] of a.entries()) if (index !== 9 && b[slot] !== index) moved += 1
  t.ok(moved / 1021 < 0.12, `${moved} of 1021 slots of other backends moved`)
})

t.test('no backend, no table', async (t) => {
  t.equal(buildMaglevTable([], 251).length, 0)
})

t.test(
  'the tables are the ones they always were: another would reshuffle the flows of every cluster',
  async (t) => {
    const digest = (list: readonly MaglevBackend[]) => {
      const table = buildMaglevTable(list, tableSizeFor(list.length))
      // By value, so that the machine's byte order does not count.
      return createHash('sha256').update(table.join(' ')).digest('hex').slice(0, 16)
    }
    const weighted = backends(20).map((backend, index) => ({ ...backend, weight: 1 + (index % 5) }))
    const cases: [string, MaglevBackend[], string][] = [
      ['1 backend', backends(1), '054d8d1d84303976'],
      ['3 backends', backends(3), '5e922a5a9c4b96e3'],
      ['40 backends', backends(40), '39d5e96c17a108ab'],
      ['1000 backends', backends(1000), '234b6c53f90070f5'],
      ['20 of different weights', weighted, '1eae86db518b44d7'],
    ]
    for (const [name, list, expected] of cases) t.equal(digest(list), expected, name)
    t.strictSame(
      [...buildMaglevTable(backends(3), 1021).subarray(0, 16)],
      [0, 2, 0, 1, 1, 0, 0, 2, 2, 2, 0, 1, 0, 1, 0, 2],
      'the first slots of three backends',
    )
  },
)
