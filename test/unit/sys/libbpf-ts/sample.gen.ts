// Generated from BTF by tools/abi-gen.ts. Do not edit: change the C headers and build again.

import type { StructLayout } from '../../../../src/sys/libbpf-ts/layout.ts'

export const SampleKind = {
  SAMPLE_NONE: 0,
  SAMPLE_FIRST: 1,
  SAMPLE_ALIAS: 1,
  SAMPLE_LAST: 7,
} as const
export type SampleKind = (typeof SampleKind)[keyof typeof SampleKind]

/** The first constant of each value. */
export const SAMPLE_KIND_NAMES: ReadonlyMap<number | bigint, keyof typeof SampleKind> = new Map([
  [0, 'SAMPLE_NONE'],
  [1, 'SAMPLE_FIRST'],
  [7, 'SAMPLE_LAST'],
])

export const SAMPLE_BYTES = 168

/** everything the generator knows */
export interface Sample {
  /** nanoseconds since boot */
  readonly stamp: bigint
  readonly balance: bigint
  readonly address: Uint8Array
  readonly points: readonly SamplePoint[]
  readonly grid: readonly (readonly number[])[]
  readonly wide: bigint
  readonly many: readonly number[]
  readonly label: string
  readonly mac: Uint8Array
  readonly on: boolean
  readonly delta: number
  readonly kind: number
  readonly either: Uint8Array
  readonly left: number
  readonly right: number
  readonly inner: SampleInner
  readonly lowBits: number
  readonly highBits: number
  readonly last: number
}

export function encodeSample(value: Sample, buffer: Buffer = Buffer.alloc(SAMPLE_BYTES), offset = 0): Buffer {
  buffer.fill(0, offset, offset + 168)
  buffer.writeBigUInt64LE(value.stamp, offset)
  buffer.writeBigInt64LE(value.balance, offset + 8)
  writeBytes(value.address, 16, 'Sample.address', buffer, offset + 16)
  checkCount(value.points.length, 2, 'Sample.points')
  for (let i = 0; i < 2; i += 1) {
    encodeSamplePoint((value.points[i] as SamplePoint), buffer, offset + 32 + i * 8)
  }
  checkCount(value.grid.length, 2, 'Sample.grid')
  for (let i = 0; i < 2; i += 1) {
    checkCount((value.grid[i] as readonly number[]).length, 3, 'Sample.grid')
    for (let j = 0; j < 3; j += 1) {
      buffer.writeUInt16LE(((value.grid[i] as readonly number[])[j] as number), offset + 48 + i * 6 + j * 2)
    }
  }
  buffer.writeBigUInt64BE(value.wide, offset + 64)
  checkCount(value.many.length, 9, 'Sample.many')
  for (let i = 0; i < 9; i += 1) {
    buffer.writeUInt32LE((value.many[i] as number), offset + 72 + i * 4)
  }
  writeText(value.label, 12, 'Sample.label', buffer, offset + 108)
  writeBytes(value.mac, 6, 'Sample.mac', buffer, offset + 120)
  buffer.writeUInt8(value.on ? 1 : 0, offset + 126)
  buffer.writeInt8(value.delta, offset + 127)
  buffer.writeUInt32LE(value.kind, offset + 128)
  writeBytes(value.either, 16, 'Sample.either', buffer, offset + 132)
  buffer.writeUInt16LE(value.left, offset + 148)
  buffer.writeInt16LE(value.right, offset + 150)
  encodeSampleInner(value.inner, buffer, offset + 152)
  if (!(value.lowBits >= 0 && value.lowBits < 8)) throw new RangeError('Sample.lowBits needs more than 3 bits')
  buffer.writeUIntLE(buffer.readUIntLE(offset + 156, 1) + value.lowBits * 1, offset + 156, 1)
  if (!(value.highBits >= 0 && value.highBits < 1024)) throw new RangeError('Sample.highBits needs more than 10 bits')
  buffer.writeUIntLE(buffer.readUIntLE(offset + 156, 2) + value.highBits * 8, offset + 156, 2)
  buffer.writeUInt32LE(value.last, offset + 160)
  return buffer
}

