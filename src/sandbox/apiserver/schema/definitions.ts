// The schemas of the built-in types, as OpenAPI definitions that refer to each other.
//
// Data in: types.gen.ts (fields and types as kubectl itself knows them) and overlay.ts (enumerations, defaults, list keys,
// descriptions: what Go's types cannot say). Data out: one map from definition name to Schema, read by validation, merging,
// defaulting and the server's OpenAPI documents. Built once at start; nobody changes it afterwards.

import type { Schema } from '../kind.ts'
import {
  atomicMaps,
  defaults,
  definitionDescriptions,
  enumerations,
  fieldDescriptions,
  handWrittenTypes,
  listTypes,
  optionalFields,
  requiredFields,
} from './overlay.ts'
import { typeLines } from './types.gen.ts'

const quantityName = 'io.k8s.apimachinery.pkg.api.resource.Quantity'
const intOrStringName = 'io.k8s.apimachinery.pkg.util.intstr.IntOrString'

/** core.v1.Pod → io.k8s.api.core.v1.Pod */
export function definitionNameOf(shortName: string): string {
  if (shortName.startsWith('meta.')) return `io.k8s.apimachinery.pkg.apis.${shortName}`
  if (shortName.startsWith('apiextensions.')) return `io.k8s.apiextensions-apiserver.pkg.apis.${shortName}`
  return `io.k8s.api.${shortName}`
}

const scalarSchemas: Record<string, Schema> = {
  string: { type: 'string' },
  bool: { type: 'boolean' },
  int32: { type: 'integer', format: 'int32' },
  int64: { type: 'integer', format: 'int64' },
  float64: { type: 'number', format: 'double' },
  bytes: { type: 'string', format: 'byte' },
  time: { type: 'string', format: 'date-time' },
  microtime: { type: 'string', format: 'date-time' },
  quantity: { $ref: quantityName },
  intstr: { $ref: intOrStringName },
  any: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
  anyValue: { 'x-kubernetes-preserve-unknown-fields': true },
}

function schemaOfType(type: string): Schema {
  if (type.startsWith('[]')) return { type: 'array', items: schemaOfType(type.slice(2)) }
  if (type.startsWith('{}')) return { type: 'object', additionalProperties: schemaOfType(type.slice(2)) }
  if (type.startsWith("'")) {
    const values = enumerations[type.slice(1)]
    return values === undefined ? { type: 'string' } : { type: 'string', enum: values }
  }
  const scalar = scalarSchemas[type]
  return scalar === undefined ? { $ref: definitionNameOf(type) } : { ...scalar }
}

function addListType(
  schema: Schema,
  field: string,
  strategy: string | undefined,
  mergeKey: string | undefined,
): void {
  const listType = listTypes[field]
  if (Array.isArray(listType)) {
    schema['x-kubernetes-list-type'] = 'map'
    schema['x-kubernetes-list-map-keys'] = listType
  } else if (listType === 'set' || listType === 'atomic') {
    schema['x-kubernetes-list-type'] = listType
  } else if (mergeKey !== undefined) {
    schema['x-kubernetes-list-type'] = 'map'
    schema['x-kubernetes-list-map-keys'] = [mergeKey]
  } else {
    schema['x-kubernetes-list-type'] = strategy === 'merge' ? 'set' : 'atomic'
  }
}

interface ParsedField {
  name: string
  isRequired: boolean
  schema: Schema
}

const fieldPattern = /^([^!*:]+)(!?)(\*?):([^~@]+)(?:~([^@]+))?(?:@(.+))?$/

function parseField(typeName: string, text: string): ParsedField {
  const match = fieldPattern.exec(text)
  if (match === null)
    throw new Error(`types.gen.ts: ${typeName}: cannot read "${text}"; run tools/kube-types-gen.ts`)
  const [, name = '', required, pointer, type = '', strategy, mergeKey] = match
  const field = `${typeName}.${name}`
  const schema = schemaOfType(type)
  if (strategy !== undefined) schema['x-kubernetes-patch-strategy'] = strategy
  if (mergeKey !== undefined) schema['x-kubernetes-patch-merge-key'] = mergeKey
  if (schema.type === 'array') addListType(schema, field, strategy, mergeKey)
  if (atomicMaps.has(field)) schema['x-kubernetes-map-type'] = 'atomic'
  const fallback = defaults[field]
  if (fallback !== undefined) {
    schema.default = fallback
    // In Go a plain string or number that is zero cannot be told from an absent one, so the default replaces it.
    if (pointer === '') schema['x-weir-zero-is-unset'] = true
  }
  const description = fieldDescriptions[field]
  if (description !== undefined) schema.description = description
  const isRequired = requiredFields.has(field) || (required === '!' && !optionalFields.has(field))
  // An optional enumeration that is not a pointer may be written as "", which Go reads as absent.
  if (!isRequired && pointer === '' && schema.enum !== undefined) schema['x-weir-zero-is-unset'] = true
  return { name, isRequired, schema }
}

function parseLine(line: string): [string, Schema] {
  const [typeName = '', ...fieldTexts] = line.split(' ')
  const fields = fieldTexts.filter((text) => text !== '').map((text) => parseField(typeName, text))
  const required = fields.filter((field) => field.isRequired).map((field) => field.name)
  const schema: Schema = { type: 'object' }
  const description = definitionDescriptions[typeName]
  if (description !== undefined) schema.description = description
  if (fields.length > 0)
    schema.properties = Object.fromEntries(fields.map((field) => [field.name, field.schema]))
  if (required.length > 0) schema.required = required
  if (atomicMaps.has(typeName)) schema['x-kubernetes-map-type'] = 'atomic'
  return [definitionNameOf(typeName), schema]
}

function buildDefinitions(): Record<string, Schema> {
  const lines = `${typeLines}\n${handWrittenTypes}`.split('\n').filter((line) => line.trim() !== '')
  return {
    ...Object.fromEntries(lines.map(parseLine)),
    [quantityName]: { oneOf: [{ type: 'string' }, { type: 'number' }], format: 'quantity' },
    [intOrStringName]: {
      'x-kubernetes-int-or-string': true,
      format: 'int-or-string',
      oneOf: [{ type: 'integer' }, { type: 'string' }],
    },
  }
}

export const sharedDefinitions: Record<string, Schema> = buildDefinitions()
