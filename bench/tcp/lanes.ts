// Every contestant at every number of Services, with its client and server, and the proof that connections go the way it is named for.

import { mkdirSync, writeFileSync } from 'node:fs'
import { type Address, addressFromNumber, addressToNumber } from '../../src/model/address.ts'
import { removeCgroup } from '../../src/sandbox/cgroups.ts'
import { cgroupMount } from '../../src/sandbox/host.ts'
import { attachCgroup } from '../../src/sys/libbpf-ts/index.ts'
import { type BenchService, benchServices } from '../bed/cluster.ts'
import { iptablesMode, nftablesMode, plainForwarding, weir } from '../bed/contestants.ts'
import { type Bed, CLIENT_ADDRESS, DEVICES, makeBed, sysctl } from '../bed/topology.ts'
import type { WeirNode } from '../bed/weir-node.ts'
import type { Effort } from '../frame/figure.ts'
import { numberText } from '../frame/grid.ts'
import { Load, SOURCES } from './load.ts'

export const CONTESTANTS = {
  xdp: 'Weir XDP',
  tc: 'Weir tc',
  socket: 'Weir at the socket',
  iptables: 'iptables mode',
  nftables: 'nftables mode',
  plain: 'plain forwarding',
} as const
export type Name = keyof typeof CONTESTANTS
const NAMES = Object.keys(CONTESTANTS) as Name[]
export const isOurs = (name: Name): boolean => name === 'xdp' || name === 'tc' || name === 'socket'

export interface Lane {
  readonly name: Name
  readonly services: number
  readonly load: Load
}

/** Connections that are over would fill conntrack's table if they stayed for the usual 120 s. */
const TIME_WAIT_SECONDS = '10'
/** Sockets of the server's that are over, for a minute each: with too little room the kernel lets them go at once. */
const TIME_WAIT_SOCKETS = String(1 << 19)
const TRIED = 256
const TRIED_AT_ONCE = 16
/** Of a short connection, at the least: acknowledgements may be merged into others. */
const PACKETS = { fromClient: 3, fromPod: 2 } as const

/** @param directory for files that the clients read */
export async function makeLanes(effort: Effort, directory: string, services: number): Promise<Lane[]> {
  const lanes: Lane[] = []
  const list = [...benchServices(services, 'tcp')]
  for (const name of NAMES) {
    const begun = Date.now()
    const file = `${directory}/${name}${services}`
    lanes.push({ name, services, load: await makeLane(effort, name, list, file) })
    const seconds = ((Date.now() - begun) / 1000).toFixed(1)
    effort.say(`${CONTESTANTS[name]}, ${numberText(services)} Services: ready in ${seconds} s`)
  }
  return lanes
}

async function makeLane(
  effort: Effort,
  name: Name,
  services: readonly BenchService[],
  file: string,
): Promise<Load> {
  const bed = makeBed(`tcp${name}${services.length}`, 'n0')
  effort.defer(() => bed.close())
  addSources(bed)
  bed.inside('backend', () => sysctl('net/ipv4/tcp_max_tw_buckets', TIME_WAIT_SOCKETS))
  const { node, cgroup } = await setUp(effort, name, bed, services)
  const reached = services.filter(({ isLocal, loadBalancerIp }) => isLocal && loadBalancerIp !== undefined)
  writeFileSync(file, reached.flatMap((service) => targetsOf(name, service)).join(''))
  const ports = reached.flatMap(({ endpoints }) => endpoints.map(({ port }) => port))
  const load = new Load({ bed, cgroup, targets: file, ports: `${Math.min(...ports)}-${Math.max(...ports)}` })
  effort.defer(() => load.close())
  await prove(name, bed, node, load)
  return load
}

/** Lines "address port" of what the client connects to. */
function targetsOf(name: Name, { loadBalancerIp, port, endpoints }: BenchService): string[] {
  if (name !== 'plain') return [`${loadBalancerIp} ${port}\n`]
  return endpoints.map((endpoint) => `${endpoint.address} ${endpoint.port}\n`)
}

