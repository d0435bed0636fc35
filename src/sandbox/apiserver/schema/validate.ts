// Checks an object against a structural schema, finds and removes unknown fields, fills in defaults.
//
// Works for built-in kinds and CustomResourceDefinitions alike. Rules written in CEL (x-kubernetes-validations) are not
// evaluated. A null in a field that is not nullable counts as absent, as on the real server, and is removed with the defaults.
// Of built-in kinds the server insists on required fields only outside status: Go writes zeros there where a client wrote nothing.

import type { FieldError, KubeObject, Schema } from '../kind.ts'
import { matchesFormat } from './formats.ts'
import {
  allowsAnyField,
  childPath,
  copyOf,
  type Definitions,
  fieldSchema,
  isJsonObject,
  isMapSchema,
  type JsonObject,
  mapPath,
  resolveSchema,
  subSchemas,
} from './traverse.ts'

interface Walk {
  readonly definitions: Definitions
  readonly errors: FieldError[]
  readonly isBuiltIn: boolean
}

export function validateObject(schema: Schema, definitions: Definitions, object: KubeObject): FieldError[] {
  const walk: Walk = { definitions, errors: [], isBuiltIn: false }
  checkValue(walk, schema, object, '', true)
  return walk.errors
}

function shown(value: unknown): string {
  return JSON.stringify(value) ?? 'null'
}

function fail(walk: Walk, field: string, reason: FieldError['reason'], message: string): void {
  walk.errors.push({ field, reason, message })
}

function invalid(walk: Walk, path: string, value: unknown, why: string): void {
  fail(walk, path, 'FieldValueInvalid', `Invalid value: ${shown(value)}: ${path} in body ${why}`)
}

function checkValue(outer: Walk, given: Schema, value: unknown, path: string, isObject = false): void {
  const { schema, isBuiltIn } = resolveSchema(given, outer.definitions)
  const walk = isBuiltIn && !outer.isBuiltIn ? { ...outer, isBuiltIn } : outer
  if (value === null && schema.nullable === true) return
  if (!checkType(walk, schema, value, path)) return
  if (schema['x-weir-zero-is-unset'] === true && (value === '' || value === 0)) return
  checkEnum(walk, schema, value, path)
  if (typeof value === 'string') checkText(walk, schema, value, path)
  if (typeof value === 'number') checkNumber(walk, schema, value, path)
  if (schema.format !== undefined && !matchesFormat(schema.format, value))
    invalid(walk, path, value, `must be of type ${schema.format}: ${shown(value)}`)
  if (Array.isArray(value)) checkList(walk, schema, value, path)
  if (isJsonObject(value)) checkObject(walk, schema, value, path, isObject)
  checkCombinations(walk, schema, value, path)
}

const typeChecks: Record<string, (value: unknown) => boolean> = {
  object: isJsonObject,
  array: Array.isArray,
  string: (value) => typeof value === 'string',
  integer: Number.isInteger,
  number: (value) => typeof value === 'number',
  boolean: (value) => typeof value === 'boolean',
}

function checkType(walk: Walk, schema: Schema, value: unknown, path: string): boolean {
  let expected: string | undefined
  if (schema['x-kubernetes-int-or-string'] === true) {
    if (!Number.isInteger(value) && typeof value !== 'string') expected = 'integer,string'
  } else if (schema.format === 'quantity') {
    if (typeof value !== 'number' && typeof value !== 'string') expected = 'number,string'
  } else if (schema.type !== undefined && typeChecks[schema.type]?.(value) === false) {
    expected = schema.type
  }
  if (expected === undefined) return true
  const message = `Invalid value: ${shown(value)}: ${path} in body must be of type ${expected}: ${shown(value)}`
  fail(walk, path, 'FieldValueTypeInvalid', message)
  return false
}

function checkEnum(walk: Walk, schema: Schema, value: unknown, path: string): void {
  if (schema.enum === undefined) return
  const text = shown(value)
  if (schema.enum.some((allowed) => shown(allowed) === text)) return
  const supported = schema.enum.map(shown).join(', ')
  fail(walk, path, 'FieldValueNotSupported', `Unsupported value: ${text}: supported values: ${supported}`)
}

function checkText(walk: Walk, schema: Schema, value: string, path: string): void {
  const { minLength, maxLength, pattern } = schema
  const length = [...value].length
  if (minLength !== undefined && length < minLength)
    invalid(walk, path, value, `should be at least ${minLength} chars long`)
  if (maxLength !== undefined && length > maxLength)
    fail(walk, path, 'FieldValueInvalid', `Too long: may not be more than ${maxLength} bytes`)
  if (pattern !== undefined && !compiled(pattern).test(value))
    invalid(walk, path, value, `should match '${pattern}'`)
}

