// Why a prefix is announced or not: for each thing that can hold it back, what is said of it.

import t from 'tap'
import type { Announcement } from '../../../src/model/announcement.ts'
import { objectKey } from '../../../src/model/service.ts'
import { exportsOf } from '../../../src/routing/exports.ts'
import type { VipContext } from '../../../src/routing/plan-announcements.ts'
import { VipPlans } from '../../../src/routing/vip-plans.ts'
import { explainPrefix, type Why, type WhyFacts } from '../../../src/routing/why.ts'
import { announcing, attributes, cidr, peer, RULES, rule, vipContext, vipFact } from './beds.ts'

interface Case {
  readonly facts?: readonly Parameters<typeof vipFact>[0][]
  readonly context?: VipContext
  readonly more?: Partial<WhyFacts>
}

function why({ facts = [{}], context = vipContext(), more }: Case): Why {
  const rows = facts.map((fact) => vipFact(fact))
  const plans = new VipPlans(context)
  for (const row of rows) plans.setService(objectKey('shop', row.service.key.slice(5)), [row])
  plans.plan(0)
  const vip = rows[0]?.vip ?? '203.0.113.7'
  const view = plans.view(vip as never)
  return explainPrefix({
    prefix: cidr(`${vip}/32`),
    family: 'ipv4',
    own: undefined,
    pool: context.poolOf(vip as never),
    facts: rows,
    view,
    context,
    exports: view?.announcement?.exports ?? [],
    refusal: undefined,
    waits: undefined,
    told: view?.announcement && { kind: 'announced', sinceMs: 0 },
    mark: undefined,
    established: new Set(context.routing.peers.map(({ name }) => name)),
    ...more,
  })
}

const LOCAL_GONE = { policy: 'Local', usableLocal: 0 } as const
const row: Announcement = { prefix: cidr('203.0.113.7/32'), family: 'ipv4', source: 'service', why: '' }

t.test('what holds it back, and what would mend it', async (t) => {
  const rules = (...some: Parameters<typeof rule>[0][]) =>
    vipContext({ routing: { ...RULES, rules: some.map((one) => rule(one)) } })
  const rows: [string, Case, RegExp, RegExp][] = [
    ['nobody has it', { facts: [] }, /no Service of this node has 203.0.113.7\/32/, /kubectl get services/],
    [
      'no endpoint here',
      { facts: [LOCAL_GONE] },
      /no ready endpoint on this node/,
      /externalTrafficPolicy: Cluster/,
    ],
    [
      'no endpoint',
      { facts: [{ usableAnywhere: 0 }] },
      /no usable endpoint on any node/,
      /without-endpoints: keep/,
    ],
    [
      'not in the kernel',
      { facts: [{ isHeld: false }] },
      /datapath does not hold/,
      /weir service show \S+\/\S+/,
    ],
    [
      'drained',
      { context: vipContext({ node: { isDrained: true } }) },
      /this node is drained/,
      /weir undrain/,
    ],
    [
      'excluded',
      { context: vipContext({ node: { isExcluded: true } }) },
      /exclude-from-external/,
      /remove the label/,
    ],
    ['no rules', { context: rules() }, /no rule gives this load-balancer-ip/, /write one/],
    [
      'guard',
      {
        more: {
          told: undefined,
          refusal: { announcement: row, code: 'too-many', reason: 'it is one too many' },
        },
      },
      /it is one too many/,
      /raise routing\.maxAnnouncements/,
    ],
  ]
  for (const [name, given, summary, mend] of rows) {
    const answer = why(given)
    t.notOk(answer.isAnnounced, name)
    t.match(answer.summary, summary, name)
    t.ok(
      answer.checks.some((check) => !check.isOpen && check.mend !== undefined && mend.test(check.mend)),
      `${name}: a mend`,
    )
  }
  t.match(why({ more: { told: { kind: 'pending' }, waits: 'its turn comes' } }).summary, /its turn comes/)
  t.match(why({ more: { told: { kind: 'pending' } } }).summary, /has not been told yet/)
})

