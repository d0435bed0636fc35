// A small JSON client for the Kubernetes API: typed verbs over several equal servers. Requests go to the current server;
// one that cannot be reached, or answers 502..504 to a read, makes the next one current (all callers follow). A write is
// sent to another server only when it certainly never left, so nothing is done twice. Watches are opened here and read
// by list-watch.ts.

import type { IncomingMessage } from 'node:http'
import { type Access, isRefusedByRoles, type LackingRule, LackingRules, ruleFor } from './access.ts'
import { codeOfStatus, isKubeError, KubeError } from './errors.ts'
import type { ApiList, ApiObject, DeleteOptions, Resource } from './objects.ts'
import { createTransport, type HttpRequest, readBody, type TransportOptions } from './transport.ts'

export interface KubeClientOptions extends TransportOptions {
  /** Base URLs, tried in this order. */
  servers: readonly string[]
  /** Silence that ends a request. */
  requestTimeoutMs?: number
}

/** Names one object, or with `name` absent, a collection. */
export interface ObjectPath {
  namespace?: string | undefined
  name?: string | undefined
  subresource?: 'status' | 'scale' | 'binding' | undefined
}

export interface ListQuery {
  namespace?: string | undefined
  labelSelector?: string | undefined
  fieldSelector?: string | undefined
  limit?: number | undefined
  continue?: string | undefined
  resourceVersion?: string | undefined
}

export interface WatchQuery extends ListQuery {
  readonly timeoutSeconds: number
  /** The watch begins with everything that is there, and says by a bookmark when that was all (KEP-3157). */
  readonly sendsInitialEvents?: boolean
}

export type PatchKind = 'json' | 'merge' | 'strategic' | 'apply'

export interface PatchOptions {
  kind: PatchKind
  /** Needed for `apply`: who owns the fields. */
  fieldManager?: string
  /** `apply` only: take fields from other owners. */
  force?: boolean
  signal?: AbortSignal
}

export interface KubeClient {
  get<T extends ApiObject>(resource: Resource<T>, path: ObjectPath, signal?: AbortSignal): Promise<T>
  list<T extends ApiObject>(
    resource: Resource<T>,
    query?: ListQuery,
    signal?: AbortSignal,
  ): Promise<ApiList<T>>
  /** As `list`, with the size of the answer. */
  listPage<T extends ApiObject>(
    resource: Resource<T>,
    query: ListQuery,
    signal?: AbortSignal,
  ): Promise<{ readonly list: ApiList<T>; readonly bytes: number }>
  create<T extends ApiObject>(resource: Resource<T>, object: T, signal?: AbortSignal): Promise<T>
  update<T extends ApiObject>(
    resource: Resource<T>,
    object: T,
    subresource?: ObjectPath['subresource'],
    signal?: AbortSignal,
  ): Promise<T>
  patch<T extends ApiObject>(
    resource: Resource<T>,
    path: ObjectPath,
    patch: unknown,
    options: PatchOptions,
  ): Promise<T>
  /** POST to a subresource, such as a pod's binding. */
  post(resource: Resource, path: ObjectPath, body: unknown, signal?: AbortSignal): Promise<unknown>
  delete(resource: Resource, path: ObjectPath, options?: DeleteOptions, signal?: AbortSignal): Promise<void>
  /** An open watch, status checked; its body is one event a line. */
  watch(resource: Resource, query: WatchQuery, signal: AbortSignal): Promise<IncomingMessage>
  /** The resources of a group's version, or without one its versions, by discovery, which is everybody's to ask; none where there is none. */
  discover(group: string, version?: string, signal?: AbortSignal): Promise<readonly string[]>
  /** The server the next request goes to. */
  currentServer(): string
  /** What this client's roles do not grant, though it was asked for. */
  lacking(): readonly LackingRule[]
  close(): void
}

const REQUEST_TIMEOUT_MS = 30_000

/** Of a group's version, or of a group. */
interface Discovered {
  resources?: { name: string }[]
  versions?: { version: string }[]
}

/** Refusals of who was let in: there is no such object, it was changed, it exists, it is not valid. */
const JUDGED_STATUSES: ReadonlySet<number> = new Set([400, 404, 409, 410, 422])

const PATCH_TYPES: Readonly<Record<PatchKind, string>> = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  apply: 'application/apply-patch+yaml', // JSON is YAML
}

export function createKubeClient(options: KubeClientOptions): KubeClient {
  const servers = options.servers.map(parseServer)
  if (servers.length === 0) {
    throw new KubeError(
      'configuration',
      'no API server is configured; list at least one under kubernetes.servers',
    )
  }
  return new HttpKubeClient(servers, options)
}

class HttpKubeClient implements KubeClient {
  readonly #servers: readonly URL[]
  readonly #transport: ReturnType<typeof createTransport>
  readonly #timeoutMs: number
  readonly #lacking = new LackingRules()
  #current = 0

  constructor(servers: readonly URL[], options: KubeClientOptions) {
    this.#servers = servers
    this.#transport = createTransport(options)
    this.#timeoutMs = options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS
  }

