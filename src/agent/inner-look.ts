// Looks at the network namespaces of a pod's processes, for those that are within the pod (inner-namespaces.ts). A process may go to
// another namespace at any moment, and its number may become another's: each namespace is opened once, and asked by that descriptor alone.
//
// What a look may read is limited, and others get their turn between namespaces: a pod may make as many devices as it likes.

import { inSlices, type Steps } from '../model/slices.ts'
import { SystemError } from '../sys/libc/errors.ts'
import { networkNamespaceId, openNetworkNamespace } from '../sys/libc/namespaces.ts'
import { closeDescriptor, networkNamespaceCookie } from '../sys/libc/sockets.ts'
import { NetlinkError } from '../sys/node-netlink/errors.ts'
import { Netlink } from '../sys/node-netlink/netlink.ts'
import { LIMITS, OthersAsked, Reading, TooMuchError } from './inner-limits.ts'
import { type Candidate, innerNamespaces, waysOut } from './inner-namespaces.ts'
import { processesIn } from './kubepods.ts'

/** Of a pod with containers in its containers. */
const PROCESSES_MAX = 2048
/** More of one pod stay closed: each may have to be asked of each. */
const NAMESPACES_MAX = 64

export interface PodPlace {
  /** Directory of its cgroup. */
  readonly cgroup: string
  /** Cookies of the namespaces that its devices judge. */
  readonly own: ReadonlySet<bigint>
}

export interface Looked {
  /** Cookies of those that may speak as the pod does. */
  readonly inner: ReadonlySet<bigint>
  /** Why others may not that have a way out, one of each. */
  readonly closed: readonly string[]
  /** There was much to read. */
  readonly isLarge: boolean
}

interface Opened {
  readonly fd: number
  readonly path: string
}

export async function lookInside({ cgroup, own }: PodPlace, limits = LIMITS): Promise<Looked> {
  const opened = new Map<bigint, Opened>()
  const reading = new Reading(limits)
  try {
    await inSlices(openNamespaces(cgroup, opened, reading))
    const asked = new OthersAsked([...opened.keys()], own, reading)
    const candidates = new Map<bigint, Described>()
    for (const [cookie, namespace] of opened)
      if (!own.has(cookie)) candidates.set(cookie, await candidateOf(namespace, opened, asked, reading))
    const closed = [...candidates.values()].flatMap(({ why }) => why ?? [])
    return { inner: innerNamespaces(own, candidates), closed, isLarge: reading.isLarge }
  } finally {
    for (const { fd } of opened.values()) closeDescriptor(fd)
  }
}

type Described = Candidate & { readonly why?: string }

const closedFor = (why: string): Described => ({ others: undefined, hasProcess: false, why })

async function candidateOf(
  namespace: Opened,
  opened: ReadonlyMap<bigint, Opened>,
  asked: OthersAsked,
  reading: Reading,
): Promise<Described> {
  let netlink: Netlink | undefined
  try {
    const onLink = reading.linksOfOne()
    const asking = new Netlink({ namespacePath: namespace.path })
    netlink = asking
    const ways = waysOut(await asking.links.list(undefined, onLink))
    if ('index' in ways)
      return closedFor(`its device ${ways.name} (${ways.kind ?? 'a card'}) may lead past the pod`)
    const others = await asked.find(ways.others, (cookies) =>
      Promise.all(cookies.map((cookie) => idOf(asking, opened.get(cookie)))),
    )
    if (others === undefined) return closedFor('a device leads to where no process of the pod is')
    return { others, hasProcess: ways.hasProcess }
  } catch (error) {
    // Devices that come and go faster than they can be read are the pod's own doing: no other pod's look waits for it.
    if (error instanceof SystemError || error instanceof NetlinkError || error instanceof TooMuchError)
      return closedFor(error.message)
    throw error
  } finally {
    netlink?.close()
  }
}

async function idOf(netlink: Netlink, other: Opened | undefined): Promise<number | undefined> {
  return other && netlink.namespaceIds.ofOpen(other.fd, other.path)
}

/** By cookie, each once; the host's own is not among them. */
function* openNamespaces(cgroup: string, opened: Map<bigint, Opened>, reading: Reading): Steps {
  const asked = new Set([networkNamespaceId()])
  // The eldest first: the pod's own, and what was found before.
  for (const pid of processesIn(cgroup, PROCESSES_MAX).toSorted((one, other) => one - other)) {
    if (pid === 0) continue
    if (opened.size >= NAMESPACES_MAX) return
    reading.process()
    try {
      const id = networkNamespaceId(`/proc/${pid}/ns/net`)
      if (asked.has(id)) continue
      asked.add(id)
      reading.namespace()
      const { cookie, ...namespace } = openNamespace(`/proc/${pid}/ns/net`)
      if (opened.has(cookie)) closeDescriptor(namespace.fd)
      else opened.set(cookie, namespace)
    } catch {
      // It has ended.
    }
    yield
  }
}

function openNamespace(from: string): Opened & { readonly cookie: bigint } {
  const fd = openNetworkNamespace(from)
  try {
    const path = `/proc/self/fd/${fd}`
    return { fd, path, cookie: networkNamespaceCookie(path) }
  } catch (error) {
    closeDescriptor(fd)
    throw error
  }
}
