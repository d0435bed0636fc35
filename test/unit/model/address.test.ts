// Addresses and prefixes: what is read, what is refused, and one canonical text for each.

import fc from 'fast-check'
import t from 'tap'
import {
  address,
  addressFromNumber,
  addressToBytes,
  addressToNumber,
  familyOf,
  formatAddress,
  liesWithin,
  type Prefix,
  parseAddress,
  parseNetwork,
  parsePrefix,
  prefixContains,
  prefixParts,
} from '../../../src/model/address.ts'

t.test('canonical text', async (t) => {
  const cases: [string, string | undefined][] = [
    ['10.0.0.1', '10.0.0.1'],
    [' 10.0.0.1 ', '10.0.0.1'],
    ['010.000.0.01', '10.0.0.1'],
    ['0.0.0.0', '0.0.0.0'],
    ['00.0.0.0', '0.0.0.0'],
    ['255.255.255.255', '255.255.255.255'],
    ['10.0.0', undefined],
    ['10..0.1', undefined],
    ['10.0.0.', undefined],
    ['.10.0.1', undefined],
    ['10.0.0.1a', undefined],
    ['10.0.0.256', undefined],
    ['10.0.0.1.2', undefined],
    ['', undefined],
    ['2001:DB8::1', '2001:db8::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['64:ff9b::192.0.2.1', '64:ff9b::c000:201'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['1:2:3:4:5:6:7:8:9', undefined],
    ['1::2::3', undefined],
    ['fe80::1%eth0', undefined],
    ['12345::', undefined],
    ['192.0.2.1::', undefined],
  ]
  for (const [text, expected] of cases) t.equal(parseAddress(text), expected, `'${text}'`)
})

t.test('an IPv4 address that parts of any spelling make is read alike', async (t) => {
  const part = fc.oneof(
    fc.integer({ min: 0, max: 300 }).map(String),
    fc.constantFrom('', '00', '01', '007', 'x', '-1'),
  )
  fc.assert(
    fc.property(fc.array(part, { minLength: 3, maxLength: 5 }), (parts) => {
      const isAddress = parts.length === 4 && parts.every((text) => /^\d+$/.test(text) && Number(text) <= 255)
      return parseAddress(parts.join('.')) === (isAddress ? parts.map(Number).join('.') : undefined)
    }),
    { numRuns: 2000 },
  )
  t.pass('2000 spellings')
})

t.test('networks are read with their host bits cut off, as Kubernetes does', async (t) => {
  const cases: [string, string | undefined][] = [
    ['192.0.2.77/24', '192.0.2.0/24'],
    [' 010.1.2.3/8 ', '10.0.0.0/8'],
    ['2001:db8::1/32', '2001:db8::/32'],
    ['192.0.2.1/32', '192.0.2.1/32'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['::1/0', '::/0'],
    ['192.0.2.1', undefined],
    ['192.0.2.1/33', undefined],
    ['192.0.2.1/', undefined],
    ['x/8', undefined],
  ]
  for (const [text, expected] of cases) t.equal(parseNetwork(text), expected, `'${text}'`)
})

t.test('bytes and numbers turn back into the same address', async (t) => {
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
      const parsed = address(text)
      const again = formatAddress(addressToBytes(parsed))
      return again === parsed && addressFromNumber(familyOf(parsed), addressToNumber(parsed)) === parsed
    }),
  )
  t.pass('round trips hold')
})

t.test('prefixes', async (t) => {
  t.equal(parsePrefix('203.0.113.0/24'), '203.0.113.0/24')
  t.equal(parsePrefix('203.0.113.7'), '203.0.113.7/32')
  t.equal(parsePrefix('2001:db8::/32'), '2001:db8::/32')
  for (const bad of [
    '203.0.113.7/24',
    '203.0.113.0/33',
    '203.0.113.0/',
    '203.0.113.0/24/8',
    'x/24',
    '::/129',
  ])
    t.equal(parsePrefix(bad), undefined, bad)
  const prefix = parsePrefix('203.0.113.0/24')
  t.ok(prefix && prefixContains(prefix, address('203.0.113.255')))
  t.notOk(prefix && prefixContains(prefix, address('203.0.114.0')))
  t.notOk(prefix && prefixContains(prefix, address('::cb00:7100')))
  t.equal(prefix && prefixParts(prefix).last - prefixParts(prefix).first, 255n)
})

t.test('one prefix lies in another, and in itself', async (t) => {
  const lies = (inner: string, outer: string) =>
    liesWithin(prefixParts(parsePrefix(inner) as Prefix), prefixParts(parsePrefix(outer) as Prefix))
  t.ok(lies('10.1.0.0/16', '10.0.0.0/8'))
  t.ok(lies('10.0.0.0/8', '10.0.0.0/8'))
  t.notOk(lies('10.0.0.0/8', '10.1.0.0/16'))
  t.notOk(lies('11.0.0.0/16', '10.0.0.0/8'))
  t.notOk(lies('9.255.0.0/16', '10.0.0.0/8'))
  t.ok(lies('2001:db8::/48', '::/0'))
  t.notOk(lies('10.0.0.0/8', '::/0'), 'of another family')
})
