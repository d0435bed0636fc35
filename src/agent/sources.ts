// The agent's inputs: Services, EndpointSlices, Nodes, ServiceCIDRs and this node's pods, followed into tables in our own types.

import type { Logger } from 'pino'
import type { KubeClient } from '../kube/client.ts'
import { isKubeError, type KubeError } from '../kube/errors.ts'
import { type Change, type ListWatch, listWatch } from '../kube/list-watch.ts'
import {
  type ApiObject,
  ENDPOINT_SLICES,
  NODES,
  PODS,
  type Resource,
  SERVICE_CIDRS,
  SERVICES,
} from '../kube/objects.ts'
import { toEndpointSlice, toService, toUnservedService, toUnservedSlice } from '../kube/to-model.ts'
import { toLocalPod, toNode, toServiceCidr } from '../kube/to-node-model.ts'
import type {
  EndpointSlice,
  LocalPod,
  Node,
  Service,
  ServiceCidr,
  UnservedService,
  UnservedSlice,
} from '../model/service.ts'
import { equalRows } from '../tables/equal-rows.ts'
import { Table } from '../tables/table.ts'

export interface Sources {
  readonly services: Table<Service>
  /** Index `service`: the Service's key. */
  readonly slices: Table<EndpointSlice>
  /** What the two above leave out, where policy is enforced: it speaks of every Service's endpoints. Else empty. */
  readonly unserved: {
    readonly services: Table<UnservedService>
    /** Index `service`. */
    readonly slices: Table<UnservedSlice>
  }
  readonly nodes: Table<Node>
  /** Pods of this node. */
  readonly pods: Table<LocalPod>
  /** Empty where the API server does not know the kind. */
  readonly serviceCidrs: Table<ServiceCidr>
  /** Resolves once every table holds what the API server held. */
  readonly synced: Promise<void>
  /** One line per source, for status. */
  describe(): Readonly<Record<string, { phase: string; rows: number; lastError: string | undefined }>>
  close(): void
}

/** When a slice was triggered counts only beside a change of what it holds. */
function equalSlices(a: EndpointSlice, b: EndpointSlice): boolean {
  return equalRows(a, b, 'triggeredAtMs')
}

export interface SourcesOptions {
  readonly client: KubeClient
  readonly nodeName: string
  readonly log: Logger
  /** Asks nothing before. */
  readonly startDelayMs: number
  /** Services that are not served are known as well. */
  readonly keepsUnserved?: boolean
}

export function followSources({
  client,
  nodeName,
  log,
  startDelayMs,
  keepsUnserved = false,
}: SourcesOptions): Sources {
  const tables = {
    services: new Table<Service>({ name: 'services', equals: equalRows }),
    slices: new Table<EndpointSlice>({
      name: 'slices',
      equals: equalSlices,
      indexes: { service: (slice) => [slice.service] },
    }),
    nodes: new Table<Node>({ name: 'nodes', equals: equalRows }),
    pods: new Table<LocalPod>({ name: 'pods', equals: equalRows }),
    serviceCidrs: new Table<ServiceCidr>({ name: 'service CIDRs', equals: equalRows }),
  }
  const { services, slices, nodes, pods, serviceCidrs } = tables
  const unserved = unservedTables()
  const common = { client, log, startDelayMs }
  const sources = {
    services: follow({
      ...{ ...common, resource: SERVICES, project: toService, table: services },
      leftOut: keepsUnserved ? { project: toUnservedService, table: unserved.services } : undefined,
    }),
    slices: follow({
      ...{ ...common, resource: ENDPOINT_SLICES, project: toEndpointSlice, table: slices },
      leftOut: keepsUnserved ? { project: toUnservedSlice, table: unserved.slices } : undefined,
    }),
    nodes: follow({ ...common, resource: NODES, project: toNode, table: nodes }),
    pods: follow({
      ...common,
      resource: PODS,
      fieldSelector: `spec.nodeName=${nodeName}`,
      project: toLocalPod,
      table: pods,
    }),
    serviceCidrs: follow({
      ...common,
      resource: SERVICE_CIDRS,
      project: toServiceCidr,
      table: serviceCidrs,
      isOptional: true,
    }),
  }
  return {
    ...tables,
    unserved,
    synced: Promise.all(Object.values(sources).map((source) => source.synced)).then(() => {}),
    describe: () =>
      Object.fromEntries(
        Object.entries(sources).map(([name, { watch }]) => [
          name,
          {
            phase: watch.state.phase,
            rows: tables[name as keyof typeof tables].size,
            lastError: watch.state.lastError,
          },
        ]),
      ),
    close: () => {
      for (const { watch } of Object.values(sources)) watch.close()
    },
  }
}

/** Empty. */
export function unservedTables(): Sources['unserved'] {
  return {
    services: new Table<UnservedService>({ name: 'Services that are not served', equals: equalRows }),
    slices: new Table<UnservedSlice>({
      name: 'slices that are not served',
      equals: equalRows,
      indexes: { service: (slice) => [slice.service] },
    }),
  }
}

