// Cilium's BGP kinds, followed into tables: all of them where they are a source of routing, else only the one that would say something
// about this node, so that status can name it. API servers that lack the kinds, and roles that do not grant them, hold nothing up. A kind that
// is absent is looked for by discovery; one that may not be read is what it was when it last could be.

import type { Logger } from 'pino'
import {
  BGP_ADVERTISEMENTS,
  BGP_CLUSTER_CONFIGS,
  BGP_NODE_CONFIG_OVERRIDES,
  BGP_PEER_CONFIGS,
  LOAD_BALANCER_IP_POOLS,
  toAddressPool,
  toAdvertisement,
  toClusterConfig,
  toNodeOverride,
  toPeerConfig,
} from '../kube/cilium.ts'
import type { KubeClient } from '../kube/client.ts'
import type { ListWatch } from '../kube/list-watch.ts'
import type { ApiObject, Resource } from '../kube/objects.ts'
import type {
  CiliumAddressPool,
  CiliumAdvertisement,
  CiliumClusterConfig,
  CiliumNodeOverride,
  CiliumObjects,
  CiliumPeerConfig,
} from '../model/cilium.ts'
import type { RoutingProblem } from '../routing/sources/node-facts.ts'
import { equalRows } from '../tables/equal-rows.ts'
import { type ChangeReader, Table } from '../tables/table.ts'
import { AbsentKinds, POLL_MS } from './absent-kinds.ts'
import { CiliumMemory } from './cilium-memory.ts'
import { follow, type Readability } from './sources.ts'

export interface CiliumSourcesOptions {
  readonly client: KubeClient
  readonly log: Logger
  readonly startDelayMs: number
  readonly stateDirectory: string
  /** A kind can be read now, or cannot any more. */
  readonly onReadability?: () => void
  /** Between two looks whether absent kinds have come. */
  readonly pollMs?: number
}

/** A role that is mended is noticed after so many times as long: a refusal is asked for kind by kind. */
const FORBIDDEN_POLLS = 3
const { group: GROUP } = BGP_CLUSTER_CONFIGS

interface Followed {
  readonly resource: Resource
  readonly watch: Pick<ListWatch<unknown>, 'get' | 'retryNow' | 'close' | 'state'>
  readonly synced: Promise<void>
  readonly table: Table<unknown>
  /** Undefined: there has been no answer yet. */
  readability: Readability | undefined
  /** Its table has been what the API server holds. */
  wasRead: boolean
}

export class CiliumSources {
  readonly clusterConfigs = new Table<CiliumClusterConfig>({ name: 'cluster configs', equals: equalRows })
  readonly peerConfigs = new Table<CiliumPeerConfig>({ name: 'peer configs', equals: equalRows })
  readonly advertisements = new Table<CiliumAdvertisement>({ name: 'advertisements', equals: equalRows })
  readonly pools = new Table<CiliumAddressPool>({ name: 'address pools', equals: equalRows })
  readonly overrides = new Table<CiliumNodeOverride>({ name: 'node overrides', equals: equalRows })
  readonly #options: CiliumSourcesOptions
  readonly #memory: CiliumMemory
  /** By the kind's plural. */
  readonly #followed = new Map<string, Followed>()
  #absent: AbsentKinds | undefined
  #hadProblems = false

  constructor(options: CiliumSourcesOptions) {
    this.#options = options
    this.#memory = new CiliumMemory(options.stateDirectory)
    this.#follow(BGP_CLUSTER_CONFIGS, toClusterConfig, this.clusterConfigs)
  }

