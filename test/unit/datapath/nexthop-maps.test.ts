// Nodes that join, change address and leave: who may tunnel to us, where tunnels lead, and which backends move with them.

import t from 'tap'
import { NexthopMaps } from '../../../src/datapath/nexthop-maps.ts'
import type { Uplink } from '../../../src/datapath/nexthop-plan.ts'
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
