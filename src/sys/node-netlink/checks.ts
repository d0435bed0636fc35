// Checks of a caller's values before they become bytes: a number that does not fit would otherwise be cut or
// thrown about without saying whose it was.

import { NetlinkError } from './errors.ts'

/** IFNAMSIZ less the NUL. */
const interfaceNameBytesMax = 15

export function checkInteger(name: string, value: number, min: number, max: number): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value
  throw new NetlinkError(
    'INVALID_INPUT',
    `${name} must be a whole number from ${min} to ${max}, not ${value}`,
  )
}

export function checkInterfaceName(name: string): string {
  const bytes = Buffer.byteLength(name)
  if (bytes >= 1 && bytes <= interfaceNameBytesMax && !/[\s/:\0]/.test(name) && name !== '.' && name !== '..')
    return name
  throw new NetlinkError(
    'INVALID_INPUT',
    `'${name}' cannot name an interface: use 1 to ${interfaceNameBytesMax} bytes without blanks, '/' and ':'`,
  )
}

/** Six bytes of `aa:bb:cc:dd:ee:ff`. */
export function encodeMac(mac: string): Buffer {
  if (/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(mac)) return Buffer.from(mac.replaceAll(':', ''), 'hex')
  throw new NetlinkError(
    'INVALID_INPUT',
    `'${mac}' is not a MAC address: write six bytes like 02:00:00:00:00:01`,
  )
}

export function decodeMac(bytes: Buffer): string {
  return bytes.toString('hex').replace(/..(?!$)/g, '$&:')
}

/**
 * The key of `table` whose value is `number`; numbers without a name are told as text, so that no row is ever
 * lost.
 */
export function nameOf<K extends string>(
  table: Readonly<Record<K, number>>,
  number: number,
): K | `${number}` {
  for (const key in table) if (table[key] === number) return key
  return `${number}`
}
