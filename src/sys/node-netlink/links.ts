// Links: network interfaces of the namespace the connection was opened in. A link is named by its index or
// its name.

import { AF_INET, encodeAddress, familyOf } from '../libc/addresses.ts'
import { openNetworkNamespace } from '../libc/namespaces.ts'
import { closeDescriptor } from '../libc/sockets.ts'
import { checkInteger, checkInterfaceName, decodeMac, encodeMac, nameOf } from './checks.ts'
import type { Connection } from './connection.ts'
import { NetlinkError } from './errors.ts'
import { Attributes, BodyWriter, type Message, NLM_F_CREATE, NLM_F_EXCL, zeroed } from './message.ts'

export const RTM_NEWLINK = 16
export const RTM_DELLINK = 17
const RTM_GETLINK = 18

const IFLA_ADDRESS = 1
const IFLA_IFNAME = 3
const IFLA_MTU = 4
const IFLA_LINK = 5
const IFLA_QDISC = 6
const IFLA_MASTER = 10
const IFLA_OPERSTATE = 16
const IFLA_LINKINFO = 18
const IFLA_IFALIAS = 20
const IFLA_NET_NS_FD = 28
const IFLA_CARRIER = 33
const IFLA_LINK_NETNSID = 37
const IFLA_XDP = 43
const IFLA_XDP_ATTACHED = 2
const IFLA_INFO_KIND = 1
const IFLA_INFO_DATA = 2
const VETH_INFO_PEER = 1
const IFLA_VXLAN_ID = 1
const IFLA_VXLAN_LINK = 3
const IFLA_VXLAN_LOCAL = 4
const IFLA_VXLAN_LEARNING = 7
const IFLA_VXLAN_PORT = 15
const IFLA_VXLAN_LOCAL6 = 17

const IFF_UP = 1
const mtuMax = 65535
const aliasBytesMax = 255

/** RFC 2863. A veth is `up` when both ends are; `unknown` is normal for loopback. */
const operationalStates = {
  unknown: 0,
  notpresent: 1,
  down: 2,
  lowerlayerdown: 3,
  testing: 4,
  dormant: 5,
  up: 6,
} as const

export type OperationalState = keyof typeof operationalStates | `${number}`

export interface Link {
  readonly index: number
  readonly name: string
  readonly alias: string | undefined
  /** 'veth', 'bridge', 'vxlan', …; undefined for loopback and physical devices. */
  readonly kind: string | undefined
  /** IFF_* bits. */
  readonly flags: number
  /** Administratively up. */
  readonly isUp: boolean
  /** Whether frames can leave: for a veth, both ends are up. */
  readonly hasCarrier: boolean
  readonly operationalState: OperationalState
  readonly mtu: number
  /** Undefined for links without hardware addresses. */
  readonly mac: string | undefined
  /** Index of the bridge this link is a port of. */
  readonly master: number | undefined
  /** A veth's peer; meaningful in the namespace that `linkNamespaceId` tells. */
  readonly peerIndex: number | undefined
  /** Index of the device below (vxlan, vlan, macvlan). */
  readonly lowerIndex: number | undefined
  /** This namespace's id for the one where the peer or lower device lives; undefined when it is here. */
  readonly linkNamespaceId: number | undefined
  readonly hasXdp: boolean
  /** Kind of the root queueing discipline: 'noqueue', 'tbf', …; another is no change of the link: watch 'queues'. */
  readonly queueing: string | undefined
}

interface LinkSettings {
  readonly mtu?: number | undefined
  readonly mac?: string | undefined
  readonly isUp?: boolean | undefined
  /** Path of the network namespace where the link shall live: `/run/netns/NAME`. */
  readonly namespacePath?: string | undefined
}

/** The kernel refuses to bring the peer up in the same request (ENOTCONN: it has no other end yet). */
export interface VethPeerSpec extends Omit<LinkSettings, 'isUp'> {
  readonly name: string
}

/** Settings of a new link, and what each kind adds. */
export type LinkSpec = LinkSettings & { readonly name: string; readonly master?: number | undefined } & (
    | { readonly kind: 'bridge' }
    | { readonly kind: 'veth'; readonly peer: VethPeerSpec }
    | {
        readonly kind: 'vxlan'
        readonly id: number
        readonly port: number
        readonly local?: string | undefined
        readonly lowerIndex?: number | undefined
        readonly isLearning?: boolean | undefined
      }
  )