function addSources(bed: Bed): void {
  const first = addressToNumber(CLIENT_ADDRESS as Address)
  const more = Array.from({ length: SOURCES - 1 }, (_, index) =>
    addressFromNumber('ipv4', first + BigInt(index + 1)),
  )
  const lines = (line: (address: Address) => string) => `${more.map(line).join('\n')}\n`
  const { c0, n0 } = DEVICES
  bed.run(
    'client',
    ['ip', '-batch', '-'],
    lines((address) => `addr add ${address}/15 dev ${c0.name}`),
  )
  const neighbour = (address: Address) => `neigh add ${address} lladdr ${c0.mac} dev ${n0.name} nud permanent`
  bed.run('node', ['ip', '-batch', '-'], lines(neighbour))
}

interface SetUp {
  readonly node?: WeirNode
  readonly cgroup?: string
}

async function setUp(
  effort: Effort,
  name: Name,
  bed: Bed,
  services: readonly BenchService[],
): Promise<SetUp> {
  if (name === 'plain') {
    plainForwarding(bed)
    return {}
  }
  if (name === 'iptables' || name === 'nftables') {
    await (name === 'iptables' ? iptablesMode(bed, services) : nftablesMode(bed, services))
    bed.inside('node', () => sysctl('net/netfilter/nf_conntrack_tcp_timeout_time_wait', TIME_WAIT_SECONDS))
    return {}
  }
  const hook = name === 'xdp' ? 'xdp' : 'tc'
  const { node } = weir(bed, { hook, size: services.length, protocol: 'tcp', forwarding: 'dsr' })
  effort.defer(() => node.close())
  return name === 'socket' ? { node, cgroup: attachSocket(effort, bed, node) } : { node }
}

/** The client becomes one of the pods: its cgroup has the hooks. */
function attachSocket(effort: Effort, bed: Bed, node: WeirNode): string {
  const cgroup = `${cgroupMount()}/weir-test-${bed.name}-${process.pid}`
  mkdirSync(cgroup)
  effort.defer(() => removeCgroup(cgroup))
  const links = node.datapath.socket.map((program) => attachCgroup(program, cgroup))
  effort.defer(() => {
    for (const link of links) link.close()
  })
  return cgroup
}

/** What the node's own stack forwarded, and what Weir counted, over some connections. */
async function prove(name: Name, bed: Bed, node: WeirNode | undefined, load: Load): Promise<void> {
  const forwarded = () => forwardedPackets(bed.run('node', ['cat', '/proc/net/snmp']))
  const before = { forwarded: forwarded(), counted: node?.counted() ?? {} }
  await load.take('short', TRIED, TRIED_AT_ONCE)
  const byStack = forwarded() - before.forwarded
  const counted = node?.counted() ?? {}
  const grown = (reason: string) => (counted[reason] ?? 0) - (before.counted[reason] ?? 0)
  const isRedirected = name === 'xdp' || name === 'tc'
  const least = TRIED * (PACKETS.fromClient + PACKETS.fromPod)
  const isProven =
    name === 'socket'
      ? grown('SOCKET') === TRIED
      : !isRedirected ||
        (grown('TO_LOCAL') >= TRIED * PACKETS.fromClient && grown('REPLY') >= TRIED * PACKETS.fromPod)
  if (isProven && (isRedirected ? byStack === 0 : byStack >= least)) return
  throw new Error(
    `${TRIED} connections through ${CONTESTANTS[name]}: its node's stack forwarded ${byStack} packets, ` +
      `and Weir counted ${JSON.stringify(counted)}`,
  )
}

/** The column ForwDatagrams of /proc/net/snmp, which counts IPv4. */
export function forwardedPackets(snmp: string): number {
  const [names = '', values = ''] = snmp.split('\n').filter((line) => line.startsWith('Ip:'))
  return Number(values.split(' ')[names.split(' ').indexOf('ForwDatagrams')])
}
