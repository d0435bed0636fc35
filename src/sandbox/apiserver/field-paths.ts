// Fields of an object as paths, the currency of server-side apply: which fields does a value set, which did a change touch.
// A path is its FieldsV1 steps (`f:spec`, `k:{"port":80}`, `v:"finalizer"`) joined by a separator, so field sets are plain Sets.
//
// Rules (structured-merge-diff): scalars, atomic lists and atomic maps are one field; fields of a struct are listed by their leaves;
// entries of an open map and items of associative lists are fields themselves besides what is inside.

import { canonicalJson, deepEqual, isRecord } from './json.ts'
import type { KubeObject, Schema } from './kind.ts'
import type { Definitions } from './schema-tools.ts'

const separator = '\u0001'

export type FieldPath = string

/** Path → value for leaves; items and map entries carry `container`, as their inside is listed by itself. */
export type FieldValues = Map<FieldPath, unknown>

const container = Symbol('container')

export const stepsOf = (path: FieldPath): string[] => path.split(separator)
export const pathOf = (steps: readonly string[]): FieldPath => steps.join(separator)
export const isInside = (path: FieldPath, parent: FieldPath): boolean => path.startsWith(parent + separator)

export const resolve = (schema: Schema | undefined, definitions: Definitions): Schema | undefined => {
  let current = schema
  for (let hops = 0; current?.$ref !== undefined && hops < 8; hops += 1) current = definitions[current.$ref]
  return current
}

export const memberSchema = (schema: Schema | undefined, key: string): Schema | undefined => {
  const property = schema?.properties?.[key]
  if (property) return property
  return typeof schema?.additionalProperties === 'object' ? schema.additionalProperties : undefined
}

/** List and map attributes may stand beside a $ref; the place of use wins over the definition. */
const attribute = (schema: Schema | undefined, definitions: Definitions, name: string): unknown =>
  schema?.[name] ?? resolve(schema, definitions)?.[name]

export type ListShape = { type: 'atomic' } | { type: 'set' } | { type: 'map'; keys: readonly string[] }

export const listShape = (schema: Schema | undefined, definitions: Definitions): ListShape => {
  const type = attribute(schema, definitions, 'x-kubernetes-list-type')
  if (type === 'map') {
    const keys = attribute(schema, definitions, 'x-kubernetes-list-map-keys')
    return { type, keys: Array.isArray(keys) ? keys : [] }
  }
  if (type === 'set') return { type }
  if (type === undefined && attribute(schema, definitions, 'x-kubernetes-patch-strategy') === 'merge') {
    const key = attribute(schema, definitions, 'x-kubernetes-patch-merge-key')
    return typeof key === 'string' ? { type: 'map', keys: [key] } : { type: 'set' }
  }
  return { type: 'atomic' }
}

export const isAtomicMap = (schema: Schema | undefined, definitions: Definitions): boolean =>
  attribute(schema, definitions, 'x-kubernetes-map-type') === 'atomic'

/** The step that names a list item: its keys for a list map (absent keys take their default), its value for a set. */
export const itemStep = (
  item: unknown,
  shape: ListShape,
  items: Schema | undefined,
  definitions: Definitions,
): string => {
  if (shape.type !== 'map' || !isRecord(item)) return `v:${canonicalJson(item)}`
  const properties = resolve(items, definitions)?.properties ?? {}
  const keys: Record<string, unknown> = {}
  for (const key of shape.keys) {
    const value = item[key] ?? properties[key]?.default
    if (value !== undefined) keys[key] = value
  }
  return `k:${canonicalJson(keys)}`
}

class Walker {
  readonly values: FieldValues = new Map()
  readonly #definitions: Definitions

  constructor(definitions: Definitions) {
    this.#definitions = definitions
  }

