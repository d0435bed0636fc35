// The speaker's pure parts: prefix sets, policy, learned routes, what the kernel says of passwords.

import t from 'tap'
import type { BestRoutes, Route } from '../../../bgp/client/gobgp-grpc-client.ts'
import type { Address, Prefix } from '../../../src/model/address.ts'
import type { AllowedPrefix } from '../../../src/model/announcement.ts'
import type { ImportRules } from '../../../src/model/routing.ts'
import {
  diagnose,
  type Md5Counters,
  parseMd5Counters,
  parseUnanswered,
} from '../../../src/speaker/authentication.ts'
import { ExportClassifier } from '../../../src/speaker/export-classes.ts'
import { LearnedRoutes } from '../../../src/speaker/learned-routes.ts'
import { type PolicyPeer, planPolicy } from '../../../src/speaker/policy-plan.ts'
import { writeOutMembers } from '../../../src/speaker/prefix-sets.ts'
import { attributes, exported } from './bed.ts'

const row = (prefix: string, lengthMin: number, lengthMax: number): AllowedPrefix => ({
  prefix: prefix as Prefix,
  family: prefix.includes(':') ? 'ipv6' : 'ipv4',
  lengthMin,
  lengthMax,
})

t.test(
  'a narrower member of a prefix set inherits what wider ones allow, for gobgpd asks the longest alone',
  async (t) => {
    const members = writeOutMembers([
      row('10.0.0.0/8', 8, 32),
      row('10.1.0.0/16', 16, 16),
      row('192.0.2.0/24', 32, 32),
    ])
    t.strictSame(
      members.map(({ prefix, lengthMin, lengthMax }) => `${prefix} ${lengthMin} ${lengthMax}`).sort(),
      ['10.0.0.0/8 8 32', '10.1.0.0/16 16 16', '10.1.0.0/16 16 32', '192.0.2.0/24 32 32'],
    )
    t.strictSame(
      writeOutMembers([row('10.0.0.0/8', 8, 12), row('10.1.0.0/16', 16, 16)]).length,
      2,
      'too short for it',
    )
  },
)

const policyPeer = (address: string, change: Partial<PolicyPeer> = {}): PolicyPeer => ({
  address,
  isInternal: false,
  families: ['ipv4', 'ipv6'],
  ownAsn: 65101,
  nextHops: {},
  isReflectorClient: false,
  ...change,
})

