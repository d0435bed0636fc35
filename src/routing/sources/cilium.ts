// Cilium's BGP kinds → this node's part of the routing, as its operator and agent read them. Pure. What differs on purpose, and is told
// of: one AS number to a node (several instances of it are one), no aggregates, nothing of pod pools.

import { familyOf, parseAddress } from '../../model/address.ts'
import type { CiliumClusterConfig, CiliumObjects, CiliumPeerConfig } from '../../model/cilium.ts'
import { selectorMatches } from '../../model/label-selector.ts'
import type { BgpPeer } from '../../model/routing.ts'
import type { Node } from '../../model/service.ts'
import { advertisedTo } from './cilium-advertisements.ts'
import type { NodeFacts, RoutingPart, RoutingProblem } from './node-facts.ts'

export interface CiliumSettings {
  readonly enabled: boolean
  /** Where Secrets of passwords are. */
  readonly secretsNamespace: string
}

type Instance = CiliumClusterConfig['instances'][number]
type InstancePeer = Instance['peers'][number]

export function ciliumPart(
  settings: CiliumSettings,
  objects: CiliumObjects,
  { self }: NodeFacts,
): RoutingPart {
  const problems: RoutingProblem[] = []
  const refuse = (source: string, why: string) => void problems.push({ source, why })
  const config = chosenConfig(objects.clusterConfigs, self, refuse)
  if (config === undefined) return { source: 'cilium', peers: [], rules: [], problems }
  const override = objects.overrides.find(({ name }) => name === self.name)
  for (const { name } of override?.instances ?? [])
    if (!config.instances.some((one) => one.name === name))
      refuse(`CiliumBGPNodeConfigOverride ${self.name}`, `${config.name} has no instance '${name}'`)
  const reader = new InstanceReader({ settings, objects, config, override, refuse })
  const instances = config.instances.map((instance) => reader.identify(instance))
  const lead = instances.find(({ asn }) => asn !== undefined)
  if (lead?.asn === undefined) return { source: 'cilium', peers: [], rules: [], problems }
  const followed = instances.filter((one) => {
    if (one.asn === lead.asn) return true
    if (one.asn !== undefined)
      refuse(
        one.source,
        `is of AS ${one.asn}, but this node is of AS ${lead.asn} already; it is not followed`,
      )
    return false
  })
  const peers = followed.flatMap(({ instance, source }) => reader.peers(instance, source))
  const port = followed.find(({ localPort }) => localPort !== undefined)?.localPort
  const routerId = followed.find((one) => one.routerId !== undefined)?.routerId
  return {
    source: 'cilium',
    asn: lead.asn,
    ...(routerId === undefined ? {} : { routerId }),
    ...(port === undefined ? {} : { listen: { port, addresses: [] } }),
    peers: peers.map(({ peer }) => peer),
    // Of several that hit a prefix the greatest local-pref counts: the last.
    rules: peers
      .flatMap(({ peer, config }) => advertisedTo(peer, config, objects.advertisements, refuse))
      .sort((a, b) => (a.attributes.localPref ?? -1) - (b.attributes.localPref ?? -1)),
    problems: distinct(problems),
  }
}

/** Of several that select this node the oldest; the others say so. */
function chosenConfig(
  configs: readonly CiliumClusterConfig[],
  self: Node,
  refuse: (source: string, why: string) => void,
): CiliumClusterConfig | undefined {
  const [chosen, ...others] = configsOf(configs, self)
  for (const { name } of others)
    refuse(
      `CiliumBGPClusterConfig ${name}`,
      `selects this node too; ${chosen?.name} is older and followed alone`,
    )
  return chosen
}

/** Those that select a node, the oldest first. */
export function configsOf(
  configs: readonly CiliumClusterConfig[],
  node: Node,
): readonly CiliumClusterConfig[] {
  return configs
    .filter(({ nodeSelector }) => nodeSelector === undefined || selectorMatches(nodeSelector, node.labels))
    .sort((a, b) => a.createdMs - b.createdMs || (a.name < b.name ? -1 : 1))
}

interface InstanceContext {
  readonly settings: CiliumSettings
  readonly objects: CiliumObjects
  readonly config: CiliumClusterConfig
  readonly override: CiliumObjects['overrides'][number] | undefined
  readonly refuse: (source: string, why: string) => void
}

interface Identified {
  readonly instance: Instance
  readonly source: string
  readonly asn: number | undefined
  readonly routerId: string | undefined
  readonly localPort: number | undefined
}

class InstanceReader {
  readonly #context: InstanceContext

  constructor(context: InstanceContext) {
    this.#context = context
  }

  identify(instance: Instance): Identified {
    const { config, refuse } = this.#context
    const source = `CiliumBGPClusterConfig ${config.name}, instance ${instance.name}`
    const override = this.#overrideOf(instance)
    const asn = override?.localAsn ?? instance.localAsn
    if (asn === undefined)
      refuse(source, 'has no localASN; write one, there or in a CiliumBGPNodeConfigOverride')
    const parsed = parseAddress(override?.routerId ?? '')
    if (override?.routerId !== undefined && (parsed === undefined || familyOf(parsed) !== 'ipv4'))
      refuse(
        `CiliumBGPNodeConfigOverride ${this.#context.override?.name}`,
        `routerID '${override.routerId}' is no IPv4 address`,
      )
    const routerId = parsed !== undefined && familyOf(parsed) === 'ipv4' ? parsed : undefined
    return { instance, source, asn, routerId, localPort: override?.localPort ?? instance.localPort }
  }

