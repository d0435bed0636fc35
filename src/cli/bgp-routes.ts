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
import { formatAge, formatTable, PAGE_WIDTH } from '../model/text-table.ts'
import type { Action } from './actions.ts'
import { routesAnswer } from './answers.ts'
import { type AgentOptions, askAgent, printAnswer } from './ask-agent.ts'
import { formatAttributes } from './bgp-attributes.ts'
import { didYouMean, UsageError } from './options.ts'
import { sentences, withSentences } from './short-lists.ts'

export const ROUTE_ACTIONS: Readonly<Record<string, Action<AgentOptions>>> = {
  routes: {
    takes: '[PREFIX|STATUS…]',
    words: Number.POSITIVE_INFINITY,
    summary: 'what this node announces, waits to announce, withdraws or refuses',
    about: `What this node announces, waits to announce, withdraws or refuses; to whom, with which attributes,
      and why. Beginnings of prefixes, or a status (announced, pending, withdrawing, refused, error),
      narrow it.`,
    example: 'weir bgp routes 203.0.113. refused',
    optionsHelp: `  -o wide          attributes by peer, and nothing wrapped
`,
    options: [],
    run: runRoutes,
  },
  advertised: {
    takes: '[PEER]',
    words: 1,
    summary: 'what each router is told',
    about: 'What each router, or one by its name or address, is told, against what it should be.',
    example: 'weir bgp advertised tor1',
    optionsHelp: `  -o wide          why each is announced, and nothing wrapped
`,
    options: [],
    run: runAdvertised,
  },
  received: {
    takes: '[PEER]',
    words: 1,
    summary: 'what each router tells, and what becomes of it',
    about: `What each router, or one by its name or address, tells, and what becomes of it: installed, or
      refused because of what.`,
    example: 'weir bgp received tor1',
    options: [],
    run: runReceived,
  },
}

async function runRoutes(values: AgentOptions, filters: readonly string[]): Promise<number> {
  const view = await askAgent<RoutesView>(values, '/v1/bgp/routes', routesAnswer)
  const isWhole = filters.length === 0
  const chosen = isWhole ? view.routes : chooseRoutes(view.routes, filters)
  const shown = { ...view, routes: inPrefixOrder(chosen) }
  const nowMs = Date.now()
  const none = `No route is ${filters.join(' or ')}.\n`
  printAnswer(
    values,
    shown,
    (answer, width) => (isWhole || chosen.length > 0 ? formatRoutes(answer, nowMs, { width }) : none),
    (answer) => formatRoutes(answer, nowMs, WIDE),
  )
  return 0
}

/** How a table of routes is laid out. */
interface Layout {
  readonly width?: number
  readonly isWide?: boolean
}

const WIDE: Layout = { width: Number.POSITIVE_INFINITY, isWide: true }

const STATUSES = [
  'announced',
  'pending',
  'withdrawing',
  'refused',
  'error',
] as const satisfies RouteRow['status'][]

/** Those whose prefix begins so, or of this status. Throws UsageError. */
export function chooseRoutes(routes: readonly RouteRow[], filters: readonly string[]): readonly RouteRow[] {
  const isStatus = (filter: string) => STATUSES.some((status) => status === filter)
  const stranger = filters.find((filter) => !isStatus(filter) && !/^[\da-f:.]+(\/\d*)?$/i.test(filter))
  if (stranger !== undefined)
    throw new UsageError(
      `'${stranger}' is neither a status nor the beginning of a prefix. Mend: ${didYouMean(stranger, STATUSES)}`,
    )
  const found = routes.filter(({ prefix, status }) =>
    filters.some((filter) => prefix.startsWith(filter) || status === filter),
  )
  const prefix = filters.find((filter) => !isStatus(filter))
  if (found.length > 0 || prefix === undefined) return found
  throw new UsageError(
    `nothing is announced, waiting or refused as '${filters.join(' ')}'. Mend: 'weir bgp why ${prefix}' tells why`,
  )
}

export function formatRoutes(
  { routes, draining }: RoutesView,
  nowMs: number,
  { width = PAGE_WIDTH, isWide = false }: Layout = {},
): string {
  const rows = routes.flatMap((route) => routeRows(route, nowMs, isWide))
  const head = draining === undefined ? '' : `${draining}\n\n`
  if (rows.length === 0)
    return `${head}Nothing is announced, waiting or refused. 'weir bgp why PREFIX' tells what holds one back.\n`
  const header = ['PREFIX', 'STATUS', 'AGE', 'SOURCE', 'PEERS', 'ATTRIBUTES', 'WHY']
  const table = formatTable(header, rows, { width, flexible: ['PEERS', 'ATTRIBUTES', 'WHY'] })
  return `${head}${withSentences(table, isWide ? [] : problemsOf(routes), width)}`
}

/** Below the table, for thousands may have one in common. */
function problemsOf(routes: readonly RouteRow[]): string[] {
  const said = routes.flatMap((route) => {
    const problem = problemOf(route)
    return problem === undefined ? [] : [[route.prefix, problem] as const]
  })
  return sentences(said)
}