export interface LinkChange extends LinkSettings {
  readonly name?: string | undefined
  /** An empty text removes it. */
  readonly alias?: string | undefined
  /** Null takes the link out of its bridge. */
  readonly master?: number | null | undefined
}

export class Links {
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
  }

  /**
   * @param onRead is called with each that is read, again when the list is taken again; what it throws ends the list, and the
   * connection takes no other list until all of that one has been thrown away
   */
  list(signal?: AbortSignal, onRead?: (link: Link) => void): Promise<Link[]> {
    const body = new BodyWriter().fixed(encodeHeader(0)).finish()
    const decode = (message: Message) => {
      const link = decodeLink(message)
      if (link) onRead?.(link)
      return link
    }
    return this.#connection.dump({ type: RTM_GETLINK, body, action: 'list links', decode, signal })
  }

  /** The link, or undefined when there is none of this index or name. */
  async get(link: number | string, signal?: AbortSignal): Promise<Link | undefined> {
    const request = { type: RTM_GETLINK, body: selectLink(link).finish(), decode: decodeLink, signal }
    try {
      const [found] = await this.#connection.ask({ ...request, action: `look at link ${link}` })
      return found
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENODEV') return undefined
      throw error
    }
  }

  /** Fails with EEXIST when the name is taken. */
  async create(spec: LinkSpec, signal?: AbortSignal): Promise<void> {
    const action = `create ${spec.kind} ${spec.name}`
    const descriptors: number[] = []
    try {
      const body = encodeNewLink(spec, (path) => remember(descriptors, path)).finish()
      await this.#connection.ask({
        type: RTM_NEWLINK,
        flags: NLM_F_CREATE | NLM_F_EXCL,
        body,
        action,
        signal,
      })
    } finally {
      for (const fd of descriptors) closeDescriptor(fd)
    }
  }

  /** Fails with ENODEV when the link is not there. A new name needs the link down on kernels before 6.2. */
  async change(link: number | string, change: LinkChange, signal?: AbortSignal): Promise<void> {
    const descriptors: number[] = []
    try {
      const body = encodeLinkChange(link, change, (path) => remember(descriptors, path)).finish()
      await this.#connection.ask({ type: RTM_NEWLINK, body, action: `change link ${link}`, signal })
    } finally {
      for (const fd of descriptors) closeDescriptor(fd)
    }
  }

  /** Fails with ENODEV when the link is not there. Deleting one end of a veth deletes both. */
  async delete(link: number | string, signal?: AbortSignal): Promise<void> {
    const body = selectLink(link).finish()
    await this.#connection.ask({ type: RTM_DELLINK, body, action: `delete link ${link}`, signal })
  }
}

/**
 * Undefined for what a bridge tells about its ports with the same message types: a port that leaves is no
 * deleted link.
 */
export function decodeLink({ body }: Message): Link | undefined {
  if (body.readUInt8(0) !== 0) return undefined
  const attributes = new Attributes(body, 16)
  const flags = body.readUInt32LE(8)
  const kind = attributes.nested(IFLA_LINKINFO)?.text(IFLA_INFO_KIND)
  const other = attributes.u32(IFLA_LINK)
  const linkNamespaceId = attributes.i32(IFLA_LINK_NETNSID)
  const mac = attributes.bytes(IFLA_ADDRESS)
  return {
    index: body.readInt32LE(4),
    name: attributes.text(IFLA_IFNAME) ?? '',
    alias: attributes.text(IFLA_IFALIAS),
    kind,
    flags,
    isUp: (flags & IFF_UP) !== 0,
    hasCarrier: attributes.u8(IFLA_CARRIER) === 1,
    operationalState: nameOf(operationalStates, attributes.u8(IFLA_OPERSTATE) ?? 0),
    mtu: attributes.u32(IFLA_MTU) ?? 0,
    mac: mac?.length === 6 ? decodeMac(mac) : undefined,
    master: attributes.u32(IFLA_MASTER),
    peerIndex: kind === 'veth' ? other : undefined,
    lowerIndex: kind === 'veth' ? undefined : other,
    linkNamespaceId,
    hasXdp: (attributes.nested(IFLA_XDP)?.u8(IFLA_XDP_ATTACHED) ?? 0) !== 0,
    queueing: attributes.text(IFLA_QDISC),
  }
}

