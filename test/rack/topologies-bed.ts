// A rack that is wired once and speaks BGP in one way after another: what writes a topology into both ToRs and into the agents' files,
// while all of them run, and what the routers and the nodes' kernels then say of it. All nodes have one AS number; the ToRs get theirs.

import { readFileSync, writeFileSync } from 'node:fs'
import { parse, stringify } from 'yaml'
import { birdConfig } from '../../bgp/dialects/bird.ts'
import { frrBgpConfig } from '../../bgp/dialects/frr.ts'
import { FAMILIES, type PrefixRule, type RouterModel } from '../../bgp/dialects/model.ts'
import type { NodePlan } from '../../src/sandbox/address-plan.ts'
import { ipBatch } from '../../src/sandbox/host.ts'
import { formatNetwork } from '../../src/sandbox/ip-arithmetic.ts'
import { routerCommand, routerModel } from '../../src/sandbox/routers.ts'
import { LEARNED, routeRows } from '../unit/speaker/fabric-bed.ts'
import type { Bed } from './conformance/bed.ts'

export const FRR = 'tor1'
export const BIRD = 'tor2'
export const TORS = [FRR, BIRD] as const
const ECMP_MAX = 64

export interface TorSide {
  /** Of tor1 and tor2. */
  readonly asns: readonly [number, number]
  /** What nodes are told. */
  readonly announce?: readonly PrefixRule[]
  /** Nodes are their clients (RFC 4456), and what they are told has the router as next hop. */
  readonly reflects?: boolean
  /** One session with each node, over the IPv6 addresses of the link, carries both families (RFC 8950). */
  readonly overIpv6?: boolean
}

export interface FrrPath {
  readonly peer?: { readonly peerId?: string }
  readonly aspath?: { readonly string?: string }
  readonly nexthops?: readonly { readonly ip?: string; readonly afi?: string }[]
}

interface AgentFile {
  readonly routing: Readonly<Record<string, unknown>> & { readonly peers: readonly Record<string, unknown>[] }
}

export class TopologyBed {
  readonly bed: Bed
  readonly nodes: readonly NodePlan[]
  readonly #originals: ReadonlyMap<string, AgentFile>
  #asnOfFrr: number