/** CRDs hold few patterns and objects are many. */
const patterns = new Map<string, RegExp>()
const patternLimit = 4096

function compiled(pattern: string): RegExp {
  const known = patterns.get(pattern)
  if (known !== undefined) return known
  // Go writes flags at the start of the expression, where JavaScript takes them beside it.
  const inline = /^\(\?([ims]+)\)/.exec(pattern)
  const expression = new RegExp(pattern.slice(inline?.[0].length ?? 0), `${inline?.[1] ?? ''}u`)
  if (patterns.size >= patternLimit) patterns.clear()
  patterns.set(pattern, expression)
  return expression
}

function checkNumber(walk: Walk, schema: Schema, value: number, path: string): void {
  const { minimum, maximum } = schema
  const isAboveOnly = schema['exclusiveMinimum'] === true
  const isBelowOnly = schema['exclusiveMaximum'] === true
  if (minimum !== undefined && (isAboveOnly ? value <= minimum : value < minimum))
    invalid(walk, path, value, `should be greater than${isAboveOnly ? '' : ' or equal to'} ${minimum}`)
  if (maximum !== undefined && (isBelowOnly ? value >= maximum : value > maximum))
    invalid(walk, path, value, `should be less than${isBelowOnly ? '' : ' or equal to'} ${maximum}`)
  const step = schema['multipleOf']
  if (typeof step === 'number' && !Number.isInteger(value / step))
    invalid(walk, path, value, `should be a multiple of ${step}`)
}

function checkList(walk: Walk, schema: Schema, list: readonly unknown[], path: string): void {
  const { minItems, maxItems, items } = schema
  if (minItems !== undefined && list.length < minItems)
    invalid(walk, path, list.length, `should have at least ${minItems} items`)
  if (maxItems !== undefined && list.length > maxItems)
    fail(walk, path, 'FieldValueInvalid', `Too many: ${list.length}: must have at most ${maxItems} items`)
  if (items !== undefined)
    for (const [index, item] of list.entries()) checkValue(walk, items, item, `${path}[${index}]`)
  // Built-in kinds have rules of their own for duplicates: the API lets some lists repeat their merge key.
  if (!walk.isBuiltIn) checkDuplicates(walk, schema, list, path)
}

function checkDuplicates(walk: Walk, schema: Schema, list: readonly unknown[], path: string): void {
  const listType = schema['x-kubernetes-list-type']
  const keys = schema['x-kubernetes-list-map-keys'] ?? []
  if (listType !== 'set' && listType !== 'map') return
  const seen = new Set<string>()
  for (const [index, item] of list.entries()) {
    const identity =
      listType === 'map' && isJsonObject(item)
        ? Object.fromEntries(
            keys.map((key) => [key, item[key] ?? schema.items?.properties?.[key]?.default ?? null]),
          )
        : item
    const text = shown(identity)
    if (seen.has(text)) fail(walk, `${path}[${index}]`, 'FieldValueDuplicate', `Duplicate value: ${text}`)
    seen.add(text)
  }
}

function checkObject(walk: Walk, schema: Schema, object: JsonObject, path: string, isRoot: boolean): void {
  const isEmbedded = schema['x-kubernetes-embedded-resource'] === true
  const isStatus = walk.isBuiltIn && (path === 'status' || path.startsWith('status.'))
  const required = isEmbedded ? ['apiVersion', 'kind', ...(schema.required ?? [])] : (schema.required ?? [])
  if (!isStatus)
    for (const name of new Set(required))
      if (object[name] === undefined || (object[name] === null && !isNullable(schema, name)))
        fail(walk, childPath(path, name), 'FieldValueRequired', 'Required value')
  const isMap = isMapSchema(schema)
  for (const [name, value] of Object.entries(object)) {
    const field = fieldSchema(schema, name, isRoot || isEmbedded)
    if (field === undefined || value === undefined || (value === null && !isMap)) continue
    checkValue(
      walk,
      field,
      value,
      isMap && schema.properties === undefined ? mapPath(path, name) : childPath(path, name),
    )
  }
  const { minProperties, maxProperties } = schema as { minProperties?: number; maxProperties?: number }
  const count = Object.keys(object).length
  if (minProperties !== undefined && count < minProperties)
    invalid(walk, path, count, `should have at least ${minProperties} properties`)
  if (maxProperties !== undefined && count > maxProperties)
    fail(walk, path, 'FieldValueInvalid', `Too many: ${count}: must have at most ${maxProperties} items`)
}

