// Which addresses sockets of a namespace speak by, as the rows come and go.

import t from 'tap'
import type { KernelHash, NetnsEndpointValue } from '../../../src/datapath/kernel-tables.ts'
import { NetnsEndpoints } from '../../../src/datapath/netns-endpoints.ts'
import type { PodDevice } from '../../../src/datapath/nexthop-plan.ts'
import { address } from '../../../src/model/address.ts'

const HOST = 1n
const NODE = { ipv4: address('10.255.0.1'), ipv6: address('fd00:255::1') }
const NONE: ReadonlySet<never> = new Set()

class Rows extends Map<bigint, NetnsEndpointValue> implements KernelHash<bigint, NetnsEndpointValue> {
  writes = 0
  override set(cookie: bigint, value: NetnsEndpointValue): this {
    this.writes += 1
    return super.set(cookie, value)
  }
}

function pod(text: string, cookie: bigint | undefined): PodDevice {
  const mac = new Uint8Array(6)
  const namespace = cookie === undefined ? undefined : { path: `/run/netns/${cookie}`, cookie }
  const device = { ifindex: 7, hostMac: mac, podMac: mac, mtu: 1500, takesRedirects: true, mayBypass: true }
  return { ...device, address: address(text), namespace }
}

t.test('the node and its pods, each with an address of both families', async (t) => {
  const rows = new Rows()
  const endpoints = new NetnsEndpoints(rows, HOST)
  const pods = [
    pod('10.244.1.5', 5n),
    pod('fd00:244:1::5', 5n),
    pod('10.244.1.6', 6n),
    pod('10.244.1.66', 6n),
  ]
  endpoints.set(NODE, pods, NONE)
  t.same(
    [...rows],
    [
      [5n, { ipv4: '10.244.1.5', ipv6: 'fd00:244:1::5' }],
      [6n, { ipv4: '10.244.1.6', ipv6: undefined }],
      [HOST, NODE],
    ],
  )
  const { writes } = rows
  endpoints.set(NODE, pods, NONE)
  t.equal(rows.writes, writes, 'nothing new, nothing written')
  endpoints.set(NODE, [pod('10.244.1.7', 6n)], NONE)
  t.same([...rows.keys()].sort(), [HOST, 6n], 'a pod that left')
  t.equal(rows.get(6n)?.ipv4, '10.244.1.7', 'an address that changed')
})

t.test('a pod on the host network, or one whose end was not seen, has no row of its own', async (t) => {
  const rows = new Rows()
  new NetnsEndpoints(rows, HOST).set(NODE, [pod('10.244.1.5', HOST), pod('10.244.1.6', undefined)], NONE)
  t.same([...rows], [[HOST, NODE]])
})

t.test('what an earlier process wrote stays until more is known', async (t) => {
  const rows = new Rows([
    [HOST, NODE],
    [5n, { ipv4: address('10.244.1.5'), ipv6: undefined }],
    [6n, { ipv4: address('10.244.1.6'), ipv6: undefined }],
  ])
  new NetnsEndpoints(rows, HOST).set({}, [], new Set([address('10.244.1.5')]))
  t.same([...rows.keys()], [HOST, 5n], 'the node before the API server answers, and a pod not yet looked at')
})
