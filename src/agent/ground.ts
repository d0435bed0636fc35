// What the agent stands on: this node's kernel and network and the API server, as they are found. Nothing is written yet but the
// programs' adoption; whoever comes later is told of the network's changes by the hooks.

import type { Logger } from 'pino'
import type { Way } from '../datapath/default-route.ts'
import { NetworkView } from '../datapath/network-view.ts'
import { EventRecorder } from '../kube/events.ts'
import type { Address } from '../model/address.ts'
import { Netlink } from '../sys/node-netlink/netlink.ts'
import { Nftables } from '../sys/node-netlink/nftables.ts'
import type { AgentConfig } from './config.ts'
import { kubeClient } from './kube-client.ts'
import { type ConfigInForce, LiveRouting } from './live-routing.ts'
import { openDatapath } from './open-datapath.ts'
import { knowOwnNode } from './own-node.ts'
import { OwnPods } from './own-pods.ts'
import { PolicyRulesFile } from './policy-rules-file.ts'
import { PolicySources } from './policy-sources.ts'
import { followSources } from './sources.ts'

const COMPONENT = 'weir'

export interface GroundHooks {
  /** Routers that may be next hops, as far as they are known yet. */
  readonly ways: () => readonly Way[]
  readonly onNetwork: () => void
}

export type Ground = Awaited<ReturnType<typeof openGround>>

/** Rejects when the datapath cannot be loaded or links cannot be read. */
export async function openGround(inForce: ConfigInForce, log: Logger, hooks: GroundHooks) {
  const { config } = inForce
  const { nodeName } = config
  const client = kubeClient(config)
  await knowOwnNode(config, client, log)
  const netlink = new Netlink()
  const datapath = await openDatapath(config, netlink, log)
  log.info('datapath loaded; pinned state adopted')
  const events = new EventRecorder({
    client,
    component: COMPONENT,
    host: config.nodeName,
    onProblem: (error) => log.debug({ err: error }, 'an Event was not written'),
  })
  const startDelayMs = Math.random() * config.kubernetes.startSpreadSeconds * 1000
  const sources = followSources({
    ...{ client, nodeName, log, startDelayMs },
    keepsUnserved: config.policy.enforce,
  })
  const policySources = config.policy.enforce
    ? new PolicySources({ client, nodeName, events, log, startDelayMs })
    : undefined
  const policyRules = policySources && new PolicyRulesFile(config.stateDirectory, log)
  const own = policySources && new OwnPods(nodeName, policySources.pods)
  const network = await openNetwork(config, netlink, log, {
    ...hooks,
    isPod: own && ((address) => own.has(address)),
  })
  own?.onChange(() => network.podsChanged())
  const live = new LiveRouting({ inForce, client, events, sources, startDelayMs, log })
  const nftables = new Nftables()
  const followed = { sources, policySources, policyRules }
  return { config, log, netlink, nftables, datapath, network, client, events, ...followed, live }
}

async function openNetwork(
  config: AgentConfig,
  netlink: Netlink,
  log: Logger,
  { ways, onNetwork, isPod }: GroundHooks & { readonly isPod: ((address: Address) => boolean) | undefined },
): Promise<NetworkView> {
  const network = new NetworkView({
    netlink,
    uplinkNames: config.datapath.uplinks,
    ...{ ways, isPod },
    onChange: onNetwork,
    onProblem: (action, error) => log.warn({ err: error }, `${action} failed`),
  })
  await network.start()
  for (const name of network.missingUplinks())
    log.warn({ uplink: name }, 'there is no such interface yet; check datapath.uplinks')
  return network
}
