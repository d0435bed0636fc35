// Peers in the form of version 3.

import type { MessageInitShape } from '@bufbuild/protobuf'
import { timestampMs } from '@bufbuild/protobuf/wkt'
import {
  Family_Afi,
  type PeerSchema,
  PeerState_AdminState,
  PeerState_SessionState,
  type WatchEventResponse_PeerEvent,
  WatchEventResponse_PeerEvent_Type,
  type Peer as WirePeer,
} from '../proto/gobgp-v3.gen.ts'
import { packFamily } from './pack-path-v3.ts'
import type { Family } from './prefix.ts'
import type { Peer, PeerEvent, PeerSettings, SessionState } from './types.ts'

const BGP_PORT = 179

const SESSION_STATES: Readonly<Record<PeerState_SessionState, SessionState>> = {
  [PeerState_SessionState.UNKNOWN]: 'unknown',
  [PeerState_SessionState.IDLE]: 'idle',
  [PeerState_SessionState.CONNECT]: 'connect',
  [PeerState_SessionState.ACTIVE]: 'active',
  [PeerState_SessionState.OPENSENT]: 'open-sent',
  [PeerState_SessionState.OPENCONFIRM]: 'open-confirm',
  [PeerState_SessionState.ESTABLISHED]: 'established',
}

export function peerToWire(peer: PeerSettings): MessageInitShape<typeof PeerSchema> {
  const restart = peer.gracefulRestart
  return {
    conf: {
      neighborAddress: peer.address,
      peerAsn: peer.asn,
      ...(peer.password === undefined ? {} : { authPassword: peer.password }),
    },
    timers: {
      config: {
        connectRetry: BigInt(peer.connectRetrySeconds),
        holdTime: BigInt(peer.holdSeconds),
        keepaliveInterval: BigInt(peer.keepaliveSeconds),
      },
    },
    transport: {
      remotePort: peer.port,
      ...(peer.localAddress === undefined ? {} : { localAddress: peer.localAddress }),
    },
    ...(restart && {
      gracefulRestart: {
        enabled: true,
        restartTime: restart.restartSeconds,
        deferralTime: restart.deferralSeconds,
        localRestarting: restart.localRestarting,
      },
    }),
    // Graceful restart takes both: the flag of the peer and the flag of the family.
    afiSafis: [
      {
        config: { family: packFamily(peer.family), enabled: true },
        ...(restart && { mpGracefulRestart: { config: { enabled: true } } }),
      },
    ],
  }
}

export function peerFromWire(wire: WirePeer): Peer {
  const family = familyFromWire(wire)
  const afiSafi = wire.afiSafis[0]
  const state = wire.state
  const session = SESSION_STATES[state?.sessionState ?? PeerState_SessionState.UNKNOWN] ?? 'unknown'
  const { uptime, downtime } = wire.timers?.state ?? {}
  const since = session === 'established' ? uptime : downtime
  return {
    settings: settingsFromWire(wire, family),
    status: {
      address: wire.conf?.neighborAddress || (state?.neighborAddress ?? ''),
      asn: wire.conf?.peerAsn || (state?.peerAsn ?? 0),
      session,
      adminDown: (state?.adminState ?? PeerState_AdminState.UP) !== PeerState_AdminState.UP,
      sinceMs: since ? timestampMs(since) : 0,
      received: Number(afiSafi?.state?.received ?? 0n),
      accepted: Number(afiSafi?.state?.accepted ?? 0n),
      advertised: Number(afiSafi?.state?.advertised ?? 0n),
    },
  }
}

function settingsFromWire(wire: WirePeer, family: Family): PeerSettings {
  const timers = wire.timers?.config
  const restart = wire.gracefulRestart
  const localAddress = wire.transport?.localAddress ?? ''
  const password = wire.conf?.authPassword ?? ''
  return {
    address: wire.conf?.neighborAddress ?? '',
    asn: wire.conf?.peerAsn ?? 0,
    family,
    ...(isUnspecified(localAddress) ? {} : { localAddress }),
    port: wire.transport?.remotePort || BGP_PORT,
    ...(password === '' ? {} : { password }),
    holdSeconds: Number(timers?.holdTime ?? 0n),
    keepaliveSeconds: Number(timers?.keepaliveInterval ?? 0n),
    connectRetrySeconds: Number(timers?.connectRetry ?? 0n),
    ...(restart?.enabled && {
      gracefulRestart: {
        restartSeconds: restart.restartTime,
        deferralSeconds: restart.deferralTime,
        localRestarting: restart.localRestarting,
      },
    }),
  }
}

function isUnspecified(address: string): boolean {
  return address === '' || address === '0.0.0.0' || address === '::'
}

function familyFromWire(wire: WirePeer): Family {
  const afi = wire.afiSafis[0]?.config?.family?.afi ?? wire.afiSafis[0]?.state?.family?.afi
  if (afi !== undefined) return afi === Family_Afi.IP6 ? 'ipv6' : 'ipv4'
  return wire.conf?.neighborAddress.includes(':') ? 'ipv6' : 'ipv4'
}

/** Undefined for the marker that ends the initial dump: it carries a dummy peer. */
export function eventFromWire(wire: WatchEventResponse_PeerEvent): PeerEvent | undefined {
  const address = wire.peer?.state?.neighborAddress || wire.peer?.conf?.neighborAddress
  const isInitial = wire.type === WatchEventResponse_PeerEvent_Type.INIT
  if (!address || (!isInitial && wire.type !== WatchEventResponse_PeerEvent_Type.STATE)) return undefined
  const state = wire.peer?.state?.sessionState ?? PeerState_SessionState.UNKNOWN
  return { kind: isInitial ? 'initial' : 'changed', address, session: SESSION_STATES[state] ?? 'unknown' }
}
