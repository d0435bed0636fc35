// Which namespaces are within a pod's, by the devices that they have.

import t from 'tap'
import { type Candidate, innerNamespaces, waysOut } from '../../../src/agent/inner-namespaces.ts'
import type { Link } from '../../../src/sys/node-netlink/links.ts'

const link = (kind: string | undefined, rest: Partial<Link> = {}) =>
  ({ index: 2, flags: 0, kind, ...rest }) as Link
const LO = { ...link(undefined), index: 1, flags: 0x49 }
const TO = { linkNamespaceId: 3, peerIndex: 9, lowerIndex: 9 }

const DEVICES: readonly (readonly [string, readonly Link[], readonly number[] | 'outside' | 'process'])[] = [
  ['nothing but loopback', [LO], []],
  ['a veth', [LO, link('veth', TO)], [3]],
  ['two', [link('veth', TO), link('veth', { ...TO, linkNamespaceId: 0 })], [3, 0]],
  ['a veth whose peer’s namespace is going', [link('veth', { ...TO, linkNamespaceId: -1 })], [-1]],
  [
    'both ends of a veth',
    [link('veth', { index: 2, peerIndex: 3 }), link('veth', { index: 3, peerIndex: 2 })],
    [],
  ],
  ['a veth to where nobody tells', [link('veth', { peerIndex: 9 })], 'outside'],
  ['a VLAN of a device that is here', [link('veth', TO), link('vlan', { index: 3, lowerIndex: 2 })], [3]],
  ['macvlan and ipvlan', [link('macvlan', TO), link('ipvlan', TO)], [3]],
  ['ipvlan over what is not here', [link('ipvlan', { lowerIndex: 9 })], 'outside'],
  [
    'tunnels that the kernel makes everywhere',
    [link('ipip'), link('sit', { lowerIndex: 0 }), link('ip6tnl')],
    [],
  ],
  ['a tunnel from elsewhere', [link('vxlan', TO)], [3]],
  ['a bridge and its ports', [link('bridge'), link('veth', TO)], [3]],
  ['a tap', [LO, link('tun')], 'process'],
  ['a tap beside a card', [link('tun'), link(undefined)], 'outside'],
  ['a card, or a virtual function', [LO, link(undefined)], 'outside'],
  ['WireGuard, whose outer packets go nobody knows where', [link('veth', TO), link('wireguard')], 'outside'],
  ['what is not known here', [link('netkit', TO)], 'outside'],
]

for (const [what, links, wanted] of DEVICES)
  t.test(what, async (t) => {
    const ways = waysOut(links)
    const found = 'index' in ways ? 'outside' : ways.hasProcess ? 'process' : [...ways.others]
    t.strictSame(found, wanted)
  })

const to = (...others: bigint[]): Candidate => ({ others: new Set(others), hasProcess: false })
const OUTSIDE: Candidate = { others: undefined, hasProcess: true }
const PROCESS: Candidate = { others: new Set(), hasProcess: true }
const OWN = 1n

const PLANS: readonly (readonly [string, Readonly<Record<string, Candidate>>, readonly bigint[]])[] = [
  ['one that leads to the pod’s', { 2: to(OWN) }, [2n]],
  ['one behind that', { 2: to(OWN, 3n), 3: to(2n) }, [2n, 3n]],
  ['one with a way to the host', { 2: OUTSIDE }, []],
  ['one behind that, which leads to the pod’s too', { 2: OUTSIDE, 3: to(OWN, 2n), 4: to(3n) }, []],
  ['one that leads to who is no candidate', { 2: to(OWN, 9n) }, []],
  ['one that leads nowhere: the host may be about to', { 2: to() }, []],
  ['two that lead to each other alone', { 2: to(3n), 3: to(2n) }, []],
  ['one whose frames a process takes, and one behind it', { 2: PROCESS, 3: to(2n) }, [2n, 3n]],
  ['the pod’s own are none', { 1: to(2n), 2: to(OWN) }, [2n]],
]

for (const [what, candidates, wanted] of PLANS)
  t.test(what, async (t) => {
    const rows = Object.entries(candidates).map(([cookie, candidate]) => [BigInt(cookie), candidate] as const)
    for (const order of [rows, rows.toReversed()])
      t.strictSame([...innerNamespaces(new Set([OWN]), new Map(order))].sort(), wanted)
  })
