// What may be sent. gobgpd 3.10 checks almost nothing of a path: it answers OK to a prefix that is no prefix, masks host bits away,
// and takes a missing length for the default route. An empty neighbor set matches every peer. So it is refused here.

import { GobgpError } from './errors.ts'
import { familyBits, type Prefix, parseAddress, parsePrefix } from './prefix.ts'
import type { DaemonSettings, Path, PeerSettings, Policy, PrefixSet } from './types.ts'

const ASN_MAX = 4_294_967_294
/** RFC 4724: the restart time is a field of twelve bits. */
const RESTART_SECONDS_MAX = 4095
/** Unlike most timers this one is raised silently by gobgpd when lower. */
const CONNECT_RETRY_SECONDS_MIN = 5
export const COMMUNITIES_MAX = 32

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
  if (path.nextHop !== undefined) checkNextHop(path, prefix)
  for (const community of path.communities ?? []) parseCommunity(community)
  if ((path.communities?.length ?? 0) > COMMUNITIES_MAX)
    throw new GobgpError(
      'INVALID_PATH',
      `path ${path.prefix} has more than ${COMMUNITIES_MAX} communities: drop some`,
    )
  return prefix
}

function checkNextHop(path: Path, prefix: Prefix): void {
  const address = parseAddress(path.nextHop ?? '')
  if (address?.family === prefix.family && isUnicast(address.value, prefix.family)) return
  throw new GobgpError(
    'INVALID_PATH',
    `path ${path.prefix} has next hop '${path.nextHop}': it must be a unicast address of the same family, or left out`,
  )
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

export function checkDaemon(settings: DaemonSettings): void {
  if (isAsn(settings.asn) && parseAddress(settings.routerId)?.family === 'ipv4') return
  throw new GobgpError(
    'INVALID_DAEMON',
    `cannot start BGP as AS ${settings.asn}, router id '${settings.routerId}': the one is 1–${ASN_MAX}, the other written as an IPv4 address`,
  )
}

export function checkPeer(peer: PeerSettings): void {
  const refuse = (what: string) => {
    throw new GobgpError('INVALID_PEER', `peer '${peer.address}': ${what}`)
  }
  if (parseAddress(peer.address)?.family !== peer.family) refuse(`the address is not ${peer.family}`)
  if (peer.localAddress !== undefined && parseAddress(peer.localAddress)?.family !== peer.family)
    refuse(`local address '${peer.localAddress}' is not ${peer.family}`)
  if (!isAsn(peer.asn)) refuse(`AS ${peer.asn} is not between 1 and ${ASN_MAX}`)
  if (!isInteger(peer.port, 1, 65535)) refuse(`port ${peer.port} is not between 1 and 65535`)
  if (!isInteger(peer.holdSeconds, 3, 65535))
    refuse(`hold time ${peer.holdSeconds} s is not between 3 and 65535`)
  if (!isInteger(peer.keepaliveSeconds, 1, Math.floor(peer.holdSeconds / 3)))
    refuse(`keepalive ${peer.keepaliveSeconds} s is more than a third of the hold time`)
  if (!isInteger(peer.connectRetrySeconds, CONNECT_RETRY_SECONDS_MIN, 65535))
    refuse(
      `connect retry ${peer.connectRetrySeconds} s is below gobgpd's least, ${CONNECT_RETRY_SECONDS_MIN}`,
    )
  const restart = peer.gracefulRestart
  if (restart && !isInteger(restart.restartSeconds, 1, RESTART_SECONDS_MAX))
    refuse(`restart time ${restart.restartSeconds} s is not between 1 and ${RESTART_SECONDS_MAX}`)
  // 0 would mean gobgpd's default of six minutes, during which nothing is announced.
  if (restart && !isInteger(restart.deferralSeconds, 1, RESTART_SECONDS_MAX))
    refuse(`deferral time ${restart.deferralSeconds} s is not between 1 and ${RESTART_SECONDS_MAX}`)
}

export function checkPrefixSet(set: PrefixSet): void {
  const families = new Set<string>()
  for (const member of set.members) {
    const prefix = parsePrefix(member.prefix)
    const bits = prefix ? familyBits(prefix.family) : 0
    if (
      !prefix ||
      !isInteger(member.lengthMin, prefix.length, bits) ||
      !isInteger(member.lengthMax, member.lengthMin, bits)
    )
      throw new GobgpError(
        'INVALID_POLICY',
        `prefix set ${set.name}: '${member.prefix}' ${member.lengthMin}..${member.lengthMax} is no prefix with a range of longer lengths`,
      )
    families.add(prefix.family)
  }
  if (families.size > 1)
    throw new GobgpError('INVALID_POLICY', `prefix set ${set.name} mixes families: make one set for each`)
}

export function checkPolicy(policy: Policy): void {
  for (const statement of policy.statements) {
    if (statement.prefixSet === '')
      throw new GobgpError('INVALID_POLICY', `policy ${policy.name}: a statement names the empty prefix set`)
    if (statement.action === 'continue' && !statement.addCommunities?.length)
      throw new GobgpError(
        'INVALID_POLICY',
        `policy ${policy.name}: statement ${statement.name} neither decides nor changes anything`,
      )
    for (const community of statement.addCommunities ?? []) parseCommunity(community)
  }
}

function isAsn(value: number): boolean {
  return isInteger(value, 1, ASN_MAX)
}

function isInteger(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most
}
