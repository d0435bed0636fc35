// The verbs of a resource path: from a parsed request to a response. Reads query parameters and bodies, calls lister, watcher, writer
// and deleter, and puts the result into the shape the client accepts.

import type { FieldValidation, WriteOptions } from './admission.ts'
import { type Accepted, decodeBody, negotiate, patchTypeOf } from './content.ts'
import type { ObjectDeleter } from './deleter.ts'
import { parseDeleteOptions } from './deleter.ts'
import {
  badRequest,
  DecodingError,
  goText,
  invalidPatch,
  methodNotAllowed,
  pageNotFound,
  type Status,
} from './errors.ts'
import { isRecord } from './json.ts'
import type { KindDefinition, KubeObject } from './kind.ts'
import type { Lister } from './lister.ts'
import { applyJsonPatch, applyMergePatch } from './patch.ts'
import { apiVersionOf, type KindRegistry } from './registry.ts'
import type { ApiRequest, ApiResponse, ResourcePath } from './request.ts'
import { isTrue, response } from './request.ts'
import type { SchemaTools } from './schema-tools.ts'
import type { Section } from './sections.ts'
import type { Storage } from './storage.ts'
import { bindPod, evictPod, finalizeNamespace, scaleOf, streamRefusal, updateScale } from './subresources.ts'
import { type IncludeObject, type Shaping, shapeBody } from './table.ts'
import { streamWatch } from './watch-stream.ts'
import type { Watcher } from './watcher.ts'
import type { ObjectWriter } from './writer.ts'

/** Supplies `kubectl logs`: text at once, or chunks while `follow` lasts. */
export type PodLogProvider = (
  pod: KubeObject,
  query: URLSearchParams,
) => Promise<string | ((sink: { write(text: string): boolean; end(): void }) => () => void)>

export interface EndpointEnvironment {
  readonly storage: Storage
  readonly registry: KindRegistry
  readonly tools: SchemaTools
  readonly writer: ObjectWriter
  readonly deleter: ObjectDeleter
  readonly lister: Lister
  readonly watcher: Watcher
  readonly nowMs: () => number
  readonly podLogs: PodLogProvider | undefined
}

interface Call {
  readonly request: ApiRequest
  readonly path: ResourcePath
  readonly kind: KindDefinition
  readonly accepted: Accepted
  readonly options: WriteOptions
  readonly warnings: string[]
}

const fieldValidations = new Set(['Strict', 'Warn', 'Ignore'])

const writeOptionsOf = (request: ApiRequest, warnings: string[]): WriteOptions => {
  const { query } = request
  const dryRun = query.getAll('dryRun').filter((value) => value !== '')
  if (dryRun.some((value) => value !== 'All')) {
    throw badRequest(`dryRun: Unsupported value: "${dryRun.join(',')}": supported values: "All"`)
  }
  const fieldValidation = query.get('fieldValidation') || 'Warn'
  if (!fieldValidations.has(fieldValidation)) {
    throw badRequest(
      `fieldValidation: Unsupported value: "${fieldValidation}": supported values: "Ignore", "Strict", "Warn"`,
    )
  }
  const agent = (request.headers['user-agent'] ?? 'unknown').split('/')[0] ?? 'unknown'
  return {
    dryRun: dryRun.length > 0,
    fieldManager: query.get('fieldManager') || agent,
    fieldValidation: fieldValidation as FieldValidation,
    force: query.get('force') === 'true',
    warn: (message) => warnings.push(message),
  }
}

const includeOf = (query: URLSearchParams): IncludeObject => {
  const include = query.get('includeObject') ?? ''
  return include === 'None' || include === 'Object' ? include : 'Metadata'
}

const encodeBody = async (body: object, accepted: Accepted): Promise<string> => {
  if (accepted.type === 'application/json') return `${JSON.stringify(body)}\n`
  const { stringify } = await import('yaml')
  return stringify(body)
}

