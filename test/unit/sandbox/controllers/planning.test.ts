import fc from 'fast-check'
import t from 'tap'
import type { Node, Pod } from '../../../../src/kube/objects.ts'
import type { DaemonSet, Deployment, StatefulSet } from '../../../../src/kube/workloads.ts'
import { planDaemons } from '../../../../src/sandbox/controllers/daemon-sets.ts'
import { deploymentStatus } from '../../../../src/sandbox/controllers/deployments.ts'
import {
  isPodAvailable,
  matchesSelector,
  selectorText,
  templateHash,
  withCondition,
} from '../../../../src/sandbox/controllers/objects.ts'
import { choosePlace } from '../../../../src/sandbox/controllers/placement.ts'
import { choosePodAddresses } from '../../../../src/sandbox/controllers/pod-address.ts'
import { choosePodsToDelete, replicaSetStatus } from '../../../../src/sandbox/controllers/replica-sets.ts'
import { planRollout, type SetSize, strategyOf } from '../../../../src/sandbox/controllers/rollout.ts'
import { planOrdinals } from '../../../../src/sandbox/controllers/stateful-sets.ts'
import { NOW, node, pod, replicaSet } from './objects.ts'

t.test('scheduling', async (t) => {
  const [first, second] = [node('node1'), node('node2')]
  const nodes = [first, second, node('node10')]
  const cordoned = node('node1', { spec: { unschedulable: true } })
  const tainted = node('node1', { spec: { taints: [{ key: 'k', value: 'v', effect: 'NoSchedule' }] } })
  const cases: [string, Pod, ReturnType<typeof node>[], Pod[], string | RegExp][] = [
    ['the first of equals, by number', pod('p'), nodes, [], 'node1'],
    [
      'away from its siblings',
      pod('p'),
      nodes,
      [pod('a', { node: 'node1' }), pod('b', { node: 'node2' })],
      'node10',
    ],
    [
      'siblings weigh more than strangers',
      pod('p'),
      [first, second],
      [
        pod('a', { node: 'node1' }),
        ...['x', 'y'].map((name) => pod(name, { node: 'node2', owner: 'other' })),
      ],
      'node2',
    ],
    [
      'terminating siblings do not count',
      pod('p'),
      [first, second],
      [pod('a', { node: 'node1', terminating: true }), pod('b', { node: 'node2' })],
      'node1',
    ],
    [
      'by label',
      pod('p', { spec: { nodeSelector: { 'kubernetes.io/hostname': 'node2' } } }),
      nodes,
      [],
      'node2',
    ],
    ['not to an unready node', pod('p'), [node('node1', {}, false), second], [], 'node2'],
    ['not to a cordoned node', pod('p'), [cordoned, second], [], 'node2'],
    ['not where a taint forbids', pod('p'), [tainted, second], [], 'node2'],
    [
      'where a taint is tolerated',
      pod('p', { spec: { tolerations: [{ key: 'k', operator: 'Exists' }] } }),
      [tainted],
      [],
      'node1',
    ],
    [
      'nowhere, with the reasons',
      pod('p'),
      [cordoned, tainted],
      [],
      /^0\/2 nodes are available: 1 node\(s\) were unschedulable, 1 node\(s\) had untolerated taint/,
    ],
    ['nowhere without nodes', pod('p'), [], [], /no nodes/],
  ]
  for (const [name, object, available, others, expected] of cases) {
    const place = choosePlace(object, available, others)
    t.match('nodeName' in place ? place.nodeName : place.reason, expected, name)
  }
})

t.test('addresses: the lowest free one, never the gateway or broadcast, and none twice', async (t) => {
  const both = ['10.244.1.0/24', 'fd00:244:1::/64']
  const addresses = (used: string[]) => choosePodAddresses(both, used).map(({ address }) => address)
  t.same(choosePodAddresses(both, []), [
    { address: '10.244.1.2', gateway: '10.244.1.1' },
    { address: 'fd00:244:1::2', gateway: 'fd00:244:1::1' },
  ])
  t.same(addresses(['10.244.1.2', 'fd00:244:1::3']), ['10.244.1.3', 'fd00:244:1::2'])
  t.same(
    addresses(['10.244.1.3', 'fd00:0244:0001::0002']),
    ['10.244.1.2', 'fd00:244:1::3'],
    'spelling does not matter',
  )
  const all = Array.from({ length: 253 }, (_, index) => `10.244.1.${index + 2}`)
  t.throws(() => choosePodAddresses(['10.244.1.0/24'], all), { code: 'bad-plan' })
  t.equal(choosePodAddresses(['10.244.1.0/24'], all.slice(0, -1))[0]?.address, '10.244.1.254')
  t.throws(() => choosePodAddresses(['nonsense'], []), { code: 'bad-plan' })
})

