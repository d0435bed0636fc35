// `weir bgp diff|apply|confirm|rollback`: a change of this node's routing, seen before it acts, and on trial as on Junos.

import type { ApplyAnswer, RoutingDiff } from '../agent/routing-view.ts'
import { formatTable, PAGE_WIDTH, wrapText } from '../model/text-table.ts'
import type { PeerChanges, RouteChange } from '../routing/diff.ts'
import type { Action } from './actions.ts'
import { type AgentOptions, printAnswer, tellAgent } from './ask-agent.ts'
import { formatAttributes } from './bgp-attributes.ts'
import { UsageError } from './options.ts'
import { readNamedFile } from './read-file.ts'

const FILE_OPTION = `  -f FILE          YAML with the sections routing, pools, or both (a whole agent.yaml will do); - reads standard
                   input; long: --file
`

export const BGP_CONFIG_OPTIONS = {
  file: { type: 'string', short: 'f' },
  confirm: { type: 'string' },
  force: { type: 'boolean' },
} as const

interface ConfigOptions extends AgentOptions {
  readonly file?: string | undefined
  readonly confirm?: string | undefined
  readonly force?: boolean | undefined
}

/** As diff(1): 0 for no difference, 1 for some. */
async function runDiff(values: ConfigOptions): Promise<number> {
  const diff = await tellAgent<RoutingDiff>(values, '/v1/routing/diff', readCandidate(values))
  printAnswer(values, diff, formatDiff)
  return isSame(diff) ? 0 : 1
}

async function runApply(values: ConfigOptions): Promise<number> {
  const query = new URLSearchParams()
  if (values.confirm !== undefined) query.set('confirm', String(parseSeconds(values.confirm)))
  if (values.force) query.set('force', 'true')
  const answer = await tellAgent<ApplyAnswer>(values, `/v1/routing/apply?${query}`, readCandidate(values))
  printAnswer(values, answer, formatApplied)
  return 0
}

async function runConfirm(values: ConfigOptions): Promise<number> {
  const answer = await tellAgent(values, '/v1/routing/confirm')
  printAnswer(
    values,
    answer,
    () => "Confirmed: it stays until the agent's file changes; write it there too.\n",
  )
  return 0
}

async function runRollback(values: ConfigOptions): Promise<number> {
  const answer = await tellAgent(values, '/v1/routing/rollback')
  printAnswer(values, answer, () => 'Rolled back to what was in force before the last apply.\n')
  return 0
}

export const CONFIG_ACTIONS: Readonly<Record<string, Action<ConfigOptions>>> = {
  diff: {
    takes: '-f FILE',
    words: 0,
    summary: 'what a configuration file would change, per peer',
    about: `Per peer of this node: prefixes and attributes that FILE would add (+), change (~) or withdraw (-).
      Exits with 1 where anything would change.`,
    example: 'weir bgp diff -f new.yaml',
    optionsHelp: FILE_OPTION,
    options: ['file'],
    run: runDiff,
  },
  apply: {
    takes: '-f FILE [--confirm TIME] [--force]',
    words: 0,
    summary: 'put a configuration file in force, on trial with --confirm',
    about: `Puts FILE in force now, over the agent's file; with --confirm it is rolled back by itself after
      TIME, also when the agent dies meanwhile, unless confirmed. It stays until the agent's file changes.`,
    example: 'weir bgp apply -f new.yaml --confirm 60s',
    optionsHelp: `${FILE_OPTION}  --confirm TIME   seconds, or with s, m or h: 60s, 5m
  --force          apply it although part of it would not be followed
`,
    options: ['file', 'confirm', 'force'],
    run: runApply,
  },
  confirm: {
    takes: '',
    words: 0,
    summary: 'keep what was applied',
    about: "Keeps what was applied on trial. It stays until the agent's file changes: write it there too.",
    example: 'weir bgp confirm',
    options: [],
    run: runConfirm,
  },
  rollback: {
    takes: '',
    words: 0,
    summary: 'back to what was in force before the last apply',
    about: 'Puts back what was in force before the last apply, on trial or confirmed.',
    example: 'weir bgp rollback',
    options: [],
    run: runRollback,
  },
}

function readCandidate({ file }: ConfigOptions): string {
  if (file === undefined) throw new UsageError('no file is named. Mend: -f FILE, or -f - for standard input')
  return readNamedFile(file)
}

const UNIT_SECONDS: Readonly<Record<string, number>> = { '': 1, s: 1, m: 60, h: 3600 }

export function parseSeconds(text: string): number {
  const [, number = '', unit = ''] = /^(\d{1,6})([smh]?)$/.exec(text) ?? []
  const seconds = Number(number) * (UNIT_SECONDS[unit] ?? 0)
  if (seconds > 0) return seconds
  throw new UsageError(`'${text}' is no time. Mend: write seconds, or 60s, 5m`)
}

function isSame({ peers, keys }: RoutingDiff): boolean {
  return peers.length === 0 && keys.length === 0
}

export function formatDiff(diff: RoutingDiff, width = PAGE_WIDTH): string {
  const parts = [
    ...diff.peers.map((peer) => formatPeer(peer, width)),
    ...(diff.keys.length > 0 ? [`Of the node itself: ${diff.keys.join(', ')}`] : []),
    ...diff.problems.map(({ source, why }) => wrapText(`Not followed: ${source}: ${why}`, width, '  ')),
  ]
  return parts.length === 0 ? 'Nothing would change.\n' : `${parts.join('\n\n')}\n`
}

const SESSIONS: Readonly<Record<PeerChanges['session'], string>> = {
  new: 'a new session',
  removed: 'its session ends',
  changed: 'its session changes',
  same: 'its session stays as it is',
}

const SIGNS: Readonly<Record<RouteChange['change'], string>> = { add: '+', change: '~', withdraw: '-' }

function formatPeer({ peer, remote, asn, session, keys, routes }: PeerChanges, width: number): string {
  const where = remote === peer ? '' : `${remote}, `
  const what = keys.length > 0 ? `${SESSIONS[session]} (${keys.join(', ')})` : SESSIONS[session]
  const head = `${peer} (${where}AS ${asn}): ${what}`
  if (routes.length === 0) return head
  const rows = routes.map((route) => [
    `  ${SIGNS[route.change]} ${route.prefix}`,
    formatChange(route),
    route.why,
  ])
  const page = { width, flexible: ['A', 'W'] }
  const [, ...lines] = formatTable(['', 'A', 'W'], rows, page).split('\n')
  return [head, ...lines].join('\n')
}

function formatChange({ before, after }: RouteChange): string {
  if (before && after) return `${formatAttributes(before)} → ${formatAttributes(after)}`
  return after ? formatAttributes(after) : ''
}

function formatApplied({ diff, candidate }: ApplyAnswer, width: number): string {
  const deadlineMs = candidate?.deadlineMs
  const next =
    deadlineMs === undefined
      ? "In force until the agent's file changes; write it there too. 'weir bgp rollback' takes it back."
      : `In force on trial until ${new Date(deadlineMs).toISOString()}: 'weir bgp confirm' keeps it, else it is rolled back.`
  return `${formatDiff(diff, width)}\n${next}\n`
}
