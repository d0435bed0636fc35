// A rack for conformance tests: brought up once per file, spoken to with a real kubectl and through sockets that are opened
// where the test says: on a client, on a node, or in a pod (`namespace/name`).

import { setTimeout as sleep } from 'node:timers/promises'
import { NODES_DEFAULT } from '../../../src/sandbox/address-plan.ts'
import { downRack } from '../../../src/sandbox/down.ts'
import { type CommandResult, type Host, podHost, runAt, runIn } from '../../../src/sandbox/host.ts'
import { planFromDocument } from '../../../src/sandbox/plan-file.ts'
import { askAgent, findKubectl } from '../../../src/sandbox/proof/context.ts'
import type { Rack } from '../../../src/sandbox/rack.ts'
import { upRack } from '../../../src/sandbox/up.ts'
import { testRackName } from '../../../tools/test-names.ts'
import type { Order, Outcome, Probe } from './prober.ts'
import { Prober } from './probes.ts'

export interface BedOptions {
  /** Letters; the rack is called by it and the pid. */
  readonly name: string
  readonly nodes?: number
  /** Node N has an AS number of its own, as where nothing is said, or all have one. */
  readonly nodeAsn?: 'per-node' | 'shared'
  /** Sections of the agents' configuration file, over the rack's own. */
  readonly agent?: Readonly<Record<string, unknown>>
  /** Nodes that speak one family alone, by name. */
  readonly singleFamily?: Readonly<Record<string, 'ipv4' | 'ipv6'>>
  readonly mtu?: { readonly fabric: number }
  /** Uplinks without addresses. */
  readonly unnumbered?: boolean
}

/** What waits for an answer; everything in a rack is near. */
const ANSWER_MS = 2000
/** Silence is what lasts this long: a lost SYN would have been sent again after a second. */
const SILENCE_MS = 1300
const KUBECTL_MS = 60_000
const POLL_MS = 100
const UNTIL_MS = 60_000

/** An object, or YAML text of several. */
export type Manifest = string | Readonly<Record<string, unknown>>

function textOf(manifests: readonly Manifest[]): string {
  // Text that begins with a brace is read as a stream of JSON, where no line may separate.
  return manifests.map((one) => `---\n${typeof one === 'string' ? one : JSON.stringify(one)}\n`).join('')
}

export class Bed {
  readonly rack: Rack
  readonly #kubectl: string
  readonly #probers = new Map<string, Promise<Prober>>()

  private constructor(rack: Rack, kubectl: string) {
    this.rack = rack
    this.#kubectl = kubectl
  }

