// What policy is made of, beside what Services need: policies of all kinds, everybody's pods, namespaces, and Cilium's lists of networks.
// Followed only where policy is enforced. Of each object as little is kept as policy needs.
//
// Kinds that the cluster lacks hold nothing up, if discovery says so too, and are followed once they are there: a server that has just begun
// answers 404 for kinds that it will serve, and their rows in force would go. One that the role does not grant is not empty, but
// unknown: until it can be read the agent does not begin, and the kernel goes on with the rows it has.

import type { Logger } from 'pino'
import type { KubeClient } from '../kube/client.ts'
import type { ListWatch } from '../kube/list-watch.ts'
import { type ApiObject, NAMESPACES, PODS, type Pod, type Resource } from '../kube/objects.ts'
import {
  CILIUM_CIDR_GROUPS,
  POLICY_RESOURCES,
  type PolicyObject,
  toPolicyObject,
} from '../kube/policies/resources.ts'
import { toNamespaceLabels, toNetworkGroup, toPolicyPod } from '../kube/policies/world.ts'
import type { PolicyKind, PolicyPod, PolicyWorld } from '../model/policy.ts'
import { equalRows } from '../tables/equal-rows.ts'
import { Table } from '../tables/table.ts'
import { AbsentKinds } from './absent-kinds.ts'
import { follow, type Readability } from './sources.ts'

export interface PolicySourcesOptions {
  readonly client: KubeClient
  readonly log: Logger
  readonly startDelayMs: number
  readonly pollMs?: number
  /** A role that is mended is noticed after so long. */
  readonly forbiddenRetryMs?: number
}

const FORBIDDEN_RETRY_MS = 10_000
export const POLICY_KINDS = Object.keys(POLICY_RESOURCES) as readonly PolicyKind[]

interface Followed {
  readonly resource: Resource
  readonly watch: Pick<ListWatch<unknown>, 'retryNow' | 'close' | 'state'>
  readonly table: Table<unknown>
  readonly synced: Promise<void>
  /** To be called when it is known what the cluster has of it. */
  readonly known: () => void
  readability: Readability | undefined
}

export class PolicySources {
  readonly objects: Readonly<Record<PolicyKind, Table<PolicyObject>>>
  /** Those that have addresses of their own. */
  readonly pods = new Table<PolicyPod>({
    name: 'pods of all nodes',
    equals: equalRows,
    indexes: { node: ({ node }) => [node], address: ({ addresses }) => addresses },
  })
  readonly namespaces = new Table<Readonly<Record<string, string>>>({
    name: 'namespaces',
    equals: equalRows,
  })
  readonly networkGroups = new Table<PolicyWorld['networkGroups'][number]>({
    name: 'network groups',
    equals: equalRows,
  })
  readonly #options: PolicySourcesOptions
  readonly #followed: Followed[] = []
  readonly #absent: AbsentKinds

  constructor(options: PolicySourcesOptions) {
    this.#options = options
    const tableOf = (name: string) => new Table<PolicyObject>({ name, equals: equalRows })
    this.objects = {
      NetworkPolicy: tableOf('network policies'),
      ClusterNetworkPolicy: tableOf('cluster network policies'),
      CiliumNetworkPolicy: tableOf("Cilium's network policies"),
      CiliumClusterwideNetworkPolicy: tableOf("Cilium's cluster-wide network policies"),
    }
    this.#follow(PODS, toKnownPod, this.pods, false)
    this.#follow(NAMESPACES, toNamespaceLabels, this.namespaces, false)
    this.#follow(CILIUM_CIDR_GROUPS, toNetworkGroup, this.networkGroups, true)
    for (const kind of POLICY_KINDS)
      this.#follow(
        POLICY_RESOURCES[kind],
        (object) => toPolicyObject(kind, object),
        this.objects[kind],
        kind !== 'NetworkPolicy',
      )
    this.#absent = new AbsentKinds({
      client: options.client,
      absent: () =>
        this.#followed.filter(({ readability }) => readability === 'absent').map(({ resource }) => resource),
      onFound: (found) => this.#followed.find(({ resource }) => resource === found)?.watch.retryNow(),
      onConfirmed: (absent) => this.#followed.find(({ resource }) => resource === absent)?.known(),
      pollMs: options.pollMs,
    })
  }

  /** Resolves once every table holds what the API server held. */
  get synced(): Promise<void> {
    return Promise.all(this.#followed.map(({ synced }) => synced)).then(() => {})
  }

  /** One line per source, for status. */
  describe(): Readonly<Record<string, { phase: string; rows: number; lastError: string | undefined }>> {
    return Object.fromEntries(
      this.#followed.map(({ resource, watch, table, readability }) => [
        resource === PODS ? 'allPods' : resource.plural,
        {
          phase: readability === 'absent' ? 'absent' : watch.state.phase,
          rows: table.size,
          lastError: readability === 'absent' ? undefined : watch.state.lastError,
        },
      ]),
    )
  }

  close(): void {
    this.#absent.close()
    for (const { watch } of this.#followed) watch.close()
  }

  #follow<T extends ApiObject, Row>(
    resource: Resource<T>,
    project: (object: T) => Row | undefined,
    table: Table<Row>,
    isOptional: boolean,
  ): void {
    const { client, log, startDelayMs, forbiddenRetryMs = FORBIDDEN_RETRY_MS } = this.#options
    const known = Promise.withResolvers<void>()
    const { watch, synced } = follow({
      ...{ client, log, startDelayMs, resource, project, table, isOptional },
      forbiddenRetryMs,
      onReadability: (now) => {
        followed.readability = now
        if (now === 'forbidden')
          log.warn(
            { kind: resource.kind },
            "this agent may not list this kind of policy: what is in force stays so. Mend: grant the agents' role list and watch of it (manifests/base/rbac.yaml)",
          )
        else if (now === 'absent') this.#absent.lookNow()
        else known.resolve()
      },
    })
    const followed: Followed = {
      ...{ resource, watch },
      table: table as unknown as Table<unknown>,
      synced: isOptional ? known.promise : synced,
      known: known.resolve,
      readability: undefined,
    }
    this.#followed.push(followed)
  }
}

/** Nobody is known by a pod that has finished, has no address yet, or has its node's. */
function toKnownPod(object: Pod): PolicyPod | undefined {
  const pod = toPolicyPod(object)
  return pod.isFinished || pod.isHostNetwork || pod.addresses.length === 0 ? undefined : pod
}