  #overrideOf({ name }: Instance) {
    return this.#context.override?.instances.find((one) => one.name === name)
  }

  peers(instance: Instance, at: string): readonly { peer: BgpPeer; config: CiliumPeerConfig }[] {
    return instance.peers.flatMap((given) => {
      const source = `${at}, peer ${given.name}`
      const config = this.#peerConfig(given, source)
      const peer = config && this.#toPeer(instance, given, config, source)
      return peer && config ? [{ peer, config }] : []
    })
  }

  #peerConfig({ peerConfig }: InstancePeer, source: string): CiliumPeerConfig | undefined {
    const { objects, refuse } = this.#context
    if (peerConfig === undefined) {
      refuse(source, 'has no peerConfigRef; without one nothing is advertised')
      return undefined
    }
    const found = objects.peerConfigs.find(({ name }) => name === peerConfig)
    if (found === undefined) refuse(source, `CiliumBGPPeerConfig ${peerConfig} does not exist`)
    return found
  }

  #toPeer(
    instance: Instance,
    given: InstancePeer,
    config: CiliumPeerConfig,
    source: string,
  ): BgpPeer | undefined {
    const { settings, refuse } = this.#context
    const address = parseAddress(given.address ?? '')
    if (given.autoDiscovery !== undefined)
      refuse(source, `autoDiscovery ${given.autoDiscovery} is not followed; write peerAddress`)
    else if (address === undefined)
      refuse(source, `peerAddress '${given.address ?? ''}' is not an IP address`)
    if (address === undefined) return undefined
    if (
      config.holdSeconds < 3 ||
      config.keepaliveSeconds < 1 ||
      config.keepaliveSeconds >= config.holdSeconds
    ) {
      refuse(
        `CiliumBGPPeerConfig ${config.name}`,
        'timers: holdTimeSeconds must be at least 3, and keepAliveTimeSeconds less',
      )
      return undefined
    }
    if (config.sourceInterface !== undefined)
      refuse(
        `CiliumBGPPeerConfig ${config.name}`,
        'transport.sourceInterface is not followed; write localAddress in a CiliumBGPNodeConfigOverride',
      )
    const families = this.#families(config)
    const localAddress = this.#localAddress(instance, given, address)
    return {
      name: `${instance.name}/${given.name}`,
      source,
      remote: { kind: 'address', address },
      asn: given.asn === 0 ? 'external' : given.asn,
      port: config.port,
      ...(localAddress === undefined ? {} : { localAddress }),
      families,
      ...(config.authSecret === undefined
        ? {}
        : {
            password: {
              kind: 'secret',
              namespace: settings.secretsNamespace,
              name: config.authSecret,
              key: 'password',
            },
          }),
      timers: {
        holdSeconds: config.holdSeconds,
        keepaliveSeconds: config.keepaliveSeconds,
        connectRetrySeconds: config.connectRetrySeconds,
      },
      ...(config.multihop > 1 ? { multihopTtl: config.multihop } : {}),
      ...(config.restartSeconds === undefined
        ? {}
        : { gracefulRestart: { restartSeconds: config.restartSeconds } }),
    }
  }

  #families(config: CiliumPeerConfig) {
    const { refuse } = this.#context
    const named = (['ipv4', 'ipv6'] as const).filter((family) =>
      config.families.some(({ afi, safi }) => afi === family && safi === 'unicast'),
    )
    for (const { afi, safi } of config.families)
      if (safi !== 'unicast' || (afi !== 'ipv4' && afi !== 'ipv6'))
        refuse(`CiliumBGPPeerConfig ${config.name}`, `family ${afi}/${safi} is not followed`)
    return named
  }

  #localAddress(instance: Instance, { name }: InstancePeer, address: string) {
    const { override, refuse } = this.#context
    const given = this.#overrideOf(instance)?.peers.find((one) => one.name === name)
    const source = `CiliumBGPNodeConfigOverride ${override?.name}`
    if (given?.localPort !== undefined) refuse(source, `localPort of peer ${name} is not followed`)
    if (given?.localAddress === undefined) return undefined
    const parsed = parseAddress(given.localAddress)
    if (parsed !== undefined && familyOf(parsed) === (address.includes(':') ? 'ipv6' : 'ipv4')) return parsed
    refuse(source, `localAddress '${given.localAddress}' of peer ${name} is no address of its family`)
    return undefined
  }
}

/** Peers that share a config would say the same of it. */
function distinct(problems: readonly RoutingProblem[]): readonly RoutingProblem[] {
  return [...new Map(problems.map((one) => [`${one.source}\n${one.why}`, one])).values()]
}
