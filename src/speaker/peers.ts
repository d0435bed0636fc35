// Peers as the configuration names them → gobgpd. One session per family and link, each carrying its own family alone: an IPv6 route
// over an IPv4 session leaves with a next hop that routers refuse, or accept and blackhole.

import type { GobgpClient, Peer, PeerRemote, PeerSettings } from '../../bgp/client/gobgp-grpc-client.ts'
import type { Family } from '../model/address.ts'

const HOLD_SECONDS = 9
const KEEPALIVE_SECONDS = 3
const CONNECT_RETRY_SECONDS = 5
/** How long routers keep our routes while gobgpd is away: several times what the agent needs to boot and replay. */
const RESTART_SECONDS = 60
/** Nothing is imported, so there is nothing of the peers worth waiting for; gobgpd's default is six minutes of silence. */
const DEFERRAL_SECONDS = 1

export interface SpeakerPeer {
  readonly address: string
  readonly asn: number
  readonly family: Family
  readonly localAddress?: string | undefined
  readonly port?: number
}

export function peerSettings(peer: SpeakerPeer, localRestarting: boolean): PeerSettings {
  return {
    remote: { kind: 'address', address: peer.address },
    asn: peer.asn,
    families: [peer.family],
    ...(peer.localAddress === undefined ? {} : { localAddress: peer.localAddress }),
    port: peer.port ?? 179,
    holdSeconds: HOLD_SECONDS,
    keepaliveSeconds: KEEPALIVE_SECONDS,
    connectRetrySeconds: CONNECT_RETRY_SECONDS,
    gracefulRestart: { restartSeconds: RESTART_SECONDS, deferralSeconds: DEFERRAL_SECONDS, localRestarting },
  }
}

/** Adds what is missing, replaces what differs, removes what is not configured. A peer that is right is not touched. */
export async function ensurePeers(
  client: GobgpClient,
  wanted: readonly SpeakerPeer[],
  present: readonly Peer[],
  localRestarting: boolean,
): Promise<void> {
  const desired = wanted.map((peer) => peerSettings(peer, localRestarting))
  for (const peer of present) {
    const twin = desired.find(({ remote }) => nameOf(remote) === nameOf(peer.settings.remote))
    if (twin && sameSettings(peer.settings, twin)) continue
    await client.deletePeer(peer.settings.remote)
  }
  for (const peer of desired) {
    const twin = present.find(({ settings }) => nameOf(settings.remote) === nameOf(peer.remote))
    if (!twin || !sameSettings(twin.settings, peer)) await client.addPeer(peer)
  }
}

function nameOf(remote: PeerRemote): string {
  return remote.kind === 'address' ? remote.address : remote.interface
}

/** Whether the session restarts is a matter of the moment, not a difference worth ending a session for. */
function sameSettings(left: PeerSettings, right: PeerSettings): boolean {
  const comparable = (peer: PeerSettings) =>
    [
      peer.asn,
      peer.families.join(),
      peer.localAddress,
      peer.port,
      peer.holdSeconds,
      peer.keepaliveSeconds,
      peer.connectRetrySeconds,
      peer.gracefulRestart?.restartSeconds,
      peer.gracefulRestart?.deferralSeconds,
    ].join(' ')
  return comparable(left) === comparable(right)
}
