// Network namespaces within a pod: those of containers in its container, which runtimes of its own make (Docker in Docker, kind, rootless
// builders). The closed default may let one speak as its pod does when every way out of it leads through the pod's own, whose device
// judges. Which do is told by their devices, and by nothing else:
//
//   veth, macvlan, ipvlan, vlan    lead where the other device is; tunnels, where their outer packets go
//   tun                            leads to a process that speaks by sockets of its own, which are judged as such (slirp4netns, pasta, KVM)
//   bridge, dummy, bond, team, vrf lead nowhere but to others of the same namespace
//   all others                     may lead to the host: closed
//
// A pod cannot get a device that leads to the host but from the host. So what was found stays true, but for what the host moves there;
// and a namespace without any way out, which the host may be about to give one, is not opened. Pure.

import type { Link } from '../sys/node-netlink/links.ts'

const LOOPBACK = 0x8
const TO_OTHER = new Set(['veth', 'macvlan', 'ipvlan', 'vlan'])
/** Of all these the kernel tells the namespace of the outer packets, where it is another; WireGuard, for one, hides it. */
const TUNNELS = new Set([
  ...['ipip', 'sit', 'gre', 'gretap', 'erspan', 'vti', 'ip6tnl', 'ip6gre', 'ip6gretap', 'ip6erspan', 'vti6'],
  ...['vxlan', 'geneve'],
])
const WITHIN = new Set(['bridge', 'dummy', 'bond', 'team', 'vrf'])

export interface Ways {
  /** Ids, by which this namespace knows them, of namespaces that its devices lead to. */
  readonly others: ReadonlySet<number>
  /** A process takes what goes into a device. */
  readonly hasProcess: boolean
}

/** @returns a device that may lead to the host, where there is one */
export function waysOut(links: readonly Link[]): Ways | Link {
  const here = new Set(links.map(({ index }) => index))
  const others = new Set<number>()
  let hasProcess = false
  for (const link of links) {
    const { kind, linkNamespaceId } = link
    if (kind === undefined && link.flags & LOOPBACK) continue
    if (kind !== undefined && (TO_OTHER.has(kind) || TUNNELS.has(kind)) && linkNamespaceId !== undefined)
      others.add(linkNamespaceId)
    else if (kind === 'tun') hasProcess = true
    else if (kind === undefined || !leadsNowhere(link, kind, here)) return link
  }
  return { others, hasProcess }
}

function leadsNowhere(link: Link, kind: string, here: ReadonlySet<number>): boolean {
  if (TO_OTHER.has(kind)) return here.has(link.peerIndex ?? link.lowerIndex ?? 0)
  return TUNNELS.has(kind) || WITHIN.has(kind)
}

export interface Candidate {
  /** Cookies of the namespaces that its devices lead to; undefined: where one of them leads is not known. */
  readonly others: ReadonlySet<bigint> | undefined
  readonly hasProcess: boolean
}

/** @param own the pod's own, which its devices judge. @returns those that may speak as the pod does */
export function innerNamespaces(
  own: ReadonlySet<bigint>,
  candidates: ReadonlyMap<bigint, Candidate>,
): ReadonlySet<bigint> {
  const inner = new Map([...candidates].filter(([cookie]) => !own.has(cookie)))
  const isOut = ({ others }: Candidate) =>
    others === undefined || [...others].some((one) => !own.has(one) && !inner.has(one))
  for (let before = -1; before !== inner.size; ) {
    before = inner.size
    for (const [cookie, candidate] of inner) if (isOut(candidate)) inner.delete(cookie)
  }
  const found = new Set<bigint>()
  const leads = ({ others, hasProcess }: Candidate) =>
    hasProcess || [...(others ?? [])].some((one) => own.has(one) || found.has(one))
  for (let before = -1; before !== found.size; ) {
    before = found.size
    for (const [cookie, candidate] of inner) if (leads(candidate)) found.add(cookie)
  }
  return found
}
