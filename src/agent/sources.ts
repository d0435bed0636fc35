// The agent's inputs: Services, EndpointSlices and Nodes followed into tables, in our own types.

import type { Logger } from 'pino'
import type { KubeClient } from '../kube/client.ts'
import { type Change, type ListWatch, listWatch } from '../kube/list-watch.ts'
import { type ApiObject, ENDPOINT_SLICES, NODES, type Resource, SERVICES } from '../kube/objects.ts'
import { toEndpointSlice, toService } from '../kube/to-model.ts'
import { toNode } from '../kube/to-node-model.ts'
import type { EndpointSlice, Node, Service } from '../model/service.ts'
import { Table } from '../tables/table.ts'

export interface Sources {
  readonly services: Table<Service>
  /** Index `service`: the Service's key. */
  readonly slices: Table<EndpointSlice>
  readonly nodes: Table<Node>
  /** Resolves once every table holds what the API server held. */
  readonly synced: Promise<void>
  /** One line per source, for status. */
  describe(): Readonly<Record<string, { phase: string; rows: number; lastError: string | undefined }>>
  close(): void
}

/** Rows are plain data; equal text is an equal row, so a heartbeat that touches only metadata is no change. */
function equalRows(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

export function followSources(client: KubeClient, log: Logger): Sources {
  const services = new Table<Service>({ name: 'services', equals: equalRows })
  const slices = new Table<EndpointSlice>({
    name: 'slices',
    equals: equalRows,
    indexes: { service: (slice) => [slice.service] },
  })
  const nodes = new Table<Node>({ name: 'nodes', equals: equalRows })
  const watches = {
    services: follow(client, log, SERVICES, toService, services),
    slices: follow(client, log, ENDPOINT_SLICES, toEndpointSlice, slices),
    nodes: follow(client, log, NODES, toNode, nodes),
  }
  const tables = { services, slices, nodes }
  return {
    ...tables,
    synced: Promise.all(Object.values(watches).map((watch) => watch.synced)).then(() => {}),
    describe: () =>
      Object.fromEntries(
        Object.entries(watches).map(([name, { state }]) => [
          name,
          { phase: state.phase, rows: tables[name as keyof typeof tables].size, lastError: state.lastError },
        ]),
      ),
    close: () => {
      for (const watch of Object.values(watches)) watch.close()
    },
  }
}

function follow<T extends ApiObject, Row>(
  client: KubeClient,
  log: Logger,
  resource: Resource<T>,
  project: (object: T) => Row | undefined,
  table: Table<Row>,
): ListWatch<Row> {
  const apply = (change: Change<Row>) => {
    if (change.type === 'delete') table.delete(change.key)
    else table.set(change.key, change.row)
  }
  return listWatch<T, Row>({
    client,
    resource,
    project,
    onChanges: (changes) => {
      for (const change of changes) apply(change)
    },
    onProblem: (error) => {
      // A server that compacted its history, or was restarted, says so; the new list that follows mends it.
      if (error.code === 'gone')
        log.info({ kind: resource.kind }, 'the API server forgot our version; listing anew')
      else log.warn({ err: error, kind: resource.kind }, 'following the API server failed; trying again')
    },
  })
}
