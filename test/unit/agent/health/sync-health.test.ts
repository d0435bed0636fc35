// When the datapath counts as lagging, and what /healthz and /livez say of it.

import t from 'tap'
import { healthAnswer, readyAnswer } from '../../../../src/agent/health/health-server.ts'
import { SyncHealth } from '../../../../src/agent/health/sync-health.ts'

const LIMIT_MS = 60_000

function clocked() {
  let nowMs = 1_000_000
  const health = new SyncHealth({ limitMs: LIMIT_MS, nowMs: () => nowMs })
  return { health, pass: (ms: number) => (nowMs += ms) }
}

t.test('healthy while starting, for as long as nothing waits', async (t) => {
  const { health, pass } = clocked()
  pass(10 * LIMIT_MS)
  t.ok(health.state.isHealthy)
  t.equal(health.state.lastUpdatedMs, undefined)
})

t.test('a change that waits longer than the limit', async (t) => {
  const { health, pass } = clocked()
  health.queued()
  pass(LIMIT_MS)
  t.ok(health.state.isHealthy, 'not yet')
  pass(1)
  t.notOk(health.state.isHealthy, 'never taken up')
  health.started()
  t.notOk(health.state.isHealthy, 'taken up, not finished')
  health.finished()
  t.ok(health.state.isHealthy)
  t.equal(health.state.lastUpdatedMs, 1_000_000 + LIMIT_MS + 1)
})

t.test('the oldest change counts, through rounds that break off', async (t) => {
  const { health, pass } = clocked()
  health.queued()
  health.started()
  pass(LIMIT_MS / 2)
  health.queued()
  health.started()
  pass(LIMIT_MS / 2 + 1)
  t.notOk(health.state.isHealthy)
})

t.test('what came during a round waits from its own time on', async (t) => {
  const { health, pass } = clocked()
  health.queued()
  health.started()
  pass(LIMIT_MS - 10)
  health.queued()
  health.finished()
  pass(LIMIT_MS)
  t.ok(health.state.isHealthy)
  pass(1)
  t.notOk(health.state.isHealthy)
})

const NOW = Date.parse('2026-01-02T03:04:05.678Z')
const GOOD = { lastUpdatedMs: NOW - 5000, isHealthy: true }
const LATE = { lastUpdatedMs: NOW - 90_000, isHealthy: false }
const STAYING = { isLeaving: false }

t.test('OPS-001 bodies: fields, order, times', async (t) => {
  const facts = { nowMs: NOW, families: { ipv4: GOOD, ipv6: GOOD }, node: STAYING }
  const now = '2026-01-02T03:04:05.678Z'
  const status = `{"IPv4":{"lastUpdated":"${now}","healthy":true},"IPv6":{"lastUpdated":"${now}","healthy":true}}`
  t.equal(
    JSON.stringify(healthAnswer('/healthz', facts).body),
    `{"lastUpdated":"${now}","currentTime":"${now}","nodeEligible":true,"healthy":true,"status":${status}}`,
  )
  t.equal(
    JSON.stringify(healthAnswer('/livez', facts).body),
    `{"lastUpdated":"${now}","currentTime":"${now}","healthy":true,"status":${status}}`,
  )
})

t.test('OPS-001, OPS-002 who is unhealthy where', async (t) => {
  const cases = [
    ['all is well', { ipv4: GOOD, ipv6: GOOD }, STAYING, 200, 200],
    ['one family lags', { ipv4: GOOD, ipv6: LATE }, STAYING, 503, 503],
    ['the family it has is well', { ipv4: GOOD }, STAYING, 200, 200],
    ['about to be deleted', { ipv4: GOOD }, { isLeaving: true }, 503, 200],
    ['deleted, or not known yet', { ipv4: GOOD }, undefined, 503, 200],
    ['nothing written yet', { ipv4: { lastUpdatedMs: undefined, isHealthy: true } }, STAYING, 200, 200],
  ] as const
  for (const [name, families, node, healthz, livez] of cases) {
    t.equal(healthAnswer('/healthz', { nowMs: NOW, families, node }).code, healthz, `${name}: healthz`)
    t.equal(healthAnswer('/livez', { nowMs: NOW, families, node }).code, livez, `${name}: livez`)
  }
})

t.test('ready is who waits for nothing', async (t) => {
  t.same(readyAnswer([]), { code: 200, body: { ready: true, waitsFor: [] } })
  t.same(readyAnswer(['policy is not written yet']), {
    code: 503,
    body: { ready: false, waitsFor: ['policy is not written yet'] },
  })
})

t.test('a lagging answer tells since when', async (t) => {
  const { body } = healthAnswer('/livez', { nowMs: NOW, families: { ipv4: GOOD, ipv6: LATE }, node: STAYING })
  t.match(body, {
    lastUpdated: '2026-01-02T03:02:35.678Z',
    healthy: false,
    status: { IPv4: { healthy: true }, IPv6: { lastUpdated: '2026-01-02T03:02:35.678Z', healthy: false } },
  })
  const never = { ipv4: { lastUpdatedMs: undefined, isHealthy: false } }
  const answer = healthAnswer('/livez', { nowMs: NOW, families: never, node: STAYING })
  t.match(answer.body, { lastUpdated: '0001-01-01T00:00:00Z' })
})
