// The layout of a struct as plain data, and the comparison that keeps both halves honest: generated codecs carry the layout they
// were made from, and what the kernel says about a loaded map is compared with it before anyone reads a byte by it.

import { createHash } from 'node:crypto'
import { type Btf, type BtfType, resolveId, resolveType, sizeOf, typeAt, typedefNames } from './btf.ts'
import { BpfError } from './errors.ts'
import { readLoadedBtf } from './info.ts'
import type { BpfMap } from './map.ts'

export interface LayoutField {
  /** From the struct's start: `cluster.base`, `ways[0].word`. Only the first element of an array is described. */
  readonly path: string
  readonly bitOffset: number
  readonly bits: number
  /** u32, s64, be16, char, bool, enum, pointer, or that with [count] behind it; struct and union name their own fields. */
  readonly type: string
}

export interface StructLayout {
  readonly name: string
  readonly sizeBytes: number
  readonly fields: readonly LayoutField[]
  /** Changes whenever anything above does, but for the name. */
  readonly hash: string
}

const BIG_ENDIAN_TYPEDEF = /^_*be(16|32|64)$/

/** The name of a scalar in layouts. Big-endian is what its typedef says: the integer behind it looks like any other. */
export function scalarName(btf: Btf, typeId: number): string {
  const type = resolveType(btf, typeId)
  const bits = sizeOf(btf, typeId) * 8
  if (type.kind === 'int') {
    const bigEndian = typedefNames(btf, typeId).some((name) => BIG_ENDIAN_TYPEDEF.test(name))
    if (bigEndian) return `be${bits}`
    if (type.encoding === 'bool') return 'bool'
    // A plain char has one byte; clang marks s8 as signed and char as signed too, so the name decides.
    if (type.name === 'char') return 'char'
    return `${type.encoding === 'signed' ? 's' : 'u'}${bits}`
  }
  return type.kind
}

function describeType(btf: Btf, typeId: number): string {
  let dimensions = ''
  let id = typeId
  for (let type = resolveType(btf, id); type.kind === 'array'; type = resolveType(btf, id)) {
    dimensions += `[${type.count}]`
    id = type.elementId
  }
  return `${scalarName(btf, id)}${dimensions}`
}

function innermostElement(btf: Btf, typeId: number, path: string): { id: number; path: string } {
  const type = resolveType(btf, typeId)
  return type.kind === 'array' ? innermostElement(btf, type.elementId, `${path}[0]`) : { id: typeId, path }
}

function describeMembers(btf: Btf, typeId: number, prefix: string, baseBits: number): LayoutField[] {
  const type = resolveType(btf, typeId)
  if (type.kind !== 'struct' && type.kind !== 'union') return []
  return type.members.flatMap((member) => {
    const bitOffset = baseBits + member.bitOffset
    // An unnamed member's fields belong to its parent, as in C.
    if (member.name === '') return describeMembers(btf, member.typeId, prefix, bitOffset)
    const path = `${prefix}${member.name}`
    const bits = member.bitfieldBits || sizeOf(btf, member.typeId) * 8
    const element = innermostElement(btf, member.typeId, path)
    return [
      { path, bitOffset, bits, type: describeType(btf, member.typeId) },
      ...describeMembers(btf, element.id, `${element.path}.`, bitOffset),
    ]
  })
}

/** The layout of a struct, union or scalar type. */
export function describeLayout(btf: Btf, typeId: number, name = nameOf(btf, typeId)): StructLayout {
  const type = resolveType(btf, typeId)
  const isComposite = type.kind === 'struct' || type.kind === 'union'
  const sizeBytes = sizeOf(btf, typeId)
  const fields = isComposite
    ? describeMembers(btf, typeId, '', 0)
    : [{ path: '', bitOffset: 0, bits: sizeBytes * 8, type: describeType(btf, typeId) }]
  const hash = createHash('sha256')
    .update(JSON.stringify([sizeBytes, fields]))
    .digest('hex')
    .slice(0, 16)
  return { name, sizeBytes, fields, hash }
}

function nameOf(btf: Btf, typeId: number): string {
  const own = typeAt(btf, typeId).name
  return own === '' ? typeAt(btf, resolveId(btf, typeId)).name : own
}

const describeField = ({ bitOffset, bits, type }: LayoutField): string =>
  `${type} at ${bitOffset % 8 === 0 ? `byte ${bitOffset / 8}` : `bit ${bitOffset}`}, ${bits} bits`

/** What differs, in words that name the field; undefined when the layouts agree. */
export function layoutDifference(expected: StructLayout, found: StructLayout): string | undefined {
  if (expected.hash === found.hash) return undefined
  const foundByPath = new Map(found.fields.map((field) => [field.path, field]))
  for (const field of expected.fields) {
    const other = foundByPath.get(field.path)
    if (!other) return `field ${field.path} (${describeField(field)}) is missing`
    if (describeField(field) !== describeField(other)) {
      return `field ${field.path} is ${describeField(other)} instead of ${describeField(field)}`
    }
  }
  const known = new Set(expected.fields.map((field) => field.path))
  const extra = found.fields.find((field) => !known.has(field.path))
  if (extra) return `field ${extra.path} (${describeField(extra)}) is not known here`
  return `its size is ${found.sizeBytes} bytes instead of ${expected.sizeBytes}`
}

export interface ExpectedMapLayout {
  readonly key?: StructLayout
  readonly value?: StructLayout
}

/** The key and value types that the kernel holds for a map; undefined for a map made without types. */
export function mapLayout(map: BpfMap): { key: StructLayout; value: StructLayout } | undefined {
  const { btfId, btfKeyTypeId, btfValueTypeId } = map.info
  if (btfId === 0 || btfValueTypeId === 0) return undefined
  const btf = readLoadedBtf(btfId)
  return { key: describeLayout(btf, btfKeyTypeId), value: describeLayout(btf, btfValueTypeId) }
}

/** Throws `layout` unless the loaded map's key and value are laid out as expected. */
export function checkMapLayout(map: BpfMap, expected: ExpectedMapLayout): void {
  const found = mapLayout(map)
  const refuse = (reason: string) =>
    new BpfError({
      action: 'comparing the layout of',
      object: `map ${map.info.name} (id ${map.info.id})`,
      code: 'layout',
      reason,
      mend: 'generate the codecs again from the headers this map was made with, or migrate the map',
    })
  if (!found) throw refuse('the kernel holds no types for it')
  for (const role of ['key', 'value'] as const) {
    const wanted = expected[role]
    const difference = wanted && layoutDifference(wanted, found[role])
    if (difference !== undefined) throw refuse(`${role} ${wanted?.name}: ${difference}`)
  }
}

/** True for a struct that only wraps one array of bytes, such as an address: codecs treat it as those bytes. */
export function isByteWrapper(btf: Btf, type: BtfType): boolean {
  if (type.kind !== 'struct' || type.members.length !== 1) return false
  const member = type.members[0]
  if (!member) return false
  const array = resolveType(btf, member.typeId)
  return array.kind === 'array' && scalarName(btf, array.elementId) === 'u8' && array.count === type.size
}
