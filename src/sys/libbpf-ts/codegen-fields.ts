// How one C type is read and written in TypeScript: the lines that the generator puts into encode and decode functions.

import { type Btf, type BtfType, resolveId, resolveType, sizeOf } from './btf.ts'
import { BpfError } from './errors.ts'
import { isByteWrapper, scalarName } from './layout.ts'

/** Arrays of scalars up to this length are written out instead of looped over: decodes run several times faster. */
const UNROLLED_ELEMENTS = 8

export interface FieldCodec {
  readonly type: string
  /** Statements that write the expression `value` at `offset`. `field` names it in errors. */
  readonly encode: (value: string, offset: string, field: string) => readonly string[]
  /** An expression that reads at `offset`. */
  readonly decode: (offset: string) => string
}

/** Gives struct types their TypeScript name and notes which helpers the output needs. */
export interface FieldContext {
  readonly btf: Btf
  readonly structName: (typeId: number, memberPath: string) => string
  readonly use: (helper: HelperName) => void
}

export type HelperName = 'writeBytes' | 'readBytes' | 'writeText' | 'readText' | 'checkCount'

const METHODS: Readonly<Record<string, { suffix: string; type: 'number' | 'bigint' }>> = {
  u8: { suffix: 'UInt8', type: 'number' },
  s8: { suffix: 'Int8', type: 'number' },
  char: { suffix: 'Int8', type: 'number' },
  u16: { suffix: 'UInt16LE', type: 'number' },
  s16: { suffix: 'Int16LE', type: 'number' },
  be16: { suffix: 'UInt16BE', type: 'number' },
  u32: { suffix: 'UInt32LE', type: 'number' },
  s32: { suffix: 'Int32LE', type: 'number' },
  be32: { suffix: 'UInt32BE', type: 'number' },
  u64: { suffix: 'BigUInt64LE', type: 'bigint' },
  s64: { suffix: 'BigInt64LE', type: 'bigint' },
  be64: { suffix: 'BigUInt64BE', type: 'bigint' },
}

export function refuse(what: string, reason: string, mend: string): BpfError {
  return new BpfError({ action: 'generating a codec for', object: what, code: 'unsupported', reason, mend })
}

/** `offset + 8`, without adding nothing. */
export const plus = (offset: string, bytes: number): string => (bytes === 0 ? offset : `${offset} + ${bytes}`)

function scalarCodec(name: string): FieldCodec | undefined {
  if (name === 'bool') {
    return {
      type: 'boolean',
      encode: (value, offset) => [`buffer.writeUInt8(${value} ? 1 : 0, ${offset})`],
      decode: (offset) => `buffer.readUInt8(${offset}) !== 0`,
    }
  }
  const method = METHODS[name]
  return (
    method && {
      type: method.type,
      encode: (value, offset) => [`buffer.write${method.suffix}(${value}, ${offset})`],
      decode: (offset) => `buffer.read${method.suffix}(${offset})`,
    }
  )
}

export function bytesCodec(context: FieldContext, bytes: number): FieldCodec {
  return {
    type: 'Uint8Array',
    encode: (value, offset, field) => {
      context.use('writeBytes')
      return [`writeBytes(${value}, ${bytes}, '${field}', buffer, ${offset})`]
    },
    decode: (offset) => {
      context.use('readBytes')
      return `readBytes(buffer, ${offset}, ${bytes})`
    },
  }
}

function textCodec(context: FieldContext, bytes: number): FieldCodec {
  return {
    type: 'string',
    encode: (value, offset, field) => {
      context.use('writeText')
      return [`writeText(${value}, ${bytes}, '${field}', buffer, ${offset})`]
    },
    decode: (offset) => {
      context.use('readText')
      return `readText(buffer, ${offset}, ${bytes})`
    },
  }
}

