// Rules of announcing → who is told with which attributes.

import t from 'tap'
import { address } from '../../../src/model/address.ts'
import type { BgpPeer, PeerExport } from '../../../src/model/routing.ts'
import { type ExportSubject, exportsKey, exportsOf } from '../../../src/routing/exports.ts'
import { announcing, attributes, peer, RULES, rule, vipFact } from './beds.ts'

type SubjectOverrides = Partial<Omit<ExportSubject, 'service'>> & Parameters<typeof vipFact>[0]

function subject({ kinds, family, pool, ...fact }: SubjectOverrides = {}): ExportSubject {
  return {
    kinds: kinds ?? ['load-balancer-ip'],
    family: family ?? 'ipv4',
    pool: pool ?? 'default',
    service: vipFact(fact).service,
  }
}

/** `tor1,tor2 65000:1 65000:2 65000:1:2 lp=1 med=2 prepend=3` */
function textOf(exports: readonly PeerExport[]): string {
  return exports
    .map(({ peers, attributes: { communities, largeCommunities, localPref, med, prepend } }) =>
      [
        peers.join(','),
        ...communities,
        ...largeCommunities,
        ...(localPref === undefined ? [] : [`lp=${localPref}`]),
        ...(med === undefined ? [] : [`med=${med}`]),
        ...(prepend === 0 ? [] : [`prepend=${prepend}`]),
      ].join(' '),
    )
    .join(' | ')
}

const GOLD = attributes({ communities: ['65000:1'], med: 10 })
const NOT_SHOP = { requirements: [{ key: 'tier', operator: 'NotIn', values: ['shop'] }] } as const
const IBGP: readonly BgpPeer[] = [
  ...RULES.peers,
  peer('node2', { asn: 65_101 }),
  peer('node3', { asn: 'internal' }),
]

t.test('which rules give a VIP to which peers', async (t) => {
  const rows: [string, Partial<typeof RULES>, SubjectOverrides, string][] = [
    ['by default, to everybody', {}, {}, 'tor1,tor2'],
    ['no rules: nobody', { rules: [] }, {}, ''],
    ['by default no ClusterIP', {}, { kinds: ['cluster-ip'] }, ''],
    ['a rule for one peer', { rules: [rule({ peers: ['tor2'] })] }, {}, 'tor2'],
    ['a peer that is not there', { rules: [rule({ peers: ['tor9'] })] }, {}, ''],
    ['another kind', { rules: [rule({ kinds: ['external-ip'] })] }, {}, ''],
    [
      'one of two kinds',
      { rules: [rule({ kinds: ['external-ip'] })] },
      { kinds: ['cluster-ip', 'external-ip'] },
      'tor1,tor2',
    ],
    ['another family', { rules: [rule({ families: ['ipv6'] })] }, {}, ''],
    ['another pool', { rules: [rule({ pools: ['gold'] })] }, {}, ''],
    ['its pool', { rules: [rule({ pools: ['gold', 'default'] })] }, {}, 'tor1,tor2'],
    ['another namespace', { rules: [rule({ namespaces: ['shop2'] })] }, {}, ''],
    ['its namespace', { rules: [rule({ namespaces: ['shop'] })] }, {}, 'tor1,tor2'],
    ['its labels', { rules: [rule({ services: NOT_SHOP })] }, { labels: { tier: 'web' } }, 'tor1,tor2'],
    ['other labels', { rules: [rule({ services: NOT_SHOP })] }, { labels: { tier: 'shop' } }, ''],
    [
      'its name, as Cilium selects',
      {
        rules: [
          rule({
            services: {
              requirements: [{ key: 'io.kubernetes.service.name', operator: 'In', values: ['web'] }],
            },
          }),
        ],
      },
      {},
      'tor1,tor2',
    ],
    [
      'a session that does not carry the family',
      { peers: [peer('tor1', { families: ['ipv6'] }), peer('tor2')] },
      {},
      'tor2',
    ],
  ]
  for (const [name, routing, asked, expected] of rows)
    t.equal(textOf(exportsOf({ ...RULES, ...routing }, [subject(asked)])), expected, name)
  const none = { ...subject(), pool: undefined }
  t.equal(textOf(exportsOf(RULES, [none])), '', 'an address from no pool')
})

