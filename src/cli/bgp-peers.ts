// `weir bgp peers`: this node's sessions with routers, as routers show theirs.

import type { PeersView, PeerView } from '../agent/bgp-peers-view.ts'
import { formatSeconds, formatTable } from '../model/text-table.ts'
import { askAgent, printAnswer } from './ask-agent.ts'
import { didYouMean, UsageError } from './options.ts'

interface Options {
  readonly socket?: string | undefined
  readonly output?: string | undefined
}

export async function runPeers(values: Options, names: readonly string[]): Promise<number> {
  const view = choosePeers(await askAgent<PeersView>(values, '/v1/bgp/peers'), names)
  const nowMs = Date.now()
  printAnswer(
    values,
    view,
    (shown) => formatPeers(shown, nowMs),
    (shown) => formatPeers(shown, nowMs, true),
  )
  return 0
}

/** By name or address. */
export function choosePeers(view: PeersView, names: readonly string[]): PeersView {
  if (names.length === 0) return view
  const known = [...new Set(view.peers.flatMap(({ name, address }) => [name, address]))]
  for (const name of names)
    if (!known.includes(name))
      throw new UsageError(`no such peer '${name}'. Mend: ${didYouMean(name, known)}`)
  const peers = view.peers.filter(({ name, address }) => names.includes(name) || names.includes(address))
  return { ...view, peers }
}

const COLUMNS = [
  'NEIGHBOR',
  'ADDRESS',
  'ASN',
  'STATE',
  'UP/DOWN',
  'FAMILY',
  'RECEIVED',
  'ACCEPTED',
  'ADVERTISED',
  'BFD',
]
const WIDE_COLUMNS = [
  'ROUTER ID',
  'FLAPS',
  'INSTALLED',
  'TIMERS',
  'MD5',
  'TTL',
  'GR',
  'CAPABILITIES',
  'SOURCE',
]

export function formatPeers(view: PeersView, nowMs: number, isWide = false): string {
  const rows = view.peers.flatMap((peer) => peerRows(peer, nowMs, isWide))
  const header = [...COLUMNS, ...(isWide ? WIDE_COLUMNS : []), 'LAST ERROR']
  const sections = [
    headOf(view),
    rows.length > 0 ? formatTable(header, rows) : 'No peers.',
    formatCollectors(view, nowMs),
    ...view.problems.map(({ object, text }) => `Problem  ${object}: ${text}`),
  ]
  return `${sections.filter((section) => section !== '').join('\n\n')}\n`
}

function headOf({ node, asn, routerId, gobgpd, drain, peers }: PeersView): string {
  const up = peers.filter(({ state }) => state === 'established').length
  const daemon = gobgpd.isConnected
    ? `gobgpd's interface version ${gobgpd.apiVersion ?? '?'}`
    : `gobgpd does not answer${gobgpd.error === undefined ? '' : `: ${gobgpd.error}`}`
  return [
    `Node ${node}, AS ${asn}, router id ${routerId}; ${daemon}; ${up} of ${peers.length} sessions established`,
    ...(drain && drain.phase !== 'active' ? [`Drain ${drain.phase}: ${drain.message}`] : []),
  ].join('\n')
}

/** A row for each family; only the first has what is the session's. */
function peerRows(peer: PeerView, nowMs: number, isWide: boolean): string[][] {
  const families = peer.families.length > 0 ? peer.families : [undefined]
  return families.map((counts, index) => {
    const isFirst = index === 0
    const of = (text: string) => (isFirst ? text : '')
    const wide = isWide ? wideCells(peer).map(of) : []
    return [
      of(peer.name),
      of(peer.address),
      of(String(peer.asn)),
      of(stateOf(peer)),
      of(upDown(peer, nowMs)),
      counts?.family ?? '',
      String(counts?.received ?? ''),
      String(counts?.accepted ?? ''),
      counts === undefined ? '' : advertisedText(counts, peer.state === 'established'),
      of(peer.bfd?.state ?? ''),
      ...wide,
      of(peer.lastError ?? bfdError(peer)),
    ]
  })
}

function stateOf({ state, isAdminDown }: PeerView): string {
  return isAdminDown ? `${state} (admin down)` : state
}

function upDown({ sinceMs, state }: PeerView, nowMs: number): string {
  if (sinceMs === undefined) return 'never'
  const text = formatSeconds(Math.max(0, Math.floor((nowMs - sinceMs) / 1000)))
  return state === 'established' ? text : `down ${text}`
}

/** `12`, or `9 of 12` while something is missing. */
function advertisedText({ advertised, wanted }: PeerView['families'][number], isUp: boolean): string {
  return isUp && advertised !== wanted ? `${advertised} of ${wanted}` : String(advertised)
}

function bfdError({ bfd }: PeerView): string {
  return bfd === undefined || bfd.state === 'up' || bfd.detail === undefined ? '' : `BFD: ${bfd.detail}`
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

function formatCollectors({ collectors }: PeersView, nowMs: number): string {
  if (collectors.length === 0) return ''
  const rows = collectors.map(({ address, port, upSinceMs }) => [
    address,
    String(port),
    upSinceMs === undefined ? 'down' : `up ${formatSeconds(Math.floor((nowMs - upSinceMs) / 1000))}`,
  ])
  return formatTable(['BMP COLLECTOR', 'PORT', 'STATE'], rows)
}