  #follow<T extends ApiObject, Row>(
    resource: Resource<T>,
    project: (object: T) => Row,
    table: Table<Row>,
  ): void {
    const { client, log, startDelayMs, pollMs = POLL_MS } = this.#options
    const { plural } = resource
    const { watch, synced } = follow({
      ...{ client, log, startDelayMs, resource, project, table },
      isOptional: true,
      forbiddenRetryMs: FORBIDDEN_POLLS * pollMs,
      onReadability: (now) => this.#noteReadability(plural, now),
    })
    const followed = { resource, watch, synced, table, readability: undefined, wasRead: false }
    this.#followed.set(plural, followed as unknown as Followed)
  }

  /** The other kinds too, from now on. @returns whether they were not followed before */
  followAll(): boolean {
    if (this.#followed.size > 1) return false
    // A kind that was absent is asked for again only after minutes; whoever wants all of them now has likely just made it.
    const clusterConfigs = this.#followed.get(BGP_CLUSTER_CONFIGS.plural)
    if (clusterConfigs?.watch.state.phase === 'waiting') {
      clusterConfigs.watch.close()
      this.#follow(BGP_CLUSTER_CONFIGS, toClusterConfig, this.clusterConfigs)
    }
    this.#follow(BGP_PEER_CONFIGS, toPeerConfig, this.peerConfigs)
    this.#follow(BGP_ADVERTISEMENTS, toAdvertisement, this.advertisements)
    this.#follow(LOAD_BALANCER_IP_POOLS, toAddressPool, this.pools)
    this.#follow(BGP_NODE_CONFIG_OVERRIDES, toNodeOverride, this.overrides)
    this.#absent = new AbsentKinds({
      client: this.#options.client,
      absent: () => this.#kindsThatAre('absent'),
      onFound: ({ plural }) => this.#followed.get(plural)?.watch.retryNow(),
      pollMs: this.#options.pollMs,
    })
    return true
  }

  /** Resolves once every table that is followed now holds what the API server held. */
  get synced(): Promise<void> {
    return Promise.all([...this.#followed.values()].map(({ synced }) => synced)).then(() => {})
  }

  readers(): ChangeReader[] {
    const { clusterConfigs, peerConfigs, advertisements, overrides, pools } = this
    return [clusterConfigs, peerConfigs, advertisements, overrides, pools].map((table) => table.reader())
  }

  get objects(): CiliumObjects {
    const values = <Row extends { readonly name: string }>(table: Table<Row>) =>
      [...table.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
    return {
      clusterConfigs: values(this.clusterConfigs),
      peerConfigs: values(this.peerConfigs),
      advertisements: values(this.advertisements),
      overrides: values(this.overrides),
    }
  }

  /** The API server does not let us read the pools: those here are what they were, if they were ever read. */
  get arePoolsUnreadable(): boolean {
    return this.#followed.get(LOAD_BALANCER_IP_POOLS.plural)?.readability === 'forbidden'
  }

  /** Kinds that cannot be followed, and why; nothing while one has not been answered for, so that all are told of together. */
  get problems(): readonly RoutingProblem[] {
    if ([...this.#followed.values()].some(({ readability }) => readability === undefined)) return []
    return [
      absentProblem(this.#kindsThatAre('absent').map(nameOf)),
      forbiddenProblem(this.#kindsThatAre('forbidden').map(nameOf)),
    ].flat()
  }

  /** For a time when they may not be read. Throws when it cannot be written. */
  remember(): void {
    const kept = [...this.#followed].flatMap(([plural, { readability, wasRead, table }]) => {
      if (readability === 'absent') return []
      return [[plural, wasRead ? [...table.entries()] : this.#memory.recall(plural)] as const]
    })
    this.#memory.keep(Object.fromEntries(kept))
  }

  close(): void {
    this.#absent?.close()
    for (const { watch } of this.#followed.values()) watch.close()
  }

  #kindsThatAre(wanted: Readability): Resource[] {
    return [...this.#followed.values()].flatMap(({ readability, resource }) =>
      readability === wanted ? [resource] : [],
    )
  }

  #noteReadability(plural: string, now: Readability): void {
    const followed = this.#followed.get(plural)
    if (followed === undefined) return
    followed.readability = now
    const { table, watch } = followed
    if (now === 'readable' && !followed.wasRead) {
      followed.wasRead = true
      for (const [key] of [...table.entries()]) if (watch.get(key) === undefined) table.delete(key)
    } else if (!followed.wasRead) {
      for (const [key] of [...table.entries()]) table.delete(key)
      if (now === 'forbidden') for (const [key, row] of this.#memory.recall(plural)) table.set(key, row)
    }
    const hasProblems = this.#followed.size > 1 && this.problems.length > 0
    if (this.#hadProblems && !hasProblems) this.#options.log.info("Cilium's kinds can be read now")
    this.#hadProblems = hasProblems
    this.#options.onReadability?.()
  }
}

const SOURCE = 'routing.sources.cilium'

/** As CRDs are named. */
function nameOf({ plural }: Resource): string {
  return `${plural}.${GROUP}`
}

/** Without these there are no sessions. Pools and overrides are for who wants them, and their absence alone is no problem. */
const NEEDED = [BGP_CLUSTER_CONFIGS, BGP_PEER_CONFIGS, BGP_ADVERTISEMENTS].map(nameOf)

function absentProblem(kinds: readonly string[]): RoutingProblem[] {
  if (!kinds.some((kind) => NEEDED.includes(kind))) return []
  const what = kinds.length === 1 ? 'kind' : 'kinds'
  const why =
    `the cluster has no ${what} ${kinds.join(', ')}: nothing of that is followed. ` +
    "Mend: install Cilium's CRDs with version v2, which are noticed within seconds, or turn this source off"
  return [{ source: SOURCE, why }]
}

function forbiddenProblem(kinds: readonly string[]): RoutingProblem[] {
  if (kinds.length === 0) return []
  const hasPools = kinds.some((kind) => kind.startsWith(LOAD_BALANCER_IP_POOLS.plural))
  const held = hasPools ? ', and no address that may be of a pool is given or taken' : ''
  const why =
    `this agent may not list ${kinds.join(', ')}: what was last read of them stays in force${held}. ` +
    "Mend: grant the agents' role list and watch of them (manifests/base/rbac.yaml)"
  return [{ source: SOURCE, why }]
}
