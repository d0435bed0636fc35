// client → node → backend, three network namespaces joined by veths. Addresses and MACs are the same in every bed, so that what is measured
// in several can be compared packet by packet; neighbours are permanent, so nothing but the measured packets moves.
//
//   client              node                       backend
//   c0 198.18.0.2/15 ── n0 198.19.255.254/15
//                       n1 (the pods' device)  ──  b0 10.244.0.2–251, the pods of this node
//                       n2 172.20.0.1/16       ──  f0 172.20.255.254/16, the way to other nodes
//
// Devices that a frame may be redirected to have NAPI (GRO on), as a NIC has. Names carry the pid, so a killed run's are found.

import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { deleteNamespace } from '../../src/sandbox/host.ts'
import { withNetworkNamespace } from '../../src/sys/libc/namespaces.ts'
import { NODE_ADDRESS, POD_NETWORK, PODS_HERE, podAddress } from './cluster.ts'

export const CLIENT_ADDRESS = '198.18.0.2'
export const CLIENT_GATEWAY = '198.19.255.254'
const POD_GATEWAY = '169.254.1.1'
export const FAR_GATEWAY = '172.20.255.254'
const OUTPUT_BYTES_MAX = 1 << 28
const COMPLAINT_SHOWN = 1000

export interface Device {
  readonly name: string
  readonly ifindex: number
  readonly mac: string
}

export const MTU = { edge: 1500, fabric: 9000 } as const
export const DEVICES = {
  c0: { name: 'c0', ifindex: 10, mac: '02:00:00:00:00:c0' },
  n0: { name: 'n0', ifindex: 20, mac: '02:00:00:00:00:a0' },
  n1: { name: 'n1', ifindex: 21, mac: '02:00:00:00:00:a1' },
  n2: { name: 'n2', ifindex: 22, mac: '02:00:00:00:00:a2' },
  b0: { name: 'b0', ifindex: 31, mac: '02:00:00:00:00:b0' },
  f0: { name: 'f0', ifindex: 32, mac: '02:00:00:00:00:f0' },
} as const satisfies Record<string, Device>

export type Host = 'client' | 'node' | 'backend'
/** Which way the node's default route leads: to the client's side, or to the other nodes'. */
export type WayOut = 'n0' | 'n2'

export interface Bed {
  readonly name: string
  readonly wayOut: WayOut
  /** `/run/netns/…` */
  path(host: Host): string
  /** Runs with this thread inside; see src/sys/libc/namespaces.ts for what may be done there. */
  inside<T>(host: Host, action: () => T): T
  /** Runs a command there and gives its output; throws with its complaint. */
  run(host: Host, argv: readonly string[], input?: string): string
  /** The same for what takes long: meanwhile signals are heard, and close() ends it. */
  runLong(host: Host, argv: readonly string[], input: string): Promise<void>
  close(): Promise<void>
}

/** @param name letters and digits, beginning with a letter; unique in this process */
export function makeBed(name: string, wayOut: WayOut): Bed {
  const namespace = (host: Host) => `weir-t${process.pid}${name}-${host}`
  const path = (host: Host) => `/run/netns/${namespace(host)}`
  const hosts = ['client', 'node', 'backend'] as const
  const children = new Set<ChildProcess>()
  const bed: Bed = {
    name,
    wayOut,
    path,
    inside: (host, action) => withNetworkNamespace(path(host), action),
    run: (host, argv, input) => runIn(path(host), argv, input),
    runLong: (host, argv, input) => runLongIn(path(host), argv, input, children),
    close: async () => {
      await Promise.all([...children].map(end))
      for (const host of hosts) await deleteNamespace(namespace(host))
    },
  }
  try {
    for (const host of hosts) execFileSync('ip', ['netns', 'add', namespace(host)])
    linkAll(bed, namespace)
    addressAll(bed)
  } catch (error) {
    void bed.close()
    throw error
  }
  return bed
}

function runIn(path: string, argv: readonly string[], input = ''): string {
  const child = spawnSync('nsenter', [`--net=${path}`, '--', ...argv], {
    input,
    encoding: 'utf8',
    maxBuffer: OUTPUT_BYTES_MAX,
  })
  if (child.status === 0) return child.stdout
  const why = child.error?.message ?? child.stderr.slice(0, COMPLAINT_SHOWN)
  throw new Error(`'${argv.join(' ')}' failed in ${path}: ${why}`)
}

