// Which pool, which address, and with whom: what Services ask for, and what they are told when they do not get it.

import t from 'tap'
import { address, type Family, type Prefix } from '../../../src/model/address.ts'
import { parseRange } from '../../../src/model/address-range.ts'
import { toSelector } from '../../../src/model/label-selector.ts'
import { type AddressWish, objectKey, type SharingWish } from '../../../src/model/service.ts'
import type { AddressPool } from '../../../src/routing/address-pools.ts'
import { whyNotShared } from '../../../src/routing/address-sharing.ts'
import { type AddressClaim, AddressLedger } from '../../../src/routing/allocate-addresses.ts'

const range = (text: string) => {
  const parsed = parseRange(text)
  if (!parsed) throw new Error(text)
  return parsed
}

const POOLS: readonly AddressPool[] = [
  { name: 'default', prefixes: ['203.0.113.0/29' as Prefix, '2001:db8:113::/112' as Prefix] },
  {
    name: 'gold',
    prefixes: ['198.51.100.0/30' as Prefix],
    services: toSelector({ matchLabels: { tier: 'gold' } }),
    priority: 10,
  },
  { name: 'bank', prefixes: ['198.51.100.64/30' as Prefix], namespaces: ['bank'], priority: 10 },
  { name: 'asked', prefixes: ['198.51.100.128/30' as Prefix], isOnRequest: true, priority: 20 },
  { name: 'closed', prefixes: ['198.51.100.192/30' as Prefix], closed: 'it is disabled', priority: 30 },
  {
    name: 'range',
    prefixes: ['192.0.2.10/31' as Prefix],
    ranges: [range('192.0.2.10-192.0.2.11')],
    namespaces: ['range'],
    priority: 10,
  },
]

interface Given extends Partial<Omit<AddressClaim, 'held' | 'wish'>> {
  readonly held?: readonly string[]
  readonly asks?: readonly string[]
  readonly pool?: string
  readonly invalid?: string
}

const share = (key: string, more: Partial<SharingWish> = {}): SharingWish => ({
  key,
  namespaces: [],
  pods: 'app=web',
  ...more,
})

function claim(name: string, { held = [], asks = [], pool, invalid, ...more }: Given = {}): AddressClaim {
  const wish: AddressWish = { addresses: asks.map(address), pool, sharing: more.sharing, invalid }
  const [namespace, own] = name.includes('/') ? name.split('/') : ['shop', name]
  return {
    service: objectKey(namespace ?? '', own ?? ''),
    labels: {},
    families: ['ipv4'],
    held: held.map(address),
    wish,
    sharing: undefined,
    ports: [{ protocol: 'TCP', port: 80 }],
    trafficPolicy: 'Cluster',
    isForeign: false,
    createdMs: 1,
    ...more,
  }
}

function decide(claims: readonly AddressClaim[], pools = POOLS) {
  const ledger = new AddressLedger(pools)
  for (const one of claims) ledger.set(one.service, one)
  return Object.fromEntries(
    ledger
      .decide()
      .map(({ service, addresses, problems }) => [
        service,
        [...addresses, ...problems.map(({ reason }) => reason)].join(' '),
      ]),
  )
}

