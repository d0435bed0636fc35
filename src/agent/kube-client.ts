// The API server as the configuration names it.

import { createKubeClient, type KubeClient } from '../kube/client.ts'
import type { AgentConfig } from './config.ts'

export function kubeClient(config: Pick<AgentConfig, 'kubernetes'>): KubeClient {
  const { servers, caFile, tokenFile } = config.kubernetes
  return createKubeClient({
    servers,
    ...(caFile === undefined ? {} : { caFile }),
    ...(tokenFile === undefined ? {} : { tokenFile }),
  })
}