function arrayCodec(
  context: FieldContext,
  type: Extract<BtfType, { kind: 'array' }>,
  path: string,
  depth: number,
): FieldCodec {
  const { btf } = context
  const elementType = resolveType(btf, type.elementId)
  if (elementType.kind === 'int' && sizeOf(btf, type.elementId) === 1) {
    const scalar = scalarName(btf, type.elementId)
    if (scalar === 'u8') return bytesCodec(context, type.count)
    if (scalar === 'char') return textCodec(context, type.count)
  }
  const element = fieldCodec(context, type.elementId, path, depth + 1)
  const stride = sizeOf(btf, type.elementId)
  const index = 'ijkl'[depth] ?? `i${depth}`
  const at = (offset: string) => `${offset} + ${index} * ${stride}`
  return {
    type: `readonly ${/^readonly /.test(element.type) ? `(${element.type})` : element.type}[]`,
    encode: (value, offset, field) => {
      context.use('checkCount')
      const one = `(${value}[${index}] as ${element.type})`
      return [
        `checkCount(${value}.length, ${type.count}, '${field}')`,
        `for (let ${index} = 0; ${index} < ${type.count}; ${index} += 1) {`,
        ...element.encode(one, at(offset), field).map((line) => `  ${line}`),
        '}',
      ]
    },
    decode: (offset) => {
      if (type.count > UNROLLED_ELEMENTS || elementType.kind === 'array') {
        return `Array.from({ length: ${type.count} }, (_${'_'.repeat(depth)}, ${index}) => ${element.decode(at(offset))})`
      }
      const parts = Array.from({ length: type.count }, (_, i) => element.decode(plus(offset, i * stride)))
      return `[${parts.join(', ')}]`
    },
  }
}

/** The codec of a member, by its type. `path` is the struct and member, for messages. */
export function fieldCodec(context: FieldContext, typeId: number, path: string, depth = 0): FieldCodec {
  const { btf } = context
  const type = resolveType(btf, typeId)
  switch (type.kind) {
    case 'array':
      return arrayCodec(context, type, path, depth)
    case 'struct': {
      if (isByteWrapper(btf, type)) return bytesCodec(context, type.size)
      const name = context.structName(resolveId(btf, typeId), path)
      return {
        type: name,
        encode: (value, offset) => [`encode${name}(${value}, buffer, ${offset})`],
        decode: (offset) => `decode${name}(buffer, ${offset})`,
      }
    }
    // Which arm is meant stands in another field, so the reader gets the bytes and decodes the arm with its own codec.
    case 'union':
      return bytesCodec(context, type.size)
    case 'enum': {
      const codec = scalarCodec(`${type.signed ? 's' : 'u'}${type.size * 8}`)
      if (codec) return codec
      break
    }
    default: {
      const codec = scalarCodec(scalarName(btf, typeId))
      if (codec) return codec
    }
  }
  throw refuse(
    path,
    `there is no codec for a ${type.kind}`,
    'use fixed-size integers, bytes, structs and arrays',
  )
}

/** A bitfield of at most 32 bits. The struct's memory is zeroed first, so encoding ors into it. */
export function bitfieldCodec(bitOffset: number, bits: number, path: string): FieldCodec {
  const MAX_BITS = 32
  if (bits > MAX_BITS) throw refuse(path, `a bitfield of ${bits} bits is too wide`, 'use a plain integer')
  const shift = bitOffset % 8
  const bytes = Math.ceil((shift + bits) / 8)
  const first = Math.floor(bitOffset / 8)
  const scale = 2 ** shift
  const limit = 2 ** bits
  return {
    type: 'number',
    encode: (value, offset, field) => {
      const at = plus(offset, first)
      const word = `buffer.readUIntLE(${at}, ${bytes}) + ${value} * ${scale}`
      return [
        `if (!(${value} >= 0 && ${value} < ${limit})) throw new RangeError('${field} needs more than ${bits} bits')`,
        `buffer.writeUIntLE(${word}, ${at}, ${bytes})`,
      ]
    },
    decode: (offset) =>
      `Math.floor(buffer.readUIntLE(${plus(offset, first)}, ${bytes}) / ${scale}) % ${limit}`,
  }
}
