// The other end of a veth, wherever it lives. The link tells the peer's index and this namespace's id for the
// peer's namespace; the id is matched against the namespaces that have a name (/run/netns) and, failing that,
// those of running processes (/proc/PID/ns/net).

import { readdirSync } from 'node:fs'
import { networkNamespaceId, withNetworkNamespace } from '../libc/namespaces.ts'
import { NetlinkError } from './errors.ts'
import { type InterfaceFeatures, readFeatures } from './ethtool.ts'
import type { Link } from './links.ts'
import { Netlink } from './netlink.ts'

export interface VethPeer {
  /**
   * Undefined when the peer lives in the same namespace. A path under /proc is good while that process lives.
   */
  readonly namespacePath: string | undefined
  readonly link: Link
  readonly features: InterfaceFeatures
  /**
   * Whether frames sent by XDP_TX or a redirect into the near end arrive: the peer receives by NAPI (GRO on,
   * or XDP attached).
   */
  readonly acceptsRedirects: boolean
  /** With lengths; empty unless they were asked for. */
  readonly addresses: readonly string[]
}

export interface NamespaceDirectories {
  readonly named: readonly string[]
  readonly processes: string
}

export interface PeerSearch {
  readonly directories?: NamespaceDirectories
  /** Where it was the last time. */
  readonly first?: string | undefined
  readonly readsAddresses?: boolean
}

/** Where iproute2 and Docker keep names; `processes` must show the host's processes. */
const defaultDirectories: NamespaceDirectories = {
  named: ['/run/netns', '/run/docker/netns'],
  processes: '/proc',
}

/**
 * Fails with NOT_FOUND when the link is gone, is no veth, or its peer's namespace can be reached by no path.
 */
export async function findVethPeer(
  netlink: Netlink,
  index: number,
  { directories = defaultDirectories, first, readsAddresses = false }: PeerSearch = {},
): Promise<VethPeer> {
  const link = await netlink.links.get(index)
  if (link?.peerIndex === undefined) {
    throw new NetlinkError(
      'NOT_FOUND',
      `find the peer of link ${index}: there is no such link, or it is no veth`,
    )
  }
  if (link.linkNamespaceId === undefined)
    return describePeer(netlink, netlink.namespacePath, link.peerIndex, readsAddresses)
  const namespacePath = await findNamespace(netlink, link.linkNamespaceId, directories, first)
  if (namespacePath === undefined) {
    const where = [...directories.named, `${directories.processes}/*/ns/net`].join(', ')
    throw new NetlinkError(
      'NOT_FOUND',
      `find the peer of ${link.name}: no network namespace under ${where} has id ${link.linkNamespaceId}; ` +
        "share the host's process namespace",
    )
  }
  const inside = new Netlink({ namespacePath })
  try {
    return await describePeer(inside, namespacePath, link.peerIndex, readsAddresses)
  } finally {
    inside.close()
  }
}

/** The path of the namespace that `netlink`'s own namespace knows by `id`. @param first is looked at before all others */
export async function findNamespace(
  netlink: Netlink,
  id: number,
  directories: NamespaceDirectories = defaultDirectories,
  first?: string,
): Promise<string | undefined> {
  // A thousand processes share a few namespaces: ask the kernel once about each.
  const asked = new Set<string>()
  for (const path of namespacePaths(directories, first)) {
    try {
      const identity = networkNamespaceId(path)
      if (asked.has(identity)) continue
      asked.add(identity)
      if ((await netlink.namespaceIds.of(path)) === id) return path
    } catch {
      // A process that ended in between, or a stale file: neither can be what is sought.
    }
  }
  return undefined
}

function* namespacePaths(
  { named, processes }: NamespaceDirectories,
  first: string | undefined,
): Generator<string> {
  if (first !== undefined) yield first
  for (const directory of named) for (const name of listDirectory(directory)) yield `${directory}/${name}`
  for (const name of listDirectory(processes)) if (/^\d+$/.test(name)) yield `${processes}/${name}/ns/net`
}

/** Empty for a directory that is not there: none of them has to be. */
function listDirectory(path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

async function describePeer(
  netlink: Netlink,
  namespacePath: string | undefined,
  index: number,
  readsAddresses: boolean,
): Promise<VethPeer> {
  const link = await netlink.links.get(index)
  if (link === undefined) {
    throw new NetlinkError(
      'NOT_FOUND',
      `look at veth peer ${index} in ${namespacePath ?? 'this namespace'}: it is gone`,
    )
  }
  const read = () => readFeatures(link.name)
  const features = namespacePath === undefined ? read() : withNetworkNamespace(namespacePath, read)
  const addresses = readsAddresses
    ? (await netlink.addresses.list({ index })).filter((row) => row.index === index)
    : []
  return {
    ...{ namespacePath, link, features },
    acceptsRedirects: features.genericReceiveOffload || link.hasXdp,
    addresses: addresses.map(({ address }) => address),
  }
}