/** struct ifinfomsg. With `isUp` undefined the flags are left as they are. */
function encodeHeader(index: number, isUp?: boolean): Buffer {
  const header = zeroed(16)
  header.writeInt32LE(checkInteger('a link index', index, 0, 0x7fff_ffff), 4)
  if (isUp !== undefined) {
    header.writeUInt32LE(isUp ? IFF_UP : 0, 8)
    header.writeUInt32LE(IFF_UP, 12) // which flags are meant
  }
  return header
}

function selectLink(link: number | string, isUp?: boolean): BodyWriter {
  if (typeof link === 'number')
    return new BodyWriter().fixed(encodeHeader(checkInteger('a link index', link, 1, 0x7fff_ffff), isUp))
  return new BodyWriter().fixed(encodeHeader(0, isUp)).text(IFLA_IFNAME, checkInterfaceName(link))
}

type OpenNamespace = (path: string) => number

/** Keeps a descriptor open until the kernel has answered, for requests are sent in a later turn. */
function remember(descriptors: number[], path: string): number {
  const fd = openNetworkNamespace(path)
  descriptors.push(fd)
  return fd
}

function encodeNewLink(spec: LinkSpec, open: OpenNamespace): BodyWriter {
  const writer = new BodyWriter().fixed(encodeHeader(0, spec.isUp))
  writeSettings(writer.text(IFLA_IFNAME, checkInterfaceName(spec.name)), spec, open)
  return writer.u32(IFLA_MASTER, spec.master).nested(IFLA_LINKINFO, () => {
    writer.text(IFLA_INFO_KIND, spec.kind)
    if (spec.kind === 'veth') writer.nested(IFLA_INFO_DATA, () => writeVethPeer(writer, spec.peer, open))
    if (spec.kind === 'vxlan') writer.nested(IFLA_INFO_DATA, () => writeVxlan(writer, spec))
  })
}

function encodeLinkChange(link: number | string, change: LinkChange, open: OpenNamespace): BodyWriter {
  // A link named by its name has IFLA_IFNAME taken for the search: renaming needs the index.
  if (change.name !== undefined && typeof link === 'string') {
    throw new NetlinkError('INVALID_INPUT', `rename link ${link}: name it by its index`)
  }
  const { alias, name } = change
  if (alias !== undefined && Buffer.byteLength(alias) > aliasBytesMax) {
    throw new NetlinkError('INVALID_INPUT', `the alias of link ${link} is longer than ${aliasBytesMax} bytes`)
  }
  const writer = selectLink(link, change.isUp)
  if (name !== undefined) writer.text(IFLA_IFNAME, checkInterfaceName(name))
  writeSettings(writer, change, open)
  // Without NUL: the kernel keeps the length it is given, and removes the alias at length 0.
  if (alias !== undefined) writer.bytes(IFLA_IFALIAS, Buffer.from(alias))
  return writer.u32(IFLA_MASTER, change.master === null ? 0 : change.master)
}

function writeSettings(writer: BodyWriter, settings: LinkSettings, open: OpenNamespace): void {
  const { mtu, mac, namespacePath } = settings
  if (mtu !== undefined) writer.u32(IFLA_MTU, checkInteger('an MTU', mtu, 0, mtuMax))
  if (mac !== undefined) writer.bytes(IFLA_ADDRESS, encodeMac(mac))
  if (namespacePath !== undefined) writer.u32(IFLA_NET_NS_FD, open(namespacePath))
}

function writeVethPeer(writer: BodyWriter, peer: VethPeerSpec, open: OpenNamespace): void {
  writer.nested(VETH_INFO_PEER, () => {
    writer.fixed(encodeHeader(0)).text(IFLA_IFNAME, checkInterfaceName(peer.name))
    writeSettings(writer, peer, open)
  })
}

function writeVxlan(writer: BodyWriter, spec: LinkSpec & { readonly kind: 'vxlan' }): void {
  const port = zeroed(2)
  port.writeUInt16BE(checkInteger('a VXLAN port', spec.port, 1, 0xffff))
  writer
    .u32(IFLA_VXLAN_ID, checkInteger('a VXLAN id', spec.id, 0, 0xff_ffff))
    .bytes(IFLA_VXLAN_PORT, port)
    .u32(IFLA_VXLAN_LINK, spec.lowerIndex)
    .u8(IFLA_VXLAN_LEARNING, spec.isLearning === undefined ? undefined : Number(spec.isLearning))
  if (spec.local === undefined) return
  const isIPv4 = familyOf(spec.local) === AF_INET
  writer.bytes(isIPv4 ? IFLA_VXLAN_LOCAL : IFLA_VXLAN_LOCAL6, encodeAddress(spec.local))
}
