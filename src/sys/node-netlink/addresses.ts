// Addresses of links.

import { checkInteger } from './checks.ts'
import type { Connection } from './connection.ts'
import {
  addressBytes,
  type Family,
  familyFromNumber,
  familyNumber,
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

export const RTM_NEWADDR = 20
export const RTM_DELADDR = 21
const RTM_GETADDR = 22

const IFA_ADDRESS = 1
const IFA_LOCAL = 2
const IFA_FLAGS = 8
const IFA_F_NODAD = 0x02
const IFA_F_DADFAILED = 0x08
const IFA_F_TENTATIVE = 0x40
const IFA_F_PERMANENT = 0x80

export interface Address {
  readonly family: Family
  /** Index of the link that holds it. */
  readonly index: number
  /** With the length of the prefix it is in: `10.0.0.1/24`. */
  readonly address: string
  /** The other end of a point-to-point address. */
  readonly peer: string | undefined
  /** 0 global, 253 link, 254 host. */
  readonly scope: number
  /** Not yet usable: duplicate address detection runs (IPv6). */
  readonly isTentative: boolean
  /** Never usable: another host holds it. */
  readonly isDuplicate: boolean
  readonly isPermanent: boolean
}

export interface AddressSpec {
  readonly index: number
  readonly address: string
  readonly scope?: number | undefined
  /** Usable at once, without duplicate address detection (IPv6). */
  readonly skipDuplicateDetection?: boolean | undefined
}

export interface AddressFilter {
  readonly family?: Family | undefined
  readonly index?: number | undefined
}

export class Addresses {
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
  }

  list(filter: AddressFilter = {}, signal?: AbortSignal): Promise<Address[]> {
    const body = encodeHeader(familyNumber(filter.family), 0, 0, filter.index ?? 0)
    return this.#connection.dump({
      type: RTM_GETADDR,
      body,
      action: 'list addresses',
      decode: decodeAddressRow,
      signal,
    })
  }

  /** Fails with EEXIST when the link has it. */
  async add(spec: AddressSpec, signal?: AbortSignal): Promise<void> {
    await this.#write('add', RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, spec, signal)
  }

  async replace(spec: AddressSpec, signal?: AbortSignal): Promise<void> {
    await this.#write('replace', RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, spec, signal)
  }

  /** Fails with EADDRNOTAVAIL when the link does not have it. */
  async delete(spec: AddressSpec, signal?: AbortSignal): Promise<void> {
    await this.#write('delete', RTM_DELADDR, 0, spec, signal)
  }

  async #write(
    verb: string,
    type: number,
    flags: number,
    spec: AddressSpec,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const action = `${verb} address ${spec.address} of link ${spec.index}`
    await this.#connection.ask({ type, flags, body: encodeAddressSpec(spec), action, signal })
  }
}

export function decodeAddressRow({ body }: Message): Address | undefined {
  const family = familyFromNumber(body.readUInt8(0))
  if (family === undefined) return undefined
  const attributes = new Attributes(body, 8)
  const flags = attributes.u32(IFA_FLAGS) ?? body.readUInt8(2)
  // IPv4 always has both; they differ on point-to-point links only. IPv6 has LOCAL only there.
  const other = attributes.bytes(IFA_ADDRESS)
  const local = attributes.bytes(IFA_LOCAL) ?? other
  const isPeer = local !== undefined && other !== undefined && !local.equals(other)
  return {
    family,
    index: body.readUInt32LE(4),
    address: formatPrefix(family, local, body.readUInt8(1)),
    peer: isPeer ? formatPrefix(family, other, body.readUInt8(1)) : undefined,
    scope: body.readUInt8(3),
    isTentative: (flags & IFA_F_TENTATIVE) !== 0,
    isDuplicate: (flags & IFA_F_DADFAILED) !== 0,
    isPermanent: (flags & IFA_F_PERMANENT) !== 0,
  }
}

/** struct ifaddrmsg. */
function encodeHeader(family: number, prefixLength: number, scope: number, index: number): Buffer {
  const header = zeroed(8)
  header.writeUInt8(family, 0)
  header.writeUInt8(prefixLength, 1)
  header.writeUInt8(checkInteger('an address scope', scope, 0, 255), 3)
  header.writeUInt32LE(checkInteger('a link index', index, 0, 0x7fff_ffff), 4)
  return header
}

function encodeAddressSpec(spec: AddressSpec): Buffer {
  const { family, length } = parsePrefix(spec.address)
  const bytes = addressBytes(spec.address.split('/')[0] ?? '', family)
  return new BodyWriter()
    .fixed(encodeHeader(familyNumber(family), length, spec.scope ?? 0, spec.index))
    .bytes(IFA_LOCAL, bytes)
    .bytes(IFA_ADDRESS, bytes)
    .u32(IFA_FLAGS, spec.skipDuplicateDetection ? IFA_F_NODAD : undefined)
    .finish()
}
