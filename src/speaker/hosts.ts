// Whose gobgpd it is, and what that changes.
//
//   own          started and configured by us alone: its AS, its peers, both policies, every path
//   kube-router  a guest's manners: never StartBgp, no peer, no set or policy but our own; only Services are announced (pod networks
//                and node addresses are the host's), and only to its external peers, as it does itself; nothing is imported

import {
  type DaemonInfo,
  type GobgpClient,
  GobgpError,
  type Peer,
} from '../../bgp/client/gobgp-grpc-client.ts'
import type { Address } from '../model/address.ts'
import type { Announcement } from '../model/announcement.ts'
import type { NodeRouting } from '../model/routing.ts'
import type { PeerAddresses } from './export-classes.ts'
import type { LinkView } from './links.ts'
import { EXPORT_POLICY } from './policy-names.ts'
import type { PolicyPeer } from './policy-plan.ts'
import type { SpeakerProblem } from './problems.ts'

export type DaemonHost = 'own' | 'kube-router'

/** Answers who runs; rejects where it is not the one we may speak to. */
export function checkDaemon(
  client: GobgpClient,
  host: DaemonHost,
  target: string,
  routing: NodeRouting,
): Promise<DaemonInfo> {
  return host === 'own' ? checkOwn(client, target, routing) : checkGuest(client, target)
}

async function checkOwn(
  client: GobgpClient,
  target: string,
  { asn, routerId, listen }: NodeRouting,
): Promise<DaemonInfo> {
  const daemon = await client.startIfIdle({
    asn,
    routerId,
    useMultiplePaths: true,
    ...(listen ? { listenPort: listen.port, listenAddresses: listen.addresses } : {}),
  })
  // One that is ours goes on as it began: what may not be announced any more must leave whatever else the configuration says.
  if (daemon.asn === asn || (await isClosedByUs(client))) return daemon
  throw new GobgpError(
    'REFUSED',
    `gobgpd at ${target} runs AS ${daemon.asn}, not ${asn}. ` +
      "Mend: start it from the file that 'weir speaker boot-config' writes",
  )
}

/** Nobody else's has our policy, alone, above a default that rejects. */
async function isClosedByUs(client: GobgpClient): Promise<boolean> {
  const { policies, defaultAction } = await client.getAssignment('export')
  return (
    policies.length === 1 && policies[0]?.startsWith(EXPORT_POLICY) === true && defaultAction === 'reject'
  )
}

/** What of the configuration waits until gobgpd starts anew. */
export function otherAsn(daemon: DaemonInfo, routing: NodeRouting): readonly SpeakerProblem[] {
  if (daemon.asn === routing.asn) return []
  const text =
    `gobgpd runs AS ${daemon.asn}, and goes on so, where the configuration says ${routing.asn}. ` +
    'Mend: restart the pod of gobgpd, which then starts with the other one'
  return [{ code: 'other-asn', object: 'routing.asn', text }]
}

async function checkGuest(client: GobgpClient, target: string): Promise<DaemonInfo> {
  const daemon = await client.probe()
  if (daemon.asn !== 0) return daemon
  throw new GobgpError('UNAVAILABLE', `gobgpd at ${target} has no BGP yet: kube-router has not started it`)
}

export function mayAnnounce(host: DaemonHost, { source }: Announcement): boolean {
  return host === 'own' || source === 'service'
}

export interface GuestPeers {
  readonly addresses: PeerAddresses
  readonly policy: readonly PolicyPeer[]
  readonly problems: readonly SpeakerProblem[]
}

/** The host's external peers, under the names that our configuration gives them, if it does. */
export function guestPeers(
  present: readonly Peer[],
  { asn }: DaemonInfo,
  { peers: configured }: NodeRouting,
  links: LinkView,
): GuestPeers {
  const addresses = new Map<string, string>()
  const policy: PolicyPeer[] = []
  for (const { settings, status } of present) {
    const [address = ''] = status.address.split('%')
    const ownAsn = settings.localAsn ?? asn
    if (settings.asn === ownAsn) continue
    const nextHop = address.includes(':') ? undefined : links.ownAddress(address as Address, 'ipv6')
    const isUsable = (family: string) => family === 'ipv4' || address.includes(':') || nextHop !== undefined
    addresses.set(nameOf(address, configured), address)
    policy.push({
      address,
      isInternal: false,
      families: settings.families.filter(isUsable),
      ownAsn,
      nextHops: nextHop === undefined ? {} : { ipv6: nextHop },
      isReflectorClient: false,
    })
  }
  return { addresses, policy, problems: configured.flatMap((peer) => judgeForGuest(peer, addresses)) }
}

function nameOf(address: string, configured: NodeRouting['peers']): string {
  const isIt = ({ remote }: NodeRouting['peers'][number]) =>
    remote.kind === 'address' && remote.address === address
  return configured.find(isIt)?.name ?? address
}

function judgeForGuest(
  { name, source, imports }: NodeRouting['peers'][number],
  addresses: PeerAddresses,
): SpeakerProblem[] {
  const problems: SpeakerProblem[] = []
  const complain = (text: string) =>
    problems.push({ code: 'not-for-guests', object: source, text: `${name}: ${text}` })
  if (!addresses.has(name))
    complain("kube-router has no such external peer. Mend: add it to kube-router's configuration")
  if (imports) complain('routes are taken in by kube-router, not by us. Mend: remove imports')
  return problems
}
