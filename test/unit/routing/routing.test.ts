// The planner, the allow-list and the guard. The property at the end is the one that matters: whatever is asked for, nothing leaves
// that the configuration does not allow.

import fc from 'fast-check'
import t from 'tap'
import { type Prefix, prefixParts } from '../../../src/model/address.ts'
import type { Announcement } from '../../../src/model/announcement.ts'
import { NO_ATTRIBUTES } from '../../../src/model/routing.ts'
import { allowedPrefixes } from '../../../src/routing/allowed.ts'
import { AnnouncementGuard, type GuardLimits } from '../../../src/routing/guard.ts'
import { NO_MEMORY, planNode, planVip, type VipMemory } from '../../../src/routing/plan-announcements.ts'
import type { VipFact } from '../../../src/routing/vip-gates.ts'
import { cidr, RULES, vipContext, vipFact } from './beds.ts'

const vip = vipFact()
const plan = (facts: readonly VipFact[], memory: VipMemory = NO_MEMORY, nowMs = 0) => {
  const { announcement, ...rest } = planVip(facts, memory, vipContext(), nowMs)
  return { ...rest, announcements: announcement ? [announcement] : [] }
}
/** Everything at once, each row by an asker of its own. */
const guardAnnouncements = (wanted: readonly Announcement[], limits: GuardLimits) => {
  const guard = new AnnouncementGuard(limits)
  guard.apply(wanted.map((row, index) => [String(index), row] as const))
  return { accepted: [...guard.accepted.values()], refused: guard.refused }
}

t.test('when a VIP is announced', async (t) => {
  const rows: [string, Partial<VipFact>, boolean][] = [
    ['Cluster with endpoints anywhere', { usableLocal: 0 }, true],
    ['Cluster without any', { usableAnywhere: 0, usableLocal: 0 }, false],
    ['not held by the datapath', { isHeld: false }, false],
    ['Local with one here', { policy: 'Local' }, true],
    ['Local with none here', { policy: 'Local', usableLocal: 0 }, false],
  ]
  for (const [name, change, expected] of rows)
    t.equal(plan([{ ...vip, ...change }]).announcements.length === 1, expected, name)
})

t.test('when a VIP is withdrawn', async (t) => {
  const first = plan([vip], NO_MEMORY, 1_000)
  const gone = { ...vip, usableAnywhere: 0, usableLocal: 0 }
  const grace = plan([gone], first.memory, 90_000)
  t.equal(
    grace.announcements.length,
    1,
    'Cluster: kept for 2 s from the loss, however long ago the last plan was',
  )
  t.equal(grace.nextDueMs, 92_000)
  const later = plan([gone], grace.memory, 91_999)
  t.equal(later.announcements.length, 1)
  t.same(plan([gone], later.memory, 92_000).announcements, [], 'then withdrawn')
  t.equal(plan([vip], later.memory, 91_999).nextDueMs, undefined, 'an endpoint that returns ends the grace')
  t.same(plan([{ ...gone, isHeld: false }], first.memory, 1_001).announcements, [], 'at once when not held')
  t.same(plan([{ ...gone, policy: 'Local' }], first.memory, 1_001).announcements, [], 'Local: at once')
  t.same(plan([gone], NO_MEMORY, 1_001).announcements, [], 'never announced: no grace')
})

t.test('a shared VIP stays while one Service wants it, and says for whom', async (t) => {
  const other = vipFact({ service: 'shop/dns', usableAnywhere: 1 })
  t.match(
    plan([vip, other]).announcements[0]?.why,
    /shop\/dns has 1 usable endpoint; Service shop\/web has 2 .*$/,
  )
  t.equal(plan([{ ...vip, isHeld: false }, other]).announcements.length, 1)
  const own = { loopbacks: [cidr('10.255.0.1/32')], podCidrs: [cidr('fd00:244:1::/64')] }
  const announcements = planNode(own, RULES)
  t.same(
    announcements.map(({ prefix, source }) => `${prefix} ${source}`),
    ['10.255.0.1/32 loopback', 'fd00:244:1::/64 pod-cidr'],
  )
})

const sources = {
  loopbacks: [cidr('10.255.0.1/32'), cidr('fd00:255::1/128')],
  podCidrs: [cidr('10.244.1.0/24'), cidr('fd00:244:1::/64')],
  pools: [{ name: 'default', prefixes: [cidr('203.0.113.0/24'), cidr('2001:db8:113::/112')] }],
}
const allowed = allowedPrefixes(sources)