t.test('one Service: the address it gets, or the reason why it gets none', async (t) => {
  const dual: readonly Family[] = ['ipv4', 'ipv6']
  const cases: readonly [string, AddressClaim, string][] = [
    ['the pool for everybody', claim('a'), '203.0.113.1'],
    ['the pool of its labels, which comes first', claim('a', { labels: { tier: 'gold' } }), '198.51.100.1'],
    ['the pool of its namespace', claim('bank/a'), '198.51.100.65'],
    ['a range has no edges', claim('range/a'), '192.0.2.10'],
    ['a pool on request is no pool for others', claim('a', { held: [] }), '203.0.113.1'],
    ['a pool by name', claim('a', { pool: 'asked' }), '198.51.100.129'],
    ['a pool by name that there is not', claim('a', { pool: 'silver' }), 'UnknownPool'],
    ['a pool by name that is for others', claim('a', { pool: 'gold' }), 'AddressNotForService'],
    ['a pool by name that gives nothing', claim('a', { pool: 'closed' }), 'PoolClosed'],
    ['a pool by name without the family', claim('a', { pool: 'asked', families: ['ipv6'] }), 'NoPool'],
    ['an address', claim('a', { asks: ['203.0.113.5'] }), '203.0.113.5'],
    ['an address of a pool on request', claim('a', { asks: ['198.51.100.130'] }), '198.51.100.130'],
    ['an address outside', claim('a', { asks: ['192.0.2.200'] }), 'AddressOutsidePools'],
    ['an address of a pool for others', claim('a', { asks: ['198.51.100.1'] }), 'AddressNotForService'],
    ['an address of a closed pool', claim('a', { asks: ['198.51.100.193'] }), 'PoolClosed'],
    ['an edge', claim('a', { asks: ['203.0.113.0'] }), 'AddressReserved'],
    [
      'an address of another pool than it names',
      claim('a', { asks: ['203.0.113.5'], pool: 'asked' }),
      'AddressNotForService',
    ],
    [
      'an address of a family that it has not',
      claim('a', { asks: ['2001:db8:113::5'] }),
      '203.0.113.1 InvalidRequest',
    ],
    [
      'one of each family',
      claim('a', { asks: ['2001:db8:113::5', '203.0.113.5'], families: dual }),
      '203.0.113.5 2001:db8:113::5',
    ],
    [
      'one of one family: the other is drawn',
      claim('a', { asks: ['2001:db8:113::5'], families: dual }),
      '203.0.113.1 2001:db8:113::5',
    ],
    ['what cannot be read', claim('a', { invalid: 'no address' }), 'InvalidRequest'],
    ['what is held stays in a closed pool', claim('a', { held: ['198.51.100.193'] }), '198.51.100.193'],
    ['… in one on request', claim('a', { held: ['198.51.100.129'] }), '198.51.100.129'],
    ['… at an edge', claim('a', { held: ['203.0.113.0'] }), '203.0.113.0'],
    ['… but not in a pool for others', claim('a', { held: ['198.51.100.1'] }), '203.0.113.1'],
    [
      '… nor where it asks for another',
      claim('a', { held: ['203.0.113.1'], asks: ['203.0.113.5'] }),
      '203.0.113.5',
    ],
    [
      '… even if it cannot have that',
      claim('a', { held: ['203.0.113.1'], asks: ['192.0.2.200'] }),
      'AddressOutsidePools',
    ],
    [
      '… nor outside the pool it names',
      claim('a', { held: ['203.0.113.1'], pool: 'asked' }),
      '198.51.100.129',
    ],
  ]
  for (const [name, one, expected] of cases) t.equal(decide([one])[one.service], expected, name)
})

t.test('an address that is asked for is given before others are drawn, and to the older', async (t) => {
  const given = decide([
    claim('draws', { createdMs: 1 }),
    claim('old', { asks: ['203.0.113.1'], createdMs: 2 }),
    claim('young', { asks: ['203.0.113.1'], createdMs: 3 }),
  ])
  t.same(given, { 'shop/draws': '203.0.113.2', 'shop/old': '203.0.113.1', 'shop/young': 'AddressInUse' })
})

t.test('a reason names what would mend it', async (t) => {
  const asks = ['203.0.113.1']
  const cases: readonly [AddressClaim, RegExp][] = [
    [claim('a', { pool: 'silver' }), /pool silver, which there is not; there are .*\bgold\b/],
    [claim('a', { asks: ['192.0.2.200'] }), /lies in no pool; ask for one of .*\bgold\b/],
    [claim('a', { asks: ['203.0.113.0'] }), /keeps back .*allowFirstLast/],
    [
      claim('a', { asks, createdMs: 2 }),
      /shop\/old has it, and this Service has no sharing key; .*weir\.network\/sharing-key/,
    ],
  ]
  for (const [one, expected] of cases) {
    const ledger = new AddressLedger(POOLS)
    ledger.set(objectKey('shop', 'old'), claim('old', { asks }))
    ledger.set(one.service, one)
    const problems = ledger.decide().flatMap((grant) => grant.problems)
    t.match(problems.map(({ text }) => text).join(), expected)
  }
})

t.test('who asks for an address waits for it, and gets no other meanwhile', async (t) => {
  const ledger = new AddressLedger(POOLS)
  const decided = (one: AddressClaim | undefined, name: string) => {
    ledger.set(objectKey('shop', name), one)
    return ledger
      .decide()
      .map(
        ({ service, addresses, problems }) => `${service} ${addresses} ${problems.map(({ text }) => text)}`,
      )
  }
  decided(claim('has', { held: ['203.0.113.1'] }), 'has')
  t.match(
    decided(claim('waits', { asks: ['203.0.113.1'], createdMs: 2 }), 'waits').at(-1),
    /shop\/waits {2}203.0.113.1 is asked for, but shop\/has has it/,
  )
  t.same(decided(claim('other', { createdMs: 0 }), 'other'), ['shop/other 203.0.113.2 '])
  t.same(decided(undefined, 'has'), ['shop/waits 203.0.113.1 '])
})

