// BTF, the kernel's type format (Documentation/bpf/btf.rst): parsing of a raw blob into types.
//
// Data in: the bytes of an object's .BTF section, of /sys/kernel/btf/vmlinux, or of a type collection the kernel holds.
// Data out: an array of plain type rows, indexed by type id; id 0 is void. Ids are only meaningful within their blob.

import { readFileSync } from 'node:fs'
import { elfSection } from './elf.ts'
import { BpfError } from './errors.ts'

export interface BtfMember {
  readonly name: string
  readonly typeId: number
  readonly bitOffset: number
  /** 0: not a bitfield. */
  readonly bitfieldBits: number
}

export interface BtfEnumerator {
  readonly name: string
  readonly value: bigint
}

type Row<Kind extends string, Rest> = { readonly kind: Kind; readonly name: string } & Readonly<Rest>
type Referring = 'pointer' | 'typedef' | 'volatile' | 'const' | 'restrict' | 'function' | 'type_tag'

export type BtfType =
  | Row<'void', object>
  | Row<'int', { size: number; bits: number; encoding: 'unsigned' | 'signed' | 'char' | 'bool' }>
  | Row<'float', { size: number }>
  | Row<'array', { elementId: number; count: number }>
  | Row<'struct' | 'union', { size: number; members: readonly BtfMember[] }>
  | Row<'enum', { size: number; signed: boolean; values: readonly BtfEnumerator[] }>
  | Row<Referring, { typeId: number }>
  | Row<'forward' | 'prototype', object>
  | Row<'variable', { typeId: number }>
  | Row<'section', { size: number; variables: readonly { typeId: number; offset: number; size: number }[] }>
  /** componentIndex -1: the tag is on the type itself, else on its member of that index. */
  | Row<'decl_tag', { typeId: number; componentIndex: number }>

export interface Btf {
  readonly types: readonly BtfType[]
}

const BTF_MAGIC = 0xeb9f
const TYPE_HEADER_BYTES = 12

/** Steps through the type section. Every `parse*` function consumes what follows its kind's common header. */
class Cursor {
  readonly data: Buffer
  readonly strings: Buffer
  at: number

  constructor(data: Buffer, strings: Buffer) {
    this.data = data
    this.strings = strings
    this.at = 0
  }

  u32(): number {
    const value = this.data.readUInt32LE(this.at)
    this.at += 4
    return value
  }

  string(offset: number): string {
    return this.strings.toString('utf8', offset, this.strings.indexOf(0, offset))
  }
}

interface Header {
  readonly name: string
  readonly count: number
  readonly flag: boolean
  /** Depending on the kind: size in bytes, or the type referred to. */
  readonly sizeOrType: number
}

function times<T>(count: number, make: () => T): T[] {
  return Array.from({ length: count }, make)
}

function parseInteger(cursor: Cursor, header: Header): BtfType {
  const word = cursor.u32()
  const encodings = { 0: 'unsigned', 1: 'signed', 2: 'char', 3: 'char', 4: 'bool' } as const
  const encoding = encodings[((word >>> 24) & 0xf) as keyof typeof encodings] ?? 'unsigned'
  return { kind: 'int', name: header.name, size: header.sizeOrType, bits: word & 0xff, encoding }
}

function parseArray(cursor: Cursor, header: Header): BtfType {
  const elementId = cursor.u32()
  cursor.u32()
  return { kind: 'array', name: header.name, elementId, count: cursor.u32() }
}

function parseComposite(kind: 'struct' | 'union'): (cursor: Cursor, header: Header) => BtfType {
  return (cursor, header) => {
    const members = times(header.count, () => {
      const name = cursor.string(cursor.u32())
      const typeId = cursor.u32()
      const word = cursor.u32()
      return header.flag
        ? { name, typeId, bitOffset: word & 0xff_ffff, bitfieldBits: word >>> 24 }
        : { name, typeId, bitOffset: word, bitfieldBits: 0 }
    })
    return { kind, name: header.name, size: header.sizeOrType, members }
  }
}

function parseEnum(cursor: Cursor, header: Header): BtfType {
  const raw = times(header.count, () => ({ name: cursor.string(cursor.u32()), value: cursor.u32() }))
  // Compilers before clang 16 leave the sign flag out: they can't tell -1 from 0xffffffff, and neither can we.
  const signed = header.flag
  const values = raw.map(({ name, value }) => ({ name, value: BigInt(signed ? value | 0 : value) }))
  return { kind: 'enum', name: header.name, size: header.sizeOrType, signed, values }
}

function parseEnum64(cursor: Cursor, header: Header): BtfType {
  const values = times(header.count, () => {
    const name = cursor.string(cursor.u32())
    const low = BigInt(cursor.u32())
    const value = (BigInt(cursor.u32()) << 32n) | low
    return { name, value: header.flag ? BigInt.asIntN(64, value) : value }
  })
  return { kind: 'enum', name: header.name, size: header.sizeOrType, signed: header.flag, values }
}

function parseSection(cursor: Cursor, header: Header): BtfType {
  const variables = times(header.count, () => ({
    typeId: cursor.u32(),
    offset: cursor.u32(),
    size: cursor.u32(),
  }))
  return { kind: 'section', name: header.name, size: header.sizeOrType, variables }
}

