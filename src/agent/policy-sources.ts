// What policy is made of, beside what Services need: policies of all kinds, everybody's pods, namespaces, and Cilium's lists of networks.
// Followed only where policy is enforced. Of each object as little is kept as policy needs.
//
// Kinds that the cluster lacks hold nothing up, if discovery says so too, and are followed once they are there: a server that has just begun
// answers 404 for kinds that it will serve, and their rows in force would go. One that the role does not grant, that is served in versions
// alone that are not read here, or of which the server says nothing of use for long, is not empty, but unknown: until it can be read policy
// does not begin, and the kernel goes on with the rows it has.

import type { Logger } from 'pino'
import type { KubeClient } from '../kube/client.ts'
import type { KubeError } from '../kube/errors.ts'
import type { EventRecorder } from '../kube/events.ts'
import type { ListWatch } from '../kube/list-watch.ts'
import {
  type ApiObject,
  groupResourceOf,
  NAMESPACES,
  PODS,
  type Pod,
  type Resource,
} from '../kube/objects.ts'
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
import { AbsentKinds, POLL_MS } from './absent-kinds.ts'
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
  /** So long nobody waits but policy for a kind about which the server answers nothing of use. */
  readonly patienceMs?: number
}

const FORBIDDEN_RETRY_MS = 10_000
/** Longer than a server that has just begun takes to serve what it has stored. */
const PATIENCE_MS = 20_000
/** A better version than the one that is followed is looked for after so many times as long as an absent kind. */
const BETTER_POLLS = 6
export const POLICY_KINDS = Object.keys(POLICY_RESOURCES) as readonly PolicyKind[]

interface Followed {
  /** Begins to follow another version of the kind, in place of the one before. */
  readonly begin: (resource: Resource) => void
  /** In the version that is asked for. */
  resource: Resource
  watch: Pick<ListWatch<unknown>, 'get' | 'retryNow' | 'close' | 'state'>
  readonly table: Table<unknown>
  /** Whether the cluster may lack it. */
  readonly isOptional: boolean
  /** What the cluster has of it. */
  readonly known: Milestone
  /** It is known, or that it may not be read. */
  readonly answered: Milestone
  readability: Readability | undefined
  /** The versions that are served, where none of them is read here; else empty. */
  unreadable: readonly string[]
  /** The server answered, but with nothing of use; ends the waiting for it. */
  impatience: NodeJS.Timeout | undefined
  lastFailure: string
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
  #lookedForBetterMs = 0

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
        (object) => toPolicyObject(kind, object, this.resourceOf(kind).version),
        this.objects[kind],
        kind !== 'NetworkPolicy',
      )
    this.#absent = new AbsentKinds({
      client: options.client,
      absent: () => this.#missing(),
      onFound: (found, isGuess) => {
        const followed = this.#find(found)
        if (followed === undefined || (isGuess && !isAbsent(followed))) return
        if (found.version !== followed.resource.version) followed.begin(found)
        else followed.watch.retryNow()
      },
      onConfirmed: (absent) => {
        const followed = this.#find(absent)
        if (followed === undefined || !isAbsent(followed)) return
        followed.unreadable = []
        knowNow(followed)
      },
      onUnreadable: (found, versions) => {
        const followed = this.#find(found)
        if (followed && isAbsent(followed)) this.#noteUnreadable(followed, versions)
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

  /** What may not or cannot be read, what becomes of policy, and the mend. */
  get problems(): readonly string[] {
    return this.#followed.flatMap((followed) => problemOf(followed) ?? [])
  }

  /** The kind in the version that is followed. */
  resourceOf(kind: PolicyKind): Resource {
    return this.#find(POLICY_RESOURCES[kind])?.resource ?? POLICY_RESOURCES[kind]
  }

  /** One line per source, for status. */
  describe(): Readonly<Record<string, { phase: string; rows: number; lastError: string | undefined }>> {
    return Object.fromEntries(
      this.#followed.map((followed) => {
        const { resource, watch, table } = followed
        const name = resource === PODS ? 'allPods' : resource.plural
        const phaseElse = followed.unreadable.length > 0 ? 'unreadable' : 'absent'
        if (isAbsent(followed)) return [name, { phase: phaseElse, rows: table.size, lastError: undefined }]
        const { phase, lastError } = watch.state
        return [name, { phase, rows: table.size, lastError }]
      }),
    )
  }

  close(): void {
    this.#absent.close()
    for (const { watch, impatience } of this.#followed) {
      watch.close()
      clearTimeout(impatience)
    }
  }

  /** Whichever version is named. */
  #find(wanted: Resource): Followed | undefined {
    return this.#followed.find(({ resource }) => groupResourceOf(resource) === groupResourceOf(wanted))
  }

  /** What is absent, and now and then what is followed in another version than the best: its fields are cut to those of that version. */
  #missing(): readonly Resource[] {
    const { pollMs = POLL_MS } = this.#options
    const nowMs = performance.now()
    const isLookingForBetter = nowMs - this.#lookedForBetterMs >= BETTER_POLLS * pollMs
    if (isLookingForBetter) this.#lookedForBetterMs = nowMs
    return this.#followed
      .filter((followed) => isAbsent(followed) || (isLookingForBetter && !isBestVersion(followed.resource)))
      .map(({ resource }) => resource)
  }

  #follow<T extends ApiObject, Row>(
    resource: Resource<T>,
    project: (object: T) => Row | undefined,
    table: Table<Row>,
    isOptional: boolean,
  ): void {
    const { client, log, startDelayMs, forbiddenRetryMs = FORBIDDEN_RETRY_MS } = this.#options
    const watchAs = (now: Resource, delayMs: number) => {
      const { watch, synced } = follow<T, Row>({
        ...{ client, log, resource: now as Resource<T>, project, table, forbiddenRetryMs },
        startDelayMs: delayMs,
        // Every kind may be refused to us.
        isOptional: true,
        absentRetryMs: isOptional ? undefined : 0,
        onReadability: (readability) => this.#noteReadability(followed, readability),
        onFailure: (error) => this.#noteFailure(followed, error),
      })
      synced.catch(() => {})
      return watch
    }
    const followed: Followed = {
      ...{ resource, watch: watchAs(resource, startDelayMs), isOptional },
      // What the version before told stays in force until this one has told all.
      begin: (better) => {
        followed.watch.close()
        followed.resource = better
        followed.watch = watchAs(better, 0)
      },
      table: table as unknown as Table<unknown>,
      known: new Milestone(),
      answered: new Milestone(),
      readability: undefined,
      unreadable: [],
      impatience: undefined,
      lastFailure: '',
    }
    this.#followed.push(followed)
  }

  #noteReadability(followed: Followed, now: Readability): void {
    const { log } = this.#options
    const { resource, isOptional } = followed
    followed.readability = now
    if (now === 'readable') {
      followed.unreadable = []
      forgetGone(followed)
      knowNow(followed)
    } else if (now === 'forbidden') {
      followed.unreadable = []
      this.#tell(followed)
    } else if (isOptional) this.#absent.lookNow()
    else
      log.warn(
        { kind: resource.kind },
        'the API server does not know this kind, which every one has; asking again',
      )
  }

  #noteUnreadable(followed: Followed, versions: readonly string[]): void {
    if (equalRows(versions, followed.unreadable)) return
    followed.unreadable = versions
    this.#tell(followed)
  }

  /** A server that cannot be reached at all answers for no kind, and everybody waits. */
  #noteFailure(followed: Followed, error: KubeError): void {
    const { patienceMs = PATIENCE_MS } = this.#options
    followed.lastFailure = error.message
    if (error.status === undefined || followed.answered.isReached) return
    followed.impatience ??= setTimeout(() => {
      if (!followed.answered.isReached) this.#tell(followed)
    }, patienceMs).unref()
  }

  /** Of what policy alone waits for from now on. */
  #tell(followed: Followed): void {
    const { log, events, nodeName } = this.#options
    followed.answered.reach()
    const message = problemOf(followed)
    if (message === undefined) return
    log.warn({ kind: followed.resource.kind }, message)
    events.record(nodeObject(nodeName), 'Warning', 'PolicyNotReadable', `${nodeName}: ${message}`)
  }
}

