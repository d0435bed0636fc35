// Which peers, daemons and collectors may be set. gobgpd takes most impossible values and answers OK, or fails with the session.

import { isIPv4 } from 'node:net'
import { GobgpError } from './errors.ts'
import { parseAddress } from './prefix.ts'
import type {
  BmpStation,
  DaemonSettings,
  GracefulRestartSettings,
  PeerRemote,
  PeerSettings,
} from './types.ts'
import { isAsn, isInteger } from './validate-path.ts'

/** RFC 4724: the restart time is a field of twelve bits. */
const RESTART_SECONDS_MAX = 4095
/** RFC 9494: the stale time is a field of 24 bits. */
const LONG_LIVED_SECONDS_MAX = 0xff_ffff
/** Unlike most timers this one is raised silently by gobgpd when lower. */
const CONNECT_RETRY_SECONDS_MIN = 5
/** RFC 2385 leaves it open; Linux takes 80 bytes. */
const PASSWORD_BYTES_MAX = 80
/** IFNAMSIZ less the zero that ends it. */
const INTERFACE_BYTES_MAX = 15
const DESCRIPTION_BYTES_MAX = 255
/** RFC 9003: one byte counts it, and older peers take 128. */
const REASON_BYTES_MAX = 128
/** gobgpd's least. */
const STATISTICS_SECONDS_MIN = 15

type Refuse = (what: string) => void

export function checkDaemon(settings: DaemonSettings): void {
  const refuse: Refuse = (what) => {
    throw new GobgpError('INVALID_DAEMON', `cannot start BGP as AS ${settings.asn}: ${what}`)
  }
  if (!isAsn(settings.asn)) refuse('the number is not between 1 and 4294967294')
  if (!isIPv4(settings.routerId)) refuse(`router id '${settings.routerId}' is not written as an IPv4 address`)
  if (settings.listenPort !== undefined && !isInteger(settings.listenPort, 1, 65535))
    refuse(`port ${settings.listenPort} is not between 1 and 65535`)
  for (const address of settings.listenAddresses ?? [])
    if (!parseAddress(address)) refuse(`listen address '${address}' is no address`)
  if (settings.listenAddresses?.length && settings.listenPort === undefined)
    refuse('listen addresses without a listen port')
}

export function checkPeer(peer: PeerSettings): void {
  const refuse: Refuse = (what) => {
    throw new GobgpError('INVALID_PEER', `peer ${describeRemote(peer.remote)}: ${what}`)
  }
  checkRemote(peer.remote)
  checkAddressing(peer, refuse)
  checkTimers(peer, refuse)
  checkHops(peer, refuse)
  if (peer.gracefulRestart) checkRestart(peer.gracefulRestart, refuse)
  if (peer.password !== undefined && !fitsBytes(peer.password, 1, PASSWORD_BYTES_MAX))
    refuse(`the password is not 1 to ${PASSWORD_BYTES_MAX} bytes long`)
  if (!fitsBytes(peer.description ?? '', 0, DESCRIPTION_BYTES_MAX))
    refuse(`the description is longer than ${DESCRIPTION_BYTES_MAX} bytes`)
  if (peer.reflectorClient && !isIPv4(peer.reflectorClient.clusterId))
    refuse(`cluster id '${peer.reflectorClient.clusterId}' is not written as an IPv4 address`)
  for (const limit of peer.prefixLimits ?? []) {
    if (!peer.families.includes(limit.family))
      refuse(`a prefix limit for ${limit.family}, which it does not carry`)
    if (!isInteger(limit.maximum, 1, 0xffff_ffff) || !isInteger(limit.warnPercent ?? 1, 1, 100))
      refuse(`prefix limit ${limit.maximum}, warning at ${limit.warnPercent}%: it is at least 1, and 1–100%`)
  }
}

/** An empty name would mean every peer. */
export function checkRemote(remote: PeerRemote): void {
  const isGood =
    remote.kind === 'address'
      ? parseAddress(remote.address) !== undefined
      : fitsBytes(remote.interface, 1, INTERFACE_BYTES_MAX) && !/[\s/]/.test(remote.interface)
  if (isGood) return
  throw new GobgpError(
    'INVALID_PEER',
    `${describeRemote(remote)} names no peer: write an address or an interface`,
  )
}

function describeRemote(remote: PeerRemote): string {
  return remote.kind === 'address' ? `'${remote.address}'` : `on interface '${remote.interface}'`
}

