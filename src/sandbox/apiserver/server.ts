// The embedded Kubernetes-compatible API server: composition of storage, kinds, writer, watcher, garbage collection and the HTTPS
// front. In memory, for development and tests; a real cluster uses its own. See README.md beside this file.

import { randomBytes, randomUUID } from 'node:crypto'
import { review } from './access-reviews.ts'
import { Authorizer } from './authorizer.ts'
import { withCrdRules } from './custom-kinds.ts'
import { CustomResourceController, crdResource } from './custom-resources.ts'
import { ObjectDeleter } from './deleter.ts'
import { discover } from './discovery.ts'
import { type PodLogProvider, ResourceEndpoint } from './endpoint.ts'
import { pageNotFound, unauthorized } from './errors.ts'
import { GarbageCollector } from './garbage-collector.ts'
import {
  errorResponse,
  type Handler,
  HttpFront,
  type Listener,
  type ListenTarget,
  type TokenEntry,
} from './http-server.ts'
import { InProcessClient } from './in-process.ts'
import type { KindDefinition } from './kind.ts'
import { builtinKinds } from './kinds/index.ts'
import { Lister } from './lister.ts'
import { NamespaceController, withNamespaceRules } from './namespaces.ts'
import { OpenApi } from './openapi.ts'
import { KindRegistry } from './registry.ts'
import {
  type ApiRequest,
  type ApiResponse,
  jsonResponse,
  parseResourcePath,
  textResponse,
} from './request.ts'
import { sharedDefinitions } from './schema/definitions.ts'
import { strategicMergePatch } from './schema/strategic.ts'
import { applyDefaults, findUnknownFields, pruneUnknown, validateObject } from './schema/validate.ts'
import type { Definitions, SchemaTools } from './schema-tools.ts'
import { restoreSnapshot, saveSnapshot } from './snapshot.ts'
import { resourceKey, Storage } from './storage.ts'
import { effectiveUser } from './users.ts'
import { Watcher } from './watcher.ts'
import { ObjectWriter } from './writer.ts'

export interface ApiServerOptions {
  /** The built-in kinds unless given. */
  readonly kinds?: readonly KindDefinition[]
  readonly definitions?: Definitions
  readonly tools?: SchemaTools
  /** With `ca`, whoever shows a certificate that it has signed is the user that the certificate names. */
  readonly tls: { key: string; cert: string; ca?: string }
  readonly tokens: readonly TokenEntry[]
  readonly clusterIpRanges?: readonly string[]
  readonly nodePortRange?: { first: number; last: number }
  /** Restored at start when it exists; written by `snapshot()` and a moment after changes. */
  readonly snapshotFile?: string
  readonly podLogs?: PodLogProvider
  readonly nowMs?: () => number
  readonly randomUuid?: () => string
  /** Sees every request with its answer: recorders and audit logs. */
  readonly observe?: (request: ApiRequest, response: ApiResponse) => void
  readonly log?: (message: string) => void
}

export interface ApiServer {
  listen(target: ListenTarget): Promise<Listener>
  /** The same API without sockets, for controllers in this process. */
  readonly client: InProcessClient
  readonly storage: Storage
  readonly registry: KindRegistry
  snapshot(file: string): Promise<void>
  close(): Promise<void>
}

/** The version clients see: what of the API is imitated, and that it is an imitation. */
const versionInfo = {
  major: '1',
  minor: '34',
  gitVersion: 'v1.34.0+weir-sandbox',
  gitCommit: '',
  gitTreeState: 'archive',
  buildDate: '1970-01-01T00:00:00Z',
  goVersion: 'none',
  compiler: `node ${process.version}`,
  platform: `${process.platform}/${process.arch}`,
}

const healthPaths = new Set(['/healthz', '/livez', '/readyz'])
/** Changes settle this long before the snapshot file is rewritten. */
const snapshotDelayMs = 1000

