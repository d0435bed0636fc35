// Prefixes by the thousand: which lie in which, against asking every one, and how often anybody is asked.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { type Prefix, parseNetwork } from '../../../../src/model/address.ts'
import type { PolicyPeer } from '../../../../src/model/policy.ts'
import { Identities, type Identity } from '../../../../src/policy/compile/identities.ts'
import { type Peer, Peers } from '../../../../src/policy/compile/peers.ts'
import { PrefixIndex, placeOfPrefix } from '../../../../src/policy/compile/prefix-index.ts'
import { OUTSIDER } from '../../../../src/policy/compile/traits.ts'
import * as plain from '../rows.ts'
import { allow, Bed, network, pod, policy, putPods, putPolicies, rows } from './bed.ts'

const known = new Map<Prefix, string>()
function bitsOf(prefix: Prefix): string {
  const made = known.get(prefix) ?? bitsRead(prefix)
  known.set(prefix, made)
  return made
}
function bitsRead(prefix: Prefix): string {
  const { family, length, words } = placeOfPrefix(prefix)
  const bits = words.map((word) => (word >>> 0).toString(2).padStart(32, '0')).join('')
  return `${family} ${bits.slice(0, length)}`
}
const isIn = (outer: Prefix, inner: Prefix) => bitsOf(inner).startsWith(bitsOf(outer))
const lengthOf = (prefix: Prefix) => Number(prefix.slice(prefix.indexOf('/') + 1))

/** Few bits that differ, some beyond the first word and some by which numbers are negative: many lie in one another. */
const prefixArbitrary = fc.oneof(
  fc
    .tuple(fc.constantFrom('0', '10', '128', '255'), fc.nat({ max: 3 }), fc.nat({ max: 32 }))
    .map(([first, last, length]) => parseNetwork(`${first}.0.128.${last}/${length}`) as Prefix),
  fc
    .tuple(fc.constantFrom('::', '8000::', '8000:0:0:1::'), fc.nat({ max: 3 }), fc.nat({ max: 128 }))
    .map(([first, last, length]) => parseNetwork(`${first}${last}/${length}`) as Prefix),
)

t.test('which prefixes lie in which is found as by asking every one', async (t) => {
  const lists = fc.array(prefixArbitrary, { maxLength: 24 })
  fc.assert(
    fc.property(lists, lists, prefixArbitrary, fc.nat({ max: 130 }), (added, deleted, asked, below) => {
      const index = new PrefixIndex(added)
      for (const prefix of deleted) index.delete(prefix)
      const left = [...new Set(added)].filter((prefix) => !deleted.includes(prefix))
      const place = placeOfPrefix(asked)
      const around = left.filter((prefix) => isIn(prefix, asked)).sort((a, b) => lengthOf(a) - lengthOf(b))
      assert.deepEqual([...index.around(place)], around)
      assert.equal(index.covers(place), around.length > 0)
      assert.equal(index.longest(place), around.at(-1))
      assert.equal(
        index.longest(place, below),
        around.findLast((prefix) => lengthOf(prefix) < below),
      )
      assert.deepEqual(new Set(index.within(place)), new Set(left.filter((prefix) => isIn(asked, prefix))))
      const outermost = left.filter((prefix) =>
        left.every((other) => other === prefix || !isIn(other, prefix)),
      )
      assert.deepEqual([...index.outermost()].sort(), outermost.sort())
    }),
    { numRuns: 200 },
  )
  t.pass()
})

const COUNT = 1000
const nth = (index: number) => `100.${64 + (index >> 8)}.${index & 255}.0/24` as Prefix
const many = Array.from({ length: COUNT }, (_, index) => nth(index))
const group = (...except: readonly string[]): PolicyPeer => ({
  kind: 'network-groups',
  groups: { name: 'many' },
  except: except.map(plain.prefix),
  covers: 'outside',
})

