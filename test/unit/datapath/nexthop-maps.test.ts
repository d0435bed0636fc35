// Nodes that join, change address and leave: who may tunnel to us, where tunnels lead, and which backends move with them.

import t from 'tap'
import { NexthopMaps } from '../../../src/datapath/nexthop-maps.ts'
import type { PodDevice, Uplink } from '../../../src/datapath/nexthop-plan.ts'
import { address } from '../../../src/model/address.ts'
import { nodeRow } from '../model/rows.ts'
import { memoryTables } from './memory-tables.ts'

const UPLINK: Uplink = { name: 'up0', ifindex: 2, mac: new Uint8Array(6), isUp: true, mtu: 9000 }
const SELF = nodeRow('a', { internalIps: { ipv4: address('10.255.0.1') } })
const other = (last: number) => nodeRow('b', { internalIps: { ipv4: address(`10.255.0.${last}`) } })

t.test('a node that changes its address keeps its numbers; its old address is nobody’s', async (t) => {
  const tables = memoryTables(1 << 10, 1 << 8)
  const maps = new NexthopMaps(tables, () => 0)
  const remoteOf = (id: number) => {
    const row = [...tables.nexthops.entries()].find(([number]) => number === id)?.[1]
    return row?.planned.kind === 'tunnel' ? row.planned.remote : undefined
  }
  const known = () => [...tables.nodes.entries()].map(([at]) => at)

  t.strictSame([...maps.setNodes(SELF, [other(2)], [UPLINK])], ['b'], 'joins: its backends are placed')
  const row = maps.nodeRow('b')
  t.equal(remoteOf(row.nexthopId), '10.255.0.2')

  t.strictSame([...maps.setNodes(SELF, [other(9)], [UPLINK])], [], 'moves: no backend needs to be touched')
  t.strictSame(maps.nodeRow('b'), row)
  t.equal(remoteOf(row.nexthopId), '10.255.0.9', 'one write mends every flow')
  t.strictSame(known(), ['10.255.0.9'], 'tunnels from the old address are refused')

  t.strictSame([...maps.setNodes(SELF, [], [UPLINK])], ['b'], 'leaves: its backends lose their way')
  t.strictSame(maps.nodeRow('b'), { nodeId: 0, nexthopId: 0 })
  t.strictSame(known(), [])
})

function pod(last: number): PodDevice {
  const mac = new Uint8Array(6)
  const device = {
    ifindex: last,
    hostMac: mac,
    podMac: mac,
    mtu: 1500,
    takesRedirects: true,
    mayBypass: true,
  }
  return { ...device, address: address(`10.244.1.${last}`), namespace: undefined }
}

t.test(
  'OPS-013 nodes and pods without room in their tables hold up no others, and get it as it comes',
  async (t) => {
    const tables = memoryTables(1 << 10, 1 << 8)
    tables.nodes.capacity = 2
    tables.endpoints.capacity = 2
    const maps = new NexthopMaps(tables, () => 0)
    const node = (name: string, last: number) =>
      nodeRow(name, { internalIps: { ipv4: address(`10.255.0.${last}`) } })
    const all = [node('b', 2), node('c', 3), node('d', 4)]
    const nodes = () => [...tables.nodes.entries()].map(([at]) => at)
    const pods = () => [...tables.endpoints.entries()].map(([at]) => at)

    maps.setNodes(SELF, all, [UPLINK])
    t.same(nodes(), ['10.255.0.2', '10.255.0.3'])
    t.not(maps.nodeRow('d').nexthopId, 0, 'its pods are reached')
    maps.setNodes(SELF, all.slice(1), [UPLINK])
    t.same(nodes(), ['10.255.0.3', '10.255.0.4'])

    maps.setPods([pod(5), pod(6), pod(7)], new Set())
    t.same(pods(), ['10.244.1.5', '10.244.1.6'])
    t.same(maps.usage, { nexthops: maps.usage.nexthops, nodes: 2, endpoints: 2 })
    maps.setPods([pod(6), pod(7)], new Set())
    t.same(pods(), ['10.244.1.6', '10.244.1.7'])
    maps.setPods([pod(6)], new Set())
    t.equal(maps.podRow(address('10.244.1.7')), 0)

    maps.setPods([pod(6), pod(5), pod(7)], new Set())
    maps.setPods([pod(6), pod(5)], new Set())
    t.equal(maps.podRow(address('10.244.1.7')), 0, 'one that never had room leaves no row behind')
  },
)

t.test('whatever changes about a pod’s device is in its row', async (t) => {
  const tables = memoryTables(1 << 10, 1 << 8)
  const maps = new NexthopMaps(tables, () => 0)
  const device = { ...pod(5), podMac: new Uint8Array([2, 0, 0, 0, 0, 5]) }
  const row = () =>
    [...tables.nexthops.entries()].find(([id]) => id === maps.podRow(device.address))?.[1].planned
  maps.setPods([device], new Set())
  const changes: readonly (readonly [Partial<PodDevice>, object])[] = [
    // A queue that limits its bandwidth came, and went.
    [{ mayBypass: false }, { bypass: false }],
    [{ mayBypass: true }, { bypass: true }],
    [{ takesRedirects: false }, { redirect: false }],
    [{ mtu: 1400 }, { mtu: 1400 }],
    [{ ifindex: 9 }, { member: { ifindex: 9 } }],
    [{ podMac: new Uint8Array([2, 0, 0, 0, 0, 6]) }, { member: { destination: { 5: 6 } } }],
    [{ hostMac: new Uint8Array([2, 0, 0, 0, 0, 7]) }, { member: { source: { 5: 7 } } }],
  ]
  let now: PodDevice = device
  for (const [change, said] of changes) {
    now = { ...now, ...change }
    maps.setPods([now], new Set())
    t.match(row(), said, Object.keys(change).join())
  }
})
