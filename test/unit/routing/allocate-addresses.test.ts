// The address allocator: what is held stays, nothing is given twice, exhaustion says what to do.

import fc from 'fast-check'
import t from 'tap'
import { type Address, address, type Family, type Prefix } from '../../../src/model/address.ts'
import { objectKey } from '../../../src/model/service.ts'
import type { AddressPool } from '../../../src/routing/address-pools.ts'
import { type AddressClaim, AddressLedger } from '../../../src/routing/allocate-addresses.ts'

const pools = [{ name: 'default', prefixes: ['203.0.113.0/29' as Prefix, '2001:db8:113::/112' as Prefix] }]

const claim = (
  name: string,
  families: Family[],
  held: string[] = [],
  createdMs = 1,
  more: Partial<AddressClaim> = {},
): AddressClaim => ({
  service: objectKey('shop', name),
  labels: {},
  families,
  held: held.map(address),
  wish: undefined,
  sharing: more.wish?.sharing,
  ports: [{ protocol: 'TCP', port: 80 }],
  trafficPolicy: 'Cluster',
  isForeign: false,
  createdMs,
  ...more,
})

/** Everybody's claims at once. */
const allocateAddresses = (from: readonly AddressPool[], claims: readonly AddressClaim[]) => {
  const ledger = new AddressLedger(from)
  for (const one of claims) ledger.set(one.service, one)
  return ledger.decide()
}

t.test('a dual-stack Service gets one address of each family, in its own order', async (t) => {
  const [grant] = allocateAddresses(pools, [claim('web', ['ipv6', 'ipv4'])])
  t.strictSame(grant?.addresses, ['2001:db8:113::1', '203.0.113.1'])
})

t.test('what is held is kept, even if an older Service without an address comes first', async (t) => {
  const grants = allocateAddresses(pools, [
    claim('new', ['ipv4'], ['203.0.113.1'], 9),
    claim('old', ['ipv4'], [], 1),
  ])
  const of = (name: string) => grants.find((grant) => grant.service === `shop/${name}`)?.addresses
  t.strictSame(of('new'), ['203.0.113.1'])
  t.strictSame(of('old'), ['203.0.113.2'])
})

t.test('of two that hold the same address the older keeps it', async (t) => {
  const grants = allocateAddresses(pools, [
    claim('younger', ['ipv4'], ['203.0.113.3'], 2),
    claim('older', ['ipv4'], ['203.0.113.3'], 1),
  ])
  const of = (name: string) => grants.find((grant) => grant.service === `shop/${name}`)?.addresses
  t.strictSame(of('older'), ['203.0.113.3'])
  t.strictSame(of('younger'), ['203.0.113.1'])
})

t.test('an address outside every pool is given up for one inside', async (t) => {
  const [grant] = allocateAddresses(pools, [claim('web', ['ipv4'], ['198.51.100.1'])])
  t.strictSame(grant?.addresses, ['203.0.113.1'])
})

t.test('a Service that wants nothing gives back what it held', async (t) => {
  const [grant] = allocateAddresses(pools, [claim('web', [], ['203.0.113.1'])])
  t.strictSame(grant?.addresses, [])
})

t.test('exhaustion is said, once per family, and takes nothing from others', async (t) => {
  const grants = allocateAddresses(
    pools,
    Array.from({ length: 8 }, (_, index) => claim(`s${index}`, ['ipv4'], [], index)),
  )
  t.equal(
    grants.filter((grant) => grant.addresses.length === 1).length,
    6,
    '.0 and .7 of the /29 are not given',
  )
  t.match(grants[7]?.problems, [{ reason: 'PoolExhausted', text: /no free IPv4 address in default/ }])
  const [none] = allocateAddresses(
    [{ name: 'v6', prefixes: ['2001:db8::/64' as Prefix] }],
    [claim('web', ['ipv4'])],
  )
  t.match(none?.problems, [{ reason: 'NoPool', text: /no pool has IPv4 addresses/ }])
})

t.test('no address is ever given twice, and a second run changes nothing', async (t) => {
  const anyClaims = fc.array(
    fc.record({
      index: fc.nat(30),
      families: fc.subarray<Family>(['ipv4', 'ipv6']),
      held: fc.subarray(['203.0.113.1', '203.0.113.2', '203.0.113.5', '2001:db8:113::4', '192.0.2.1']),
      createdMs: fc.nat(5),
    }),
    { maxLength: 12 },
  )
  fc.assert(
    fc.property(anyClaims, (records) => {
      const unique = [...new Map(records.map((record) => [record.index, record])).values()]
      const claims = unique.map((r) => claim(`s${r.index}`, r.families, r.held, r.createdMs))
      const grants = allocateAddresses(pools, claims)
      const given = grants.flatMap((grant) => grant.addresses as Address[])
      const settled = allocateAddresses(
        pools,
        claims.map((c) => ({
          ...c,
          held: grants.find((grant) => grant.service === c.service)?.addresses ?? [],
        })),
      )
      return new Set(given).size === given.length && JSON.stringify(settled) === JSON.stringify(grants)
    }),
  )
  t.pass('held for all claims tried')
})

t.test('only what changed is decided, and who contends with it', async (t) => {
  const ledger = new AddressLedger(pools)
  const set = (one: AddressClaim) => ledger.set(one.service, one)
  const decided = () => ledger.decide().map(({ service, addresses }) => `${service} ${addresses.join(' ')}`)
  for (let index = 1; index <= 6; index += 1) set(claim(`s${index}`, ['ipv4'], [`203.0.113.${index}`], index))
  t.equal(decided().length, 6)
  set(claim('late', ['ipv4'], [], 9))
  t.same(decided(), ['shop/late '], 'none is left')
  set(claim('s2', ['ipv4'], ['203.0.113.2'], 2))
  t.same(decided(), ['shop/s2 203.0.113.2'])
  ledger.set(objectKey('shop', 's3'), undefined)
  t.same(decided(), ['shop/late 203.0.113.3'], 'one that waits gets what is given up')
  t.same(decided(), [])
  set(claim('late', ['ipv4'], ['203.0.113.3'], 9))
  t.same(decided(), ['shop/late 203.0.113.3'], 'its status tells so')
  set(claim('thief', ['ipv4'], ['203.0.113.4'], 1))
  t.same(decided(), ['shop/thief 203.0.113.4', 'shop/s4 '], 'the older of two that hold one keeps it')
})

t.test('however claims come and go: nothing twice, and nobody loses what is rightly theirs', async (t) => {
  const steps = fc.array(
    fc.record({
      index: fc.nat(6),
      isGone: fc.boolean(),
      families: fc.subarray<Family>(['ipv4', 'ipv6']),
      held: fc.subarray(['203.0.113.1', '203.0.113.2', '203.0.113.5', '192.0.2.1']),
      decides: fc.boolean(),
    }),
    { maxLength: 40 },
  )
  fc.assert(
    fc.property(steps, (all) => {
      const ledger = new AddressLedger(pools)
      const owns = new Map<string, readonly Address[]>()
      for (const { index, isGone, families, held, decides } of all) {
        const one = claim(`s${index}`, families, held, index % 3)
        ledger.set(one.service, isGone ? undefined : one)
        if (isGone) owns.delete(one.service)
        if (!decides) continue
        for (const { service, addresses } of ledger.decide()) owns.set(service, addresses)
        const given = [...owns.values()].flat()
        if (new Set(given).size !== given.length) return false
      }
      return true
    }),
    { numRuns: 500 },
  )
  t.pass('held for all sequences tried')
})