/** Whether the API server serves a kind to us: it does, does not know it, or its role does not grant it. */
export type Readability = 'readable' | 'absent' | 'forbidden'

/** A row of an object that has none in the first table. */
class LeftOut<Row> {
  readonly row: Row

  constructor(row: Row) {
    this.row = row
  }
}

interface FollowOptions<T extends ApiObject, Row, Other = never> {
  readonly client: KubeClient
  readonly log: Logger
  readonly startDelayMs: number
  readonly resource: Resource<T>
  readonly fieldSelector?: string
  readonly project: (object: T) => Row | undefined
  readonly table: Pick<Table<Row>, 'set' | 'delete'>
  /** For objects of which `project` makes nothing. */
  readonly leftOut?:
    | { readonly project: (object: T) => Other | undefined; readonly table: Table<Other> }
    | undefined
  /** Older API servers lack the kind, and older roles do not grant it: then there is none, until it is there. */
  readonly isOptional?: boolean
  /** Of an optional kind: told of the first answer, when the table holds what it brought, and of every change. Without it the log tells. */
  readonly onReadability?: (now: Readability) => void
  /** Told of every failure. */
  readonly onFailure?: (error: KubeError) => void
  /** Told whenever the server lets a watch begin. */
  readonly onOpened?: () => void
  readonly forbiddenRetryMs?: number | undefined
  readonly absentRetryMs?: number | undefined
}

/** A kind that is not there is asked for again this seldom. */
const ABSENT_RETRY_MS = 300_000

export function follow<T extends ApiObject, Row, Other = never>(
  options: FollowOptions<T, Row, Other>,
): { readonly watch: ListWatch<Row | LeftOut<Other>>; readonly synced: Promise<void> } {
  const { client, log, startDelayMs, resource, fieldSelector, table, leftOut, isOptional = false } = options
  const { promise: isRefused, resolve: giveUpWaiting } = Promise.withResolvers<void>()
  const apply = (change: Change<Row | LeftOut<Other>>) => {
    const row = change.type === 'delete' ? undefined : change.row
    const isOther = row instanceof LeftOut
    if (row === undefined || isOther) table.delete(change.key)
    else table.set(change.key, row)
    if (isOther) leftOut?.table.set(change.key, row.row)
    else leftOut?.table.delete(change.key)
  }
  const project = (object: T) => {
    const row = options.project(object)
    if (row !== undefined || leftOut === undefined) return row
    const other = leftOut.project(object)
    return other === undefined ? undefined : new LeftOut(other)
  }
  const note = readabilityNoter(options)
  let wasRead = false
  const watch = listWatch<T, Row | LeftOut<Other>>({
    client,
    startDelayMs,
    resource,
    fieldSelector,
    project,
    onChanges: (changes) => {
      for (const change of changes) apply(change)
    },
    onOpened: () => {
      options.onOpened?.()
      if (wasRead) note('readable')
    },
    onProblem: (error) => {
      const refusal = isOptional ? refusalOf(error) : undefined
      // A server that compacted its history, or was restarted, says so; the new list that follows mends it.
      if (error.code === 'gone')
        log.info({ kind: resource.kind }, 'the API server forgot our version; listing anew')
      else if (refusal !== undefined) {
        note(refusal, error)
        giveUpWaiting()
      } else log.warn({ err: error, kind: resource.kind }, 'following the API server failed; trying again')
      options.onFailure?.(error)
    },
    leastPauseMs: (error) => {
      const refusal = isOptional ? refusalOf(error) : undefined
      if (refusal === undefined) return 0
      const { absentRetryMs, forbiddenRetryMs } = options
      return (refusal === 'absent' ? absentRetryMs : forbiddenRetryMs) ?? ABSENT_RETRY_MS
    },
  })
  const synced = watch.synced.then(() => {
    wasRead = true
    note('readable')
  })
  // Whoever does not wait for it must not be crashed by close().
  synced.catch(() => {})
  return { watch, synced: isOptional ? Promise.race([synced, isRefused]) : synced }
}

function refusalOf(error: KubeError): Readability | undefined {
  if (isKubeError(error, 'not-found')) return 'absent'
  return isKubeError(error, 'forbidden') ? 'forbidden' : undefined
}

/** Once for every change. */
function readabilityNoter<T extends ApiObject, Row, Other>({
  log,
  resource,
  isOptional = false,
  onReadability,
}: FollowOptions<T, Row, Other>): (now: Readability, error?: KubeError) => void {
  let last: Readability | undefined
  return (now, error) => {
    if (!isOptional || now === last) return
    const wasRefused = last !== undefined
    last = now
    if (onReadability) onReadability(now)
    else if (error !== undefined)
      log.info(
        { err: error, kind: resource.kind },
        'the API server does not serve this kind to us; going on without',
      )
    else if (wasRefused) log.info({ kind: resource.kind }, 'the API server serves this kind to us now')
  }
}
