// Which routers are ways out of a node, and which of them packets should take.

import t from 'tap'
import {
  type Absence,
  planDefaultRoute,
  type UplinkGround,
  type Way,
  type WayPeer,
  waysOfAddresses,
  waysOfPeers,
  wayText,
} from '../../../src/datapath/default-route.ts'
import type { Uplink } from '../../../src/datapath/nexthop-plan.ts'
import { type Address, address, type Family, type Prefix } from '../../../src/model/address.ts'

const ground = (ifindex: number, change: Partial<UplinkGround> = {}): UplinkGround => ({
  name: `up${ifindex}`,
  ifindex,
  networks: [`10.0.${ifindex}.0/31`, `fd00:${ifindex}::/127`] as Prefix[],
  neighbour: undefined,
  ...change,
})
const by = (text: string, change: Partial<WayPeer> = {}): WayPeer => ({
  remote: { kind: 'address', address: address(text) },
  families: [text.includes(':') ? 'ipv6' : 'ipv4'],
  ...change,
})
const unnumbered = (name: string, families: readonly Family[] = ['ipv4', 'ipv6']): WayPeer => ({
  remote: { kind: 'interface', interface: name },
  families,
})
const ROUTER = address('fe80::1')
const BOTH = [ground(1), ground(2)]

t.test('ways are the peers that are one hop away over an uplink', async (t) => {
  const cases: {
    name: string
    peers: readonly WayPeer[]
    uplinks?: readonly UplinkGround[]
    before?: readonly Way[]
    nodes?: readonly Address[]
    ways: readonly string[]
  }[] = [
    {
      name: 'a session of each family on each link, in the order of links',
      peers: [by('10.0.2.0'), by('fd00:2::'), by('10.0.1.0'), by('fd00:1::')],
      ways: ['ipv4 1 10.0.1.0', 'ipv6 1 fd00:1::', 'ipv4 2 10.0.2.0', 'ipv6 2 fd00:2::'],
    },
    {
      name: 'a router reflector behind routers is none',
      peers: [by('10.9.9.9', { multihopTtl: 3 })],
      ways: [],
    },
    { name: 'nor is what is on no uplink', peers: [by('192.0.2.1')], ways: [] },
    { name: 'nor a node', peers: [by('10.0.1.0')], nodes: [address('10.0.1.0')], ways: [] },
    {
      name: 'IPv4 goes by an IPv6 router whose session carries it',
      peers: [by('fd00:1::', { families: ['ipv4', 'ipv6'] })],
      ways: ['ipv6 1 fd00:1::', 'ipv4 1 fd00:1::'],
    },
    {
      name: 'but not where the link has one of its own',
      peers: [by('fd00:1::', { families: ['ipv4', 'ipv6'] }), by('10.0.1.0')],
      ways: ['ipv6 1 fd00:1::', 'ipv4 1 10.0.1.0'],
    },
    {
      name: 'an unnumbered one leads out for both families',
      peers: [unnumbered('up2')],
      uplinks: [ground(1), ground(2, { networks: [], neighbour: ROUTER })],
      ways: ['ipv4 2 fe80::1', 'ipv6 2 fe80::1'],
    },
    { name: 'once it is known', peers: [unnumbered('up2')], ways: [] },
    {
      name: 'a link that lost its addresses and neighbours keeps its ways',
      peers: [by('fd00:1::'), unnumbered('up2', ['ipv4'])],
      uplinks: [ground(1, { networks: [] }), ground(2, { networks: [] })],
      before: [
        { family: 'ipv6', ifindex: 1, address: address('fd00:1::') },
        { family: 'ipv4', ifindex: 2, address: ROUTER },
      ],
      ways: ['ipv6 1 fd00:1::', 'ipv4 2 fe80::1', 'ipv6 2 fe80::1'],
    },
    {
      name: 'two sessions with one router are one way',
      peers: [by('10.0.1.0'), by('10.0.1.0')],
      ways: ['ipv4 1 10.0.1.0'],
    },
  ]
  for (const { name, peers, uplinks = BOTH, before = [], nodes = [], ways } of cases) {
    const found = waysOfPeers(peers, { uplinks, before, isNode: (one) => nodes.includes(one) })
    t.strictSame(found.map(wayText), ways, name)
  }
})

