// Draining as a table of states and facts; and the property that from any state, a wish that stays leads to its end.

import fc from 'fast-check'
import t from 'tap'
import { DRAIN_DEFAULT } from '../../../src/model/routing.ts'
import {
  ACTIVE,
  type DrainFacts,
  type DrainPhase,
  type DrainState,
  describeDrain,
  drainEffects,
  readDrainState,
  stepDrain,
} from '../../../src/routing/drain.ts'

const FACTS: DrainFacts = {
  isWanted: true,
  isTold: true,
  vips: 3,
  packetsPerSecond: 100,
  nodePortPacketsPerSecond: undefined,
}
const QUIET = { ...FACTS, packetsPerSecond: 0 }
const at = (phase: DrainPhase, more: Partial<DrainState> = {}): DrainState => ({
  ...ACTIVE,
  phase,
  sinceMs: 1000,
  startedMs: 1000,
  ...more,
})
const step = (state: DrainState, facts: Partial<DrainFacts>, nowMs: number) =>
  stepDrain(state, { ...FACTS, ...facts }, DRAIN_DEFAULT, nowMs)

t.test('each step', async (t) => {
  const rows: [string, DrainState, Partial<DrainFacts>, number, DrainPhase][] = [
    ['nobody wants it', ACTIVE, { isWanted: false }, 5000, 'active'],
    ['somebody does', ACTIVE, {}, 5000, 'marking'],
    ['routers are not told yet', at('marking'), { isTold: false }, 2000, 'marking'],
    ['they are', at('marking'), {}, 2000, 'waiting'],
    ['gobgpd is away for good', at('marking'), { isTold: false }, 121_000, 'withdrawn'],
    ['traffic goes on', at('waiting'), {}, 60_000, 'waiting'],
    ['it goes on for too long', at('waiting'), {}, 121_000, 'withdrawn'],
    ['nothing was measured', at('waiting'), { packetsPerSecond: undefined }, 60_000, 'waiting'],
    ['it has just ceased', at('waiting'), { packetsPerSecond: 0 }, 60_000, 'waiting'],
    ['it has ceased', at('waiting', { quietSinceMs: 58_000 }), { packetsPerSecond: 0 }, 60_000, 'withdrawn'],
    ['it began again', at('waiting', { quietSinceMs: 58_000 }), {}, 60_000, 'waiting'],
    ['VIPs wait for their turn', at('withdrawn'), {}, 60_000, 'withdrawn'],
    ['gobgpd is not told', at('withdrawn'), { vips: 0, isTold: false }, 60_000, 'withdrawn'],
    ['all gone', at('withdrawn'), { vips: 0 }, 60_000, 'drained'],
    ['it stays so', at('drained'), { packetsPerSecond: 5000 }, 600_000, 'drained'],
  ]
  for (const [name, state, facts, nowMs, expected] of rows)
    t.equal(step(state, facts, nowMs).phase, expected, `${state.phase}: ${name}`)
  for (const phase of ['marking', 'waiting', 'withdrawn', 'drained'] as const)
    t.equal(step(at(phase), { isWanted: false }, 9000).phase, 'active', `${phase}: taken back`)
  t.equal(step(at('waiting', { quietSinceMs: 58_000 }), {}, 60_000).quietSinceMs, undefined)
})

t.test('what each state does', async (t) => {
  const settings = { ...DRAIN_DEFAULT, med: 4000, prepend: 2 }
  t.same(drainEffects(ACTIVE, settings), { mark: undefined, withdrawsVips: false, leaves: false })
  const mark = { communities: ['65535:0'], med: 4000, prepend: 2 }
  for (const [phase, withdrawsVips] of [
    ['marking', false],
    ['waiting', false],
    ['withdrawn', true],
    ['drained', true],
  ] as const)
    t.same(drainEffects(at(phase), settings), { mark, withdrawsVips, leaves: true }, phase)
})

t.test('a state survives being written down, but for the silence', async (t) => {
  const waiting = at('waiting', { quietSinceMs: 58_000 })
  t.same(readDrainState(JSON.stringify(waiting)), { ...waiting, quietSinceMs: undefined })
  const drained = at('drained', { ended: 'timeout' })
  t.same(readDrainState(JSON.stringify(drained)), drained)
  for (const text of ['', 'null', '[]', '{"phase":"gone","sinceMs":1,"startedMs":1}', '{"phase":"drained"}'])
    t.equal(readDrainState(text), undefined, text)
})

t.test('what it says', async (t) => {
  const say = (state: DrainState, facts: Partial<DrainFacts>, nowMs: number) =>
    describeDrain(state, { ...FACTS, ...facts }, DRAIN_DEFAULT, nowMs)
  t.match(
    say(at('waiting'), {}, 21_000),
    /^100 packets a second .*; VIPs are withdrawn in 100 s at the latest$/,
  )
  t.match(
    say(at('waiting', { quietSinceMs: 20_000 }), QUIET, 21_000),
    /^no traffic of clients to VIPs for 1 s of 2 s/,
  )
  t.match(say(at('drained', { ended: 'quiet' }), { vips: 0 }, 21_000), /traffic has gone; no VIP/)
  t.match(say(at('withdrawn', { ended: 'timeout' }), {}, 21_000), /did not go away in time; 3 VIPs/)
})

t.test('from any state a wish that stays is fulfilled', async () => {
  const phase = fc.constantFrom<DrainPhase>('active', 'marking', 'waiting', 'withdrawn', 'drained')
  fc.assert(
    fc.property(phase, fc.boolean(), fc.nat(500), (from, isWanted, packetsPerSecond) => {
      let state = at(from)
      let nowMs = 1000
      const seen: DrainPhase[] = [from]
      for (let turn = 0; turn < 1000; turn += 1) {
        nowMs += 250
        const vips = drainEffects(state, DRAIN_DEFAULT).withdrawsVips ? 0 : 3
        state = step(state, { isWanted, packetsPerSecond, vips }, nowMs)
        if (seen.at(-1) !== state.phase) seen.push(state.phase)
      }
      return state.phase === (isWanted ? 'drained' : 'active') && new Set(seen).size === seen.length
    }),
  )
})
