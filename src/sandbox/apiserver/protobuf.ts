// Reads request bodies in Kubernetes' protobuf encoding. kubectl's typed commands (create namespace, create deployment, drain …) send
// it for built-in kinds and do not fall back to JSON, so the server must read it; it never writes it (answers negotiate JSON).
//
// The body is the magic `k8s\0` and a runtime.Unknown: {1: {1: apiVersion, 2: kind}, 2: the object}. Field numbers come from kubectl
// itself (protobuf-fields.gen.ts). What Go leaves out of JSON (zero values of optional fields) is left out here too.

import { badRequest } from './errors.ts'
import { isRecord, type JsonRecord } from './json.ts'
import { protobufLines } from './protobuf-fields.gen.ts'

export const protobufType = 'application/vnd.kubernetes.protobuf'

const magic = Buffer.from('k8s\0', 'latin1')

interface Field {
  name: string
  type: string
  isAlwaysWritten: boolean
  isPointer: boolean
}

type Message = Map<number, Field>

let messages: Map<string, Message> | undefined

const parseField = (text: string): [number, Field] => {
  const match = /^([^!*=]*)(!?)(\*?)=(\d+):(.+)$/.exec(text)
  if (!match) throw new Error(`protobuf-fields.gen.ts: cannot read "${text}"; run tools/kube-types-gen.ts`)
  const [, name = '', required, pointer, number, type = ''] = match
  return [Number(number), { name, type, isAlwaysWritten: required === '!', isPointer: pointer === '*' }]
}

/** Built on the first protobuf request: most servers never get one. */
const messageNamed = (name: string): Message | undefined => {
  messages ??= new Map(
    protobufLines
      .trim()
      .split('\n')
      .map((line) => {
        const [type = '', ...fields] = line.split(' ').filter((part) => part !== '')
        return [type, new Map(fields.map(parseField))]
      }),
  )
  return messages.get(name)
}

type WireValue = bigint | Buffer

/** The fields of one message in wire order; throws on anything but varints, fixed-size numbers and byte strings. */
function* wireFields(bytes: Buffer): Generator<[number, WireValue]> {
  let offset = 0
  const varint = (): bigint => {
    let value = 0n
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[offset++]
      if (byte === undefined) break
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
    throw badRequest('protobuf body is cut off')
  }
  const take = (length: number): Buffer => {
    if (offset + length > bytes.length) throw badRequest('protobuf body is cut off')
    offset += length
    return bytes.subarray(offset - length, offset)
  }
  while (offset < bytes.length) {
    const tag = Number(varint())
    const wireType = tag & 7
    if (wireType === 0) yield [tag >> 3, varint()]
    else if (wireType === 2) yield [tag >> 3, take(Number(varint()))]
    else if (wireType === 1) yield [tag >> 3, take(8)]
    else throw badRequest(`protobuf wire type ${wireType} is not used by Kubernetes`)
  }
}

const textOf = (value: WireValue | undefined): string =>
  Buffer.isBuffer(value) ? value.toString('utf8') : ''
const bytesOf = (value: WireValue): Buffer => {
  if (Buffer.isBuffer(value)) return value
  throw badRequest('protobuf body has a number where a message belongs')
}
const numberOf = (value: WireValue | undefined): number =>
  typeof value === 'bigint' ? Number(BigInt.asIntN(64, value)) : 0

const fieldsByNumber = (value: WireValue): Map<number, WireValue> => new Map(wireFields(bytesOf(value)))

/** Types whose JSON is not their fields. undefined means not set. */
const specialReaders: Record<string, (value: WireValue) => unknown> = {
  time: (value) => {
    const seconds = fieldsByNumber(value).get(1)
    return seconds === undefined
      ? undefined
      : new Date(numberOf(seconds) * 1000).toISOString().replace('.000Z', 'Z')
  },
  microtime: (value) => {
    const fields = fieldsByNumber(value)
    if (fields.get(1) === undefined) return undefined
    const whole = new Date(numberOf(fields.get(1)) * 1000).toISOString().slice(0, 19)
    return `${whole}.${String(Math.floor(numberOf(fields.get(2)) / 1000)).padStart(6, '0')}Z`
  },
  quantity: (value) => textOf(fieldsByNumber(value).get(1)),
  intstr: (value) => {
    const fields = fieldsByNumber(value)
    return numberOf(fields.get(1)) === 1 ? textOf(fields.get(3)) : numberOf(fields.get(2))
  },
  any: (value) => {
    const raw = textOf(fieldsByNumber(value).get(1))
    return raw === '' ? undefined : (JSON.parse(raw) as unknown)
  },
  string: (value) => textOf(value),
  bytes: (value) => bytesOf(value).toString('base64'),
  bool: (value) => value === 1n,
  int32: numberOf,
  int64: numberOf,
  float64: (value) => bytesOf(value).readDoubleLE(),
}

const readValue = (type: string, value: WireValue): unknown => {
  const special = specialReaders[type]
  return special ? special(value) : readMessage(type, bytesOf(value))
}

const addMapEntry = (target: JsonRecord, field: Field, value: WireValue): void => {
  const entry = fieldsByNumber(value)
  const type = field.type.slice(2)
  const present = target[field.name]
  const map: JsonRecord = isRecord(present) ? present : {}
  map[textOf(entry.get(1))] = readValue(type, entry.get(2) ?? Buffer.alloc(0))
  target[field.name] = map
}

const isZero = (value: unknown): boolean =>
  value === undefined || value === '' || value === 0 || value === false

const readMessage = (type: string, bytes: Buffer): JsonRecord => {
  const message = messageNamed(type)
  if (!message) throw badRequest(`protobuf message ${type} is not known to this server; send JSON`)
  const result: JsonRecord = {}
  for (const [number, value] of wireFields(bytes)) {
    const field = message.get(number)
    if (!field) throw badRequest(`protobuf field ${number} of ${type} is not known to this server; send JSON`)
    if (field.name === '') Object.assign(result, readMessage(field.type, bytesOf(value)))
    else if (field.type.startsWith('{}')) addMapEntry(result, field, value)
    else if (field.type.startsWith('[]')) {
      const present = result[field.name]
      const item = readValue(field.type.slice(2), value)
      result[field.name] = Array.isArray(present) ? [...present, item] : [item]
    } else {
      const read = readValue(field.type, value)
      const isKept = field.isPointer || field.isAlwaysWritten ? read !== undefined : !isZero(read)
      if (isKept) result[field.name] = read
    }
  }
  return result
}

/** apps/v1 Deployment → apps.v1.Deployment; options that any group may send live in meta.v1. */
const messageNameOf = (apiVersion: string, kind: string): string => {
  const [first = '', second] = apiVersion.split('/')
  const name = second === undefined ? `core.${first}.${kind}` : `${first.split('.')[0]}.${second}.${kind}`
  return messageNamed(name) ? name : `meta.v1.${kind}`
}

export const decodeProtobuf = (body: Buffer): JsonRecord => {
  if (!body.subarray(0, magic.length).equals(magic)) throw badRequest('protobuf body without its k8s prefix')
  const envelope = fieldsByNumber(body.subarray(magic.length))
  const typeMeta = fieldsByNumber(envelope.get(1) ?? Buffer.alloc(0))
  const apiVersion = textOf(typeMeta.get(1))
  const kind = textOf(typeMeta.get(2))
  return {
    apiVersion,
    kind,
    ...readMessage(messageNameOf(apiVersion, kind), bytesOf(envelope.get(2) ?? Buffer.alloc(0))),
  }
}
