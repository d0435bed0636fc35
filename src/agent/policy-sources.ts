// What policy is made of, beside what Services need: policies of all kinds, everybody's pods, namespaces, and Cilium's lists of networks.
// Followed only where policy is enforced. Of each object as little is kept as policy needs.
//
// Kinds that the cluster lacks hold nothing up, if discovery says so too, and are followed once they are there: a server that has just begun
// answers 404 for kinds that it will serve, and their rows in force would go. One that the role does not grant, that is served in versions
// alone that are not read here, or of which the server says nothing of use for long, is not empty, but unknown: until it can be read policy
// does not begin, and the kernel goes on with the rows it has.

import type { Logger } from 'pino'
import type { KubeClient } from '../kube/client.ts'
import { isKubeError, type KubeError } from '../kube/errors.ts'
import type { EventRecorder } from '../kube/events.ts'
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
import { Outage } from './outage.ts'
import {
  type Followed,
  forgetGone,
  isAbsent,
  isBestVersion,
  knowNow,
  Milestone,
  problemOf,
  type Version,
} from './policy-kind.ts'
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
/** Nobody has one, if the cluster may lack the kind. */
const ABSENT = ['not-found'] as const
export const POLICY_KINDS = Object.keys(POLICY_RESOURCES) as readonly PolicyKind[]

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
        (object, version) => toPolicyObject(kind, object, version),
        this.objects[kind],
        kind !== 'NetworkPolicy',
      )
    this.#absent = new AbsentKinds({
      client: options.client,
      absent: () => this.#missing(),
      onFound: (found, isGuess) => {
        const followed = this.#find(found)
        if (followed === undefined || (isGuess && !isAbsent(followed))) return
        if (found.version !== followed.now.resource.version) followed.begin(found)
        else followed.now.watch.retryNow()
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
    return this.#followed.flatMap((followed) => this.#problemOf(followed) ?? [])
  }

  /** The kind in the version that is followed. */
  resourceOf(kind: PolicyKind): Resource {
    return this.#find(POLICY_RESOURCES[kind])?.now.resource ?? POLICY_RESOURCES[kind]
  }

  /** One line per source, for status. */
  describe(): Readonly<Record<string, { phase: string; rows: number; lastError: string | undefined }>> {
    return Object.fromEntries(
      this.#followed.map((followed) => {
        const { table } = followed
        const { resource, watch } = followed.now
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
    for (const { now, next, impatience } of this.#followed) {
      now.watch.close()
      next?.watch.close()
      clearTimeout(impatience)
    }
  }

  /** Whichever version is named. */
  #find(wanted: Resource): Followed | undefined {
    return this.#followed.find(({ now }) => groupResourceOf(now.resource) === groupResourceOf(wanted))
  }

  /** What is absent, and now and then what is followed in another version than the best: its fields are cut to those of that version. */
  #missing(): readonly Resource[] {
    const { pollMs = POLL_MS } = this.#options
    const nowMs = performance.now()
    const isLookingForBetter = nowMs - this.#lookedForBetterMs >= BETTER_POLLS * pollMs
    if (isLookingForBetter) this.#lookedForBetterMs = nowMs
    return this.#followed
      .filter(
        (followed) => isAbsent(followed) || (isLookingForBetter && !isBestVersion(followed.now.resource)),
      )
      .map(({ now }) => now.resource)
  }

  #follow<T extends ApiObject, Row>(
    resource: Resource<T>,
    project: (object: T, version: string) => Row | undefined,
    table: Table<Row>,
    isOptional: boolean,
  ): void {
    const { client, log, startDelayMs, forbiddenRetryMs = FORBIDDEN_RETRY_MS } = this.#options
    const watchAs = (version: Resource, delayMs: number): Version => {
      const isNow = (): boolean => followed.now === watched
      const { watch, synced } = follow<T, Row>({
        ...{ client, log, resource: version as Resource<T>, forbiddenRetryMs },
        project: (object) => project(object, version.version),
        // Of two versions one tells; the other's rows are in its watch.
        table: {
          set: (key, row) => isNow() && table.set(key, row),
          delete: (key) => isNow() && table.delete(key),
        },
        startDelayMs: delayMs,
        // Every kind may be refused to us.
        isOptional: true,
        absentRetryMs: isOptional ? undefined : 0,
        onReadability: (readability) => {
          if (isNow()) this.#noteReadability(followed, readability)
          else if (followed.next === watched) this.#endNext(followed, watched, readability)
        },
        onFailure: (error) => {
          if (isNow()) this.#noteFailure(followed, error)
        },
        onOpened: () => {
          if (isNow()) followed.outage.opened(performance.now())
        },
      })
      synced.catch(() => {})
      const watched: Version = { resource: version, watch }
      return watched
    }
    const followed: Followed = {
      ...{ now: watchAs(resource, startDelayMs), next: undefined, isOptional },
      begin: (better) => {
        const { now, next, readability } = followed
        if (next?.resource.version === better.version) {
          next.watch.retryNow()
          return
        }
        next?.watch.close()
        followed.next = undefined
        if (readability === 'readable') followed.next = watchAs(better, 0)
        else {
          // What it told stays in force until the other one has told all.
          now.watch.close()
          followed.now = watchAs(better, 0)
        }
      },
      table: table as unknown as Table<unknown>,
      known: new Milestone(),
      answered: new Milestone(),
      readability: undefined,
      unreadable: [],
      impatience: undefined,
      lastFailure: '',
      outage: new Outage(),
    }
    this.#followed.push(followed)
  }

  #noteReadability(followed: Followed, now: Readability): void {
    const { log } = this.#options
    const { isOptional, known } = followed
    followed.readability = now
    if (now === 'readable') {
      followed.unreadable = []
      forgetGone(followed)
      knowNow(followed)
    } else if (now === 'forbidden') {
      followed.unreadable = []
      this.#tell(followed)
    } else if (isOptional) {
      // Who knows it has time until the next look; versions that are tried in turn are each found absent anew.
      if (!known.isReached) this.#absent.lookNow()
    } else
      log.warn(
        { kind: followed.now.resource.kind },
        'the API server does not know this kind, which every one has; asking again',
      )
  }

  /** The better version takes the place of the one before when it has told all; one that is not there does not. */
  #endNext(followed: Followed, next: Version, readability: Readability): void {
    followed.next = undefined
    if (readability !== 'readable') {
      next.watch.close()
      return
    }
    followed.now.watch.close()
    followed.now = next
    followed.outage.end()
    for (const [key, row] of next.watch.rows()) followed.table.set(key, row)
    this.#noteReadability(followed, 'readable')
  }

  #noteUnreadable(followed: Followed, versions: readonly string[]): void {
    if (equalRows(versions, followed.unreadable)) return
    followed.unreadable = versions
    this.#tell(followed)
  }

  /** A server that cannot be reached at all answers for no kind, and everybody waits. */
  #noteFailure(followed: Followed, error: KubeError): void {
    followed.lastFailure = error.message
    if (followed.known.isReached) {
      this.#noteOutage(followed, error)
      return
    }
    if (error.status === undefined || followed.answered.isReached) return
    followed.impatience ??= setTimeout(() => {
      if (!followed.answered.isReached) this.#tell(followed)
    }, this.#patienceMs).unref()
  }

  #noteOutage(followed: Followed, error: KubeError): void {
    const { outage, now, isOptional } = followed
    const nowMs = performance.now()
    const isElsewhere = isKubeError(error, 'unreachable', 'forbidden', ...(isOptional ? ABSENT : []))
    if (isElsewhere) outage.end()
    else outage.failed(nowMs, now.watch.state.failures)
    if (outage.lastsMs(nowMs, now.watch.state) >= this.#patienceMs && outage.tellOnce()) this.#tell(followed)
  }

  get #patienceMs(): number {
    return this.#options.patienceMs ?? PATIENCE_MS
  }

  #problemOf(followed: Followed): string | undefined {
    const { outage, now } = followed
    return problemOf(followed, outage.lastsMs(performance.now(), now.watch.state) >= this.#patienceMs)
  }

  /** Of what policy alone waits for from now on, or does not hear of any more. */
  #tell(followed: Followed): void {
    const { log, events, nodeName } = this.#options
    followed.answered.reach()
    const message = this.#problemOf(followed)
    if (message === undefined) return
    log.warn({ kind: followed.now.resource.kind }, message)
    events.record(nodeObject(nodeName), 'Warning', 'PolicyNotReadable', `${nodeName}: ${message}`)
  }
}

/** Nobody is known by a pod that has finished, has no address yet, or has its node's. */
function toKnownPod(object: Pod): PolicyPod | undefined {
  const pod = toPolicyPod(object)
  return pod.isFinished || pod.isHostNetwork || pod.addresses.length === 0 ? undefined : pod
}