t.test('policy', async (t) => {
  const peers = [
    policyPeer('10.0.0.1', { nextHops: { ipv6: 'fd00::1' as Address } }),
    policyPeer('10.0.0.2', { isInternal: true }),
    policyPeer('fd00::3'),
  ]
  const names = new Map(peers.map(({ address }) => [address, address]))
  const classify = (change: Parameters<typeof attributes>[0], ...to: string[]) => {
    const found = new ExportClassifier(names, true).classify(
      exported('203.0.113.7/32', [{ peers: to, attributes: attributes(change) }]),
    )
    if (!found) throw new Error('nobody')
    return found.class
  }
  const allowed = [row('203.0.113.0/24', 32, 32)]
  const all = [...names.keys()]
  const host = 'own' as const
  const acceptedBy = ({ exports }: ReturnType<typeof planPolicy>) =>
    exports.filter(({ action }) => action === 'accept')

  await t.test(
    'peers to whom the same is done share a statement; prepending is for external ones',
    async (t) => {
      const classes = [classify({ prepend: 2 }, ...all)]
      const exports = acceptedBy(planPolicy({ host, allowed, classes, peers, drain: undefined }))
      const ipv4 = exports.filter(({ name }) => name.endsWith('ipv4'))
      t.match(ipv4, [
        { conditions: { neighborSet: /^weir-peers-/ }, changes: { prepend: undefined } },
        { conditions: { neighborSet: undefined }, changes: { prepend: { asn: 65101, repeat: 2 } } },
      ])
      const ipv6 = exports.filter(({ name }) => name.endsWith('ipv6'))
      t.same(ipv6.map(({ changes }) => changes?.nextHop).filter(Boolean), [{ address: 'fd00::1' }])
      t.ok(exports.every(({ action, conditions }) => action === 'accept' && conditions.routeType === 'local'))
    },
  )

  await t.test(
    'what lies outside is refused once, before any class; a family without prefixes wholly',
    async (t) => {
      const classes = [classify({}, ...all), classify({ med: 7 }, 'fd00::3')]
      const { exports } = planPolicy({ host, allowed, classes, peers, drain: undefined })
      t.match(exports.slice(0, 2), [
        { conditions: { outsidePrefixSet: 'weir-allowed-ipv4' }, action: 'reject' },
        { conditions: { outsidePrefixSet: undefined, families: ['ipv6'] }, action: 'reject' },
      ])
      t.notOk(exports.slice(2).some(({ action }) => action === 'reject'))
    },
  )

  await t.test('one statement serves both families where nothing differs between them', async (t) => {
    const plain = [
      policyPeer('10.0.0.1', { families: ['ipv4'] }),
      policyPeer('fd00::1', { families: ['ipv6'] }),
    ]
    const addresses = new Map(plain.map(({ address }) => [address, address]))
    const found = new ExportClassifier(addresses, true).classify(
      exported('203.0.113.7/32', [
        { peers: ['10.0.0.1', 'fd00::1'], attributes: attributes({ prepend: 1 }) },
      ]),
    )
    const facts = { allowed, classes: found ? [found.class] : [], peers: plain, drain: undefined }
    t.match(acceptedBy(planPolicy({ host, ...facts })), [
      { name: /-any$/, conditions: { prefixSet: undefined, routeType: 'local' } },
    ])
    const asGuest = planPolicy({ host: 'kube-router', ...facts }).exports
    t.match(
      asGuest.map(({ action, conditions }) => [action, conditions.prefixSet]),
      [
        ['accept', 'weir-allowed-ipv4'],
        ['accept', 'weir-allowed-ipv6'],
      ],
      "in a host's, nothing is refused, and each names its prefixes",
    )
  })

  await t.test('the drain mark joins what the class says', async (t) => {
    const drain = { communities: ['65535:0'], med: 9, prepend: 1 }
    const classes = [classify({ prepend: 2, localPref: 200 }, ...all)]
    const exports = acceptedBy(planPolicy({ host, allowed, classes, peers, drain }))
    const [internal, external] = exports.filter(({ name }) => name.endsWith('ipv4'))
    t.match(internal?.changes, { localPref: 1, med: { value: 9 }, communities: { communities: ['65535:0'] } })
    t.match(external?.changes, { prepend: { repeat: 3 } })
    t.equal(external?.changes?.localPref, undefined)
  })

  await t.test('imports: nothing of ours, then each filter for its peers', async (t) => {
    const imports: ImportRules = { prefixes: [row('0.0.0.0/0', 0, 24)], maxPrefixes: 10 }
    const importing = [
      policyPeer('10.0.0.1', { imports }),
      policyPeer('10.0.0.4', { imports }),
      policyPeer('10.0.0.5'),
    ]
    const { imports: statements, sets } = planPolicy({
      host,
      allowed,
      classes: [],
      peers: importing,
      drain: undefined,
    })
    t.same(
      statements.map(({ action }) => action),
      ['accept', 'reject', 'accept'],
    )
    const filter = sets.find(({ name }) => name === statements[2]?.conditions.prefixSet)
    t.same(
      filter?.members,
      [{ prefix: '0.0.0.0/0', lengthMin: 1, lengthMax: 24 }],
      'no default route by the way',
    )
    const peersOf = sets.find(({ name }) => name === statements[2]?.conditions.neighborSet)
    t.same(peersOf?.members, ['10.0.0.1', '10.0.0.4'])
    t.equal(planPolicy({ host, allowed, classes: [], peers, drain: undefined }).imports.length, 1)
  })

  await t.test('reflection only between internal peers, of what they may tell', async (t) => {
    const imports: ImportRules = { prefixes: [row('10.244.0.0/16', 24, 24)], maxPrefixes: 10 }
    const client = policyPeer('10.0.0.7', { isInternal: true, isReflectorClient: true, imports })
    const facts = { host, allowed, classes: [], peers: [...peers, client], drain: undefined }
    const [first, ...others] = planPolicy(facts).exports
    t.match(first, { name: 'weir-reflect-ipv4', conditions: { routeType: 'internal' } })
    t.ok(
      others.every(({ action }) => action === 'reject'),
      'before what lies outside our own prefixes is refused',
    )
  })

  await t.test('no neighbor set is ever empty', async (t) => {
    const classes = [classify({}, '10.0.0.1')]
    const { sets } = planPolicy({ host, allowed, classes, peers: [], drain: undefined })
    t.notOk(sets.some((set) => set.kind === 'neighbor' && set.members.length === 0))
  })
})

