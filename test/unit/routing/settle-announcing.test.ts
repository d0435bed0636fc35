// Annotations of a Service that cannot be read: what they said before stays, and what never could be read is left marked.

import t from 'tap'
import type { ServiceAnnouncing } from '../../../src/model/service.ts'
import { settleAnnouncing } from '../../../src/routing/settle-announcing.ts'
import { serviceRow } from '../model/rows.ts'
import { announcing, attributes } from './beds.ts'

const BAD = announcing({ unreadable: "annotation x 'y' is no community" })
const NO_EXPORT = announcing({ attributes: attributes({ communities: ['65535:65281'] }), peers: ['tor1'] })
const service = (said: ServiceAnnouncing | undefined, uid = 'one') => serviceRow({ uid, announcing: said })

t.test('what was said before stays, whole', async (t) => {
  const good = settleAnnouncing(service(NO_EXPORT), undefined)
  t.equal(good.announcing, NO_EXPORT)
  const kept = settleAnnouncing(service(BAD), good)
  t.match(kept.announcing, { attributes: NO_EXPORT.attributes, peers: ['tor1'], overruled: BAD.unreadable })
  t.equal(kept.announcing?.unreadable, undefined)
  const again = settleAnnouncing(service({ ...BAD, unreadable: 'another' }), kept)
  t.match(again.announcing, { attributes: NO_EXPORT.attributes, overruled: 'another' })
  t.equal(settleAnnouncing(service(undefined), again).announcing, undefined, 'mended')
})

t.test('one that said nothing before said all that there was to say', async (t) => {
  const { announcing: kept } = settleAnnouncing(service(BAD), service(undefined))
  t.match(kept, { attributes: attributes(), overruled: BAD.unreadable })
  t.equal(kept?.unreadable, undefined)
})

t.test('what never could be read is left marked, also of a Service made anew under its name', async (t) => {
  const first = settleAnnouncing(service(BAD), undefined)
  t.equal(first.announcing?.unreadable, BAD.unreadable)
  t.equal(settleAnnouncing(service(BAD), first).announcing?.unreadable, BAD.unreadable)
  t.equal(settleAnnouncing(service(BAD, 'two'), service(NO_EXPORT)).announcing?.unreadable, BAD.unreadable)
})