t.test('the allow-list refuses what would allow everything', async (t) => {
  const pools = [{ name: 'all', prefixes: [cidr('0.0.0.0/0')] }]
  t.throws(() => allowedPrefixes({ ...sources, pools }), { code: 'DEFAULT_ROUTE', message: /pools \(all\)/ })
  t.throws(() => allowedPrefixes({ ...sources, podCidrs: [cidr('::/0')] }), { code: 'DEFAULT_ROUTE' })
  t.throws(() => allowedPrefixes({ ...sources, loopbacks: [cidr('10.255.0.0/24')] }), {
    code: 'WRONG_LENGTH',
  })
  const many = Array.from({ length: 257 }, (_, index) => cidr(`10.${index >> 8}.${index & 255}.0/24`))
  t.throws(() => allowedPrefixes({ ...sources, podCidrs: many }), { code: 'TOO_MANY' })
})

const row = (prefix: string, communities?: string[]): Announcement => ({
  prefix: prefix as Prefix,
  family: prefix.includes(':') ? 'ipv6' : 'ipv4',
  source: 'service',
  why: 'test',
  ...(communities ? { communities } : {}),
})

t.test('the guard says why', async (t) => {
  const rows: [Announcement, string | undefined][] = [
    [row('203.0.113.7/32'), undefined],
    [row('10.244.1.0/24'), undefined],
    [row('10.244.1.5/32'), 'wrong-length'],
    [row('203.0.113.0/24'), 'wrong-length'],
    [row('198.51.100.1/32'), 'outside-allowed'],
    [row('0.0.0.0/0'), 'default-route'],
    [row('203.0.113.77/24'), 'malformed'],
    [row('203.0.113.9'), 'malformed'],
    [{ ...row('203.0.113.9/32'), family: 'ipv6' }, 'malformed'],
    [row('203.0.113.8/32', ['65536:1']), 'bad-community'],
  ]
  for (const [wanted, code] of rows)
    t.equal(guardAnnouncements([wanted], { allowed }).refused[0]?.code, code, wanted.prefix)
  const twice = guardAnnouncements([row('203.0.113.7/32'), row('203.0.113.7/32')], { allowed })
  t.same([twice.accepted.length, twice.refused[0]?.code], [1, 'twice'])
  const vips = Array.from({ length: 5 }, (_, index) => row(`203.0.113.${index}/32`))
  const many = guardAnnouncements([row('10.255.0.1/32'), ...vips], { allowed, announcementsMax: 3 })
  t.same(
    many.accepted.map(({ prefix }) => prefix),
    ['10.255.0.1/32', '203.0.113.0/32', '203.0.113.1/32'],
  )
  t.ok(many.refused.every(({ code }) => code === 'too-many'))
})

t.test('attributes that routers would choke on stay in', async (t) => {
  const exported = (change: object): Announcement => ({
    ...row('203.0.113.7/32'),
    exports: [{ peers: ['tor1'], attributes: { ...NO_ATTRIBUTES, ...change } }],
  })
  const rows: [object, string | undefined][] = [
    [
      { communities: ['65000:1'], largeCommunities: ['4294967295:0:1'], med: 0, localPref: 4_294_967_295 },
      undefined,
    ],
    [{ communities: ['65000:65536'] }, 'bad-community'],
    [{ communities: ['65000:1:2'] }, 'bad-community'],
    [{ largeCommunities: ['4294967296:0:1'] }, 'bad-community'],
    [{ largeCommunities: ['65000:1'] }, 'bad-community'],
    [{ communities: Array.from({ length: 33 }, (_, index) => `1:${index}`) }, 'bad-community'],
    [{ med: -1 }, 'bad-attribute'],
    [{ localPref: 4_294_967_296 }, 'bad-attribute'],
    [{ prepend: 256 }, 'bad-attribute'],
    [{ prepend: 1.5 }, 'bad-attribute'],
  ]
  for (const [change, code] of rows)
    t.equal(
      guardAnnouncements([exported(change)], { allowed }).refused[0]?.code,
      code,
      JSON.stringify(change),
    )
})

t.test('what is refused from now on leaves its room to who waited', async (t) => {
  const guard = new AnnouncementGuard({ allowed, announcementsMax: 1 })
  guard.apply([1, 2].map((last) => [`asker${last}`, row(`203.0.113.${last}/32`)] as const))
  t.match(guard.refusalOf('asker2'), { code: 'too-many' })
  const touched = guard.apply([['asker1', row('203.0.113.1/32', ['65536:1'])]])
  t.match(guard.refusalOf('asker1'), { code: 'bad-community' })
  t.same([...guard.accepted.keys()], ['203.0.113.2/32'])
  t.same([...touched].sort(), ['203.0.113.1/32', '203.0.113.2/32'])
})