t.test('attributes are joined: communities as a union, numbers by the last that has one', async (t) => {
  const rules = [
    rule({ attributes: GOLD }),
    rule({ peers: ['tor2'], attributes: attributes({ communities: ['65000:0', '65000:1'], prepend: 2 }) }),
    rule({ attributes: attributes({ largeCommunities: ['65000:1:2'], localPref: 50 }) }),
  ]
  const rows: [string, typeof rules, SubjectOverrides, string][] = [
    [
      'rule by rule, peer by peer',
      rules,
      {},
      'tor1 65000:1 65000:1:2 lp=50 med=10 | tor2 65000:0 65000:1 65000:1:2 lp=50 med=10 prepend=2',
    ],
    [
      'the last number wins',
      [rule({ attributes: GOLD }), rule({ attributes: attributes({ med: 0 }) })],
      {},
      'tor1,tor2 65000:1 med=0',
    ],
    [
      'a rule of attributes lets nothing out by itself',
      [rule({ attributes: GOLD, isOnlyAttributes: true }), rule({ peers: ['tor1'] })],
      {},
      'tor1 65000:1 med=10',
    ],
    ['alone', [rule({ attributes: GOLD, isOnlyAttributes: true })], {}, ''],
    [
      'the Service says more',
      [rule({ attributes: GOLD })],
      { announcing: announcing({ attributes: attributes({ communities: ['65000:9'], med: 1 }) }) },
      'tor1,tor2 65000:1 65000:9 med=1',
    ],
  ]
  for (const [name, some, asked, expected] of rows)
    t.equal(textOf(exportsOf({ ...RULES, rules: some }, [subject(asked)])), expected, name)
})

t.test('what a Service says of its peers and kinds', async (t) => {
  const clusterIp = { kinds: ['cluster-ip'] } as const
  const rows: [string, SubjectOverrides, string][] = [
    ['one peer only', { announcing: announcing({ peers: ['tor2'] }) }, 'tor2'],
    ['one that no rule allows', { announcing: announcing({ peers: ['tor9'] }) }, ''],
    [
      'no load-balancer addresses',
      { announcing: announcing({ advertise: { 'load-balancer-ip': false } }) },
      '',
    ],
    [
      'a ClusterIP after all',
      { ...clusterIp, announcing: announcing({ advertise: { 'cluster-ip': true } }) },
      'tor1,tor2',
    ],
    [
      'to one of them',
      {
        ...clusterIp,
        announcing: announcing({ advertise: { 'cluster-ip': true }, peers: ['tor1', 'node2'] }),
      },
      'tor1',
    ],
  ]
  for (const [name, asked, expected] of rows) {
    const rules = [rule({ peers: ['tor1', 'tor2'] })]
    t.equal(textOf(exportsOf({ ...RULES, peers: IBGP, rules }, [subject(asked)])), expected, name)
  }
})

t.test('several Services share an address', async (t) => {
  const gold = { requirements: [{ key: 'tier', operator: 'In', values: ['gold'] }] } as const
  const rules = [rule({ peers: ['tor1'] }), rule({ services: gold, peers: ['tor2'], attributes: GOLD })]
  const both = [subject(), subject({ service: 'shop/dns', labels: { tier: 'gold' } })]
  t.equal(textOf(exportsOf({ ...RULES, rules }, both)), 'tor1 | tor2 65000:1 med=10')
})

t.test('without peers of our own, whoever there is gets what every peer would', async (t) => {
  const routing = { ...RULES, peers: [], rules: [rule({ attributes: GOLD }), rule({ peers: ['tor1'] })] }
  const exports = exportsOf(routing, [subject()])
  t.same(exports, [{ peers: [], attributes: GOLD }])
})

t.test('equal exports are the same object', async (t) => {
  const [first, second] = [subject(), subject({ vip: '203.0.113.8' })].map((one) => exportsOf(RULES, [one]))
  t.equal(first, second)
  t.not(exportsKey(first), exportsKey([]))
})

t.test('an export is for sessions: a name that moves to another router is another export', async (t) => {
  const at = (name: string, text: string) =>
    peer(name, { remote: { kind: 'address', address: address(text) } })
  const link = peer('link', { remote: { kind: 'interface', interface: 'eth1' } })
  const [first] = exportsOf({ ...RULES, peers: [at('tor1', '198.51.100.1'), link] }, [subject()])
  t.same(first?.peers, ['link', 'tor1'])
  t.same(first?.sessions, ['%eth1', '198.51.100.1'])
  const moved = exportsOf({ ...RULES, peers: [at('tor1', '198.51.100.2'), link] }, [subject()])
  t.not(exportsKey(first && [first]), exportsKey(moved))
})
