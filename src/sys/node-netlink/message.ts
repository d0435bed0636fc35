// The envelope of netlink: messages with a 16-byte header, several to a datagram, and attributes (type,
// length, value) inside them. Everything is padded to four bytes. Integers are in the machine's order,
// addresses and ports in network order (RFC 3549).
//
// Reading never copies: a Message and its Attributes are views of the receive buffer, to be decoded before
// the next receive. Lengths come from outside and are checked here, so that no decoder above has to.

import { NetlinkError } from './errors.ts'

export const NLMSG_ERROR = 2
export const NLMSG_DONE = 3

export const NLM_F_REQUEST = 0x1
export const NLM_F_ACK = 0x4
export const NLM_F_DUMP_INTR = 0x10
export const NLM_F_DUMP = 0x300
export const NLM_F_REPLACE = 0x100
export const NLM_F_EXCL = 0x200
export const NLM_F_CREATE = 0x400
export const NLM_F_CAPPED = 0x100
export const NLM_F_ACK_TLVS = 0x200

const NLMSGERR_ATTR_MSG = 1
const NLA_F_NESTED = 0x8000
const attributeTypeMask = 0x3fff

export const messageHeaderBytes = 16
const attributeHeaderBytes = 4
const attributeBytesMax = 0xffff

/** Holds a request with a few attributes; longer ones grow. */
const bodyBytesUsual = 128

export interface Message {
  readonly type: number
  readonly flags: number
  readonly sequence: number
  /** What follows the header: a structure that depends on the type, then attributes. */
  readonly body: Buffer
}

/** The header and body of one request, padded. The sequence number is filled in when it is sent. */
export function encodeMessage(type: number, flags: number, body: Uint8Array): Buffer {
  const length = messageHeaderBytes + body.length
  const message = zeroed(padded(length))
  message.writeUInt32LE(length, 0)
  message.writeUInt16LE(type, 4)
  message.writeUInt16LE(flags, 6)
  message.set(body, messageHeaderBytes)
  return message
}

export function setSequence(message: Buffer, sequence: number): void {
  message.writeUInt32LE(sequence, 8)
}

/** The messages of one datagram. */
export function* decodeMessages(datagram: Buffer): Generator<Message> {
  for (let offset = 0; offset < datagram.length; ) {
    const left = datagram.length - offset
    const length = left < messageHeaderBytes ? 0 : datagram.readUInt32LE(offset)
    if (length < messageHeaderBytes || length > left) {
      throw new NetlinkError(
        'MALFORMED',
        `read a netlink datagram: message length ${length}, ${left} bytes left`,
      )
    }
    yield {
      type: datagram.readUInt16LE(offset + 4),
      flags: datagram.readUInt16LE(offset + 6),
      sequence: datagram.readUInt32LE(offset + 8),
      body: datagram.subarray(offset + messageHeaderBytes, offset + length),
    }
    offset += padded(length)
  }
}

export interface Acknowledgement {
  /** 0 when the request was carried out. */
  readonly errno: number
  /** The kernel's own words (NETLINK_EXT_ACK). A success may carry a warning. */
  readonly explanation: string | undefined
}

/**
 * An NLMSG_ERROR, or the NLMSG_DONE of a dump, which has the same fields but no copy of the request in
 * between.
 */
export function decodeAcknowledgement(message: Message): Acknowledgement {
  const { body, flags } = message
  if (body.length < 4) return { errno: 0, explanation: undefined } // An old kernel's NLMSG_DONE may be empty.
  const errno = -body.readInt32LE(0)
  if ((flags & NLM_F_ACK_TLVS) === 0) return { errno, explanation: undefined }
  const attributes = new Attributes(body, 4 + requestCopyBytes(message))
  return { errno, explanation: attributes.text(NLMSGERR_ATTR_MSG) }
}

function requestCopyBytes({ type, flags, body }: Message): number {
  if (type === NLMSG_DONE) return 0
  if (flags & NLM_F_CAPPED || body.length < 8) return messageHeaderBytes
  return padded(body.readUInt32LE(4))
}

/**
 * The attributes of a message or of a nest, found by type. When a type occurs twice the later one counts, as
 * in the kernel.
 */
export class Attributes {
  readonly #buffer: Buffer
  /** Attribute type → offset of its value; its length stands in the header four bytes before. */
  readonly #offsets = new Map<number, number>()

  constructor(buffer: Buffer, start = 0) {
    this.#buffer = buffer
    for (let offset = start; offset + attributeHeaderBytes <= buffer.length; ) {
      const length = buffer.readUInt16LE(offset)
      if (length < attributeHeaderBytes || offset + length > buffer.length) {
        const left = buffer.length - offset
        throw new NetlinkError(
          'MALFORMED',
          `read netlink attributes: attribute length ${length}, ${left} bytes left`,
        )
      }
      this.#offsets.set(buffer.readUInt16LE(offset + 2) & attributeTypeMask, offset + attributeHeaderBytes)
      offset += padded(length)
    }
  }

