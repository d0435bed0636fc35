// The compiler's small parts: sets of ports, numbers at rest, names of rules, prefixes around prefixes.

import fc from 'fast-check'
import t from 'tap'
import type { Address, Prefix } from '../../../../src/model/address.ts'
import { NumberPool } from '../../../../src/policy/compile/number-pool.ts'
import { PrefixIndex, placeOfAddress, placeOfPrefix } from '../../../../src/policy/compile/prefix-index.ts'
import { FIRST_RULE, RULE_OWN_NODE } from '../../../../src/policy/compile/rows.ts'
import { type NumberedRule, RuleIds, type RuleName } from '../../../../src/policy/compile/rule-ids.ts'
import { rulePorts, spansFor } from '../../../../src/policy/compile/rule-ports.ts'
import { cutSpans, joinSpans, type Span } from '../../../../src/policy/compile/spans.ts'

const SMALL = 40

const spansArbitrary = fc
  .array(
    fc
      .tuple(fc.nat({ max: SMALL }), fc.nat({ max: 6 }))
      .map(([first, more]) => ({ first, last: first + more })),
  )
  .map((spans) => ({ spans, joined: joinSpans(spans) }))

const has = (spans: readonly Span[], port: number) =>
  spans.some(({ first, last }) => port >= first && port <= last)
const isAscending = (spans: readonly Span[]) =>
  spans.every(({ first, last }, index) => first <= last && first > (spans[index - 1]?.last ?? -1))

t.test('sets of ports are joined and cut port by port', async (t) => {
  fc.assert(
    fc.property(spansArbitrary, spansArbitrary, (a, b) => {
      const { inside, outside } = cutSpans(a.joined, b.joined)
      for (let port = 0; port <= SMALL + 8; port += 1) {
        if (has(a.joined, port) !== has(a.spans, port)) return false
        if (has(inside, port) !== (has(a.joined, port) && has(b.joined, port))) return false
        if (has(outside, port) !== (has(a.joined, port) && !has(b.joined, port))) return false
      }
      return isAscending(a.joined) && isAscending(inside) && isAscending(outside)
    }),
  )
  t.pass()
})

t.test('a rule has the ports of each protocol, and names read as the ports of one pod', async (t) => {
  const ports = rulePorts([
    { kind: 'ports', protocol: 'tcp', first: 80, last: 90 },
    { kind: 'ports', protocol: 'udp', first: 0, last: 65535 },
    { kind: 'icmp', family: 'ipv6', type: 128 },
    { kind: 'named', protocol: undefined, name: 'http' },
    { kind: 'named', protocol: 'sctp', name: 'sig' },
  ])
  const owned = [
    { name: 'http', protocol: 'tcp', port: 8080 },
    { name: 'http', protocol: 'sctp', port: 8081 },
    { name: 'sig', protocol: 'tcp', port: 1 },
    { name: 'other', protocol: 'tcp', port: 2 },
  ] as const
  const all = [0, 1, 2, 3, 4, 5].map((protocol) => spansFor(ports, protocol, owned))
  t.strictSame(all, [
    [
      { first: 80, last: 90 },
      { first: 8080, last: 8080 },
    ],
    [{ first: 0, last: 65535 }],
    [{ first: 8081, last: 8081 }],
    [],
    [{ first: 128, last: 128 }],
    [],
  ])
  t.strictSame(ports.explicit[1], [], 'a protocol as a whole names no port')
})

t.test('a number given back rests before it is taken again', async (t) => {
  const pool = new NumberPool({ first: 5, last: 7 }, 100)
  pool.keepForeign([6, 99])
  t.strictSame(
    [pool.take(0), pool.take(0), pool.take(0)],
    [5, 7, undefined],
    'but for one that an earlier agent uses',
  )
  pool.give(7, 10)
  pool.give(5, 20)
  t.equal(pool.take(109), undefined)
  t.strictSame([pool.take(110), pool.take(110), pool.take(120)], [7, undefined, 5], 'oldest first')
})

