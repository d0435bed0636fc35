// From the BTF of an object to TypeScript codecs.
//
// Data in: types. Which ones: what the object's global variables are of, and everything those contain. A unit made for this declares one
// global of each shared type, because BTF holds no type that is only used through a local pointer.
// Data out: the text of a module: per struct a size, an interface, encode, decode and a layout; per enum a const object and its names.
// The text depends on the types alone, not on their order in BTF, so every compiler gives the same file.

import { type Btf, type BtfType, resolveId, resolveType, sizeOf, typeAt } from './btf.ts'
import {
  bitfieldCodec,
  bytesCodec,
  type FieldCodec,
  type FieldContext,
  fieldCodec,
  type HelperName,
  plus,
  refuse,
} from './codegen-fields.ts'
import { HELPERS } from './codegen-helpers.ts'
import { describeLayout, isByteWrapper } from './layout.ts'

export interface CodegenOptions {
  /** Import specifier of layout.ts as seen from the generated module. */
  readonly layoutModule: string
}

/** Members of these names carry nothing: written as zero, left out of the interface. */
const PADDING = /^_*(pad|padding|unused)\d*$/
const IGNORED_SECTIONS = new Set(['.maps', 'license', 'version', '.ksyms', '.kconfig'])

type Composite = Extract<BtfType, { kind: 'struct' | 'union' }>
type Enum = Extract<BtfType, { kind: 'enum' }>

export const pascalCase = (name: string): string =>
  name.replace(/(?:^|_+)([A-Za-z0-9])/g, (_, letter: string) => letter.toUpperCase())
export const camelCase = (name: string): string => {
  const pascal = pascalCase(name)
  return pascal.charAt(0).toLowerCase() + pascal.slice(1)
}
const constantCase = (pascal: string): string => pascal.replace(/(?<=[a-z0-9])(?=[A-Z])/g, '_').toUpperCase()

interface Field {
  readonly name: string
  readonly cName: string
  readonly codec: FieldCodec
  readonly offsetBytes: number
  readonly isBitfield: boolean
  readonly docs: readonly string[]
}

/** Every struct and enum that the output needs, by TypeScript name. */
class Collection {
  readonly btf: Btf
  readonly structs = new Map<string, number>()
  readonly enums = new Map<string, Enum>()
  readonly #structNames = new Map<number, string>()
  readonly #tags = new Map<string, string[]>()

  constructor(btf: Btf) {
    this.btf = btf
    for (const type of btf.types) {
      if (type.kind !== 'decl_tag') continue
      const key = `${type.typeId}:${type.componentIndex}`
      this.#tags.set(key, [...(this.#tags.get(key) ?? []), type.name])
    }
  }

  docs(typeId: number, componentIndex = -1): readonly string[] {
    return this.#tags.get(`${typeId}:${componentIndex}`) ?? []
  }

  addRoot(typeId: number, variableName: string): void {
    const id = resolveId(this.btf, typeId)
    const type = typeAt(this.btf, id)
    if (type.kind === 'array') this.addRoot(type.elementId, variableName)
    if (type.kind === 'enum') this.enums.set(pascalCase(type.name || variableName), type)
    if (type.kind === 'struct') this.structName(id, variableName, typedefName(this.btf, typeId))
    if (type.kind === 'union')
      throw refuse(variableName, 'a union has no codec of its own', 'wrap it in a struct')
  }

  structName(id: number, path: string, alias = ''): string {
    const known = this.#structNames.get(id)
    if (known !== undefined) return known
    const name = pascalCase(typeAt(this.btf, id).name || alias || path.replaceAll('.', '_'))
    const other = this.structs.get(name)
    if (other !== undefined && other !== id)
      throw refuse(path, `two structs would be called ${name}`, 'rename one')
    this.#structNames.set(id, name)
    this.structs.set(name, id)
    this.#visitMembers(id, name)
    return name
  }

