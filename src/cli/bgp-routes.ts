// `weir bgp routes|advertised|received`: what this node announces, what each router is told, what each tells.

import type {
  AdvertisedRow,
  AdvertisedView,
  ReceivedRow,
  RouteRow,
  RoutesView,
} from '../agent/bgp-routes-view.ts'
import { inPrefixOrder } from '../model/prefix-order.ts'
import type { PeerExport } from '../model/routing.ts'
import { formatSeconds, formatTable } from '../model/text-table.ts'
import { askAgent, printAnswer } from './ask-agent.ts'
import { formatAttributes } from './bgp-config.ts'
import { UsageError } from './options.ts'

interface Options {
  readonly socket?: string | undefined
  readonly output?: string | undefined
}

export async function runRoutes(values: Options, filters: readonly string[]): Promise<number> {
  const view = await askAgent<RoutesView>(values, '/v1/bgp/routes')
  const chosen = filters.length === 0 ? view.routes : chooseRoutes(view.routes, filters)
  const shown = { ...view, routes: inPrefixOrder(chosen) }
  const nowMs = Date.now()
  printAnswer(
    values,
    shown,
    (answer) => formatRoutes(answer, nowMs),
    (answer) => formatRoutes(answer, nowMs, true),
  )
  return 0
}

/** Those whose prefix begins so, or of this status. */
function chooseRoutes(routes: readonly RouteRow[], filters: readonly string[]): readonly RouteRow[] {
  const found = routes.filter(({ prefix, status }) =>
    filters.some((filter) => prefix.startsWith(filter) || status === filter),
  )
  if (found.length > 0) return found
  throw new UsageError(
    `nothing is announced, waiting or refused as '${filters.join(' ')}'. Mend: 'weir bgp why ${filters[0]}' tells why`,
  )
}

export function formatRoutes({ routes, draining }: RoutesView, nowMs: number, isWide = false): string {
  const rows = routes.flatMap((route) => routeRows(route, nowMs, isWide))
  const head = draining === undefined ? '' : `${draining}\n\n`
  if (rows.length === 0) return `${head}Nothing is announced, waiting or refused.\n`
  const header = ['PREFIX', 'STATUS', 'SINCE', 'SOURCE', 'TO', 'ATTRIBUTES', 'WHY']
  return `${head}${formatTable(header, rows)}\n`
}

function routeRows(route: RouteRow, nowMs: number, isWide: boolean): string[][] {
  const { prefix, status, sinceMs, source, exports, why, problem } = route
  const since = sinceMs === undefined ? '' : ago(sinceMs, nowMs)
  const reason = problem === undefined ? why : `${problem} (${why})`
  const row = (to: string, attributes: string) => [prefix, status, since, source, to, attributes, reason]
  if (!isWide || exports.length < 2)
    return [row(exports.map(peersOf).join('; ') || 'nobody', joined(exports))]
  return exports.map((one, index) => {
    const cells = row(peersOf(one), formatAttributes(one.attributes))
    return index === 0 ? cells : cells.map((cell, column) => (column === 4 || column === 5 ? cell : ''))
  })
}

/** Without names: to whoever there is. */
function peersOf({ peers }: PeerExport): string {
  return peers.join(',') || 'every peer'
}

function joined(exports: readonly PeerExport[]): string {
  const texts = [...new Set(exports.map(({ attributes }) => formatAttributes(attributes)))]
  return texts.length > 1 ? texts.join('; ') : (texts[0] ?? '')
}

function ago(sinceMs: number, nowMs: number): string {
  return formatSeconds(Math.max(0, Math.floor((nowMs - sinceMs) / 1000)))
}

const MANY_PEERS = "one peer at a time, or all. Mend: 'weir bgp peers' lists them"

function pathFor(what: 'advertised' | 'received', names: readonly string[]): string {
  const [peer, ...more] = names
  if (more.length > 0) throw new UsageError(MANY_PEERS)
  return peer === undefined ? `/v1/bgp/${what}` : `/v1/bgp/${what}?peer=${encodeURIComponent(peer)}`
}

/** The agent tells one after the other. */
function byPeer<T extends AdvertisedRow | ReceivedRow>(rows: readonly T[]): T[] {
  const peers = [...new Set(rows.map(({ peer }) => peer))].sort()
  return peers.flatMap((peer) => inPrefixOrder(rows.filter((row) => row.peer === peer)))
}

export async function runAdvertised(values: Options, names: readonly string[]): Promise<number> {
  const view = await askAgent<AdvertisedView>(values, pathFor('advertised', names))
  printAnswer(values, { ...view, routes: byPeer(view.routes) }, formatAdvertised, (answer) =>
    formatAdvertised(answer, true),
  )
  return 0
}

const ADVERTISED: Readonly<Record<AdvertisedRow['status'], string>> = {
  advertised: '',
  extra: 'nobody here asks for it: look for another client of this gobgpd',
  absent: 'should be, and gobgpd does not let it out',
}

export function formatAdvertised({ routes, isReckoned }: AdvertisedView, isWide = false): string {
  const note = isReckoned
    ? '\nThis gobgpd (3.x) reckons the table from its policy of now and keeps no record of what it sent; the router has the last word.\n'
    : ''
  if (routes.length === 0) return `Nothing is advertised to an established session.\n${note}`
  const rows = routes.map((row) => [
    row.peer,
    row.prefix,
    row.nextHop,
    row.asPath.join(' '),
    formatAttributes(row.attributes),
    ADVERTISED[row.status] || (isWide ? row.why : 'ok'),
  ])
  return `${formatTable(['PEER', 'PREFIX', 'NEXT HOP', 'AS PATH', 'ATTRIBUTES', isWide ? 'WHY' : 'NOTE'], rows)}\n${note}`
}

export async function runReceived(values: Options, names: readonly string[]): Promise<number> {
  const rows = byPeer(await askAgent<readonly ReceivedRow[]>(values, pathFor('received', names)))
  const nowMs = Date.now()
  printAnswer(values, rows, (answer) => formatReceived(answer, nowMs))
  return 0
}

const VERDICTS: Readonly<Record<ReceivedRow['verdict'], string>> = {
  taken: 'installed',
  'no-rules': 'refused: the peer has no imports',
  ours: "refused: it is this node's own, or its pools'",
  'not-named': "refused: the peer's imports do not name it",
  'over-limit': 'left out: imports.maxPrefixes is reached',
}

export function formatReceived(rows: readonly ReceivedRow[], nowMs: number): string {
  if (rows.length === 0) return 'No router tells anything.\n'
  const cells = rows.map((row) => [
    row.peer,
    row.prefix,
    row.nextHop,
    row.asPath.join(' '),
    formatAttributes(row.attributes),
    ago(row.sinceMs, nowMs),
    `${VERDICTS[row.verdict]}${row.isStale ? ' (stale: the router restarts)' : ''}`,
  ])
  return `${formatTable(['PEER', 'PREFIX', 'NEXT HOP', 'AS PATH', 'ATTRIBUTES', 'AGE', 'BECOMES'], cells)}\n`
}
