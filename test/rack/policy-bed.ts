// A rack for policy as its users meet it: pods of two nodes and a Service, who of them gets an answer from it, and what the command says.
// The pods of the first node are ports of a bridge, as the bridge plug-in makes them; the others are routed.

import type { Test } from 'tap'
import { POLICY_CRDS } from '../../bench/control/open-crds.ts'
import { BRIDGE } from '../../src/sandbox/controllers/pod-network.ts'
import { type CommandResult, type Host, runIn } from '../../src/sandbox/host.ts'
import { agentSocket, WEIR } from '../../src/sandbox/nodes.ts'
import type { Bed, Manifest } from './conformance/bed.ts'
import { HTTP_PORT, pod, service } from './conformance/manifests.ts'

/** By pod that asks. */
export type Who = Readonly<Record<string, boolean>>

export const ALL: Who = { 'default/near': true, 'default/far': true, 'other/guest': true }
export const NONE: Who = { 'default/near': false, 'default/far': false, 'other/guest': false }
const PODS = Object.keys(ALL)

/** Silence is what lasts this long; who may is given time. */
const SILENCE_S = '0.7'
const ANSWER_S = '4'

export class PolicyBed {
  readonly bed: Bed
  /** IPv4 and IPv6 of the pod that is asked, and of the Service that leads to it. */
  readonly web: readonly string[]
  readonly clusterIps: readonly string[]
  readonly vips: readonly string[]
  readonly #hosts: ReadonlyMap<string, Host>

  private constructor(
    bed: Bed,
    addresses: Pick<PolicyBed, 'web' | 'clusterIps' | 'vips'>,
    hosts: ReadonlyMap<string, Host>,
  ) {
    this.bed = bed
    this.web = addresses.web
    this.clusterIps = addresses.clusterIps
    this.vips = addresses.vips
    this.#hosts = hosts
  }

  /** With pods, and with kinds of policy that agents which have begun find while tests run. */
  static async on(bed: Bed): Promise<PolicyBed> {
    await bed.run('node1', ['ip', 'link', 'add', BRIDGE, 'address', '0a:58:0a:f4:01:01', 'type', 'bridge'])
    await bed.run('node1', ['ip', 'link', 'set', BRIDGE, 'up'])
    await bed.apply(
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'other', labels: { team: 'other' } } },
      pod('web', { node: 'node1', labels: { app: 'web' } }),
      pod('near', { node: 'node1', labels: { app: 'client', role: 'near' } }),
      pod('far', { node: 'node2', labels: { app: 'client', role: 'far' } }),
      pod('guest', { namespace: 'other', node: 'node2', labels: { app: 'client' } }),
      service('web', { type: 'LoadBalancer', selector: { app: 'web' } }),
    )
    await Promise.all([
      bed.waitForPods('app=web'),
      bed.waitForPods('app=client'),
      bed.waitForPods('app=client', 'other'),
    ])
    await bed.apply(...POLICY_CRDS)
    const web = await bed.podAddresses('web')
    const { clusterIps } = await bed.serviceAddresses('web')
    const vips = await bed.vips('web')
    const hosts = await Promise.all(PODS.map(async (name) => [name, await bed.host(name)] as const))
    return new PolicyBed(bed, { web, clusterIps, vips }, new Map(hosts))
  }

  /** What answers; empty when nothing does. */
  async curl(from: string, address: string, port: number, isWanted = true): Promise<string> {
    const host = this.#hosts.get(from) ?? (await this.bed.host(from))
    const url = `http://${address.includes(':') ? `[${address}]` : address}:${port}/hostname`
    return (await runIn(host, ['curl', '-s', '-g', '-m', isWanted ? ANSWER_S : SILENCE_S, url])).stdout
  }

  /** Whether each of them gets an answer from web, in both families. */
  async reach(addresses: readonly string[], port: number, wanted: Who): Promise<Who> {
    const asked = await Promise.all(
      PODS.map(async (from) => {
        const got = await Promise.all(
          addresses.map(async (address) => (await this.curl(from, address, port, wanted[from])) === 'web'),
        )
        if (new Set(got).size > 1)
          throw new Error(`${from} to ${addresses.join(' and ')}: ${got.join(' and ')}`)
        return [from, got[0] === true] as const
      }),
    )
    return Object.fromEntries(asked)
  }

  /** Straight to the pod and by ClusterIP: a Service makes no difference. */
  async expect(t: Test, what: string, wanted: Who, straightOnly = false): Promise<void> {
    await this.bed.until(
      what,
      async () => JSON.stringify(await this.reach(this.web, HTTP_PORT, wanted)) === JSON.stringify(wanted),
    )
    t.pass(`${what}: straight`)
    if (straightOnly) return
    t.strictSame(await this.reach(this.clusterIps, 80, wanted), wanted, `${what}: by ClusterIP`)
  }

  /** The command, on the first node. */
  async weir(...args: readonly string[]): Promise<CommandResult> {
    const argv = [process.execPath, WEIR, ...args, '--socket', agentSocket(this.bed.rack.host('node1'))]
    return await this.bed.run('node1', argv)
  }

  /** Each line of YAML that is named is the line that kubectl prints. */
  async linesAreKubectls(t: Test, text: string): Promise<void> {
    const named = [...flat(text).matchAll(/((?:line \d+, '[^']+' \([^)]+\)[;,] )+)of kubectl (.+? -o yaml)/g)]
    t.ok(named.length > 0, 'lines are named')
    for (const [, lines = '', command = ''] of named) {
      const printed = (await this.bed.kubectl(...command.split(' '))).split('\n')
      for (const [, line, said] of lines.matchAll(/line (\d+), '([^']+)'/g))
        t.equal(printed[Number(line) - 1]?.trim(), said, `line ${line} of kubectl ${command}`)
    }
  }
}

export const flat = (text: string) => text.replaceAll(/\s+/g, ' ')

export function policy(name: string, spec: object): Manifest {
  const metadata = { name, namespace: 'default' }
  return { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata, spec }
}
