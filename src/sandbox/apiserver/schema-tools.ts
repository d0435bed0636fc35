// What the server core needs of a schema engine. The real one is schema/; it comes in as a parameter so that the core neither
// imports kinds nor schemas, and tests may serve kinds of their own.

import type { FieldError, KubeObject, Schema } from './kind.ts'

export type Definitions = Record<string, Schema>

export interface SchemaTools {
  validateObject: (schema: Schema, definitions: Definitions, object: KubeObject) => FieldError[]
  /** Paths of fields the schema does not know, e.g. spec.replica */
  findUnknownFields: (schema: Schema, definitions: Definitions, object: KubeObject) => string[]
  /** Both change the object in place. */
  pruneUnknown: (schema: Schema, definitions: Definitions, object: KubeObject) => void
  applyDefaults: (schema: Schema, definitions: Definitions, object: KubeObject) => void
  /** Returns a new object. */
  strategicMergePatch: (
    schema: Schema,
    definitions: Definitions,
    current: KubeObject,
    patch: unknown,
  ) => unknown
}
