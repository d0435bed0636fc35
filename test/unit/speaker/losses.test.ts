import t from 'tap'
import { Losses } from '../../../src/speaker/losses.ts'

const MINUTE = 60_000
const describe = (address: string) => ({ name: `tor at ${address}`, source: `routing.peers ${address}` })

t.test('gobgpd that went away', async (t) => {
  const losses = new Losses()
  for (const [atMs, said] of [
    [0, []],
    [MINUTE, []],
    [2 * MINUTE, ['gobgpd-dies']],
    [30 * MINUTE, []],
  ] as const) {
    losses.note(atMs)
    t.same(
      losses.problems(atMs, describe).map(({ code }) => code),
      said,
      `after ${atMs / MINUTE} minutes`,
    )
  }
  const again = new Losses()
  for (const atMs of [0, 1, 2]) again.note(atMs)
  t.equal(again.problems(9 * MINUTE, describe).length, 1)
  t.same(again.problems(11 * MINUTE, describe), [], 'it is forgotten')
})

t.test('the router that ends it each time is named, and nobody for being up', async (t) => {
  const losses = new Losses()
  const dies = (atMs: number, address: string | undefined, agoMs = 100) => {
    losses.note(atMs, address === undefined ? undefined : { address, atMs: atMs - agoMs })
    return losses.problems(atMs, describe)[0]
  }
  dies(0, '10.0.0.1')
  dies(MINUTE, '10.0.0.1')
  t.match(dies(2 * MINUTE, '10.0.0.1'), {
    object: 'routing.peers 10.0.0.1',
    text: /a moment after the session with tor at 10\.0\.0\.1 .*Mend: take it out of routing\.peers 10\.0\.0\.1/,
  })
  t.match(
    dies(3 * MINUTE, '10.0.0.2'),
    { object: 'routing.gobgp', text: /the peer that spoke last/ },
    'another',
  )
  dies(4 * MINUTE, '10.0.0.2')
  t.match(dies(5 * MINUTE, '10.0.0.2'), { object: 'routing.peers 10.0.0.2' })
  t.match(dies(6 * MINUTE, '10.0.0.2', 30_000), { object: 'routing.gobgp' }, 'it was up for long')
  t.match(dies(7 * MINUTE, undefined), { object: 'routing.gobgp' })
})
