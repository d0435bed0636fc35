// The way of an incoming object to a storable one: identity, unknown fields, defaults, the kind's own admission, validation.
// Works on the caller's own copy and changes it in place; throws the Status a client expects.

import { badRequest, DecodingError, invalid, untypedConfiguration } from './errors.ts'
import { isRecord } from './json.ts'
import type { AdmissionContext, FieldError, KindDefinition, KubeObject } from './kind.ts'
import { metadataErrors, metadataUpdateErrors } from './object-meta.ts'
import { apiVersionOf } from './registry.ts'
import type { Definitions, SchemaTools } from './schema-tools.ts'

export type FieldValidation = 'Strict' | 'Warn' | 'Ignore'

/** What a writing request may say; the HTTP layer reads it from the query, controllers give it directly. */
export interface WriteOptions {
  readonly dryRun?: boolean
  readonly fieldManager?: string
  readonly fieldValidation?: FieldValidation
  /** Takes fields over from other managers in a server-side apply. */
  readonly force?: boolean
  readonly warn?: (message: string) => void
}

/** Refuses anything that is not an object of this kind, with the server's usual words. */
export const asObjectOf = (kind: KindDefinition, value: unknown): KubeObject => {
  if (!isRecord(value))
    throw badRequest(`${kind.kind} in version "${kind.version}" cannot be handled: the body is not an object`)
  const expected = apiVersionOf(kind)
  const apiVersion = value['apiVersion'] ?? expected
  const kindName = value['kind'] ?? kind.kind
  if (kindName !== kind.kind || apiVersion !== expected) {
    throw badRequest(
      apiVersion === expected
        ? `${String(kindName)} in version "${kind.version}" cannot be handled as a ${kind.kind}: no kind "${String(kindName)}" is served by ${kind.plural}`
        : `the API version in the data (${String(apiVersion)}) does not match the expected API version (${expected})`,
    )
  }
  if (value['metadata'] !== undefined && value['metadata'] !== null && !isRecord(value['metadata'])) {
    throw new DecodingError(kind, 'metadata must be an object')
  }
  return {
    ...value,
    apiVersion: expected,
    kind: kind.kind,
    metadata: { ...(value['metadata'] ?? {}) },
  } as KubeObject
}

export const checkUnknownFields = (
  tools: SchemaTools,
  definitions: Definitions,
  kind: KindDefinition,
  object: KubeObject,
  options: WriteOptions,
): void => {
  const unknown = tools.findUnknownFields(kind.schema, definitions, object)
  if (unknown.length === 0) return
  const validation = options.fieldValidation ?? 'Warn'
  const phrases = unknown.map((path) => `unknown field "${path.replace(/^\./, '')}"`)
  if (validation === 'Strict') {
    throw new DecodingError(kind, `strict decoding error: ${phrases.join(', ')}`)
  }
  if (validation === 'Warn') for (const phrase of phrases) options.warn?.(phrase)
  tools.pruneUnknown(kind.schema, definitions, object)
}

/** As `checkUnknownFields`, for a configuration to apply: the schema must know every field, whatever validation is asked for. */
export const checkConfiguration = (
  tools: SchemaTools,
  definitions: Definitions,
  kind: KindDefinition,
  object: KubeObject,
): void => {
  const unknown = tools.findUnknownFields(kind.schema, definitions, object)
  if (unknown.length === 0) return
  const { name = '', namespace = '' } = object.metadata
  const complaints = unknown.map((path) => `.${path.replace(/^\./, '')}: field not declared in schema`)
  throw untypedConfiguration(kind, `${namespace}/${name}`, complaints)
}

interface Admitted {
  readonly tools: SchemaTools
  readonly definitions: Definitions
  readonly kind: KindDefinition
  readonly object: KubeObject
  readonly previous: KubeObject | undefined
  readonly context: AdmissionContext
}

/** Refuses wrong types and fills defaults: afterwards the object holds all that is the writer's. */
export const admit = ({ tools, definitions, kind, object, previous, context }: Admitted): void => {
  const name = object.metadata.name ?? ''
  dropNulls(object)
  const shape = typeErrorsOnly(tools.validateObject(kind.schema, definitions, object))
  if (shape.length > 0 && kind.isCustom === true) throw invalid(kind, name, shape)
  // Go reads built-in kinds into structs: what does not fit is no object at all, and the first misfit ends the reading.
  if (shape[0]) throw new DecodingError(kind, misfit(shape[0]))
  const early: FieldError[] = metadataErrors(kind, object)
  if (early.length > 0) throw invalid(kind, name, early)
  tools.applyDefaults(kind.schema, definitions, object)
  kind.admit?.(object, previous, context)
}

/** Adds what the cluster gives, then validates: `object` is complete afterwards, or an Invalid status is thrown. */
export const completeAndValidate = ({
  tools,
  definitions,
  kind,
  object,
  previous,
  context,
}: Admitted): void => {
  kind.allocate?.(object, previous, context)
  const errors = [
    ...(previous ? metadataUpdateErrors(object, previous) : []),
    ...tools.validateObject(kind.schema, definitions, object),
    ...(kind.validate?.(object, previous, context) ?? []),
  ]
  if (errors.length > 0) throw invalid(kind, object.metadata.name ?? '', withoutRepeats(errors))
}

/** Admission code may rely on fields having the schema's types, so wrong types are refused before it runs. */
const typeErrorsOnly = (errors: FieldError[]): FieldError[] =>
  errors.filter((error) => error.reason === 'FieldValueTypeInvalid')

/** `spec.ports[0].port in body must be of type integer: "x"` → what Go's decoder says of it, without its struct names. */
const misfit = ({ field, message }: FieldError): string => {
  const [, expected = '', shown = 'null'] = /must be of type ([a-z,]+): (.*)$/s.exec(message) ?? []
  const value: unknown = JSON.parse(shown)
  const given = Array.isArray(value) ? 'array' : value === null ? 'null' : goWords[typeof value]
  const path = field.replaceAll(/\[[^\]]*\]/g, '')
  const number = typeof value === 'number' && expected === 'integer' ? ` ${shown}` : ''
  return `json: cannot unmarshal ${given}${number} into Go struct field ${path} of type ${expected}`
}

const goWords: Record<string, string> = {
  object: 'object',
  string: 'string',
  number: 'number',
  boolean: 'bool',
}

const withoutRepeats = (errors: FieldError[]): FieldError[] => {
  const seen = new Set<string>()
  return errors.filter((error) => {
    const key = `${error.field} ${error.reason}`
    if (seen.has(key)) return false
    seen.add(key)
    return true
  })
}

/** Clients send `creationTimestamp: null` and the like: not set. Nulls elsewhere are the schema engine's. */
const dropNulls = (object: KubeObject): void => {
  for (const [key, value] of Object.entries(object.metadata)) if (value === null) delete object.metadata[key]
}
