// `weir bgp peers`: this node's sessions with routers, as routers show theirs.

import type { PeerFamily, PeersView, PeerView } from '../agent/bgp-peers-view.ts'
import { formatAge, formatTable, PAGE_WIDTH, wrapText } from '../model/text-table.ts'
import type { Action } from './actions.ts'
import { peersAnswer } from './answers.ts'
import { type AgentOptions, askAgent, printAnswer } from './ask-agent.ts'
import { advertisedText, bfdError, upDown } from './bgp-peer-cells.ts'
import { formatPeerDetail } from './bgp-peer-detail.ts'
import { formatWideTable } from './bgp-peers-wide.ts'
import { didYouMean, UsageError } from './options.ts'
import { sentences } from './short-lists.ts'

export const PEERS_OPTIONS = { detail: { type: 'boolean' } } as const

interface PeersOptions extends AgentOptions {
  readonly detail?: boolean | undefined
}

export const PEERS_ACTION: Action<PeersOptions> = {
  takes: '[PEER…] [--detail]',
  words: Number.POSITIVE_INFINITY,
  summary: 'sessions with routers: state, prefixes in and out, BFD, what is wrong',
  about: `A line for each session with a router: state, since when, prefixes received, accepted and advertised
    by family (9 of 12: three are missing), BFD; below them, why those that are down are. Named peers
    (by name or address) are shown with all that is known of them: timers agreed on, capabilities,
    messages, graceful restart, BFD, the last error.`,
  example: 'weir bgp peers tor1',
  optionsHelp: `  --detail         all peers so
  -o wide          a table with all columns, as wide as it takes
`,
  options: ['detail'],
  run: runPeers,
}

