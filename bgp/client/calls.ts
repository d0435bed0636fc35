// The calls of the dialect, in either version: what differs is in `version`.

import { setImmediate } from 'node:timers/promises'
import { timestampMs } from '@bufbuild/protobuf/wkt'
import { RouteAction } from '../proto/gobgp-v3.gen.ts'
import type { CheckedPath, DaemonCalls, Dialect, PathCalls, PeerCalls, PolicyCalls } from './dialect.ts'
import { GobgpError } from './errors.ts'
import { packFamily } from './family.ts'
import { isOwn, packAnnouncement, packWithdrawal, readBestRoutes, readPath, readRoute } from './pack-path.ts'
import {
  addressInUse,
  isLinkLocalProbe,
  linkLocalProbeKey,
  packLinkLocalProbe,
  packPeer,
  peerKey,
  readPeer,
  readPeerEvent,
  readRemote,
} from './pack-peer.ts'
import {
  DIRECTIONS,
  packAssignment,
  packPolicy,
  packSet,
  readAssignment,
  readPolicy,
  readSet,
} from './pack-policy.ts'
import type { Prefix } from './prefix.ts'
import type { Transport } from './transport.ts'
import type { Path, PeerRemote, PeerSettings, PolicyDirection, Route } from './types.ts'
import type { Version, WirePathInit } from './version.ts'

/** Measured best between 100 and 500: fewer lose to per-message cost, more stall gobgpd's single worker. */
const PATHS_PER_MESSAGE = 200

/** A path takes some 15 us to read. */
const CHANGES_AT_A_STRETCH = 128

/** Assignments other than this one belong to route-server clients. */
const GLOBAL_ASSIGNMENT = 'global'

/** No listener: the node opens its sessions itself, and port 179 stays closed. */
const LISTEN_PORT_NONE = -1

/** gobgpd's word for it; an empty address means the same in other calls, which is why none is ever sent. */
const EVERY_PEER = 'all'

export function openDialect(transport: Transport, version: Version): Dialect {
  return {
    ...daemonCalls(transport, version),
    ...pathCalls(transport, version),
    ...peerCalls(transport, version),
    ...policyCalls(transport, version),
  }
}

function daemonCalls(transport: Transport, version: Version): DaemonCalls {
  const { api } = version
  return {
    getDaemon: async () => {
      const { global } = await transport.unary(api.getBgp, {})
      return { asn: global?.asn ?? 0, routerId: global?.routerId ?? '', apiVersion: version.number }
    },
    startDaemon: async ({ asn, routerId, listenPort, listenAddresses, useMultiplePaths }) => {
      await transport.unary(api.startBgp, {
        global: {
          asn,
          routerId,
          listenPort: listenPort ?? LISTEN_PORT_NONE,
          listenAddresses: [...(listenAddresses ?? [])],
          useMultiplePaths: useMultiplePaths ?? false,
        },
      })
    },
    stopDaemon: async (keepRoutes) => {
      const request = version.packStop(keepRoutes)
      if (!request)
        throw new GobgpError(
          'UNSUPPORTED',
          'gobgpd 3.x cannot stop BGP so that peers keep its routes. Mend: kill it (SIGKILL), which graceful restart covers',
        )
      await transport.unary(api.stopBgp, request)
    },
    addBmp: async (station) => {
      await transport.unary(api.addBmp, version.packBmp(station))
    },
    deleteBmp: async ({ address, port }) => {
      await transport.unary(api.deleteBmp, { address, port })
    },
    listBmp: async () => {
      const answers = await transport.collect(api.listBmp, {})
      return answers.map(({ station }) => {
        const up = station?.state?.uptime
        const down = station?.state?.downtime
        const isUp = up && timestampMs(up) > 0 && (!down || timestampMs(up) >= timestampMs(down))
        return {
          address: station?.conf?.address ?? '',
          port: station?.conf?.port ?? 0,
          ...(isUp ? { upSinceMs: timestampMs(up) } : {}),
        }
      })
    },
  }
}

