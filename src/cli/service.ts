// `weir service`: what this node's kernel serves, Service by Service.

import type { EndpointView, PortView, ServiceDetail, ServiceSummary } from '../agent/service-view.ts'
import { formatTable } from '../model/text-table.ts'
import { AGENT_OPTIONS, AGENT_OPTIONS_HELP, askAgent, printAnswer } from './ask-agent.ts'
import type { Command } from './main.ts'
import { didYouMean, parseOptions, UsageError } from './options.ts'

const USAGE = `Usage: weir service list
       weir service show NAMESPACE/NAME

  list             every Service of this node's kernel: addresses held, ports, endpoints usable anywhere and here
  show             its frontends, endpoints and policies, port by port

${AGENT_OPTIONS_HELP}`

export const serviceCommand: Command = {
  summary: "Services in this node's kernel",
  run: async (args) => {
    const { values, positionals } = parseOptions('weir service', args, AGENT_OPTIONS)
    const [action = '', name, ...rest] = positionals
    if (values.help) {
      process.stdout.write(USAGE)
      return 0
    }
    if (action === 'list' && name === undefined) {
      printAnswer(values, await askAgent<ServiceSummary[]>(values, '/v1/services'), formatServices)
      return 0
    }
    if (action === 'show' && name !== undefined && rest.length === 0) {
      const key = name.includes('/') ? name : `default/${name}`
      const path = `/v1/service?name=${encodeURIComponent(key)}`
      printAnswer(values, await askAgent<ServiceDetail>(values, path), formatService)
      return 0
    }
    if (action === 'list' || action === 'show')
      throw new UsageError(`Mend: weir service list, or weir service show NAMESPACE/NAME`)
    throw new UsageError(`no such action '${action}'. Mend: ${didYouMean(action, ['list', 'show'])}`)
  },
}

export function formatServices(services: readonly ServiceSummary[]): string {
  const rows = [...services]
    .sort((a, b) => (a.service < b.service ? -1 : 1))
    .map(({ service, held, ports, usable, problems }) => [
      service,
      held.length > 0 ? held.join(' ') : '<none>',
      ports.join(' '),
      String(usable.anywhere),
      String(usable.here),
      problems[0] ?? '',
    ])
  return `${formatTable(['SERVICE', 'ADDRESSES', 'PORTS', 'ENDPOINTS', 'HERE', 'PROBLEM'], rows)}\n`
}

export function formatService({ service, usable, problems, ports }: ServiceDetail): string {
  const head = [
    `Service    ${service}`,
    `Endpoints  ${usable.anywhere} usable, ${usable.here} of them on this node`,
    ...problems.map((problem) => `Problem    ${problem}`),
  ]
  const isCatchAll = (port: PortView) => port.frontends.every((frontend) => frontend.port === 0)
  const closed = ports.filter(isCatchAll).flatMap((port) => port.frontends.map(({ address }) => address))
  return `${[
    ...head,
    ...(closed.length > 0 ? [`Refused    any other port of ${closed.join(' ')}`] : []),
    ...ports.filter((port) => !isCatchAll(port)).flatMap(formatPort),
  ].join('\n')}\n`
}

function formatPort(port: PortView): string[] {
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
  return [
    '',
    port.id,
    `  ${policies.join(', ')}`,
    indented(formatTable(['FRONTEND', 'PORT', 'KIND'], frontends)),
    ...(endpoints.length > 0
      ? [indented(formatTable(['ENDPOINT', 'PORT', 'NODE', 'STATE', 'WEIGHT', 'TAKES NEW FLOWS'], endpoints))]
      : []),
  ]
}

function setsOf({ inCluster, inLocal }: EndpointView): string {
  if (inCluster) return inLocal ? 'cluster, local' : 'cluster'
  return inLocal ? 'local' : 'no'
}

function indented(text: string): string {
  return text.replaceAll(/^/gm, '  ')
}
