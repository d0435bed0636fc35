// Routes. One shape for both families and for one or many next hops: a route has a list of them, empty for
// blackholes and the like.
//
// The kernel's own defaults are kept (table main, protocol boot aside): a route written here bears protocol
// `static` unless told otherwise, so that the owner of a route can always be told from its number.

import { decodeAddress } from '../libc/addresses.ts'
import { checkInteger, nameOf } from './checks.ts'
import type { Connection } from './connection.ts'
import {
  addressBytes,
  type Family,
  families,
  familyFromNumber,
  familyNumber,
  familyOfAddress,
  formatPrefix,
  parsePrefix,
} from './family.ts'
import {
  Attributes,
  BodyWriter,
  type Message,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  zeroed,
} from './message.ts'

export const RTM_NEWROUTE = 24
export const RTM_DELROUTE = 25
const RTM_GETROUTE = 26

const RTA_DST = 1
const RTA_OIF = 4
const RTA_GATEWAY = 5
const RTA_PRIORITY = 6
const RTA_PREFSRC = 7
const RTA_METRICS = 8
const RTA_MULTIPATH = 9
const RTA_TABLE = 15
const RTA_VIA = 18
const RTAX_MTU = 2

const RTNH_F_DEAD = 1
const RTNH_F_ONLINK = 4
const RTNH_F_LINKDOWN = 16

const RT_SCOPE_UNIVERSE = 0
const RT_SCOPE_LINK = 253
const RT_SCOPE_NOWHERE = 255
const RT_TABLE_COMPAT = 252

export const mainTable = 254
export const protocolStatic = 4

/** struct rtnexthop counts weights from 0 in one byte. */
const weightMax = 256
const nextHopHeaderBytes = 8

const routeTypes = {
  unicast: 1,
  local: 2,
  broadcast: 3,
  anycast: 4,
  multicast: 5,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
  throw: 9,
} as const

export type RouteType = keyof typeof routeTypes

export interface NextHop {
  /**
   * Undefined: the destination is on the link itself. May be of the other family (an IPv4 route via an IPv6
   * router, RFC 5549).
   */
  readonly gateway: string | undefined
  /** Index of the link. */
  readonly index: number | undefined
  /** 1 to 256. */
  readonly weight: number
  /** The gateway counts as reachable on the link though no address there covers it. */
  readonly isOnLink: boolean
  /**
   * The link is down or lost its carrier: the kernel passes over this hop (carrier: with
   * ignore_routes_with_linkdown).
   */
  readonly isDead: boolean
}

export interface Route {
  readonly family: Family
  readonly destination: string
  readonly table: number
  readonly type: RouteType | `${number}`
  /** Who wrote it: RTPROT_*, 2 the kernel, 4 static, others by agreement. */
  readonly protocol: number
  /** Lower wins. IPv6 stores 1024 where 0 was asked. */
  readonly metric: number
  /** The source address for packets of this host that choose none. */
  readonly source: string | undefined
  readonly mtu: number | undefined
  readonly nextHops: readonly NextHop[]
}

export interface NextHopSpec {
  readonly gateway?: string | undefined
  readonly index?: number | undefined
  readonly weight?: number | undefined
  readonly isOnLink?: boolean | undefined
}

export interface RouteSpec {
  readonly destination: string
  readonly table?: number | undefined
  readonly type?: RouteType | undefined
  readonly protocol?: number | undefined
  readonly metric?: number | undefined
  readonly source?: string | undefined
  readonly mtu?: number | undefined
  readonly nextHops?: readonly NextHopSpec[] | undefined
}

export interface RouteFilter {
  readonly family?: Family | undefined
  readonly table?: number | undefined
  readonly protocol?: number | undefined
  readonly index?: number | undefined
}

