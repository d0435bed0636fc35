// Neighbours: which hardware address an address on a link has (ARP, RFC 826; neighbour discovery, RFC 4861).

import { decodeAddress } from '../libc/addresses.ts'
import { checkInteger, decodeMac, encodeMac, nameOf } from './checks.ts'
import type { Connection } from './connection.ts'
import { addressBytes, type Family, familyFromNumber, familyNumber, familyOfAddress } from './family.ts'
import {
  Attributes,
  BodyWriter,
  type Message,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  zeroed,
} from './message.ts'

export const RTM_NEWNEIGH = 28
export const RTM_DELNEIGH = 29
const RTM_GETNEIGH = 30

const NDA_DST = 1
const NDA_LLADDR = 2
const NDA_CACHEINFO = 3
const NDA_IFINDEX = 8
const NTF_USE = 0x01
const NTF_ROUTER = 0x80
/** Userspace is told times in hundredths of a second, whatever the kernel's tick is. */
const MS_PER_CLOCK = 10

const neighbourStates = {
  none: 0,
  incomplete: 0x01,
  reachable: 0x02,
  stale: 0x04,
  delay: 0x08,
  probe: 0x10,
  failed: 0x20,
  noarp: 0x40,
  permanent: 0x80,
} as const

export type NeighbourState = keyof typeof neighbourStates

export interface Neighbour {
  readonly family: Family
  /** Index of the link. */
  readonly index: number
  readonly address: string
  /** Undefined while unknown: `incomplete`, `failed`. */
  readonly mac: string | undefined
  readonly state: NeighbourState | `${number}`
  readonly isRouter: boolean
  /** How long ago it last proved to be there, by an answer or by TCP that got on. */
  readonly confirmedMs: number | undefined
}

export interface NeighbourKey {
  readonly index: number
  readonly address: string
}

export interface NeighbourSpec extends NeighbourKey {
  readonly mac: string
  /** `permanent` unless told otherwise. */
  readonly state?: NeighbourState | undefined
}

export interface NeighbourFilter {
  readonly family?: Family | undefined
  readonly index?: number | undefined
}

export class Neighbours {
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
  }

  list(filter: NeighbourFilter = {}, signal?: AbortSignal): Promise<Neighbour[]> {
    // The strict check of a dump wants the index as an attribute, not in the header.
    const body = new BodyWriter()
      .fixed(encodeHeader(familyNumber(filter.family), 0, 0, 0))
      .u32(NDA_IFINDEX, filter.index)
      .finish()
    return this.#connection.dump({
      type: RTM_GETNEIGH,
      body,
      action: 'list neighbours',
      decode: decodeNeighbour,
      signal,
    })
  }

  /** The entry, or undefined when the kernel has none. */
  async get(key: NeighbourKey, signal?: AbortSignal): Promise<Neighbour | undefined> {
    const request = {
      type: RTM_GETNEIGH,
      body: encodeKey(key, 0, 0).finish(),
      decode: decodeNeighbour,
      signal,
    }
    try {
      const [found] = await this.#connection.ask({ ...request, action: `look at neighbour ${describe(key)}` })
      return found
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
      throw error
    }
  }

  /** Fails with EEXIST when there is an entry. */
  async add(spec: NeighbourSpec, signal?: AbortSignal): Promise<void> {
    await this.#write('add', NLM_F_CREATE | NLM_F_EXCL, spec, signal)
  }

  async replace(spec: NeighbourSpec, signal?: AbortSignal): Promise<void> {
    await this.#write('replace', NLM_F_CREATE | NLM_F_REPLACE, spec, signal)
  }

  /** Fails with ENOENT when there is none. */
  async delete(key: NeighbourKey, signal?: AbortSignal): Promise<void> {
    const body = encodeKey(key, 0, 0).finish()
    await this.#connection.ask({
      type: RTM_DELNEIGH,
      body,
      action: `delete neighbour ${describe(key)}`,
      signal,
    })
  }

  /**
   * Makes the kernel find out, or confirm, the hardware address now, as sending a packet would. The answer
   * comes as an event.
   */
  async resolve(key: NeighbourKey, signal?: AbortSignal): Promise<void> {
    const body = encodeKey(key, neighbourStates.none, NTF_USE).finish()
    const action = `resolve neighbour ${describe(key)}`
    await this.#connection.ask({ type: RTM_NEWNEIGH, flags: NLM_F_CREATE, body, action, signal })
  }

  async #write(
    verb: string,
    flags: number,
    spec: NeighbourSpec,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const body = encodeKey(spec, neighbourStates[spec.state ?? 'permanent'], 0)
      .bytes(NDA_LLADDR, encodeMac(spec.mac))
      .finish()
    await this.#connection.ask({
      type: RTM_NEWNEIGH,
      flags,
      body,
      action: `${verb} neighbour ${describe(spec)}`,
      signal,
    })
  }
}

/** Undefined for a bridge's forwarding entries, which use the same messages. */
export function decodeNeighbour({ body }: Message): Neighbour | undefined {
  const family = familyFromNumber(body.readUInt8(0))
  const attributes = new Attributes(body, 12)
  const address = attributes.bytes(NDA_DST)
  if (family === undefined || address === undefined) return undefined
  const mac = attributes.bytes(NDA_LLADDR)
  // struct nda_cacheinfo begins with the time since it was confirmed.
  const confirmed = attributes.bytes(NDA_CACHEINFO)?.readUInt32LE(0)
  return {
    family,
    index: body.readInt32LE(4),
    address: decodeAddress(address),
    mac: mac?.length === 6 ? decodeMac(mac) : undefined,
    state: nameOf(neighbourStates, body.readUInt16LE(8)),
    isRouter: (body.readUInt8(10) & NTF_ROUTER) !== 0,
    confirmedMs: confirmed === undefined ? undefined : confirmed * MS_PER_CLOCK,
  }
}

/** struct ndmsg. */
function encodeHeader(family: number, index: number, state: number, flags: number): Buffer {
  const header = zeroed(12)
  header.writeUInt8(family, 0)
  header.writeInt32LE(checkInteger('a link index', index, 0, 0x7fff_ffff), 4)
  header.writeUInt16LE(state, 8)
  header.writeUInt8(flags, 10)
  return header
}

function encodeKey(key: NeighbourKey, state: number, flags: number): BodyWriter {
  const family = familyNumber(familyOfAddress(key.address))
  return new BodyWriter()
    .fixed(encodeHeader(family, key.index, state, flags))
    .bytes(NDA_DST, addressBytes(key.address))
}

function describe(key: NeighbourKey): string {
  return `${key.address} on link ${key.index}`
}
