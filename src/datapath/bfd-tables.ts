// BFD sessions as the programs know them (bpf/abi/bfd.h): a hash that user space writes, and the states that the programs write, in
// mapped memory: looking at them costs no system call.

import { type Address, addressToBytes, FAMILIES, type Family, formatAddress } from '../model/address.ts'
import type { BpfMap } from '../sys/libbpf-ts/map.ts'
import * as abi from './abi.gen.ts'
import type { KernelHash } from './kernel-tables.ts'
import type { Codec } from './map-codecs.ts'

/** A neighbour on the link that it is on. */
export interface BfdKey {
  readonly peer: Address
  readonly ifindex: number
}

export interface BfdSessionValue {
  readonly row: number
  readonly discriminator: number
  readonly intervalUs: number
  readonly multiplier: number
  readonly isAdminDown: boolean
  /** Families whose uplink the session vouches for. */
  readonly governs: readonly Family[]
  /** Undefined: any. */
  readonly local: Address | undefined
}

/** Rows are written once, before their session is there; from then on by the programs. */
export interface BfdStates {
  readonly length: number
  read(row: number): abi.BfdState
  /** Down, nothing heard, nothing counted. */
  reset(row: number): void
  /** From here on the row's session takes no uplink out of use. */
  release(row: number): void
}

export interface BfdTables {
  readonly sessions: KernelHash<BfdKey, BfdSessionValue>
  readonly states: BfdStates
}

export const bfdKeyCodec: Codec<BfdKey> = {
  encode: ({ peer, ifindex }, into, offset) =>
    abi.encodeBfdKey({ peer: addressToBytes(peer), ifindex }, into, offset),
  decode: (bytes) => {
    const { peer, ifindex } = abi.decodeBfdKey(bytes)
    return { peer: formatAddress(peer), ifindex }
  },
}

const GOVERNS: Readonly<Record<Family, number>> = {
  ipv4: abi.BfdGoverns.BFD_GOVERNS_IPV4,
  ipv6: abi.BfdGoverns.BFD_GOVERNS_IPV6,
}
const ANY_ADDRESS = new Uint8Array(16)
const GOVERNS_AT = offsetOf('governs')

function offsetOf(path: string): number {
  const field = abi.BFD_STATE_LAYOUT.fields.find((one) => one.path === path)
  if (!field) throw new TypeError(`struct bfd_state has no member ${path}`)
  return field.bitOffset / 8
}

export const bfdSessionCodec: Codec<BfdSessionValue> = {
  encode: (value, into, offset) => {
    const row = {
      ...value,
      isAdminDown: value.isAdminDown ? 1 : 0,
      governs: value.governs.reduce((bits, family) => bits | GOVERNS[family], 0),
      local: value.local === undefined ? ANY_ADDRESS : addressToBytes(value.local),
    }
    return abi.encodeBfdSession(row, into, offset)
  },
  decode: (bytes) => {
    const { isAdminDown, governs, local, ...row } = abi.decodeBfdSession(bytes)
    return {
      ...row,
      isAdminDown: isAdminDown !== 0,
      governs: FAMILIES.filter((family) => governs & GOVERNS[family]),
      local: local.every((byte) => byte === 0) ? undefined : formatAddress(local),
    }
  },
}

export function mappedBfdStates(map: BpfMap): BfdStates {
  const bytes = Buffer.from(map.mmap())
  const { strideBytes } = map
  const rowOf = (row: number) => bytes.subarray(row * strideBytes, row * strideBytes + abi.BFD_STATE_BYTES)
  return {
    length: map.info.maxEntries,
    read: (row) => abi.decodeBfdState(rowOf(row)),
    reset: (row) => {
      const blank = abi.decodeBfdState(Buffer.alloc(abi.BFD_STATE_BYTES))
      rowOf(row).set(abi.encodeBfdState({ ...blank, state: abi.BfdSessionState.BFD_DOWN }))
    },
    release: (row) => {
      rowOf(row).writeUInt8(0, GOVERNS_AT)
    },
  }
}
