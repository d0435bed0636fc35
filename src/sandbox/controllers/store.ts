// What the rack's controllers know of the cluster: one followed list per kind, shared by all of them. Rows are the objects
// themselves (less managedFields, which nobody here reads). Controllers read stores to decide, and the API server itself
// where a stale answer would do harm (their own children).

import type { KubeClient } from '../../kube/client.ts'
import type { KubeError } from '../../kube/errors.ts'
import type { EventRecorder } from '../../kube/events.ts'
import { type Change, type ListWatch, listWatch } from '../../kube/list-watch.ts'
import {
  type ApiObject,
  ENDPOINT_SLICES,
  NAMESPACES,
  NODES,
  PODS,
  type Resource,
  SERVICE_ACCOUNTS,
  SERVICES,
} from '../../kube/objects.ts'
import { DAEMON_SETS, DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS } from '../../kube/workloads.ts'

export type Listener<T> = (changes: readonly Change<T>[]) => void

export interface Store<T extends ApiObject> {
  get(key: string): T | undefined
  /** All objects, or those of one namespace. */
  list(namespace?: string): T[]
  /** Called with every batch of changes from now on; the first batch is the whole list when subscribed before `sync`. */
  subscribe(listener: Listener<T>): void
}

/** Everything a controller is given. Time comes in here, so that tests can hold it still. */
export interface ControllerContext {
  readonly client: KubeClient
  readonly stores: Stores
  /** What users see under Events of `kubectl describe`. */
  readonly events: EventRecorder
  readonly nowMs: () => number
  readonly log: (message: string) => void
}

/**
 * A controller: made (and subscribed) before the stores sync, started once all of them have, for a half-known cluster looks like
 * one in which things were deleted.
 */
export interface Controller {
  start(): void
  close(): void
}

class FollowedStore<T extends ApiObject> implements Store<T> {
  readonly #resource: Resource<T>
  readonly #listeners: Listener<T>[] = []
  #follower: ListWatch<T> | undefined

  constructor(resource: Resource<T>) {
    this.#resource = resource
  }

  follow(client: KubeClient, onProblem: (error: KubeError) => void): Promise<void> {
    this.#follower = listWatch<T, T>({
      client,
      resource: this.#resource,
      project: withoutManagedFields,
      onProblem,
      onChanges: (changes) => {
        for (const listener of this.#listeners) listener(changes)
      },
    })
    return this.#follower.synced
  }

  get(key: string): T | undefined {
    return this.#follower?.get(key)
  }

  list(namespace?: string): T[] {
    const found: T[] = []
    for (const [, object] of this.#follower?.rows() ?? []) {
      if (namespace === undefined || object.metadata.namespace === namespace) found.push(object)
    }
    return found
  }

  subscribe(listener: Listener<T>): void {
    this.#listeners.push(listener)
  }

  close(): void {
    this.#follower?.close()
  }
}

function withoutManagedFields<T extends ApiObject>(object: T): T {
  delete (object.metadata as { managedFields?: unknown }).managedFields
  return object
}

export type Stores = ReturnType<typeof createStores>

/** The stores, not yet following: controllers subscribe first, then `sync` starts them and waits for the first lists. */
export function createStores() {
  const stores = {
    pods: new FollowedStore(PODS),
    nodes: new FollowedStore(NODES),
    services: new FollowedStore(SERVICES),
    endpointSlices: new FollowedStore(ENDPOINT_SLICES),
    deployments: new FollowedStore(DEPLOYMENTS),
    replicaSets: new FollowedStore(REPLICA_SETS),
    daemonSets: new FollowedStore(DAEMON_SETS),
    statefulSets: new FollowedStore(STATEFUL_SETS),
    namespaces: new FollowedStore(NAMESPACES),
    serviceAccounts: new FollowedStore(SERVICE_ACCOUNTS),
  }
  return {
    ...stores,
    sync: async (client: KubeClient, onProblem: (error: KubeError) => void): Promise<void> => {
      await Promise.all(Object.values(stores).map((store) => store.follow(client, onProblem)))
    },
    close: (): void => {
      for (const store of Object.values(stores)) store.close()
    },
  }
}
