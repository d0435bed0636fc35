// Laws of the evaluator over random worlds: what is written otherwise means the same, a denial more never allows, an allowance more never
// denies, and nothing of a policy's fields is left untried.

import t from 'tap'
import { judge } from '../../../src/policy/evaluate.ts'
import { aimProbes } from '../../policy/arbitrary/probes.ts'
import { randomWorlds } from '../../policy/arbitrary/worlds.ts'
import { CONTENDERS } from '../../policy/contenders.ts'
import { shuffled, withIdleObjects, withMore, withSplitPrefixes } from '../../policy/laws.ts'
import { checkAgainstOracle, type Decide } from '../../policy/oracle.ts'
import { Random } from '../../policy/random.ts'

const SEED = 1
const few = { sets: 200, packetsPerSet: 50, seed: SEED }

const neutral: readonly [string, (world: Parameters<Decide>[0]) => Parameters<Decide>[0]][] = [
  ['the order of objects, peers and ports is irrelevant', (world) => shuffled(world, new Random(SEED))],
  ['splitting a prefix is neutral', withSplitPrefixes],
  ['lists of nobody, selectors of nobody and pods that have ended do nothing', withIdleObjects],
]
for (const [name, change] of neutral)
  t.test(name, async (t) => {
    const decide: Decide = (world) => {
      const changed = change(world)
      return (packet, direction) => judge(changed, packet, direction)
    }
    t.equal(checkAgainstOracle(decide, few).cases, 10_000)
  })

for (const action of ['deny', 'allow'] as const)
  t.test(`adding rules that ${action} never turns a verdict the other way`, async (t) => {
    const worlds = randomWorlds(SEED, 400)
    const random = new Random(SEED)
    const turned: Record<'allow' | 'deny', number> = { allow: 0, deny: 0 }
    for (const [index, world] of worlds.entries()) {
      const more = withMore(world, worlds[(index + 1) % worlds.length]?.policies ?? [], action)
      for (const { packet, direction } of aimProbes(more, random, 25)) {
        const [before, after] = [judge(world, packet, direction), judge(more, packet, direction)]
        if (before.verdict !== after.verdict) turned[after.verdict] += 1
        const wouldBe = (judged: typeof before) => judged.wouldBe?.verdict ?? judged.verdict
        if (wouldBe(before) !== wouldBe(after)) turned[wouldBe(after)] += 1
      }
    }
    t.equal(turned[action === 'deny' ? 'allow' : 'deny'], 0)
    t.ok(turned[action] > 100, `${turned[action]} verdicts turned to ${action}`)
  })

t.test('random cases leave no kind, field, peer, port, party or cause untried', async (t) => {
  const [{ decide }] = CONTENDERS as [(typeof CONTENDERS)[number]]
  const { cases, sets, coverage } = checkAgainstOracle(decide, { sets: 2000, packetsPerSet: 50, seed: SEED })
  t.same([sets, cases], [2000, 100_000])
  t.same(coverage.missing(), [])
  t.comment(`\n${coverage}`)
})
