// Ports at which a node stays in touch: as configured, and those of the API servers as they are.

import t from 'tap'
import { parseConfig } from '../../../src/agent/config.ts'
import { failSafePorts } from '../../../src/agent/fail-safe-ports.ts'
import { address } from '../../../src/model/address.ts'
import type { PortRange } from '../../../src/model/policy.ts'
import type { EndpointSlice } from '../../../src/model/service.ts'

const read = (policy: string) =>
  parseConfig(
    `nodeName: n1
stateDirectory: /run/weir/n1
kubernetes: { servers: ["https://10.0.0.1"] }
datapath: { bpffs: /sys/fs/bpf/weir, cgroup: /sys/fs/cgroup, uplinks: [eth0] }
routing: { mode: own, asn: 65101, routerId: 10.255.0.1, gobgp: unix:///run/weir/gobgpd.sock }
policy: ${policy}
`,
    'agent.yaml',
  ).policy.failSafePorts

const texts = (ranges: readonly PortRange[]) =>
  ranges.map(({ protocol, first, last }) => `${first === last ? first : `${first}-${last}`}/${protocol}`)

t.test('what a node cannot be without stays open unless told otherwise', async (t) => {
  const { ingress, egress } = read('{}')
  for (const port of ['22/tcp', '179/tcp', '6443/tcp', '3784-3785/udp', '6081/udp', '2379-2380/tcp'])
    t.ok(texts(ingress).includes(port), port)
  for (const port of ['53/udp', '67/udp', '179/tcp', '6443/tcp', '3784-3785/udp'])
    t.ok(texts(egress).includes(port), port)
  t.notOk(texts(egress).includes('22/tcp'), 'a node need not open sessions to others')
  const own = read('{ failSafePorts: { ingress: [2222/tcp, 4500-4510/udp], egress: [] } }')
  t.same(texts(own.ingress), ['2222/tcp', '4500-4510/udp'])
  t.same(own.egress, [])
})

t.test('what is no port is told', async (t) => {
  for (const text of ['"22"', 'ssh/tcp', '0/tcp', '70000/tcp', '10-9/udp', '8/icmp'])
    t.throws(() => read(`{ failSafePorts: { ingress: [${text}] } }`), {
      message: /policy\.failSafePorts\.ingress\[0\]: .* is no port or range of ports: write 22\/tcp/,
    })
})

t.test('API servers are reached at their real ports', async (t) => {
  const slice = (port: number, at: string): Pick<EndpointSlice, 'ports' | 'endpoints'> => ({
    ports: [{ name: 'https', protocol: 'TCP', port }],
    endpoints: [{ address: address(at) }] as unknown as EndpointSlice['endpoints'],
  })
  const none = { ingress: [], egress: [] }
  const servers = ['https://10.0.0.1', 'http://10.0.0.2', 'https://10.0.0.3:7443']
  const there = failSafePorts(none, servers, [slice(8443, '192.0.2.1')], ['192.0.2.9'])
  t.same(texts(there.egress), ['443/tcp', '80/tcp', '7443/tcp', '8443/tcp'])
  t.same(there.ingress, [], 'there is none on this node')
  const here = failSafePorts(none, [], [slice(8443, '192.0.2.1')], ['192.0.2.1'])
  t.same(texts(here.ingress), ['8443/tcp'])
  const known = [{ protocol: 'tcp', first: 8000, last: 9000 }] as const
  t.same(failSafePorts({ ingress: known, egress: known }, [], [slice(8443, '192.0.2.1')], []).egress, known)
})