t.test('what another implementation gave is given to nobody, until it is free', async (t) => {
  const ledger = new AddressLedger(POOLS)
  const foreign = claim('foreign', { held: ['203.0.113.1'], families: [], isForeign: true })
  for (const one of [foreign, claim('a'), claim('b', { asks: ['203.0.113.1'] })]) ledger.set(one.service, one)
  const decided = () =>
    ledger
      .decide()
      .map(
        ({ service, addresses, problems }) =>
          `${service} ${addresses} ${problems.map(({ reason }) => reason)}`,
      )
  t.same(decided(), ['shop/a 203.0.113.2 ', 'shop/b  AddressInUse'], 'and nothing is decided of it')
  ledger.set(foreign.service, undefined)
  t.same(decided(), ['shop/b 203.0.113.1 '])
})

t.test('other pools: what is held stays where it may, and who found none looks again', async (t) => {
  const small: AddressPool = { name: 'small', prefixes: ['192.0.2.4/32' as Prefix] }
  const ledger = new AddressLedger([small])
  for (const one of [claim('a'), claim('b', { createdMs: 2 })]) ledger.set(one.service, one)
  const decided = () =>
    ledger
      .decide()
      .map(
        ({ service, addresses, problems }) =>
          `${service} ${addresses} ${problems.map(({ reason }) => reason)}`,
      )
  t.same(decided(), ['shop/a 192.0.2.4 ', 'shop/b  PoolExhausted'])
  ledger.setPools([{ name: 'more', prefixes: ['192.0.2.4/31' as Prefix] }])
  t.same(decided(), ['shop/a 192.0.2.4 ', 'shop/b 192.0.2.5 '])
  t.same([...ledger.usage], [['more', 2]])
  ledger.setPools([{ ...small, namespaces: ['bank'] }])
  t.same(decided(), ['shop/a  NoPool', 'shop/b  NoPool'])
  t.same([...ledger.usage], [['small', 0]])
})

t.test('two Services share an address on the terms that Cilium and MetalLB have', async (t) => {
  const a: Given = { sharing: share('k') }
  const b: Given = { sharing: share('k'), ports: [{ protocol: 'TCP', port: 81 }] }
  const cases: readonly [string, Given, string, Given, RegExp | undefined][] = [
    ['the same key, other ports', a, 'shop/b', b, undefined],
    ['no key here', { ...a, sharing: undefined }, 'shop/b', b, /this Service has no sharing key/],
    ['no key there', a, 'shop/b', { ...b, sharing: undefined }, /that Service has no sharing key/],
    ['another key', a, 'shop/b', { ...b, sharing: share('l') }, /sharing key is 'l'/],
    ['one port', a, 'shop/b', { ...b, ports: [{ protocol: 'TCP', port: 80 }] }, /both have port 80\/TCP/],
    ['one port, another protocol', a, 'shop/b', { ...b, ports: [{ protocol: 'UDP', port: 80 }] }, undefined],
    ['another namespace', a, 'bank/b', b, /different namespaces/],
    [
      'another namespace that only one allows',
      { sharing: share('k', { namespaces: ['bank'] }) },
      'bank/b',
      b,
      /different namespaces/,
    ],
    [
      'another namespace that both allow',
      { sharing: share('k', { namespaces: ['bank'] }) },
      'bank/b',
      { ...b, sharing: share('k', { namespaces: 'all' }) },
      undefined,
    ],
    ['another policy', a, 'shop/b', { ...b, trafficPolicy: 'Local' }, /externalTrafficPolicy differs/],
    [
      'Local, the same pods',
      { ...a, trafficPolicy: 'Local' },
      'shop/b',
      { ...b, trafficPolicy: 'Local' },
      undefined,
    ],
    [
      'Local, other pods',
      { ...a, trafficPolicy: 'Local' },
      'shop/b',
      { ...b, trafficPolicy: 'Local', sharing: share('k', { pods: 'app=mail' }) },
      /selectors differ/,
    ],
  ]
  for (const [name, mine, other, theirs, expected] of cases) {
    const left = claim('shop/a', mine)
    const right = claim(other, { createdMs: 2, ...theirs })
    const why = whyNotShared(left, right)
    if (expected) t.match(why, expected, name)
    else t.equal(why, undefined, name)
    t.equal(whyNotShared(right, left) === undefined, why === undefined, `${name}, the other way round`)
    const given = decide([left, right], POOLS.slice(0, 1))
    t.equal(given['shop/a'], '203.0.113.1')
    t.equal(given[other], expected ? '203.0.113.2' : '203.0.113.1', `${name}: what the younger gets`)
    const wish: AddressWish = {
      addresses: [address('203.0.113.1')],
      pool: undefined,
      sharing: undefined,
      invalid: undefined,
    }
    const asks = decide(
      [
        { ...left, held: wish.addresses },
        { ...right, wish },
      ],
      POOLS.slice(0, 1),
    )
    t.equal(asks[other], expected ? 'AddressInUse' : '203.0.113.1', `${name}: and when it asks`)
  }
})

