// Cilium's kinds for BGP (cilium.io/v2), as far as they are followed. Numbers and addresses are still as their authors wrote them: the
// translation (routing/sources/cilium.ts) says what is wrong with them, beside the object's name.

import type { LabelSelector } from './label-selector.ts'

export interface CiliumObject {
  readonly name: string
  readonly uid: string
  readonly generation: number
  readonly createdMs: number
  readonly conditions: readonly CiliumCondition[]
}

export interface CiliumCondition {
  readonly type: string
  readonly status: string
  readonly reason: string
  readonly message: string
  readonly lastTransitionTime: string
  readonly observedGeneration: number
}

export interface CiliumClusterConfig extends CiliumObject {
  /** Undefined: every node. */
  readonly nodeSelector: LabelSelector | undefined
  readonly instances: readonly {
    readonly name: string
    readonly localAsn: number | undefined
    readonly localPort: number | undefined
    readonly peers: readonly {
      readonly name: string
      readonly address: string | undefined
      /** 0: any but ours. */
      readonly asn: number
      readonly autoDiscovery: string | undefined
      readonly peerConfig: string | undefined
    }[]
  }[]
}

export interface CiliumPeerConfig extends CiliumObject {
  readonly port: number
  readonly sourceInterface: string | undefined
  readonly connectRetrySeconds: number
  readonly holdSeconds: number
  readonly keepaliveSeconds: number
  readonly authSecret: string | undefined
  /** Undefined: off. */
  readonly restartSeconds: number | undefined
  readonly multihop: number
  readonly families: readonly {
    readonly afi: string
    readonly safi: string
    /** Of CiliumBGPAdvertisements; undefined: none. */
    readonly advertisements: LabelSelector | undefined
  }[]
}

export interface CiliumAdvertisement extends CiliumObject {
  readonly labels: Readonly<Record<string, string>>
  readonly rows: readonly {
    readonly type: string
    /** Undefined: it selects nothing. */
    readonly selector: LabelSelector | undefined
    /** LoadBalancerIP, ClusterIP, ExternalIP. */
    readonly addresses: readonly string[]
    readonly aggregates: boolean
    readonly interface: string | undefined
    readonly communities: readonly string[]
    readonly localPref: number | undefined
  }[]
}

export interface CiliumNodeOverride extends CiliumObject {
  readonly instances: readonly {
    readonly name: string
    readonly routerId: string | undefined
    readonly localPort: number | undefined
    readonly localAsn: number | undefined
    readonly peers: readonly {
      readonly name: string
      readonly localAddress: string | undefined
      readonly localPort: number | undefined
    }[]
  }[]
}

/** `cilium.io/v2`, CiliumLoadBalancerIPPool. */
export interface CiliumAddressPool extends CiliumObject {
  /** A network, or both ends of a range. */
  readonly blocks: readonly {
    readonly cidr: string | undefined
    readonly start: string | undefined
    readonly stop: string | undefined
  }[]
  /** Of Services; undefined: all. */
  readonly selector: LabelSelector | undefined
  readonly isDisabled: boolean
  readonly allowsFirstLast: boolean
}

export interface CiliumObjects {
  readonly clusterConfigs: readonly CiliumClusterConfig[]
  readonly peerConfigs: readonly CiliumPeerConfig[]
  readonly advertisements: readonly CiliumAdvertisement[]
  /** By the node's name. */
  readonly overrides: readonly CiliumNodeOverride[]
}
