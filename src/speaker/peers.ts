// Peers planned → gobgpd's. What is right is not touched, for every change of a session's settings ends the session: only the peer
// that changed is taken out and put in again. One peer that gobgpd refuses does not keep the others waiting.

import {
  type GobgpClient,
  GobgpError,
  type Peer,
  type PeerSettings,
} from '../../bgp/client/gobgp-grpc-client.ts'
import type { PlannedPeer } from './peer-plan.ts'
import type { SpeakerProblem } from './problems.ts'

export interface DaemonState {
  readonly asn: number
  /** It has just started, and its peers are told so. */
  readonly localRestarting: boolean
}

/** Adds what is missing, replaces what differs, removes what is not configured. @returns what gobgpd refused */
export async function ensurePeers(
  client: GobgpClient,
  wanted: readonly PlannedPeer[],
  present: readonly Peer[],
  { asn, localRestarting }: DaemonState,
): Promise<readonly SpeakerProblem[]> {
  const byAddress = new Map(present.map((peer) => [peer.status.address, peer]))
  const desired = new Map(wanted.map((peer) => [peer.address, peer]))
  for (const [address, peer] of byAddress) {
    const twin = desired.get(address)
    if (twin && (!twin.settings || sameSettings(peer.settings, twin.settings, asn))) continue
    await client.deletePeer(peer.status.remote)
    byAddress.delete(address)
  }
  const refused: SpeakerProblem[] = []
  for (const [address, { settings, peer }] of desired) {
    if (!settings || byAddress.has(address)) continue
    try {
      await client.addPeer(restarting(settings, localRestarting))
    } catch (error) {
      if (!(error instanceof GobgpError) || !isAboutPeer(error)) throw error
      refused.push({ code: 'peer-refused', object: peer.source, text: `${peer.name}: ${error.message}` })
    }
  }
  return refused
}

function isAboutPeer({ code }: GobgpError): boolean {
  return code === 'REFUSED' || code === 'INVALID_PEER'
}

function restarting(settings: PeerSettings, localRestarting: boolean): PeerSettings {
  if (!settings.gracefulRestart) return settings
  return { ...settings, gracefulRestart: { ...settings.gracefulRestart, localRestarting } }
}

/** Whether the session restarts is a matter of the moment, not a difference worth ending a session for. */
function sameSettings(left: PeerSettings, right: PeerSettings, asn: number): boolean {
  return comparable(left, asn) === comparable(right, asn)
}

/** @param asn the daemon's, which counts where a peer is told no other */
function comparable(peer: PeerSettings, asn: number): string {
  const restart = peer.gracefulRestart
  return JSON.stringify([
    peer.remote.kind === 'interface' ? [peer.remote.interface, peer.linkLocal] : peer.remote.address,
    peer.asn,
    peer.localAsn ?? asn,
    [...peer.families].sort(),
    peer.localAddress ?? '',
    peer.port,
    peer.password ?? '',
    peer.holdSeconds,
    peer.keepaliveSeconds,
    peer.connectRetrySeconds,
    peer.multihopTtl ?? 0,
    peer.ttlSecurityMin ?? 0,
    restart ? [restart.restartSeconds, restart.deferralSeconds, restart.longLivedSeconds ?? 0] : [],
    peer.reflectorClient?.clusterId ?? '',
  ])
}