  get<T extends ApiObject>(resource: Resource<T>, path: ObjectPath, signal?: AbortSignal): Promise<T> {
    const access = { verb: 'get', resource, ...path } as const
    return this.#json<T>(access, { method: 'GET', path: pathOf(resource, path), signal })
  }

  list<T extends ApiObject>(
    resource: Resource<T>,
    query: ListQuery = {},
    signal?: AbortSignal,
  ): Promise<ApiList<T>> {
    const path = collectionPath(resource, query)
    return this.#json<ApiList<T>>(selecting('list', resource, query), { method: 'GET', path, signal })
  }

  async listPage<T extends ApiObject>(
    resource: Resource<T>,
    query: ListQuery,
    signal?: AbortSignal,
  ): Promise<{ readonly list: ApiList<T>; readonly bytes: number }> {
    const path = collectionPath(resource, query)
    const access = selecting('list', resource, query)
    const { value, bytes } = await this.#sized<ApiList<T>>(access, { method: 'GET', path, signal })
    return { list: value, bytes }
  }

  create<T extends ApiObject>(resource: Resource<T>, object: T, signal?: AbortSignal): Promise<T> {
    const { namespace } = object.metadata
    const request = { method: 'POST', path: pathOf(resource, { namespace }), signal } as const
    return this.#json<T>(
      { verb: 'create', resource, namespace },
      { ...request, body: JSON.stringify(object) },
    )
  }

  update<T extends ApiObject>(
    resource: Resource<T>,
    object: T,
    subresource?: ObjectPath['subresource'],
    signal?: AbortSignal,
  ): Promise<T> {
    const { namespace, name } = object.metadata
    const path = { namespace, name, subresource }
    const request = { method: 'PUT', path: pathOf(resource, path), signal } as const
    return this.#json<T>({ verb: 'update', resource, ...path }, { ...request, body: JSON.stringify(object) })
  }

  patch<T extends ApiObject>(
    resource: Resource<T>,
    path: ObjectPath,
    patch: unknown,
    options: PatchOptions,
  ): Promise<T> {
    const query = queryString({
      fieldManager: options.fieldManager,
      force: options.force === true ? 'true' : undefined,
    })
    return this.#json<T>(
      { verb: 'patch', resource, ...path },
      {
        method: 'PATCH',
        path: pathOf(resource, path) + query,
        body: JSON.stringify(patch),
        contentType: PATCH_TYPES[options.kind],
        signal: options.signal,
      },
    )
  }

  post(resource: Resource, path: ObjectPath, body: unknown, signal?: AbortSignal): Promise<unknown> {
    const request = { method: 'POST', path: pathOf(resource, path), signal } as const
    return this.#json({ verb: 'create', resource, ...path }, { ...request, body: JSON.stringify(body) })
  }

  async delete(
    resource: Resource,
    path: ObjectPath,
    options?: DeleteOptions,
    signal?: AbortSignal,
  ): Promise<void> {
    const body =
      options === undefined
        ? undefined
        : JSON.stringify({ kind: 'DeleteOptions', apiVersion: 'v1', ...options })
    const request = { method: 'DELETE', path: pathOf(resource, path), body, signal } as const
    await this.#json<unknown>({ verb: 'delete', resource, ...path }, request)
  }

  async watch(resource: Resource, query: WatchQuery, signal: AbortSignal): Promise<IncomingMessage> {
    const path = collectionPath(resource, query, {
      watch: 'true',
      ...(query.sendsInitialEvents === true
        ? { sendInitialEvents: 'true', resourceVersionMatch: 'NotOlderThan' }
        : {}),
      allowWatchBookmarks: 'true',
      timeoutSeconds: String(query.timeoutSeconds),
    })
    const access = selecting('watch', resource, query)
    const response = await this.#send({ method: 'GET', path, idleTimeoutMs: 0, signal })
    if (response.statusCode !== 200) throw await this.#refusal(`watch ${path}`, response, access)
    this.#lacking.granted(access)
    return response
  }

  async discover(group: string, version?: string, signal?: AbortSignal): Promise<readonly string[]> {
    const path = version === undefined ? `/apis/${group}` : `/apis/${group}/${version}`
    try {
      const request = { method: 'GET', path, signal } as const
      const { resources = [], versions = [] } = await this.#json<Discovered>(undefined, request)
      return [...resources.map(({ name }) => name), ...versions.map((one) => one.version)]
    } catch (error) {
      if (isKubeError(error, 'not-found')) return []
      throw error
    }
  }

  currentServer(): string {
    return this.#server().origin
  }

  lacking(): readonly LackingRule[] {
    return this.#lacking.list()
  }

  close(): void {
    this.#transport.close()
  }

  /** @param access undefined: of what no role need speak */
  async #json<T>(access: Access | undefined, request: Omit<HttpRequest, 'idleTimeoutMs'>): Promise<T> {
    return (await this.#sized<T>(access, request)).value
  }

  async #sized<T>(
    access: Access | undefined,
    request: Omit<HttpRequest, 'idleTimeoutMs'>,
  ): Promise<{ value: T; bytes: number }> {
    const what = `${request.method} ${request.path}`
    const response = await this.#send({ ...request, idleTimeoutMs: this.#timeoutMs })
    const status = response.statusCode ?? 0
    if (status < 200 || status > 299) throw await this.#refusal(what, response, access)
    if (access) this.#lacking.granted(access)
    const text = await readBody(response, what)
    try {
      return { value: JSON.parse(text) as T, bytes: text.length }
    } catch (error) {
      throw new KubeError(
        'bad-response',
        `${what}: the answer is not JSON; is this a Kubernetes API server?`,
        { status, cause: error },
      )
    }
  }

  async #refusal(what: string, response: IncomingMessage, access?: Access): Promise<KubeError> {
    const error = await statusError(what, response, access)
    if (!access) return error
    if (isRefusedByRoles(error.message)) this.#lacking.refused(access, error.message)
    else if (error.status !== undefined && JUDGED_STATUSES.has(error.status)) this.#lacking.granted(access)
    return error
  }

  /** Tries each server at most once; what it returns may still be an error status. */
  async #send(request: HttpRequest): Promise<IncomingMessage> {
    let failure: KubeError | undefined
    for (let attempt = 0; attempt < this.#servers.length; attempt++) {
      const server = this.#server()
      try {
        const response = await this.#transport.exchange(server, request)
        const last = attempt === this.#servers.length - 1
        if (last || request.method !== 'GET' || !isGatewayTrouble(response.statusCode)) return response
        response.resume()
        failure = new KubeError(
          'unavailable',
          `${request.path}: ${server.origin} answers ${response.statusCode}`,
        )
      } catch (error) {
        if (!(error instanceof KubeError) || error.code === 'aborted') throw error
        failure = error
        this.#leave(server)
        if (error.code !== 'unreachable' && request.method !== 'GET') throw error
        continue
      }
      this.#leave(server)
    }
    throw failure ?? new KubeError('unreachable', `${request.path}: no server left to try`)
  }

  #server(): URL {
    return this.#servers[this.#current] as URL
  }

  /** Moves on from `server`, unless another caller has done so already. */
  #leave(server: URL): void {
    if (this.#server() === server) this.#current = (this.#current + 1) % this.#servers.length
  }
}

