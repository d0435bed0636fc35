// Compiler, writer, maps and the programs' judgement together, against the reference evaluator.

import t from 'tap'
import { judge } from '../../src/policy/evaluate.ts'
import { aimProbes } from '../policy/arbitrary/probes.ts'
import { randomWorlds } from '../policy/arbitrary/worlds.ts'
import { changesBetween, merged } from '../policy/changing-world.ts'
import { Kernel } from '../policy/in-kernel.ts'
import { agree, checkAgainstOracle } from '../policy/oracle.ts'
import { Random } from '../policy/random.ts'
import { clusterOf, type ManyCluster } from './policy-many.ts'

const PAIRS = 60
const PROBES = 25
const kernel = new Kernel()
t.teardown(() => kernel.close())

t.test('the kernel decides as the evaluator does', async (t) => {
  const wanted = { sets: 2000, packetsPerSet: 50, seed: 1129 }
  const { cases, sets, coverage } = checkAgainstOracle(kernel.decide, wanted)
  t.ok(cases >= 100_000, `${cases} packets of ${sets} worlds`)
  t.comment(`${coverage}`)
  t.strictSame(coverage.missing(), [], 'every kind and field was met')
})

t.test('and after each of any changes', async (t) => {
  const worlds = randomWorlds(77, PAIRS * 2)
  let asked = 0
  for (let pair = 0; pair < PAIRS; pair += 1) {
    const [from, other] = worlds.slice(pair * 2, pair * 2 + 2)
    if (!from || !other) throw new RangeError('a pair has two')
    // What is configured does not change while an agent lives.
    const { failSafePorts: _ports, ...rest } = other
    const to = from.failSafePorts ? { ...rest, failSafePorts: from.failSafePorts } : rest
    const random = new Random(pair)
    const judged = kernel.begin(from)
    const changes = [...changesBetween(from, to, random)]
    while (changes.length > 0) {
      judged.apply(merged(changes.splice(0, 1 + random.below(3))))
      for (const { packet, direction } of aimProbes(judged.world, random, PROBES)) {
        const expected = judge(judged.world, packet, direction)
        const got = judged.decide(packet, direction)
        asked += 1
        if (!agree(expected, got))
          throw new Error(`pair ${pair}: ${JSON.stringify({ packet, direction, expected, got })}`)
      }
    }
  }
  t.ok(asked > PAIRS * PROBES, `${asked} packets`)
})

t.test('NP-022 thousands of policies and blocks find room, and are gone without a trace', async (t) => {
  const cluster: ManyCluster = clusterOf({ policies: 2000, blocksEach: 1, pods: 200 })
  t.teardown(() => cluster.close())
  cluster.putPods()
  const before = cluster.fills()
  let most: ReturnType<ManyCluster['fills']> | undefined
  for (let round = 0; round < 2; round += 1) {
    cluster.putPolicies(round)
    t.match(cluster.shortage(), {
      classes: 0,
      peers: 0,
      identities: 0,
      subjects: 0,
      lockedSets: 0,
    })
    t.strictSame(cluster.wrongVerdicts(round), [])
    const now = cluster.fills()
    t.ok(now.prefixes > 4000, `${JSON.stringify(now)}`)
    most ??= now
    t.strictSame(now, most, `round ${round} takes what the first took`)
    cluster.dropPolicies()
    t.strictSame(cluster.fills(), before, `nothing is left of round ${round}`)
  }
})