  /** A view, not a copy. */
  bytes(type: number): Buffer | undefined {
    const offset = this.#offsets.get(type)
    if (offset === undefined) return undefined
    return this.#buffer.subarray(offset, offset + this.#lengthAt(offset))
  }

  u8(type: number): number | undefined {
    const offset = this.#find(type, 1)
    return offset === undefined ? undefined : this.#buffer.readUInt8(offset)
  }

  u32(type: number): number | undefined {
    const offset = this.#find(type, 4)
    return offset === undefined ? undefined : this.#buffer.readUInt32LE(offset)
  }

  i32(type: number): number | undefined {
    const offset = this.#find(type, 4)
    return offset === undefined ? undefined : this.#buffer.readInt32LE(offset)
  }

  /** Up to the first NUL. */
  text(type: number): string | undefined {
    const bytes = this.bytes(type)
    if (bytes === undefined) return undefined
    const end = bytes.indexOf(0)
    return bytes.toString('utf8', 0, end === -1 ? bytes.length : end)
  }

  nested(type: number): Attributes | undefined {
    const bytes = this.bytes(type)
    return bytes && new Attributes(bytes)
  }

  #lengthAt(offset: number): number {
    return this.#buffer.readUInt16LE(offset - attributeHeaderBytes) - attributeHeaderBytes
  }

  #find(type: number, bytesNeeded: number): number | undefined {
    const offset = this.#offsets.get(type)
    if (offset === undefined) return undefined
    if (this.#lengthAt(offset) >= bytesNeeded) return offset
    throw new NetlinkError('MALFORMED', `read netlink attribute ${type}: shorter than ${bytesNeeded} bytes`)
  }
}

/**
 * Builds the body of a message: fixed structures and attributes in the order of the calls. An undefined value
 * writes nothing.
 */
export class BodyWriter {
  #buffer = zeroed(bodyBytesUsual)
  #length = 0

  /** A structure without attribute header. */
  fixed(bytes: Uint8Array): this {
    const start = this.#reserve(bytes.length)
    this.#buffer.set(bytes, start)
    return this
  }

  bytes(type: number, value: Uint8Array | undefined): this {
    if (value === undefined) return this
    const start = this.#attribute(type, value.length)
    this.#buffer.set(value, start)
    return this
  }

  u8(type: number, value: number | undefined): this {
    if (value === undefined) return this
    const start = this.#attribute(type, 1)
    this.#buffer.writeUInt8(value, start)
    return this
  }

  u32(type: number, value: number | undefined): this {
    if (value === undefined) return this
    const start = this.#attribute(type, 4)
    this.#buffer.writeUInt32LE(value, start)
    return this
  }

  /** NUL-terminated. */
  text(type: number, value: string | undefined): this {
    return this.bytes(type, value === undefined ? undefined : Buffer.from(`${value}\0`))
  }

  /** An attribute whose value is what `write` writes. */
  nested(type: number, write: () => void): this {
    const start = this.#length
    this.#attribute(type | NLA_F_NESTED, 0)
    write()
    this.#buffer.writeUInt16LE(this.#length - start, start)
    return this
  }

  /**
   * A structure that begins with a 16-bit count of its own bytes and those that `write` adds (struct
   * rtnexthop).
   */
  counted(structure: Uint8Array, write: () => void): this {
    const start = this.#length
    this.fixed(structure)
    write()
    this.#buffer.writeUInt16LE(this.#length - start, start)
    return this
  }

  finish(): Buffer {
    return this.#buffer.subarray(0, this.#length)
  }

  /** Writes an attribute's header and returns where its value goes. */
  #attribute(type: number, valueBytes: number): number {
    const length = attributeHeaderBytes + valueBytes
    if (length > attributeBytesMax)
      throw new RangeError(`netlink attribute ${type} of ${valueBytes} bytes is too long`)
    const start = this.#reserve(length)
    this.#buffer.writeUInt16LE(length, start)
    this.#buffer.writeUInt16LE(type, start + 2)
    return start + attributeHeaderBytes
  }

  /** Makes room at the end, zeroed and padded, and returns where. */
  #reserve(bytes: number): number {
    const start = this.#length
    this.#length += padded(bytes)
    if (this.#length > this.#buffer.length) {
      const grown = Buffer.alloc(Math.max(this.#length, 2 * this.#buffer.length))
      grown.set(this.#buffer)
      this.#buffer = grown
    }
    return start
  }
}

/**
 * From node's pool: an allocation of its own for each small buffer would cost more than all the rest of
 * encoding.
 */
export function zeroed(bytes: number): Buffer {
  return Buffer.allocUnsafe(bytes).fill(0)
}

function padded(length: number): number {
  return (length + 3) & ~3
}
