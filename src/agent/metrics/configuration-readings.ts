// Whether the configuration that somebody wrote is the one in force.

import type { LiveRoutingStatus } from '../live-routing.ts'
import type { Reading } from './exposition.ts'
import { gauge } from './readings.ts'

export function configurationReadings(status: () => LiveRoutingStatus): readonly Reading[] {
  return [
    gauge(
      'weir_config_refused',
      'Whether the configuration file is refused, and the last good one in force',
      () => Number(status().file.refused !== undefined),
    ),
    gauge(
      'weir_config_waiting_for_restart',
      'Keys of the configuration file whose change waits for a restart: weir status names them',
      () => status().file.waitForRestart.length,
    ),
    gauge(
      'weir_routing_on_trial',
      'Whether the routing in force is taken back by itself unless it is confirmed',
      () => Number(status().candidate?.deadlineMs !== undefined),
    ),
    gauge(
      'weir_routing_problems',
      'What routing sources say and is not followed: weir status says why',
      () => status().problems.length,
    ),
  ]
}
