// The bed of the client's tests against real daemons: a node's namespace with gobgpd, and one namespace for each router with a real
// BIRD, each joined to the node by a link of its own. What a router was told is read from the router.

import { type ChildProcess, execFileSync, spawnSync } from 'node:child_process'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import {
  type GobgpClient,
  openGobgpClient,
  type PeerSettings,
} from '../../../bgp/client/gobgp-grpc-client.ts'
import { Bed, until } from '../speaker/bed.ts'

export { until }
export const NODE_ASN = 65101
export const NODE = { asn: NODE_ASN, routerId: '10.255.0.1' }

/** Addresses of the link to router `index`: the router has the even one. */
export const link = (index: number) => ({
  router4: `10.254.${index}.0`,
  node4: `10.254.${index}.1`,
  router6: `fd00:254:${index}::`,
  node6: `fd00:254:${index}::1`,
  device: `to-tor${index}`,
})

export const routerAsn = (index: number) => 65000 + index

/** A BIRD that takes what it is sent into its kernel, and learns nothing else. `peers` is the text of its BGP protocols. */
const birdConfig = (index: number, peers: string) => `router id 10.255.250.${index};
log "bird${index}.messages" all;
protocol device {}
protocol direct { ipv4; ipv6; }
protocol kernel { ipv4 { export where source = RTS_BGP; }; merge paths on; }
protocol kernel { ipv6 { export where source = RTS_BGP; }; }
protocol static { ipv4; route 192.0.2.0/24 blackhole; route 198.51.100.0/24 blackhole; }
template bgp node {
  local as ${routerAsn(index)};
  error wait time 1, 2; connect delay time 1; connect retry time 1; hold time 9;
}
${peers}
`

/** One session per family. */
export const twoSessions = (index: number, options = '') => `
protocol bgp node4 from node { neighbor ${link(index).node4} as ${NODE_ASN}; ${options}
  ipv4 { import all; export where source = RTS_STATIC; }; }
protocol bgp node6 from node { neighbor ${link(index).node6} as ${NODE_ASN}; ${options}
  ipv6 { import all; export none; }; }
`

/** One IPv4 session that carries both families. */
export const oneSession = (index: number, options = '') => `
protocol bgp node4 from node { neighbor ${link(index).node4} as ${NODE_ASN}; ${options}
  ipv4 { import all; export where source = RTS_STATIC; };
  ipv6 { import all; export none; };
}
`

export class RouterBed extends Bed {
  readonly node: string
  #daemon: ChildProcess | undefined
  readonly #routers = new Map<number, string>()

  constructor(t: Test) {
    super()
    t.teardown(() => this.close())
    this.node = this.addNamespace('node')
  }

  /** A fresh gobgpd; whatever ran before is killed, as a crash would. */
  async startGobgpd(client: GobgpClient): Promise<void> {
    await this.killGobgpd()
    this.#daemon = this.spawn(
      this.node,
      ['gobgpd', '--api-hosts', this.target, '--pprof-disable'],
      'gobgpd.log',
    )
    await client.waitUntilReady(AbortSignal.timeout(10_000))
  }

  async killGobgpd(): Promise<void> {
    const daemon = this.#daemon
    if (!daemon) return
    const ended = new Promise((resolve) => daemon.once('exit', resolve))
    daemon.kill('SIGKILL')
    await ended
    rmSync(this.socket, { force: true })
    this.#daemon = undefined
  }

  openClient(t: Test): GobgpClient {
    const client = openGobgpClient({ target: this.target })
    t.teardown(() => client.close())
    return client
  }

  async addRouter(index: number, peers: string): Promise<string> {
    const tor = this.addLink(index)
    await this.#startBird(index, peers)
    return tor
  }

  /** A router's namespace, joined to the node. */
  addLink(index: number): string {
    const tor = this.addNamespace(`tor${index}`)
    this.#routers.set(index, tor)
    const { router4, node4, router6, node6, device } = link(index)
    ip('-n', this.node, 'link', 'add', device, 'type', 'veth', 'peer', 'name', 'to-node', 'netns', tor)
    for (const [namespace, name, v4, v6] of [
      [this.node, device, node4, node6],
      [tor, 'to-node', router4, router6],
    ] as const) {
      execFileSync('nsenter', [
        `--net=/run/netns/${namespace}`,
        'sysctl',
        '-qw',
        'net.ipv6.conf.all.accept_dad=0',
        `net.ipv6.conf.${name}.accept_dad=0`,
      ])
      ip('-n', namespace, 'addr', 'add', `${v4}/31`, 'dev', name)
      ip('-n', namespace, 'addr', 'add', `${v6}/127`, 'dev', name, 'nodad')
      ip('-n', namespace, 'link', 'set', name, 'up')
    }
    return tor
  }

  router(index: number): string {
    return this.#routers.get(index) ?? ''
  }

  reconfigureBird(index: number, peers: string): void {
    this.#writeBirdFile(index, peers)
    const answer = this.bird(index, 'configure')
    if (!answer.includes('Reconfig')) throw new Error(answer)
  }

  async #startBird(index: number, peers: string): Promise<void> {
    const file = this.#writeBirdFile(index, peers)
    this.spawn(this.router(index), ['bird', '-f', '-c', file, '-s', this.#control(index)], `bird${index}.log`)
    await until('BIRD is up', () => existsSync(this.#control(index)))
  }

  #writeBirdFile(index: number, peers: string): string {
    const file = join(this.directory, `bird${index}.conf`)
    writeFileSync(file, birdConfig(index, peers).replace('log "', `log "${this.directory}/`))
    return file
  }

  /** What BIRD answers to a command. */
  bird(index: number, ...command: string[]): string {
    // It fails where there is nothing to show.
    return spawnSync('birdc', ['-s', this.#control(index), ...command], { encoding: 'utf8' }).stdout
  }

  /** Everything BIRD knows of a prefix; empty when it has no route to it. */
  birdRoute(index: number, prefix: string): string {
    const text = this.bird(index, 'show', 'route', 'for', prefix, 'all')
    return text.includes(prefix) ? text : ''
  }

  /** The next hops the kernel of a router has for a prefix. */
  kernelRoute(index: number, prefix: string): string {
    const family = prefix.includes(':') ? '-6' : '-4'
    return execFileSync('ip', [family, '-n', this.router(index), 'route', 'show', prefix], {
      encoding: 'utf8',
    }).trim()
  }

  linkLocal(namespace: string, device: string): string {
    const text = ip('-n', namespace, '-6', '-o', 'addr', 'show', 'dev', device, 'scope', 'link')
    return /inet6 (\S+)\//.exec(text)?.[1] ?? ''
  }

  #control(index: number): string {
    return join(this.directory, `bird${index}.ctl`)
  }
}

export function ip(...args: string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8' })
}

/** The peer of this node that router `index` is, in one family. */
export function peer(
  index: number,
  family: 'ipv4' | 'ipv6',
  change: Partial<PeerSettings> = {},
): PeerSettings {
  const { router4, router6, node4, node6 } = link(index)
  return {
    remote: { kind: 'address', address: family === 'ipv4' ? router4 : router6 },
    localAddress: family === 'ipv4' ? node4 : node6,
    asn: routerAsn(index),
    families: [family],
    port: 179,
    holdSeconds: 9,
    keepaliveSeconds: 3,
    connectRetrySeconds: 5,
    ...change,
  }
}

export async function untilEstablished(client: GobgpClient, count: number): Promise<void> {
  await until(
    `${count} sessions are up`,
    async () =>
      (await client.listPeers()).filter(({ status }) => status.session === 'established').length === count,
    20_000,
  )
}
