// IP addresses between text and the bytes that the kernel takes, and the sockaddr structures that wrap them.
// Both families go through the same functions; the length of the bytes (4 or 16) or the text itself tells
// which one it is.

import { isIP, isIPv4 } from 'node:net'
import { libc } from './library.ts'

const inetPton = libc.func('int inet_pton(int family, const char *text, void *bytes)') as (
  family: number,
  text: string,
  bytes: Buffer,
) => number
const inetNtop = libc.func(
  'const char *inet_ntop(int family, const void *bytes, char *text, uint32_t length)',
) as (family: number, bytes: Uint8Array, text: Buffer, length: number) => string

export const AF_INET = 2
export const AF_INET6 = 10

/** INET6_ADDRSTRLEN. */
const addressTextBytesMax = 46
const addressText = Buffer.alloc(addressTextBytesMax)

/** AF_INET or AF_INET6, told from the text. */
export function familyOf(address: string): number {
  return isIPv4(address) ? AF_INET : AF_INET6
}

/** 4 or 16 bytes in network order. Throws RangeError for anything but a literal address without zone. */
export function encodeAddress(address: string): Buffer {
  if (isIP(address) === 0 || address.includes('%')) {
    throw new RangeError(
      `'${address}' is not an IP address: write it in numbers, without zone or prefix length`,
    )
  }
  const family = familyOf(address)
  const bytes = Buffer.allocUnsafe(family === AF_INET ? 4 : 16)
  inetPton(family, address, bytes)
  return bytes
}

/** The canonical text (RFC 5952 for IPv6) of 4 or 16 bytes. */
export function decodeAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.')
  if (bytes.length !== 16) throw new RangeError(`an IP address has 4 or 16 bytes, not ${bytes.length}`)
  return inetNtop(AF_INET6, bytes, addressText, addressText.length)
}

/** struct sockaddr_in or sockaddr_in6. */
export function encodeSocketAddress(host: string, port: number): Buffer {
  if (!Number.isInteger(port) || port < 0 || port > 0xffff) throw new RangeError(`${port} is not a port`)
  const address = encodeAddress(host)
  const family = familyOf(host)
  const encoded = Buffer.alloc(family === AF_INET ? 16 : 28)
  encoded.writeUInt16LE(family, 0)
  encoded.writeUInt16BE(port, 2)
  encoded.set(address, family === AF_INET ? 4 : 8) // sockaddr_in6 has the flow label in between
  return encoded
}
