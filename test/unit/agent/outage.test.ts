// Since when nothing comes of a watch.

import t from 'tap'
import { Outage } from '../../../src/agent/outage.ts'

t.test('an outage lasts from the first failure in a row until a watch stays open', async (t) => {
  const outage = new Outage()
  const at = (nowMs: number, phase: 'waiting' | 'watching' | 'listing', failures: number) =>
    outage.lastsMs(nowMs, { phase, failures })
  t.equal(at(0, 'watching', 0), 0)
  outage.failed(10_000, 1)
  t.equal(at(15_000, 'waiting', 1), 5_000)
  outage.opened(16_000)
  t.equal(at(16_100, 'watching', 1), 6_100, 'nobody knows yet')
  t.equal(at(18_000, 'watching', 1), 0, 'quiet, and open')
  t.equal(at(18_000, 'listing', 1), 8_000, 'a list that does not come')
  t.equal(at(18_000, 'watching', 0), 0, 'it brought something')
  outage.failed(20_000, 2)
  t.equal(at(21_000, 'waiting', 2), 1_000, 'another one')
  t.ok(outage.tellOnce())
  t.notOk(outage.tellOnce())
})

t.test('a server that breaks off each watch at once is out', async (t) => {
  const outage = new Outage()
  for (let second = 0; second < 30; second += 1) {
    outage.opened(second * 1000)
    outage.failed(second * 1000 + 50, second + 1)
  }
  t.equal(outage.lastsMs(30_000, { phase: 'waiting', failures: 30 }), 29_950)
  t.ok(outage.tellOnce())
  outage.end()
  t.equal(outage.lastsMs(30_000, { phase: 'waiting', failures: 30 }), 0)
})
