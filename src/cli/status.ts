// `weir status`: this node's agent and datapath on one page.

import type { AgentStatus } from '../agent/status-view.ts'
import { inOneLine } from '../model/one-line.ts'
import { formatTable, PAGE_WIDTH, wrapText } from '../model/text-table.ts'
import { statusAnswer } from './answers.ts'
import { AGENT_OPTIONS, AGENT_OPTIONS_HELP, askAgent, printAnswer } from './ask-agent.ts'
import type { Command } from './main.ts'
import { parseOptions, UsageError } from './options.ts'

const USAGE = `Usage: weir status

Uplinks and what serves them, programs with their numbers in the kernel, the API server's objects, how full the tables
are, and what this kernel lacks.

Example: weir status -o json

${AGENT_OPTIONS_HELP}`

export const statusCommand: Command = {
  summary: "this node's agent and datapath",
  run: async (args) => {
    const { values, positionals } = parseOptions('weir status', args, AGENT_OPTIONS)
    if (values.help) {
      process.stdout.write(USAGE)
      return 0
    }
    if (positionals.length > 0)
      throw new UsageError(`'${positionals[0]}' is one word too many. Mend: 'weir status --help' tells more`)
    printAnswer(values, await askAgent<AgentStatus>(values, '/v1/status', statusAnswer), formatStatus)
    return 0
  },
}

export function formatStatus(status: AgentStatus, width = PAGE_WIDTH): string {
  const sections = [
    formatAgent(status, width),
    formatConfiguration(status, width),
    formatUplinks(status, width),
    formatDefaultRoutes(status, width),
    formatSessions(status, width),
    formatPrograms(status, width),
    formatSources(status, width),
    formatLackingRules(status, width),
    formatFills(status),
    formatLacks(status, width),
    formatPolicy(status, width),
    formatNeighbours(status, width),
    formatSysctls(status, width),
  ]
  return `${sections.filter((section) => section !== '').join('\n\n')}\n`
}

/** Columns that hold sentences. */
const PROSE = [
  'ROLES LACK THE RULE',
  'WHAT',
  'PROBLEM',
  'NEXT HOPS',
  'GATEWAYS',
  'WHERE',
  'LAST ERROR',
  'INSTEAD',
  'MEND',
  'WHY',
]

/** A pod has a device, and an address of each family; those of the host's network have neither. */
function podsText(pods: AgentStatus['pods']): string {
  const devices = new Set(pods.map(({ ifindex }) => ifindex)).size
  return `${devices} on this node, beside the host's network${devices === pods.length ? '' : `; ${pods.length} addresses`}`
}

function formatAgent(status: AgentStatus, width: number): string {
  const { node, synced, allocatesAddresses, pods, flows, memory, drain, sessions = [] } = status
  const state = synced
    ? 'the kernel holds what the API server says'
    : 'waiting for the first word of an API server'
  return [
    `Node     ${node}`,
    `State    ${state}`,
    ...(drain.phase === 'active' ? [] : [`Drain    ${drain.phase}: ${drain.message}`]),
    ...(sessions.length === 0
      ? []
      : [`Routers  ${established(sessions)} of ${sessions.length} sessions established`]),
    `Pods     ${podsText(pods)}`,
    `Flows    ${flows.byState === undefined ? 'not counted yet' : formatFlowStates(flows.byState)}`,
    `Memory   ${mebibytes(memory.agentAnonymousBytes)} of the agent, ${mebibytes(memory.mapsBytes)} of tables in the kernel`,
    ...(allocatesAddresses ? ['Leader   gives out load-balancer addresses'] : []),
  ]
    .map((line) => wrapText(line, width, ' '.repeat(9)))
    .join('\n')
}

const WAITING: Readonly<Record<AgentStatus['configuration']['waitForRestart'][number]['by'], string>> = {
  candidate: 'candidate',
  objects: 'routing (not by the file)',
}

