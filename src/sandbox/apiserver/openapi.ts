// OpenAPI documents, derived from the registry: an index and one v3 document per group-version (what kubectl explain, apply and diff
// read), and the least of v2 for older clients. kubectl looks for three things: the kind's schema by
// x-kubernetes-group-version-kind, a PATCH operation with the fieldValidation parameter (then it lets the server validate), and the
// patch's content types (strategic merge or not).

import { createHash } from 'node:crypto'
import { notAcceptable } from './errors.ts'
import { isRecord, type JsonRecord } from './json.ts'
import type { KindDefinition, Schema } from './kind.ts'
import { openApiV2, openApiV2Type } from './openapi-v2.ts'
import type { KindRegistry } from './registry.ts'
import { type ApiRequest, type ApiResponse, jsonResponse, pathOfGroupVersion, response } from './request.ts'

const title = 'Weir sandbox API server (development and tests)'
const metadataDefinition = 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta'

/** Our schemas name a definition bare; OpenAPI wants a pointer, wrapped when attributes stand beside it. */
const publish = (schema: Schema, references: Set<string>): JsonRecord => {
  const published: JsonRecord = {}
  for (const [key, value] of Object.entries(schema)) {
    if (key === '$ref') continue
    published[key] = publishAttribute(key, value, references)
  }
  if (schema.$ref === undefined) return published
  references.add(schema.$ref)
  const pointer = { $ref: `#/components/schemas/${schema.$ref}` }
  return Object.keys(published).length === 0 ? pointer : { ...published, allOf: [pointer] }
}

const publishAttribute = (key: string, value: unknown, references: Set<string>): unknown => {
  if (key === 'properties' && isRecord(value)) {
    const entries = Object.entries(value).map(([name, schema]) => [
      name,
      publish(schema as Schema, references),
    ])
    return Object.fromEntries(entries)
  }
  const isSchema = (key === 'items' || key === 'additionalProperties' || key === 'not') && isRecord(value)
  if (isSchema) return publish(value as Schema, references)
  const isSchemaList = (key === 'oneOf' || key === 'anyOf' || key === 'allOf') && Array.isArray(value)
  return isSchemaList ? value.map((schema) => publish(schema as Schema, references)) : value
}

const rootSchema = (kind: KindDefinition, registry: KindRegistry, references: Set<string>): JsonRecord => {
  let schema = kind.schema
  for (let hops = 0; schema.$ref !== undefined && hops < 8; hops += 1)
    schema = registry.definitions[schema.$ref] ?? {}
  const hasMetadata = registry.definitions[metadataDefinition] !== undefined
  const properties: Record<string, Schema> = {
    ...schema.properties,
    apiVersion: { type: 'string', description: 'The versioned schema of this object.' },
    kind: { type: 'string', description: 'The kind of this object, in CamelCase.' },
    metadata: {
      ...(hasMetadata ? { $ref: metadataDefinition } : { type: 'object' as const }),
      description: "Standard object's metadata.",
    },
  }
  const published = publish({ ...schema, type: 'object', properties }, references)
  published['x-kubernetes-group-version-kind'] = [gvk(kind)]
  return published
}

const gvk = ({ group, version, kind }: KindDefinition): JsonRecord => ({ group, kind, version })

const parameter = (name: string, type: string, description: string): JsonRecord => ({
  name,
  in: 'query',
  description,
  schema: { type, uniqueItems: true },
})

const writeParameters = [
  parameter('dryRun', 'string', 'All: do everything but store the result.'),
  parameter('fieldManager', 'string', 'Name of the one who makes this change.'),
  parameter('fieldValidation', 'string', 'What to do with unknown fields: Ignore, Warn or Strict.'),
]

const listParameters = [
  'labelSelector',
  'fieldSelector',
  'continue',
  'resourceVersion',
  'resourceVersionMatch',
].map((name) => parameter(name, 'string', `See the API conventions on ${name}.`))

const content = (definition: string, types: readonly string[]): JsonRecord => ({
  content: Object.fromEntries(
    types.map((type) => [type, { schema: { $ref: `#/components/schemas/${definition}` } }]),
  ),
})

const operation = (kind: KindDefinition, action: string, extra: JsonRecord = {}): JsonRecord => ({
  'x-kubernetes-action': action,
  'x-kubernetes-group-version-kind': gvk(kind),
  responses: { 200: { description: 'OK', ...content(kind.definitionName, ['application/json']) } },
  ...extra,
})