t.test('rollout arithmetic', async (t) => {
  const set = (name: string, replicas: number, available = replicas): SetSize => ({
    name,
    replicas,
    available,
  })
  const rolling = (maxSurge: number, maxUnavailable: number) =>
    ({ type: 'RollingUpdate', maxSurge, maxUnavailable }) as const
  const recreate = { type: 'Recreate', maxSurge: 0, maxUnavailable: 0 } as const
  const cases: [
    string,
    number,
    Parameters<typeof planRollout>[1],
    SetSize,
    SetSize[],
    Record<string, number>,
  ][] = [
    ['first rollout', 6, rolling(2, 1), set('new', 0), [], { new: 6 }],
    ['scale down', 2, rolling(2, 1), set('new', 6), [], { new: 2 }],
    [
      'surge first, and as many old ones less as may be missing',
      6,
      rolling(2, 1),
      set('new', 0),
      [set('old', 6)],
      { new: 2, old: 5 },
    ],
    ['waits for the new to become available', 6, rolling(2, 1), set('new', 3, 0), [set('old', 5)], {}],
    ['goes on when they are', 6, rolling(2, 1), set('new', 3, 3), [set('old', 5)], { old: 2 }],
    ['surge 0 takes away first', 4, rolling(0, 1), set('new', 0), [set('old', 4)], { old: 3 }],
    ['unavailable 0 adds first', 4, rolling(1, 0), set('new', 0), [set('old', 4)], { new: 1 }],
    ['broken old pods go first', 4, rolling(1, 1), set('new', 0), [set('old', 4, 2)], { new: 1, old: 3 }],
    ['recreate ends the old', 3, recreate, set('new', 0), [set('old', 3)], { old: 0 }],
    ['recreate then starts the new', 3, recreate, set('new', 0), [set('old', 0)], { new: 3 }],
    ['nothing to do', 3, rolling(1, 1), set('new', 3), [set('old', 0)], {}],
  ]
  for (const [name, wanted, strategy, next, old, expected] of cases) {
    t.same(Object.fromEntries(planRollout(wanted, strategy, next, old)), expected, name)
  }
})

t.test('every rollout ends, and never leaves its bounds on the way', async (t) => {
  const property = fc.property(
    fc.integer({ min: 0, max: 12 }),
    fc.integer({ min: 0, max: 4 }),
    fc.integer({ min: 0, max: 4 }),
    fc.array(fc.integer({ min: 0, max: 6 }), { maxLength: 3 }),
    (wanted, surge, unavailable, oldSizes) => {
      const strategy = strategyOf({
        spec: {
          replicas: wanted,
          strategy: { rollingUpdate: { maxSurge: surge, maxUnavailable: unavailable } },
        },
      } as Deployment)
      const next: SetSize = { name: 'new', replicas: 0, available: 0 }
      const old = oldSizes.map((replicas, index) => ({ name: `old${index}`, replicas, available: replicas }))
      const total = () => [next, ...old].reduce((sum, set) => sum + set.replicas, 0)
      const atFirst = total()
      const availableAtFirst = atFirst
      for (let round = 0; round < 100; round++) {
        const sizes = planRollout(wanted, strategy, next, old)
        if (sizes.size === 0 && next.available === next.replicas) break
        for (const set of [next, ...old]) {
          set.replicas = sizes.get(set.name) ?? set.replicas
          set.available = Math.min(set.available, set.replicas)
        }
        const available = [next, ...old].reduce((sum, set) => sum + set.available, 0)
        if (total() > Math.max(atFirst, wanted + strategy.maxSurge)) return false
        if (available < Math.min(availableAtFirst, wanted - strategy.maxUnavailable)) return false
        next.available = Math.min(next.replicas, next.available + 1)
      }
      return next.replicas === wanted && old.every(({ replicas }) => replicas === 0)
    },
  )
  fc.assert(property, { numRuns: 300 })
  t.pass('300 rollouts')
})