export function decodeSample(buffer: Buffer, offset = 0): Sample {
  return {
    stamp: buffer.readBigUInt64LE(offset),
    balance: buffer.readBigInt64LE(offset + 8),
    address: readBytes(buffer, offset + 16, 16),
    points: [decodeSamplePoint(buffer, offset + 32), decodeSamplePoint(buffer, offset + 32 + 8)],
    grid: Array.from({ length: 2 }, (_, i) => [buffer.readUInt16LE(offset + 48 + i * 6), buffer.readUInt16LE(offset + 48 + i * 6 + 2), buffer.readUInt16LE(offset + 48 + i * 6 + 4)]),
    wide: buffer.readBigUInt64BE(offset + 64),
    many: Array.from({ length: 9 }, (_, i) => buffer.readUInt32LE(offset + 72 + i * 4)),
    label: readText(buffer, offset + 108, 12),
    mac: readBytes(buffer, offset + 120, 6),
    on: buffer.readUInt8(offset + 126) !== 0,
    delta: buffer.readInt8(offset + 127),
    kind: buffer.readUInt32LE(offset + 128),
    either: readBytes(buffer, offset + 132, 16),
    left: buffer.readUInt16LE(offset + 148),
    right: buffer.readInt16LE(offset + 150),
    inner: decodeSampleInner(buffer, offset + 152),
    lowBits: Math.floor(buffer.readUIntLE(offset + 156, 1) / 1) % 8,
    highBits: Math.floor(buffer.readUIntLE(offset + 156, 2) / 8) % 1024,
    last: buffer.readUInt32LE(offset + 160),
  }
}

export const SAMPLE_LAYOUT: StructLayout = {
  name: 'sample',
  sizeBytes: 168,
  hash: 'df942945ab64c77c',
  fields: [
    { path: 'stamp', bitOffset: 0, bits: 64, type: 'u64' },
    { path: 'balance', bitOffset: 64, bits: 64, type: 's64' },
    { path: 'address', bitOffset: 128, bits: 128, type: 'struct' },
    { path: 'address.bytes', bitOffset: 128, bits: 128, type: 'u8[16]' },
    { path: 'points', bitOffset: 256, bits: 128, type: 'struct[2]' },
    { path: 'points[0].high', bitOffset: 256, bits: 32, type: 'be32' },
    { path: 'points[0].low', bitOffset: 288, bits: 16, type: 'be16' },
    { path: 'points[0].pad0', bitOffset: 304, bits: 16, type: 'u16' },
    { path: 'grid', bitOffset: 384, bits: 96, type: 'u16[2][3]' },
    { path: 'wide', bitOffset: 512, bits: 64, type: 'be64' },
    { path: 'many', bitOffset: 576, bits: 288, type: 'u32[9]' },
    { path: 'label', bitOffset: 864, bits: 96, type: 'char[12]' },
    { path: 'mac', bitOffset: 960, bits: 48, type: 'u8[6]' },
    { path: 'on', bitOffset: 1008, bits: 8, type: 'bool' },
    { path: 'delta', bitOffset: 1016, bits: 8, type: 's8' },
    { path: 'kind', bitOffset: 1024, bits: 32, type: 'enum' },
    { path: 'either', bitOffset: 1056, bits: 128, type: 'union' },
    { path: 'either.ipv4', bitOffset: 1056, bits: 32, type: 'be32' },
    { path: 'either.ipv6', bitOffset: 1056, bits: 128, type: 'u8[16]' },
    { path: 'left', bitOffset: 1184, bits: 16, type: 'u16' },
    { path: 'right', bitOffset: 1200, bits: 16, type: 's16' },
    { path: 'inner', bitOffset: 1216, bits: 32, type: 'struct' },
    { path: 'inner.only', bitOffset: 1216, bits: 32, type: 'u32' },
    { path: 'low_bits', bitOffset: 1248, bits: 3, type: 'u32' },
    { path: 'high_bits', bitOffset: 1251, bits: 10, type: 'u32' },
    { path: 'last', bitOffset: 1280, bits: 32, type: 'u32' },
  ],
}

export const SAMPLE_ADDRESS_BYTES = 16

export type SampleAddress = Uint8Array

export function encodeSampleAddress(value: SampleAddress, buffer: Buffer = Buffer.alloc(SAMPLE_ADDRESS_BYTES), offset = 0): Buffer {
  writeBytes(value, 16, 'SampleAddress', buffer, offset)
  return buffer
}

export function decodeSampleAddress(buffer: Buffer, offset = 0): SampleAddress {
  return readBytes(buffer, offset, 16)
}

export const SAMPLE_ADDRESS_LAYOUT: StructLayout = {
  name: 'sample_address',
  sizeBytes: 16,
  hash: 'aec1e40ddffcbbb1',
  fields: [
    { path: 'bytes', bitOffset: 0, bits: 128, type: 'u8[16]' },
  ],
}

