// One session in a paragraph, as `show bgp neighbors` gives it: what is configured, what was agreed on, what was counted, what went wrong.

import type { PeerFamily, PeerView } from '../agent/bgp-peers-view.ts'
import { formatAge, formatFields, wrapText } from '../model/text-table.ts'
import { timeText } from '../model/time-text.ts'
import { advertisedText, bfdError, stateOf } from './bgp-peer-cells.ts'

type Field = readonly [name: string, value: string]

export function formatPeerDetail(peer: PeerView, nowMs: number, width: number): string {
  const fields: Field[] = [
    ['State', stateText(peer, nowMs)],
    ['Router id', peer.routerId || 'not told yet'],
    ['Configured by', peer.source ?? "not this agent: it is gobgpd's own"],
    ...peer.families.map((counts): Field => [`${counts.family} unicast`, prefixText(counts)]),
    ['Installed', `${peer.taken} of its routes are in the kernel`],
    ...settingFields(peer),
    ...capabilityFields(peer),
    ...messageFields(peer),
    ['BFD', bfdText(peer)],
    ...(peer.cause === undefined ? [] : [['What is wrong', peer.cause] as const]),
    ['Last error', lastErrorText(peer)],
  ]
  return `${wrapText(headText(peer), width, '  ')}\n${formatFields(fields, width, '  ')}`
}

function headText({ name, address, asn, localAsn }: PeerView): string {
  const where = name === address ? '' : ` (${address})`
  const whose = typeof asn === 'number' ? `AS ${asn}` : `any ${asn} AS`
  const kind = asn === localAsn || asn === 'internal' ? 'internal' : 'external'
  return `Peer ${name}${where}, ${whose}, local AS ${localAsn}, ${kind}`
}

function stateText(peer: PeerView, nowMs: number): string {
  const { sinceMs, state, flaps } = peer
  const fell = flaps === 0 ? '' : `; it fell ${flaps === 1 ? 'once' : `${flaps} times`}`
  if (sinceMs === undefined) return `${stateOf(peer)}; it was never established${fell}`
  const time = `${formatAge(sinceMs, nowMs)}, since ${timeText(sinceMs)}`
  return state === 'established'
    ? `established for ${time}${fell}`
    : `${stateOf(peer)}, down for ${time}${fell}`
}

function prefixText(counts: PeerFamily): string {
  const { received, accepted } = counts
  return `${received} received, ${accepted} accepted, ${advertisedText(counts)} advertised`
}

/** What gobgpd has of its own is not known. */
function settingFields({ settings, negotiatedHoldSeconds }: PeerView): Field[] {
  if (!settings) return []
  const { timers, port, localAddress, hasPassword, gracefulRestart } = settings
  const { holdSeconds, keepaliveSeconds, connectRetrySeconds } = timers
  const agreed =
    negotiatedHoldSeconds === 0 ? 'nothing agreed on yet' : `agreed on: hold ${negotiatedHoldSeconds} s`
  return [
    [
      'Timers',
      `hold ${holdSeconds} s, keepalive ${keepaliveSeconds} s, connect retry ${connectRetrySeconds} s; ${agreed}`,
    ],
    [
      'Transport',
      [
        `port ${port}`,
        ...(localAddress === undefined ? [] : [`from ${localAddress}`]),
        ttlText(settings),
        hasPassword ? 'MD5 password' : 'no password',
      ].join(', '),
    ],
    ['Graceful restart', gracefulRestart ? graceText(gracefulRestart) : 'off'],
  ]
}

function ttlText({ ttlSecurityMin, multihopTtl }: NonNullable<PeerView['settings']>): string {
  if (ttlSecurityMin !== undefined) return `GTSM: TTL ${ttlSecurityMin} and above`
  return multihopTtl === undefined ? 'one hop' : `up to ${multihopTtl} hops`
}

type Grace = NonNullable<NonNullable<PeerView['settings']>['gracefulRestart']>

function graceText({ restartSeconds, longLivedSeconds }: Grace): string {
  const longLived =
    longLivedSeconds === undefined ? '' : `, then stale for ${longLivedSeconds} s (long-lived)`
  return `routes are kept for ${restartSeconds} s${longLived}`
}

/** Both, one of the two, or none says so. */
function capabilityFields({ capabilities: { local, remote } }: PeerView): Field[] {
  const both = local.filter((name) => remote.includes(name))
  const ours = local.filter((name) => !remote.includes(name))
  const theirs = remote.filter((name) => !local.includes(name))
  if (remote.length === 0) return [['Capabilities', 'the router has told none yet']]
  return [
    ['Capabilities', both.join(', ') || 'none in common'],
    ...(ours.length > 0 ? [['  ours alone', ours.join(', ')] as const] : []),
    ...(theirs.length > 0 ? [["  the router's alone", theirs.join(', ')] as const] : []),
  ]
}

function messageFields({ messages }: PeerView): Field[] {
  if (!messages) return []
  return [
    ['Messages sent', messageText(messages.sent)],
    ['Messages received', messageText(messages.received)],
  ]
}

function messageText(counts: NonNullable<PeerView['messages']>['sent']): string {
  const { total, open, update, keepalive, notification, refresh } = counts
  return `${total}: ${open} open, ${update} update, ${keepalive} keepalive, ${notification} notification, ${refresh} route refresh`
}

function bfdText(peer: PeerView): string {
  const { bfd, settings } = peer
  if (!bfd) return 'not asked for'
  const timers = settings?.bfd ? ` (${settings.bfd.intervalMs} ms × ${settings.bfd.multiplier})` : ''
  const error = bfdError(peer)
  return `${bfd.state}${timers}${error === '' ? '' : `: ${bfd.detail}`}`
}

function lastErrorText({ lastError, state, sinceMs }: PeerView): string {
  if (lastError === undefined) return 'none'
  if (state !== 'established' || sinceMs === undefined) return lastError
  return `${lastError} (before the session of now, which is up since ${timeText(sinceMs)})`
}