export class ResourceEndpoint {
  readonly #environment: EndpointEnvironment

  constructor(environment: EndpointEnvironment) {
    this.#environment = environment
  }

  async handle(request: ApiRequest, path: ResourcePath): Promise<ApiResponse> {
    const kind = this.#environment.registry.find(path.group, path.version, path.plural)
    if (!kind || (path.namespace !== undefined && !kind.namespaced)) throw pageNotFound()
    const warnings: string[] = []
    const accepted = path.subresource === 'log' ? negotiate('*/*') : negotiate(request.headers['accept'])
    const call: Call = { request, path, kind, accepted, options: writeOptionsOf(request, warnings), warnings }
    if (path.subresource !== undefined && path.subresource !== 'status') return this.#subresource(call)
    if (path.subresource === 'status' && !kind.hasStatusSubresource) throw pageNotFound()
    return path.name === undefined ? this.#collection(call) : this.#single(call, path.name)
  }

  async #collection(call: Call): Promise<ApiResponse> {
    const { request, path, kind, options } = call
    switch (request.method) {
      case 'GET':
      case 'HEAD':
        return path.isWatch || isTrue(request.query.get('watch'))
          ? this.#watch(call, request.query)
          : this.#list(call)
      case 'POST': {
        const body = await this.#body(request)
        const namespace = this.#namespaceForCreate(call, body)
        return this.#reply(call, 201, this.#environment.writer.create(kind, namespace, body, options))
      }
      case 'DELETE':
        return this.#deleteCollection(call)
      default:
        throw methodNotAllowed()
    }
  }

  async #single(call: Call, name: string): Promise<ApiResponse> {
    const { request, path, kind, options } = call
    const { writer } = this.#environment
    const section: Section = path.subresource === 'status' ? 'status' : 'main'
    switch (request.method) {
      case 'GET':
      case 'HEAD':
        if (path.isWatch || isTrue(request.query.get('watch'))) return this.#watchOne(call, name)
        return this.#reply(call, 200, this.#getAt(kind, path, name, request.query))
      case 'PUT': {
        const body = await this.#body(request)
        this.#assertBodyNames(kind, body, name, path.namespace)
        return this.#reply(
          call,
          200,
          writer.update(kind, path.namespace, name, () => body, options, section),
        )
      }
      case 'PATCH':
        return this.#patch(call, name, section)
      case 'DELETE':
        if (section === 'status') throw methodNotAllowed()
        return this.#delete(call, name)
      default:
        throw methodNotAllowed()
    }
  }

  #getAt(kind: KindDefinition, path: ResourcePath, name: string, query: URLSearchParams): KubeObject {
    const asked = Number(query.get('resourceVersion') || '0')
    if (Number.isInteger(asked)) this.#environment.storage.assertReached(asked)
    return this.#environment.writer.read(kind, path.namespace, name)
  }

  async #list(call: Call): Promise<ApiResponse> {
    const { path, kind, request } = call
    const { items, resourceVersion, continueToken, remainingItemCount } = this.#environment.lister.list(
      kind,
      path.namespace,
      request.query,
    )
    return this.#reply(call, 200, {
      kind: kind.listKind,
      apiVersion: apiVersionOf(kind),
      metadata: {
        resourceVersion,
        ...(continueToken === undefined ? {} : { continue: continueToken }),
        ...(remainingItemCount === undefined ? {} : { remainingItemCount }),
      },
      items,
    })
  }

  #watch(call: Call, query: URLSearchParams): ApiResponse {
    const { kind, path, accepted, request } = call
    const shaping = (): Shaping => this.#shaping(accepted, request.query)
    const stream = streamWatch(this.#environment.watcher, kind, path.namespace, query, shaping)
    const type =
      accepted.shape === 'Object' ? 'application/json' : (request.headers['accept'] ?? '').split(',')[0]
    return {
      status: 200,
      headers: { 'content-type': type ?? 'application/json' },
      body: '',
      warnings: [],
      stream,
    }
  }

  #watchOne(call: Call, name: string): ApiResponse {
    const query = new URLSearchParams(call.request.query)
    query.set('fieldSelector', `metadata.name=${name}`)
    return this.#watch(call, query)
  }

  async #patch(call: Call, name: string, section: Section): Promise<ApiResponse> {
    const { request, path, kind, options } = call
    const { writer } = this.#environment
    const type = patchTypeOf(request.headers['content-type'])
    const patch = await decodeBody(request.body, request.headers['content-type'])
    if (type === 'application/apply-patch+yaml') {
      if (!request.query.get('fieldManager'))
        throw badRequest(
          'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
        )
      const { object, created } = writer.apply(kind, path.namespace, name, patch, options, section)
      return this.#reply(call, created ? 201 : 200, object)
    }
    if (options.force === true)
      throw badRequest(
        'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch',
      )
    let patched: unknown
    const change = (current: KubeObject): unknown => {
      patched = this.#patched(kind, current, type, patch)
      return patched
    }
    try {
      return await this.#reply(call, 200, writer.update(kind, path.namespace, name, change, options, section))
    } catch (error) {
      if (!(error instanceof DecodingError)) throw error
      const isStrategic = type === 'application/strategic-merge-patch+json'
      throw invalidPatch(isStrategic ? goText(patch) : JSON.stringify(patched), error.why)
    }
  }

  #patched(kind: KindDefinition, current: KubeObject, type: string, patch: unknown): unknown {
    if (type === 'application/json-patch+json') return applyJsonPatch(current, patch)
    if (!isRecord(patch)) throw badRequest('the patch must be an object')
    if (type === 'application/merge-patch+json') return applyMergePatch(current, patch)
    const { tools, registry } = this.#environment
    return tools.strategicMergePatch(kind.schema, registry.definitions, current, patch)
  }

  async #delete(call: Call, name: string): Promise<ApiResponse> {
    const { request, path, kind } = call
    const options = parseDeleteOptions(await this.#optionalBody(request), request.query)
    const { object, gone } = this.#environment.deleter.delete(kind, path.namespace, name, options)
    // Kinds with a grace period answer with the object, as does whatever is still held; the rest with a Status.
    if (!gone || kind.deletionGraceSeconds) return this.#reply(call, 200, object)
    const status: Status = {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Success',
      details: {
        name,
        ...(kind.group === '' ? {} : { group: kind.group }),
        kind: kind.plural,
        uid: object.metadata.uid ?? '',
      },
    }
    return this.#reply(call, 200, status)
  }

  async #deleteCollection(call: Call): Promise<ApiResponse> {
    const { request, path, kind } = call
    const options = parseDeleteOptions(await this.#optionalBody(request), request.query)
    const { items, resourceVersion } = this.#environment.lister.list(kind, path.namespace, request.query)
    for (const { metadata } of items) {
      this.#environment.deleter.delete(kind, metadata.namespace, metadata.name ?? '', options)
    }
    const metadata = { resourceVersion }
    return this.#reply(call, 200, { kind: kind.listKind, apiVersion: apiVersionOf(kind), metadata, items })
  }

  async #subresource(call: Call): Promise<ApiResponse> {
    const { request, path, kind, options } = call
    const { name, namespace } = path
    const { writer } = this.#environment
    if (name === undefined) throw pageNotFound()
    if (path.subresource === 'scale' && kind.scale) return this.#scale(call, name)
    switch (`${request.method} ${kind.plural}/${path.subresource}`) {
      case 'POST pods/binding': {
        bindPod(writer, kind, namespace, name, await this.#body(request), this.#environment.nowMs(), options)
        return this.#reply(call, 201, success)
      }
      case 'POST pods/eviction': {
        const { storage, deleter } = this.#environment
        const body = await this.#optionalBody(request)
        evictPod(storage, writer, deleter, kind, namespace, name, body, request.query)
        return this.#reply(call, 201, success)
      }
      case 'PUT namespaces/finalize':
        return this.#reply(
          call,
          200,
          finalizeNamespace(writer, kind, name, await this.#body(request), options),
        )
      case 'GET pods/log':
        return this.#log(call, name)
      default:
        throw (
          (kind.plural === 'pods' && streamRefusal(path.subresource, `${namespace}/${name}`)) ||
          pageNotFound()
        )
    }
  }

  async #scale(call: Call, name: string): Promise<ApiResponse> {
    const { request, path, kind, options } = call
    const { writer, tools, registry } = this.#environment
    if (request.method === 'GET')
      return this.#reply(call, 200, scaleOf(kind, writer.read(kind, path.namespace, name)))
    if (request.method !== 'PUT' && request.method !== 'PATCH') throw methodNotAllowed()
    const body = await decodeBody(request.body, request.headers['content-type'])
    const change = (scale: KubeObject): unknown => {
      if (request.method === 'PUT') return body
      const type = patchTypeOf(request.headers['content-type'])
      if (type === 'application/json-patch+json') return applyJsonPatch(scale, body)
      if (type !== 'application/strategic-merge-patch+json') return applyMergePatch(scale, body)
      return tools.strategicMergePatch({ type: 'object' }, registry.definitions, scale, body)
    }
    return this.#reply(call, 200, updateScale(writer, kind, path.namespace, name, change, options))
  }

  async #log(call: Call, name: string): Promise<ApiResponse> {
    const pod = this.#environment.writer.read(call.kind, call.path.namespace, name)
    const { podLogs } = this.#environment
    if (!podLogs) throw badRequest(`no logs of pod ${name}: this server runs without a log provider`)
    const log = await podLogs(pod, call.request.query)
    const headers = { 'content-type': 'text/plain' }
    if (typeof log === 'string') return response(200, log, headers)
    return { status: 200, headers, body: '', warnings: [], stream: log }
  }

  /** A namespaced kind created at cluster level takes its namespace from the body. */
  #namespaceForCreate({ path, kind }: Call, body: unknown): string | undefined {
    if (!kind.namespaced || path.namespace !== undefined) return path.namespace
    const own = isRecord(body) && isRecord(body['metadata']) ? body['metadata']['namespace'] : undefined
    return typeof own === 'string' && own !== '' ? own : undefined
  }

  #assertBodyNames(kind: KindDefinition, body: unknown, name: string, namespace: string | undefined): void {
    if (!isRecord(body) || !isRecord(body['metadata'])) return
    const own = body['metadata']['name']
    if (own !== undefined && own !== name) {
      throw badRequest(`the name of the object (${String(own)}) does not match the name on the URL (${name})`)
    }
    if (kind.namespaced && namespace === undefined) throw pageNotFound()
  }

  async #body(request: ApiRequest): Promise<unknown> {
    const body = await decodeBody(request.body, request.headers['content-type'])
    if (!isRecord(body)) throw badRequest('the request body must be an object')
    return body
  }

  async #optionalBody(request: ApiRequest): Promise<unknown> {
    return request.body.length === 0 ? {} : this.#body(request)
  }

  #shaping(accepted: Accepted, query: URLSearchParams): Shaping {
    const { shape, shapeVersion } = accepted
    return { shape, version: shapeVersion, include: includeOf(query), nowMs: this.#environment.nowMs() }
  }

  async #reply(call: Call, status: number, body: object): Promise<ApiResponse> {
    const { accepted, kind, request, warnings } = call
    const shaped = shapeBody(body, kind, this.#shaping(accepted, request.query))
    const text = await encodeBody(shaped, accepted)
    return response(status, text, { 'content-type': accepted.type }, warnings)
  }
}

const success: Status = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 }
