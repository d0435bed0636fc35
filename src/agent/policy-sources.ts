// What policy is made of, beside what Services need: policies of all kinds, everybody's pods, namespaces, and Cilium's lists of networks.
// Followed only where policy is enforced. Of each object as little is kept as policy needs.
//
// Kinds that the cluster lacks hold nothing up, if discovery says so too, and are followed once they are there: a server that has just begun
// answers 404 for kinds that it will serve, and their rows in force would go. One that the role does not
// grant is not empty, but unknown: until it can be read policy does not begin, and the kernel goes on with the rows it has.

import type { Logger } from 'pino'
import type { KubeClient } from '../kube/client.ts'
import type { EventRecorder } from '../kube/events.ts'
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
import { nodeObject } from './report-problems.ts'
import { follow, type Readability } from './sources.ts'

export interface PolicySourcesOptions {
  readonly client: KubeClient
  readonly nodeName: string
  readonly events: Pick<EventRecorder, 'record'>
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
  /** Whether the cluster may lack it. */
  readonly isOptional: boolean
  /** What the cluster has of it. */
  readonly known: Milestone
  /** It is known, or that it may not be read. */
  readonly answered: Milestone
  readability: Readability | undefined
}

class Milestone {
  isReached = false
  readonly reached: Promise<void>
  readonly #resolve: () => void

  constructor() {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.reached = promise
    this.#resolve = resolve
  }

  reach(): void {
    this.isReached = true
    this.#resolve()
  }
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
      absent: () => this.#followed.filter(isAbsent).map(({ resource }) => resource),
      onFound: (found) => this.#followed.find(({ resource }) => resource === found)?.watch.retryNow(),
      onConfirmed: (absent) => {
        const followed = this.#followed.find(({ resource }) => resource === absent)
        // It may have been asked for meanwhile.
        if (followed && isAbsent(followed)) knowNow(followed)
      },
      pollMs: options.pollMs,
    })
  }

  /** Resolves once every table holds what the API server held. */
  get synced(): Promise<void> {
    return Promise.all(this.#followed.map(({ known }) => known.reached)).then(() => {})
  }

  /** Resolves once every table does so, or it is known that it may not. */
  get answered(): Promise<void> {
    return Promise.all(this.#followed.map(({ answered }) => answered.reached)).then(() => {})
  }

  get isSynced(): boolean {
    return this.#followed.every(({ known }) => known.isReached)
  }

  /** What may not be read, what becomes of policy, and the mend. */
  get problems(): readonly string[] {
    return this.#followed
      .filter(({ readability }) => readability === 'forbidden')
      .map((followed) => describeRefusal(followed))
  }

  /** One line per source, for status. */
  describe(): Readonly<Record<string, { phase: string; rows: number; lastError: string | undefined }>> {
    return Object.fromEntries(
      this.#followed.map((followed) => {
        const { resource, watch, table } = followed
        const name = resource === PODS ? 'allPods' : resource.plural
        if (isAbsent(followed)) return [name, { phase: 'absent', rows: table.size, lastError: undefined }]
        const { phase, lastError } = watch.state
        return [name, { phase, rows: table.size, lastError }]
      }),
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
    const { watch, synced } = follow({
      ...{ client, log, startDelayMs, resource, project, table, forbiddenRetryMs },
      // Every kind may be refused to us.
      isOptional: true,
      absentRetryMs: isOptional ? undefined : 0,
      onReadability: (now) => this.#noteReadability(followed, now),
    })
    synced.catch(() => {})
    const followed: Followed = {
      ...{ resource, watch, isOptional },
      table: table as unknown as Table<unknown>,
      known: new Milestone(),
      answered: new Milestone(),
      readability: undefined,
    }
    this.#followed.push(followed)
  }

  #noteReadability(followed: Followed, now: Readability): void {
    const { log, events, nodeName } = this.#options
    const { resource, isOptional, answered } = followed
    followed.readability = now
    if (now === 'readable') knowNow(followed)
    else if (now === 'forbidden') {
      const message = describeRefusal(followed)
      log.warn({ kind: resource.kind }, message)
      events.record(nodeObject(nodeName), 'Warning', 'PolicyNotReadable', `${nodeName}: ${message}`)
      answered.reach()
    } else if (isOptional) this.#absent.lookNow()
    else
      log.warn(
        { kind: resource.kind },
        'the API server does not know this kind, which every one has; asking again',
      )
  }
}

function knowNow({ known, answered }: Followed): void {
  known.reach()
  answered.reach()
}

function isAbsent({ isOptional, readability }: Followed): boolean {
  return isOptional && readability === 'absent'
}

function describeRefusal({ resource: { group, plural }, known }: Followed): string {
  const what = group === '' ? plural : `${plural}.${group}`
  const then = known.isReached
    ? 'what was known of them stays in force'
    : 'until it does, pods go on by the policies that this node’s kernel holds, and all others are closed'
  return `the agents' role does not grant list and watch of ${what}: ${then}. Mend: apply the manifests' ClusterRole (manifests/base/rbac.yaml)`
}

/** Nobody is known by a pod that has finished, has no address yet, or has its node's. */
function toKnownPod(object: Pod): PolicyPod | undefined {
  const pod = toPolicyPod(object)
  return pod.isFinished || pod.isHostNetwork || pod.addresses.length === 0 ? undefined : pod
}
