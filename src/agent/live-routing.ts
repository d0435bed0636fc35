// Everything that makes this node's routing change while the agent runs: the file, a candidate on trial, Node objects, Cilium's kinds,
// passwords. Whoever wants to know has `config` (its `routing` and `pools` are always those in force), `sources.current`, and onChange.

import type { Logger } from 'pino'
import type { KubeClient } from '../kube/client.ts'
import type { EventRecorder } from '../kube/events.ts'
import { FAMILIES, familyOf, type Prefix } from '../model/address.ts'
import type { CiliumAddressPool } from '../model/cilium.ts'
import { inOneLine } from '../model/one-line.ts'
import type { NodeRouting } from '../model/routing.ts'
import type { RoutingProblem } from '../routing/sources/node-facts.ts'
import { equalRows } from '../tables/equal-rows.ts'
import { rememberRouting } from './boot-routing.ts'
import { CiliumSources } from './cilium-sources.ts'
import type { AgentConfig } from './config.ts'
import { type CandidateStatus, ConfigCandidate } from './config-candidate.ts'
import { ConfigFile, type ConfigFileStatus, type LoadedConfig } from './config-file.ts'
import { ownIdentity } from './own-node.ts'
import { nodeObject } from './report-problems.ts'
import { RoutingSources, type RoutingSourcesStatus } from './routing-sources.ts'
import { SecretStore } from './secrets.ts'
import type { Sources } from './sources.ts'

/** What Kubernetes takes for an Event's message, and some room. */
const MESSAGE_MAX = 1000

export interface ConfigInForceOptions {
  readonly file: string
  readonly loaded: LoadedConfig
  readonly log: Logger
}

const refusalEvent = (message: string) => `${inOneLine(message)}. The last good configuration stays in force`

type Tell = (type: 'Normal' | 'Warning', reason: string, message: string) => void

/** The configuration, before anything else is there to be told of its changes. */
export class ConfigInForce {
  readonly file: ConfigFile
  readonly candidate: ConfigCandidate
  /** `routing` and `pools` are those in force whenever they are read; the rest is as the agent started. */
  readonly config: AgentConfig
  readonly #listeners = new Set<() => void>()
  #tell: Tell = () => {}

  /** The state directory must be there. */
  constructor({ file, loaded, log }: ConfigInForceOptions) {
    const tell: Tell = (type, reason, message) => this.#tell(type, reason, message)
    this.file = new ConfigFile({
      file,
      loaded,
      onTaken: () => {
        log.info({ file }, 'the configuration changed; routing and pools are taken live')
        this.candidate.fileChanged()
      },
      onRefused: ({ message }) => {
        log.error({ file }, `${message}\nthe last good configuration stays in force`)
        tell('Warning', 'ConfigRefused', refusalEvent(message))
      },
      onWaiting: (keys) => {
        const text = `${file}: changes of ${keys.join(', ')} wait for a restart of the agent`
        log.warn({ file }, text)
        tell('Warning', 'ConfigNeedsRestart', text)
      },
      onUnkept: (error) =>
        log.warn({ err: error }, 'no copy of the configuration was kept for the next start'),
    })
    this.candidate = new ConfigCandidate({
      stateDirectory: loaded.config.stateDirectory,
      file: () => ({ config: this.file.current, text: this.file.text }),
      onChange: (_, why) => {
        log.info({ why }, 'another routing is in force')
        tell('Normal', 'RoutingChanged', `The routing of this node is another one: ${why}`)
        for (const listener of this.#listeners) listener()
      },
    })
    const { candidate } = this
    this.config = {
      ...loaded.config,
      get routing() {
        return candidate.config.routing
      },
      get pools() {
        return candidate.config.pools
      },
    }
    const { refused } = loaded
    if (refused) log.error({ file }, `${refused.message}\nstarted with the last good configuration`)
  }

  onChange(listener: () => void): void {
    this.#listeners.add(listener)
  }

  /** Events need a client, which comes later. */
  tellBy(tell: Tell): void {
    this.#tell = tell
    const { refused } = this.file.status
    if (refused) tell('Warning', 'ConfigRefused', refusalEvent(refused.message))
  }

  close(): void {
    this.file.close()
    this.candidate.close()
  }
}

export interface LiveRoutingOptions {
  readonly inForce: ConfigInForce
  readonly client: KubeClient
  readonly events: Pick<EventRecorder, 'record'>
  readonly sources: Pick<Sources, 'nodes'>
  readonly startDelayMs: number
  readonly log: Logger
  /** Between two looks for kinds that are absent. */
  readonly pollMs?: number
}

export interface LiveRoutingStatus extends RoutingSourcesStatus {
  readonly file: ConfigFileStatus
  readonly candidate: CandidateStatus | undefined
  /** What of the routing in force only a restart can take, where the file did not bring it. */
  readonly waitForRestart: readonly {
    readonly by: 'candidate' | 'objects'
    readonly keys: readonly string[]
  }[]
}

export class LiveRouting {
  readonly sources: RoutingSources
  readonly secrets: SecretStore
  readonly #inForce: ConfigInForce
  readonly cilium: CiliumSources
  readonly #tunnelEnds: string
  /** The first routing with this node known: what gobgpd was started as. */
  #first: NodeRouting | undefined
  readonly #onSecret = new Set<() => void>()
  readonly #log: Pick<Logger, 'warn'>
  /** What of the configuration counts: one that follows Cilium's objects does so only when they are known. */
  #counting: Pick<AgentConfig, 'routing' | 'pools'>
  #isCiliumKnown = false
  #known: Promise<void>
  #isClosed = false