  #visitMembers(id: number, path: string): void {
    const type = typeAt(this.btf, id)
    if (type.kind !== 'struct') return
    for (const member of type.members) {
      let inner = resolveId(this.btf, member.typeId)
      for (let at = typeAt(this.btf, inner); at.kind === 'array'; at = typeAt(this.btf, inner)) {
        inner = resolveId(this.btf, at.elementId)
      }
      const memberType = typeAt(this.btf, inner)
      if (memberType.kind === 'enum' && memberType.name !== '')
        this.enums.set(pascalCase(memberType.name), memberType)
      if (memberType.kind !== 'struct') continue
      if (member.name === '') this.#visitMembers(inner, path)
      else this.structName(inner, `${path}.${member.name}`)
    }
  }
}

function typedefName(btf: Btf, typeId: number): string {
  const type = typeAt(btf, typeId)
  return type.kind === 'typedef' ? type.name : ''
}

function ignoredVariables(btf: Btf): ReadonlySet<number> {
  const sections = btf.types.filter((type) => type.kind === 'section' && IGNORED_SECTIONS.has(type.name))
  return new Set(
    sections.flatMap((type) => (type.kind === 'section' ? type.variables.map((one) => one.typeId) : [])),
  )
}

function collect(btf: Btf): Collection {
  const collection = new Collection(btf)
  const ignored = ignoredVariables(btf)
  btf.types.forEach((type, id) => {
    if (type.kind === 'variable' && !ignored.has(id)) collection.addRoot(type.typeId, type.name)
  })
  return collection
}

function membersOf(
  collection: Collection,
  context: FieldContext,
  id: number,
  name: string,
  baseBits = 0,
): Field[] {
  const type = typeAt(collection.btf, id) as Composite
  return type.members.flatMap((member, index) => {
    const bitOffset = baseBits + member.bitOffset
    const path = member.name === '' ? `an unnamed member of ${name}` : `${name}.${member.name}`
    if (member.name === '') {
      const inner = resolveType(collection.btf, member.typeId)
      if (inner.kind === 'struct') {
        return membersOf(collection, context, resolveId(collection.btf, member.typeId), name, bitOffset)
      }
      if (inner.kind === 'union')
        throw refuse(path, 'an unnamed union has no field to go by', 'give the union a name')
      return []
    }
    if (PADDING.test(member.name)) return []
    const isBitfield = member.bitfieldBits > 0
    const codec = isBitfield
      ? bitfieldCodec(bitOffset, member.bitfieldBits, path)
      : fieldCodec(context, member.typeId, path)
    const offsetBytes = isBitfield ? 0 : bitOffset / 8
    return [
      {
        name: camelCase(member.name),
        cName: member.name,
        codec,
        offsetBytes,
        isBitfield,
        docs: collection.docs(id, index),
      },
    ]
  })
}

/** Whether fields leave bytes unwritten, or or into what is there. */
function needsZeroing(collection: Collection, id: number): boolean {
  const type = typeAt(collection.btf, id) as Composite
  let end = 0
  for (const member of type.members) {
    if (member.name === '' || PADDING.test(member.name) || member.bitfieldBits > 0) return true
    if (member.bitOffset !== end) return true
    end = member.bitOffset + sizeOf(collection.btf, member.typeId) * 8
  }
  return end !== type.size * 8
}

const docComment = (docs: readonly string[], indent = ''): string[] =>
  docs.length === 0 ? [] : [`${indent}/** ${docs.map((doc) => doc.replaceAll('*/', '* /')).join(' ')} */`]

function emitLayout(collection: Collection, id: number, constant: string, cName: string): string[] {
  const layout = describeLayout(collection.btf, id, cName)
  return [
    `export const ${constant}_LAYOUT: StructLayout = {`,
    `  name: '${layout.name}',`,
    `  sizeBytes: ${layout.sizeBytes},`,
    `  hash: '${layout.hash}',`,
    '  fields: [',
    ...layout.fields.map(
      ({ path, bitOffset, bits, type }) =>
        `    { path: '${path}', bitOffset: ${bitOffset}, bits: ${bits}, type: '${type}' },`,
    ),
    '  ],',
    '}',
  ]
}

