// The gates of a VIP through time: each case is a Service's life in steps, and what is announced after each.

import t, { type Test } from 'tap'
import { GATES_DEFAULT, type RoutingGates } from '../../../src/model/routing.ts'
import { NO_MEMORY, planVip, type VipContext, type VipPlan } from '../../../src/routing/plan-announcements.ts'
import type { NodeState, VipFact } from '../../../src/routing/vip-gates.ts'
import { announcing, vipContext, vipFact } from './beds.ts'

const GONE = { usableAnywhere: 0, usableLocal: 0 }
const LOCAL = { policy: 'Local' as const }
const LOCAL_GONE = { ...LOCAL, usableLocal: 0 }

interface Step {
  readonly atMs: number
  readonly fact?: Parameters<typeof vipFact>[0]
  readonly node?: Partial<NodeState>
  readonly context?: Partial<Omit<VipContext, 'node'>>
  /** A gate's name, or that it is announced. */
  readonly expected: string
  readonly dueMs?: number
}

function live(t: Test, name: string, gates: Partial<RoutingGates>, steps: readonly Step[]): VipPlan {
  let plan: VipPlan = { announcement: undefined, shut: [], memory: NO_MEMORY, nextDueMs: undefined }
  for (const { atMs, fact, node, context, expected, dueMs } of steps) {
    const facts: VipFact[] = [vipFact(fact)]
    const around = vipContext({ gates: { ...GATES_DEFAULT, ...gates }, ...context, node: node ?? {} })
    plan = planVip(facts, plan.memory, around, atMs)
    const seen = plan.announcement ? 'announced' : plan.shut.map(({ gate }) => gate).join(' ')
    t.equal(seen, expected, `${name}, at ${atMs} ms`)
    if (dueMs !== undefined) t.equal(plan.nextDueMs, dueMs, `${name}, at ${atMs} ms: due`)
  }
  return plan
}

t.test('each gate', async (t) => {
  const rows: [string, Omit<Step, 'atMs'>][] = [
    ['Cluster, endpoints elsewhere', { fact: { usableLocal: 0 }, expected: 'announced' }],
    ['Cluster, none', { fact: GONE, expected: 'no-endpoint' }],
    ['Local, one here', { fact: LOCAL, expected: 'announced' }],
    ['Local, others elsewhere', { fact: LOCAL_GONE, expected: 'no-local-endpoint' }],
    ['not in the kernel', { fact: { isHeld: false }, expected: 'not-held' }],
    ['no way out', { node: { serving: new Set() }, expected: 'family-down' }],
    ['the other family alone', { node: { serving: new Set(['ipv6']) }, expected: 'family-down' }],
    ['excluded', { node: { isExcluded: true }, expected: 'excluded' }],
    ['drained', { node: { isDrained: true }, expected: 'drained' }],
    [
      'not in the kernel of a drained node',
      { fact: { isHeld: false }, node: { isDrained: true }, expected: 'not-held' },
    ],
    ['no rule for it', { fact: { kinds: ['cluster-ip'] }, expected: 'no-rule' }],
    ['from no pool', { fact: { vip: '198.51.100.7' }, expected: 'no-rule' }],
  ]
  for (const [name, step] of rows) live(t, name, {}, [{ atMs: 0, ...step }])
})

t.test('withdrawn at once for Local, after 2 s for Cluster', async (t) => {
  live(t, 'Local', {}, [
    { atMs: 0, fact: LOCAL, expected: 'announced' },
    { atMs: 5, fact: LOCAL_GONE, expected: 'no-local-endpoint' },
  ])
  live(t, 'Cluster', {}, [
    { atMs: 0, expected: 'announced' },
    { atMs: 90_000, fact: GONE, expected: 'announced', dueMs: 92_000 },
    { atMs: 91_999, fact: GONE, expected: 'announced' },
    { atMs: 92_000, fact: GONE, expected: 'no-endpoint' },
  ])
  live(t, 'Cluster, back in time', {}, [
    { atMs: 0, expected: 'announced' },
    { atMs: 1000, fact: GONE, expected: 'announced' },
    { atMs: 2500, expected: 'announced' },
    { atMs: 3500, fact: GONE, expected: 'announced', dueMs: 5500 },
  ])
  live(t, 'Cluster, and the datapath lets it go', {}, [
    { atMs: 0, expected: 'announced' },
    { atMs: 1000, fact: GONE, expected: 'announced' },
    { atMs: 1001, fact: { ...GONE, isHeld: false }, expected: 'not-held' },
  ])
})

t.test('kept without endpoints, by configuration or by the Service', async (t) => {
  const keep = announcing({ withoutEndpoints: 'keep' })
  const withdraw = announcing({ withoutEndpoints: 'withdraw' })
  live(t, 'configuration', { withoutEndpoints: 'keep' }, [
    { atMs: 0, fact: GONE, expected: 'announced' },
    { atMs: 9000, fact: { ...GONE, announcing: withdraw }, expected: 'no-endpoint' },
  ])
  live(t, 'Service', {}, [
    { atMs: 0, fact: { ...GONE, announcing: keep }, expected: 'announced' },
    { atMs: 1, fact: { ...LOCAL_GONE, announcing: keep }, expected: 'no-local-endpoint' },
  ])
})

