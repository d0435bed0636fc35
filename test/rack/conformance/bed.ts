// A rack for conformance tests: brought up once per file, spoken to with a real kubectl, curl and small socket programs that
// run where the test says: on a client, on a node, or in a pod (`namespace/name`).

import { setTimeout as sleep } from 'node:timers/promises'
import { makeAddressPlan, NODES_DEFAULT } from '../../../src/sandbox/address-plan.ts'
import { downRack } from '../../../src/sandbox/down.ts'
import { type CommandResult, type Host, podHost, runAt, runIn } from '../../../src/sandbox/host.ts'
import { planFromDocument } from '../../../src/sandbox/plan-file.ts'
import { askAgent, findKubectl } from '../../../src/sandbox/proof/context.ts'
import type { Rack } from '../../../src/sandbox/rack.ts'
import { upRack } from '../../../src/sandbox/up.ts'

export interface BedOptions {
  /** Letters; the rack is called by it and the pid. */
  readonly name: string
  readonly nodes?: number
  /** Sections of the agents' configuration file, over the rack's own. */
  readonly agent?: Readonly<Record<string, unknown>>
}

/** How a TCP connect() ended. */
export type Connect = 'open' | 'refused' | 'silent' | 'unreachable'

export interface UdpAnswer {
  /** Empty when nothing came, or when the socket was told that nobody listens. */
  readonly text: string
  /** As the program saw it. */
  readonly from: string
  readonly isRefused: boolean
}

/** What curl waits for an answer; everything in a rack is near. */
const CURL_SECONDS = 2
/** Silence is what lasts this long. */
const SILENCE_MS = 1200
const KUBECTL_MS = 60_000
const POLL_MS = 100

/** An object, or YAML text of several. */
export type Manifest = string | Readonly<Record<string, unknown>>

function textOf(manifests: readonly Manifest[]): string {
  // Text that begins with a brace is read as a stream of JSON, where no line may separate.
  return manifests.map((one) => `---\n${typeof one === 'string' ? one : JSON.stringify(one)}\n`).join('')
}

export class Bed {
  readonly rack: Rack
  readonly #kubectl: string

  private constructor(rack: Rack, kubectl: string) {
    this.rack = rack
    this.#kubectl = kubectl
  }

  static async up({ name, nodes = NODES_DEFAULT, agent }: BedOptions): Promise<Bed> {
    const plan = agent ? planFromDocument({ nodes, agent }, 'the test') : makeAddressPlan(nodes)
    const rackName = `${name}${process.pid}`
    const [rack, kubectl] = await Promise.all([upRack({ name: rackName, plan }), findKubectl()])
    const bed = new Bed(rack, kubectl)
    await bed.until('every agent to have synced', async () => {
      const states = await Promise.all(
        rack.plan.nodes.map((node) => bed.agent<{ synced: boolean }>(node.name, '/v1/status')),
      )
      return states.every((state) => state.synced)
    })
    return bed
  }

  down(): Promise<void> {
    return downRack(this.rack.name)
  }

  /** Standard output; throws with what kubectl said when it fails. */
  async kubectl(...args: readonly string[]): Promise<string> {
    return await this.#runKubectl(args)
  }

  async apply(...manifests: readonly Manifest[]): Promise<void> {
    await this.#runKubectl(['apply', '-f', '-'], textOf(manifests))
  }