t.test('shares of maxSurge and maxUnavailable', async (t) => {
  const of = (replicas: number, maxSurge?: number | string, maxUnavailable?: number | string) =>
    strategyOf({
      spec: {
        replicas,
        strategy: {
          rollingUpdate: {
            ...(maxSurge === undefined ? {} : { maxSurge }),
            ...(maxUnavailable === undefined ? {} : { maxUnavailable }),
          },
        },
      },
    } as Deployment)
  t.match(of(6), { maxSurge: 2, maxUnavailable: 1 })
  t.match(of(10, '30%', '30%'), { maxSurge: 3, maxUnavailable: 3 })
  t.match(of(3, 0, 0), { maxSurge: 0, maxUnavailable: 1 })
  t.match(of(1), { maxSurge: 1, maxUnavailable: 0 })
})

t.test('which pods go first', async (t) => {
  const pods = [
    pod('old-ready', { createdMs: NOW - 5000 }),
    pod('young-ready', { createdMs: NOW }),
    pod('unready', { ready: false }),
    pod('pending', { phase: 'Pending', ready: false }),
    pod('unscheduled', { node: undefined, phase: 'Pending', ready: false }),
    pod('alone', { node: 'node2', createdMs: NOW }),
  ]
  const order = choosePodsToDelete(pods, pods.length).map(({ metadata }) => metadata.name)
  t.same(order.slice(0, 3), ['unscheduled', 'pending', 'unready'])
  t.same(
    order.slice(3),
    ['young-ready', 'alone', 'old-ready'],
    'from the crowded node first, but leaving it spread',
  )
})

t.test('ReplicaSet and Deployment status', async (t) => {
  const set = replicaSet(3)
  set.spec.minReadySeconds = 10
  const pods = [
    pod('a', { readySinceMs: NOW - 20_000 }),
    pod('b', { readySinceMs: NOW - 1000 }),
    pod('c', { ready: false }),
  ]
  t.match(replicaSetStatus(set, pods, NOW), {
    replicas: 3,
    readyReplicas: 2,
    availableReplicas: 1,
    observedGeneration: 3,
  })
  t.equal(isPodAvailable(pods[1] as Pod, 0, NOW), true)

  const deployment: Deployment = {
    metadata: { name: 'web', generation: 2 },
    spec: { replicas: 3, selector: {}, template: { spec: { containers: [] } } },
  }
  const full = { replicas: 3, readyReplicas: 3, availableReplicas: 3 }
  const reasons = (status: ReturnType<typeof deploymentStatus>) =>
    status.conditions?.map(({ type, status, reason }) => `${type} ${status} ${reason}`)
  const done = deploymentStatus(deployment, replicaSet(3, { status: full }), [], NOW)
  t.same(reasons(done), [
    'Available True MinimumReplicasAvailable',
    'Progressing True NewReplicaSetAvailable',
  ])
  t.match(done, { observedGeneration: 2, updatedReplicas: 3, availableReplicas: 3, unavailableReplicas: 0 })
  const part = deploymentStatus(
    deployment,
    replicaSet(1, { status: { replicas: 1 } }),
    [replicaSet(3, { status: full })],
    NOW,
  )
  t.match(part, { replicas: 4, updatedReplicas: 1, availableReplicas: 3, unavailableReplicas: 1 })
  const late = replicaSet(3, { status: { replicas: 3 } })
  late.metadata.creationTimestamp = new Date(NOW - 700_000).toISOString()
  t.same(reasons(deploymentStatus(deployment, late, [], NOW)), [
    'Available False MinimumReplicasUnavailable',
    'Progressing False ProgressDeadlineExceeded',
  ])
})

