// Uplinks that lose frames and keep their carrier are judged by the sessions over them.

import t from 'tap'
import { liveGateways, liveUplinks } from '../../../src/datapath/live-uplinks.ts'
import type { Gateway, Uplink } from '../../../src/datapath/nexthop-plan.ts'
import { address } from '../../../src/model/address.ts'

const mac = new Uint8Array(6)
const uplink = (ifindex: number, isUp = true): Uplink => ({
  name: `up${ifindex}`,
  ifindex,
  mac,
  isUp,
  mtu: 9000,
})
const gateway = (ifindex: number, text: string): Gateway => ({
  family: text.includes(':') ? 'ipv6' : 'ipv4',
  ifindex,
  address: address(text),
  mac,
})
const UPLINKS = [uplink(1), uplink(2)]
const GATEWAYS = [
  gateway(1, '10.0.1.0'),
  gateway(1, 'fd00:1::'),
  gateway(2, '10.0.2.0'),
  gateway(2, 'fd00:2::'),
]

t.test('which uplinks are live', async (t) => {
  const cases: { name: string; sessions: Record<string, boolean>; live: number[] }[] = [
    { name: 'nothing known yet', sessions: {}, live: [1, 2] },
    { name: 'all up', sessions: { '10.0.1.0': true, 'fd00:1::': true, '10.0.2.0': true }, live: [1, 2] },
    {
      name: 'one deaf in both families',
      sessions: { '10.0.1.0': false, 'fd00:1::': false, '10.0.2.0': true },
      live: [2],
    },
    {
      name: 'one family is enough to be heard',
      sessions: { '10.0.1.0': false, 'fd00:1::': true, '10.0.2.0': true },
      live: [1, 2],
    },
    {
      name: 'none up: nothing is concluded',
      sessions: { '10.0.1.0': false, '10.0.2.0': false },
      live: [1, 2],
    },
    { name: 'an uplink without a session is not judged', sessions: { '10.0.1.0': true }, live: [1, 2] },
  ]
  for (const { name, sessions, live } of cases) {
    const known = new Map(Object.entries(sessions).map(([text, isUp]) => [address(text), isUp]))
    const got = liveUplinks(UPLINKS, GATEWAYS, known).filter(({ isUp }) => isUp)
    t.strictSame(
      got.map(({ ifindex }) => ifindex),
      live,
      name,
    )
  }
})

t.test('a session heard over an uplink without carrier does not condemn the other', async (t) => {
  const sessions = new Map([
    [address('10.0.1.0'), true],
    [address('10.0.2.0'), false],
  ])
  const got = liveUplinks([uplink(1, false), uplink(2)], GATEWAYS, sessions)
  t.strictSame(
    got.map(({ isUp }) => isUp),
    [false, true],
  )
})

t.test('which gateways are live by BFD', async (t) => {
  const live = (...dead: string[]) =>
    liveGateways(GATEWAYS, (one) => (dead.includes(one.address) ? false : undefined)).map(
      (one) => one.address,
    )
  const all = GATEWAYS.map((one) => one.address)
  t.strictSame(live(), all)
  t.strictSame(live('fd00:1::'), ['10.0.1.0', '10.0.2.0', 'fd00:2::'], 'each family by itself')
  t.strictSame(live('10.0.1.0', '10.0.2.0'), all, 'all of a family dead: nothing is concluded')
})
