// Peers to and from the wire, in either version.

import type { MessageInitShape } from '@bufbuild/protobuf'
import { timestampMs } from '@bufbuild/protobuf/wkt'
import {
  type AfiSafi,
  type AfiSafiSchema,
  type PeerSchema,
  PeerState_SessionState,
  type WatchEventResponse_PeerEvent,
  WatchEventResponse_PeerEvent_Type,
  type Message as WireMessage,
  type Peer as WirePeer,
} from '../proto/gobgp-v3.gen.ts'
import { packFamily, readFamily } from './family.ts'
import type { Family } from './prefix.ts'
import type {
  FamilyCounters,
  GracefulRestartSettings,
  MessageCounters,
  Peer,
  PeerEvent,
  PeerRemote,
  PeerSettings,
  PeerStatus,
  PrefixLimit,
  SessionState,
} from './types.ts'
import type { Version } from './version.ts'

type WirePeerInit = Exclude<MessageInitShape<typeof PeerSchema>, WirePeer>

const BGP_PORT = 179
/** The network fe80::/64's own address, which no neighbour has. */
const PROBE_ADDRESS = 'fe80::'
/** RFC 4893's 0: whichever number the peer has. */
const ASN_ANY = 0

const SESSION_STATES: Readonly<Record<PeerState_SessionState, SessionState>> = {
  [PeerState_SessionState.UNKNOWN]: 'unknown',
  [PeerState_SessionState.IDLE]: 'idle',
  [PeerState_SessionState.CONNECT]: 'connect',
  [PeerState_SessionState.ACTIVE]: 'active',
  [PeerState_SessionState.OPENSENT]: 'open-sent',
  [PeerState_SessionState.OPENCONFIRM]: 'open-confirm',
  [PeerState_SessionState.ESTABLISHED]: 'established',
}

export function packPeer(peer: PeerSettings): WirePeerInit {
  const { multihopTtl, ttlSecurityMin, reflectorClient } = peer
  return {
    conf: packConf(peer),
    timers: {
      config: {
        connectRetry: BigInt(peer.connectRetrySeconds),
        holdTime: BigInt(peer.holdSeconds),
        keepaliveInterval: BigInt(peer.keepaliveSeconds),
      },
    },
    transport: {
      remotePort: peer.port,
      passiveMode: peer.passive ?? false,
      localAddress: peer.localAddress ?? '',
      bindInterface: peer.bindInterface ?? '',
    },
    ...(multihopTtl !== undefined && { ebgpMultihop: { enabled: true, multihopTtl } }),
    ...(ttlSecurityMin !== undefined && { ttlSecurity: { enabled: true, ttlMin: ttlSecurityMin } }),
    ...(reflectorClient && {
      routeReflector: { routeReflectorClient: true, routeReflectorClusterId: reflectorClient.clusterId },
    }),
    ...packRestart(peer.gracefulRestart),
    afiSafis: peer.families.map((family) => packAfiSafi(family, peer)),
  }
}

function packConf(peer: PeerSettings): NonNullable<WirePeerInit['conf']> {
  return {
    neighborAddress: packAddress(peer),
    peerAsn: peer.asn === 'any' ? ASN_ANY : peer.asn,
    localAsn: peer.localAsn ?? 0,
    authPassword: peer.password ?? '',
    description: peer.description ?? '',
  }
}

/** An unnumbered peer is to gobgpd one with a link-local address and a zone. */
function packAddress({ remote, linkLocal }: PeerSettings): string {
  return remote.kind === 'address' ? remote.address : `${linkLocal ?? ''}%${remote.interface}`
}

/**
 * A peer to make gobgpd look for the neighbour on an interface, which it does when one is added. It cannot be left so: gobgpd refuses
 * one without an address, keeps it under the address given, and then loses the session's messages for looking under the address found.
 */
export function packLinkLocalProbe(device: string): WirePeerInit {
  return {
    conf: {
      neighborAddress: linkLocalProbeKey(device),
      neighborInterface: device,
      peerAsn: ASN_ANY,
      adminDown: true,
    },
  }
}

export function linkLocalProbeKey(device: string): string {
  return `${PROBE_ADDRESS}%${device}`
}

export function isLinkLocalProbe(wire: WirePeer): boolean {
  return wire.conf?.neighborAddress.startsWith(`${PROBE_ADDRESS}%`) ?? false
}

function packRestart(restart: GracefulRestartSettings | undefined): Pick<WirePeerInit, 'gracefulRestart'> {
  if (!restart) return {}
  return {
    gracefulRestart: {
      enabled: true,
      restartTime: restart.restartSeconds,
      deferralTime: restart.deferralSeconds,
      localRestarting: restart.localRestarting,
      notificationEnabled: restart.notification ?? false,
      longlivedEnabled: restart.longLivedSeconds !== undefined,
    },
  }
}

