// Which families lead out of this node, and by which of them tunnels go.

import t from 'tap'
import {
  familiesOut,
  type Gateway,
  planTunnel,
  tunnelAddresses,
  type Uplink,
} from '../../../src/datapath/nexthop-plan.ts'
import { address, type Family } from '../../../src/model/address.ts'
import { nodeRow } from '../model/rows.ts'

const MAC = new Uint8Array(6)
const uplink = (ifindex: number, isUp: boolean): Uplink => ({
  name: `up${ifindex}`,
  ifindex,
  mac: MAC,
  isUp,
  mtu: 9000,
})
const gateway = (family: Family, ifindex: number): Gateway => ({
  family,
  ifindex,
  address: address(family === 'ipv4' ? '10.254.1.0' : 'fd00:254:1::'),
  mac: undefined,
})

t.test(
  'OPS-014 a family is served while a default route of it leads over an uplink that is up',
  async (t) => {
    const both = [gateway('ipv4', 2), gateway('ipv6', 3)]
    t.strictSame(familiesOut([uplink(2, true), uplink(3, true)], both), ['ipv4', 'ipv6'])
    t.strictSame(familiesOut([uplink(2, true), uplink(3, false)], both), ['ipv4'])
    t.strictSame(familiesOut([uplink(2, true)], []), [])
  },
)

t.test('OPS-014 tunnels go by a family that both ends have, and that leads out here', async (t) => {
  const ipv4 = { ipv4: address('10.255.0.1') }
  const ipv6 = { ipv6: address('fd00:255::1') }
  const dual = { ...ipv4, ...ipv6 }
  const cases: [object, object, Family[], string | undefined][] = [
    [dual, dual, ['ipv4', 'ipv6'], '10.255.0.1'],
    [dual, dual, ['ipv6'], 'fd00:255::1'],
    [dual, dual, [], '10.255.0.1'],
    [dual, ipv6, ['ipv4', 'ipv6'], 'fd00:255::1'],
    [dual, ipv4, ['ipv6'], '10.255.0.1'],
    [ipv4, ipv6, ['ipv4', 'ipv6'], undefined],
  ]
  for (const [self, other, out, remote] of cases) {
    const seen = tunnelAddresses(
      nodeRow('a', { internalIps: self }),
      nodeRow('b', { internalIps: other }),
      (family) => out.includes(family),
    )
    t.equal(seen?.remote, remote, JSON.stringify([self, other, out]))
  }
})

t.test('a tunnel fits what its headers leave of the uplinks', async (t) => {
  const uplinks = [uplink(2, true), { ...uplink(3, true), mtu: 1500 }]
  const mtu = (remote: string, kind?: 'geneve' | 'ipip') => planTunnel(address(remote), uplinks, kind).mtu
  t.equal(mtu('10.255.0.2'), 1500 - 20 - 56)
  t.equal(mtu('fd00:255::2', 'geneve'), 1500 - 40 - 56)
  t.equal(mtu('10.255.0.2', 'ipip'), 1500 - 20)
  t.equal(mtu('fd00:255::2', 'ipip'), 1500 - 40)
})