function parsePrototype(cursor: Cursor, header: Header): BtfType {
  cursor.at += header.count * 8
  return { kind: 'prototype', name: header.name }
}

function parseVariable(cursor: Cursor, header: Header): BtfType {
  cursor.u32()
  return { kind: 'variable', name: header.name, typeId: header.sizeOrType }
}

function parseDeclTag(cursor: Cursor, header: Header): BtfType {
  return { kind: 'decl_tag', name: header.name, typeId: header.sizeOrType, componentIndex: cursor.u32() | 0 }
}

const refers =
  (kind: Referring) =>
  (_: Cursor, header: Header): BtfType => ({ kind, name: header.name, typeId: header.sizeOrType })

/** Index is the kind's number in the format. */
const PARSERS: readonly (((cursor: Cursor, header: Header) => BtfType) | undefined)[] = [
  undefined,
  parseInteger,
  refers('pointer'),
  parseArray,
  parseComposite('struct'),
  parseComposite('union'),
  parseEnum,
  (_, header) => ({ kind: 'forward', name: header.name }),
  refers('typedef'),
  refers('volatile'),
  refers('const'),
  refers('restrict'),
  refers('function'),
  parsePrototype,
  parseVariable,
  parseSection,
  (_, header) => ({ kind: 'float', name: header.name, size: header.sizeOrType }),
  parseDeclTag,
  refers('type_tag'),
  parseEnum64,
]

function invalid(source: string, reason: string): BpfError {
  return new BpfError({ action: 'parsing the BTF of', object: source, code: 'invalid', reason, mend: '' })
}

/** Parses a raw BTF blob. `source` names it in errors. */
export function parseBtf(blob: Buffer, source: string): Btf {
  if (blob.length < 24 || blob.readUInt16LE(0) !== BTF_MAGIC) throw invalid(source, 'no little-endian BTF')
  const headerBytes = blob.readUInt32LE(4)
  const section = (at: number) => {
    const start = headerBytes + blob.readUInt32LE(at)
    return blob.subarray(start, start + blob.readUInt32LE(at + 4))
  }
  const cursor = new Cursor(section(8), section(16))
  const types: BtfType[] = [{ kind: 'void', name: '' }]
  while (cursor.at + TYPE_HEADER_BYTES <= cursor.data.length) {
    const name = cursor.string(cursor.u32())
    const info = cursor.u32()
    const sizeOrType = cursor.u32()
    const parse = PARSERS[(info >>> 24) & 0x1f]
    if (!parse) throw invalid(source, `unknown kind ${(info >>> 24) & 0x1f} of type ${types.length}`)
    types.push(parse(cursor, { name, count: info & 0xffff, flag: info >>> 31 === 1, sizeOrType }))
  }
  return { types }
}

/** The BTF of an object file that was compiled with -g. */
export function readObjectBtf(path: string): Btf {
  const section = elfSection(readFileSync(path), '.BTF', path)
  if (section) return parseBtf(section, path)
  throw new BpfError({
    action: 'reading',
    object: path,
    code: 'invalid',
    reason: 'it has no .BTF section',
    mend: 'compile it with clang -g',
  })
}

/** The running kernel's own types. About 5 MB: parsed on each call, so keep the result. */
export function readKernelBtf(path = '/sys/kernel/btf/vmlinux'): Btf {
  return parseBtf(readFileSync(path), path)
}

export function typeAt(btf: Btf, id: number): BtfType {
  const type = btf.types[id]
  if (!type) throw invalid('a type collection', `there is no type ${id}`)
  return type
}

/** The id behind typedefs and qualifiers. */
export function resolveId(btf: Btf, id: number): number {
  let at = id
  for (;;) {
    const type = typeAt(btf, at)
    switch (type.kind) {
      case 'typedef':
      case 'const':
      case 'volatile':
      case 'restrict':
      case 'type_tag':
        at = type.typeId
        break
      default:
        return at
    }
  }
}

export const resolveType = (btf: Btf, id: number): BtfType => typeAt(btf, resolveId(btf, id))

/** Whether a typedef of one of these names lies on the way to the type: __be16 is told from __u16 only so. */
export function typedefNames(btf: Btf, id: number): readonly string[] {
  const names: string[] = []
  for (
    let type = typeAt(btf, id);
    'typeId' in type && type.kind !== 'pointer';
    type = typeAt(btf, type.typeId)
  ) {
    if (type.kind === 'typedef') names.push(type.name)
  }
  return names
}

export function sizeOf(btf: Btf, id: number): number {
  const type = resolveType(btf, id)
  switch (type.kind) {
    case 'int':
    case 'float':
    case 'struct':
    case 'union':
    case 'enum':
    case 'section':
      return type.size
    case 'pointer':
      return 8
    case 'array':
      return type.count * sizeOf(btf, type.elementId)
    case 'variable':
      return sizeOf(btf, type.typeId)
    default:
      throw invalid('a type collection', `type ${id} (${type.kind}) has no size`)
  }
}

/** The id of a named type of this kind. */
export function findType(btf: Btf, kind: BtfType['kind'], name: string): number | undefined {
  const id = btf.types.findIndex((type) => type.kind === kind && type.name === name)
  return id < 0 ? undefined : id
}