function pathCalls(transport: Transport, version: Version): PathCalls {
  const { api, numbers } = version
  return {
    applyPaths: async (withdraw, announce) => {
      if (withdraw.length + announce.length === 0) return
      await transport.send(api.addPathStream, batches(version, withdraw, announce))
    },
    listOwnPaths: async (family) => {
      const own: Path[] = []
      const request = { tableType: numbers.table.global, family: packFamily(family) }
      // Read as they come: ten thousand at the end would hold everything up for a tenth of a second.
      await transport.each(api.listPath, request, ({ destination }) => {
        for (const wire of destination?.paths ?? []) {
          const path = isOwn(wire) ? readPath(version, wire) : undefined
          if (path) own.push(path)
        }
      })
      return own
    },
    listRoutes: async (table, family) => {
      const routes: Route[] = []
      const request = {
        tableType: numbers.table[table.kind],
        family: packFamily(family),
        ...(table.kind === 'global' ? {} : { name: await peerKeyOf(transport, version, table.peer) }),
      }
      await transport.each(api.listPath, request, ({ destination }) => {
        for (const wire of destination?.paths ?? []) {
          const route = readRoute(version, wire)
          if (route) routes.push(route)
        }
      })
      return routes
    },
    watchRoutes: async (onChange, signal) => {
      let isOver = false
      const tell = async (paths: readonly Uint8Array[]) => {
        for (const changes of stretches(readBestRoutes(version, paths))) {
          if (isOver) return
          onChange(changes)
          await setImmediate()
        }
      }
      const filters = [{ type: numbers.watchBest, init: true }]
      try {
        return await transport.follow(
          api.watchEvent,
          { table: { filters } },
          ({ event }) => (event.case === 'table' ? tell(event.value.paths) : undefined),
          signal,
        )
      } finally {
        isOver = true
      }
    },
  }
}

/** Others get their turn between two of them. */
function* stretches<T>(items: Iterable<T>): Generator<T[]> {
  let stretch: T[] = []
  for (const item of items) {
    stretch.push(item)
    if (stretch.length < CHANGES_AT_A_STRETCH) continue
    yield stretch
    stretch = []
  }
  if (stretch.length > 0) yield stretch
}

/** Withdrawals first. Each message is made when the one before it is on its way. */
function* batches(version: Version, withdraw: readonly Prefix[], announce: readonly CheckedPath[]) {
  const tableType = version.numbers.table.global
  const total = withdraw.length + announce.length
  for (let start = 0; start < total; start += PATHS_PER_MESSAGE) {
    const end = Math.min(start + PATHS_PER_MESSAGE, total)
    const paths: WirePathInit[] = []
    for (let index = start; index < end; index += 1) {
      const prefix = withdraw[index]
      if (prefix) paths.push(packWithdrawal(version, prefix))
      else paths.push(packAnnouncement(version, announce[index - withdraw.length] as CheckedPath))
    }
    yield { tableType, paths }
  }
}

function peerCalls(transport: Transport, version: Version): PeerCalls {
  const { api, numbers } = version
  const keyOf = (remote: PeerRemote) => peerKeyOf(transport, version, remote)
  const add = async (peer: PeerSettings) => {
    const { remote, linkLocal } = peer
    const isKnown = remote.kind === 'address' || linkLocal !== undefined
    const known = isKnown
      ? peer
      : { ...peer, linkLocal: await findLinkLocal(transport, version, remote.interface) }
    await transport.unary(api.addPeer, { peer: packPeer(known) })
  }
  return {
    addPeer: add,
    updatePeer: async (peer) => {
      await transport.unary(api.deletePeer, { address: await keyOf(peer.remote) })
      await add(peer)
    },
    deletePeer: async (remote) => {
      await transport.unary(api.deletePeer, { address: await keyOf(remote) })
    },
    listPeers: async (countAdvertised = true) => {
      const { global } = await transport.unary(api.getBgp, {})
      const answers = await transport.collect(api.listPeer, { enableAdvertised: countAdvertised })
      return answers.flatMap(({ peer }) =>
        peer && !isLinkLocalProbe(peer) ? [readPeer(version, peer, global?.asn ?? 0)] : [],
      )
    },
    watchPeers: (onEvent, signal) =>
      transport.follow(
        api.watchEvent,
        { peer: {} },
        (message) => {
          const event =
            message.event.case === 'peer' ? readPeerEvent(version, message.event.value) : undefined
          if (event) onEvent(event)
        },
        signal,
      ),
    resetPeer: async (remote, reset) => {
      const address = remote ? await keyOf(remote) : EVERY_PEER
      await transport.unary(
        api.resetPeer,
        reset.kind === 'soft'
          ? { address, soft: true, direction: numbers.reset[reset.direction] }
          : { address, soft: false, communication: reset.reason ?? '' },
      )
    },
    disablePeer: async (remote, reason) => {
      await transport.unary(api.disablePeer, { address: await keyOf(remote), communication: reason })
    },
    enablePeer: async (remote) => {
      await transport.unary(api.enablePeer, { address: await keyOf(remote) })
    },
  }
}