export const SAMPLE_HOLES_T_BYTES = 16

export interface SampleHolesT {
  readonly code: number
  readonly total: bigint
}

export function encodeSampleHolesT(value: SampleHolesT, buffer: Buffer = Buffer.alloc(SAMPLE_HOLES_T_BYTES), offset = 0): Buffer {
  buffer.fill(0, offset, offset + 16)
  buffer.writeUInt8(value.code, offset)
  buffer.writeBigUInt64LE(value.total, offset + 8)
  return buffer
}

export function decodeSampleHolesT(buffer: Buffer, offset = 0): SampleHolesT {
  return {
    code: buffer.readUInt8(offset),
    total: buffer.readBigUInt64LE(offset + 8),
  }
}

export const SAMPLE_HOLES_T_LAYOUT: StructLayout = {
  name: 'SampleHolesT',
  sizeBytes: 16,
  hash: 'dd4be18b0fb205b1',
  fields: [
    { path: 'code', bitOffset: 0, bits: 8, type: 'u8' },
    { path: 'total', bitOffset: 64, bits: 64, type: 'u64' },
  ],
}

export const SAMPLE_INNER_BYTES = 4

export interface SampleInner {
  readonly only: number
}

export function encodeSampleInner(value: SampleInner, buffer: Buffer = Buffer.alloc(SAMPLE_INNER_BYTES), offset = 0): Buffer {
  buffer.writeUInt32LE(value.only, offset)
  return buffer
}

export function decodeSampleInner(buffer: Buffer, offset = 0): SampleInner {
  return {
    only: buffer.readUInt32LE(offset),
  }
}

export const SAMPLE_INNER_LAYOUT: StructLayout = {
  name: 'SampleInner',
  sizeBytes: 4,
  hash: 'b22931503a42d677',
  fields: [
    { path: 'only', bitOffset: 0, bits: 32, type: 'u32' },
  ],
}

export const SAMPLE_POINT_BYTES = 8

export interface SamplePoint {
  readonly high: number
  readonly low: number
}

export function encodeSamplePoint(value: SamplePoint, buffer: Buffer = Buffer.alloc(SAMPLE_POINT_BYTES), offset = 0): Buffer {
  buffer.fill(0, offset, offset + 8)
  buffer.writeUInt32BE(value.high, offset)
  buffer.writeUInt16BE(value.low, offset + 4)
  return buffer
}

export function decodeSamplePoint(buffer: Buffer, offset = 0): SamplePoint {
  return {
    high: buffer.readUInt32BE(offset),
    low: buffer.readUInt16BE(offset + 4),
  }
}

export const SAMPLE_POINT_LAYOUT: StructLayout = {
  name: 'sample_point',
  sizeBytes: 8,
  hash: 'c6a88e2aa178902e',
  fields: [
    { path: 'high', bitOffset: 0, bits: 32, type: 'be32' },
    { path: 'low', bitOffset: 32, bits: 16, type: 'be16' },
    { path: 'pad0', bitOffset: 48, bits: 16, type: 'u16' },
  ],
}

function checkCount(found: number, count: number, field: string): void {
  if (found !== count) throw new RangeError(`${field} has ${found} elements, ${count} are needed`)
}

/** A copy: what is decoded may be memory that changes. */
function readBytes(buffer: Buffer, offset: number, length: number): Uint8Array {
  if (offset + length > buffer.length) throw new RangeError(`${length} bytes at ${offset} lie outside of the buffer`)
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i += 1) bytes[i] = buffer[offset + i] as number
  return bytes
}

function readText(buffer: Buffer, offset: number, length: number): string {
  if (offset + length > buffer.length) throw new RangeError(`${length} bytes at ${offset} lie outside of the buffer`)
  const end = buffer.indexOf(0, offset)
  return buffer.toString('utf8', offset, end < 0 || end > offset + length ? offset + length : end)
}

function writeBytes(value: Uint8Array, length: number, field: string, buffer: Buffer, offset: number): void {
  if (value.length !== length) throw new RangeError(`${field} has ${value.length} bytes, ${length} are needed`)
  buffer.set(value, offset)
}

function writeText(value: string, length: number, field: string, buffer: Buffer, offset: number): void {
  const encoded = Buffer.from(value, 'utf8')
  if (encoded.length >= length) throw new RangeError(`${field} does not fit ${length - 1} bytes and its end`)
  buffer.fill(0, offset, offset + length)
  buffer.set(encoded, offset)
}