/** Graceful restart takes both: the flag of the peer and the flag of each family. So does its long-lived form. */
function packAfiSafi(family: Family, peer: PeerSettings): MessageInitShape<typeof AfiSafiSchema> {
  const restart = peer.gracefulRestart
  const limit = peer.prefixLimits?.find((row) => row.family === family)
  return {
    config: { family: packFamily(family), enabled: true },
    ...(restart && { mpGracefulRestart: { config: { enabled: true } } }),
    ...(restart?.longLivedSeconds !== undefined && {
      longLivedGracefulRestart: { config: { enabled: true, restartTime: restart.longLivedSeconds } },
    }),
    ...(limit && {
      prefixLimits: {
        family: packFamily(family),
        maxPrefixes: limit.maximum,
        shutdownThresholdPct: limit.warnPercent ?? 0,
      },
    }),
  }
}

/** @param daemonAsn what gobgpd fills in where a peer has no local ASN of its own */
export function readPeer(version: Version, wire: WirePeer, daemonAsn: number): Peer {
  return { settings: readSettings(wire, daemonAsn), status: readStatus(version, wire) }
}

export function readRemote(wire: WirePeer): PeerRemote {
  const [address = '', zone] = addressInUse(wire).split('%')
  const name = wire.conf?.neighborInterface || zone
  return name === undefined ? { kind: 'address', address } : { kind: 'interface', interface: name }
}

export function addressInUse(wire: WirePeer): string {
  return wire.state?.neighborAddress || (wire.conf?.neighborAddress ?? '')
}

/** The address that gobgpd's calls want: the one the peer was added under. */
export function peerKey(wire: WirePeer): string {
  return wire.conf?.neighborAddress || addressInUse(wire)
}

function readStatus(version: Version, wire: WirePeer): PeerStatus {
  const { state, timers } = wire
  const session = SESSION_STATES[state?.sessionState ?? PeerState_SessionState.UNKNOWN] ?? 'unknown'
  const { uptime, downtime, negotiatedHoldTime } = timers?.state ?? {}
  const since = session === 'established' ? uptime : downtime
  const lastError = state && version.readDisconnect(state)
  return {
    remote: readRemote(wire),
    address: addressInUse(wire),
    asn: state?.peerAsn || (wire.conf?.peerAsn ?? 0),
    routerId: readRouterId(state?.routerId),
    session,
    admin: readAdmin(version, wire),
    sinceMs: since ? timestampMs(since) : 0,
    holdSeconds: Number(negotiatedHoldTime ?? 0n),
    families: wire.afiSafis.flatMap((row) => readCounters(row, wire) ?? []),
    messages: {
      received: readMessages(state?.messages?.received),
      sent: readMessages(state?.messages?.sent),
    },
    capabilities: state ? version.readCapabilities(state) : { local: [], remote: [] },
    ...(lastError === undefined ? {} : { lastError }),
    flaps: state?.flops ?? 0,
  }
}

function readRouterId(text: string | undefined): string {
  return text === undefined || text === '<nil>' || text === '0.0.0.0' ? '' : text
}

function readAdmin(version: Version, wire: WirePeer): PeerStatus['admin'] {
  const state = wire.state?.adminState
  const { down, 'prefix-limit': prefixLimit } = version.numbers.admin
  if (state === prefixLimit) return 'prefix-limit'
  return state === down ? 'down' : 'up'
}

function readCounters(row: AfiSafi, { gracefulRestart }: WirePeer): FamilyCounters | undefined {
  const family = readFamily(row.config?.family ?? row.state?.family)
  if (family === undefined) return undefined
  // gobgpd counts the end-of-RIB of graceful restart as a path.
  const marks = gracefulRestart?.enabled ? 1 : 0
  return {
    family,
    received: Number(row.state?.received ?? 0n),
    accepted: Number(row.state?.accepted ?? 0n),
    advertised: Math.max(0, Number(row.state?.advertised ?? 0n) - marks),
  }
}

function readMessages(wire: WireMessage | undefined): MessageCounters {
  return {
    open: Number(wire?.open ?? 0n),
    update: Number(wire?.update ?? 0n),
    keepalive: Number(wire?.keepalive ?? 0n),
    notification: Number(wire?.notification ?? 0n),
    refresh: Number(wire?.refresh ?? 0n),
    total: Number(wire?.total ?? 0n),
  }
}