/** Only what somebody should look at: a refusal, what waits for a restart, a trial, what is not followed. */
function formatConfiguration({ configuration }: AgentStatus, width: number): string {
  const { file, candidate, problems, sources, waitForRestart = [] } = configuration
  const rows: string[][] = []
  if (file.refused)
    rows.push([
      file.file,
      `refused ${new Date(file.refused.atMs).toISOString()}, the last good stays: ${inOneLine(file.refused.message)}`,
    ])
  if (file.waitForRestart.length > 0)
    rows.push([file.file, `changed, and waits for a restart of the agent: ${file.waitForRestart.join(', ')}`])
  if (candidate)
    rows.push([
      'candidate',
      candidate.deadlineMs === undefined
        ? "applied and confirmed: it stands over the file's routing until that changes, or 'weir bgp rollback'"
        : `on trial until ${new Date(candidate.deadlineMs).toISOString()}: 'weir bgp confirm' keeps it`,
    ])
  for (const { by, keys } of waitForRestart)
    rows.push([WAITING[by], `waits for a restart of the agent and of gobgpd: ${keys.join(', ')}`])
  for (const { source, state, detail } of sources) if (state === 'unused') rows.push([source, detail])
  for (const { source, why } of problems) rows.push([source, why])
  return rows.length === 0 ? '' : formatTable(['CONFIGURATION', 'WHAT'], rows, { width, flexible: PROSE })
}

/** `12 (10 established, 2 half open)` */
function formatFlowStates(byState: Readonly<Record<string, number>>): string {
  const states = Object.entries(byState).map(
    ([state, count]) => `${count} ${state.toLowerCase().replaceAll('_', ' ')}`,
  )
  const all = Object.values(byState).reduce((sum, count) => sum + count, 0)
  return states.length === 0 ? '0' : `${all} (${states.join(', ')})`
}

const MEBIBYTE = 2 ** 20

function mebibytes(bytes: number): string {
  return `${(bytes / MEBIBYTE).toFixed(1)} MiB`
}

/** Nothing where the route is somebody else's and there is none. */
function formatDefaultRoutes({ defaultRoutes }: AgentStatus, width: number): string {
  const rows = defaultRoutes
    .filter(({ mode, hops }) => mode === 'manage' || hops.length > 0)
    .map(({ family, mode, hops, absent, problem }) => [
      family,
      mode === 'manage' ? 'ours' : 'observed',
      hops.join(', ') || '-',
      [...absent.map(({ way, why }) => `${way}: ${why}`), ...(problem === undefined ? [] : [problem])].join(
        '; ',
      ),
    ])
  if (rows.length === 0) return ''
  return formatTable(['DEFAULT ROUTE', 'WHOSE', 'NEXT HOPS', 'PROBLEM'], rows, { width, flexible: PROSE })
}

function established(sessions: AgentStatus['sessions']): number {
  return sessions.filter(({ state }) => state === 'established').length
}

/** Only those that are down; `weir bgp peers` has all. */
function formatSessions({ sessions = [] }: AgentStatus, width: number): string {
  const rows = sessions
    .filter(({ state }) => state !== 'established')
    .map(({ peer, address, state, why }) => [peer, address, state, why ?? ''])
  if (rows.length === 0) return ''
  return formatTable(['ROUTER', 'ADDRESS', 'SESSION', 'WHY'], rows, { width, flexible: PROSE })
}

function formatUplinks({ uplinks }: AgentStatus, width: number): string {
  if (uplinks.length === 0) return 'No uplinks: none of datapath.uplinks is a device of this node.'
  const rows = uplinks.map(({ name, isUp, hook, mtu, gateways, problem, reason }) => [
    name,
    isUp ? 'up' : 'down',
    hook ?? 'none',
    String(mtu),
    gateways.filter((gateway) => typeof gateway === 'string').join(' '),
    problem ?? reason ?? '',
  ])
  const header = ['UPLINK', 'CARRIER', 'HOOK', 'MTU', 'GATEWAYS', 'PROBLEM']
  return formatTable(header, rows, { width, flexible: PROSE })
}

const DEVICES_SHOWN = 4

/** A row for each program and hook: pods' devices are many and alike. */
function formatPrograms({ programs }: AgentStatus, width: number): string {
  if (programs.length === 0) return 'No programs are attached: nothing is balanced on this node.'
  const rows = new Map<string, { cells: readonly string[]; devices: string[] }>()
  for (const { hook, program, programId, device } of programs) {
    const key = `${hook} ${programId}`
    const row = rows.get(key) ?? { cells: [program, String(programId), hook], devices: [] }
    if (device !== undefined) row.devices.push(device)
    rows.set(key, row)
  }
  const where = (hook: string, devices: readonly string[]) => {
    if (devices.length > DEVICES_SHOWN) return `${devices.length} devices`
    return devices.join(' ') || (hook === 'modify_return' ? 'the making of sockets' : 'cgroup')
  }
  return formatTable(
    ['PROGRAM', 'ID', 'HOOK', 'WHERE'],
    [...rows.values()].map(({ cells, devices }) => [...cells, where(cells[2] ?? '', devices)]),
    { width, flexible: PROSE },
  )
}

