// Walking an object together with its schema. Everything in schema/ that visits fields shares these steps, so built-in kinds
// (which refer to shared definitions) and CRDs (which are one tree) are walked by the same code.

import type { Schema } from '../kind.ts'

export type Definitions = Record<string, Schema>
export type JsonObject = Record<string, unknown>

export interface Resolved {
  readonly schema: Schema
  /** Reached through a shared definition: the type of a built-in kind. */
  readonly isBuiltIn: boolean
}

const metadataDefinition = 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta'

/** A kind may be given as a reference; what stands beside a reference (default, description) wins over what it names. */
export function resolveSchema(schema: Schema, definitions: Definitions): Resolved {
  if (schema.$ref === undefined) return { schema, isBuiltIn: false }
  const target = definitions[schema.$ref]
  if (target === undefined)
    throw new Error(`schema definition ${schema.$ref} does not exist; run tools/kube-types-gen.ts`)
  const { $ref: _, ...beside } = schema
  return { schema: Object.keys(beside).length === 0 ? target : { ...target, ...beside }, isBuiltIn: true }
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function copyOf<T>(value: T): T {
  return structuredClone(value)
}

export function childPath(path: string, field: string): string {
  return path === '' ? field : `${path}.${field}`
}

/** Quoted keys for maps, as Kubernetes writes them: data[a.b] */
export function mapPath(path: string, key: string): string {
  return `${path}[${key}]`
}

/** CRD schemas leave out what every object has; the server knows it. */
const implicitFields: Readonly<Record<string, Schema>> = {
  apiVersion: { type: 'string' },
  kind: { type: 'string' },
  metadata: { $ref: metadataDefinition },
}

/** The schema of one field, or undefined if the schema has no such field. `isObject`: the value is a whole Kubernetes object. */
export function fieldSchema(schema: Schema, field: string, isObject: boolean): Schema | undefined {
  if (isObject && Object.hasOwn(implicitFields, field)) return implicitFields[field]
  const properties = schema.properties
  if (properties !== undefined && Object.hasOwn(properties, field)) return properties[field]
  const additional = schema.additionalProperties
  if (isJsonObject(additional)) return additional as Schema
  return undefined
}

export function allowsAnyField(schema: Schema): boolean {
  return schema['x-kubernetes-preserve-unknown-fields'] === true || schema.additionalProperties === true
}

/** Free-form data: fields inside it are not ours to judge. */
export function isMapSchema(schema: Schema): boolean {
  return schema.additionalProperties !== undefined && schema.additionalProperties !== false
}

export function subSchemas(schema: Schema, keyword: 'allOf' | 'anyOf' | 'oneOf'): Schema[] {
  const list = schema[keyword]
  return Array.isArray(list) ? list.filter((entry): entry is Schema => isJsonObject(entry)) : []
}