t.test('who shares nothing is told who is in its way, be it not the eldest', async (t) => {
  const ledger = new AddressLedger(POOLS)
  const on = (name: string, createdMs: number, port: number) =>
    claim(name, { sharing: share('k'), createdMs, ports: [{ protocol: 'TCP', port }] })
  for (const each of [on('old', 1, 25), on('young', 2, 143), on('late', 3, 143)])
    ledger.set(each.service, each)
  const late = ledger.decide().find(({ service }) => service === 'shop/late')
  t.match(
    late?.remarks[0]?.text,
    /shop\/young of sharing key 'k' has 203.0.113.1, but both have port 143\/TCP/,
  )
})

t.test(
  'who shares nothing in spite of its key is told why, and again when that is another reason',
  async (t) => {
    const ledger = new AddressLedger(POOLS)
    const sharing = share('k')
    const one = (name: string, createdMs: number, more: Given = {}) =>
      claim(name, { sharing, createdMs, ports: [{ protocol: 'TCP', port: 80 }], ...more })
    const decided = (...claims: readonly AddressClaim[]) => {
      for (const each of claims) ledger.set(each.service, each)
      return Object.fromEntries(
        ledger
          .decide()
          .map(({ service, addresses, remarks }) => [
            service,
            [...addresses, ...remarks.map(({ reason, text }) => `${reason} ${text}`)].join(' '),
          ]),
      )
    }
    const apart =
      /^203.0.113.2 NotShared 203.0.113.2 is this Service's own: shop\/old of sharing key 'k' has 203.0.113.1, but both have port 80\/TCP; to share, mend that and ask for 203.0.113.1 by annotation weir/
    t.match(decided(one('old', 1), one('young', 2)), { 'shop/old': /^203.0.113.1$/, 'shop/young': apart })
    t.match(decided(one('third', 3, { ports: [{ protocol: 'TCP', port: 81 }] })), {
      'shop/third': /^203.0.113.1$/,
    })
    const held = { held: ['203.0.113.1'] }
    const mended = decided(one('old', 1, { ...held, ports: [{ protocol: 'TCP', port: 82 }] }))
    t.match(mended, {
      'shop/old': /^203.0.113.1$/,
      'shop/young': /but this Service had 203.0.113.2 already.*to share, ask for/,
    })
    t.match(decided(one('young', 2, { asks: ['203.0.113.1'], held: ['203.0.113.2'] })), {
      'shop/young': /^203.0.113.1$/,
    })
    t.match(
      decided(one('own', 4, { asks: ['203.0.113.4'] })),
      { 'shop/own': /^203.0.113.4$/ },
      'as it wishes',
    )
    t.match(decided(one('alone', 5, { sharing: share('l') })), { 'shop/alone': /^203.0.113.\d$/ })
  },
)

t.test('who no longer may share gives way to the older', async (t) => {
  const ledger = new AddressLedger(POOLS.slice(0, 1))
  const sharing = share('k')
  const old = claim('old', { sharing, held: ['203.0.113.1'] })
  const young = claim('young', {
    sharing,
    held: ['203.0.113.1'],
    ports: [{ protocol: 'TCP', port: 81 }],
    createdMs: 2,
  })
  for (const one of [old, young]) ledger.set(one.service, one)
  const decided = () => ledger.decide().map(({ service, addresses }) => `${service} ${addresses}`)
  t.same(decided(), ['shop/old 203.0.113.1', 'shop/young 203.0.113.1'])
  ledger.set(old.service, { ...old, ports: [...old.ports, { protocol: 'TCP', port: 81 }] })
  t.same(decided(), ['shop/old 203.0.113.1', 'shop/young 203.0.113.2'])
})
