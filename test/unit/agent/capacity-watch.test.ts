// Warnings of tables that fill up, and the list of drops, with a clock of the test's own.

import t from 'tap'
import { CapacityWatch } from '../../../src/agent/capacity-watch.ts'
import { DropLog } from '../../../src/agent/drop-log.ts'
import * as abi from '../../../src/datapath/abi.gen.ts'
import type { MapFill } from '../../../src/datapath/map-fill.ts'
import { address, addressToBytes } from '../../../src/model/address.ts'

function watched() {
  const said: string[] = []
  const looks: number[] = []
  const state = {
    nowMs: 0,
    refused: 5,
    fill: { map: 'slots', used: 0, capacity: 100, knob: 'slots' } as MapFill,
  }
  const watch = new CapacityWatch({
    log: { warn: (_details: unknown, message: string) => said.push(message), info: () => {} } as never,
    flows: { capacity: 4000, sweep: (count) => count },
    sockets: { capacity: 700, look: (count) => looks.push(count) },
    fills: () => [state.fill],
    refusedFlows: () => state.refused,
    nowMs: () => state.nowMs,
  })
  t.teardown(() => watch.close())
  return { said, looks, state, watch }
}

t.test(
  'OPS-013 a table that is 80 % full is warned of once, with its knob, and again when it fills anew',
  async (t) => {
    const { said, state, watch } = watched()
    state.fill = { ...state.fill, used: 79 }
    watch.look()
    t.same(said, [])
    state.fill = { ...state.fill, used: 80 }
    watch.look()
    watch.look()
    t.same(said, ['slots is 80 % full (80 of 100); raise datapath.capacities.slots and restart the agent'])
    state.fill = { ...state.fill, used: 10 }
    watch.look()
    state.fill = { ...state.fill, used: 95 }
    watch.look()
    t.equal(said.length, 2)
    state.nowMs += 600_000
    watch.look()
    t.equal(said.length, 3, 'and after ten minutes, for it still is')
  },
)

t.test('CT-008 flows that the table refused are told of; those of before the start are not', async (t) => {
  const { said, state, watch } = watched()
  watch.look()
  t.same(said, [])
  state.refused += 7
  watch.look()
  t.match(said, ['the flow table had no place for 7 packets of new flows; raise datapath.capacities.flows'])
})

t.test('the whole table is swept in ten seconds, a hundredth at a time', async (t) => {
  const { watch, looks } = watched()
  watch.sweep()
  t.equal(watch.sweptFlows, 40)
  t.same(looks, [7], 'and the sockets counted')
})

function batchOf(ports: readonly number[]) {
  const data = Buffer.alloc(abi.PACKET_EVENT_BYTES * ports.length)
  for (const [index, sourcePort] of ports.entries())
    abi.encodePacketEvent(
      {
        timeNs: 2_000_000_000n,
        source: addressToBytes(address('198.51.100.7')),
        destination: addressToBytes(address('2001:db8::1')),
        sourcePort,
        destinationPort: 80,
        protocol: 6,
        kind: 1,
        reason: abi.VerdictReason.REASON_SOURCE_RANGE,
        ifindex: 3,
        serviceId: 9,
      },
      data,
      index * abi.PACKET_EVENT_BYTES,
    )
  return {
    data,
    count: ports.length,
    offsets: Uint32Array.from(ports, (_, index) => index * abi.PACKET_EVENT_BYTES),
    lengths: Uint32Array.from(ports, () => abi.PACKET_EVENT_BYTES),
  }
}

t.test('the newest thousand drops are kept, with names', async (t) => {
  const log = new DropLog((serviceId) => (serviceId === 9 ? 'default/web' : undefined), 1_000_000, 0)
  t.same(log.newest(5), [])
  log.take(batchOf([1, 2, 3]))
  t.match(log.newest(2), [
    {
      sourcePort: 2,
      timeMs: 1_002_000,
      reason: 'SOURCE_RANGE',
      service: 'default/web',
      protocol: 'TCP',
      source: '198.51.100.7',
    },
    { sourcePort: 3, destination: '2001:db8::1', destinationPort: 80 },
  ])
  log.take(batchOf(Array.from({ length: 1200 }, (_, index) => 1000 + index)))
  const kept = log.newest(5000)
  t.equal(kept.length, 1000)
  t.equal(kept[0]?.sourcePort, 1200)
  t.equal(kept.at(-1)?.sourcePort, 2199)
})