t.test('learned routes', async (t) => {
  const route = (prefix: string, neighbor: string, nextHop = neighbor): Route => ({
    prefix,
    family: prefix.includes(':') ? 'ipv6' : 'ipv4',
    neighbor,
    nextHop,
    sourceAsn: 65001,
    sourceId: '',
    isBest: true,
    isStale: false,
    isFiltered: false,
    isNextHopInvalid: false,
    sinceMs: 0,
  })
  const best = (...routes: Route[]): BestRoutes[] => [
    { prefix: routes[0]?.prefix ?? '', family: routes[0]?.family ?? 'ipv4', routes },
  ]
  const make = (maxPrefixes = 100) => {
    const learned = new LearnedRoutes()
    const rules = {
      prefixes: [row('10.0.0.0/8', 8, 24), row('0.0.0.0/0', 0, 0), row('fd00::/8', 16, 64)],
      maxPrefixes,
    }
    const peers = ['192.0.2.1', '192.0.2.2'].map((address) => ({ name: address, source: '', address, rules }))
    const unnumbered = { name: 'u', source: '', address: 'fe80::1', rules, interfaceIndex: 7 }
    learned.configure([...peers, unnumbered], [row('10.9.0.0/16', 32, 32)])
    return learned
  }
  const hops = (learned: LearnedRoutes, prefix: string) =>
    learned.routes
      .get(prefix as Prefix)
      ?.nextHops.map(({ gateway, index }) => (index ? `${gateway}%${index}` : gateway))

  await t.test('what is let in', async (t) => {
    const cases = [
      ['10.1.0.0/16', true],
      ['10.1.2.128/25', false],
      ['192.168.0.0/16', false],
      ['10.9.0.0/16', false],
      ['10.9.1.0/24', false],
      ['10.0.0.0/8', true],
      ['0.0.0.0/0', true],
      ['fd01::/64', true],
    ] as const
    for (const [prefix, isIn] of cases) {
      const learned = make()
      learned.apply(best(route(prefix, '192.0.2.1')))
      t.equal(hops(learned, prefix) !== undefined, isIn, prefix)
    }
    const learned = make()
    learned.apply(best(route('10.1.0.0/16', '192.0.2.77')))
    t.equal(learned.routes.size, 0, 'from a peer without rules')
  })

  await t.test('several next hops, each once; link-local ones with their interface', async (t) => {
    const learned = make()
    const one = route('10.1.0.0/16', '192.0.2.2')
    learned.apply(
      best(one, route('10.1.0.0/16', '192.0.2.1'), route('10.1.0.0/16', 'fe80::1%eth7', 'fe80::1')),
    )
    t.same(hops(learned, '10.1.0.0/16'), ['192.0.2.1', '192.0.2.2', 'fe80::1%7'])
    t.same([...learned.apply(best(one))], ['10.1.0.0/16'])
    t.same([...learned.apply(best(one))], [], 'the same again is no change')
    t.same([...learned.apply([{ prefix: '10.1.0.0/16', family: 'ipv4', routes: [] }])], ['10.1.0.0/16'])
    t.equal(learned.routes.size, 0)
  })

  await t.test(
    'the maximum: what is there stays, whatever comes and in which order it is told again',
    async (t) => {
      const learned = make(2)
      const told = ['10.3.0.0/16', '10.2.0.0/16', '10.1.0.0/16'].map((prefix) => route(prefix, '192.0.2.1'))
      for (const one of told) learned.apply(best(one))
      t.same([...learned.routes.keys()], ['10.3.0.0/16', '10.2.0.0/16'])
      t.same(
        learned.overflowing.map(({ name }) => name),
        ['192.0.2.1'],
      )
      learned.apply(best(route('10.4.0.0/16', '192.0.2.2')))
      t.ok(learned.routes.has('10.4.0.0/16' as Prefix), 'each peer has its own')
      t.same([...learned.reset(told.toReversed())], ['10.4.0.0/16'])
      t.same([...learned.routes.keys()].sort(), ['10.2.0.0/16', '10.3.0.0/16'])
      learned.reset(told.slice(0, 2))
      t.same(learned.overflowing, [])
    },
  )
})