export const createApiServer = async (options: ApiServerOptions): Promise<ApiServer> => {
  const log = options.log ?? (() => undefined)
  const nowMs = options.nowMs ?? Date.now
  const storage = new Storage()
  const registry = new KindRegistry(
    (options.kinds ?? builtinKinds).map(withServerRules),
    options.definitions ?? sharedDefinitions,
  )
  for (const { key, storageVersion } of registry.resources()) {
    for (const [name, keysOf] of Object.entries(storageVersion.indexes ?? {}))
      storage.addIndex(key, name, keysOf)
  }
  const tools = options.tools ?? builtinTools
  const writer = new ObjectWriter({
    storage,
    registry,
    tools,
    nowMs,
    randomBytes: (count) => randomBytes(count),
    randomUuid: options.randomUuid ?? randomUUID,
    clusterIpRanges: options.clusterIpRanges ?? ['10.96.0.0/16', 'fd00:96::/112'],
    nodePortRange: options.nodePortRange ?? { first: 30_000, last: 32_767 },
  })
  const deleter = new ObjectDeleter(storage, writer, nowMs)
  const watcher = new Watcher(storage)
  const lister = new Lister(storage, nowMs)
  const endpoint = new ResourceEndpoint({
    storage,
    registry,
    tools,
    writer,
    deleter,
    lister,
    watcher,
    nowMs,
    podLogs: options.podLogs,
  })
  const handler = observed(makeHandler(registry, endpoint, new Authorizer(storage)), options.observe)
  const restored =
    options.snapshotFile !== undefined && (await restoreSnapshot(storage, options.snapshotFile))
  const namespaces = new NamespaceController(storage, registry, writer, deleter)
  const collector = new GarbageCollector(storage, registry, writer, deleter)
  const custom = new CustomResourceController(storage, registry, writer, deleter, nowMs)
  custom.start()
  namespaces.start()
  collector.start()
  const keeper =
    options.snapshotFile === undefined ? undefined : new SnapshotKeeper(storage, options.snapshotFile, log)
  const front = new HttpFront(handler, options.tls, options.tokens)
  const origin = restored ? `restored at resourceVersion ${storage.revision}` : 'empty'
  log(`embedded API server, for development and tests only: objects in memory, ${origin}`)
  return {
    listen: (target) => front.listen(target),
    client: new InProcessClient(handler),
    storage,
    registry,
    snapshot: (file) => saveSnapshot(storage, file),
    close: async () => {
      await front.close()
      namespaces.close()
      collector.close()
      custom.close()
      watcher.close()
      await keeper?.close()
    },
  }
}

const builtinTools: SchemaTools = {
  validateObject,
  findUnknownFields,
  pruneUnknown,
  applyDefaults,
  strategicMergePatch,
}

const observed = (handler: Handler, observe: ApiServerOptions['observe']): Handler => {
  if (!observe) return handler
  return async (request) => {
    const answer = await handler(request).catch(errorResponse)
    observe(request, answer)
    return answer
  }
}

/** Kinds the server itself acts on bring rules from here; a Node registers with its status. */
const withServerRules = (kind: KindDefinition): KindDefinition => {
  const resource = resourceKey(kind.group, kind.plural)
  if (resource === '/namespaces') return withNamespaceRules(kind)
  if (resource === '/nodes') return { ...kind, keepsStatusOnCreate: true }
  return resource === crdResource ? withCrdRules(kind) : kind
}

/** The way of a request: public paths, who asks and may he, then what was asked for. */
const makeHandler = (registry: KindRegistry, endpoint: ResourceEndpoint, authorizer: Authorizer): Handler => {
  const openApi = new OpenApi(registry)
  return async (request: ApiRequest): Promise<ApiResponse> => {
    const path = request.path.length > 1 ? request.path.replace(/\/$/, '') : request.path
    if (path === '/version') return jsonResponse(200, versionInfo)
    if (healthPaths.has(path) || healthPaths.has(`/${path.split('/')[1]}`)) return textResponse(200, 'ok')
    if (request.user === undefined) throw unauthorized()
    const user = effectiveUser(request, request.user, authorizer)
    authorizer.assertRequest(user, { ...request, path })
    const reviewed = await review({ ...request, path }, user, authorizer)
    if (reviewed) return reviewed
    const resource = parseResourcePath(path)
    if (resource) return endpoint.handle(request, resource)
    const answer = discover(registry, { ...request, path }) ?? openApi.handle({ ...request, path })
    if (!answer) throw pageNotFound()
    return answer
  }
}

/** Writes the snapshot file a moment after the store changed, one write at a time, and once more at the end. */
class SnapshotKeeper {
  readonly #storage: Storage
  readonly #file: string
  readonly #log: (message: string) => void
  readonly #unsubscribe: () => void
  #savedRevision: number
  #timer: NodeJS.Timeout | undefined
  #saving: Promise<void> = Promise.resolve()

  constructor(storage: Storage, file: string, log: (message: string) => void) {
    this.#storage = storage
    this.#file = file
    this.#log = log
    this.#savedRevision = -1
    this.#unsubscribe = storage.subscribe(undefined, () => this.#schedule())
    this.#schedule()
  }

  async close(): Promise<void> {
    this.#unsubscribe()
    clearTimeout(this.#timer)
    await this.#saving
    await this.#save()
  }

  #schedule(): void {
    this.#timer ??= setTimeout(() => {
      this.#saving = this.#saving.then(() => this.#save())
    }, snapshotDelayMs).unref()
  }

  async #save(): Promise<void> {
    this.#timer = undefined
    if (this.#savedRevision === this.#storage.revision) return
    const revision = this.#storage.revision
    try {
      await saveSnapshot(this.#storage, this.#file)
      this.#savedRevision = revision
    } catch (error) {
      this.#log(
        `snapshot ${this.#file} not written: ${(error as Error).message}; is the disk full or the folder gone?`,
      )
    }
  }
}
