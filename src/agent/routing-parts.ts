// Speaker, routing and drain, made and joined.

import type { Logger } from 'pino'
import type { Datapath } from '../datapath/datapath.ts'
import type { KubeClient } from '../kube/client.ts'
import type { EventRecorder } from '../kube/events.ts'
import type { Family } from '../model/address.ts'
import { DRAIN_DEFAULT } from '../model/routing.ts'
import type { Node } from '../model/service.ts'
import { steadyNowMs } from '../model/steady-clock.ts'
import { passwordReader } from '../speaker/passwords.ts'
import type { Netlink } from '../sys/node-netlink/netlink.ts'
import { AnnouncingMemory } from './announcing-memory.ts'
import type { AgentConfig } from './config.ts'
import { DrainFiles } from './drain-files.ts'
import { DrainRequests, writeDrainCondition } from './drain-requests.ts'
import type { LiveRouting } from './live-routing.ts'
import { makeSpeaker } from './make-speaker.ts'
import { type ClientPackets, NodeDrain } from './node-drain.ts'
import { Routing } from './routing.ts'
import { VipMemoryFile } from './vip-memory-file.ts'

export interface RoutingPartsOptions {
  readonly config: AgentConfig
  readonly log: Logger
  readonly netlink: Netlink
  readonly datapath: Pick<Datapath, 'metrics'>
  readonly client: KubeClient
  readonly events: EventRecorder
  readonly live: LiveRouting
  /** This node's own object. */
  readonly node: () => Node | undefined
  /** Families that this node can serve clients in now. */
  readonly served: () => ReadonlySet<Family>
  /** See SpeakerOptions. */
  readonly onSessions: (established: ReadonlyMap<string, boolean>) => void
}

export interface RoutingParts {
  readonly routing: Routing
  readonly drain: NodeDrain
  readonly drainRequests: DrainRequests
}

export function makeRouting(options: RoutingPartsOptions): RoutingParts {
  const { config, log, netlink, datapath, client, events, live, node, served, onSessions } = options
  const { nodeName } = config
  const speaker = makeSpeaker({
    ...{ nodeName, log, netlink, events, onSessions },
    gobgp: config.routing.gobgp,
    mode: config.routing.mode,
    readPassword: passwordReader((namespace, name, key) => live.secrets.read(namespace, name, key)),
  })
  const memory = new VipMemoryFile({ stateDirectory: config.stateDirectory, log, nowMs: steadyNowMs })
  const said = new AnnouncingMemory({ stateDirectory: config.stateDirectory, log, nowMs: steadyNowMs })
  const routing = new Routing({ speaker, log, events, node, served, memory, said })
  const { current, pools } = live.sources
  if (current) routing.setRouting(current, pools)
  const drain = new NodeDrain({
    nodeName,
    files: new DrainFiles(config.stateDirectory),
    settings: () => routing.drainSettings ?? DRAIN_DEFAULT,
    node,
    clientPackets: () => clientPackets(datapath.metrics()),
    routing,
    writeCondition: (condition) => writeDrainCondition(client, nodeName, condition),
    events,
    log,
    nowMs: steadyNowMs,
  })
  return { routing, drain, drainRequests: new DrainRequests({ client, nodeName, drain }) }
}

/**
 * What clients send to announced addresses by way of this node, wherever the backend is. What other nodes tunnel to pods here (FROM_TUNNEL)
 * does not come because of what this node announces, and goes on while the pods do; nor does what its own pods send (OF_POD), nor what comes
 * to node ports (OF_NODE), which are found under the node's own address.
 */
const TO_ANNOUNCED = ['TO_LOCAL', 'TO_HOST', 'TO_REMOTE', 'TO_REMOTE_SNAT']

function clientPackets(metrics: ReturnType<Datapath['metrics']>): ClientPackets {
  const packets = (reason: string) => metrics[reason]?.packets ?? 0
  return {
    announced: TO_ANNOUNCED.reduce((sum, reason) => sum + packets(reason), 0),
    nodePorts: packets('OF_NODE'),
  }
}
