// Plans of all VIPs: what changed, what is due, everything when the node changes; and the property that planning change by change ends
// where planning everything at once would.

import fc from 'fast-check'
import t from 'tap'
import { type Address, FAMILIES, type Family } from '../../../src/model/address.ts'
import type { Announcement } from '../../../src/model/announcement.ts'
import { DEFAULT_RULES } from '../../../src/model/routing.ts'
import { objectKey } from '../../../src/model/service.ts'
import { exportsKey } from '../../../src/routing/exports.ts'
import type { VipContext } from '../../../src/routing/plan-announcements.ts'
import type { VipFact } from '../../../src/routing/vip-gates.ts'
import { VipPlans } from '../../../src/routing/vip-plans.ts'
import { announcing, attributes, RULES, rule, vipContext, vipFact } from './beds.ts'

const serving = (...families: Family[]) => vipContext({ node: { serving: new Set(families) } })

t.test('what changed, what is due, and everything when the datapath changes', async (t) => {
  const vip = vipFact()
  const plans = new VipPlans(serving())
  const [web, dns] = [objectKey('shop', 'web'), objectKey('shop', 'dns')]
  const shared = vipFact({ service: 'shop/dns' })
  const lone = vipFact({ service: 'shop/dns', vip: '203.0.113.8' })
  plans.setService(web, [vip])
  plans.setService(dns, [shared, lone])
  t.same(plans.plan(0).changed.size, 0, 'the datapath serves nothing yet')
  plans.setContext(serving('ipv6'))
  t.same(plans.plan(0).changed.size, 0, 'nor in this family')
  plans.setContext(serving(...FAMILIES))
  t.same([...plans.plan(0).changed.keys()].sort(), ['203.0.113.7', '203.0.113.8'])
  t.same(plans.plan(0).changed.size, 0)
  plans.setService(web, [])
  t.match(plans.plan(0).changed.get(vip.vip), { why: /^Service shop\/dns/ })
  plans.setService(dns, [lone, { ...shared, usableAnywhere: 0 }])
  t.equal(plans.plan(1000).nextDueMs, 3000)
  t.same([...plans.plan(3000).changed], [[vip.vip, undefined]], 'its grace is over')
  plans.setService(dns, [])
  t.same([...plans.plan(3001).changed], [[lone.vip, undefined]])
  t.equal(plans.view(lone.vip), undefined, 'and forgotten')
})

t.test(
  'what is withdrawn by wish may wait, and no longer when it could not be served any more',
  async (t) => {
    const plans = new VipPlans(vipContext())
    const key = objectKey('shop', 'web')
    const { vip } = vipFact()
    plans.setService(key, [vipFact()])
    plans.plan(0)
    plans.setContext(vipContext({ node: { isDrained: true } }))
    const drained = plans.plan(1)
    t.same([...drained.changed], [[vip, undefined]])
    t.ok(drained.byWish.has(vip))
    plans.setService(key, [vipFact({ isHeld: false })])
    const lost = plans.plan(2)
    t.same([...lost.changed], [[vip, undefined]], 'told once more')
    t.notOk(lost.byWish.has(vip))
    t.equal(plans.plan(3).changed.size, 0)
  },
)

t.test('a slice at a time', async (t) => {
  const plans = new VipPlans(vipContext())
  for (let index = 0; index < 5; index += 1)
    plans.setService(objectKey('shop', `s${index}`), [
      vipFact({ service: `shop/s${index}`, vip: `203.0.113.${index}` }),
    ])
  const sizes = [2, 2, 2, 2].map((most) => {
    const { changed, isMore } = plans.plan(0, most)
    return [changed.size, isMore]
  })
  t.same(sizes, [
    [2, true],
    [2, true],
    [1, false],
    [0, false],
  ])
})

const NAMES = ['web', 'dns', 'api'] as const
const VIPS = ['203.0.113.1', '203.0.113.2', '2001:db8:113::1', '198.51.100.1'] as const

