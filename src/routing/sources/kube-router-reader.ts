// Reading one node's annotations of kube-router: by their last names, with what is wrong with them gathered.

import { type Prefix, parseNetwork } from '../../model/address.ts'
import { nearMatches } from '../../model/near-matches.ts'
import type { Node } from '../../model/service.ts'
import type { RoutingProblem } from './node-facts.ts'

export interface KubeRouterSettings {
  readonly enabled: boolean
  readonly clusterAsn: number
  readonly nodesFullMesh: boolean
  readonly enableIbgp: boolean
  readonly advertisePodCidr: boolean
  readonly advertiseClusterIp: boolean
  readonly advertiseExternalIp: boolean
  readonly advertiseLoadBalancerIp: boolean
  readonly bgpPort: number
  readonly holdSeconds: number
  readonly multihopTtl?: number | undefined
  readonly gracefulRestartSeconds: number
}

export const KUBE_ROUTER_PREFIX = 'kube-router.io/'

const KNOWN = [
  'node.asn',
  'peers',
  'peer.ips',
  'peer.asns',
  'peer.ports',
  'peer.passwords',
  'peer.localips',
  'rr.server',
  'rr.client',
  'path-prepend.as',
  'path-prepend.repeat-n',
  'node.bgp.communities',
  'node.bgp.customimportreject',
  'bgp-local-addresses',
  'pod-cidr',
  'pod-cidrs',
] as const

export type KubeRouterAnnotation = (typeof KNOWN)[number]

/** One node's annotations, read by their last names; what is wrong with them gathers in `problems`. */
export class KubeRouterReader {
  readonly #annotations: Readonly<Record<string, string>>
  readonly problems: RoutingProblem[] = []

  constructor({ annotations }: Node) {
    this.#annotations = annotations
  }

  text(name: KubeRouterAnnotation): string | undefined {
    return this.#annotations[`${KUBE_ROUTER_PREFIX}${name}`]?.trim() || undefined
  }

  list(name: KubeRouterAnnotation): readonly string[] {
    return (
      this.text(name)
        ?.split(',')
        .map((one) => one.trim()) ?? []
    )
  }

  refuse(name: KubeRouterAnnotation, why: string): void {
    this.problems.push({ source: sourceOf(name), why })
  }

  networks(name: KubeRouterAnnotation): readonly Prefix[] {
    return this.list(name).flatMap((text) => {
      const parsed = parseNetwork(text)
      if (parsed === undefined) this.refuse(name, `'${text}' is not a network; write one like 10.0.0.0/8`)
      return parsed ?? []
    })
  }

  /** Annotations that nothing here reads. */
  refuseUnknown(): void {
    for (const key of Object.keys(this.#annotations).sort()) {
      const name = key.slice(KUBE_ROUTER_PREFIX.length)
      if (!key.startsWith(KUBE_ROUTER_PREFIX) || KNOWN.some((known) => known === name)) continue
      const near = nearMatches(name, KNOWN, 1)[0]
      const hint = near === undefined ? '' : ` (did you mean '${near}'?)`
      this.problems.push({ source: `node annotation ${key}`, why: `is not known${hint}` })
    }
  }
}

export function sourceOf(name: KubeRouterAnnotation): string {
  return `node annotation ${KUBE_ROUTER_PREFIX}${name}`
}

const ASN_MAX = 4_294_967_294

export function parseAsn(text: string): number | undefined {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : 0
  return value >= 1 && value <= ASN_MAX ? value : undefined
}
