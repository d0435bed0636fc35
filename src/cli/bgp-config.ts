// `weir bgp diff|apply|confirm|rollback`: a change of this node's routing, seen before it acts, and on trial as on Junos.

import { readFileSync } from 'node:fs'
import type { ApplyAnswer, RoutingDiff } from '../agent/routing-view.ts'
import type { RouteAttributes } from '../model/routing.ts'
import { formatTable } from '../model/text-table.ts'
import type { PeerChanges, RouteChange } from '../routing/diff.ts'
import { printAnswer, tellAgent } from './ask-agent.ts'
import { UsageError } from './options.ts'

export const BGP_CONFIG_USAGE = `Usage: weir bgp diff -f FILE
       weir bgp apply -f FILE [--confirm TIME] [--force]
       weir bgp confirm
       weir bgp rollback

  diff             per peer of this node: prefixes and attributes that FILE would add (+), change (~) or withdraw (-); exits with
                   1 where anything would change
  apply            put FILE in force now, over the agent's file; with --confirm it is rolled back by itself after TIME (60s, 5m),
                   also when the agent dies meanwhile, unless confirmed. It stays until the agent's file changes
  confirm          keep what was applied
  rollback         back to what was in force before the last apply

  -f FILE          YAML with the sections routing, pools, or both (a whole agent.yaml will do); - reads standard input
  --confirm TIME   seconds, or with s or m
  --force          apply it although part of it would not be followed
`

export const BGP_CONFIG_OPTIONS = {
  file: { type: 'string', short: 'f' },
  confirm: { type: 'string' },
  force: { type: 'boolean' },
} as const

interface ConfigOptions {
  readonly socket?: string | undefined
  readonly output?: string | undefined
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

export const CONFIG_ACTIONS: Readonly<Record<string, (values: ConfigOptions) => Promise<number>>> = {
  diff: runDiff,
  apply: runApply,
  confirm: runConfirm,
  rollback: runRollback,
}

function readCandidate({ file }: ConfigOptions): string {
  if (file === undefined) throw new UsageError('no file is named. Mend: -f FILE, or -f - for standard input')
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8')
  } catch (error) {
    throw new UsageError(
      `cannot read ${file} (${(error as NodeJS.ErrnoException).code}). Mend: name an existing file`,
    )
  }
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

export function formatDiff(diff: RoutingDiff): string {
  const parts = [
    ...diff.peers.map(formatPeer),
    ...(diff.keys.length > 0 ? [`Of the node itself: ${diff.keys.join(', ')}`] : []),
    ...diff.problems.map(({ source, why }) => `Not followed: ${source}: ${why}`),
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

function formatPeer({ peer, remote, asn, session, keys, routes }: PeerChanges): string {
  const where = remote === peer ? '' : `${remote}, `
  const what = keys.length > 0 ? `${SESSIONS[session]} (${keys.join(', ')})` : SESSIONS[session]
  const head = `${peer} (${where}AS ${asn}): ${what}`
  if (routes.length === 0) return head
  const rows = routes.map((route) => [
    `  ${SIGNS[route.change]} ${route.prefix}`,
    formatChange(route),
    route.why,
  ])
  const [, ...lines] = formatTable(['', '', ''], rows).split('\n')
  return [head, ...lines].join('\n')
}

function formatChange({ before, after }: RouteChange): string {
  if (before && after) return `${formatAttributes(before)} → ${formatAttributes(after)}`
  return after ? formatAttributes(after) : ''
}

export function formatAttributes(attributes: RouteAttributes): string {
  const { communities, largeCommunities, localPref, med, prepend } = attributes
  const parts = [
    ...communities,
    ...largeCommunities,
    ...(localPref === undefined ? [] : [`local-pref ${localPref}`]),
    ...(med === undefined ? [] : [`med ${med}`]),
    ...(prepend === 0 ? [] : [`prepend ${prepend}`]),
  ]
  return parts.join(' ') || 'no attributes'
}

function formatApplied({ diff, candidate }: ApplyAnswer): string {
  const deadlineMs = candidate?.deadlineMs
  const next =
    deadlineMs === undefined
      ? "In force until the agent's file changes; write it there too. 'weir bgp rollback' takes it back."
      : `In force on trial until ${new Date(deadlineMs).toISOString()}: 'weir bgp confirm' keeps it, else it is rolled back.`
  return `${formatDiff(diff)}\n${next}\n`
}