function checkAddressing(peer: PeerSettings, refuse: Refuse): void {
  const family = peer.remote.kind === 'address' ? parseAddress(peer.remote.address)?.family : 'ipv6'
  if (peer.localAddress !== undefined && parseAddress(peer.localAddress)?.family !== family)
    refuse(`local address '${peer.localAddress}' is not ${family}`)
  if (peer.linkLocal !== undefined && (peer.remote.kind === 'address' || !isLinkLocal(peer.linkLocal)))
    refuse(`'${peer.linkLocal}' is no link-local address of an unnumbered peer`)
  if (peer.asn !== 'any' && !isAsn(peer.asn)) refuse(`AS ${peer.asn} is not between 1 and 4294967294`)
  if (peer.localAsn !== undefined && !isAsn(peer.localAsn))
    refuse(`local AS ${peer.localAsn} is not between 1 and 4294967294`)
  if (!isInteger(peer.port, 1, 65535)) refuse(`port ${peer.port} is not between 1 and 65535`)
  // gobgpd would put in one by itself.
  if (peer.families.length === 0) refuse('it carries no family')
  if (new Set(peer.families).size < peer.families.length) refuse('a family stands twice')
  if (peer.bindInterface !== undefined && !fitsBytes(peer.bindInterface, 1, INTERFACE_BYTES_MAX))
    refuse(`'${peer.bindInterface}' is no name of an interface`)
}

function isLinkLocal(text: string): boolean {
  const address = parseAddress(text)
  return address?.family === 'ipv6' && address.value >> 118n === 0xfe80n >> 6n && text !== 'fe80::'
}

function checkTimers(peer: PeerSettings, refuse: Refuse): void {
  if (!isInteger(peer.holdSeconds, 3, 65535))
    refuse(`hold time ${peer.holdSeconds} s is not between 3 and 65535`)
  if (!isInteger(peer.keepaliveSeconds, 1, Math.floor(peer.holdSeconds / 3)))
    refuse(`keepalive ${peer.keepaliveSeconds} s is more than a third of the hold time`)
  if (!isInteger(peer.connectRetrySeconds, CONNECT_RETRY_SECONDS_MIN, 65535))
    refuse(
      `connect retry ${peer.connectRetrySeconds} s is below gobgpd's least, ${CONNECT_RETRY_SECONDS_MIN}`,
    )
}

function checkHops({ multihopTtl, ttlSecurityMin }: PeerSettings, refuse: Refuse): void {
  if (multihopTtl !== undefined && !isInteger(multihopTtl, 2, 255))
    refuse(`multihop TTL ${multihopTtl} is not between 2 and 255`)
  if (ttlSecurityMin !== undefined && !isInteger(ttlSecurityMin, 1, 255))
    refuse(`least TTL ${ttlSecurityMin} is not between 1 and 255`)
  if (multihopTtl !== undefined && ttlSecurityMin !== undefined)
    refuse(
      'a multihop TTL and a least TTL exclude each other: for TTL security over hops lower the least TTL',
    )
}

function checkRestart(restart: GracefulRestartSettings, refuse: Refuse): void {
  if (!isInteger(restart.restartSeconds, 1, RESTART_SECONDS_MAX))
    refuse(`restart time ${restart.restartSeconds} s is not between 1 and ${RESTART_SECONDS_MAX}`)
  // 0 would mean gobgpd's default of six minutes, during which nothing is announced.
  if (!isInteger(restart.deferralSeconds, 1, RESTART_SECONDS_MAX))
    refuse(`deferral time ${restart.deferralSeconds} s is not between 1 and ${RESTART_SECONDS_MAX}`)
  if (
    restart.longLivedSeconds !== undefined &&
    !isInteger(restart.longLivedSeconds, 1, LONG_LIVED_SECONDS_MAX)
  )
    refuse(`long-lived time ${restart.longLivedSeconds} s is not between 1 and ${LONG_LIVED_SECONDS_MAX}`)
}

/** The text of a Cease (RFC 9003). gobgpd cuts it anywhere, in the middle of a character too. */
export function checkReason(reason: string): void {
  if (fitsBytes(reason, 0, REASON_BYTES_MAX)) return
  throw new GobgpError(
    'INVALID_PEER',
    `the reason '${reason}' is longer than ${REASON_BYTES_MAX} bytes: shorten it`,
  )
}

export function checkBmp(station: BmpStation): void {
  const refuse: Refuse = (what) => {
    throw new GobgpError('INVALID_DAEMON', `BMP station '${station.address}': ${what}`)
  }
  if (!parseAddress(station.address)) refuse('it is no address')
  if (!isInteger(station.port, 1, 65535)) refuse(`port ${station.port} is not between 1 and 65535`)
  const { statisticsSeconds } = station
  if (statisticsSeconds !== undefined && !isInteger(statisticsSeconds, STATISTICS_SECONDS_MIN, 65535))
    refuse(`statistics every ${statisticsSeconds} s: it is ${STATISTICS_SECONDS_MIN}–65535`)
}

function fitsBytes(text: string, least: number, most: number): boolean {
  const bytes = Buffer.byteLength(text)
  return bytes >= least && bytes <= most
}
