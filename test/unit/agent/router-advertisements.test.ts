// What the neighbour on an unnumbered link is told. That it is told, and answered, is shown with real routers
// (test/unit/speaker/unnumbered.test.ts).

import t from 'tap'
import { routerAdvertisement } from '../../../src/agent/router-advertisements.ts'

t.test('an advertisement says who is there, and offers nothing', async (t) => {
  const message = routerAdvertisement('02:00:5e:10:00:ff')
  t.equal(message.readUInt8(0), 134)
  t.equal(message.readUInt8(1), 0)
  t.equal(message.readUInt16BE(6), 0, 'a router lifetime of 0: no way out')
  t.equal(message.subarray(8, 16).readBigUInt64BE(), 0n, 'no timers')
  t.same(
    [...message.subarray(16)],
    [1, 1, 0x02, 0x00, 0x5e, 0x10, 0x00, 0xff],
    "the source's link-layer address",
  )
})

t.test('a link without such an address says no more than the header', async (t) => {
  t.equal(routerAdvertisement(undefined).length, 16)
})