t.test(
  'other limits: narrower ones take out what is beyond them, wider ones let in what waited',
  async (t) => {
    const guard = new AnnouncementGuard({ allowed, announcementsMax: 3 })
    guard.apply([1, 2, 3, 4].map((last) => [`asker${last}`, row(`203.0.113.${last}/32`)] as const))
    t.match(guard.refusalOf('asker4'), { code: 'too-many' })
    t.ok(guard.setLimits({ allowed, announcementsMax: 2 }).has(cidr('203.0.113.3/32')))
    t.same([...guard.accepted.keys()], ['203.0.113.1/32', '203.0.113.2/32'], 'the latest go')
    const narrow = allowedPrefixes({
      ...sources,
      pools: [{ name: 'small', prefixes: [cidr('203.0.113.2/31')] }],
    })
    t.same(
      [...guard.setLimits({ allowed: narrow })].sort(),
      [1, 2, 3].map((last) => `203.0.113.${last}/32`),
    )
    t.same([...guard.accepted.keys()], ['203.0.113.2/32', '203.0.113.3/32'])
    t.match(guard.refusalOf('asker1'), { code: 'outside-allowed' })
    guard.setLimits({ allowed })
    t.equal(guard.accepted.size, 4)
    t.same(guard.refused, [])
    const networks = allowedPrefixes({ ...sources, serviceNetworks: [cidr('10.96.0.0/12')] })
    guard.apply([['cluster', row('10.96.0.10/32')]])
    t.match(guard.refusalOf('cluster'), { code: 'outside-allowed' })
    guard.setLimits({ allowed: networks })
    t.equal(guard.refusalOf('cluster'), undefined)
  },
)

t.test('the guard keeps what passed, and lets the next one in when room comes', async (t) => {
  const guard = new AnnouncementGuard({ allowed, announcementsMax: 2 })
  const vips = [1, 2, 3, 4].map((last) => [`asker${last}`, row(`203.0.113.${last}/32`)] as const)
  guard.apply(vips)
  t.same([...guard.accepted.keys()], ['203.0.113.1/32', '203.0.113.2/32'])
  t.same([...guard.apply([['asker1', undefined]])], ['203.0.113.1/32', '203.0.113.3/32'])
  t.same([...guard.accepted.keys()], ['203.0.113.2/32', '203.0.113.3/32'])
  t.same(
    [...guard.apply([['asker3', { ...row('203.0.113.3/32'), why: 'otherwise' }]])],
    ['203.0.113.3/32'],
    'what passed keeps its place when it changes',
  )
  guard.apply([['asker3', row('198.51.100.1/32')]])
  t.same(
    [...guard.accepted.keys()],
    ['203.0.113.2/32', '203.0.113.4/32'],
    'and loses it by what may not pass',
  )
  guard.apply([['other', row('203.0.113.2/32')]])
  t.same(
    guard.refused.map(({ code }) => code),
    ['outside-allowed', 'twice'],
  )
  guard.apply([['asker2', undefined]])
  t.ok(guard.accepted.has(cidr('203.0.113.2/32')), 'the second asker has it now')
})

t.test('nothing outside the allow-list ever leaves', async (t) => {
  const octet = fc.integer({ min: 0, max: 255 })
  const text = fc.oneof(
    fc
      .tuple(
        fc.constantFrom('203.0.113', '10.244.1', '10.255.0', '198.51.100'),
        octet,
        fc.oneof(fc.constantFrom(24, 32), fc.integer({ min: 0, max: 33 })),
      )
      .map(([net, last, length]) => `${net}.${last}/${length}`),
    fc
      .tuple(
        fc.constantFrom('2001:db8:113::', 'fd00:244:1::', 'fd00:255::', '::'),
        octet,
        fc.oneof(fc.constantFrom(64, 128), fc.integer({ min: 0, max: 129 })),
      )
      .map(([net, last, length]) => `${net}${last.toString(16)}/${length}`),
    fc.string(),
  )
  const inside = (prefix: Prefix): boolean => {
    const { first, last, length, family } = prefixParts(prefix)
    const isVip = (pool: Prefix, bits: number) =>
      prefixParts(pool).family === family &&
      prefixParts(pool).first <= first &&
      prefixParts(pool).last >= last &&
      length === bits
    return (
      [...sources.loopbacks, ...sources.podCidrs].includes(prefix) ||
      isVip(cidr('203.0.113.0/24'), 32) ||
      isVip(cidr('2001:db8:113::/112'), 128)
    )
  }
  let passed = 0
  fc.assert(
    fc.property(
      fc.array(
        text.map((prefix) => row(prefix)),
        { maxLength: 20 },
      ),
      (wanted) => {
        const { accepted, refused } = guardAnnouncements(wanted, { allowed, announcementsMax: 4 })
        passed += accepted.length
        return (
          accepted.length + refused.length === wanted.length &&
          accepted.every(({ prefix }) => inside(prefix)) &&
          new Set(accepted.map(({ prefix }) => prefix)).size === accepted.length &&
          accepted.filter(({ family }) => family === 'ipv4').length <= 4
        )
      },
    ),
    { numRuns: 500 },
  )
  t.ok(passed > 50, `${passed} passed the guard`)
})