function routeRows(route: RouteRow, nowMs: number, isWide: boolean): string[][] {
  const { prefix, status, sinceMs, source, exports } = route
  const since = sinceMs === undefined ? '' : formatAge(sinceMs, nowMs)
  const reason = isWide ? wideReason(route) : route.why
  const row = (to: string, attributes: string) => [prefix, status, since, source, to, attributes, reason]
  if (!isWide || exports.length < 2)
    return [row(exports.map(peersOf).join('; ') || 'nobody', joined(exports))]
  return exports.map((one, index) => {
    const cells = row(peersOf(one), formatAttributes(one.attributes))
    return index === 0 ? cells : cells.map((cell, column) => (column === 4 || column === 5 ? cell : ''))
  })
}

/** With what would mend it. */
function problemOf({ problem, mend }: RouteRow): string | undefined {
  return problem === undefined || mend === undefined ? problem : `${problem}. Mend: ${mend}`
}

function wideReason(route: RouteRow): string {
  const problem = problemOf(route)
  return problem === undefined ? route.why : `${route.why}: ${problem}`
}

/** Without names: to whoever there is. */
function peersOf({ peers }: PeerExport): string {
  return peers.join(', ') || 'every peer'
}

function joined(exports: readonly PeerExport[]): string {
  const texts = [...new Set(exports.map(({ attributes }) => formatAttributes(attributes)))]
  return texts.length > 1 ? texts.join('; ') : (texts[0] ?? '')
}

function pathFor(what: 'advertised' | 'received', [peer]: readonly string[]): string {
  return peer === undefined ? `/v1/bgp/${what}` : `/v1/bgp/${what}?peer=${encodeURIComponent(peer)}`
}

/** The agent tells one after the other. */
function byPeer<T extends AdvertisedRow | ReceivedRow>(rows: readonly T[]): T[] {
  const peers = [...new Set(rows.map(({ peer }) => peer))].sort()
  return peers.flatMap((peer) => inPrefixOrder(rows.filter((row) => row.peer === peer)))
}

async function runAdvertised(values: AgentOptions, names: readonly string[]): Promise<number> {
  const view = await askAgent<AdvertisedView>(values, pathFor('advertised', names))
  printAnswer(
    values,
    { ...view, routes: byPeer(view.routes) },
    (answer, width) => formatAdvertised(answer, { width }),
    (answer) => formatAdvertised(answer, WIDE),
  )
  return 0
}

const ADVERTISED: Readonly<Record<AdvertisedRow['status'], string>> = {
  advertised: '',
  extra: 'nobody here asks for it: look for another client of this gobgpd',
  absent: 'should be, and gobgpd does not let it out',
}

const TABLE_PROSE = ['AS PATH', 'ATTRIBUTES', 'WHY', 'NOTE', 'BECOMES']

export function formatAdvertised(
  { routes, isReckoned }: AdvertisedView,
  { width = PAGE_WIDTH, isWide = false }: Layout = {},
): string {
  const note = isReckoned
    ? '\nThis gobgpd (3.x) reckons the table from its policy of now and keeps no record of what it sent;\nthe router has the last word.\n'
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
  const header = ['PEER', 'PREFIX', 'NEXT HOP', 'AS PATH', 'ATTRIBUTES', isWide ? 'WHY' : 'NOTE']
  return `${formatTable(header, rows, { width, flexible: TABLE_PROSE })}\n${note}`
}

async function runReceived(values: AgentOptions, names: readonly string[]): Promise<number> {
  const rows = byPeer(await askAgent<readonly ReceivedRow[]>(values, pathFor('received', names)))
  const nowMs = Date.now()
  printAnswer(values, rows, (answer, width) => formatReceived(answer, nowMs, width))
  return 0
}

const VERDICTS: Readonly<Record<ReceivedRow['verdict'], string>> = {
  taken: 'installed',
  'no-rules': 'refused: the peer has no imports',
  ours: "refused: it is this node's own, or its pools'",
  'not-named': "refused: the peer's imports do not name it",
  'over-limit': 'left out: imports.maxPrefixes is reached',
}

export function formatReceived(rows: readonly ReceivedRow[], nowMs: number, width = PAGE_WIDTH): string {
  if (rows.length === 0) return 'No router tells this node anything.\n'
  const cells = rows.map((row) => [
    row.peer,
    row.prefix,
    row.nextHop,
    row.asPath.join(' '),
    formatAttributes(row.attributes),
    formatAge(row.sinceMs, nowMs),
    `${VERDICTS[row.verdict]}${row.isStale ? ' (stale: the router restarts)' : ''}`,
  ])
  const header = ['PEER', 'PREFIX', 'NEXT HOP', 'AS PATH', 'ATTRIBUTES', 'AGE', 'BECOMES']
  return `${formatTable(header, cells, { width, flexible: TABLE_PROSE })}\n`
}
