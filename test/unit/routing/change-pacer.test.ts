// How fast announcements change, on a clock of the test.

import t from 'tap'
import type { Prefix } from '../../../src/model/address.ts'
import type { Announcement } from '../../../src/model/announcement.ts'
import { ChangePacer } from '../../../src/routing/change-pacer.ts'
import { attributes } from './beds.ts'

const prefixOf = (index: number) => `203.0.${index >> 8}.${index & 255}/32` as Prefix
const row = (index: number, med?: number, why = 'test'): Announcement => ({
  prefix: prefixOf(index),
  family: 'ipv4',
  source: 'service',
  why,
  exports: [{ peers: ['tor1'], attributes: attributes(med === undefined ? {} : { med }) }],
})

/** Two changes a second, a burst of twenty, and `held` prefixes announced before. */
function pacerWith(held: number): ChangePacer {
  const pacer = new ChangePacer(2, 0)
  for (let index = 0; index < held; index += 1) pacer.offer(prefixOf(index), row(index), true)
  pacer.take(0)
  pacer.begin()
  return pacer
}

t.test('what is there at the start is no change', async (t) => {
  const pacer = new ChangePacer(2, 0)
  for (let index = 0; index < 500; index += 1) pacer.offer(prefixOf(index), row(index), true)
  t.equal(pacer.take(0).released.size, 500)
})

t.test('a burst, then one after the other in the order of asking', async (t) => {
  const pacer = pacerWith(0)
  for (let index = 0; index < 25; index += 1) pacer.offer(prefixOf(index), row(index), true)
  const burst = pacer.take(0)
  t.equal(burst.released.size, 20)
  t.equal(burst.nextDueMs, 500)
  t.equal(pacer.waiting.size, 5)
  t.same([...pacer.take(500).released.keys()], [prefixOf(20)])
  t.equal(pacer.take(501).released.size, 0)
  t.same([...pacer.take(2000).released.keys()], [21, 22, 23].map(prefixOf))
  t.same([...pacer.take(2500).released.keys()], [prefixOf(24)])
  t.equal(pacer.take(2500).nextDueMs, undefined, 'nothing waits')
})

t.test('a withdrawal for want of something to serve never waits, and pays later', async (t) => {
  const pacer = pacerWith(60)
  for (let index = 0; index < 30; index += 1) pacer.offer(prefixOf(index), undefined, false)
  const { released } = pacer.take(0)
  t.equal(released.size, 30)
  t.ok([...released.values()].every((wanted) => wanted === undefined))
  pacer.offer(prefixOf(100), row(100), true)
  const later = pacer.take(0)
  t.equal(later.released.size, 0)
  t.equal(later.nextDueMs, 5500, 'ten over the burst, and one for itself')
  for (let index = 30; index < 60; index += 1) pacer.offer(prefixOf(index), undefined, false)
  t.equal(pacer.take(0).nextDueMs, 10_500, 'but not for ever')
})

t.test('one by wish waits; when the wish is taken back nothing happens', async (t) => {
  const pacer = pacerWith(30)
  for (let index = 0; index < 22; index += 1) pacer.offer(prefixOf(index), undefined, true)
  t.equal(pacer.take(0).released.size, 20)
  pacer.offer(prefixOf(20), row(20), true)
  t.equal(pacer.waiting.size, 1)
  pacer.offer(prefixOf(21), undefined, false)
  t.same([...pacer.take(0).released], [[prefixOf(21), undefined]], 'it cannot be served any more')
  t.equal(pacer.waiting.size, 0)
})

t.test('another reason for the same route is free, other attributes are a change', async (t) => {
  const pacer = pacerWith(30)
  for (let index = 0; index < 30; index += 1)
    pacer.offer(prefixOf(index), row(index, undefined, 'other'), true)
  t.equal(pacer.take(0).released.size, 30)
  for (let index = 0; index < 30; index += 1) pacer.offer(prefixOf(index), row(index, 7), true)
  t.equal(pacer.take(0).released.size, 20)
  pacer.offer(prefixOf(25), row(25, 9), true)
  const { released } = pacer.take(5000)
  t.equal(released.get(prefixOf(25))?.exports?.[0]?.attributes.med, 9, 'the newest wish at the old place')
})

t.test('another rate', async (t) => {
  const pacer = pacerWith(0)
  for (let index = 0; index < 40; index += 1) pacer.offer(prefixOf(index), row(index), true)
  pacer.take(0)
  pacer.setRate(1000, 0)
  t.equal(pacer.take(20).released.size, 20)
})

t.test('what is told of Services is counted along', async (t) => {
  const pacer = pacerWith(3)
  t.equal(pacer.toldOfServices, 3)
  pacer.offer(prefixOf(100), { ...row(100), source: 'loopback' }, true)
  pacer.offer(prefixOf(0), { ...row(0), why: 'another' }, true)
  pacer.offer(prefixOf(1), undefined, false)
  pacer.take(10_000)
  t.equal(pacer.toldOfServices, 2)
  t.equal([...pacer.told.values()].filter(({ source }) => source === 'service').length, 2)
})

t.test('a withdrawal that is taken back before anybody was told of it', async (t) => {
  const pacer = pacerWith(1)
  pacer.offer(prefixOf(0), undefined, false)
  pacer.offer(prefixOf(0), row(0), true)
  t.equal(pacer.take(0).released.size, 0)
  t.ok(pacer.told.has(prefixOf(0)))
})

t.test('what another configuration takes from a peer does not wait, what it gives does', async (t) => {
  const to = (index: number, sessions: readonly string[], med?: number): Announcement => ({
    ...row(index),
    exports: [{ peers: sessions, sessions, attributes: attributes(med === undefined ? {} : { med }) }],
  })
  const pacer = new ChangePacer(1, 0)
  for (let index = 0; index < 4; index += 1) pacer.offer(prefixOf(index), to(index, ['a', 'b']), true)
  pacer.take(0)
  pacer.begin()
  for (let index = 100; index < 120; index += 1) pacer.offer(prefixOf(index), to(index, ['a']), true)
  pacer.take(0)
  pacer.offer(prefixOf(0), undefined, true)
  pacer.offer(prefixOf(1), to(1, ['b', 'c'], 9), true)
  pacer.offer(prefixOf(2), to(2, ['c']), true)
  pacer.offer(prefixOf(3), to(3, ['a', 'b', 'c']), true)
  t.equal(pacer.take(0).released.size, 0, 'all of it waits')
  pacer.narrow()
  const { released } = pacer.take(0)
  const sees = [...released].map(([prefix, wanted]) => [
    prefix,
    wanted?.exports?.map(({ sessions, attributes: { med } }) => [sessions, med]),
  ])
  t.same(sees, [
    [prefixOf(0), undefined],
    [prefixOf(1), [[['b'], undefined]]],
    [prefixOf(2), undefined],
  ])
  t.equal(pacer.waiting.size, 13, 'ten that were waiting, and what three of these give')
})
