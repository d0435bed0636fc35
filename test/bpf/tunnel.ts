// Packets in Geneve, as nodes send them to each other.

import * as abi from '../../src/datapath/abi.gen.ts'
import { addressToBytes, type Family } from '../../src/model/address.ts'
import { type Frame, frame } from './packet.ts'
import { ARRIVING, TARGET_PORT, type World } from './world.ts'

export function dsrOption(backend: Uint8Array, change: Partial<abi.DsrOption> = {}): Buffer {
  return abi.encodeDsrOption({
    optionClass: abi.AbiConstant.GENEVE_CLASS,
    type: abi.AbiConstant.GENEVE_TYPE,
    length: 9,
    backend,
    backendPort: TARGET_PORT,
    secondPort: 0,
    second: new Uint8Array(16),
    ...change,
  })
}

/** The outer headers, without addresses yet. */
export function outer(inner: Frame, family: Family, option: Buffer): Frame {
  const header = Buffer.alloc(8)
  header[0] = option.length / 4
  header[1] = 0x40
  header.writeUInt16BE(family === 'ipv4' ? 0x0800 : 0x86dd, 2)
  return frame(ARRIVING)
    .udp()
    .withoutChecksum()
    .id(0)
    .trafficClass(inner.fields.trafficClass & 0xfc)
    .payload(Buffer.concat([header, option, inner.packet()]))
}

/** A packet as another node sends it here: for this node's pod. */
export function arriving(
  world: World,
  inner: Frame,
  family: Family,
  change: Partial<abi.DsrOption> = {},
): Frame {
  const { node, otherNode, pod } = world.cast(family)
  const option = dsrOption(addressToBytes(pod), change)
  return outer(inner, family, option).from(otherNode, 50_000).to(node, 6081)
}