t.test('of what nobody asks for the guard has no opinion, and no rule is missed', async (t) => {
  const { checks, peers } = why({ facts: [], more: { exports: [], told: undefined } })
  t.notOk(checks.some(({ check }) => check === 'guard'))
  t.ok(peers.some(({ detail }) => detail === 'nobody asks for it'))
  t.notOk(peers.some(({ detail }) => detail.includes('no rule')))
})

t.test('rules that come near say what they ask for; others are left out', async (t) => {
  const gold = { requirements: [{ key: 'tier', operator: 'In', values: ['gold'] }] } as const
  const context = vipContext({
    routing: {
      ...RULES,
      rules: [
        rule({ source: 'r0', kinds: ['loopback'] }),
        rule({ source: 'r1', pools: ['gold'] }),
        rule({ source: 'r2', namespaces: ['bank'] }),
        rule({ source: 'r3', services: gold }),
        rule({ source: 'r4', families: ['ipv6'] }),
        rule({ source: 'r5', isOnlyAttributes: true }),
      ],
    },
  })
  const { checks } = why({ context })
  t.same(
    checks.filter(({ check }) => check.startsWith('rule')).map(({ check, isOpen }) => `${check} ${isOpen}`),
    ['rule r1 false', 'rule r2 false', 'rule r3 false', 'rule r4 false', 'rule r5 true'],
  )
})

t.test('announced: to whom, with which attributes, and a drain marks them', async (t) => {
  const routing = {
    ...RULES,
    peers: [...RULES.peers, peer('v6only', { families: ['ipv6'] }), peer('other')],
    rules: [
      rule({ peers: ['tor1', 'tor2', 'v6only'], attributes: attributes({ communities: ['65000:1'] }) }),
    ],
  }
  const mark = { communities: ['65535:0'], med: 4000, prepend: 2 }
  const { isAnnounced, summary, peers, checks } = why({ context: vipContext({ routing }), more: { mark } })
  t.ok(isAnnounced)
  t.match(summary, /203.0.113.7\/32 is announced: Service shop\/web has 2 usable endpoints/)
  t.same(
    peers.map(({ peer: name, isTold, attributes: carried }) => [
      name,
      isTold,
      carried?.communities,
      carried?.med,
    ]),
    [
      ['tor1', true, ['65000:1', '65535:0'], 4000],
      ['tor2', true, ['65000:1', '65535:0'], 4000],
      ['v6only', false, undefined, undefined],
      ['other', false, undefined, undefined],
    ],
  )
  t.match(peers[2]?.detail, /does not carry ipv4/)
  const down = why({ context: vipContext({ routing }), more: { established: new Set(['tor2']) } })
  t.match(down.peers[0], { isTold: false, detail: 'would be told when its session comes up' })
  t.ok(checks.some(({ check }) => check === 'drain'))
})

t.test('of two Services one is enough', async (t) => {
  const answer = why({ facts: [{ service: 'shop/dns', isHeld: false }, {}] })
  t.ok(answer.isAnnounced)
  t.match(
    answer.checks.filter(({ check }) => check.startsWith('gate')).map(({ isOpen }) => isOpen),
    [false, true],
  )
})

t.test('a Service that leaves no peer', async (t) => {
  const answer = why({ facts: [{ announcing: announcing({ peers: ['tor9'] }) }] })
  t.ok(answer.checks.some(({ check, mend }) => check === 'peers' && /bgp-peers/.test(mend ?? '')))
})

t.test("the node's own", async (t) => {
  const subject = { kinds: ['loopback'], family: 'ipv4', pool: undefined, service: undefined } as const
  const answer = why({
    facts: [],
    more: {
      prefix: cidr('10.255.0.1/32'),
      own: 'loopback',
      exports: exportsOf(RULES, [subject]),
      told: { kind: 'announced', sinceMs: 0 },
    },
  })
  t.ok(answer.isAnnounced)
  t.match(answer.summary, /10.255.0.1\/32 is announced: it is of the node itself/)
})