function formatSources({ sources }: AgentStatus, width: number): string {
  const rows = Object.entries(sources).map(([name, { phase, rows: count, lastError }]) => [
    name,
    phase,
    String(count),
    lastError ?? '',
  ])
  return formatTable(['WATCHED', 'PHASE', 'OBJECTS', 'LAST ERROR'], rows, { width, flexible: PROSE })
}

/** What the API server refuses to this agent, as the rules that would mend it. */
function formatLackingRules({ lackingRules = [] }: AgentStatus, width: number): string {
  if (lackingRules.length === 0) return ''
  const rows = lackingRules.map(({ rule, where, sinceMs }) => [rule, where, new Date(sinceMs).toISOString()])
  const header = ['ROLES LACK THE RULE', 'WHERE', 'REFUSED SINCE']
  const table = formatTable(header, rows, { width, flexible: PROSE })
  return `${table}
Mend: add them to the agent's roles; manifests/base/rbac.yaml has all that are needed.`
}

function formatFills({ fills, flows }: AgentStatus): string {
  const rows = fills.map(({ map, used, capacity, knob, isNearlyFull, memoryBytes }) => [
    map,
    String(used),
    String(capacity),
    `${Math.floor((used * 100) / capacity)} %${isNearlyFull ? ' nearly full' : ''}`,
    mebibytes(memoryBytes),
    knob === undefined ? '' : `datapath.capacities.${knob}`,
  ])
  const refused = flows.refused > 0 ? `\n${flows.refused} packets of new flows found no place.` : ''
  return `${formatTable(['TABLE', 'USED', 'CAPACITY', 'FILL', 'MEMORY', 'KNOB'], rows)}${refused}`
}

function formatLacks({ features }: AgentStatus, width: number): string {
  const lacking = features.filter(({ isPresent }) => !isPresent)
  if (lacking.length === 0) return 'This kernel has every feature that is asked for.'
  const rows = lacking.map(({ name, since, instead }) => [name, since, instead])
  return formatTable(['KERNEL LACKS', 'SINCE', 'INSTEAD'], rows, { width, flexible: PROSE })
}

/** Only what somebody should look at. */
function formatPolicy({ policyProblems = [], closedPods }: AgentStatus, width: number): string {
  const rows = [...policyProblems.map((problem) => ['kinds', problem]), ...closedPodsRows(closedPods)]
  return rows.length === 0 ? '' : formatTable(['POLICY', 'WHAT'], rows, { width, flexible: PROSE })
}

function closedPodsRows(closedPods: AgentStatus['closedPods']): string[][] {
  if (closedPods === undefined) return []
  const { problem, byAddress, known, unjudged = [], waiting, innerClosed = [] } = closedPods
  const rows: string[][] = []
  if (problem !== undefined) rows.push(['new pods', `not closed: ${problem}`])
  if (byAddress > 0)
    rows.push([
      `${byAddress} of ${known} pods`,
      'told by their address alone, which may have been another pod’s a moment ago: no cgroup is named by their uid, or its processes are hidden. Mend: hostPID for the agent, policy.podsCgroup',
    ])
  for (const pod of unjudged)
    rows.push([
      pod,
      'open but for packet sockets, and not judged: no device of this node leads there; the first policy that selects it closes it',
    ])
  for (const { pod, why } of waiting) rows.push([pod, `closed: ${why}`])
  for (const { pod, why } of innerClosed)
    rows.push([`within ${pod}`, `a container's network namespace is closed: ${why}`])
  return rows
}

function formatNeighbours({ neighbours }: AgentStatus, width: number): string {
  if (neighbours.length === 0) return ''
  const rows = neighbours.map(({ where, what, mend }) => [where, what, mend])
  return formatTable(['ALSO HERE', 'WHAT', 'MEND'], rows, { width, flexible: PROSE })
}

/** Only what is not as it has to be; `-o json` has all. */
function formatSysctls({ sysctls }: AgentStatus, width: number): string {
  const rows = sysctls.flatMap(({ name, value, needed, problem }) =>
    problem === undefined ? [] : [[name, value ?? '', needed, problem]],
  )
  if (rows.length === 0) return ''
  return formatTable(['SETTING', 'IS', 'NEEDED', 'PROBLEM'], rows, { width, flexible: PROSE })
}
