import t from 'tap'
import { DaemonMirror } from '../../../src/speaker/daemon-mirror.ts'
import { NO_LINKS } from '../../../src/speaker/links.ts'
import { Losses } from '../../../src/speaker/losses.ts'
import { GobgpdModel } from './gobgpd-model.ts'

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
  /** @param cameUp address and how long before */
  const dies = (atMs: number, ...cameUp: [string, number][]) => {
    losses.note(atMs, new Map(cameUp.map(([address, agoMs]) => [address, atMs - agoMs])))
    return losses.problems(atMs, describe)[0]
  }
  const bad: [string, number] = ['10.0.0.1', 100]
  const other: [string, number] = ['10.0.0.2', 50]
  dies(0, bad, ['10.0.0.3', 4_000])
  dies(MINUTE, bad, other)
  t.match(dies(2 * MINUTE, bad), {
    object: 'routing.peers 10.0.0.1',
    text: /a moment after the session with tor at 10\.0\.0\.1 .*Mend: take it out of routing\.peers 10\.0\.0\.1/,
  })
  t.match(dies(3 * MINUTE, other), { object: 'routing.gobgp', text: /the peer that spoke last/ }, 'another')
  dies(4 * MINUTE, bad, other)
  t.match(dies(5 * MINUTE, bad, other), { object: 'routing.peers 10.0.0.2' })
  t.match(dies(6 * MINUTE, bad, other), { object: 'routing.gobgp' }, 'one of two')
  t.match(dies(7 * MINUTE), { object: 'routing.gobgp' })
  const gone = new Losses()
  for (const atMs of [0, 1, 2]) gone.note(atMs, new Map([['10.0.0.1', atMs]]))
  t.same(
    gone.problems(3, (address) => ({ name: address, source: address })),
    [],
    'it has been taken out',
  )
})

t.test(
  "in kube-router's gobgpd, whose peers are in no configuration of ours, it is said all the same",
  async (t) => {
    const mirror = new DaemonMirror({
      client: new GobgpdModel().client(),
      target: 'model',
      host: 'kube-router',
      readPassword: async () => '',
      readLinks: async () => NO_LINKS,
      nowMs: () => 0,
    })
    const losses = new Losses()
    for (const atMs of [0, 1, 2]) losses.note(atMs, new Map([['10.0.0.1', atMs]]))
    const [problem] = losses.problems(3, (address) => mirror.describe(address))
    t.match(problem, { code: 'gobgpd-dies', text: /10\.0\.0\.1.*Mend: take it out of kube-router's peers/ })
  },
)
