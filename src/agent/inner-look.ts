// Looks at the network namespaces of a pod's processes, for those that are within the pod (inner-namespaces.ts). A process may go to
// another namespace at any moment, and its number may become another's: each namespace is opened once, and asked by that descriptor alone.

import { SystemError } from '../sys/libc/errors.ts'
import { networkNamespaceId, openNetworkNamespace } from '../sys/libc/namespaces.ts'
import { closeDescriptor, networkNamespaceCookie } from '../sys/libc/sockets.ts'
import { NetlinkError } from '../sys/node-netlink/errors.ts'
import { Netlink } from '../sys/node-netlink/netlink.ts'
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
}

interface Opened {
  readonly fd: number
  readonly path: string
}

export async function lookInside({ cgroup, own }: PodPlace): Promise<Looked> {
  const opened = openNamespaces(cgroup)
  try {
    const inner = [...opened.keys()].filter((cookie) => !own.has(cookie))
    // Those that others most often lead to are asked first, the rest only where they do not answer.
    const entries = [...opened]
    const order = [true, false].map((isOwn) => entries.filter(([cookie]) => own.has(cookie) === isOwn))
    const candidates = new Map<bigint, Described>()
    for (const cookie of inner) candidates.set(cookie, await candidateOf(opened.get(cookie), order))
    const closed = [...candidates.values()].flatMap(({ why }) => why ?? [])
    return { inner: innerNamespaces(own, candidates), closed }
  } finally {
    for (const { fd } of opened.values()) closeDescriptor(fd)
  }
}

type Described = Candidate & { readonly why?: string }

const closedFor = (why: string): Described => ({ others: undefined, hasProcess: false, why })

async function candidateOf(
  namespace: Opened | undefined,
  order: readonly (readonly (readonly [bigint, Opened])[])[],
): Promise<Described> {
  if (namespace === undefined) return closedFor('it has gone')
  const netlink = new Netlink({ namespacePath: namespace.path })
  try {
    const ways = waysOut(await netlink.links.list())
    if ('index' in ways)
      return closedFor(`its device ${ways.name} (${ways.kind ?? 'a card'}) may lead past the pod`)
    const missing = new Set(ways.others)
    const others = new Set<bigint>()
    for (const some of order) {
      if (missing.size === 0) break
      const ids = await Promise.all(some.map(([, { fd, path }]) => netlink.namespaceIds.ofOpen(fd, path)))
      for (const [index, [cookie]] of some.entries()) {
        const id = ids[index]
        if (id !== undefined && missing.delete(id)) others.add(cookie)
      }
    }
    if (missing.size > 0) return closedFor('a device leads to where no process of the pod is')
    return { others, hasProcess: ways.hasProcess }
  } catch (error) {
    // Devices that come and go faster than they can be read are the pod's own doing: no other pod's look waits for it.
    if (error instanceof SystemError || error instanceof NetlinkError) return closedFor(error.message)
    throw error
  } finally {
    netlink.close()
  }
}

/** By cookie, each once; the host's own is not among them. */
function openNamespaces(cgroup: string): ReadonlyMap<bigint, Opened> {
  const asked = new Set([networkNamespaceId()])
  const opened = new Map<bigint, Opened>()
  // The eldest first: the pod's own, and what was found before.
  for (const pid of processesIn(cgroup, PROCESSES_MAX).toSorted((one, other) => one - other)) {
    if (pid === 0 || opened.size >= NAMESPACES_MAX) continue
    try {
      const id = networkNamespaceId(`/proc/${pid}/ns/net`)
      if (asked.has(id)) continue
      asked.add(id)
      const { cookie, ...namespace } = openNamespace(`/proc/${pid}/ns/net`)
      if (opened.has(cookie)) closeDescriptor(namespace.fd)
      else opened.set(cookie, namespace)
    } catch {
      // It has ended.
    }
  }
  return opened
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