  walk(value: unknown, schema: Schema | undefined, path: FieldPath): void {
    if (Array.isArray(value)) this.#list(value, schema, path)
    else if (isRecord(value) && !isAtomicMap(schema, this.#definitions)) this.#map(value, schema, path)
    else this.values.set(path, value)
  }

  #map(value: Record<string, unknown>, schema: Schema | undefined, path: FieldPath): void {
    const resolved = resolve(schema, this.#definitions)
    for (const [key, member] of Object.entries(value)) {
      const memberPath = path === '' ? `f:${key}` : `${path}${separator}f:${key}`
      const isEmpty = member === null || (isRecord(member) && Object.keys(member).length === 0)
      const isEntry = resolved?.properties?.[key] === undefined
      if (isEmpty || (isEntry && (isRecord(member) || Array.isArray(member))))
        this.values.set(memberPath, container)
      if (!isEmpty) this.walk(member, memberSchema(resolved, key), memberPath)
    }
  }

  #list(value: unknown[], schema: Schema | undefined, path: FieldPath): void {
    const shape = listShape(schema, this.#definitions)
    if (shape.type === 'atomic') {
      this.values.set(path, value)
      return
    }
    const items = resolve(schema, this.#definitions)?.items
    for (const item of value) {
      const itemPath = `${path}${separator}${itemStep(item, shape, items, this.#definitions)}`
      this.values.set(itemPath, container)
      if (isRecord(item)) this.walk(item, items, itemPath)
    }
  }
}

/** System metadata nobody owns. */
const unownedMetadata = [
  'name',
  'namespace',
  'creationTimestamp',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
  'selfLink',
  'uid',
  'generation',
  'managedFields',
  'resourceVersion',
]

/** Every field an object sets. `section` restricts to status or to all but status, as its writer's endpoint does. */
export const fieldValuesOf = (
  object: KubeObject | Record<string, unknown>,
  schema: Schema,
  definitions: Definitions,
  section: 'all' | 'status' | 'notStatus',
): FieldValues => {
  const owned: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(object)) {
    if (key === 'apiVersion' || key === 'kind') continue
    if (section === 'status' && key !== 'status') continue
    if (section === 'notStatus' && key === 'status') continue
    owned[key] = value
  }
  if (isRecord(owned['metadata'])) {
    const metadata = { ...owned['metadata'] }
    for (const key of unownedMetadata) delete metadata[key]
    if (Object.keys(metadata).length > 0) owned['metadata'] = metadata
    else delete owned['metadata']
  }
  const walker = new Walker(definitions)
  walker.walk(owned, withMetadata(schema, definitions), '')
  return walker.values
}

/** Object metadata is described only as far as ownership needs: CRD schemas say nothing of it. */
const metadataSchema: Schema = {
  type: 'object',
  properties: {
    labels: { type: 'object', additionalProperties: { type: 'string' } },
    annotations: { type: 'object', additionalProperties: { type: 'string' } },
    finalizers: { type: 'array', items: { type: 'string' }, 'x-kubernetes-list-type': 'set' },
    ownerReferences: {
      type: 'array',
      items: { type: 'object' },
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['uid'],
    },
    generateName: { type: 'string' },
  },
}

const withMetadataCache = new WeakMap<Schema, Schema>()

/** The kind's schema with metadata described as above, whatever the kind's author wrote there. */
export const withMetadata = (schema: Schema, definitions: Definitions): Schema => {
  const resolved = resolve(schema, definitions) ?? schema
  let complete = withMetadataCache.get(resolved)
  if (!complete) {
    complete = { ...resolved, properties: { ...resolved.properties, metadata: metadataSchema } }
    withMetadataCache.set(resolved, complete)
  }
  return complete
}

export interface Comparison {
  /** Paths added or with another value. */
  changed: Set<FieldPath>
  removed: Set<FieldPath>
}

export const compareFields = (before: FieldValues, after: FieldValues): Comparison => {
  const changed = new Set<FieldPath>()
  const removed = new Set<FieldPath>()
  for (const [path, value] of after) {
    if (!before.has(path) || !deepEqual(before.get(path), value)) changed.add(path)
  }
  for (const path of before.keys()) if (!after.has(path)) removed.add(path)
  return { changed, removed }
}

/** A path as messages show it: `.spec.ports[port=80,protocol="TCP"].nodePort` */
export const printPath = (path: FieldPath): string =>
  stepsOf(path)
    .map((step) => {
      const rest = step.slice(2)
      if (step.startsWith('f:')) return `.${rest}`
      if (step.startsWith('v:')) return `[=${rest}]`
      const keys = JSON.parse(rest) as Record<string, unknown>
      return `[${Object.entries(keys)
        .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
        .join(',')}]`
    })
    .join('')