  async delete(...manifests: readonly Manifest[]): Promise<void> {
    await this.#runKubectl(
      ['delete', '--ignore-not-found', '--grace-period=0', '--force', '-f', '-'],
      textOf(manifests),
    )
  }

  async get<T>(...args: readonly string[]): Promise<T> {
    return JSON.parse(await this.#runKubectl(['get', ...args, '-o', 'json'])) as T
  }

  agent<T>(node: string, path: string): Promise<T> {
    return askAgent<T>(this.rack, node, path)
  }

  /** `client1`, `node2`, or a pod as `namespace/name`, which must be scheduled. */
  async host(name: string): Promise<Host> {
    const [namespace, pod] = name.split('/')
    if (pod === undefined || namespace === undefined) return this.rack.host(name)
    const { spec } = await this.get<{ spec: { nodeName: string } }>('pod', pod, '-n', namespace)
    return podHost(this.rack.name, spec.nodeName, { namespace, name: pod })
  }

  async run(from: string, argv: readonly string[], timeoutMs?: number): Promise<CommandResult> {
    return await runIn(await this.host(from), argv, timeoutMs === undefined ? {} : { timeoutMs })
  }

  /** The body; empty when there is none. */
  async curl(from: string, address: string, path = '/hostname', port = 80): Promise<string> {
    const { stdout } = await this.run(from, [
      'curl',
      '-s',
      '-g',
      '-m',
      String(CURL_SECONDS),
      url(address, port, path),
    ])
    return stdout
  }

  /** Names of who answered `times` requests, each on a connection of its own. */
  async answerers(from: string, address: string, port = 80, times = 30): Promise<Map<string, number>> {
    const host = await this.host(from)
    const urls = Array.from({ length: times }, () => [
      '--next',
      '-s',
      '-g',
      '-m',
      String(CURL_SECONDS),
      '-H',
      'Connection: close',
      '-w',
      '\n',
      url(address, port, '/hostname'),
    ]).flat()
    const { stdout } = await runIn(host, ['curl', ...urls.slice(1)], { timeoutMs: 60_000 })
    const counts = new Map<string, number>()
    for (const line of stdout.split('\n')) if (line !== '') counts.set(line, (counts.get(line) ?? 0) + 1)
    return counts
  }

  /** Tries to open a TCP connection and closes it again. */
  async connect(from: string, address: string, port: number): Promise<Connect> {
    const script = `const s = require('node:net').connect(${port}, '${address}')
      s.on('connect', () => { console.log('open'); process.exit() })
      s.on('error', (e) => { console.log(e.code === 'ECONNREFUSED' ? 'refused' : 'unreachable'); process.exit() })
      setTimeout(() => { console.log('silent'); process.exit() }, ${SILENCE_MS})`
    return (await this.run(from, [process.execPath, '-e', script])).stdout.trim() as Connect
  }

  /** One datagram to a netexec, and its answer. `connected`: by connect(), which hears of refusals. */
  async udp(
    from: string,
    address: string,
    port: number,
    options: { message?: string; sourcePort?: number; connected?: boolean } = {},
  ): Promise<UdpAnswer> {
    const { message = 'hostname', sourcePort, connected = true } = options
    const type = address.includes(':') ? 'udp6' : 'udp4'
    const script = `const s = require('node:dgram').createSocket({ type: '${type}', reuseAddr: true })
      const say = (text, from, isRefused) => { console.log(JSON.stringify({ text, from, isRefused })); process.exit() }
      s.on('message', (data, sender) => say(String(data), sender.address, false))
      s.on('error', (e) => say('', '', e.code === 'ECONNREFUSED'))
      const sent = (e) => e && say('', '', e.code === 'ECONNREFUSED')
      const send = () => ${
        connected
          ? `s.connect(${port}, '${address}', (e) => (e ? sent(e) : s.send('${message}', sent)))`
          : `s.send('${message}', ${port}, '${address}', sent)`
      }
      ${sourcePort === undefined ? 'send()' : `s.bind(${sourcePort}, send)`}
      setTimeout(() => say('', '', false), ${SILENCE_MS})`
    return JSON.parse((await this.run(from, [process.execPath, '-e', script])).stdout) as UdpAnswer
  }

  /** Polls until it holds; throws after `ms` saying what was waited for. */
  async until(what: string, holds: () => Promise<boolean>, ms = 20_000): Promise<void> {
    const end = Date.now() + ms
    for (;;) {
      if (await holds().catch(() => false)) return
      if (Date.now() > end) throw new Error(`waited ${ms} ms for ${what}`)
      await sleep(POLL_MS)
    }
  }

  async waitForPods(selector: string, namespace = 'default'): Promise<void> {
    await this.kubectl(
      'wait',
      '-n',
      namespace,
      '--for=condition=Ready',
      'pod',
      '-l',
      selector,
      '--timeout=40s',
    )
  }

  async serviceAddresses(
    name: string,
    namespace = 'default',
  ): Promise<{ clusterIps: string[]; vips: string[]; nodePorts: Record<string, number> }> {
    const { spec, status } = await this.get<{
      spec: {
        clusterIPs?: string[]
        ports?: { name?: string; port: number; protocol: string; nodePort?: number }[]
      }
      status: { loadBalancer?: { ingress?: { ip?: string }[] } }
    }>('service', name, '-n', namespace)
    return {
      clusterIps: spec.clusterIPs ?? [],
      vips: (status.loadBalancer?.ingress ?? []).flatMap((entry) => entry.ip ?? []),
      nodePorts: Object.fromEntries(
        (spec.ports ?? []).map((port) => [`${port.port}/${port.protocol}`, port.nodePort ?? 0]),
      ),
    }
  }

  /** Waits until the Service has load-balancer addresses of both families that both ToRs lead to. */
  async vips(name: string, namespace = 'default', families = 2): Promise<string[]> {
    let found: string[] = []
    await this.until(`addresses of Service ${name}`, async () => {
      found = (await this.serviceAddresses(name, namespace)).vips
      return found.length >= families
    })
    return found
  }

  async #runKubectl(args: readonly string[], input?: string): Promise<string> {
    const env = { KUBECONFIG: this.rack.kubeconfig }
    const result = await runAt({}, [this.#kubectl, ...args], {
      env,
      timeoutMs: KUBECTL_MS,
      ...(input === undefined ? {} : { input }),
    })
    if (result.status === 0) return result.stdout
    throw new Error(`kubectl ${args.join(' ')}: ${result.stderr.trim()}`)
  }
}

function url(address: string, port: number, path: string): string {
  return `http://${address.includes(':') ? `[${address}]` : address}:${port}${path}`
}
