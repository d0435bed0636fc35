// The conditions that Cilium's operator writes on its BGP kinds, as they should stand. Pure.

import type {
  CiliumClusterConfig,
  CiliumCondition,
  CiliumObject,
  CiliumObjects,
  CiliumPeerConfig,
} from '../../model/cilium.ts'
import type { Node } from '../../model/service.ts'
import { configsOf } from './cilium.ts'

export interface WantedConditions {
  readonly kind: 'CiliumBGPClusterConfig' | 'CiliumBGPPeerConfig'
  readonly name: string
  /** All of ours; one whose status stays keeps the time it has had. */
  readonly conditions: readonly CiliumCondition[]
}

export interface ConditionFacts {
  readonly objects: CiliumObjects
  readonly nodes: readonly Node[]
  /** Whether a Secret is there; undefined: nobody knows, and nothing is said of it. */
  readonly hasSecret: (name: string) => boolean | undefined
  /** RFC 3339. */
  readonly now: string
}

/** Of objects whose conditions say something else than they should. */
export function wantedConditions(facts: ConditionFacts): readonly WantedConditions[] {
  const { objects, nodes, hasSecret, now } = facts
  const claims = nodes.map((node) => configsOf(objects.clusterConfigs, node))
  return [
    ...objects.clusterConfigs.flatMap((config) =>
      wanted('CiliumBGPClusterConfig', config, clusterConditions(config, objects.peerConfigs, claims), now),
    ),
    ...objects.peerConfigs.flatMap((config) =>
      wanted('CiliumBGPPeerConfig', config, peerConditions(config, hasSecret), now),
    ),
  ]
}

type Said = readonly [type: string, isTrue: boolean, message: string]

function clusterConditions(
  config: CiliumClusterConfig,
  peerConfigs: readonly CiliumPeerConfig[],
  claims: readonly (readonly CiliumClusterConfig[])[],
): readonly Said[] {
  const mine = claims.filter((configs) => configs.includes(config))
  const rivals = new Set(
    mine.flatMap((configs) => configs.filter((one) => one !== config).map(({ name }) => name)),
  )
  const named = config.instances.flatMap(({ peers }) => peers.flatMap(({ peerConfig }) => peerConfig ?? []))
  const missing = new Set(named.filter((name) => !peerConfigs.some((one) => one.name === name)))
  return [
    ['NoMatchingNode', mine.length === 0, 'No node matches spec.nodeSelector'],
    ['MissingPeerConfigs', missing.size > 0, `Referenced CiliumBGPPeerConfigs are missing: ${list(missing)}`],
    [
      'ConflictingClusterConfig',
      rivals.size > 0,
      `Selects nodes that ${list(rivals)} selects too; the oldest is followed`,
    ],
  ]
}

function peerConditions(config: CiliumPeerConfig, hasSecret: ConditionFacts['hasSecret']): readonly Said[] {
  const { authSecret } = config
  const isThere = authSecret === undefined ? true : hasSecret(authSecret)
  if (isThere === undefined) return []
  return [
    ['MissingAuthSecret', !isThere, `The Secret '${authSecret ?? ''}' of spec.authSecretRef is missing`],
  ]
}

function list(names: ReadonlySet<string>): string {
  return [...names].sort().join(', ')
}

function wanted(
  kind: WantedConditions['kind'],
  object: CiliumObject,
  said: readonly Said[],
  now: string,
): WantedConditions[] {
  let isDifferent = false
  const conditions = said.map(([name, isTrue, message]): CiliumCondition => {
    const type = `cilium.io/${name}`
    const status = isTrue ? 'True' : 'False'
    const had = object.conditions.find((one) => one.type === type)
    const one = {
      type,
      status,
      reason: name,
      message: isTrue ? message : '',
      observedGeneration: object.generation,
    }
    isDifferent ||=
      had?.status !== status ||
      had.message !== one.message ||
      had.observedGeneration !== one.observedGeneration
    return { ...one, lastTransitionTime: had?.status === status ? had.lastTransitionTime : now }
  })
  return isDifferent ? [{ kind, name: object.name, conditions }] : []
}