function emitFunctions(
  name: string,
  sizeBytes: number,
  zeroes: boolean,
  encode: readonly string[],
  decode: readonly string[],
): string[] {
  const bytes = `${constantCase(name)}_BYTES`
  const target = `buffer: Buffer = Buffer.alloc(${bytes}), offset = 0`
  return [
    `export function encode${name}(value: ${name}, ${target}): Buffer {`,
    ...(zeroes ? [`  buffer.fill(0, offset, offset + ${sizeBytes})`] : []),
    ...encode.map((line) => `  ${line}`),
    '  return buffer',
    '}',
    '',
    `export function decode${name}(buffer: Buffer, offset = 0): ${name} {`,
    ...decode.map((line) => `  ${line}`),
    '}',
  ]
}

function emitStruct(collection: Collection, context: FieldContext, name: string, id: number): string[] {
  const type = typeAt(collection.btf, id) as Composite
  const constant = constantCase(name)
  const head = [`export const ${constant}_BYTES = ${type.size}`, '']
  const docs = docComment(collection.docs(id))
  const layout = emitLayout(collection, id, constant, type.name || name)
  if (isByteWrapper(collection.btf, type)) {
    const codec = bytesCodec(context, type.size)
    const functions = emitFunctions(name, type.size, false, codec.encode('value', 'offset', name), [
      `return ${codec.decode('offset')}`,
    ])
    return [...head, ...docs, `export type ${name} = Uint8Array`, '', ...functions, '', ...layout]
  }
  const fields = membersOf(collection, context, id, name)
  const encode = fields.flatMap(({ name: field, codec, offsetBytes }) =>
    codec.encode(`value.${field}`, plus('offset', offsetBytes), `${name}.${field}`),
  )
  const decode = fields.map(
    ({ name: field, codec, offsetBytes }) => `  ${field}: ${codec.decode(plus('offset', offsetBytes))},`,
  )
  return [
    ...head,
    ...docs,
    `export interface ${name} {`,
    ...fields.flatMap((field) => [
      ...docComment(field.docs, '  '),
      `  readonly ${field.name}: ${field.codec.type}`,
    ]),
    '}',
    '',
    ...emitFunctions(name, type.size, needsZeroing(collection, id), encode, ['return {', ...decode, '}']),
    '',
    ...layout,
  ]
}

const literal = (value: bigint): string =>
  value > BigInt(Number.MAX_SAFE_INTEGER) || value < BigInt(Number.MIN_SAFE_INTEGER)
    ? `${value}n`
    : `${value}`

function emitEnum(name: string, type: Enum): string[] {
  const constant = constantCase(name)
  const named = new Map<bigint, string>()
  for (const { name: key, value } of type.values) if (!named.has(value)) named.set(value, key)
  return [
    `export const ${name} = {`,
    ...type.values.map(({ name: key, value }) => `  ${key}: ${literal(value)},`),
    '} as const',
    `export type ${name} = (typeof ${name})[keyof typeof ${name}]`,
    '',
    `/** The first constant of each value. */`,
    `export const ${constant}_NAMES: ReadonlyMap<number | bigint, keyof typeof ${name}> = new Map([`,
    ...[...named].map(([value, key]) => `  [${literal(value)}, '${key}'],`),
    '])',
  ]
}

const byName = <T>([left]: [string, T], [right]: [string, T]): number => (left < right ? -1 : 1)

/** The text of the module. Throws `unsupported`, naming the member, for what has no sound codec. */
export function generateCodecs(btf: Btf, options: CodegenOptions): string {
  const collection = collect(btf)
  const helpers = new Set<HelperName>()
  const context: FieldContext = {
    btf,
    structName: (id, path) => collection.structName(id, path),
    use: (helper) => helpers.add(helper),
  }
  const structs = [...collection.structs]
    .sort(byName)
    .map(([name, id]) => emitStruct(collection, context, name, id))
  const enums = [...collection.enums].sort(byName).map(([name, type]) => emitEnum(name, type))
  const helperTexts = (Object.keys(HELPERS) as HelperName[])
    .filter((name) => helpers.has(name))
    .map((name) => [HELPERS[name]])
  const imports = structs.length > 0 ? [[`import type { StructLayout } from '${options.layoutModule}'`]] : []
  const banner = [
    '// Generated from BTF by tools/abi-gen.ts. Do not edit: change the C headers and build again.',
  ]
  const parts = [banner, ...imports, ...enums, ...structs, ...helperTexts]
  return `${parts.map((lines) => lines.join('\n')).join('\n\n')}\n`
}
