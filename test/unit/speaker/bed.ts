// The bed of the speaker's tests: a node's namespace with the supervised gobgpd, and a router's namespace with a real BIRD, joined by
// one link that carries a session per family. Everything has a name of its own and goes at close(), killed by pid.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Address, type Prefix, parsePrefix } from '../../../src/model/address.ts'
import type { Announcement } from '../../../src/model/announcement.ts'
import {
  type BgpPeer,
  DEFAULT_RULES,
  DRAIN_DEFAULT,
  GATES_DEFAULT,
  LIMITS_DEFAULT,
  type NodeRouting,
  type PeerExport,
  type RouteAttributes,
} from '../../../src/model/routing.ts'
import { allowedPrefixes } from '../../../src/routing/allowed.ts'
import { renderBootConfig } from '../../../src/speaker/boot-config.ts'

const SUPERVISOR = join(import.meta.dirname, '../../../src/speaker/gobgpd-supervisor.sh')

export const cidr = (text: string): Prefix => {
  const parsed = parsePrefix(text)
  if (parsed === undefined) throw new TypeError(`not a prefix: ${text}`)
  return parsed
}

export const announcement = (text: string, communities?: readonly string[]): Announcement => ({
  prefix: cidr(text),
  family: text.includes(':') ? 'ipv6' : 'ipv4',
  source: 'service',
  why: 'test',
  ...(communities ? { communities } : {}),
})

export const allowed = allowedPrefixes({
  loopbacks: [cidr('10.255.0.1/32'), cidr('fd00:255::1/128')],
  podCidrs: [cidr('10.244.1.0/24'), cidr('fd00:244:1::/64')],
  pools: [{ name: 'default', prefixes: [cidr('203.0.113.0/24'), cidr('2001:db8:113::/112')] }],
})

/** A peer as the sandbox's nodes have it. */
export function peerOf(name: string, address: string, change: Partial<BgpPeer> = {}): BgpPeer {
  return {
    name,
    source: `routing.peers ${name}`,
    remote: { kind: 'address', address: address as Address },
    asn: 65001,
    port: 179,
    families: [address.includes(':') ? 'ipv6' : 'ipv4'],
    timers: { holdSeconds: 9, keepaliveSeconds: 3, connectRetrySeconds: 5 },
    gracefulRestart: { restartSeconds: 60 },
    ...change,
  }
}

export function routingOf(peers: readonly BgpPeer[], change: Partial<NodeRouting> = {}): NodeRouting {
  return {
    asn: 65101,
    routerId: '10.255.0.1',
    loopbacks: [],
    podCidrs: [],
    peers,
    rules: DEFAULT_RULES,
    serviceNetworks: [],
    limits: { ...LIMITS_DEFAULT, announcementsMax: 20_000 },
    bmp: [],
    gates: GATES_DEFAULT,
    drain: DRAIN_DEFAULT,
    ...change,
  }
}

export const routing = routingOf([
  peerOf('tor4', '10.254.1.0', { localAddress: '10.254.1.1' as Address }),
  peerOf('tor6', 'fd00:254:1::', { localAddress: 'fd00:254:1::1' as Address }),
])

export const attributes = (change: Partial<RouteAttributes> = {}): RouteAttributes => ({
  communities: [],
  largeCommunities: [],
  prepend: 0,
  ...change,
})

export const exported = (text: string, exports: readonly PeerExport[]): Announcement => ({
  ...announcement(text),
  exports,
})

const BIRD_CONFIG = `router id 10.255.250.1;
protocol device {}
protocol kernel { ipv4 { export where source = RTS_BGP; }; }
protocol kernel { ipv6 { export where source = RTS_BGP; }; }
protocol static { ipv4; route 192.0.2.0/24 blackhole; }
template bgp node {
  local as 65001; passive on; graceful restart on; error wait time 1, 2;
  hold time 9;
}
protocol bgp node4 from node { neighbor 10.254.1.1 as 65101; ipv4 { import all; export all; }; }
protocol bgp node6 from node { neighbor fd00:254:1::1 as 65101; ipv6 { import all; export none; }; }
`

export class Bed {
  readonly directory = mkdtempSync(join(tmpdir(), 'weir-speaker-'))
  readonly socket = join(this.directory, 'gobgpd.sock')
  readonly target = `unix://${this.socket}`
  readonly drainMarker = join(this.directory, 'draining')
  readonly #namespaces: string[] = []
  readonly #children: ChildProcess[] = []

