// SONiC: its BGP daemon is FRR, and the text is frr.ts'. The container has not been run. Pure.

import { frrIntegratedConfig } from './frr.ts'
import type { RouterModel } from './model.ts'
import { untestedLines } from './untested.ts'

export function sonicConfig(router: RouterModel): string {
  return [
    ...untestedLines('!', 'SONiC'),
    '! FRR in the bgp container takes it with: docker exec -i bgp vtysh -f /dev/stdin < FILE',
    '! It stays only where CONFIG_DB leaves FRR its own file: DEVICE_METADATA localhost docker_routing_config_mode "split".',
    frrIntegratedConfig(router),
  ].join('\n')
}