  constructor({ inForce, client, events, sources, startDelayMs, log, pollMs }: LiveRoutingOptions) {
    const { config } = inForce
    const { nodeName, stateDirectory } = config
    const tell: Tell = (type, reason, message) =>
      events.record(nodeObject(nodeName), type, reason, message.slice(0, MESSAGE_MAX))
    this.#inForce = inForce
    this.#log = log
    this.#counting = { routing: config.routing, pools: config.pools }
    inForce.tellBy(tell)
    this.#tunnelEnds = tunnelEnds(ownIdentity(config).loopbacks)
    this.cilium = new CiliumSources({
      ...{ client, log, startDelayMs, stateDirectory },
      ...(pollMs === undefined ? {} : { pollMs }),
      onReadability: () => this.sources.readabilityChanged(),
    })
    this.#known = this.cilium.synced
    this.#followCilium()
    this.secrets = new SecretStore({
      client,
      log,
      onChange: () => {
        for (const listener of this.#onSecret) listener()
      },
    })
    this.sources = new RoutingSources({
      nodeName,
      stateDirectory,
      config: () => this.#counting,
      nodes: sources.nodes,
      cilium: () => this.cilium.objects,
      ciliumPools: () => this.cilium.pools.values(),
      ciliumReaders: this.cilium.readers(),
      ciliumProblems: () => this.cilium.problems,
      arePoolsUnreadable: () => this.cilium.arePoolsUnreadable,
      onProblem: ({ source, why }: RoutingProblem) => {
        log.warn({ source }, `routing: ${source}: ${why}`)
        tell('Warning', 'RoutingProblem', `${source}: ${why}`)
      },
    })
    this.#note()
    this.sources.onChange(() => this.#note())
    inForce.onChange(() => this.#takeConfig())
  }

  /** Resolves once Cilium's objects are known, where they are followed, and the routing is what they say. */
  get synced(): Promise<void> {
    return this.#known.then(() => this.#takeConfig())
  }

  /** Else everything that Cilium's objects give, peers and pools, would go, or would not be there yet when others' go. */
  #takeConfig(): void {
    if (this.#isClosed) return
    const { routing, pools } = this.#inForce.config
    this.#followCilium()
    if (routing.sources.cilium.enabled && !this.#isCiliumKnown) return
    this.#counting = { routing, pools }
    this.sources.configChanged()
    this.#rememberCilium()
  }

  /** Where Cilium's passwords are; undefined: its kinds are no source. */
  get ciliumSecrets(): string | undefined {
    const { enabled, secretsNamespace } = this.#inForce.config.routing.sources.cilium
    return enabled ? secretsNamespace : undefined
  }

  /** Cilium's pools as they stand; empty where they are not followed, or cannot be. */
  get ciliumPools(): ReadonlyMap<string, CiliumAddressPool> {
    const { enabled } = this.#inForce.config.routing.sources.cilium
    return new Map(enabled && !this.cilium.arePoolsUnreadable ? this.cilium.pools.entries() : [])
  }

  /** A Secret with a password is another one. */
  onSecret(listener: () => void): void {
    this.#onSecret.add(listener)
  }

  status(): LiveRoutingStatus {
    const { file, candidate } = this.#inForce
    const waiting = this.#restartKeys(this.sources.current)
    const ofFile =
      waiting.length > 0 && file.hasOtherRouting
        ? this.#restartKeys(this.sources.plan(file.current).routing).filter((key) => waiting.includes(key))
        : []
    const keys = waiting.filter((key) => !ofFile.includes(key))
    const by = candidate.status === undefined ? 'objects' : 'candidate'
    return {
      ...this.sources.status(),
      file: { ...file.status, waitForRestart: [...file.status.waitForRestart, ...ofFile] },
      candidate: candidate.status,
      waitForRestart: keys.length === 0 ? [] : [{ by, keys }],
    }
  }

  /** What of a routing tunnels and gobgpd took at their start. */
  #restartKeys(routing: NodeRouting | undefined): readonly string[] {
    if (routing === undefined) return []
    const isMoved = tunnelEnds(routing.loopbacks) !== this.#tunnelEnds
    return [
      ...(isMoved ? ['routing.loopbacks (where tunnels end)'] : []),
      ...this.daemonKeys(routing).map((key) => `${key} (of gobgpd)`),
    ]
  }

  /** Keys that gobgpd takes at its start alone, and that are others than then. */
  daemonKeys(next: NodeRouting): readonly string[] {
    const first = this.#first
    if (first === undefined) return []
    return (['asn', 'routerId', 'listen'] as const)
      .filter((key) => !equalRows(first[key], next[key]))
      .map((key) => `routing.${key}`)
  }

  close(): void {
    this.#isClosed = true
    this.#inForce.close()
    this.sources.close()
    this.cilium.close()
    this.secrets.close()
  }

  #rememberCilium(): void {
    if (!this.#isCiliumKnown || !this.#inForce.config.routing.sources.cilium.enabled) return
    try {
      this.cilium.remember()
    } catch (error) {
      this.#log.warn(
        { err: error },
        "Cilium's objects were not written down for a time when they cannot be read",
      )
    }
  }

  #note(): void {
    const { current, isSelfKnown } = this.sources
    this.#followSecrets(current)
    this.#rememberCilium()
    if (!isSelfKnown || current === undefined) return
    this.#first ??= current
    try {
      rememberRouting(this.#inForce.config.stateDirectory, current)
    } catch (error) {
      this.#log.warn({ err: error }, 'the routing was not written down for the next start of gobgpd')
    }
  }

  #followCilium(): void {
    if (!this.#inForce.config.routing.sources.cilium.enabled || !this.cilium.followAll()) return
    this.#known = this.cilium.synced.then(() => {
      this.#isCiliumKnown = true
      this.#takeConfig()
    })
  }

  #followSecrets(routing: NodeRouting | undefined): void {
    const peers = routing?.peers ?? []
    this.secrets.follow(peers.flatMap(({ password }) => (password?.kind === 'secret' ? [password] : [])))
  }
}

/** The first loopback of each family. */
function tunnelEnds(loopbacks: readonly Prefix[]): string {
  return FAMILIES.map((family) => loopbacks.find((prefix) => familyOf(prefix) === family) ?? '').join()
}