  addNamespace(role: string): string {
    const name = `weir-t${process.pid}-${role}`
    execFileSync('ip', ['netns', 'add', name])
    this.#namespaces.push(name)
    execFileSync('ip', ['-n', name, 'link', 'set', 'lo', 'up'])
    return name
  }

  /** Starts a program inside a namespace; it ends with the bed at the latest. */
  spawn(namespace: string, args: readonly string[], logFile?: string): ChildProcess {
    const log = openSync(join(this.directory, logFile ?? 'log'), 'a')
    const child = spawn('nsenter', [`--net=/run/netns/${namespace}`, ...args], {
      stdio: ['ignore', log, log],
    })
    closeSync(log)
    this.#children.push(child)
    return child
  }

  writeBootFile(): string {
    const file = join(this.directory, 'boot.toml')
    const ofFamily = (family: string) => allowed.filter((row) => row.family === family)
    const { asn, routerId } = routing
    const facts = { asn, routerId, allowed: { ipv4: ofFamily('ipv4'), ipv6: ofFamily('ipv6') } }
    writeFileSync(file, renderBootConfig(facts))
    return file
  }

  startSupervisor(namespace: string): ChildProcess {
    const gobgpd = [
      'gobgpd',
      '--api-hosts',
      this.target,
      '--pprof-disable',
      '-t',
      'toml',
      '-f',
      this.writeBootFile(),
    ]
    return this.spawn(namespace, [SUPERVISOR, this.drainMarker, ...gobgpd], 'gobgpd.log')
  }

  /** node and tor, a link with /31 and /127, BIRD in tor. */
  async buildRouter(): Promise<{ node: string; tor: string }> {
    const node = this.addNamespace('node')
    const tor = this.addNamespace('tor')
    execFileSync('ip', [
      '-n',
      node,
      'link',
      'add',
      'to-tor',
      'type',
      'veth',
      'peer',
      'name',
      'to-node',
      'netns',
      tor,
    ])
    for (const [namespace, device, last] of [
      [node, 'to-tor', 1],
      [tor, 'to-node', 0],
    ] as const) {
      execFileSync('ip', ['-n', namespace, 'addr', 'add', `10.254.1.${last}/31`, 'dev', device])
      execFileSync('ip', ['-n', namespace, 'addr', 'add', `fd00:254:1::${last}/127`, 'dev', device, 'nodad'])
      execFileSync('ip', ['-n', namespace, 'link', 'set', device, 'up'])
    }
    const file = join(this.directory, 'bird.conf')
    writeFileSync(file, BIRD_CONFIG)
    this.spawn(tor, ['bird', '-f', '-c', file, '-s', join(this.directory, 'bird.ctl')], 'bird.log')
    await until('BIRD is up', () => existsSync(join(this.directory, 'bird.ctl')))
    return { node, tor }
  }

  read(file: string): string {
    return readFileSync(join(this.directory, file), 'utf8')
  }

  async close(): Promise<void> {
    for (const child of this.#children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      child.kill('SIGTERM')
      const ended = new Promise((resolve) => child.once('exit', resolve))
      await Promise.race([ended, sleep(3_000).then(() => child.kill('SIGKILL'))])
    }
    for (const name of this.#namespaces) execFileSync('ip', ['netns', 'del', name])
    rmSync(this.directory, { recursive: true, force: true })
  }
}

export async function until(
  what: string,
  isTrue: () => boolean | Promise<boolean>,
  withinMs = 14_000,
): Promise<void> {
  const deadlineMs = Date.now() + withinMs
  while (!(await isTrue())) {
    if (Date.now() > deadlineMs) throw new Error(`not within ${withinMs} ms: ${what}`)
    await sleep(25)
  }
}

/** The prefixes BIRD put into the kernel's table. */
export function birdRoutes(namespace: string): string[] {
  return ['-4', '-6'].flatMap((family) =>
    execFileSync('ip', [family, '-n', namespace, 'route', 'show', 'proto', 'bird'], { encoding: 'utf8' })
      .split('\n')
      .map((line) => line.split(' ')[0] ?? '')
      .filter((text) => text !== ''),
  )
}

/** The child that a supervisor runs now. */
export function childOf(pid: number | undefined): number | undefined {
  const [first] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')
  return first ? Number(first) : undefined
}

/** Runs, and is no zombie waiting to be reaped. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}