t.test('DaemonSet: one pod per fitting node, replaced one by one', async (t) => {
  const set: DaemonSet = {
    metadata: { name: 'd', generation: 1 },
    spec: { selector: {}, template: { spec: { containers: [] } } },
  }
  const nodes = ['node1', 'node2', 'node3'].map((name) => node(name))
  const labelled = (name: string, nodeName: string, hash: string, ready = true) =>
    pod(name, { node: nodeName, labels: { 'controller-revision-hash': hash }, ready })
  t.same(planDaemons(set, 'h', [labelled('a', 'node1', 'h')], nodes, NOW).create, ['node2', 'node3'])
  const old = ['node1', 'node2', 'node3'].map((name, index) => labelled(`p${index}`, name, 'old'))
  const first = planDaemons(set, 'h', old, nodes, NOW)
  t.equal(first.delete.length, 1)
  t.match(first.status, { desiredNumberScheduled: 3, updatedNumberScheduled: 0, numberAvailable: 3 })
  const waiting = [labelled('n', 'node1', 'h', false), ...old.slice(1)]
  t.equal(planDaemons(set, 'h', waiting, nodes, NOW).delete.length, 0, 'while one is missing the next stays')
  t.same(
    planDaemons(set, 'h', [labelled('x', 'gone', 'h')], nodes, NOW).delete.length,
    1,
    'off a node that no longer fits',
  )
  const tainted = (effect: 'NoSchedule' | 'NoExecute'): Node => {
    const made = node('node1')
    return { ...made, spec: { ...made.spec, taints: [{ key: 'k', value: 'v', effect }] } }
  }
  const running = [labelled('r', 'node1', 'h')]
  t.same(planDaemons(set, 'h', [], [tainted('NoSchedule')], NOW).create, [])
  t.same(planDaemons(set, 'h', running, [tainted('NoSchedule')], NOW).delete, [], 'what runs there stays')
  t.same(planDaemons(set, 'h', running, [tainted('NoExecute')], NOW).delete, running)
})

t.test('StatefulSet: in order up, in reverse down', async (t) => {
  const set = (replicas: number, policy?: 'Parallel'): StatefulSet => ({
    metadata: { name: 's', generation: 1 },
    spec: {
      replicas,
      selector: {},
      template: { spec: { containers: [] } },
      ...(policy ? { podManagementPolicy: policy } : {}),
    },
  })
  const member = (ordinal: number, ready = true, hash = 'h') =>
    pod(`s-${ordinal}`, { ready, labels: { 'controller-revision-hash': hash } })
  const names = (pods: Pod[]) => pods.map(({ metadata }) => metadata.name)
  t.same(planOrdinals(set(3), 'h', []).create, [0])
  t.same(planOrdinals(set(3), 'h', [member(0, false)]).create, [], 'waits for the first to be ready')
  t.same(planOrdinals(set(3), 'h', [member(0)]).create, [1])
  t.same(planOrdinals(set(3, 'Parallel'), 'h', []).create, [0, 1, 2])
  t.same(names(planOrdinals(set(1), 'h', [member(0), member(1), member(2)]).delete), ['s-2'])
  t.same(names(planOrdinals(set(2), 'h', [member(0, true, 'old'), member(1, true, 'old')]).delete), ['s-1'])
})

t.test('selectors, hashes, conditions', async (t) => {
  const selector = {
    matchLabels: { a: '1' },
    matchExpressions: [
      { key: 'b', operator: 'NotIn' as const, values: ['x', 'y'] },
      { key: 'c', operator: 'DoesNotExist' as const },
    ],
  }
  t.equal(matchesSelector(selector, { a: '1', b: 'z' }), true)
  t.equal(matchesSelector(selector, { a: '1', b: 'x' }), false)
  t.equal(matchesSelector(selector, { a: '1', c: '' }), false)
  t.equal(matchesSelector({}, {}), true)
  t.equal(matchesSelector(undefined, {}), false)
  t.equal(selectorText(selector), 'a=1,b notin (x,y),!c')
  const template = { metadata: { labels: { a: '1', b: '2' } }, spec: { containers: [{ name: 'c' }] } }
  t.equal(
    templateHash(template),
    templateHash({ spec: template.spec, metadata: { labels: { b: '2', a: '1' } } }),
  )
  t.not(templateHash(template), templateHash({ ...template, spec: { containers: [{ name: 'd' }] } }))
  const before = withCondition([], { type: 'Ready', status: 'True' }, 'then')
  t.equal(
    withCondition(before, { type: 'Ready', status: 'True', message: 'x' }, 'now')[0]?.lastTransitionTime,
    'then',
  )
  t.equal(withCondition(before, { type: 'Ready', status: 'False' }, 'now')[0]?.lastTransitionTime, 'now')
})
