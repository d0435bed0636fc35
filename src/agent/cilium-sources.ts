// Cilium's BGP kinds, followed into tables: all of them where they are a source of routing, else only the one that would say something
// about this node, so that status can name it. API servers that lack the kinds, and roles that do not grant them, hold nothing up.

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
import type {
  CiliumAddressPool,
  CiliumAdvertisement,
  CiliumClusterConfig,
  CiliumNodeOverride,
  CiliumObjects,
  CiliumPeerConfig,
} from '../model/cilium.ts'
import { equalRows } from '../tables/equal-rows.ts'
import { type ChangeReader, Table } from '../tables/table.ts'
import { follow } from './sources.ts'

export interface CiliumSourcesOptions {
  readonly client: KubeClient
  readonly log: Logger
  readonly startDelayMs: number
}

const CLUSTER_CONFIGS = 'ciliumBgpClusterConfigs'

type Followed = Pick<ReturnType<typeof follow>, 'watch' | 'synced'>

export class CiliumSources {
  readonly clusterConfigs = new Table<CiliumClusterConfig>({ name: 'cluster configs', equals: equalRows })
  readonly peerConfigs = new Table<CiliumPeerConfig>({ name: 'peer configs', equals: equalRows })
  readonly advertisements = new Table<CiliumAdvertisement>({ name: 'advertisements', equals: equalRows })
  readonly pools = new Table<CiliumAddressPool>({ name: 'address pools', equals: equalRows })
  readonly overrides = new Table<CiliumNodeOverride>({ name: 'node overrides', equals: equalRows })
  readonly #options: CiliumSourcesOptions
  readonly #followed = new Map<string, Followed>()

  constructor(options: CiliumSourcesOptions) {
    this.#options = options
    this.#followClusterConfigs()
  }

  #followClusterConfigs(): void {
    this.#followed.set(
      CLUSTER_CONFIGS,
      follow({
        ...this.#options,
        isOptional: true,
        resource: BGP_CLUSTER_CONFIGS,
        project: toClusterConfig,
        table: this.clusterConfigs,
      }),
    )
  }

  /** The other kinds too, from now on. @returns whether they were not followed before */
  followAll(): boolean {
    if (this.#followed.size > 1) return false
    // A kind that was absent is asked for again only after minutes; whoever wants all of them now has likely just made it.
    const clusterConfigs = this.#followed.get(CLUSTER_CONFIGS)?.watch
    if (clusterConfigs?.state.phase === 'waiting') {
      clusterConfigs?.close()
      this.#followClusterConfigs()
    }
    const common = { ...this.#options, isOptional: true }
    this.#followed
      .set(
        'ciliumBgpPeerConfigs',
        follow({ ...common, resource: BGP_PEER_CONFIGS, project: toPeerConfig, table: this.peerConfigs }),
      )
      .set(
        'ciliumBgpAdvertisements',
        follow({
          ...common,
          resource: BGP_ADVERTISEMENTS,
          project: toAdvertisement,
          table: this.advertisements,
        }),
      )
      .set(
        'ciliumLoadBalancerIpPools',
        follow({
          ...common,
          resource: LOAD_BALANCER_IP_POOLS,
          project: toAddressPool,
          table: this.pools,
        }),
      )
      .set(
        'ciliumBgpNodeConfigOverrides',
        follow({
          ...common,
          resource: BGP_NODE_CONFIG_OVERRIDES,
          project: toNodeOverride,
          table: this.overrides,
        }),
      )
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

  close(): void {
    for (const { watch } of this.#followed.values()) watch.close()
  }
}