async function runLongIn(
  path: string,
  argv: readonly string[],
  input: string,
  children: Set<ChildProcess>,
): Promise<void> {
  const child = spawn('nsenter', [`--net=${path}`, '--', ...argv], { stdio: ['pipe', 'ignore', 'pipe'] })
  children.add(child)
  let complaint = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (complaint.length < COMPLAINT_SHOWN) complaint += text
  })
  // One that ended early does not read on; its status tells.
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  const status = await new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve(code ?? signal))
  })
  children.delete(child)
  if (status === 0) return
  throw new Error(`'${argv.join(' ')}' failed in ${path} (${status}): ${complaint.slice(0, COMPLAINT_SHOWN)}`)
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await ended
}

function linkAll(bed: Bed, namespace: (host: Host) => string): void {
  const { c0, n0, n1, n2, b0, f0 } = DEVICES
  const pair = (near: Device, far: Device, host: Host, mtu: number) =>
    `link add ${near.name} index ${near.ifindex} address ${near.mac} mtu ${mtu} type veth ` +
    `peer name ${far.name} index ${far.ifindex} address ${far.mac} mtu ${mtu} netns ${namespace(host)}`
  batch(bed, 'node', [
    pair(n0, c0, 'client', MTU.edge),
    pair(n1, b0, 'backend', MTU.edge),
    pair(n2, f0, 'backend', MTU.fabric),
  ])
  const devices: [Host, Device][] = [
    ['client', c0],
    ['node', n0],
    ['node', n1],
    ['node', n2],
    ['backend', b0],
    ['backend', f0],
  ]
  for (const [host, { name }] of devices) bed.run(host, ['ethtool', '-K', name, 'gro', 'on'])
  // A NIC delivers complete checksums, and redirected frames would lose partial ones.
  bed.run('client', ['ethtool', '-K', 'c0', 'tx', 'off'])
  bed.run('backend', ['ethtool', '-K', 'b0', 'tx', 'off'])
}

function addressAll(bed: Bed): void {
  const { c0, n0, n1, n2, b0, f0 } = DEVICES
  const pods = Array.from({ length: PODS_HERE }, (_, pod) => podAddress(0, pod))
  const neighbour = (address: string, { mac }: Device, { name }: Device) =>
    `neigh add ${address} lladdr ${mac} dev ${name} nud permanent`
  const up = (...names: string[]) => ['lo', ...names].map((name) => `link set ${name} up`)
  const quiet = (host: Host, names: readonly string[]) =>
    bed.inside(host, () => {
      for (const name of names) sysctl(`net/ipv6/conf/${name}/disable_ipv6`, '1')
    })
  quiet('client', ['c0'])
  quiet('node', ['n0', 'n1', 'n2'])
  quiet('backend', ['b0', 'f0'])
  batch(bed, 'client', [
    ...up('c0'),
    `addr add ${CLIENT_ADDRESS}/15 dev c0`,
    neighbour(CLIENT_GATEWAY, n0, c0),
    `route add default via ${CLIENT_GATEWAY}`,
  ])
  batch(bed, 'node', [
    ...up('n0', 'n1', 'n2'),
    `addr add ${CLIENT_GATEWAY}/15 dev n0`,
    `addr add ${NODE_ADDRESS}/16 dev n2`,
    neighbour(CLIENT_ADDRESS, c0, n0),
    neighbour(FAR_GATEWAY, f0, n2),
    // As the ptp plug-in makes them: a route and a neighbour a pod.
    ...pods.flatMap((pod) => [`route add ${pod}/32 dev n1 scope link`, neighbour(pod, b0, n1)]),
    `route add ${POD_NETWORK} via ${FAR_GATEWAY} dev n2`,
    `route add default via ${bed.wayOut === 'n0' ? CLIENT_ADDRESS : FAR_GATEWAY}`,
  ])
  batch(bed, 'backend', [
    ...up('b0', 'f0'),
    ...pods.map((pod) => `addr add ${pod}/32 dev b0`),
    `addr add ${FAR_GATEWAY}/16 dev f0`,
    neighbour(POD_GATEWAY, n1, b0),
    `route add ${POD_GATEWAY}/32 dev b0 scope link src ${podAddress(0, 0)}`,
    `route add default via ${POD_GATEWAY} src ${podAddress(0, 0)}`,
  ])
  bed.inside('node', () => {
    sysctl('net/ipv4/ip_forward', '1')
    for (const name of ['all', 'default', 'n0', 'n1', 'n2']) sysctl(`net/ipv4/conf/${name}/rp_filter`, '0')
  })
}

function batch(bed: Bed, host: Host, lines: readonly string[]): void {
  bed.run(host, ['ip', '-batch', '-'], `${lines.join('\n')}\n`)
}

/** Of the namespace that this thread is in. */
export function sysctl(name: string, value: string): void {
  writeFileSync(`/proc/sys/${name}`, value)
}
