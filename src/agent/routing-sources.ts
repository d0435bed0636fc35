// Where this node's routing comes from, live: the configuration in force, the Node objects and Cilium's kinds → one NodeRouting, told
// when it differs. What of them is not followed is in the status.

import type { CiliumAddressPool, CiliumObjects } from '../model/cilium.ts'
import type { NodeRouting } from '../model/routing.ts'
import type { Node } from '../model/service.ts'
import type { AddressPool } from '../routing/address-pools.ts'
import { POOL_PREFIXES_MAX } from '../routing/allowed.ts'
import { configsOf } from '../routing/sources/cilium.ts'
import { type JoinedPools, joinPools, takenByNodes } from '../routing/sources/cilium-pools.ts'
import type { FilePool, FileRouting } from '../routing/sources/file.ts'
import { KUBE_ROUTER_PREFIX } from '../routing/sources/kube-router-reader.ts'
import type { MergedRouting } from '../routing/sources/merge.ts'
import { mergeSources } from '../routing/sources/merge-sources.ts'
import type { NodeFacts, RoutingProblem, SourceName } from '../routing/sources/node-facts.ts'
import { nodeKeyProblems } from '../routing/sources/node-keys.ts'
import { equalRows } from '../tables/equal-rows.ts'
import type { ChangeReader, Table } from '../tables/table.ts'
import { ownAddresses } from './config-routing.ts'
import { unknownNode } from './node-routing.ts'
import { rememberedNode, rememberNode } from './own-node.ts'

/** Objects that change together come together. */
const SETTLE_MS = 20

/** What of the configuration counts. */
interface LiveConfig {
  readonly routing: FileRouting
  readonly pools: readonly FilePool[]
}

export interface RoutingSourcesOptions {
  readonly nodeName: string
  readonly stateDirectory: string
  readonly config: () => LiveConfig
  readonly nodes: Table<Node>
  readonly cilium: () => CiliumObjects
  readonly ciliumPools: () => Iterable<CiliumAddressPool>
  /** Changes of Cilium's objects. */
  readonly ciliumReaders: readonly ChangeReader[]
  /** Of Cilium's kinds, those that cannot be followed now; say `readabilityChanged` when they are others. */
  readonly ciliumProblems?: () => readonly RoutingProblem[]
  /** Its pools may not be read now. */
  readonly arePoolsUnreadable?: () => boolean
  readonly onProblem: (problem: RoutingProblem) => void
}

export type RoutingListener = (routing: NodeRouting, pools: readonly AddressPool[]) => void

export interface SourceStatus {
  readonly source: SourceName
  /** `unused`: it says something, and is not enabled. */
  readonly state: 'followed' | 'off' | 'unused'
  readonly detail: string
}

export interface RoutingSourcesStatus {
  readonly sources: readonly SourceStatus[]
  readonly problems: readonly RoutingProblem[]
}

export class RoutingSources {
  readonly #options: RoutingSourcesOptions
  readonly #readers: readonly ChangeReader[]
  readonly #listeners = new Set<RoutingListener>()
  #timer: NodeJS.Timeout | undefined
  #self: Node
  #merged: MergedRouting
  /** The last that said enough. */
  #current: NodeRouting | undefined
  #pools: readonly AddressPool[]
  /** What listeners were told of. */
  #toldPools: readonly AddressPool[]
  #toldAllKnown: boolean
  #areAllKnown: boolean