export class Routes {
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
  }

  /** All tables unless the filter names one; the kernel filters, except for what it cannot. */
  async list(filter: RouteFilter = {}, signal?: AbortSignal): Promise<Route[]> {
    const wanted = filter.family ? [filter.family] : families
    const lists = await Promise.all(wanted.map((family) => this.#listFamily(family, filter, signal)))
    return lists.flat()
  }

  /** The way that a packet to this address would take now, its source included; undefined when there is none. */
  async resolve(address: string, signal?: AbortSignal): Promise<Route | undefined> {
    const { family, bytes, length } = parsePrefix(address)
    const body = new BodyWriter()
      .fixed(encodeHeader({ family: familyNumber(family), prefixLength: length, table: 0, protocol: 0 }))
      .bytes(RTA_DST, bytes)
      .finish()
    const action = `resolve the way to ${address}`
    try {
      const [found] = await this.#connection.ask({
        type: RTM_GETROUTE,
        body,
        action,
        decode: decodeRoute,
        signal,
      })
      return found
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined
      if (code === 'ENETUNREACH' || code === 'EHOSTUNREACH') return undefined
      throw error
    }
  }

  /** Fails with EEXIST when a route of the same destination, table and metric is there. */
  async add(spec: RouteSpec, signal?: AbortSignal): Promise<void> {
    await this.#write('add', RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, spec, signal)
  }

  /**
   * Adds, or changes what has the same destination, table and metric, without a moment in which there is
   * neither.
   */
  async replace(spec: RouteSpec, signal?: AbortSignal): Promise<void> {
    await this.#write('replace', RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, spec, signal)
  }

  /** Deletes the first route that has all that the spec says. Fails with ESRCH when there is none. */
  async delete(spec: RouteSpec, signal?: AbortSignal): Promise<void> {
    await this.#write('delete', RTM_DELROUTE, 0, spec, signal)
  }

  async #write(
    verb: string,
    type: number,
    flags: number,
    spec: RouteSpec,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const body = encodeRoute(spec, type === RTM_DELROUTE)
    const table = spec.table === undefined || spec.table === mainTable ? '' : ` in table ${spec.table}`
    const action = `${verb} route ${spec.destination}${table}`
    await this.#connection.ask({ type, flags, body, action, signal })
  }

  async #listFamily(family: Family, filter: RouteFilter, signal: AbortSignal | undefined): Promise<Route[]> {
    const body = new BodyWriter()
      .fixed(
        encodeHeader({
          family: familyNumber(family),
          table: filter.table ?? 0,
          protocol: filter.protocol ?? 0,
        }),
      )
      .u32(RTA_TABLE, filter.table)
      .u32(RTA_OIF, filter.index)
      .finish()
    const action = `list ${family} routes`
    try {
      return await this.#connection.dump({ type: RTM_GETROUTE, body, action, decode: decodeRoute, signal })
    } catch (error) {
      // A table without routes may not exist; that is no failure of the question.
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
      throw error
    }
  }
}

export function decodeRoute({ body }: Message): Route | undefined {
  const family = familyFromNumber(body.readUInt8(0))
  if (family === undefined) return undefined
  const attributes = new Attributes(body, 12)
  const source = attributes.bytes(RTA_PREFSRC)
  const type = nameOf(routeTypes, body.readUInt8(7))
  return {
    family,
    destination: formatPrefix(family, attributes.bytes(RTA_DST), body.readUInt8(1)),
    table: attributes.u32(RTA_TABLE) ?? body.readUInt8(4),
    type,
    protocol: body.readUInt8(5),
    metric: attributes.u32(RTA_PRIORITY) ?? 0,
    source: source && decodeAddress(source),
    mtu: attributes.nested(RTA_METRICS)?.u32(RTAX_MTU),
    // The kernel puts its IPv6 refusing routes on loopback; that is its bookkeeping, not a next hop.
    nextHops: isRefusing(type) ? [] : decodeNextHops(attributes, body.readUInt32LE(8)),
  }
}

function isRefusing(type: string): boolean {
  return type === 'blackhole' || type === 'unreachable' || type === 'prohibit' || type === 'throw'
}

function decodeNextHops(attributes: Attributes, routeFlags: number): NextHop[] {
  const multipath = attributes.bytes(RTA_MULTIPATH)
  if (multipath === undefined) {
    const hop = decodeNextHop(attributes, attributes.u32(RTA_OIF), 1, routeFlags)
    return hop.index === undefined && hop.gateway === undefined ? [] : [hop]
  }
  const hops: NextHop[] = []
  for (let offset = 0; offset + nextHopHeaderBytes <= multipath.length; ) {
    // struct rtnexthop: length, flags, weight less one, link index; its attributes follow.
    const length = Math.max(multipath.readUInt16LE(offset), nextHopHeaderBytes)
    const hop = multipath.subarray(offset, offset + length)
    const weight = hop.readUInt8(3) + 1
    hops.push(
      decodeNextHop(new Attributes(hop, nextHopHeaderBytes), hop.readInt32LE(4), weight, hop.readUInt8(2)),
    )
    offset += (length + 3) & ~3
  }
  return hops
}

