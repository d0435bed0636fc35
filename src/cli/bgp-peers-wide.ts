// The widest table of sessions: every column there is, as wide as it takes, for scripts and large screens.

import type { PeerView } from '../agent/bgp-peers-view.ts'
import { formatTable } from '../model/text-table.ts'
import { advertisedText, bfdError, stateOf, upDown } from './bgp-peer-cells.ts'

const WIDE_COLUMNS = [
  'PEER',
  'ADDRESS',
  'ASN',
  'STATE',
  'UP/DOWN',
  'FAMILY',
  'RECEIVED',
  'ACCEPTED',
  'ADVERTISED',
  'BFD',
  'ROUTER ID',
  'FLAPS',
  'INSTALLED',
  'TIMERS',
  'MD5',
  'TTL',
  'GR',
  'CAPABILITIES',
  'CONFIGURED BY',
  'LAST ERROR',
]

export function formatWideTable(peers: readonly PeerView[], nowMs: number): string {
  return formatTable(
    WIDE_COLUMNS,
    peers.flatMap((peer) => wideRows(peer, nowMs)),
  )
}

/** A row for each family; only the first has what is the session's. */
function wideRows(peer: PeerView, nowMs: number): string[][] {
  const families = peer.families.length > 0 ? peer.families : [undefined]
  return families.map((counts, index) => {
    const of = (text: string) => (index === 0 ? text : '')
    return [
      of(peer.name),
      of(peer.address),
      of(String(peer.asn)),
      of(stateOf(peer)),
      of(upDown(peer, nowMs)),
      counts?.family ?? '',
      String(counts?.received ?? ''),
      String(counts?.accepted ?? ''),
      counts === undefined ? '' : advertisedText(counts),
      of(peer.bfd?.state ?? ''),
      ...wideCells(peer).map(of),
      of(peer.cause ?? peer.lastError ?? bfdError(peer)),
    ]
  })
}

function wideCells(peer: PeerView): string[] {
  const { settings, capabilities } = peer
  return [
    peer.routerId,
    String(peer.flaps),
    String(peer.taken),
    settings ? timersOf(peer) : '',
    settings ? (settings.hasPassword ? 'yes' : 'no') : '?',
    ttlOf(peer),
    settings?.gracefulRestart ? graceOf(settings.gracefulRestart) : 'off',
    capabilities.remote.map((name) => name.replaceAll(' ', ':')).join(',') || '<none yet>',
    peer.source ?? 'not of this agent',
  ]
}

/** `9/3/5`: hold, keepalive, connect retry; with what was agreed on where it differs. */
function timersOf({ settings, negotiatedHoldSeconds }: PeerView): string {
  if (!settings) return ''
  const { holdSeconds, keepaliveSeconds, connectRetrySeconds } = settings.timers
  const text = `${holdSeconds}/${keepaliveSeconds}/${connectRetrySeconds}`
  const isAgreed = negotiatedHoldSeconds === 0 || negotiatedHoldSeconds === holdSeconds
  return isAgreed ? text : `${text} (hold ${negotiatedHoldSeconds})`
}

function ttlOf({ settings }: PeerView): string {
  if (settings?.ttlSecurityMin !== undefined) return `GTSM >=${settings.ttlSecurityMin}`
  return settings?.multihopTtl === undefined ? '1' : String(settings.multihopTtl)
}

function graceOf({
  restartSeconds,
  longLivedSeconds,
}: {
  restartSeconds: number
  longLivedSeconds?: number
}): string {
  return longLivedSeconds === undefined ? `${restartSeconds}s` : `${restartSeconds}s+${longLivedSeconds}s`
}
