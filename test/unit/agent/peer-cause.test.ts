// What keeps a session down, as near as the node can see; and over which link each peer is reached.

import t from 'tap'
import type { BfdSessionView } from '../../../src/agent/bfd-view.ts'
import { type CauseFacts, nearestCause } from '../../../src/agent/peer-cause.ts'
import { PeerLinks } from '../../../src/agent/peer-links.ts'
import { address } from '../../../src/model/address.ts'
import { peerOf } from '../speaker/bed.ts'

const NOW = 1_000_000_000

const bfd = (change: Partial<BfdSessionView> = {}): BfdSessionView => ({
  peer: 'tor1',
  address: address('10.0.0.0'),
  local: address('10.0.0.1'),
  link: 'to-tor1',
  state: 'down',
  stateMs: 12_000,
  diagnostic: 'nothing was heard for the detection time',
  discriminator: 1,
  intervalMs: 300,
  multiplier: 3,
  detectionMs: 900,
  remote: {
    state: 'up',
    discriminator: 2,
    desiredMs: 300,
    requiredMs: 300,
    multiplier: 3,
    heardMs: 13_000,
  },
  ups: 1,
  downs: 1,
  received: 9,
  answered: 9,
  refused: {},
  ...change,
})

const facts = (change: Partial<CauseFacts> = {}): CauseFacts => ({
  link: { device: 'to-tor1', state: 'up' },
  bfd: undefined,
  downSinceMs: NOW - 5_000,
  holdSeconds: 9,
  nowMs: NOW,
  ...change,
})

t.test('the link before BFD, BFD before BGP', async (t) => {
  const silent = /^BFD is down since 1970-01-12T13:46:28Z: nothing was heard for the detection time\. Mend: /
  const remote = bfd().remote
  const cases: [string, Partial<CauseFacts>, RegExp | undefined][] = [
    ['all is well below BGP', {}, undefined],
    ['a link nobody knows', { link: undefined }, undefined],
    [
      'a cut cable',
      { link: { device: 'to-tor1', state: 'no-carrier' }, bfd: bfd() },
      /^no carrier on to-tor1\. Mend: /,
    ],
    ['a link switched off', { link: { device: 'to-tor1', state: 'down' } }, /Mend: ip link set to-tor1 up/],
    ['a link that went', { link: { device: 'to-tor1', state: 'gone' } }, /no link to-tor1 any more/],
    ['BFD lost it', { bfd: bfd() }, silent],
    ['and BGP has not noticed yet', { bfd: bfd(), downSinceMs: undefined }, silent],
    ['BFD is up', { bfd: bfd({ state: 'up' }) }, undefined],
    ['BFD never was up: the router may not have it', { bfd: bfd({ ups: 0 }) }, undefined],
    ['a router that begins anew', { bfd: bfd({ diagnostic: undefined }) }, undefined],
    [
      'a router that switched it off',
      { bfd: bfd({ remote: { ...remote, state: 'admin-down' } }) },
      undefined,
    ],
    ['long before BGP ended', { bfd: bfd({ stateMs: 60_000 }) }, undefined],
    ['no place for BFD', { bfd: { peer: 'tor1', state: 'unplaced', problem: 'nowhere' } }, undefined],
  ]
  for (const [name, change, expected] of cases) {
    const cause = nearestCause(facts(change))
    if (expected === undefined) t.equal(cause, undefined, name)
    else t.match(cause, expected, name)
  }
})

t.test('a peer stays on the link that lost its addresses', async (t) => {
  const node = {
    links: new Map<string, 'up' | 'no-carrier' | 'down'>([
      ['eth0', 'up'],
      ['eth1', 'up'],
    ]),
    addresses: [
      { index: 2, address: 'fe80::1/64' },
      { index: 2, address: '10.0.0.1/31' },
      { index: 3, address: 'fd00:1::1/127' },
    ],
    isReadable: true,
  }
  const links = new PeerLinks({
    netlink: {
      addresses: {
        list: async () => {
          if (!node.isReadable) throw new Error('interrupted')
          return node.addresses as never
        },
      },
    },
    network: {
      linkNames: () => new Map([...node.links.keys()].map((name, index) => [index + 2, name])),
      linkState: (name) => node.links.get(name),
    },
  })
  const peers = [
    peerOf('four', '10.0.0.0'),
    peerOf('six', 'fd00:1::'),
    peerOf('far', '192.0.2.1'),
    { ...peerOf('bare', '10.0.0.0'), remote: { kind: 'interface', interface: 'eth1' } as const },
  ]
  const seen = async () => Object.fromEntries(await links.look(peers))
  t.strictSame(await seen(), {
    four: { device: 'eth0', state: 'up' },
    six: { device: 'eth1', state: 'up' },
    bare: { device: 'eth1', state: 'up' },
  })
  node.links.set('eth0', 'no-carrier').set('eth1', 'down')
  node.addresses = node.addresses.slice(0, 2)
  t.match(await seen(), { four: { state: 'no-carrier' }, six: { device: 'eth1', state: 'down' } })
  node.isReadable = false
  node.links.delete('eth1')
  t.match(await seen(), { four: { device: 'eth0' }, six: { state: 'gone' }, bare: { state: 'gone' } })
})
