// Peers of the model → what gobgpd is told, and what policy must know of them. What cannot be resolved (a password, a next hop, the
// neighbour on an unnumbered link) keeps that one peer, or that one family, out, and says so; the other peers go on.

import type { PeerSettings } from '../../bgp/client/gobgp-grpc-client.ts'
import { type Address, type Family, familyOf } from '../model/address.ts'
import type { BgpPeer, NodeRouting } from '../model/routing.ts'
import type { LinkView, NeighbourInUse } from './links.ts'
import type { PasswordReader } from './passwords.ts'
import type { PolicyPeer } from './policy-plan.ts'
import type { SpeakerProblem } from './problems.ts'

/** How long gobgpd waits for routes of its peers before it sends ours after a restart; its own default is six minutes of silence. */
const DEFERRAL_SECONDS = 1

/** gobgpd's least; it would raise a lower one without a word, and the peer would look wrong in every round. */
const CONNECT_RETRY_MIN_SECONDS = 5

export interface PlannedPeer {
  readonly peer: BgpPeer
  /** As gobgpd knows it: with a zone for an unnumbered session. */
  readonly address: string
  readonly policy: PolicyPeer
  /** Undefined: it must be left as it is, for its password cannot be read now. */
  readonly settings: PeerSettings | undefined
}

export interface PeerPlan {
  readonly peers: readonly PlannedPeer[]
  readonly problems: readonly SpeakerProblem[]
}

export interface PeerSources {
  readonly links: LinkView
  readonly readPassword: PasswordReader
  /** The neighbour that gobgpd speaks to on an interface now. */
  readonly inUse: (interfaceName: string) => NeighbourInUse | undefined
}

export async function planPeers(
  routing: Pick<NodeRouting, 'asn' | 'peers'>,
  sources: PeerSources,
): Promise<PeerPlan> {
  const problems: SpeakerProblem[] = []
  const peers: PlannedPeer[] = []
  const taken = new Map<string, string>()
  for (const peer of routing.peers) {
    const complain = (code: SpeakerProblem['code'], text: string) =>
      problems.push({ code, object: peer.source, text: `${peer.name}: ${text}` })
    const address = resolveRemote(peer, sources)
    if (address === undefined) {
      complain('peer-unresolved', describeUnresolved(peer))
      continue
    }
    const [plain = ''] = address.split('%')
    const twin = taken.get(plain)
    if (twin !== undefined) {
      // Policy in gobgpd tells peers apart by their address alone.
      complain(
        'ambiguous-peer',
        `has the address ${plain}, as ${twin} has. Mend: give the routers different ones`,
      )
      continue
    }
    taken.set(plain, peer.name)
    const { families, nextHops } = usableFamilies(peer, plain as Address, sources.links, complain)
    if (families.length === 0) continue
    const policy = policyOf(peer, plain, routing.asn, families, nextHops)
    const password = await readPasswordOf(peer, sources.readPassword, complain)
    const settings =
      peer.password !== undefined && password === undefined
        ? undefined
        : settingsOf(peer, routing.asn, plain, families, password)
    peers.push({ peer, address, policy, settings })
  }
  return { peers, problems }
}

type Complain = (code: SpeakerProblem['code'], text: string) => void

function resolveRemote({ remote }: BgpPeer, { links, inUse }: PeerSources): string | undefined {
  if (remote.kind === 'address') return remote.address
  const neighbour = links.neighbourOn(remote.interface, inUse(remote.interface))
  return neighbour === undefined ? undefined : `${neighbour}%${remote.interface}`
}

function describeUnresolved({ remote }: BgpPeer): string {
  const name = remote.kind === 'interface' ? remote.interface : ''
  return (
    `there is not exactly one IPv6 link-local neighbour on ${name}. ` +
    'Mend: see that the link is up, joins two machines only, and that the router sends router advertisements'
  )
}

/** gobgpd writes `::ffff:` and the session's IPv4 address as next hop of IPv6 routes: routers refuse that, or accept and blackhole. */
function usableFamilies(
  peer: BgpPeer,
  address: Address,
  links: LinkView,
  complain: Complain,
): { families: Family[]; nextHops: Partial<Record<Family, Address>> } {
  const families: Family[] = []
  const nextHops: Partial<Record<Family, Address>> = {}
  for (const family of peer.families) {
    if (family === 'ipv6' && familyOf(address) === 'ipv4') {
      const nextHop = links.ownAddress(address, family)
      if (nextHop === undefined) {
        complain(
          'no-next-hop',
          'IPv6 routes over its IPv4 session have no next hop: this node has no IPv6 address on that link. ' +
            'Mend: give it one, or a session of its own over IPv6',
        )
        continue
      }
      nextHops[family] = nextHop
    }
    families.push(family)
  }
  return { families, nextHops }
}

function policyOf(
  peer: BgpPeer,
  address: string,
  asn: number,
  families: readonly Family[],
  nextHops: Partial<Record<Family, Address>>,
): PolicyPeer {
  const ownAsn = peer.localAsn ?? asn
  return {
    address,
    isInternal: peer.asn === 'internal' || peer.asn === ownAsn,
    families,
    ownAsn,
    nextHops,
    ...(peer.imports ? { imports: peer.imports } : {}),
    isReflectorClient: peer.reflectorClient !== undefined,
  }
}

async function readPasswordOf(
  { password }: BgpPeer,
  read: PasswordReader,
  complain: Complain,
): Promise<string | undefined> {
  if (password === undefined) return undefined
  try {
    return await read(password)
  } catch (error) {
    complain('password-unreadable', error instanceof Error ? error.message : String(error))
    return undefined
  }
}

function settingsOf(
  peer: BgpPeer,
  asn: number,
  address: string,
  families: readonly Family[],
  password: string | undefined,
): PeerSettings {
  const ownAsn = peer.localAsn ?? asn
  const { gracefulRestart: restart, timers } = peer
  return {
    remote: peer.remote,
    ...(peer.remote.kind === 'interface' ? { linkLocal: address } : {}),
    asn: peer.asn === 'external' ? 'any' : peer.asn === 'internal' ? ownAsn : peer.asn,
    ...(ownAsn === asn ? {} : { localAsn: ownAsn }),
    families,
    port: peer.port,
    ...(peer.localAddress === undefined ? {} : { localAddress: peer.localAddress }),
    ...(password === undefined ? {} : { password }),
    holdSeconds: timers.holdSeconds,
    keepaliveSeconds: timers.keepaliveSeconds,
    connectRetrySeconds: Math.max(CONNECT_RETRY_MIN_SECONDS, timers.connectRetrySeconds),
    ...(peer.multihopTtl === undefined ? {} : { multihopTtl: peer.multihopTtl }),
    ...(peer.ttlSecurityMin === undefined ? {} : { ttlSecurityMin: peer.ttlSecurityMin }),
    ...(restart && {
      gracefulRestart: {
        restartSeconds: restart.restartSeconds,
        deferralSeconds: DEFERRAL_SECONDS,
        localRestarting: false,
        ...(restart.longLivedSeconds === undefined ? {} : { longLivedSeconds: restart.longLivedSeconds }),
      },
    }),
    ...(peer.reflectorClient ? { reflectorClient: peer.reflectorClient } : {}),
  }
}
