// The far end of flows in a cluster: pods that run the server, and the Service `flows` that leads to them, over TCP and UDP.

import type { Manifest } from '../conformance/bed.ts'
import { pod, service } from '../conformance/manifests.ts'
import { serverCommand } from './traffic.ts'

/** Where the server listens. */
export const FLOW_PORT = 7000

export function flowPod(name: string, node: string): Manifest {
  const containers = [{ name: 'server', image: 'none', command: serverCommand(name, FLOW_PORT) }]
  return pod(name, { node, labels: { app: 'flows' }, spec: { containers } })
}

/** At port 80. Without a selector its slices are the test's. */
export function flowService(selector?: Readonly<Record<string, string>>): Manifest {
  return service('flows', {
    type: 'LoadBalancer',
    ...(selector === undefined ? {} : { selector }),
    ports: [
      { name: 'tcp', port: 80, targetPort: FLOW_PORT },
      { name: 'udp', port: 80, targetPort: FLOW_PORT, protocol: 'UDP' },
    ],
  })
}
