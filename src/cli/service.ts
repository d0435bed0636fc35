// `weir service`: what this node's kernel serves, Service by Service.

import type { EndpointView, PortView, ServiceDetail, ServiceSummary } from '../agent/service-view.ts'
import { formatFields, formatTable, PAGE_WIDTH, wrapText } from '../model/text-table.ts'
import { type Action, type ActionSet, runAction } from './actions.ts'
import { AGENT_OPTIONS, type AgentOptions, askAgent, printAnswer } from './ask-agent.ts'
import type { Command } from './main.ts'
import { UsageError } from './options.ts'
import { withSentences } from './short-lists.ts'

const INDENT = '  '

const LIST: Action<AgentOptions> = {
  takes: '',
  words: 0,
  summary: "every Service of this node's kernel",
  about: `Every Service of this node's kernel: addresses held, ports, endpoints usable anywhere and here, and
    what could not be done.`,
  example: 'weir service list',
  options: [],
  run: async (values) => {
    printAnswer(values, await askAgent<ServiceSummary[]>(values, '/v1/services'), formatServices)
    return 0
  },
}

const SHOW: Action<AgentOptions> = {
  takes: 'NAMESPACE/NAME',
  words: 1,
  summary: 'one of them: frontends, endpoints and policies',
  about:
    'Frontends, endpoints and policies of one Service, port by port, and which endpoints take new flows.',
  example: 'weir service show shop/web',
  options: [],
  run: async (values, [name]) => {
    if (name === undefined)
      throw new UsageError(
        "which Service? Mend: weir service show NAMESPACE/NAME; 'weir service list' has them",
      )
    const key = name.includes('/') ? name : `default/${name}`
    const path = `/v1/service?name=${encodeURIComponent(key)}`
    printAnswer(values, await askAgent<ServiceDetail>(values, path), formatService)
    return 0
  },
}

export const SERVICE_ACTIONS: ActionSet<typeof AGENT_OPTIONS> = {
  command: 'weir service',
  options: AGENT_OPTIONS,
  actions: { list: LIST, show: SHOW },
}

export const serviceCommand: Command = {
  summary: "Services in this node's kernel",
  run: (args) => runAction(SERVICE_ACTIONS, args),
}

export function formatServices(services: readonly ServiceSummary[], width = PAGE_WIDTH): string {
  if (services.length === 0)
    return "No Services in this node's kernel. 'weir status' tells whether the agent has heard from an API server.\n"
  const inOrder = [...services].sort((a, b) => (a.service < b.service ? -1 : 1))
  const rows = inOrder.map(({ service, held, ports, usable, problems }) => [
    service,
    held.length > 0 ? held.join(' ') : '<none>',
    ports.join(' '),
    String(usable.anywhere),
    String(usable.here),
    problems.length > 0 ? String(problems.length) : '',
  ])
  const header = ['SERVICE', 'ADDRESSES', 'PORTS', 'ENDPOINTS', 'HERE', 'PROBLEMS']
  const table = formatTable(header, rows, { width, flexible: ['ADDRESSES', 'PORTS'] })
  return withSentences(table, inOrder.flatMap(firstProblem), width)
}

function firstProblem({ service, problems }: ServiceSummary): string[] {
  const [first, ...others] = problems
  if (first === undefined) return []
  const more = others.length > 0 ? `; ${others.length} more: weir service show ${service}` : ''
  return [`${service}: ${first}${more}`]
}

export function formatService(
  { service, usable, problems, ports }: ServiceDetail,
  width = PAGE_WIDTH,
): string {
  const isCatchAll = ({ frontends }: PortView) =>
    frontends.length > 0 && frontends.every(({ port }) => port === 0)
  const closed = ports.filter(isCatchAll).flatMap((port) => port.frontends.map(({ address }) => address))
  const fields = [
    ['Service', service],
    ['Endpoints', `${usable.anywhere} usable, ${usable.here} of them on this node`],
    ...problems.map((problem) => ['Problem', problem] as const),
    ...(closed.length > 0 ? [['Refused', `any other port of ${closed.join(' ')}`] as const] : []),
  ] as const
  return `${[
    formatFields(fields, width),
    ...ports.filter((port) => !isCatchAll(port)).flatMap((port) => formatPort(port, width)),
  ].join('\n')}\n`
}

const ENDPOINT_HEADER = ['ENDPOINT', 'PORT', 'NODE', 'STATE', 'WEIGHT', 'TAKES NEW FLOWS']

function formatPort(port: PortView, width: number): string[] {
  const policies = [
    `forwarding ${port.forwarding}`,
    `balancing ${port.balancing}`,
    `external traffic ${port.externalTrafficPolicy}`,
    `internal traffic ${port.internalTrafficPolicy}`,
    port.affinitySeconds > 0 ? `affinity ${port.affinitySeconds}s` : 'no affinity',
    ...(port.sourceRanges.length > 0 ? [`source ranges ${port.sourceRanges.join(' ')}`] : []),
  ]
  const frontends = port.frontends.map(({ address, port: number, protocol, kind }) => [
    address,
    `${number}/${protocol}`,
    kind,
  ])
  const endpoints = port.endpoints.map((endpoint) => [
    endpoint.address,
    String(endpoint.port),
    endpoint.node ?? '<unknown>',
    endpoint.state,
    String(endpoint.weight),
    setsOf(endpoint),
  ])
  const page = { width: width - INDENT.length, flexible: ['NODE'] }
  return [
    '',
    port.id,
    indented(wrapText(policies.join(', '), page.width)),
    frontends.length > 0
      ? indented(formatTable(['FRONTEND', 'PORT', 'KIND'], frontends, page))
      : '  No frontends: this Service has no address on this port.',
    endpoints.length > 0
      ? indented(formatTable(ENDPOINT_HEADER, endpoints, page))
      : '  No endpoints: no pod serves this port.',
  ]
}

function setsOf({ inCluster, inLocal }: EndpointView): string {
  if (inCluster) return inLocal ? 'cluster, local' : 'cluster'
  return inLocal ? 'local' : 'no'
}

function indented(text: string): string {
  return text.replaceAll(/^/gm, INDENT)
}