function isNullable(schema: Schema, field: string): boolean {
  return schema.properties?.[field]?.nullable === true
}

function checkCombinations(walk: Walk, schema: Schema, value: unknown, path: string): void {
  // Types above already said what these two stand for.
  if (schema['x-kubernetes-int-or-string'] === true || schema.format === 'quantity') return
  const errorsAgainst = (candidate: Schema): FieldError[] => {
    const inner: Walk = { ...walk, errors: [] }
    checkValue(inner, candidate, value, path)
    return inner.errors
  }
  for (const part of subSchemas(schema, 'allOf')) walk.errors.push(...errorsAgainst(part))
  const anyOf = subSchemas(schema, 'anyOf')
  if (anyOf.length > 0 && !anyOf.some((part) => errorsAgainst(part).length === 0))
    invalid(walk, path, value, 'must validate at least one schema (anyOf)')
  const oneOf = subSchemas(schema, 'oneOf')
  if (oneOf.length > 0 && oneOf.filter((part) => errorsAgainst(part).length === 0).length !== 1)
    invalid(walk, path, value, 'must validate one and only one schema (oneOf)')
  const not = schema['not']
  if (isJsonObject(not) && errorsAgainst(not as Schema).length === 0)
    invalid(walk, path, value, 'must not validate the schema (not)')
}

/** Paths of fields the schema does not know, in the order they stand. */
export function findUnknownFields(schema: Schema, definitions: Definitions, object: KubeObject): string[] {
  const found: string[] = []
  visitUnknown(schema, definitions, object, '', true, (_, __, path) => found.push(path))
  return found
}

/** Removes them, in place. */
export function pruneUnknown(schema: Schema, definitions: Definitions, object: KubeObject): void {
  visitUnknown(schema, definitions, object, '', true, (owner, field) => {
    delete owner[field]
  })
}

function visitUnknown(
  given: Schema,
  definitions: Definitions,
  value: unknown,
  path: string,
  isRoot: boolean,
  onUnknown: (owner: JsonObject, field: string, path: string) => void,
): void {
  const { schema } = resolveSchema(given, definitions)
  if (Array.isArray(value)) {
    const items = schema.items
    if (items === undefined) return
    for (const [index, item] of value.entries())
      visitUnknown(items, definitions, item, `${path}[${index}]`, false, onUnknown)
  }
  if (!isJsonObject(value)) return
  const isObject = isRoot || schema['x-kubernetes-embedded-resource'] === true
  const hasFields = schema.type === 'object' || schema.properties !== undefined
  for (const [name, inner] of Object.entries(value)) {
    const field = fieldSchema(schema, name, isObject)
    if (field !== undefined) visitUnknown(field, definitions, inner, childPath(path, name), false, onUnknown)
    else if (hasFields && !allowsAnyField(schema)) onUnknown(value, name, childPath(path, name))
  }
}

/** Fills defaults in and removes nulls where null means absent; in place. */
export function applyDefaults(schema: Schema, definitions: Definitions, object: KubeObject): void {
  fillIn(schema, definitions, object, true)
}

function fillIn(given: Schema, definitions: Definitions, value: unknown, isRoot: boolean): void {
  const { schema } = resolveSchema(given, definitions)
  if (Array.isArray(value)) {
    if (schema.items !== undefined) for (const item of value) fillIn(schema.items, definitions, item, false)
    return
  }
  if (!isJsonObject(value)) return
  fillFields(schema, definitions, value)
  const isObject = isRoot || schema['x-kubernetes-embedded-resource'] === true
  for (const [name, inner] of Object.entries(value)) {
    const field = fieldSchema(schema, name, isObject)
    if (field === undefined) continue
    if (inner === null && resolveSchema(field, definitions).schema.nullable !== true && !isMapSchema(schema))
      delete value[name]
    else fillIn(field, definitions, inner, false)
  }
}

function fillFields(schema: Schema, definitions: Definitions, object: JsonObject): void {
  for (const [name, field] of Object.entries(schema.properties ?? {})) {
    if (field.default === undefined) continue
    const value = object[name]
    const isUnset =
      value === undefined ||
      (value === null && resolveSchema(field, definitions).schema.nullable !== true) ||
      (field['x-weir-zero-is-unset'] === true && (value === '' || value === 0))
    if (isUnset) object[name] = copyOf(field.default)
  }
}