function decodeNextHop(
  attributes: Attributes,
  index: number | undefined,
  weight: number,
  flags: number,
): NextHop {
  // struct rtvia: a family of 16 bits before the address.
  const gateway = attributes.bytes(RTA_GATEWAY) ?? attributes.bytes(RTA_VIA)?.subarray(2)
  return {
    gateway: gateway && decodeAddress(gateway),
    index,
    weight,
    isOnLink: (flags & RTNH_F_ONLINK) !== 0,
    isDead: (flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN)) !== 0,
  }
}

interface Header {
  readonly family: number
  readonly prefixLength?: number
  readonly table: number
  readonly protocol: number
  readonly scope?: number
  readonly type?: number
  readonly flags?: number
}

/** struct rtmsg. Tables above 255 stand in RTA_TABLE alone. */
function encodeHeader(header: Header): Buffer {
  const { table } = header
  const encoded = zeroed(12)
  encoded.writeUInt8(header.family, 0)
  encoded.writeUInt8(header.prefixLength ?? 0, 1)
  encoded.writeUInt8(checkInteger('a table', table, 0, 0xffff_ffff) > 255 ? RT_TABLE_COMPAT : table, 4)
  encoded.writeUInt8(checkInteger('a route protocol', header.protocol, 0, 255), 5)
  encoded.writeUInt8(header.scope ?? 0, 6)
  encoded.writeUInt8(header.type ?? 0, 7)
  encoded.writeUInt32LE(header.flags ?? 0, 8)
  return encoded
}

export function encodeRoute(spec: RouteSpec, isDeletion: boolean): Buffer {
  const { family, bytes, length } = parsePrefix(spec.destination)
  const hops = spec.nextHops ?? []
  const single = hops.length === 1 ? hops[0] : undefined
  const table = spec.table ?? mainTable
  const writer = new BodyWriter()
    .fixed(
      encodeHeader({
        family: familyNumber(family),
        prefixLength: length,
        table,
        protocol: spec.protocol ?? (isDeletion ? 0 : protocolStatic),
        scope: scopeOf(spec, isDeletion),
        // 0 in a deletion means any.
        type: isDeletion && spec.type === undefined ? 0 : routeTypes[spec.type ?? 'unicast'],
        flags: single ? hopFlags(single) : 0,
      }),
    )
    .bytes(RTA_DST, length > 0 ? bytes : undefined)
    .u32(RTA_TABLE, table)
    .u32(RTA_PRIORITY, spec.metric)
    .bytes(RTA_PREFSRC, spec.source === undefined ? undefined : addressBytes(spec.source, family))
  if (spec.mtu !== undefined) writer.nested(RTA_METRICS, () => writer.u32(RTAX_MTU, spec.mtu))
  if (single) writeGateway(writer.u32(RTA_OIF, single.index), single, family)
  else if (hops.length > 1) writer.nested(RTA_MULTIPATH, () => writeMultipath(writer, hops, family))
  return writer.finish()
}

/**
 * IPv4 wants to know how far a destination is, and compares it on deletion unless told "nowhere". IPv6
 * ignores it.
 */
function scopeOf(spec: RouteSpec, isDeletion: boolean): number {
  if (isDeletion) return RT_SCOPE_NOWHERE
  const isUnicast = (spec.type ?? 'unicast') === 'unicast'
  const hops = spec.nextHops ?? []
  return isUnicast && hops.length > 0 && hops.every((hop) => hop.gateway === undefined)
    ? RT_SCOPE_LINK
    : RT_SCOPE_UNIVERSE
}

function hopFlags(hop: NextHopSpec): number {
  return hop.isOnLink ? RTNH_F_ONLINK : 0
}

function writeGateway(writer: BodyWriter, hop: NextHopSpec, family: Family): void {
  if (hop.gateway === undefined) return
  const bytes = addressBytes(hop.gateway)
  const gatewayFamily = familyOfAddress(hop.gateway)
  if (gatewayFamily === family) {
    writer.bytes(RTA_GATEWAY, bytes)
    return
  }
  const via = zeroed(2 + bytes.length)
  via.writeUInt16LE(familyNumber(gatewayFamily), 0)
  via.set(bytes, 2)
  writer.bytes(RTA_VIA, via)
}

function writeMultipath(writer: BodyWriter, hops: readonly NextHopSpec[], family: Family): void {
  for (const hop of hops) {
    const structure = zeroed(nextHopHeaderBytes)
    structure.writeUInt8(hopFlags(hop), 2)
    structure.writeUInt8(checkInteger('a next hop weight', hop.weight ?? 1, 1, weightMax) - 1, 3)
    structure.writeInt32LE(hop.index ?? 0, 4)
    writer.counted(structure, () => writeGateway(writer, hop, family))
  }
}
