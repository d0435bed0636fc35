// Which paths may be sent. gobgpd 3.10 checks almost nothing of a path: it answers OK to a prefix that is no prefix, masks host bits
// away, and takes a missing length for the default route. So it is refused here.

import { GobgpError } from './errors.ts'
import { familyBits, type Prefix, parseAddress, parsePrefix } from './prefix.ts'
import type { Path } from './types.ts'

const ASN_MAX = 4_294_967_294
const UINT32_MAX = 0xffff_ffff
const COMMUNITIES_MAX = 64
/** Far beyond what any router prepends; 255 numbers fill a segment. */
const AS_PATH_MAX = 64

/** Returns the prefix parsed; throws INVALID_PATH. Length 0 is refused: nothing here ever originates a default route. */
export function checkPathPrefix(text: string): Prefix {
  const prefix = parsePrefix(text)
  if (!prefix)
    throw new GobgpError(
      'INVALID_PATH',
      `path '${text}' is no prefix: write address/length with no bit set beyond the length`,
    )
  if (prefix.length === 0)
    throw new GobgpError('INVALID_PATH', `path '${text}' is a default route, which is never announced`)
  return prefix
}

export function checkPath(path: Path): Prefix {
  const prefix = checkPathPrefix(path.prefix)
  const refuse = (what: string) => {
    throw new GobgpError('INVALID_PATH', `path ${path.prefix} ${what}`)
  }
  if (path.nextHop !== undefined && !isNextHop(path.nextHop, prefix.family))
    refuse(`has next hop '${path.nextHop}': it must be a unicast address of the same family, or left out`)
  for (const community of path.communities ?? []) parseCommunity(community)
  for (const community of path.largeCommunities ?? []) parseLargeCommunity(community)
  if ((path.communities?.length ?? 0) + (path.largeCommunities?.length ?? 0) > COMMUNITIES_MAX)
    refuse(`has more than ${COMMUNITIES_MAX} communities: drop some`)
  if (!isInteger(path.med ?? 0, 0, UINT32_MAX)) refuse(`has MED ${path.med}: it is 0–${UINT32_MAX}`)
  if (!isInteger(path.localPref ?? 0, 0, UINT32_MAX))
    refuse(`has local preference ${path.localPref}: it is 0–${UINT32_MAX}`)
  if (!(path.asPath ?? []).every(isAsn)) refuse(`has AS path '${path.asPath}': each is 1–${ASN_MAX}`)
  if ((path.asPath?.length ?? 0) > AS_PATH_MAX) refuse(`has an AS path longer than ${AS_PATH_MAX}`)
  return prefix
}

export function isNextHop(text: string, family: Prefix['family']): boolean {
  const address = parseAddress(text)
  return address?.family === family && isUnicast(address.value, family)
}

function isUnicast(value: bigint, family: Prefix['family']): boolean {
  const topByte = value >> BigInt(familyBits(family) - 8)
  return (
    value !== 0n &&
    (family === 'ipv4' ? topByte !== 127n && topByte < 224n : value !== 1n && topByte !== 0xffn)
  )
}

/** `high:low` as the number on the wire; throws INVALID_PATH. */
export function parseCommunity(text: string): number {
  const match = /^(\d{1,5}):(\d{1,5})$/.exec(text)
  const high = Number(match?.[1])
  const low = Number(match?.[2])
  if (high <= 0xffff && low <= 0xffff) return high * 0x10000 + low
  throw new GobgpError('INVALID_PATH', `community '${text}' is not two numbers up to 65535 joined by a colon`)
}

/** `global:local1:local2`; throws INVALID_PATH. */
export function parseLargeCommunity(text: string): {
  globalAdmin: number
  localData1: number
  localData2: number
} {
  const [, ...parts] = /^(\d{1,10}):(\d{1,10}):(\d{1,10})$/.exec(text) ?? []
  const [globalAdmin = Number.NaN, localData1 = Number.NaN, localData2 = Number.NaN] = parts.map(Number)
  if ([globalAdmin, localData1, localData2].every((part) => part <= UINT32_MAX))
    return { globalAdmin, localData1, localData2 }
  throw new GobgpError(
    'INVALID_PATH',
    `large community '${text}' is not three numbers up to ${UINT32_MAX} joined by colons`,
  )
}

export function isAsn(value: number): boolean {
  return isInteger(value, 1, ASN_MAX)
}

export function isInteger(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most
}