  constructor(options: RoutingSourcesOptions) {
    this.#options = options
    this.#self = rememberedNode(options.stateDirectory, options.nodeName) ?? unknownNode(options.nodeName)
    this.#pools = this.joinedPools(options.config()).pools
    this.#toldPools = this.#pools
    this.#areAllKnown = this.#mayBeRead()
    this.#toldAllKnown = this.#areAllKnown
    this.#merged = this.plan(options.config())
    this.#current = this.#merged.routing
    this.#readers = [options.nodes.reader(), ...options.ciliumReaders]
    for (const reader of this.#readers) reader.onChange(() => this.#lookSoon())
  }

  /** Undefined: no source has given this node an AS number yet. */
  get current(): NodeRouting | undefined {
    return this.#current
  }

  /** This node's object has been seen, by this agent or one before. */
  get isSelfKnown(): boolean {
    return this.#self.uid !== ''
  }

  /** Those in effect: the file's, and Cilium's where they are followed. Another array means that they differ. */
  get pools(): readonly AddressPool[] {
    return this.#pools
  }

  /** Of the same moment as `pools`. Where it is false, an address that lies in none of them may be of one that cannot be read. */
  get areAllPoolsKnown(): boolean {
    return this.#areAllKnown
  }

  /** What the pools are under another configuration. */
  joinedPools({ routing, pools }: LiveConfig): JoinedPools<FilePool> {
    if (!routing.sources.cilium.enabled) return { pools, problems: [] }
    const own = ownAddresses(routing).map((one) => ({
      range: { first: one, last: one },
      owner: 'a router, or this node',
    }))
    return joinPools({
      file: pools,
      cilium: [...this.#options.ciliumPools()],
      taken: [...own, ...takenByNodes(this.#options.nodes.values())],
      prefixesMax: POOL_PREFIXES_MAX - routing.serviceNetworks.length,
      isUnreadable: this.#options.arePoolsUnreadable?.() ?? false,
    })
  }

  /** Told of every change from now on. */
  onChange(listener: RoutingListener): void {
    this.#listeners.add(listener)
  }

  /** What the routing is under another configuration, with the objects as they are now. */
  plan(config: LiveConfig): MergedRouting {
    const { routing, pools } = config
    const facts = this.#facts()
    const merged = mergeSources({ file: routing, pools, facts, cilium: this.#options.cilium() })
    const problems = [
      ...(routing.sources.cilium.enabled ? (this.#options.ciliumProblems?.() ?? []) : []),
      ...merged.problems,
      ...this.joinedPools(config).problems,
      ...nodeKeyProblems(facts.self),
    ]
    return { ...merged, problems }
  }

  /** The configuration in force is another one. */
  configChanged(): void {
    this.#look()
  }

  /** Other kinds can be read, or not. */
  readabilityChanged(): void {
    this.#lookSoon()
  }

  status(): RoutingSourcesStatus {
    const { sources } = this.#options.config().routing
    return {
      sources: [
        { source: 'file', state: 'followed', detail: 'routing' },
        this.#kubeRouterStatus(sources.kubeRouter.enabled),
        this.#ciliumStatus(sources.cilium.enabled),
      ],
      problems: this.#merged.problems,
    }
  }

  close(): void {
    clearTimeout(this.#timer)
    for (const reader of this.#readers) reader.close()
  }

  #lookSoon(): void {
    this.#timer ??= setTimeout(() => this.#look(), SETTLE_MS)
  }

  #look(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (const reader of this.#readers) reader.take()
    this.#noteSelf()
    const { config, onProblem } = this.#options
    const before = this.#merged
    const { pools } = this.joinedPools(config())
    if (!equalRows(this.#pools, pools)) this.#pools = pools
    this.#areAllKnown = this.#mayBeRead()
    this.#merged = this.plan(config())
    for (const problem of this.#merged.problems)
      if (!before.problems.some((one) => equalRows(one, problem))) onProblem(problem)
    const { routing } = this.#merged
    if (routing === undefined) return
    const isTold = this.#toldPools === this.#pools && this.#toldAllKnown === this.#areAllKnown
    if (isTold && equalRows(this.#current, routing)) return
    this.#current = routing
    this.#toldPools = this.#pools
    this.#toldAllKnown = this.#areAllKnown
    for (const listener of this.#listeners) listener(routing, this.#pools)
  }

  #mayBeRead(): boolean {
    const { config, arePoolsUnreadable } = this.#options
    return !(config().routing.sources.cilium.enabled && arePoolsUnreadable?.())
  }

  /** While its Node object is away, the node is what it was. */
  #noteSelf(): void {
    const { nodes, nodeName, stateDirectory, onProblem } = this.#options
    const self = nodes.get(nodeName)
    if (self === undefined || equalRows(self, this.#self)) return
    this.#self = self
    try {
      rememberNode(stateDirectory, self)
    } catch (error) {
      onProblem({
        source: stateDirectory,
        why: `this node was not written down for the next start: ${error}`,
      })
    }
  }

  #facts(): NodeFacts {
    const { nodes, nodeName } = this.#options
    const others = [...nodes.values()].filter(({ name }) => name !== nodeName)
    return { self: this.#self, others: others.sort((a, b) => (a.name < b.name ? -1 : 1)) }
  }

  #kubeRouterStatus(isEnabled: boolean): SourceStatus {
    const found = Object.keys(this.#self.annotations).filter((key) => key.startsWith(KUBE_ROUTER_PREFIX))
    const detail = found.length === 0 ? 'no annotation of kube-router on this node' : found.join(', ')
    if (isEnabled) return { source: 'kube-router', state: 'followed', detail }
    if (found.length === 0) return { source: 'kube-router', state: 'off', detail }
    const mend = 'not followed: set routing.sources.kubeRouter.enabled if Weir takes over from kube-router'
    return { source: 'kube-router', state: 'unused', detail: `${detail} (${mend})` }
  }

  #ciliumStatus(isEnabled: boolean): SourceStatus {
    const found = configsOf(this.#options.cilium().clusterConfigs, this.#self).map(({ name }) => name)
    const detail =
      found.length === 0
        ? 'no CiliumBGPClusterConfig selects this node'
        : `CiliumBGPClusterConfig ${found.join(', ')}`
    if (isEnabled) return { source: 'cilium', state: 'followed', detail }
    if (found.length === 0) return { source: 'cilium', state: 'off', detail }
    const mend = "not followed: set routing.sources.cilium.enabled if Weir takes over from Cilium's agent"
    return { source: 'cilium', state: 'unused', detail: `${detail} (${mend})` }
  }
}