  static async up({ name, nodes = NODES_DEFAULT, ...rest }: BedOptions): Promise<Bed> {
    const plan = planFromDocument({ nodes, ...rest }, 'the test')
    const rackName = testRackName(name)
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

  /** Agents run with the roles of manifests/: a test in which they lacked a rule fails here. */
  async down(): Promise<void> {
    const lacking = await Promise.all(this.rack.plan.nodes.map(({ name }) => this.#lackingRules(name)))
    const probers = await Promise.allSettled(this.#probers.values())
    for (const one of probers) if (one.status === 'fulfilled') one.value.close()
    await downRack(this.rack.name)
    const rules = new Set(lacking.flat())
    if (rules.size > 0) throw new Error(`the roles in manifests/ lack ${[...rules].join(', ')}`)
  }

  /** None of an agent that does not run. */
  async #lackingRules(node: string): Promise<string[]> {
    const none = { lackingRules: [] }
    type Status = { readonly lackingRules: readonly { readonly rule: string }[] }
    const { lackingRules } = await this.agent<Status>(node, '/v1/status').catch((): Status => none)
    return lackingRules.map(({ rule }) => rule)
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

  async patch(kind: string, name: string, patch: unknown, ...more: readonly string[]): Promise<void> {
    await this.#runKubectl(['patch', kind, name, '--type=merge', '-p', JSON.stringify(patch), ...more])
  }

  /** `client1`, `node2`, or a pod as `namespace/name`, which must be scheduled. */
  async host(name: string): Promise<Host> {
    const [namespace, pod] = name.split('/')
    if (pod === undefined || namespace === undefined) return this.rack.host(name)
    const { spec, metadata } = await this.get<{ spec: { nodeName: string }; metadata: { uid: string } }>(
      ...['pod', pod, '-n', namespace],
    )
    return podHost(this.rack.name, spec.nodeName, { namespace, name: pod }, metadata.uid)
  }

  async run(from: string, argv: readonly string[], timeoutMs?: number): Promise<CommandResult> {
    return await runIn(await this.host(from), argv, timeoutMs === undefined ? {} : { timeoutMs })
  }

  /** The process that opens sockets on a host, started when first asked for. */
  async prober(from: string): Promise<Prober> {
    const known = this.#probers.get(from)
    if (known) return await known
    const starting = this.host(from).then((host) => new Prober(host, () => this.#probers.delete(from)))
    this.#probers.set(from, starting)
    starting.catch(() => this.#probers.delete(from))
    return await starting
  }

  async order<O extends Order>(from: string, order: O) {
    return await (await this.prober(from)).order(order)
  }

  /** The body of netexec's answer; empty when there is none. */
  async http(from: string, address: string, path = '/hostname', port = 80): Promise<string> {
    return (await this.order(from, { kind: 'tcp', address, port, path, timeoutMs: ANSWER_MS })).text
  }

  /** The same by curl, which tells its status too: 7 when the connection was refused, 28 when nothing came. */
  async curl(from: string, address: string, path = '/hostname', port = 80): Promise<CommandResult> {
    const url = `http://${address.includes(':') ? `[${address}]` : address}:${port}${path}`
    return await this.run(from, ['curl', '-s', '-g', '-m', String(ANSWER_MS / 1000), url])
  }

  /** Names of who answered `times` requests, each on a connection or socket of its own. */
  async answerers(
    from: string,
    address: string,
    port: number,
    times: number,
    protocol: 'tcp' | 'udp' = 'tcp',
  ): Promise<Map<string, number>> {
    const target = { address, port, timeoutMs: ANSWER_MS }
    const order: Order =
      protocol === 'tcp'
        ? { kind: 'tcp', path: '/hostname', ...target }
        : { kind: 'udp', message: 'hostname', connected: true, ...target }
    const probes = await Promise.all(Array.from({ length: times }, () => this.order(from, order)))
    const counts = new Map<string, number>()
    for (const { outcome, text } of probes) {
      const name = outcome === 'answered' ? text : `(${outcome})`
      counts.set(name, (counts.get(name) ?? 0) + 1)
    }
    return counts
  }

  /** Tries to open a TCP connection and closes it again. */
  async connect(from: string, address: string, port: number): Promise<Outcome> {
    return (await this.order(from, { kind: 'tcp', address, port, timeoutMs: SILENCE_MS })).outcome
  }

  /** One datagram to a netexec, and its answer. */
  async udp(
    from: string,
    address: string,
    port: number,
    options: { message?: string; sourcePort?: number; connected?: boolean } = {},
  ): Promise<Probe> {
    const { message = 'hostname', connected = true, sourcePort } = options
    return await this.order(from, {
      kind: 'udp',
      address,
      port,
      message,
      connected,
      timeoutMs: SILENCE_MS,
      ...(sourcePort === undefined ? {} : { sourcePort }),
    })
  }

  /** Polls until it holds; throws after `ms` saying what was waited for. */
  async until(what: string, holds: () => Promise<boolean>, ms = UNTIL_MS): Promise<void> {
    const end = Date.now() + ms
    for (;;) {
      if (await holds().catch(() => false)) return
      if (Date.now() > end) throw new Error(`waited ${ms} ms for ${what}`)
      await sleep(POLL_MS)
    }
  }

  /** IPv4 and IPv6 of a node's loopback: its InternalIPs. */
  nodeAddresses(number: number): string[] {
    const { ipv4, ipv6 } = this.rack.plan.nodes[number - 1]?.loopback ?? { ipv4: '', ipv6: '' }
    return [ipv4, ipv6]
  }

  /** IPv4 and IPv6 of a pod. */
  async podAddresses(name: string, namespace = 'default'): Promise<string[]> {
    const { status } = await this.get<{ status: { podIPs: { ip: string }[] } }>('pod', name, '-n', namespace)
    return status.podIPs.map(({ ip }) => ip)
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
      '--timeout=80s',
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
