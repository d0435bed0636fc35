// Ports at which a node stays in touch: as configured, and those of the API servers as they are.

import t from 'tap'
import { parseConfig } from '../../../src/agent/config.ts'
import { type FailSafePortsNow, failSafePorts, HeldPorts } from '../../../src/agent/fail-safe-ports.ts'
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

type Slice = Pick<EndpointSlice, 'key' | 'ports' | 'endpoints'>

const slice = (port: number, at: string, name = 'kubernetes', protocol: 'TCP' | 'UDP' = 'TCP'): Slice => ({
  key: `default/${name}` as EndpointSlice['key'],
  ports: [{ name: 'https', protocol, port }],
  endpoints: [{ address: address(at) }] as unknown as EndpointSlice['endpoints'],
})
const NONE = { ingress: [], egress: [] }
const first = (now: FailSafePortsNow) => new HeldPorts(now, 0).ranges

t.test('API servers are reached at their real ports', async (t) => {
  const servers = ['https://10.0.0.1', 'http://10.0.0.2', 'https://10.0.0.3:7443']
  const there = first(failSafePorts(NONE, servers, [slice(8443, '192.0.2.1')], ['192.0.2.9']))
  t.same(texts(there.egress), ['443/tcp', '80/tcp', '7443/tcp', '8443/tcp'])
  t.same(there.ingress, [], 'there is none on this node')
  const here = first(failSafePorts(NONE, [], [slice(8443, '192.0.2.1')], ['192.0.2.1']))
  t.same(texts(here.ingress), ['8443/tcp'])
  const known = [{ protocol: 'tcp', first: 8000, last: 9000 }] as const
  t.same(
    first(failSafePorts({ ingress: known, egress: known }, [], [slice(8443, '192.0.2.1')], [])).egress,
    known,
  )
  const udp = failSafePorts(NONE, [], [slice(8443, '192.0.2.1', 'other', 'UDP')], ['192.0.2.1'])
  t.same(first(udp), NONE, 'they speak TCP alone')
})

t.test('ports of API servers come and go, seldom, and are few', async (t) => {
  const minutes = (count: number) => count * 60_000
  const at = (...slices: readonly Slice[]) => failSafePorts(NONE, [], slices, [])
  const of = (port: number, name = 'kubernetes') => slice(port, '192.0.2.1', name)
  const held = new HeldPorts(at(of(6443)), 0)
  const ports = () => texts(held.ranges.egress).map((text) => Number(text.split('/')[0]))
  t.notOk(held.follow(at(of(6443)), 10))
  t.ok(held.follow(at(of(7443)), 20), 'the first change at once')
  t.same(ports(), [6443, 7443], 'what has gone stays for a while')
  t.notOk(held.follow(at(of(7443), of(9000, 'a')), 30), 'the next one a minute later')
  t.ok(held.follow(at(of(7443), of(9000, 'a')), minutes(2)))
  t.same(ports(), [6443, 7443, 9000])
  t.ok(held.follow(at(of(7443), of(9000, 'a')), minutes(6)))
  t.same(ports(), [7443, 9000], 'and goes')
  t.notOk(held.isFull)
  const many = Array.from({ length: 20 }, (_, index) => of(100 + index, `many-${index}`))
  t.ok(held.follow(at(...many, of(9000, 'a'), of(443)), minutes(8)))
  t.ok(held.isFull)
  t.equal(ports().length, 8)
  for (const port of [443, 9000]) t.ok(ports().includes(port), `${port}, what is sure and what was there`)
  t.notOk(held.follow(at(...many.toReversed(), of(9000, 'a'), of(443)), minutes(10)), 'in whatever order')
  t.ok(held.follow(at(of(443)), minutes(20)))
  t.same(ports(), [443])
  t.notOk(held.isFull)
})
