// The pure parts of Weir's comparison with others' rule sets: who may call whom, what the others are told, and what samples become.

import t from 'tap'
import { SELF } from '../../../bench/packet/cluster.ts'
import { takenOf } from '../../../bench/policy/node-shell.ts'
import { type PacketSampled, pairFigures } from '../../../bench/policy/pair-figures.ts'
import type { PairCase } from '../../../bench/policy/pair-traffic.ts'
import {
  chosenPolicy,
  connections,
  guardedNode,
  linkedAddress,
  PODS_ON_NODE,
  pairWorld,
} from '../../../bench/policy/pair-world.ts'
import { PodFinder } from '../../../bench/rivals/guarded.ts'
import { selectorMatches } from '../../../src/model/label-selector.ts'
import { judge } from '../../../src/policy/evaluate.ts'

const DEVICES = { caller: 'n0', callee: 'n1', chosen: 'n2' } as const

for (const others of [1, 100, 350])
  t.test(`with ${others} policies the connections are what the evaluator says of them`, async (t) => {
    const world = pairWorld(others)
    for (const { from, to, port, isAllowed } of connections(others)) {
      const packet = {
        ...({ source: linkedAddress(from), destination: linkedAddress(to), protocol: 'udp', port } as const),
        ...{ node: SELF, isMasqueraded: false, isHairpin: false },
      }
      const verdicts = (['egress', 'ingress'] as const).map((way) => judge(world, packet, way).verdict)
      t.equal(
        verdicts.every((verdict) => verdict === 'allow'),
        isAllowed,
        `${from} to ${to} at ${port}: ${verdicts}`,
      )
    }
  })

t.test('the chosen policy is in the middle of those that select its pod', async (t) => {
  t.same([1, 100, 1000, 10_000].map(chosenPolicy), [0, 0, 500, 5000])
  const { pods, policies } = guardedNode(pairWorld(1000), DEVICES, 'n')
  const own = policies.filter(({ addresses }) => addresses.includes(linkedAddress('chosen')))
  t.equal(own.length, 10)
  t.equal(own[5]?.ingress?.[0]?.peers[0]?.addresses.includes(linkedAddress('caller')), true)
  t.equal(pods.length, PODS_ON_NODE)
  t.same(
    pods.flatMap(({ device }, place) => (device.length === 2 ? [place] : [])),
    [53, 54, 55],
    'those with a link stand in the middle',
  )
  t.equal(new Set(pods.map(({ device }) => device)).size, pods.length)
  t.ok(pods.every(({ device }) => device.length < 16))
})

t.test('policies come in the order of their names, the one that counts in the middle of nine', async (t) => {
  const { policies } = guardedNode(pairWorld(12), DEVICES, 'n')
  const names = policies.map(({ namespace, name }) => `${namespace}/${name}`)
  t.same(names.slice(0, 9), names.slice(0, 9).sort())
  t.same(names.slice(9), names.slice(9).sort())
  t.equal(
    names.findIndex((name) => name.endsWith('-own')),
    4,
  )
})

t.test('a selector finds by an index whom it finds by looking at everybody', async (t) => {
  const world = pairWorld(3)
  const finder = new PodFinder(world)
  for (const { key, subject } of world.policies) {
    if (subject.kind !== 'pods') continue
    const all = world.pods.filter(
      ({ labels, namespace }) =>
        selectorMatches(subject.pods, labels) &&
        selectorMatches(subject.namespaces, world.namespaces.get(namespace) ?? {}),
    )
    t.same(finder.find(subject), all, key)
  }
})

t.test('what the shell of a node tells', async (t) => {
  const before = '0m0.010s 0m0.020s 0m1.500s 0m0.100s'
  const after = '0m0.010s 0m0.020s 1m2.500s 0m0.350s'
  const { wallMs, cpuMs } = takenOf(`0 100.250000 101.000000 ${before} ${after}  `, ['nft'])
  t.equal(wallMs, 750)
  t.equal(Math.round(cpuMs), 61_250)
  t.throws(() => takenOf(`1 1 2 ${before} ${after} no such set`, ['nft -f -']), {
    message: "'nft -f -' failed (1): no such set",
  })
})

const CASE: PairCase = { phase: 'new', to: 'chosen', flows: 10 }
const DENIED: PairCase = { ...CASE, phase: 'denied' }
const sampled = (
  of: PairCase,
  title: string,
  others: number | undefined,
  cpuNs: number[],
): PacketSampled => ({
  ...{ of, title, isPeer: title !== 'Weir', others, cpuNs },
})

t.test('ratios and what is added are of the same round', async (t) => {
  const figures = pairFigures(
    [
      sampled(CASE, 'forwarding', undefined, [100, 200]),
      sampled(CASE, 'Weir', 1, [150, 300]),
      sampled(CASE, 'theirs', 1, [300, 900]),
      sampled(DENIED, 'forwarding', undefined, [100, 200]),
      sampled(DENIED, 'Weir', 1, [50, 60]),
    ],
    [{ what: 'a port', title: 'Weir', isPeer: false, others: 1, wallMs: [3], cpuMs: [2] }],
    [{ title: 'Weir', isPeer: false, others: 1, loadMs: 7 }],
  )
  const of = (table: RegExp) => figures.filter((figure) => table.test(figure.table))
  t.same(
    of(/what is added/).map(({ row, samples }) => [row.split(':')[0], samples]),
    [
      ['Weir', [50, 100]],
      ['theirs', [200, 700]],
    ],
  )
  t.same(
    of(/theirs over/).map(({ unit, samples }) => [unit, samples]),
    [['×', [2, 3]]],
  )
  t.same(
    of(/processor time/).map(({ samples }) => samples),
    [[2]],
  )
  t.same(
    of(/by the clock/).map(({ samples }) => samples),
    [[3]],
  )
  t.same(
    of(/from nothing/).map(({ samples }) => samples),
    [[7]],
  )
})
