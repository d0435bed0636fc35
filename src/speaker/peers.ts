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

/**
 * Takes out what is not configured, and what differs. Before anything else: a session that has no place any more would be told what
 * goes to "all peers" now.
 * @returns the addresses of those that stay
 */
export async function removePeers(
  client: GobgpClient,
  wanted: readonly PlannedPeer[],
  present: readonly Peer[],
  asn: number,
): Promise<ReadonlySet<string>> {
  const desired = new Map(wanted.map((peer) => [peer.address, peer]))
  const staying = new Set<string>()
  for (const { settings, status } of present) {
    const twin = desired.get(status.address)
    if (twin && (!twin.settings || sameSettings(settings, twin.settings, asn))) staying.add(status.address)
    else await client.deletePeer(status.remote)
  }
  return staying
}

/** Last of all. @returns what gobgpd refused */
export async function addPeers(
  client: GobgpClient,
  wanted: readonly PlannedPeer[],
  staying: ReadonlySet<string>,
  localRestarting: boolean,
): Promise<readonly SpeakerProblem[]> {
  const refused: SpeakerProblem[] = []
  for (const { address, settings, peer } of wanted) {
    if (!settings || staying.has(address)) continue
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

/**
 * Whether the session restarts is a matter of the moment, not a difference worth ending a session for. Nor is its own end's address, where
 * none is asked for: of a session that is up gobgpd 3.10 tells the one that the kernel chose as if it had been set.
 */
function sameSettings(present: PeerSettings, wanted: PeerSettings, asn: number): boolean {
  const { localAddress: _, ...others } = present
  const isAsked = wanted.localAddress !== undefined && wanted.localAddress !== ''
  return comparable(isAsked ? present : others, asn) === comparable(wanted, asn)
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
