// What a rack looks like now: its plan from the state file, everything else from the kernel and the routers themselves.
// One value, printed as text or JSON.

import { existsSync, readdirSync } from 'node:fs'
import { formatFields, formatTable, PAGE_WIDTH, wrapText } from '../model/text-table.ts'
import { acceptsPort, CONTROL_HOST, controlHost } from './control-process.ts'
import { namespaceExists } from './host.ts'
import { type LinkState, linkName, linkStates } from './links.ts'
import { gobgpdBelow } from './nodes.ts'
import { planDocument } from './plan-file.ts'
import { anonymousBytes, findProcess } from './process.ts'
import { type Rack, rackNamespaces } from './rack.ts'
import { type RouterSession, routerKind, routerNames, routerSessions } from './routers.ts'

export interface RackStatus {
  readonly rack: string
  readonly plan: Record<string, unknown>
  readonly apiServer:
    | { readonly url: string; readonly isListening: boolean; readonly kubeconfig: string }
    | undefined
  readonly hosts: readonly HostStatus[]
  readonly pods: readonly string[]
  readonly links: readonly { readonly name: string; readonly to: string; readonly state: LinkState }[]
  readonly sessions: readonly RouterSession[]
}

export interface HostStatus {
  readonly name: string
  readonly role: string
  readonly namespace: string | undefined
  readonly isUp: boolean
  readonly addresses: readonly string[]
  readonly asn: number | undefined
  readonly processes: readonly ProcessStatus[]
}

export interface ProcessStatus {
  readonly name: string
  readonly isAlive: boolean
  readonly pid: number | undefined
  readonly anonymousBytes: number
}

export async function rackStatus(rack: Rack): Promise<RackStatus> {
  const [links, sessions, isListening] = await Promise.all([
    linkStates(rack.plan, rack.host),
    Promise.all(routerNames(rack.plan).map((name) => routerSessions(rack, name))),
    acceptsPort(rack.apiPort),
  ])
  const podPrefix = `${rack.name}-pod-`
  return {
    rack: rack.name,
    plan: planDocument(rack.plan),
    apiServer: rack.fabricOnly
      ? undefined
      : { url: `https://127.0.0.1:${rack.apiPort}`, isListening, kubeconfig: rack.kubeconfig },
    hosts: hostStatuses(rack),
    pods: rackNamespaces(rack.name)
      .filter((namespace) => namespace.startsWith(podPrefix))
      .map((namespace) => namespace.slice(podPrefix.length).replace('.', '/')),
    links: links.map(({ link, state }) => ({
      name: linkName(link.lower),
      to: linkName(link.upper),
      state,
    })),
    sessions: rack.fabricOnly ? sessions.flat().filter((one) => !isNode(rack, one.peer)) : sessions.flat(),
  }
}

function isNode(rack: Rack, name: string): boolean {
  return rack.plan.nodes.some((node) => node.name === name)
}

function hostStatuses(rack: Rack): HostStatus[] {
  const { plan } = rack
  const routers = [plan.spine, ...plan.tors].map((router) => ({
    name: router.name,
    role: `router (${routerKind(router.name) === 'bird' ? 'BIRD' : 'FRR'})`,
    addresses: [] as string[],
    asn: router.asn,
  }))
  const clients = plan.clients.map((client) => ({
    name: client.name,
    role: 'client',
    addresses: Object.values(client.address) as string[],
    asn: undefined,
  }))
  const nodes = plan.nodes.map((node) => ({
    name: node.name,
    role: 'node',
    addresses: node.families.flatMap((family) => [node.loopback[family], node.podCidr[family]]),
    asn: node.asn,
  }))
  const hosts = [...routers, ...clients, ...nodes].map((one): HostStatus => {
    const host = rack.host(one.name)
    return {
      ...one,
      namespace: host.namespace,
      isUp: namespaceExists(host.namespace),
      processes: processesOf(host.directory),
    }
  })
  if (rack.fabricOnly) return hosts
  const processes = processesOf(controlHost(rack).directory)
  const isUp = processes.some((one) => one.isAlive)
  const role = 'API server and controllers'
  return [
    ...hosts,
    { name: CONTROL_HOST, role, namespace: undefined, isUp, addresses: [], asn: undefined, processes },
  ]
}

/** By the pid files in a host's directory; gobgpd is seen below its supervisor, whose own memory is nothing. */
function processesOf(directory: string): ProcessStatus[] {
  if (!existsSync(directory)) return []
  return readdirSync(directory)
    .filter((file) => file.endsWith('.pid'))
    .sort()
    .map((file) => {
      const name = file.slice(0, -'.pid'.length)
      const recorded = findProcess(`${directory}/${file}`)
      const found = name === 'gobgpd' && recorded ? gobgpdBelow(recorded.pid) : recorded
      return {
        name,
        isAlive: found !== undefined,
        pid: found?.pid,
        anonymousBytes: found ? anonymousBytes(found.pid) : 0,
      }
    })
}

const PROCESSES = 'PROCESSES (anonymous memory)'

/** The status as a person reads it. */
export function formatStatus(status: RackStatus, width = PAGE_WIDTH): string {
  const page = { width, flexible: ['ROLE', 'ADDRESSES', PROCESSES] }
  return [
    `Rack ${status.rack}`,
    ...(status.apiServer
      ? [formatApiServer(status.apiServer)]
      : ['  fabric only: no API server, agents or gobgpd']),
    '',
    formatTable(
      ['HOST', 'ROLE', 'ASN', 'NAMESPACE', 'ADDRESSES', PROCESSES],
      status.hosts.map(hostRow),
      page,
    ),
    '',
    'Address plan',
    formatFields(
      Object.entries(status.plan).map(([key, value]) => [key, planValue(value)]),
      width,
      '  ',
    ),
    '',
    formatTable(
      ['LINK', 'TO', 'STATE'],
      status.links.map((link) => [link.name, link.to, link.state]),
      page,
    ),
    '',
    formatTable(
      ['ROUTER', 'PEER', 'ADDRESS', 'STATE', 'PREFIXES'],
      status.sessions.map((one) => [
        one.router,
        one.peer,
        one.address,
        one.state,
        String(one.prefixesAccepted),
      ]),
      page,
    ),
    ...(status.pods.length > 0 ? ['', wrapText(`Pods: ${status.pods.join(', ')}`, width, '  ')] : []),
    '',
  ].join('\n')
}

function formatApiServer(server: NonNullable<RackStatus['apiServer']>): string {
  const state = server.isListening ? '' : ' (not listening)'
  return `  API server  ${server.url}${state}\n  kubeconfig  ${server.kubeconfig}`
}

function hostRow(host: HostStatus): string[] {
  const processes = host.processes.map((one) =>
    one.isAlive ? `${one.name} ${one.pid} (${(one.anonymousBytes / 1e6).toFixed(0)} MB)` : `${one.name} dead`,
  )
  return [
    host.name,
    host.role,
    host.asn === undefined ? '' : String(host.asn),
    host.isUp ? (host.namespace ?? '') : `${host.namespace ?? ''} (down)`.trim(),
    host.addresses.join(' '),
    processes.join(', '),
  ]
}

function planValue(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value)
  const entries = Object.entries(value)
  const isPair = entries.every(([key]) => key.startsWith('ipv'))
  return entries.map(([key, one]) => (isPair ? String(one) : `${key} ${one}`)).join(isPair ? ', ' : ', ')
}