t.test('a rule keeps its number while its policy has it, and its name for a while longer', async (t) => {
  const name = (index: number): RuleName => ({
    kind: 'NetworkPolicy',
    key: 'shop/web',
    part: 0,
    direction: 'ingress',
    index,
    path: `spec.ingress[${index}]`,
  })
  const ids = new RuleIds()
  const first = ids.take(name(0))
  t.equal(first, FIRST_RULE)
  t.equal(ids.take(name(0)), first, 'used twice')
  t.equal(ids.take(name(1)), first + 1)
  ids.give(first)
  ids.give(first)
  t.strictSame(ids.nameOf(first), name(0), 'gone, and still known')
  t.equal(ids.take(name(2)), first + 2, 'nobody gets its number')
  t.equal(ids.take(name(0)), first, 'but itself')
  t.equal(ids.nameOf(RULE_OWN_NODE), 'own-node')
  t.equal(ids.nameOf(999), undefined)
})

t.test('numbers outlive who gave them: known ones are taken again, and no other rule has them', async (t) => {
  const name = (key: string, index = 0): RuleName => ({
    ...{ kind: 'NetworkPolicy', key, part: 0, direction: 'ingress', index },
    path: `spec.ingress[${index}]`,
  })
  const told: NumberedRule[] = []
  const before = new RuleIds({ onNew: ({ id, name }) => void told.push({ id, name }) })
  const [a, b] = [before.take(name('a')), before.take(name('b'))]
  before.give(b)
  t.match([...before.list()], [{ id: b }, { id: a }], 'gone ones first')
  t.match(told, [{ id: a }, { id: b }])
  const next = new RuleIds({ next: before.next, known: before.list() })
  t.strictSame([next.nameOf(a), next.nameOf(b)], [name('a'), name('b')], 'known before anybody takes it')
  next.beginAnew(a + 3)
  t.equal(next.take(name('c')), a + 4, 'above what rows carry that nobody knows the name of')
  t.equal(next.take(name('a')), a)
  t.strictSame([next.size, next.nameOf(b)], [3, name('b')])

  next.beginAnew(0)
  t.equal(next.take(name('b')), b, 'another compiler finds them too')
  next.give(b)
  t.strictSame([next.nameOf(a), next.next], [name('a'), a + 5])

  const torn = new RuleIds({
    known: [
      { id: 20, name: name('x') },
      { id: 21, name: name('x') },
      { id: 22, name: name('y') },
      { id: 22, name: name('z') },
    ],
  })
  t.strictSame(
    [20, 21, 22].map((id) => torn.nameOf(id)),
    [undefined, name('x'), name('z')],
    'of two that contradict each other the later one',
  )
  t.strictSame([torn.take(name('y')), torn.take(name('x'))], [23, 21])
})

t.test('the longest prefix around an address or prefix is found', async (t) => {
  const index = new PrefixIndex()
  const list = ['0.0.0.0/0', '10.0.0.0/8', '10.1.0.0/16', '10.1.2.3/32', '::/0', 'fd00::/8'] as Prefix[]
  for (const prefix of list) index.add(prefix)
  const at = (address: string) => index.longest(placeOfAddress(address as Address))
  t.equal(at('10.1.2.3'), '10.1.2.3/32')
  t.equal(at('10.1.2.4'), '10.1.0.0/16')
  t.equal(at('10.2.0.1'), '10.0.0.0/8')
  t.equal(at('11.0.0.1'), '0.0.0.0/0')
  t.equal(at('fd00::1'), 'fd00::/8')
  t.equal(at('fe80::1'), '::/0')
  const inner = placeOfPrefix('10.1.0.0/16' as Prefix)
  t.equal(index.longest(inner), '10.1.0.0/16', 'itself')
  t.equal(index.longest(inner, inner.length), '10.0.0.0/8', 'the one around it')
  index.delete('10.1.0.0/16' as Prefix)
  t.equal(at('10.1.2.4'), '10.0.0.0/8')
})
