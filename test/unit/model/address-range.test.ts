import fc from 'fast-check'
import t from 'tap'
import { address, addressFromNumber, type Prefix, prefixParts } from '../../../src/model/address.ts'
import {
  innerRange,
  parseRange,
  rangeBetween,
  rangeParts,
  rangePrefixes,
  rangesOverlap,
  rangeText,
} from '../../../src/model/address-range.ts'

t.test('a range is read as first-last, of one family and in order', async (t) => {
  for (const [text, expected] of [
    ['203.0.113.10-203.0.113.20', '203.0.113.10-203.0.113.20'],
    [' 203.0.113.10 - 203.0.113.10 ', '203.0.113.10-203.0.113.10'],
    ['2001:DB8::1-2001:db8::ff', '2001:db8::1-2001:db8::ff'],
    ['203.0.113.20-203.0.113.10', undefined],
    ['203.0.113.1-2001:db8::1', undefined],
    ['203.0.113.1', undefined],
    ['203.0.113.1-203.0.113.2-203.0.113.3', undefined],
  ] as const) {
    const range = parseRange(text)
    t.equal(range && rangeText(range), expected, text)
  }
})

t.test('edges are kept back where a network has hosts beside them', async (t) => {
  for (const [prefix, without, expected] of [
    ['203.0.113.0/24', 'both', '203.0.113.1-203.0.113.254'],
    ['203.0.113.0/24', 'network-and-broadcast', '203.0.113.1-203.0.113.254'],
    ['203.0.113.0/31', 'both', '203.0.113.0-203.0.113.1'],
    ['203.0.113.7/32', 'both', '203.0.113.7-203.0.113.7'],
    ['2001:db8::/126', 'both', '2001:db8::1-2001:db8::2'],
    ['2001:db8::/126', 'network-and-broadcast', '2001:db8::1-2001:db8::3'],
    ['2001:db8::/127', 'both', '2001:db8::-2001:db8::1'],
  ] as const)
    t.equal(rangeText(innerRange(prefix as Prefix, without)), expected, `${prefix} without ${without}`)
})

t.test('a range becomes the fewest prefixes', async (t) => {
  const of = (text: string) => {
    const range = parseRange(text)
    return range && rangePrefixes(range)
  }
  t.same(of('203.0.113.0-203.0.113.255'), ['203.0.113.0/24'])
  t.same(of('203.0.113.10-203.0.113.20'), [
    '203.0.113.10/31',
    '203.0.113.12/30',
    '203.0.113.16/30',
    '203.0.113.20/32',
  ])
  t.same(of('0.0.0.0-255.255.255.255'), ['0.0.0.0/0'])
  t.same(of('2001:db8::ffff-2001:db8::1:0'), ['2001:db8::ffff/128', '2001:db8::1:0/128'])
})

t.test('the prefixes of any range hold it exactly: in order, without gap or overlap', async (t) => {
  const ends = fc.tuple(fc.bigInt(0n, 0xffff_ffffn), fc.bigInt(0n, 0xffff_ffffn))
  fc.assert(
    fc.property(ends, ([a, b]) => {
      const [low, high] = a < b ? [a, b] : [b, a]
      const range = rangeBetween(addressFromNumber('ipv4', low), addressFromNumber('ipv4', high))
      let at = low
      for (const prefix of range ? rangePrefixes(range) : []) {
        const { first, last } = prefixParts(prefix)
        if (first !== at) return false
        at = last + 1n
      }
      return at === high + 1n
    }),
  )
  t.pass('held for all ranges tried')
})

t.test('overlap is of one family', async (t) => {
  const parts = (first: string, last: string) => rangeParts({ first: address(first), last: address(last) })
  t.ok(rangesOverlap(parts('10.0.0.1', '10.0.0.9'), parts('10.0.0.9', '10.0.0.20')))
  t.notOk(rangesOverlap(parts('10.0.0.1', '10.0.0.9'), parts('10.0.0.10', '10.0.0.20')))
  t.notOk(rangesOverlap(parts('0.0.0.0', '255.255.255.255'), parts('::', '::ffff')))
})
