// What must change nothing in compiled rows, and what may change verdicts one way only.

import t from 'tap'
import { aimProbes } from '../../../policy/arbitrary/probes.ts'
import { randomWorlds } from '../../../policy/arbitrary/worlds.ts'
import { compiled } from '../../../policy/compiled.ts'
import { inOtherWords, withMore } from '../../../policy/laws.ts'
import { checkAgainstOracle, type Decide } from '../../../policy/oracle.ts'
import { Random } from '../../../policy/random.ts'

const SEED = 61

t.test('order, split prefixes, and rules and policies that list nobody are neutral', async (t) => {
  const rewritten: Decide = (world) => compiled(inOtherWords(world))
  const { cases } = checkAgainstOracle(rewritten, { sets: 300, packetsPerSet: 50, seed: SEED })
  t.equal(cases, 15_000)
})

for (const action of ['deny', 'allow'] as const)
  t.test(`rows of more rules that ${action} never turn a verdict the other way`, async (t) => {
    const worlds = randomWorlds(SEED, 200)
    const random = new Random(SEED)
    let turned = 0
    for (const [index, world] of worlds.entries()) {
      const more = withMore(world, worlds[(index + 1) % worlds.length]?.policies ?? [], action)
      const [before, after] = [compiled(world), compiled(more)]
      for (const { packet, direction } of aimProbes(more, random, 25)) {
        const verdicts = [before, after].map((decide) => decide(packet, direction).verdict)
        if (verdicts[0] === verdicts[1]) continue
        turned += 1
        t.equal(verdicts[1], action)
      }
    }
    t.ok(turned > 50, `${turned} verdicts turned to ${action}`)
  })