  constructor(bed: Bed) {
    this.bed = bed
    this.nodes = bed.rack.plan.nodes
    this.#originals = new Map(
      this.nodes.map(({ name }) => [name, parse(readFileSync(this.#file(name), 'utf8')) as AgentFile]),
    )
    this.#asnOfFrr = bed.rack.plan.bases.asns.tor1
  }

  #file(node: string): string {
    return `${this.bed.rack.host(node).directory}/agent.yaml`
  }

  /** Sessions as the rack has them: for each ToR one of each family. */
  plainPeers(node: NodePlan): readonly Record<string, unknown>[] {
    return this.#originals.get(node.name)?.routing.peers ?? []
  }

  /** Its section `routing`, over what the rack made; nothing: as the rack made it. */
  configureNode({ name }: NodePlan, routing: Readonly<Record<string, unknown>> = {}): void {
    const original = this.#originals.get(name)
    const whole = { ...original, routing: { ...original?.routing, ...routing } }
    writeFileSync(this.#file(name), stringify(JSON.parse(JSON.stringify(whole))))
  }

  configureNodes(routingOf: (node: NodePlan) => Readonly<Record<string, unknown>>): void {
    for (const node of this.nodes) this.configureNode(node, routingOf(node))
  }

  async configureTors(side: TorSide): Promise<void> {
    await Promise.all([this.#configureFrr(side), this.#configureBird(side), this.#tellSpine(side)])
  }

  async #configureFrr(side: TorSide): Promise<void> {
    const [asn] = side.asns
    const { name: _, ...model } = this.#modelOf(FRR, side)
    const file = `${this.bed.rack.host(FRR).directory}/frr/topology.conf`
    writeFileSync(file, [frrBgpConfig(model), ...(side.reflects ? reflectorLines(model) : [])].join('\n'))
    await this.#vtysh(FRR, '-c', 'configure terminal', '-c', `no router bgp ${this.#asnOfFrr}`)
    this.#asnOfFrr = asn
    await this.#vtysh(FRR, '-f', file)
  }

  async #configureBird(side: TorSide): Promise<void> {
    const text = birdConfig(this.#modelOf(BIRD, side))
    const reflecting = text
      .replaceAll(/^template bgp group_nodes_\w+ \{$/gm, '$&\n  direct;\n  rr client;')
      .replaceAll(/^ +import filter group_nodes_\w+;$/gm, '$&\n    next hop self;')
    writeFileSync(`${this.bed.rack.host(BIRD).directory}/bird.conf`, side.reflects ? reflecting : text)
    const answer = await this.birdc('configure')
    if (!/Reconfigur/.test(answer)) throw new Error(`BIRD refuses its configuration: ${answer}`)
  }

  /** It must expect another AS number of its neighbours. */
  async #tellSpine({ asns }: TorSide): Promise<void> {
    const { spine, links } = this.bed.rack.plan
    const lines = links
      .filter(({ kind }) => kind === 'tor-spine')
      .flatMap(({ lower }) =>
        FAMILIES.flatMap((family) => {
          const asn = asns[lower.host === FRR ? 0 : 1]
          return ['-c', `neighbor ${lower.address[family].split('/')[0]} remote-as ${asn}`]
        }),
      )
    await this.#vtysh(spine.name, '-c', 'configure terminal', '-c', `router bgp ${spine.asn}`, ...lines)
  }

  #modelOf(tor: string, side: TorSide): RouterModel {
    const model = routerModel(this.bed.rack.plan, tor)
    return {
      ...model,
      asn: side.asns[tor === FRR ? 0 : 1],
      groups: model.groups.map((group) => {
        if (group.name !== 'nodes') return group
        const peers = group.peers.filter(({ address }) => !side.overIpv6 || address.includes(':'))
        const carries = side.overIpv6 ? FAMILIES : undefined
        return { ...group, peers, carries, announce: side.announce ?? [] }
      }),
    }
  }

  async #vtysh(router: string, ...args: readonly string[]): Promise<string> {
    const host = this.bed.rack.host(router)
    const { status, stdout, stderr } = await this.bed.run(router, routerCommand(host, ['vtysh', ...args]))
    if (status !== 0 || /^%/m.test(stdout)) throw new Error(`${router} refuses ${args}: ${stdout}${stderr}`)
    return stdout
  }

  async birdc(...command: readonly string[]): Promise<string> {
    const host = this.bed.rack.host(BIRD)
    return (await this.bed.run(BIRD, routerCommand(host, ['birdc', ...command]))).stdout
  }

  /** What FRR was told of a prefix, by whomever. */
  async frrPaths(prefix: string): Promise<readonly FrrPath[]> {
    const family = prefix.includes(':') ? 'ipv6' : 'ipv4'
    const text = await this.#vtysh(FRR, '-c', `show bgp ${family} unicast ${prefix} json`)
    return (JSON.parse(text || '{}') as { paths?: readonly FrrPath[] }).paths ?? []
  }

  /** What a node's kernel holds of routes that the node has learned: destination and gateways. */
  async learned({ name }: NodePlan): Promise<string[]> {
    const answers = await Promise.all(LEARNED.map((argv) => this.bed.run(name, argv)))
    return answers.flatMap(({ stdout }) => routeRows(stdout)).sort()
  }

  /** Networks of this base, each of this length. */
  rulesOf(base: 'pods' | 'clients' | 'links', lengths: { ipv4: number; ipv6: number }): PrefixRule[] {
    const networks = this.bed.rack.plan.bases[base]
    return FAMILIES.map((family) => ({
      prefix: formatNetwork(networks[family]),
      lengthMin: lengths[family],
      lengthMax: lengths[family],
    }))
  }

  /**
   * A segment that all nodes share, beside the fabric. Each has its loopback addresses there too: next hops of what nodes tell each other
   * are these, and a kernel takes none that is not on a link.
   */
  async addSegment(): Promise<void> {
    const { namespace } = this.bed.rack.host('spine')
    await ipBatch(namespace, ['link add segment type bridge', 'link set segment up'])
    for (const { name, loopback } of this.nodes) {
      const node = this.bed.rack.host(name).namespace
      await ipBatch(namespace, [
        `link add seg-${name} type veth peer name segment netns ${node}`,
        `link set seg-${name} master segment up`,
      ])
      await ipBatch(node, [
        'link set segment up',
        `address add ${loopback.ipv4}/28 dev segment`,
        `address add ${loopback.ipv6}/124 dev segment nodad`,
      ])
    }
  }

  async removeSegment(): Promise<void> {
    const { namespace } = this.bed.rack.host('spine')
    const lines = this.nodes.map(({ name }) => `link del seg-${name}`)
    await ipBatch(namespace, [...lines, 'link del segment'])
  }
}

/** What the dialect has no words for: FRR's part of RFC 4456. */
function reflectorLines({ asn, groups }: RouterModel): string[] {
  const peers = groups.flatMap(({ name, peers }) => (name === 'nodes' ? peers : []))
  return [
    `router bgp ${asn}`,
    ...FAMILIES.flatMap((family) => [
      ` address-family ${family} unicast`,
      `  maximum-paths ibgp ${ECMP_MAX}`,
      ...peers
        .filter(({ address }) => address.includes(':') === (family === 'ipv6'))
        .flatMap(({ address }) => [
          `  neighbor ${address} route-reflector-client`,
          `  neighbor ${address} next-hop-self force`,
        ]),
      ' exit-address-family',
    ]),
    'exit',
    '',
  ]
}
