// The configuration of an agent that is measured, whose API server and gobgpd are processes of the bed, on the same host.

import { nodeAddress, nodeName, OWN_NODE, VIP_POOL } from './cluster.ts'

/** Where the bed's API server listens. */
export const API_PORT = 16_443

export interface AgentPlace {
  readonly directory: string
  readonly bpffs: string
  readonly cgroup: string
  readonly uplinks: readonly string[]
}

/** @param routing what it says beyond who the node is @param besides other sections */
export function agentConfig(
  { directory, bpffs, cgroup, uplinks }: AgentPlace,
  routing: Readonly<Record<string, unknown>>,
  besides: Readonly<Record<string, unknown>> = {},
) {
  return {
    nodeName: nodeName(OWN_NODE),
    stateDirectory: directory,
    kubernetes: {
      servers: [`https://127.0.0.1:${API_PORT}`],
      caFile: `${directory}/tls/ca.crt`,
      tokenFile: `${directory}/token`,
    },
    datapath: { bpffs, cgroup, uplinks },
    services: { forwarding: 'dsr' },
    routing: {
      gobgp: `unix://${directory}/gobgpd.sock`,
      routerId: nodeAddress(OWN_NODE),
      loopbacks: [`${nodeAddress(OWN_NODE)}/32`],
      maxAnnouncements: 20_000,
      ...routing,
    },
    pools: [{ name: 'bench', prefixes: [VIP_POOL] }],
    ...besides,
  }
}