/** In the form it was set in: what gobgpd filled in with its defaults is left out again, so that settings can be compared. */
function readSettings(wire: WirePeer, daemonAsn: number): PeerSettings {
  const { conf, transport, routeReflector } = wire
  const timers = wire.timers?.config
  const limits = wire.afiSafis.flatMap((row) => readLimit(row) ?? [])
  const restart = readRestart(wire)
  return {
    remote: readRemote(wire),
    ...optional('linkLocal', readLinkLocal(wire)),
    asn: conf?.peerAsn || 'any',
    ...(conf?.localAsn === daemonAsn ? {} : optional('localAsn', conf?.localAsn)),
    families: wire.afiSafis.flatMap((row) => readFamily(row.config?.family) ?? []),
    port: transport?.remotePort || BGP_PORT,
    ...(isGiven(transport?.localAddress) ? { localAddress: transport.localAddress } : {}),
    ...optional('bindInterface', transport?.bindInterface),
    ...optional('password', conf?.authPassword),
    holdSeconds: Number(timers?.holdTime ?? 0n),
    keepaliveSeconds: Number(timers?.keepaliveInterval ?? 0n),
    connectRetrySeconds: Number(timers?.connectRetry ?? 0n),
    ...(wire.ebgpMultihop?.enabled ? { multihopTtl: wire.ebgpMultihop.multihopTtl } : {}),
    ...(wire.ttlSecurity?.enabled ? { ttlSecurityMin: wire.ttlSecurity.ttlMin } : {}),
    ...(restart ? { gracefulRestart: restart } : {}),
    ...(routeReflector?.routeReflectorClient
      ? { reflectorClient: { clusterId: routeReflector.routeReflectorClusterId } }
      : {}),
    ...optional('description', conf?.description),
    ...(transport?.passiveMode ? { passive: true } : {}),
    ...(limits.length > 0 ? { prefixLimits: limits } : {}),
  }
}

/** Leaves out protobuf's zero values, which mean "not set". */
function optional<K extends string, V extends string | number>(
  name: K,
  value: V | undefined,
): { [name in K]?: V } {
  return value ? ({ [name]: value } as { [name in K]?: V }) : {}
}

function readLinkLocal(wire: WirePeer): string | undefined {
  const [address, zone] = addressInUse(wire).split('%')
  return zone === undefined ? undefined : address
}

/** gobgpd fills in what stands for every address, and for an unnumbered peer the interface's own. */
function isGiven(address: string | undefined): address is string {
  return (
    address !== undefined &&
    address !== '' &&
    address !== '0.0.0.0' &&
    address !== '::' &&
    !address.includes('%')
  )
}

function readRestart(wire: WirePeer): GracefulRestartSettings | undefined {
  const restart = wire.gracefulRestart
  if (!restart?.enabled) return undefined
  const longLived = wire.afiSafis.find((row) => row.longLivedGracefulRestart?.config?.enabled)
  const longLivedSeconds = longLived?.longLivedGracefulRestart?.config?.restartTime
  return {
    restartSeconds: restart.restartTime,
    deferralSeconds: restart.deferralTime,
    localRestarting: restart.localRestarting,
    ...(restart.notificationEnabled ? { notification: true } : {}),
    ...(restart.longlivedEnabled && longLivedSeconds !== undefined ? { longLivedSeconds } : {}),
  }
}

function readLimit(row: AfiSafi): PrefixLimit | undefined {
  const family = readFamily(row.prefixLimits?.family)
  if (family === undefined || !row.prefixLimits?.maxPrefixes) return undefined
  return {
    family,
    maximum: row.prefixLimits.maxPrefixes,
    ...optional('warnPercent', row.prefixLimits.shutdownThresholdPct),
  }
}

/** Undefined for the marker that ends the initial dump: it carries a dummy peer. */
export function readPeerEvent(version: Version, wire: WatchEventResponse_PeerEvent): PeerEvent | undefined {
  const isInitial = wire.type === WatchEventResponse_PeerEvent_Type.INIT
  if (!isInitial && wire.type !== WatchEventResponse_PeerEvent_Type.STATE) return undefined
  const address = wire.peer ? addressInUse(wire.peer) : ''
  if (!wire.peer || address === '') return undefined
  const { state } = wire.peer
  const reason = state && version.readDisconnect(state)
  return {
    kind: isInitial ? 'initial' : 'changed',
    remote: readRemote(wire.peer),
    address,
    session: SESSION_STATES[state?.sessionState ?? PeerState_SessionState.UNKNOWN] ?? 'unknown',
    ...(reason === undefined ? {} : { reason }),
  }
}
