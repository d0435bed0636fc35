// When policy begins: with the Services where all of it is known, else later; and never after the end.

import t from 'tap'
import type { ClosedPods } from '../../../src/agent/closed-pods.ts'
import type { PolicyLoop } from '../../../src/agent/policy-loop.ts'
import { PolicyStart, policyWaitsFor } from '../../../src/agent/start-policy.ts'

function bed(isSynced: boolean) {
  const { promise: synced, resolve } = Promise.withResolvers<void>()
  const calls: string[] = []
  const call = (name: string) => async () => void calls.push(name)
  const policy = new PolicyStart({ isSynced, synced }, () => {
    calls.push('start')
    return {
      loop: { close: call('close loop'), isSettled: true } as Partial<PolicyLoop> as PolicyLoop,
      closedPods: {
        networkWritten: () => void calls.push('network'),
        get hasBegun() {
          return calls.includes('network')
        },
        close: call('close pods'),
      } as Partial<ClosedPods> as ClosedPods,
    }
  })
  const known = async () => {
    resolve()
    await synced
  }
  return { policy, calls, known }
}

t.test('all of it is known: at once, before anything is attached', async (t) => {
  const { policy, calls } = bed(true)
  t.same(calls, ['start'])
  t.notOk(policy.hasBegun, 'before programs are attached')
  policy.networkWritten()
  await policy.close()
  t.same(calls, ['start', 'network', 'close pods', 'close loop'])
})

t.test('it may be read later than Services begin', async (t) => {
  const { policy, calls, known } = bed(false)
  policy.networkWritten()
  t.same([calls, policy.loop, policy.closedPods], [[], undefined, undefined])
  t.same(policyWaitsFor({ problems: ['the role lacks a kind'] }, policy), ['the role lacks a kind'])
  t.same(policyWaitsFor({ problems: [] }, undefined), ['policy is not written yet'])
  t.same(policyWaitsFor(undefined, undefined), [], 'where nothing is enforced')
  await known()
  t.same(policyWaitsFor({ problems: ['another kind, later'] }, policy), [])
  t.same(calls, ['start', 'network'], 'what was written meanwhile is not forgotten')
  t.ok(policy.loop)
})

t.test('the agent ends before', async (t) => {
  const { policy, calls, known } = bed(false)
  await policy.close()
  await known()
  t.same(calls, [])
})
