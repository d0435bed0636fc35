// What a peer that names Cilium's lists of networks means. A list that is not there, or holds what is no network, is unread: to an allow it
// adds nothing (or what of it could be read), to a deny it is every address outside, for it may be any of them.

import { EVERYWHERE, type Prefix } from '../model/address.ts'
import { selectorMatches } from '../model/label-selector.ts'
import { type Policy, type PolicyFault, type PolicyPeer, type PolicyWorld, rulesOf } from '../model/policy.ts'

export type GroupsPeer = Extract<PolicyPeer, { kind: 'network-groups' }>
type NetworkGroup = PolicyWorld['networkGroups'][number]

/** Every list there is, by name. */
interface KnownGroups {
  readonly size: number
  get(name: string): NetworkGroup | undefined
  values(): Iterable<NetworkGroup>
}

export function knownGroups({ networkGroups }: PolicyWorld): KnownGroups {
  return {
    size: networkGroups.length,
    get: (name) => networkGroups.find((group) => group.name === name),
    values: () => networkGroups,
  }
}

export function groupPrefixes(peer: GroupsPeer, known: KnownGroups): readonly Prefix[] {
  const selected = selectedOf(peer, known)
  if (peer.unread === 'everywhere' && whyUnread(peer, known) !== undefined) return EVERYWHERE
  return selected.flatMap(({ prefixes }) => prefixes)
}

/** What denies more than is written, for as long as lists are unread. */
export function unreadGroups(policies: readonly Policy[], known: KnownGroups): readonly PolicyFault[] {
  return policies.flatMap(rulesOf).flatMap(({ peers, path }) => {
    if (peers === 'any') return []
    const why = peers.map((peer) =>
      peer.kind === 'network-groups' && peer.unread ? whyUnread(peer, known) : undefined,
    )
    return [...new Set(why.filter((text) => text !== undefined))].map((text) => ({
      path,
      text: `${text}, so this rule denies every address outside`,
      mend: 'create it with networks in externalCIDRs, or name networks in cidr',
    }))
  })
}

/** What is wrong; undefined: nothing. Labels may select none, but where no list is known at all, none can have been read. */
function whyUnread(peer: GroupsPeer, known: KnownGroups): string | undefined {
  const broken = selectedOf(peer, known).find(({ isBroken }) => isBroken)
  if (broken) return `CiliumCIDRGroup ${broken.name} holds what is no network`
  if ('name' in peer.groups)
    return known.get(peer.groups.name)
      ? undefined
      : `there is no CiliumCIDRGroup ${peer.groups.name} (cilium.io/v2 or v2alpha1)`
  return known.size === 0 ? 'there is no CiliumCIDRGroup (cilium.io/v2 or v2alpha1) at all' : undefined
}

function selectedOf({ groups }: GroupsPeer, known: KnownGroups): readonly NetworkGroup[] {
  if ('name' in groups) return [known.get(groups.name)].filter((group) => group !== undefined)
  return [...known.values()].filter(({ labels }) => selectorMatches(groups.labels, labels))
}