/** What went while nobody followed the kind, between two versions. */
function forgetGone({ table, watch }: Followed): void {
  for (const [key] of table.entries()) if (watch.get(key) === undefined) table.delete(key)
}

function isBestVersion({ version, versions = [version] }: Resource): boolean {
  return version === versions[0]
}

function knowNow({ known, answered }: Followed): void {
  known.reach()
  answered.reach()
}

function isAbsent({ isOptional, readability }: Followed): boolean {
  return isOptional && readability === 'absent'
}

/** What of it policy waits for, what becomes of policy meanwhile, and the mend; undefined: nothing. */
function problemOf(followed: Followed): string | undefined {
  const { resource, readability, unreadable, known, answered, lastFailure } = followed
  const what = groupResourceOf(resource)
  const then = known.isReached
    ? 'what was known of them stays in force'
    : 'until it does, pods go on by the policies that this node’s kernel holds; others are closed, on a node that has held policy since it booted all of them, else those whose device carries Weir’s programs'
  if (readability === 'forbidden')
    return `the agents' role does not grant list and watch of ${what}: ${then}. Mend: apply the manifests' ClusterRole (manifests/base/rbac.yaml)`
  if (unreadable.length > 0) {
    const read = (resource.versions ?? [resource.version]).join(' or ')
    return `the API server serves ${what} in no version that this Weir reads (${read}, not ${unreadable.join(', ')}): ${then}. Mend: serve ${read} too (in its CustomResourceDefinition), or run a version of Weir that reads ${unreadable.join(' or ')}`
  }
  if (!answered.isReached || known.isReached) return undefined
  return `the API server does not list ${what}: ${then}. It says: ${lastFailure}. Mend: see to it that 'kubectl get ${what} -A' works`
}

/** Nobody is known by a pod that has finished, has no address yet, or has its node's. */
function toKnownPod(object: Pod): PolicyPod | undefined {
  const pod = toPolicyPod(object)
  return pod.isFinished || pod.isHostNetwork || pod.addresses.length === 0 ? undefined : pod
}
