// The one-load filter before all look-ups: a clear bit passes everything, set ones change nothing.

import { fileURLToPath } from 'node:url'
import t from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import { type Address, address, addressToBytes } from '../../src/model/address.ts'
import { openObject } from '../../src/sys/libbpf-ts/index.ts'
import { frame, TCP } from './packet.ts'
import { ARRIVING, XDP } from './world.ts'

/** As bpf/abi/service.h defines it. */
const MULTIPLIER = 0x9e3779b1
const MULTIPLIER_2 = 0x85ebca77

function bitsOf(value: Address): readonly number[] {
  const bytes = Buffer.from(addressToBytes(value))
  const folded = [0, 4, 8, 12].reduce((word, at) => word ^ bytes.readUInt32LE(at), 0)
  const mixed = folded ^ (folded >>> 16)
  const word = Math.imul(mixed, MULTIPLIER) >>> 16
  return [26, 20, 14].map((shift) => word * 64 + ((Math.imul(mixed, MULTIPLIER_2) >>> shift) & 63))
}

const path = fileURLToPath(new URL('../../build/bpf/weir_xdp.bpf.o', import.meta.url))
const spec = openObject(path)
spec.setConstant('uses_frontend_filter', 1)
const object = spec.load()
t.teardown(() => object.close())

for (const [vip, client] of [
  ['203.0.113.10', '198.51.100.7'],
  ['2001:db8:113::10', '2001:db8:c::7'],
] as const)
  t.test(`the filter and ${vip}`, async (t) => {
    const frontend = { address: addressToBytes(address(vip)), port: 80, protocol: TCP }
    const none = { base: 0, size: 0 }
    const ids = {
      frontendId: 1,
      serviceId: 1,
      affinityTicks: 0,
      portId: 0,
      flags: abi.FrontendFlags.FRONTEND_EXTERNAL,
    }
    const ranges = { cluster: none, clusterBefore: none, local: none, localBefore: none }
    object.map('frontends').update(abi.encodeFrontendKey(frontend), abi.encodeFrontend({ ...ids, ...ranges }))
    const sent = frame(ARRIVING).from(address(client), 40_000).to(address(vip), 80).tcp('syn')
    const verdict = () => object.program('weir_uplink_xdp').testRun({ data: sent.bytes() }).returnValue
    t.equal(verdict(), XDP.PASS, 'its bits are clear: not ours')

    const bits = Buffer.from(object.map('frontend_filter').mmap())
    for (const bit of bitsOf(address(vip))) {
      t.ok(bit < abi.AbiConstant.FILTER_BITS)
      t.equal(verdict(), XDP.PASS, 'not all of them are set')
      bits.writeUInt8(bits.readUInt8(bit >> 3) | (1 << (bit & 7)), bit >> 3)
    }
    t.equal(verdict(), XDP.TX, 'set: the Service without endpoints refuses')
  })
