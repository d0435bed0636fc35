import t from 'tap'
import { Losses } from '../../../src/speaker/losses.ts'

const MINUTE = 60_000

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
      losses.problems(atMs).map(({ code }) => code),
      said,
      `after ${atMs / MINUTE} minutes`,
    )
  }
  const again = new Losses()
  for (const atMs of [0, 1, 2]) again.note(atMs)
  t.equal(again.problems(9 * MINUTE).length, 1)
  t.same(again.problems(11 * MINUTE), [], 'it is forgotten')
})
