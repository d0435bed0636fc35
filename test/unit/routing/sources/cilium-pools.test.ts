import t from 'tap'
import type { Prefix } from '../../../../src/model/address.ts'
import { rangeText } from '../../../../src/model/address-range.ts'
import type { Announcement } from '../../../../src/model/announcement.ts'
import type { CiliumAddressPool } from '../../../../src/model/cilium.ts'
import { toSelector } from '../../../../src/model/label-selector.ts'
import type { AddressPool } from '../../../../src/routing/address-pools.ts'
import { allowedPrefixes } from '../../../../src/routing/allowed.ts'
import { AnnouncementGuard } from '../../../../src/routing/guard.ts'
import { joinPools, poolConditions, takenByNodes } from '../../../../src/routing/sources/cilium-pools.ts'
import { node } from './rows.ts'

const FILE: readonly AddressPool[] = [{ name: 'default', prefixes: ['203.0.113.0/24' as Prefix] }]

interface Given extends Partial<Omit<CiliumAddressPool, 'blocks'>> {
  readonly blocks?: readonly { cidr?: string; start?: string; stop?: string }[]
}

function pool(
  name: string,
  { blocks = [{ cidr: '198.51.100.0/30' }], ...more }: Given = {},
): CiliumAddressPool {
  return {
    name,
    uid: name,
    generation: 1,
    createdMs: 1,
    conditions: [],
    blocks: blocks.map(({ cidr, start, stop }) => ({ cidr, start, stop })),
    selector: undefined,
    isDisabled: false,
    allowsFirstLast: true,
    ...more,
  }
}

const join = (cilium: readonly CiliumAddressPool[], prefixesMax = 10) =>
  joinPools({ file: FILE, cilium, taken: takenByNodes([node(1)]), prefixesMax })

t.test('blocks become prefixes, and what is given of them', async (t) => {
  const cases: readonly [string, Given, string, string][] = [
    ['a network', {}, '198.51.100.0/30', '198.51.100.0-198.51.100.3'],
    ['without its edges', { allowsFirstLast: false }, '198.51.100.0/30', '198.51.100.1-198.51.100.2'],
    [
      'a network of two has none',
      { allowsFirstLast: false, blocks: [{ cidr: '198.51.100.0/31' }] },
      '198.51.100.0/31',
      '198.51.100.0-198.51.100.1',
    ],
    [
      'a range has none either',
      { allowsFirstLast: false, blocks: [{ start: '198.51.100.4', stop: '198.51.100.8' }] },
      '198.51.100.4/30 198.51.100.8/32',
      '198.51.100.4-198.51.100.8',
    ],
    ['one address', { blocks: [{ start: '198.51.100.4' }] }, '198.51.100.4/32', '198.51.100.4-198.51.100.4'],
    [
      'host bits are cut off',
      { blocks: [{ cidr: '2001:db8::5/126' }] },
      '2001:db8::4/126',
      '2001:db8::4-2001:db8::7',
    ],
  ]
  for (const [name, given, prefixes, ranges] of cases) {
    const { pools, problems } = join([pool('blue', given)])
    t.same(problems, [], name)
    t.equal(pools[0], FILE[0])
    t.equal(pools[1]?.prefixes.join(' '), prefixes, name)
    t.equal(pools[1]?.ranges?.map(rangeText).join(' '), ranges, name)
  }
})