t.test('what the kernel says of passwords', async (t) => {
  const netstat =
    'TcpExt: A TCPMD5NotFound TCPMD5Unexpected TCPMD5Failure B\nTcpExt: 1 2 3 4 5\nIpExt: X\nIpExt: 9\n'
  t.same(parseMd5Counters(netstat), { notFound: 2, unexpected: 3, failure: 4 })
  t.same(parseMd5Counters(''), { notFound: 0, unexpected: 0, failure: 0 })
  const tcp = `  sl  local_address rem_address   st
   0: 0101FE0A:9C40 0001FE0A:00B3 02 00000001:00000000
   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000`
  t.same(parseUnanswered(tcp), ['10.254.1.0 179'])
  const tcp6 = '   0: 00000000000000000000000000000000:1 B80D01200000000000000000010000FF:00B3 02 x'
  t.match(parseUnanswered(tcp6), [/^2001:db8::.* 179$/])

  const none: Md5Counters = { failure: 0, notFound: 0, unexpected: 0 }
  const peer = { hasPassword: true, isSilent: true, isThere: true }
  const open = { ...peer, hasPassword: false }
  const unknown = { isThere: false }
  const AUTHENTICATION = 'authentication-failing'
  const cases = [
    [
      peer,
      { ...none, failure: 3 },
      /another password: the kernel dropped 3 segments with a wrong/,
      AUTHENTICATION,
    ],
    [
      peer,
      { ...none, notFound: 1 },
      /router has no password: the kernel dropped 1 segment without/,
      AUTHENTICATION,
    ],
    [
      open,
      { ...none, unexpected: 2 },
      /router has a password and this peer has none: the kernel/,
      AUTHENTICATION,
    ],
    [peer, none, /does not answer our signed SYN: likely it has another password or none/, AUTHENTICATION],
    [{ ...peer, ...unknown }, none, /does not answer our signed SYN: it is off or cut off/, undefined],
    [
      open,
      none,
      /does not answer our SYN: likely it wants a password, and this peer has none/,
      'peer-silent',
    ],
    [
      { ...open, ...unknown },
      none,
      /does not answer our SYN: it is off or cut off, or it wants a pass/,
      undefined,
    ],
    [{ ...peer, isSilent: false }, none, undefined, undefined],
    [{ ...open, isSilent: false }, { ...none, failure: 3, notFound: 1 }, undefined, undefined],
  ] as const
  for (const [who, grown, expected, code] of cases) {
    const said = diagnose(who, grown, true)
    if (expected === undefined) t.equal(said, undefined)
    else t.match(said?.text, expected)
    t.equal(said?.problem?.code, code)
    if (said) t.ok(said.mend.length > 0)
  }
  t.match(diagnose(peer, { ...none, failure: 1 }, false)?.text, /^perhaps /)
  const blank = { ...peer, hasBlank: true }
  t.match(diagnose(blank, none, true), {
    text: /; ours holds a blank, and FRR/,
    problem: { text: /; ours holds a blank, and FRR/ },
  })
  t.equal(diagnose({ ...blank, isSilent: false }, none, true), undefined)
})