t.test('routers that are named are ways, peers or not', async (t) => {
  const found = waysOfAddresses([address('10.0.2.0'), address('fd00:1::'), address('192.0.2.1')], {
    uplinks: BOTH,
    before: [],
    isNode: () => false,
  })
  t.strictSame(found.map(wayText), ['ipv6 1 fd00:1::', 'ipv4 2 10.0.2.0'])
})

const ONE: Way = { family: 'ipv4', ifindex: 1, address: address('10.0.1.0') }
const TWO: Way = { family: 'ipv4', ifindex: 2, address: address('10.0.2.0') }
const uplink = (ifindex: number, isUp: boolean): Uplink => ({
  name: `up${ifindex}`,
  ifindex,
  mac: new Uint8Array(6),
  isUp,
  mtu: 9000,
})

t.test('a way leaves the route on loss of carrier, BFD or sessions, and never the last', async (t) => {
  const cases: {
    name: string
    up?: readonly number[]
    bfd?: Readonly<Record<string, boolean>>
    bgp?: Readonly<Record<string, boolean>>
    held?: readonly Way[]
    hops: readonly Way[] | undefined
    absent?: readonly (readonly [Way, Absence])[]
  }[] = [
    { name: 'all is well', hops: [ONE, TWO] },
    { name: 'BFD agrees', bfd: { '10.0.1.0': true, '10.0.2.0': true }, held: [ONE], hops: [ONE, TWO] },
    { name: 'no carrier', up: [2], held: [ONE, TWO], hops: [TWO], absent: [[ONE, 'no-carrier']] },
    { name: 'BFD lost it', bfd: { '10.0.2.0': false }, hops: [ONE], absent: [[TWO, 'bfd']] },
    {
      name: 'sessions lost it while another is up',
      bgp: { '10.0.1.0': false, '10.0.2.0': true },
      hops: [TWO],
      absent: [[ONE, 'sessions']],
    },
    {
      name: 'no session at all says nothing',
      bgp: { '10.0.1.0': false, '10.0.2.0': false },
      hops: [ONE, TWO],
    },
    {
      name: 'the carrier is back, the router is not',
      bfd: { '10.0.1.0': false },
      held: [TWO],
      hops: [TWO],
      absent: [[ONE, 'bfd']],
    },
    {
      name: 'the last one stays',
      up: [],
      held: [TWO],
      hops: undefined,
      absent: [
        [ONE, 'no-carrier'],
        [TWO, 'no-carrier'],
      ],
    },
    {
      name: 'a node without any route tries what has a carrier',
      up: [1],
      bfd: { '10.0.1.0': false },
      hops: [ONE],
      absent: [
        [ONE, 'bfd'],
        [TWO, 'no-carrier'],
      ],
    },
    {
      name: 'and what has none cannot be written',
      up: [],
      hops: undefined,
      absent: [
        [ONE, 'no-carrier'],
        [TWO, 'no-carrier'],
      ],
    },
  ]
  for (const { name, up = [1, 2], bfd = {}, bgp = {}, held, hops, absent = [] } of cases) {
    const plan = planDefaultRoute(
      [ONE, TWO],
      {
        uplinks: [1, 2].map((ifindex) => uplink(ifindex, up.includes(ifindex))),
        sessions: new Map(Object.entries(bgp).map(([text, isUp]) => [address(text), isUp])),
        isWayUp: (way) => bfd[way.address],
      },
      held,
    )
    t.strictSame(plan, { hops, absent: absent.map(([way, why]) => ({ way, why })) }, name)
  }
})

t.test('without ways nothing is said', async (t) => {
  const plan = planDefaultRoute([], { uplinks: [], sessions: new Map(), isWayUp: () => undefined }, undefined)
  t.strictSame(plan, { hops: undefined, absent: [] })
})