t.test('the hold-down: none at first, and none after what was wished', async (t) => {
  live(t, 'Local', {}, [
    { atMs: 0, fact: LOCAL, expected: 'announced' },
    { atMs: 1000, fact: LOCAL_GONE, expected: 'no-local-endpoint' },
    { atMs: 5000, fact: LOCAL, expected: 'hold-down', dueMs: 7000 },
    { atMs: 6000, fact: LOCAL_GONE, expected: 'no-local-endpoint' },
    { atMs: 6500, fact: LOCAL, expected: 'hold-down', dueMs: 8500 },
    { atMs: 8500, fact: LOCAL, expected: 'announced' },
  ])
  live(t, 'configured', { holdDownMs: 500 }, [
    { atMs: 0, fact: LOCAL, expected: 'announced' },
    { atMs: 1000, fact: LOCAL_GONE, expected: 'no-local-endpoint' },
    { atMs: 2000, fact: LOCAL, expected: 'hold-down', dueMs: 2500 },
  ])
  for (const node of [{ isExcluded: true }, { isDrained: true }])
    live(t, Object.keys(node).join(), {}, [
      { atMs: 0, expected: 'announced' },
      { atMs: 1, node, expected: Object.keys(node).join() === 'isDrained' ? 'drained' : 'excluded' },
      { atMs: 2, expected: 'announced' },
    ])
  live(t, 'a rule', {}, [
    { atMs: 0, expected: 'announced' },
    { atMs: 1, context: { poolOf: () => undefined }, expected: 'no-rule' },
    { atMs: 2, expected: 'announced' },
  ])
})

/** Loses its endpoints every 5 s, and has them again `backMs` later. */
function flapping(fact: Step['fact'], gone: Step['fact'], backMs: number, times: number) {
  return Array.from({ length: times }, (_, index) => [
    { atMs: index * 5000, fact },
    { atMs: index * 5000 + 5000 - backMs, fact: gone },
  ]).flat()
}

t.test('a Local VIP that flaps is suppressed, and comes back when its penalty has decayed', async (t) => {
  const gates = { holdDownMs: 0 }
  const steps = flapping(LOCAL, LOCAL_GONE, 100, 6)
  const expected = steps.map((_, index) => (index % 2 === 0 ? 'announced' : 'no-local-endpoint'))
  const plan = live(t, 'flaps', gates, [
    ...steps.map((step, index) => ({ ...step, expected: expected[index] ?? '' })),
    { atMs: 30_000, fact: LOCAL, expected: 'suppressed' },
  ])
  const reuseMs = plan.nextDueMs ?? 0
  t.ok(reuseMs > 150_000 && reuseMs < 220_000, `reused after ${reuseMs} ms: some three half-lives`)
  t.match(plan.shut[0]?.why, /penalty 5\d\d\d, suppressed above 5000 until it is below 750/)
  const around = vipContext({ gates: { ...GATES_DEFAULT, ...gates } })
  t.notOk(planVip([vipFact(LOCAL)], plan.memory, around, reuseMs - 1).announcement)
  const back = planVip([vipFact(LOCAL)], plan.memory, around, reuseMs)
  t.ok(back.announcement)
  t.ok(
    planVip(
      [vipFact(LOCAL)],
      plan.memory,
      vipContext({ gates: { withoutEndpoints: 'withdraw', holdDownMs: 0 } }),
      30_000,
    ).announcement,
    'without damping nothing is suppressed',
  )
})

t.test('of a Cluster VIP that flaps it is the withdrawal that is suppressed', async (t) => {
  let plan: VipPlan = { announcement: undefined, shut: [], memory: NO_MEMORY, nextDueMs: undefined }
  const around = vipContext({ gates: { ...GATES_DEFAULT, holdDownMs: 0 } })
  const at = (atMs: number, fact: Step['fact']) => {
    plan = planVip([vipFact(fact)], plan.memory, around, atMs)
    return plan.announcement?.why
  }
  let withdrawals = 0
  let kept = ''
  for (let round = 0; kept === '' && round < 20; round += 1) {
    at(round * 5000, {})
    at(round * 5000 + 1000, GONE)
    const why = at(round * 5000 + 3000, GONE)
    if (why === undefined) withdrawals += 1
    else kept = why
  }
  t.equal(withdrawals, 5)
  t.match(kept, /no usable endpoint; it flaps, so the withdrawal is suppressed until/)
  const dueMs = plan.nextDueMs ?? 0
  t.match(at(dueMs - 1, GONE), /suppressed/)
  t.equal(at(dueMs, GONE), undefined, 'then it is withdrawn after all')
})
