// Ports at which a node stays in touch whatever its policies isolate: how people, the API server and routers reach it.

import type { PolicyDirection, PortRange } from '../model/policy.ts'

const port = (protocol: PortRange['protocol'], first: number, last = first): PortRange => ({
  protocol,
  first,
  last,
})
const SSH = port('tcp', 22)
const API_SERVER = port('tcp', 6443)
const KUBELET = port('tcp', 10_250)
const BGP = port('tcp', 179)
const BFD = [port('udp', 3784, 3785), port('udp', 4784)]
const GENEVE = port('udp', 6081)

export const FAIL_SAFE_PORTS: Readonly<Record<PolicyDirection, readonly PortRange[]>> = {
  ingress: [SSH, API_SERVER, KUBELET, BGP, ...BFD, GENEVE],
  egress: [API_SERVER, BGP, ...BFD, GENEVE],
}
