// Metrics of whether the configuration that somebody wrote is the one in force.

import t from 'tap'
import type { LiveRoutingStatus } from '../../../../src/agent/live-routing.ts'
import { configurationReadings } from '../../../../src/agent/metrics/configuration-readings.ts'

function values(status: LiveRoutingStatus): Record<string, unknown> {
  return Object.fromEntries(configurationReadings(() => status).map(({ name, read }) => [name, read()]))
}

const GOOD: LiveRoutingStatus = {
  file: { file: '/etc/weir/agent.yaml', takenAtMs: 0, refused: undefined, waitForRestart: [] },
  candidate: undefined,
  waitForRestart: [],
  sources: [],
  problems: [],
}

t.test('as it stands', async (t) => {
  t.strictSame(values(GOOD), {
    weir_config_refused: 0,
    weir_config_waiting_for_restart: 0,
    weir_routing_on_trial: 0,
    weir_routing_problems: 0,
  })
  t.strictSame(
    values({
      file: { ...GOOD.file, refused: { atMs: 0, message: 'no' }, waitForRestart: ['logLevel', 'datapath'] },
      candidate: { appliedAtMs: 0, deadlineMs: 1 },
      waitForRestart: [{ by: 'candidate', keys: ['routing.loopbacks'] }],
      sources: [],
      problems: [{ source: 'routing.peers[0]', why: 'is ours' }],
    }),
    {
      weir_config_refused: 1,
      weir_config_waiting_for_restart: 2,
      weir_routing_on_trial: 1,
      weir_routing_problems: 1,
    },
  )
  t.equal(
    values({ ...GOOD, candidate: { appliedAtMs: 0, deadlineMs: undefined } })['weir_routing_on_trial'],
    0,
  )
})
