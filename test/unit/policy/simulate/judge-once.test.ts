// Judging once for all packets that are one to the evaluator gives what the evaluator gives, whatever the world.

import t from 'tap'
import { JudgeOnce } from '../../../../src/policy/simulate/judge-once.ts'
import { OWN_NODE } from '../../../policy/arbitrary/worlds.ts'
import { checkAgainstOracle } from '../../../policy/oracle.ts'

t.test('random worlds and packets at their edges', async (t) => {
  let packets = 0
  let asked = 0
  const { cases } = checkAgainstOracle(
    (world) => {
      const once = new JudgeOnce([world], OWN_NODE)
      return (packet, direction) => {
        const before = once.asked
        const [judged] = once.judge(packet, direction)
        packets += 1
        asked += once.asked - before
        if (judged === undefined) throw new TypeError('one world is one judgement')
        return judged
      }
    },
    { sets: 100, packetsPerSet: 200, seed: 23 },
  )
  t.equal(cases, 20_000)
  t.ok(asked < packets * 0.95, `${asked} of ${packets} were judged`)
})