function isGatewayTrouble(status: number | undefined): boolean {
  return status === 502 || status === 503 || status === 504
}

/** One object by its name is granted where a rule names it. */
function selecting(verb: 'list' | 'watch', resource: Resource, query: ListQuery): Access {
  const { namespace, fieldSelector = '' } = query
  return { verb, resource, namespace, name: /^metadata\.name=([^,]+)$/.exec(fieldSelector)?.[1] }
}

async function statusError(what: string, response: IncomingMessage, access?: Access): Promise<KubeError> {
  const status = response.statusCode ?? 0
  const text = await readBody(response, what).catch(() => '')
  let reason: string | undefined
  let message = text.slice(0, 300)
  try {
    const body = JSON.parse(text) as { reason?: string; message?: string }
    reason = body.reason
    message = body.message ?? message
  } catch {
    // Not a Status object (a proxy's page, or nothing): the raw text serves.
  }
  const retryAfter = Number(response.headers['retry-after'])
  const lacking = access && isRefusedByRoles(message) ? `; its roles lack the rule ${ruleFor(access)}` : ''
  const told = `${what}: ${status} ${reason ?? ''} ${message}`.trim() + lacking
  return new KubeError(codeOfStatus(status, reason), told, {
    status,
    ...(reason === undefined ? {} : { reason }),
    ...(Number.isFinite(retryAfter) ? { retryAfterSeconds: retryAfter } : {}),
  })
}

function parseServer(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw new KubeError('configuration', `'${text}' is no API server address; write it as https://host:port`)
  }
  return url
}

/** /api/v1/... for the core group, /apis/GROUP/VERSION/... for the others. */
export function pathOf(resource: Resource, { namespace, name, subresource }: ObjectPath): string {
  const root =
    resource.group === '' ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`
  const scope =
    resource.namespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : ''
  const object = name === undefined ? '' : `/${encodeURIComponent(name)}`
  return `${root}${scope}/${resource.plural}${object}${subresource === undefined ? '' : `/${subresource}`}`
}

function collectionPath(resource: Resource, query: ListQuery, more: Record<string, string> = {}): string {
  const { namespace, limit, ...selectors } = query
  return (
    pathOf(resource, { namespace }) +
    queryString({
      labelSelector: selectors.labelSelector,
      fieldSelector: selectors.fieldSelector,
      limit: limit === undefined ? undefined : String(limit),
      continue: selectors.continue,
      resourceVersion: selectors.resourceVersion,
      ...more,
    })
  )
}

function queryString(values: Record<string, string | undefined>): string {
  const present = Object.entries(values).filter((entry): entry is [string, string] => entry[1] !== undefined)
  return present.length === 0 ? '' : `?${new URLSearchParams(present)}`
}