const pathsOf = (kind: KindDefinition): JsonRecord => {
  const base = `${pathOfGroupVersion(kind.group, kind.version)}${kind.namespaced ? '/namespaces/{namespace}' : ''}/${kind.plural}`
  const patchTypes = [
    'application/json-patch+json',
    'application/merge-patch+json',
    ...(kind.isCustom === true ? [] : ['application/strategic-merge-patch+json']),
    'application/apply-patch+yaml',
  ]
  const body = { requestBody: content(kind.definitionName, ['application/json']) }
  const patchBody = { requestBody: content(kind.definitionName, patchTypes) }
  const force = parameter('force', 'boolean', 'Take fields over from other managers.')
  return {
    [base]: {
      get: operation(kind, 'list', { parameters: listParameters }),
      post: operation(kind, 'post', { parameters: writeParameters, ...body }),
    },
    [`${base}/{name}`]: {
      get: operation(kind, 'get'),
      put: operation(kind, 'put', { parameters: writeParameters, ...body }),
      patch: operation(kind, 'patch', { parameters: [...writeParameters, force], ...patchBody }),
      delete: operation(kind, 'delete', { parameters: writeParameters.slice(0, 1) }),
    },
  }
}

const documentV3 = (registry: KindRegistry, group: string, version: string): JsonRecord => {
  const kinds = registry
    .resources()
    .filter((resource) => resource.group === group)
    .flatMap((resource) => resource.versions.filter((kind) => kind.version === version))
  const schemas: JsonRecord = {}
  const references = new Set<string>()
  for (const kind of kinds) schemas[kind.definitionName] = rootSchema(kind, registry, references)
  // A Set grows while it is walked: definitions that definitions refer to are reached too.
  for (const name of references) {
    if (schemas[name] !== undefined) continue
    const definition = registry.definitions[name]
    schemas[name] = definition ? publish(definition, references) : { type: 'object' }
  }
  return {
    openapi: '3.0.0',
    info: { title, version: 'v0' },
    paths: Object.assign({}, ...kinds.map(pathsOf)) as JsonRecord,
    components: { schemas },
  }
}

interface Cached {
  readonly text: string
  readonly hash: string
}

export class OpenApi {
  readonly #registry: KindRegistry
  #revision = -1
  #documents = new Map<string, Cached>()

  constructor(registry: KindRegistry) {
    this.#registry = registry
  }

  /** undefined for paths that are not OpenAPI's. */
  handle(request: ApiRequest): ApiResponse | undefined {
    if (request.path === '/openapi/v2') return this.#v2(request)
    if (request.path !== '/openapi/v3' && !request.path.startsWith('/openapi/v3/')) return undefined
    if (this.#revision !== this.#registry.revision) {
      this.#documents.clear()
      this.#revision = this.#registry.revision
    }
    if (request.path === '/openapi/v3') return this.#index()
    return this.#document(request.path.slice('/openapi/v3/'.length), request)
  }

  #index(): ApiResponse {
    const paths: JsonRecord = {}
    for (const [group, versions] of this.#registry.groups()) {
      for (const version of versions) {
        const path = pathOfGroupVersion(group, version).slice(1)
        paths[path] = { serverRelativeURL: `/openapi/v3/${path}?hash=${this.#cached(group, version).hash}` }
      }
    }
    return jsonResponse(200, { paths })
  }

  #document(path: string, request: ApiRequest): ApiResponse | undefined {
    const parts = path.split('/')
    const isCore = parts[0] === 'api'
    const group = isCore ? '' : (parts[1] ?? '')
    const version = parts[isCore ? 1 : 2] ?? ''
    if (!this.#registry.groups().get(group)?.includes(version)) return undefined
    const { text, hash } = this.#cached(group, version)
    const isAddressedByHash = request.query.get('hash') === hash
    return response(200, text, {
      etag: `"${hash}"`,
      ...(isAddressedByHash
        ? {
            'cache-control': 'public, immutable',
            expires: new Date(Date.now() + 31_536_000_000).toUTCString(),
          }
        : {}),
    })
  }

  #cached(group: string, version: string): Cached {
    const key = `${group}/${version}`
    let cached = this.#documents.get(key)
    if (!cached) {
      const text = JSON.stringify(documentV3(this.#registry, group, version))
      cached = { text, hash: createHash('sha256').update(text).digest('hex').toUpperCase() }
      this.#documents.set(key, cached)
    }
    return cached
  }

  /** kubectl takes protobuf alone; who takes JSON gets a document without kinds and uses its own knowledge. */
  #v2(request: ApiRequest): ApiResponse {
    const accept = request.headers['accept'] ?? '*/*'
    if (accept.includes(openApiV2Type)) {
      const kinds = this.#registry.resources().flatMap(({ versions }) => versions)
      return {
        status: 200,
        // As the real one answers: `@` is asked for, but no media type may hold it.
        headers: { 'content-type': openApiV2Type.replace('@', '.') },
        body: openApiV2(kinds, title),
        warnings: [],
      }
    }
    if (!/application\/json|\*\/\*/.test(accept)) throw notAcceptable(['application/json', openApiV2Type])
    return jsonResponse(200, { swagger: '2.0', info: { title, version: 'v0' }, paths: {}, definitions: {} })
  }
}
