// How looks within pods share the agent's time, by a clock of the test's.

import t from 'tap'
import { LookPace, nextTurn, Share } from '../../../src/agent/inner-pace.ts'

interface Pod {
  readonly lookMs: number
  /** Due again so long after each look; undefined: it is due once. */
  readonly everyMs: number | undefined
  readonly isLarge: boolean
  readonly share: Share
  dueMs: number
  readonly waitedMs: number[]
  tookMs: number
}

const pod = (lookMs: number, dueMs: number, everyMs?: number, isLarge = lookMs >= 40): Pod => ({
  ...{ lookMs, everyMs, dueMs, isLarge, share: new Share(), waitedMs: [], tookMs: 0 },
})
const many = (count: number, make: (index: number) => Pod) => Array.from({ length: count }, (_, i) => make(i))

function run(pods: readonly Pod[], forMs: number): void {
  const pace = new LookPace()
  let nowMs = 1_000_000
  const endMs = nowMs + forMs
  for (const one of pods) one.dueMs += nowMs
  for (let turn = nextTurn(pods, pace, nowMs); turn; turn = nextTurn(pods, pace, nowMs)) {
    if (turn.atMs > nowMs) {
      nowMs = Math.ceil(turn.atMs)
      if (nowMs >= endMs) return
      continue
    }
    const { pod: one } = turn
    one.waitedMs.push(nowMs - one.dueMs)
    nowMs += one.lookMs
    one.tookMs += one.lookMs
    pace.took(one.share, { ms: one.lookMs, isLarge: one.isLarge }, nowMs)
    one.dueMs = one.everyMs === undefined ? Number.POSITIVE_INFINITY : nowMs + one.everyMs
  }
}

const AT_FIRST_MS = 500 + 2 * 100
const tookMs = (pods: readonly Pod[]) => pods.reduce((sum, one) => sum + one.tookMs, 0)
const longestMs = (pods: readonly Pod[]) => Math.max(...pods.flatMap((one) => one.waitedMs))

t.test('however many pods keep the agent looking, all together take a tenth', async (t) => {
  for (const count of [1, 3, 11, 100]) {
    const hostile = many(count, () => pod(40, 0, 20))
    run(hostile, 20_000)
    t.ok(tookMs(hostile) <= 2000 + AT_FIRST_MS, `${count} pods: ${tookMs(hostile)} of 20 000 ms`)
    const looks = hostile.map(({ waitedMs }) => waitedMs.length)
    if (count < 100)
      t.ok(Math.max(...looks) - Math.min(...looks) <= 1, `fair among them: ${Math.min(...looks)} at least`)
  }
})

t.test('one that keeps it looking takes a twentieth', async (t) => {
  const hostile = [pod(40, 0, 20)]
  run(hostile, 20_000)
  t.ok(tookMs(hostile) <= 1000, `${tookMs(hostile)} of 20 000 ms`)
})

t.test('who takes little waits little beside those that take all they get', async (t) => {
  for (const [count, lookMs, fromMs, waitMs] of [
    [11, 40, 2000, 40],
    [100, 40, 2000, 640],
    [100, 40, 80_000, 40],
    [100, 2, 2000, 40],
  ] as const) {
    const hostile = many(count, () => pod(lookMs, 0, 20))
    const honest = many(40, (index) => pod(1, fromMs + index * 377))
    run([...hostile, ...honest], fromMs + 20_000)
    t.ok(honest.every(({ waitedMs }) => waitedMs.length === 1))
    t.ok(longestMs(honest) <= waitMs, `${longestMs(honest)} ms beside ${count} with looks of ${lookMs} ms`)
    t.ok(tookMs([...hostile, ...honest]) <= (fromMs + 20_000) / 10 + AT_FIRST_MS)
  }
})

t.test('a node’s pods that start together are soon looked at', async (t) => {
  const pods = many(110, () => pod(1, 0))
  run(pods, 5000)
  t.ok(longestMs(pods) <= 110, `${longestMs(pods)} ms`)
})

t.test('a pod that starts containers one after the other', async (t) => {
  for (const [lookMs, everyMs, waitMs] of [
    [2, 100, 0],
    [5, 60, 150],
    [30, 60, 300],
  ] as const) {
    const starting = pod(lookMs, 0, everyMs)
    run([starting], 4000)
    t.ok(longestMs([starting]) <= waitMs, `looks of ${lookMs} ms wait ${longestMs([starting])} ms`)
    t.ok(
      starting.waitedMs.slice(0, 6).every((ms) => ms === 0),
      `${starting.waitedMs.join()}`,
    )
  }
})

t.test('whose look was large is taken for that for a minute', async (t) => {
  const share = new Share()
  t.notOk(share.isLarge(0))
  share.took(40, true, 1000)
  share.took(1, false, 2000)
  t.ok(share.isLarge(60_999))
  t.notOk(share.isLarge(61_000))
})

t.test('others’ work within a look is not paid for without end', async (t) => {
  const pods = [pod(5000, 0), pod(1, 5100)]
  run(pods, 10_000)
  t.ok((pods[1]?.waitedMs[0] ?? Number.POSITIVE_INFINITY) <= 640, `${pods[1]?.waitedMs} ms`)
})
