import t from 'tap'
import { VERDICT_REASON_NAMES } from '../../../src/datapath/abi.gen.ts'
import { verdictOf } from '../../../src/datapath/verdict.ts'

const verdicts = new Map(
  [...VERDICT_REASON_NAMES.values()].map((name) => {
    const reason = name.slice('REASON_'.length)
    return [reason, verdictOf(reason)]
  }),
)

t.test('every reason says what becomes of packets, but for those that are of no verdict', async (t) => {
  const without = [...verdicts].filter(([, verdict]) => verdict === undefined).map(([reason]) => reason)
  t.strictSame(without.sort(), ['COUNT', 'EVENT_LOST', 'POLICY_AUDITED'])
})

t.test('what policy, BFD and forged sources drop is counted as dropped', async (t) => {
  for (const reason of ['POLICY_INGRESS', 'POLICY_EGRESS', 'BFD_REFUSED', 'FORGED_SOURCE', 'FRAGMENT'])
    t.equal(verdicts.get(reason), 'dropped', reason)
  t.equal(verdicts.get('NO_ENDPOINT'), 'refused')
  t.equal(verdicts.get('TO_LOCAL'), 'forwarded')
})
