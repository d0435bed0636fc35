// The dialect of gobgpd 3.x (`apipb.GobgpApi`).

import { GobgpApi, TableType } from '../proto/gobgp-v3.gen.ts'
import type { CheckedPath, Dialect } from './dialect.ts'
import { packAnnouncement, packFamily, packWithdrawal, unpackPath } from './pack-path-v3.ts'
import { eventFromWire, peerFromWire, peerToWire } from './pack-peer-v3.ts'
import {
  assignmentFromWire,
  assignmentToWire,
  DIRECTIONS,
  policyFromWire,
  policyToWire,
  prefixSetFromWire,
  prefixSetToWire,
} from './pack-policy-v3.ts'
import type { Prefix } from './prefix.ts'
import type { Transport } from './transport.ts'

const api = GobgpApi.method

/** Measured best between 100 and 500: fewer lose to per-message cost, more stall gobgpd's single worker. */
const PATHS_PER_MESSAGE = 200

/** How 3.x writes the neighbor of a path that it originated itself. */
const OWN_PATH_NEIGHBOR = '<nil>'

/** Assignments other than this one belong to route-server clients. */
const GLOBAL_ASSIGNMENT = 'global'

/** No listener: the node opens its sessions itself, and port 179 stays closed. */
const LISTEN_PORT_NONE = -1

export function dialectV3(transport: Transport): Dialect {
  return {
    ...daemonCalls(transport),
    ...pathCalls(transport),
    ...peerCalls(transport),
    ...policyCalls(transport),
  }
}

function daemonCalls(transport: Transport): Pick<Dialect, 'getDaemon' | 'startDaemon'> {
  return {
    getDaemon: async () => {
      const { global } = await transport.unary(api.getBgp, {})
      return { asn: global?.asn ?? 0, routerId: global?.routerId ?? '', apiVersion: 3 }
    },
    startDaemon: async ({ asn, routerId }) => {
      await transport.unary(api.startBgp, { global: { asn, routerId, listenPort: LISTEN_PORT_NONE } })
    },
  }
}

function pathCalls(transport: Transport): Pick<Dialect, 'applyPaths' | 'listOwnPaths'> {
  return {
    applyPaths: async (withdraw, announce) => {
      if (withdraw.length + announce.length === 0) return
      await transport.send(api.addPathStream, batches(withdraw, announce))
    },
    listOwnPaths: async (family) => {
      const answers = await transport.collect(api.listPath, {
        tableType: TableType.GLOBAL,
        family: packFamily(family),
      })
      return answers
        .flatMap((answer) => answer.destination?.paths ?? [])
        .filter((path) => path.neighborIp === OWN_PATH_NEIGHBOR)
        .flatMap((path) => unpackPath(path) ?? [])
    },
  }
}

function* batches(withdraw: readonly Prefix[], announce: readonly CheckedPath[]) {
  const paths = [...withdraw.map(packWithdrawal), ...announce.map(packAnnouncement)]
  for (let start = 0; start < paths.length; start += PATHS_PER_MESSAGE)
    yield { tableType: TableType.GLOBAL, paths: paths.slice(start, start + PATHS_PER_MESSAGE) }
}

function peerCalls(
  transport: Transport,
): Pick<Dialect, 'addPeer' | 'updatePeer' | 'deletePeer' | 'listPeers' | 'watchPeers'> {
  return {
    addPeer: async (peer) => {
      await transport.unary(api.addPeer, { peer: peerToWire(peer) })
    },
    updatePeer: async (peer) => {
      await transport.unary(api.updatePeer, { peer: peerToWire(peer), doSoftResetIn: true })
    },
    deletePeer: async (address) => {
      await transport.unary(api.deletePeer, { address })
    },
    listPeers: async () => {
      // Without enableAdvertised the count of advertised paths reads 0.
      const answers = await transport.collect(api.listPeer, { enableAdvertised: true })
      return answers.flatMap((answer) => (answer.peer ? [peerFromWire(answer.peer)] : []))
    },
    watchPeers: (onEvent, signal) =>
      transport.follow(
        api.watchEvent,
        { peer: {} },
        (message) => {
          const event = message.event.case === 'peer' ? eventFromWire(message.event.value) : undefined
          if (event) onEvent(event)
        },
        signal,
      ),
  }
}

type PolicyCalls = Pick<
  Dialect,
  | 'addPrefixSetMembers'
  | 'deletePrefixSetMembers'
  | 'listPrefixSets'
  | 'addPolicy'
  | 'deletePolicy'
  | 'listPolicies'
  | 'setAssignment'
  | 'getAssignment'
>

function policyCalls(transport: Transport): PolicyCalls {
  return {
    addPrefixSetMembers: async (set) => {
      await transport.unary(api.addDefinedSet, { definedSet: prefixSetToWire(set) })
    },
    deletePrefixSetMembers: async (set) => {
      await transport.unary(api.deleteDefinedSet, { definedSet: prefixSetToWire(set), all: false })
    },
    listPrefixSets: async () => {
      const answers = await transport.collect(api.listDefinedSet, {})
      return answers.flatMap((answer) => (answer.definedSet ? [prefixSetFromWire(answer.definedSet)] : []))
    },
    addPolicy: async (policy) => {
      await transport.unary(api.addPolicy, { policy: policyToWire(policy) })
    },
    deletePolicy: async (name) => {
      await transport.unary(api.deletePolicy, { policy: { name }, all: true })
    },
    listPolicies: async () => {
      const answers = await transport.collect(api.listPolicy, {})
      return answers.flatMap((answer) => (answer.policy ? [policyFromWire(answer.policy)] : []))
    },
    setAssignment: async (assignment) => {
      await transport.unary(api.setPolicyAssignment, {
        assignment: { name: GLOBAL_ASSIGNMENT, ...assignmentToWire(assignment) },
      })
    },
    getAssignment: async (direction) => {
      const answers = await transport.collect(api.listPolicyAssignment, {
        name: GLOBAL_ASSIGNMENT,
        direction: DIRECTIONS[direction],
      })
      return assignmentFromWire(direction, answers[0]?.assignment)
    },
  }
}
