// Values by their BTF, for maps nobody generated a codec for: dumps and diagnosis. Some 20 times slower than generated codecs.

import { type Btf, type BtfMember, resolveType, sizeOf } from './btf.ts'
import { readLoadedBtf } from './info.ts'
import { scalarName } from './layout.ts'
import type { BpfMap } from './map.ts'

export type DecodedValue =
  | number
  | bigint
  | boolean
  | string
  | readonly DecodedValue[]
  | { readonly [name: string]: DecodedValue }

function decodeInteger(data: Buffer, name: string, at: number, bytes: number): number | bigint {
  const bigEndian = name.startsWith('be')
  const signed = name.startsWith('s') || name === 'char'
  if (bytes > 4) {
    if (bigEndian) return data.readBigUInt64BE(at)
    return signed ? data.readBigInt64LE(at) : data.readBigUInt64LE(at)
  }
  if (bigEndian) return data.readUIntBE(at, bytes)
  return signed ? data.readIntLE(at, bytes) : data.readUIntLE(at, bytes)
}

function decodeBits(data: Buffer, baseBytes: number, member: BtfMember): number | bigint {
  const first = baseBytes + Math.floor(member.bitOffset / 8)
  const shift = member.bitOffset % 8
  let word = 0n
  for (let i = Math.ceil((shift + member.bitfieldBits) / 8) - 1; i >= 0; i -= 1) {
    word = (word << 8n) | BigInt(data[first + i] ?? 0)
  }
  const value = BigInt.asUintN(member.bitfieldBits, word >> BigInt(shift))
  return member.bitfieldBits > 32 ? value : Number(value)
}

function decodeMembers(
  btf: Btf,
  members: readonly BtfMember[],
  data: Buffer,
  at: number,
): Record<string, DecodedValue> {
  const decoded: Record<string, DecodedValue> = {}
  for (const member of members) {
    const value =
      member.bitfieldBits > 0
        ? decodeBits(data, at, member)
        : decodeValue(btf, member.typeId, data, at + member.bitOffset / 8)
    if (member.name === '' && typeof value === 'object' && !Array.isArray(value))
      Object.assign(decoded, value)
    else decoded[member.name] = value
  }
  return decoded
}

/** Enum constants and chars come as text, byte arrays as hex, everything else as what it is. Every arm of a union is shown. */
export function decodeValue(btf: Btf, typeId: number, data: Buffer, at = 0): DecodedValue {
  const type = resolveType(btf, typeId)
  switch (type.kind) {
    case 'struct':
    case 'union':
      return decodeMembers(btf, type.members, data, at)
    case 'array': {
      const stride = sizeOf(btf, type.elementId)
      const element = scalarName(btf, type.elementId)
      const bytes = data.subarray(at, at + type.count * stride)
      if (element === 'u8') return bytes.toString('hex')
      if (element === 'char')
        return bytes.toString('utf8', 0, bytes.includes(0) ? bytes.indexOf(0) : bytes.length)
      return Array.from({ length: type.count }, (_, i) =>
        decodeValue(btf, type.elementId, data, at + i * stride),
      )
    }
    case 'enum': {
      const value = decodeInteger(data, type.signed ? 's' : 'u', at, type.size)
      return type.values.find((one) => one.value === BigInt(value))?.name ?? value
    }
    default: {
      const name = scalarName(btf, typeId)
      const value = decodeInteger(data, name, at, sizeOf(btf, typeId))
      return name === 'bool' ? value !== 0 : value
    }
  }
}

export interface DecodedEntry {
  readonly key: DecodedValue
  /** One per possible CPU for per-CPU maps. */
  readonly value: DecodedValue | readonly DecodedValue[]
}

/** Every entry of a map by the types the kernel holds for it; as hex when it was made without types. */
export function* dumpMap(map: BpfMap): Generator<DecodedEntry> {
  const { btfId, btfKeyTypeId, btfValueTypeId } = map.info
  const btf = btfId === 0 ? undefined : readLoadedBtf(btfId)
  const decode = (id: number, data: Buffer): DecodedValue =>
    btf && id !== 0 ? decodeValue(btf, id, data) : data.toString('hex')
  for (const { key, value } of map.entries()) {
    const values = map.splitPerCpu(value).map((one) => decode(btfValueTypeId, one))
    yield { key: decode(btfKeyTypeId, key), value: map.isPerCpu ? values : (values[0] ?? '') }
  }
}