async function runPeers(values: PeersOptions, names: readonly string[]): Promise<number> {
  const view = choosePeers(await askAgent<PeersView>(values, '/v1/bgp/peers', peersAnswer), names)
  const nowMs = Date.now()
  const isDetailed = values.detail === true || names.length > 0
  printAnswer(
    values,
    view,
    (shown, width) =>
      isDetailed ? formatPeerDetails(shown, nowMs, width) : formatPeers(shown, nowMs, width),
    (shown) => formatWidePeers(shown, nowMs),
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
  const isNamed = ({ name, address }: PeerView) => names.includes(name) || names.includes(address)
  const others = view.peers.filter((peer) => !isNamed(peer))
  const isOfOthers = ({ object, text }: PeersView['problems'][number]) =>
    others.some(({ name, source }) => object === source || text.startsWith(`${name}: `))
  return {
    ...view,
    peers: view.peers.filter(isNamed),
    problems: view.problems.filter((problem) => !isOfOthers(problem)),
  }
}

export function formatPeers(view: PeersView, nowMs: number, width = PAGE_WIDTH): string {
  const causes = [...causesOf(view), ...problemsOf(view)]
  return onPage(view, [formatSessions(view, nowMs, width), formatCollectors(view, nowMs)], causes, width)
}

/** A paragraph each, causes and all. */
export function formatPeerDetails(view: PeersView, nowMs: number, width = PAGE_WIDTH): string {
  // A problem of a session that is up is no error of its past, and stands below.
  const isOfNow = ({ lastError, state }: PeerView) =>
    state === 'established' && view.problems.some(({ text }) => text === lastError)
  const details = view.peers.map((peer) =>
    formatPeerDetail(isOfNow(peer) ? { ...peer, lastError: undefined } : peer, nowMs, width),
  )
  return onPage(view, details.length > 0 ? details : [NO_PEERS], problemsOf(view), width)
}

/** Every column, as wide as it takes. */
export function formatWidePeers(view: PeersView, nowMs: number): string {
  const table = view.peers.length > 0 ? formatWideTable(view.peers, nowMs) : NO_PEERS
  const parts = [table, formatCollectors(view, nowMs)]
  return onPage(view, parts, problemsOf(view), Number.POSITIVE_INFINITY)
}

function onPage(
  view: PeersView,
  parts: readonly string[],
  sentences: readonly string[],
  width: number,
): string {
  const below = sentences.map((text) => wrapText(text, width, '  ')).join('\n')
  const sections = [headOf(view, width), ...parts, below]
  return `${sections.filter((section) => section !== '').join('\n\n')}\n`
}

function headOf({ node, asn, routerId, gobgpd, drain, peers }: PeersView, width: number): string {
  const up = peers.filter(({ state }) => state === 'established').length
  const daemon = gobgpd.isConnected
    ? `gobgpd's interface version ${gobgpd.apiVersion ?? '?'}`
    : `gobgpd does not answer${gobgpd.error === undefined ? '' : `: ${gobgpd.error}`}`
  return [
    `Node ${node}, AS ${asn}, router id ${routerId}; ${daemon}; ${up} of ${peers.length} sessions established`,
    ...(drain && drain.phase !== 'active' ? [`Drain ${drain.phase}: ${drain.message}`] : []),
  ]
    .map((line) => wrapText(line, width, '  '))
    .join('\n')
}

const NO_PEERS =
  "No sessions configured: neither routing.peers nor another source names one for this node.\n'weir status' tells what is not followed."

/** A line a peer. An address that is the name as well stands once. */
function formatSessions({ peers }: PeersView, nowMs: number, width: number): string {
  if (peers.length === 0) return NO_PEERS
  const families = [...new Set(peers.flatMap((peer) => peer.families.map(({ family }) => family)))].sort()
  const areNamed = peers.some(({ name, address }) => name !== address)
  const header = [
    'PEER',
    ...(areNamed ? ['ADDRESS'] : []),
    'ASN',
    'STATE',
    'UP/DOWN',
    ...families.map((family) => `${family.toUpperCase()} IN/ACC/OUT`),
    'BFD',
  ]
  const rows = peers.map((peer) => [
    peer.name,
    ...(areNamed ? [peer.address] : []),
    String(peer.asn),
    peer.isAdminDown ? 'admin down' : peer.state,
    upDown(peer, nowMs),
    ...families.map((family) => prefixCell(peer, family)),
    peer.bfd?.state ?? '-',
  ])
  return formatTable(header, rows, { width, flexible: ['PEER'] })
}

function prefixCell({ families }: PeerView, family: PeerFamily['family']): string {
  const counts = families.find((one) => one.family === family)
  if (!counts) return '-'
  return `${counts.received}/${counts.accepted}/${advertisedText(counts)}`
}

/** Why what is down is. What several peers have in common stands once, and what a problem or the first line says not at all. */
function causesOf({ peers, problems, gobgpd }: PeersView): string[] {
  const isNews = (text: string) =>
    text !== '' && text !== gobgpd.error && !problems.some((problem) => problem.text.includes(text))
  const said = peers.flatMap((peer) =>
    causeTexts(peer, problems)
      .filter(isNews)
      .map((text) => [peer.name, text] as const),
  )
  return sentences(said).map((sentence) => `peer ${sentence}`)
}

/** The nearest alone, and where that is a problem, with what was counted of it, the problem. */
function causeTexts(peer: PeerView, problems: PeersView['problems']): string[] {
  if (peer.cause !== undefined) return [peer.cause]
  const isProblem = problems.some(({ code, object }) => object === peer.source && OF_SILENCE.has(code))
  return [isProblem ? '' : endingOf(peer), bfdError(peer)]
}

const OF_SILENCE: ReadonlySet<string> = new Set(['authentication-failing', 'peer-silent'])

/** Of a session that is up, how the one before it ended is history: its paragraph tells. */
function endingOf({ state, lastError = '' }: PeerView): string {
  return state === 'established' ? '' : lastError
}

function problemsOf({ peers, problems, gobgpd }: PeersView): string[] {
  return problems
    .filter(({ text }) => text !== gobgpd.error)
    .map(({ object, text }) =>
      peers.some(({ name }) => text.startsWith(`${name}: `)) ? `peer ${text}` : `${object}: ${text}`,
    )
}

function formatCollectors({ collectors }: PeersView, nowMs: number): string {
  if (collectors.length === 0) return ''
  const rows = collectors.map(({ address, port, upSinceMs }) => [
    address,
    String(port),
    upSinceMs === undefined ? 'down' : `up ${formatAge(upSinceMs, nowMs)}`,
  ])
  return formatTable(['BMP COLLECTOR', 'PORT', 'STATE'], rows)
}