t.test('an address is of one pool: the file goes first, then the older', async (t) => {
  const cases: readonly [string, readonly CiliumAddressPool[], Record<string, RegExp | undefined>][] = [
    [
      'apart',
      [pool('a'), pool('b', { blocks: [{ cidr: '198.51.100.4/30' }] })],
      { a: undefined, b: undefined },
    ],
    ['the younger', [pool('young', { createdMs: 2 }), pool('old')], { old: undefined, young: /of pool old/ }],
    ['as old: by name', [pool('b'), pool('a')], { a: undefined, b: /of pool a/ }],
    ["the file's", [pool('a', { blocks: [{ start: '203.0.113.7' }] })], { a: /of pool default/ }],
    ['its name', [pool('default')], { default: /has a pool of this name/ }],
    [
      'itself',
      [pool('a', { blocks: [{ cidr: '198.51.100.0/30' }, { start: '198.51.100.3' }] })],
      { a: /of its own/ },
    ],
    [
      "a node's address",
      [pool('a', { blocks: [{ cidr: '10.255.0.0/24' }] })],
      { a: /belongs to node node1/ },
    ],
    [
      "a node's pods",
      [pool('a', { blocks: [{ start: '10.244.1.9' }] })],
      { a: /belongs to pods of node node1/ },
    ],
    [
      'no network',
      [pool('a', { blocks: [{ cidr: '198.51.100.0' }] })],
      { a: /spec.blocks\[0\] '198.51.100.0' is no network/ },
    ],
    ['everything', [pool('a', { blocks: [{ cidr: '0.0.0.0/0' }] })], { a: /is no network/ }],
    [
      'two families',
      [pool('a', { blocks: [{ start: '198.51.100.1', stop: '2001:db8::' }] })],
      { a: /is no network/ },
    ],
    ['disabled', [pool('a', { isDisabled: true })], { a: /it is disabled/ }],
  ]
  for (const [name, cilium, expected] of cases) {
    const { pools, problems } = join(cilium)
    for (const [which, why] of Object.entries(expected)) {
      const found = pools.findLast((one) => one.name === which)
      if (why === undefined) t.equal(found?.closed, undefined, name)
      else t.match(found?.closed, why, name)
      const isConflict = why !== undefined && name !== 'disabled'
      t.equal(
        problems.some(({ source }) => source.endsWith(` ${which}`)),
        isConflict,
        `${name}: told`,
      )
    }
  }
})

t.test("what is a node's or a pod's never leaves as an address of a pool", async (t) => {
  const { pools } = join([pool('a', { blocks: [{ cidr: '10.255.0.0/30' }, { cidr: '10.244.0.0/23' }] })])
  const row = pools.find(({ name }) => name === 'a')
  t.match(row?.closed, /belongs to/)
  t.same(row?.prefixes, ['10.255.0.0/32', '10.255.0.2/31', '10.244.0.0/24'])
  const guard = new AnnouncementGuard({ allowed: allowedPrefixes({ loopbacks: [], podCidrs: [], pools }) })
  const ask = (text: string): Announcement => ({
    prefix: text as Prefix,
    family: 'ipv4',
    source: 'service',
    why: 'a status says so',
  })
  const asked = ['10.255.0.1/32', '10.244.1.9/32', '10.255.0.2/32']
  guard.apply(asked.map((text) => [text, ask(text)] as const))
  t.same([...guard.accepted.keys()], ['10.255.0.2/32'])
})

t.test('one that would take too many prefixes is left out', async (t) => {
  const wide = pool('wide', { blocks: [{ start: '198.51.100.1', stop: '198.51.100.254' }], createdMs: 1 })
  const { pools } = join([wide, pool('next', { blocks: [{ cidr: '192.0.2.0/24' }], createdMs: 2 })])
  t.match(pools, [
    {},
    { name: 'wide', prefixes: [], closed: /more than 10/ },
    { name: 'next', closed: undefined },
  ])
})

t.test("selectors see Cilium's names of namespace and name", async (t) => {
  const selector = toSelector({ matchLabels: { 'io.kubernetes.service.namespace': 'bank' } })
  t.equal(join([pool('a', { selector })]).pools[1]?.services, selector)
})

t.test('conditions say what conflicts and how many there are', async (t) => {
  const of = (given: Given, used: number) => {
    const object = pool('a', given)
    const { pools } = join([object])
    const joined = pools.at(-1)
    return (
      joined &&
      poolConditions(object, joined, used)?.map(({ type, status, message }) => `${type} ${status} ${message}`)
    )
  }
  t.same(of({}, 1), [
    'cilium.io/PoolConflict False ',
    'cilium.io/IPsTotal Unknown 4',
    'cilium.io/IPsAvailable Unknown 3',
    'cilium.io/IPsUsed Unknown 1',
  ])
  t.match(
    of({ blocks: [{ start: '203.0.113.7' }] }, 0)?.[0],
    /PoolConflict True 203.0.113.7.* of pool default/,
  )
  t.match(of({ isDisabled: true }, 0)?.[0], /PoolConflict False/)
  t.equal(
    of({ blocks: [{ cidr: '2001:db8::/64' }] }, 0)?.[1],
    'cilium.io/IPsTotal Unknown 18446744073709551616',
  )
  const told = poolConditions(pool('a'), join([pool('a')]).pools[1] as AddressPool, 1) ?? []
  const conditions = told.map((one) => ({ ...one, lastTransitionTime: '' }))
  t.equal(poolConditions(pool('a', { conditions }), join([pool('a')]).pools[1] as AddressPool, 1), undefined)
})
