// The hash in the names of kube-proxy's chains: base32 (RFC 4648, upper case) of SHA-256, cut.

import { createHash } from 'node:crypto'

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
const BITS_PER_CHARACTER = 5

/** @param length at most 51: what the digest has bits for without padding */
export function chainHash(text: string, length: number): string {
  let result = ''
  let bits = 0
  let held = 0
  for (const byte of createHash('sha256').update(text).digest()) {
    held = ((held << 8) | byte) & 0xffff
    for (bits += 8; bits >= BITS_PER_CHARACTER; bits -= BITS_PER_CHARACTER) {
      if (result.length === length) return result
      result += ALPHABET[(held >> (bits - BITS_PER_CHARACTER)) & 31]
    }
  }
  return result
}
