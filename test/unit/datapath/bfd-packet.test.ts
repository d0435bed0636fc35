// Packets that user space sends in a BFD session, read by the readers of the packet tests, which check every sum.

import t from 'tap'
import {
  AbiConstant,
  BFD_STATE_BYTES,
  BfdSessionState,
  decodeBfdState,
} from '../../../src/datapath/abi.gen.ts'
import { bfdPacket } from '../../../src/datapath/bfd-packet.ts'
import { address } from '../../../src/model/address.ts'
import { decodeControl } from '../../bpf/bfd-control.ts'
import { readFrame } from '../../bpf/read-frame.ts'

const SESSION = {
  row: 4,
  discriminator: 0xdeadbeef,
  intervalUs: 300_000,
  multiplier: 3,
  isAdminDown: false,
  governs: [],
  local: undefined,
}
const STATE = {
  ...decodeBfdState(Buffer.alloc(BFD_STATE_BYTES)),
  state: BfdSessionState.BFD_DOWN,
  diagnostic: 1,
  remoteDiscriminator: 77,
}

for (const [local, peer] of [
  ['10.0.0.1', '10.0.0.0'],
  ['fe80::1', 'fe80::2'],
] as const)
  t.test(`to ${peer}`, async (t) => {
    const packet = bfdPacket(SESSION, STATE, address(local), address(peer))
    const isIpv4 = (packet[0] ?? 0) >> 4 === 4
    // As the kernel does for a raw socket.
    if (isIpv4) packet.writeUInt16BE(headerChecksum(packet.subarray(0, 20)), 10)
    const ethernet = Buffer.alloc(14)
    ethernet.writeUInt16BE(isIpv4 ? 0x0800 : 0x86dd, 12)
    t.match(readFrame(Buffer.concat([ethernet, packet])), {
      source: local,
      destination: peer,
      sourcePort: AbiConstant.BFD_SOURCE_PORT + 4,
      destinationPort: 3784,
      hops: 255,
    })
    t.match(decodeControl(packet.subarray(-24)), {
      version: 1,
      state: 'down',
      diagnostic: 1,
      flags: 'C',
      multiplier: 3,
      length: 24,
      mine: 0xdeadbeef,
      yours: 77,
      desiredUs: 1_000_000,
      requiredUs: 300_000,
    })
    const off = bfdPacket({ ...SESSION, isAdminDown: true }, STATE, address(local), address(peer))
    t.match(decodeControl(off.subarray(-24)), { state: 'admin-down', diagnostic: 7 })
  })

function headerChecksum(header: Buffer): number {
  let sum = 0
  for (let at = 0; at < header.length; at += 2) sum += header.readUInt16BE(at)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}
