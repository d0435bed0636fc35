// A bed of any shape: nodes, each with gobgpd and our speaker, and routers, FRR or BIRD, on cables and on segments that several share.
// Nodes are configured by the text of a configuration file, as they are in a cluster.

import { type ChildProcess, execFileSync, spawnSync } from 'node:child_process'
import { chownSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { parseConfig } from '../../../src/agent/config.ts'
import { unknownNode } from '../../../src/agent/node-routing.ts'
import { address, familyOf } from '../../../src/model/address.ts'
import type { NodeRouting } from '../../../src/model/routing.ts'
import type { Node } from '../../../src/model/service.ts'
import { allowedPrefixes } from '../../../src/routing/allowed.ts'
import { mergeRouting } from '../../../src/routing/sources/merge.ts'
import { frrCommand, frrOwner, isFrrReady } from '../../../src/sandbox/frr.ts'
import { renderBootConfig } from '../../../src/speaker/boot-config.ts'
import { kernelRoutes, WEIR_ROUTE_PROTOCOL } from '../../../src/speaker/kernel-routes.ts'
import { readLinks } from '../../../src/speaker/links.ts'
import { createSpeaker, type Speaker } from '../../../src/speaker/speaker.ts'
import { Netlink } from '../../../src/sys/node-netlink/netlink.ts'
import { announcement, Bed, until } from './bed.ts'

const quiet = { info: () => {}, warn: () => {} }

export interface End {
  readonly host: string
  readonly device: string
  /** With lengths; none: only what the kernel gives it. */
  readonly addresses: readonly string[]
}

export interface FabricNode {
  readonly name: string
  readonly speaker: Speaker
  readonly routing: NodeRouting
  readonly netlink: Netlink
  readonly gobgpd: ChildProcess
  readonly namespacePath: string
}

/** A Node object, as far as routing sees it. */
export function nodeObject(name: string, internalIps: readonly string[], labels: Node['labels'] = {}): Node {
  const addresses = internalIps.map(address)
  return {
    ...unknownNode(name),
    labels,
    addresses,
    internalIps: Object.fromEntries(addresses.map((one) => [familyOf(one), one])),
  }
}

export class FabricBed extends Bed {
  readonly #t: Test
  readonly #frr = mkdtempSync('/tmp/weir-fabric-frr-')
  readonly #hosts = new Map<string, string>()

  constructor(t: Test) {
    super()
    this.#t = t
    t.teardown(() => this.close())
    t.teardown(() => rmSync(this.#frr, { recursive: true, force: true }))
  }

  /** A host's namespace, made when first asked for. It routes, and looks for no duplicates of addresses. */
  namespace(host: string): string {
    const known = this.#hosts.get(host)
    if (known !== undefined) return known
    const name = this.addNamespace(host)
    this.#hosts.set(host, name)
    this.run(host, 'sysctl', '-qw', ...SETTINGS)
    return name
  }

  run(host: string, ...argv: string[]): string {
    return execFileSync('nsenter', [`--net=/run/netns/${this.namespace(host)}`, ...argv], {
      encoding: 'utf8',
    })
  }

  cable(one: End, other: End): void {
    const [first, second] = [one, other].map(({ host }) => this.namespace(host))
    const peer = ['peer', 'name', other.device, 'netns', second ?? '']
    execFileSync('ip', ['-n', first ?? '', 'link', 'add', one.device, 'type', 'veth', ...peer])
    for (const end of [one, other]) this.#raise(end)
  }

  /** All on one segment, each by a device of this name. */
  segment(name: string, ends: readonly End[]): void {
    this.run(name, 'ip', 'link', 'add', 'bridge', 'type', 'bridge')
    this.run(name, 'ip', 'link', 'set', 'bridge', 'up')
    for (const end of ends) {
      this.cable(end, { host: name, device: end.host, addresses: [] })
      this.run(name, 'ip', 'link', 'set', end.host, 'master', 'bridge')
    }
  }

  #raise({ host, device, addresses }: End): void {
    for (const one of addresses) {
      const options = one.includes(':') ? ['nodad'] : []
      this.run(host, 'ip', 'address', 'add', one, 'dev', device, ...options)
    }
    this.run(host, 'ip', 'link', 'set', device, 'up')
  }

  /** A node that runs by this configuration; `others` are the other nodes that it knows. It announces what it is told by `announce`. */
  async addNode(node: Node, config: string, others: readonly Node[] = []): Promise<FabricNode> {
    const namespace = this.namespace(node.name)
    const socket = join(this.directory, `${node.name}.sock`)
    const { routing, allowed } = this.#routingOf(node, config, others)
    const boot = join(this.directory, `${node.name}.toml`)
    const ofFamily = (family: string) => allowed.filter((row) => row.family === family)
    writeFileSync(
      boot,
      renderBootConfig({ ...routing, allowed: { ipv4: ofFamily('ipv4'), ipv6: ofFamily('ipv6') } }),
    )
    const argv = ['gobgpd', '--api-hosts', `unix://${socket}`, '--pprof-disable', '-t', 'toml', '-f', boot]
    const gobgpd = this.spawn(namespace, argv, `${node.name}.gobgpd.log`)
    await until(`gobgpd of ${node.name}`, () => existsSync(socket))
    const namespacePath = `/run/netns/${namespace}`
    const netlink = new Netlink({ namespacePath })
    const speaker = createSpeaker({
      gobgpSocket: `unix://${socket}`,
      log: quiet,
      readLinks: () => readLinks(netlink),
      kernelRoutes: kernelRoutes(netlink),
    })
    this.#t.teardown(async () => {
      await speaker.close()
      netlink.close()
    })
    speaker.setRouting(routing, allowed)
    return { name: node.name, speaker, routing, netlink, gobgpd, namespacePath }
  }

  #routingOf(self: Node, config: string, others: readonly Node[]) {
    const text = `nodeName: ${self.name}
stateDirectory: /nowhere
kubernetes: { servers: ['https://127.0.0.1:1'] }
datapath: { bpffs: /nowhere, cgroup: /nowhere, uplinks: [eth0] }
${config}`
    const { routing: file, pools } = parseConfig(
      text.replace('routing:', 'routing:\n  gobgp: unix:///nowhere'),
      self.name,
      {},
    )
    const merged = mergeRouting({ file, pools, facts: { self, others }, others: [] })
    if (!merged.routing) throw new Error(`${self.name} has no routing: ${JSON.stringify(merged.problems)}`)
    const { loopbacks, podCidrs, serviceNetworks } = merged.routing
    return {
      routing: merged.routing,
      allowed: allowedPrefixes({ loopbacks, podCidrs, pools, serviceNetworks }),
    }
  }

  /** @param bgp lines of bgpd's configuration @param zebra of zebra's */
  async addFrr(
    name: string,
    bgp: readonly string[],
    zebra: readonly string[] = ['no zebra nexthop kernel enable'],
  ): Promise<void> {
    const directory = join(this.#frr, name)
    mkdirSync(directory)
    const owner = frrOwner()
    for (const one of [this.#frr, directory]) chownSync(one, owner.uid, owner.gid)
    const files = {
      'vtysh.conf': 'no service integrated-vtysh-config',
      'zebra.conf': ['frr defaults traditional', ...zebra].join('\n'),
      'bgpd.conf': ['frr defaults traditional', ...bgp].join('\n'),
    }
    for (const [file, text] of Object.entries(files)) {
      writeFileSync(join(directory, file), `${text}\n`)
      chownSync(join(directory, file), owner.uid, owner.gid)
    }
    for (const daemon of ['zebra', 'bgpd'] as const) {
      this.spawn(this.namespace(name), frrCommand(daemon, directory), `${name}.${daemon}.log`)
      await until(`${daemon} of ${name}`, () => isFrrReady(daemon, directory))
    }
  }

  frr(name: string, ...commands: string[]): string {
    const directory = join(this.#frr, name)
    const args = commands.flatMap((command) => ['-c', command])
    return execFileSync('vtysh', ['--vty_socket', directory, '--config_dir', directory, ...args], {
      encoding: 'utf8',
    })
  }

  /** What FRR was told of a prefix. */
  frrPaths(name: string, prefix: string): readonly FrrPath[] {
    const family = prefix.includes(':') ? 'ipv6' : 'ipv4'
    const answer = this.frr(name, `show bgp ${family} unicast ${prefix} json`)
    return (JSON.parse(answer) as { paths?: FrrPath[] }).paths ?? []
  }

  async addBird(name: string, config: string): Promise<void> {
    const file = join(this.directory, `${name}.conf`)
    writeFileSync(file, config)
    this.spawn(
      this.namespace(name),
      ['bird', '-f', '-c', file, '-s', this.#control(name)],
      `${name}.bird.log`,
    )
    await until(`BIRD of ${name}`, () => existsSync(this.#control(name)))
  }

  bird(name: string, ...command: string[]): string {
    // It fails where there is nothing to show.
    return spawnSync('birdc', ['-s', this.#control(name), ...command], { encoding: 'utf8' }).stdout
  }

  #control(name: string): string {
    return join(this.directory, `${name}.ctl`)
  }

  /** Gateways of one destination in a host's kernel, sorted; empty where there is no route. */
  gateways(host: string, destination: string, protocol?: number): string[] {
    const family = destination.includes(':') ? '-6' : '-4'
    const by = protocol === undefined ? [] : ['proto', String(protocol)]
    const text = this.run(host, 'ip', family, '-j', 'route', 'show', destination, ...by)
    const rows = JSON.parse(text.trim() || '[]') as KernelRoute[]
    return rows.flatMap((row) => (row.nexthops ?? [row]).map(gatewayOf)).sort()
  }

  /** What a node has learned: destination and gateways. */
  learned(host: string): string[] {
    return LEARNED.flatMap((argv) => routeRows(this.run(host, ...argv)))
  }
}

/** What shows the routes that a node has learned. */
export const LEARNED = ['-4', '-6'].map((family) => [
  ...['ip', family, '-j', 'route', 'show', 'proto'],
  String(WEIR_ROUTE_PROTOCOL),
])

/** Of what `ip -j route` says, a row for each destination: `10.244.2.0/24 via 10.254.1.0 10.254.2.0`. */
export function routeRows(json: string): string[] {
  const rows = JSON.parse(json.trim() || '[]') as KernelRoute[]
  return rows.map((row) => `${row.dst} via ${(row.nexthops ?? [row]).map(gatewayOf).sort().join(' ')}`)
}

interface Hop {
  readonly gateway?: string
  readonly via?: { readonly family: string; readonly host: string }
}

interface KernelRoute extends Hop {
  readonly dst: string
  readonly nexthops?: readonly Hop[]
}

function gatewayOf({ gateway, via }: Hop): string {
  return via ? `${via.family} ${via.host}` : (gateway ?? '')
}

export interface FrrPath {
  readonly valid?: boolean
  readonly aspath?: { readonly string: string }
  readonly originatorId?: string
  readonly clusterList?: { readonly list: readonly string[] }
  readonly nexthops?: readonly { readonly ip: string; readonly scope?: string }[]
}

export function announce({ speaker }: FabricNode, ...prefixes: string[]): void {
  speaker.setDesired(prefixes.map((prefix) => announcement(prefix)))
}

const SETTINGS = [
  'net.ipv4.ip_forward=1',
  'net.ipv6.conf.all.forwarding=1',
  'net.ipv6.conf.all.accept_dad=0',
  'net.ipv6.conf.default.accept_dad=0',
  'net.ipv6.conf.default.accept_ra=0',
]

export { until }
