// BGP messages byte by byte (RFC 4271), right ones and wrong ones: nothing here checks anything.

const MARKER = Buffer.alloc(16, 0xff)
export const HEADER_BYTES = 19
export const MESSAGE_BYTES_MAX = 4096

export const OPEN = 1
export const UPDATE = 2
export const NOTIFICATION = 3
export const KEEPALIVE = 4

/** Attribute flags. */
export const OPTIONAL = 0x80
export const TRANSITIVE = 0x40
const EXTENDED_LENGTH = 0x10

export const u16 = (value: number): number[] => [(value >> 8) & 0xff, value & 0xff]
export const u32 = (value: number): number[] => [...u16(value >>> 16), ...u16(value & 0xffff)]
export const ipv4 = (text: string): number[] => text.split('.').map(Number)

/** @param length what the header says, where it is not the truth */
export function message(type: number, body: Uint8Array | readonly number[], length?: number): Buffer {
  return Buffer.concat([
    MARKER,
    Buffer.from([...u16(length ?? HEADER_BYTES + body.length), type]),
    Buffer.from(body),
  ])
}

/** Four-octet ASNs, both families. */
export function open(asn: number, routerId: string, holdSeconds: number): Buffer {
  const capability = (code: number, value: readonly number[]) => [code, value.length, ...value]
  const capabilities = [
    ...capability(1, [0, 1, 0, 1]),
    ...capability(1, [0, 2, 0, 1]),
    ...capability(65, u32(asn)),
  ]
  const parameters = [2, capabilities.length, ...capabilities]
  const body = [4, ...u16(asn), ...u16(holdSeconds), ...ipv4(routerId), parameters.length, ...parameters]
  return message(OPEN, body)
}

export const keepalive = (): Buffer => message(KEEPALIVE, [])

export function attribute(flags: number, type: number, value: readonly number[]): number[] {
  if (value.length > 255) return [flags | EXTENDED_LENGTH, type, ...u16(value.length), ...value]
  return [flags, type, value.length, ...value]
}

export const origin = attribute(TRANSITIVE, 1, [0])
export const asPath = (...asns: readonly number[]): number[] =>
  attribute(TRANSITIVE, 2, [2, asns.length, ...asns.flatMap(u32)])
export const nextHop = (address: string): number[] => attribute(TRANSITIVE, 3, ipv4(address))

/** An IPv4 prefix as in NLRI. */
export function nlri(prefix: string): number[] {
  const [address = '', length = ''] = prefix.split('/')
  return [Number(length), ...ipv4(address).slice(0, Math.ceil(Number(length) / 8))]
}

/** @param attributesLength what the message says, where it is not the truth */
export function updateBody(
  attributes: readonly number[],
  prefixes: readonly number[],
  attributesLength = attributes.length,
): number[] {
  return [...u16(0), ...u16(attributesLength), ...attributes, ...prefixes]
}

export const update = (attributes: readonly number[], ...prefixes: readonly string[]): Buffer =>
  message(UPDATE, updateBody(attributes, prefixes.flatMap(nlri)))

/** As many prefixes to a message as fit. */
export function updates(attributes: readonly number[], prefixes: readonly string[]): Buffer {
  const messages: Buffer[] = []
  let batch: number[] = []
  const room = MESSAGE_BYTES_MAX - HEADER_BYTES - 4 - attributes.length
  for (const prefix of prefixes) {
    const bytes = nlri(prefix)
    if (batch.length + bytes.length > room) {
      messages.push(message(UPDATE, updateBody(attributes, batch)))
      batch = []
    }
    batch.push(...bytes)
  }
  messages.push(message(UPDATE, updateBody(attributes, batch)))
  return Buffer.concat(messages)
}
