// Conditions on Cilium's BGP kinds, by the one agent that holds the Lease, where those kinds are a source of routing: as Cilium's operator
// writes them, so that whoever applied an object sees there what is wrong with it.

import type { Logger } from 'pino'
import { BGP_CLUSTER_CONFIGS, BGP_PEER_CONFIGS } from '../kube/cilium.ts'
import type { KubeClient } from '../kube/client.ts'
import { isKubeError } from '../kube/errors.ts'
import { apiVersionOf, type Resource } from '../kube/objects.ts'
import type { Node } from '../model/service.ts'
import { timeText } from '../model/time-text.ts'
import { Rounds } from '../reconcile/rounds.ts'
import { type WantedConditions, wantedConditions } from '../routing/sources/cilium-conditions.ts'
import type { ChangeReader, Table } from '../tables/table.ts'
import type { CiliumSources } from './cilium-sources.ts'
import { SecretStore } from './secrets.ts'

const SETTLE_MS = 200
const RETRY_MIN_MS = 1_000
const RETRY_MAX_MS = 60_000
/** Another leader, and Secrets that come, are noticed so late at most. */
const LOOK_MS = 5_000
/** Owns what it writes, beside whoever else writes conditions there. */
const FIELD_MANAGER = 'weir'

const RESOURCES: Readonly<Record<WantedConditions['kind'], Resource>> = {
  CiliumBGPClusterConfig: BGP_CLUSTER_CONFIGS,
  CiliumBGPPeerConfig: BGP_PEER_CONFIGS,
}

export interface CiliumStatusOptions {
  readonly client: KubeClient
  readonly cilium: CiliumSources
  readonly nodes: Table<Node>
  /** Undefined: they are no source of routing. */
  readonly secretsNamespace: () => string | undefined
  readonly isLeader: () => boolean
  readonly log: Pick<Logger, 'warn'>
}

export class CiliumStatus {
  readonly #options: CiliumStatusOptions
  readonly #rounds: Rounds
  readonly #readers: readonly ChangeReader[]
  readonly #timer: NodeJS.Timeout
  readonly #secrets: SecretStore

  constructor(options: CiliumStatusOptions) {
    this.#options = options
    const { client, log } = options
    this.#secrets = new SecretStore({ client, log, onChange: () => this.#rounds.request() })
    this.#rounds = new Rounds({
      name: 'cilium conditions',
      settleMs: SETTLE_MS,
      retryMinMs: RETRY_MIN_MS,
      retryMaxMs: RETRY_MAX_MS,
      run: () => this.#round(),
      onError: (error, retryInMs) =>
        log.warn({ err: error, retryInMs }, "conditions of Cilium's BGP objects cannot be written"),
    })
    this.#readers = [...options.cilium.readers(), options.nodes.reader()]
    for (const reader of this.#readers) reader.onChange(() => this.#rounds.request())
    this.#timer = setInterval(() => this.#rounds.request(), LOOK_MS)
    this.#timer.unref()
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    for (const reader of this.#readers) reader.close()
    await this.#rounds.close()
    this.#secrets.close()
  }

  async #round(): Promise<void> {
    for (const reader of this.#readers) reader.take()
    const { cilium, nodes, secretsNamespace, isLeader } = this.#options
    const namespace = secretsNamespace()
    if (namespace === undefined || !isLeader()) {
      this.#secrets.follow([])
      return
    }
    const { objects } = cilium
    const names = new Set(objects.peerConfigs.flatMap(({ authSecret }) => authSecret ?? []))
    this.#secrets.follow([...names].map((name) => ({ namespace, name })))
    const wanted = wantedConditions({
      objects,
      nodes: [...nodes.values()],
      hasSecret: (name) => this.#secrets.has({ namespace, name }),
      now: timeText(Date.now()),
    })
    for (const one of wanted) await this.#write(one)
  }

  async #write({ kind, name, conditions }: WantedConditions): Promise<void> {
    const resource = RESOURCES[kind]
    const object = { apiVersion: apiVersionOf(resource), kind, metadata: { name }, status: { conditions } }
    const options = { kind: 'apply', fieldManager: FIELD_MANAGER, force: true } as const
    try {
      await this.#options.client.patch(resource, { name, subresource: 'status' }, object, options)
    } catch (error) {
      if (!isKubeError(error, 'not-found')) throw error
    }
  }
}