const factArbitrary = fc
  .record({
    vip: fc.constantFrom(...VIPS),
    kinds: fc.constantFrom(['load-balancer-ip'], ['external-ip'], ['cluster-ip'] as const),
    isHeld: fc.constantFrom(true, true, true, false),
    usableAnywhere: fc.integer({ min: 0, max: 2 }),
    usableLocal: fc.integer({ min: 0, max: 1 }),
    policy: fc.constantFrom('Cluster', 'Local'),
    tier: fc.constantFrom('gold', 'tin'),
    asks: fc.constantFrom(
      undefined,
      announcing({ peers: ['tor1'] }),
      announcing({ advertise: { 'cluster-ip': true, 'external-ip': false } }),
      announcing({ attributes: attributes({ med: 5 }) }),
    ),
  })
  .map(({ tier, asks, ...fact }) => ({ ...fact, labels: { tier }, ...(asks ? { announcing: asks } : {}) }))

const GOLD = { requirements: [{ key: 'tier', operator: 'In', values: ['gold'] }] } as const
const RULE_SETS = [
  RULES,
  { ...RULES, rules: [] },
  {
    ...RULES,
    rules: [...DEFAULT_RULES, rule({ services: GOLD, attributes: attributes({ communities: ['65000:1'] }) })],
  },
  { ...RULES, rules: [rule({ kinds: ['cluster-ip', 'external-ip'], peers: ['tor2'] })] },
]

const seldom = fc.constantFrom(false, false, false, false, true)

const contextArbitrary = fc
  .record({
    routing: fc.constantFrom(...RULE_SETS),
    isExcluded: seldom,
    isDrained: seldom,
    serving: fc.constantFrom<Family[]>(['ipv4'], ['ipv4', 'ipv6'], ['ipv4', 'ipv6'], ['ipv4', 'ipv6'], []),
  })
  .map(({ routing, serving: families, ...node }) =>
    vipContext({ routing, node: { ...node, serving: new Set(families) } }),
  )

const stepArbitrary = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constantFrom(...NAMES), fc.array(factArbitrary, { maxLength: 3 })) },
  { weight: 1, arbitrary: contextArbitrary },
)

/** Time that lets every grace period, hold-down and suppression end. */
const LONG_MS = 3_600_000

function routesOf(announcements: ReadonlyMap<Address, Announcement>): string[] {
  return [...announcements].map(([vip, row]) => `${vip} ${row.why} ${exportsKey(row.exports)}`).sort()
}

t.test('change by change ends where planning everything at once does', async (t) => {
  let announced = 0
  fc.assert(
    fc.property(
      fc.array(fc.tuple(stepArbitrary, fc.integer({ min: 0, max: 3000 })), { maxLength: 40 }),
      (steps) => {
        let nowMs = 0
        let context: VipContext = vipContext()
        const plans = new VipPlans(context)
        const told = new Map<Address, Announcement>()
        const latest = new Map<string, VipFact[]>()
        const take = () => {
          for (;;) {
            const { changed, isMore } = plans.plan(nowMs, 2)
            for (const [vip, row] of changed) {
              if (row) told.set(vip, row)
              else told.delete(vip)
            }
            if (!isMore) return
          }
        }
        for (const [step, waitMs] of steps) {
          if (Array.isArray(step)) {
            const [name, given] = step
            const rows = given.map((fact) => vipFact({ ...fact, service: `shop/${name}` } as never))
            const once = [...new Map(rows.map((row) => [row.vip, row])).values()]
            latest.set(name, once)
            plans.setService(objectKey('shop', name), once)
          } else {
            context = step
            plans.setContext(step)
          }
          nowMs += waitMs
          take()
        }
        // Cluster Services that lost their endpoints, and VIPs that were suppressed, end where a fresh plan begins.
        for (let pass = 0; pass < 4; pass += 1) {
          nowMs += LONG_MS
          take()
        }
        const fresh = new VipPlans(context)
        for (const [name, facts] of latest) fresh.setService(objectKey('shop', name), facts)
        const all = new Map<Address, Announcement>()
        for (const [vip, row] of fresh.plan(nowMs).changed) if (row) all.set(vip, row)
        announced += all.size
        t.same(routesOf(told), routesOf(all))
        return true
      },
    ),
    { numRuns: 300 },
  )
  t.ok(announced > 50, `${announced} announcements were compared`)
})