/** Identities of the outside, and how often it was asked where one lies: once by whoever looks for its peers, and once by each peer asked. */
function counted() {
  const identities = new Identities(0)
  let asked = 0
  const add = (prefix: Prefix): Identity => {
    const { identity } = identities.take({ ...OUTSIDER, prefix }, 0)
    const { place } = identity
    Object.defineProperty(identity, 'place', {
      get: () => {
        asked += 1
        return place
      },
    })
    return identity
  }
  const askedBy = (what: () => void): number => {
    const before = asked
    what()
    return asked - before
  }
  return { identities, add, askedBy }
}

t.test('a prefix asks whom it covers, and nobody else', async (t) => {
  const { identities, add, askedBy } = counted()
  let prefixes: readonly Prefix[] = many
  const peers = new Peers(identities, () => new Set(prefixes))
  const inMany = many.map(add)
  add('198.51.100.0/24' as Prefix)
  const made: Peer[] = []
  const take = (peer: PolicyPeer) => askedBy(() => made.push(peers.take(peer)))

  t.equal(
    many.reduce((sum, prefix) => sum + take(network(prefix)), 0),
    COUNT,
    'as many single ones',
  )
  t.ok(
    made.every(({ members }) => members.size === 1),
    'each means its own',
  )
  t.equal(take(network('100.64.0.0/10', many.slice(1))), COUNT, 'one around them all, but for all but one')
  t.strictSame([...(made.at(-1)?.members ?? [])], inMany.slice(0, 1))
  t.equal(take(group(nth(7))), COUNT, 'a group of them')
  const grouped = made.at(-1)
  t.equal(grouped?.members.size, COUNT - 1)

  const more = '203.0.113.0/24' as Prefix
  let fresh: Identity | undefined
  t.equal(
    askedBy(() => {
      fresh = add(more)
      peers.greet(fresh)
    }),
    1,
    'a new one that nobody means',
  )
  prefixes = [...many, more]
  let changed: ReadonlyMap<Peer, ReadonlySet<Identity>> = new Map()
  const refresh = () => {
    changed = peers.refreshGroups(new Map([['many', true]]))
  }
  t.equal(askedBy(refresh), 1, 'a group with one more')
  t.strictSame(
    [...changed].map(([peer, moved]) => [peer === grouped, [...moved]]),
    [[true, [fresh]]],
  )
  prefixes = many
  t.equal(askedBy(refresh), 1, 'and without it again')
  t.equal(grouped?.members.size, COUNT - 1)
  t.equal(askedBy(refresh), 0, 'and the same once more')
  t.equal(changed.size, 0)
})

t.test('one prefix more, of a group or a rule, writes what is its own', async (t) => {
  const groupOf = (prefixes: readonly Prefix[]) => ({
    networkGroups: new Map([['many', { name: 'many', labels: {}, prefixes }]]),
  })
  const ruleOf = (prefixes: readonly string[]) =>
    putPolicies(policy('listed', { app: 'listed' }, [allow(prefixes.map((prefix) => network(prefix)))]))
  const more = '203.0.113.0/24' as Prefix
  const bed = new Bed()
  bed.apply(putPods(pod('a', '10.0.0.1', { app: 'grouped' }), pod('b', '10.0.0.2', { app: 'listed' })))
  bed.apply({ ...groupOf(many), ...putPolicies(policy('grouped', { app: 'grouped' }, [allow([group()])])) })
  bed.apply(ruleOf(many))
  const cases = [
    ['10.0.0.1', groupOf],
    ['10.0.0.2', ruleOf],
  ] as const
  for (const [pod, of] of cases) {
    const isLetIn = (source: string) => bed.decide(source, pod)?.isAllowed
    t.strictSame([isLetIn('100.64.5.1'), isLetIn('203.0.113.5')], [true, false])
    const put = bed.apply(of([...many, more]))
    t.ok(rows(put, 'identities') <= 1)
    t.equal(rows(put, 'peers'), 1)
    t.strictSame([isLetIn('100.64.5.1'), isLetIn('203.0.113.5')], [true, true])
    const taken = bed.apply(of(many.slice(1)))
    t.equal(rows(taken, 'peers'), 2, 'two less')
    t.strictSame([isLetIn('100.64.5.1'), isLetIn('203.0.113.5'), isLetIn('100.64.0.1')], [true, false, false])
  }
})