/** gobgpd looks in its own kernel's neighbour table, which may be another than ours. */
async function findLinkLocal(
  transport: Transport,
  { api, number }: Version,
  device: string,
): Promise<string> {
  if (number !== 3)
    throw new GobgpError(
      'UNSUPPORTED',
      `gobgpd ${number} is not made to look for the neighbour on ${device}. Mend: give the peer's link-local address`,
    )
  const address = linkLocalProbeKey(device)
  const probe = async () => {
    const answers = await transport.collect(api.listPeer, {})
    return answers.find(({ peer }) => peer?.conf?.neighborAddress === address)?.peer
  }
  // One may be left from a caller that died, and what it found be of yesterday.
  if (await probe()) await transport.unary(api.deletePeer, { address })
  await transport.unary(api.addPeer, { peer: packLinkLocalProbe(device) })
  const found = await probe()
  await transport.unary(api.deletePeer, { address })
  const [linkLocal = ''] = found ? addressInUse(found).split('%') : []
  return linkLocal
}

/** An unnumbered peer is asked for: the address it goes by is gobgpd's to know. */
async function peerKeyOf(transport: Transport, { api }: Version, remote: PeerRemote): Promise<string> {
  if (remote.kind === 'address') return remote.address
  for (const { peer } of await transport.collect(api.listPeer, {})) {
    const there = peer && readRemote(peer)
    if (
      peer &&
      !isLinkLocalProbe(peer) &&
      there?.kind === 'interface' &&
      there.interface === remote.interface
    )
      return peerKey(peer)
  }
  throw new GobgpError('REFUSED', `gobgpd has no unnumbered peer on interface ${remote.interface}`)
}

function policyCalls(transport: Transport, version: Version): PolicyCalls {
  const { api, numbers } = version
  const partOf = (direction: PolicyDirection, policies: readonly string[]) => ({
    name: GLOBAL_ASSIGNMENT,
    direction: DIRECTIONS[direction],
    policies: policies.map((name) => ({ name })),
    // NONE leaves the default in force.
    defaultAction: RouteAction.NONE,
  })
  return {
    addSetMembers: async (set) => {
      await transport.unary(api.addDefinedSet, { definedSet: packSet(numbers, set) })
    },
    deleteSetMembers: async (set) => {
      await transport.unary(api.deleteDefinedSet, { definedSet: packSet(numbers, set), all: false })
    },
    deleteSet: async (kind, name) => {
      await transport.unary(api.deleteDefinedSet, {
        definedSet: { definedType: numbers.set[kind], name },
        all: true,
      })
    },
    listSets: async (kind) => {
      const answers = await transport.collect(api.listDefinedSet, { definedType: numbers.set[kind] })
      return answers.flatMap(({ definedSet }) => (definedSet ? [readSet(kind, definedSet)] : []))
    },
    addPolicy: async (policy) => {
      await transport.unary(api.addPolicy, { policy: packPolicy(numbers, policy) })
    },
    deletePolicy: async (name) => {
      await transport.unary(api.deletePolicy, { policy: { name }, all: true })
    },
    listPolicies: async () => {
      const answers = await transport.collect(api.listPolicy, {})
      return answers.flatMap(({ policy }) => (policy ? [readPolicy(numbers, policy)] : []))
    },
    setAssignment: async (assignment) => {
      await transport.unary(api.setPolicyAssignment, {
        assignment: { name: GLOBAL_ASSIGNMENT, ...packAssignment(assignment) },
      })
    },
    appendAssignment: async (direction, policies) => {
      await transport.unary(api.addPolicyAssignment, { assignment: partOf(direction, policies) })
    },
    removeAssignment: async (direction, policies) => {
      await transport.unary(api.deletePolicyAssignment, {
        assignment: partOf(direction, policies),
        all: false,
      })
    },
    getAssignment: async (direction) => {
      const answers = await transport.collect(api.listPolicyAssignment, {
        name: GLOBAL_ASSIGNMENT,
        direction: DIRECTIONS[direction],
      })
      return readAssignment(direction, answers[0]?.assignment)
    },
  }
}
