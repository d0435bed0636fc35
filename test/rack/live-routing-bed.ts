// A rack whose first node's routing changes under its running agent: what writes the change, and what both its routers see of it, read from
// their own tables. The sessions are those of IPv4, with FRR and with BIRD.

import { readFileSync, writeFileSync } from 'node:fs'
import { parse, stringify } from 'yaml'
import { startAgent, WEIR } from '../../src/sandbox/nodes.ts'
import { findProcess } from '../../src/sandbox/process.ts'
import { routerCommand } from '../../src/sandbox/routers.ts'
import type { Bed } from './conformance/bed.ts'

/** FRR, and BIRD. */
const FRR = 'tor1'
const BIRD = 'tor2'

interface FrrPath {
  readonly peer?: { readonly peerId?: string }
  readonly community?: { readonly string?: string }
  readonly metric?: number
}

interface PeerRow {
  readonly name: string
  readonly address: string
  readonly asn: number | undefined
  readonly localAddress: string
}

interface Status {
  readonly configuration: {
    readonly file: {
      readonly refused?: { readonly message: string }
      readonly waitForRestart: readonly string[]
    }
    readonly candidate?: { readonly deadlineMs?: number }
    readonly problems: readonly { readonly source: string; readonly why: string }[]
  }
}

/** The pods' network with one community, and nothing else. */
export const announce = (community: string, more: Record<string, unknown> = {}) => [
  { kinds: ['podCIDR'], attributes: { communities: [community], ...more } },
]

export class RoutingBed {
  readonly bed: Bed
  readonly #node: Bed['rack']['plan']['nodes'][number]
  readonly #host: ReturnType<Bed['rack']['host']>
  readonly #file: string
  /** The agent's configuration as the rack made it. */
  readonly original: {
    routing: Record<string, unknown>
    pools: readonly { prefixes: readonly string[] }[]
  }
  readonly podCidr: string
  readonly frrAsn: string
  /** This node's ends of the links. */
  readonly ownToFrr: string
  readonly #ownToBird: string
  /** Sessions as the rack has them, for IPv4 alone. */
  readonly peers: readonly PeerRow[]

  constructor(bed: Bed) {
    this.bed = bed
    const [node] = bed.rack.plan.nodes
    if (node === undefined) throw new Error('a rack has nodes')
    this.#node = node
    this.#host = bed.rack.host(node.name)
    this.#file = `${this.#host.directory}/agent.yaml`
    this.original = parse(readFileSync(this.#file, 'utf8')) as RoutingBed['original']
    this.podCidr = node.podCidr.ipv4
    const [toFrr, toBird] = node.uplinks
    this.frrAsn = String(toFrr?.torAsn)
    this.ownToFrr = toFrr?.local.ipv4 ?? ''
    this.#ownToBird = toBird?.local.ipv4 ?? ''
    this.peers = [
      { name: 'frr', address: toFrr?.peer.ipv4 ?? '', asn: toFrr?.torAsn, localAddress: this.ownToFrr },
      { name: 'bird', address: toBird?.peer.ipv4 ?? '', asn: toBird?.torAsn, localAddress: this.#ownToBird },
    ]
  }

  writeFile(routing: Record<string, unknown>, more: Record<string, unknown> = {}): void {
    const { gobgp, asn, routerId, loopbacks, podCidrs } = this.original.routing
    const whole = {
      ...this.original,
      ...more,
      routing: { gobgp, asn, routerId, loopbacks, podCidrs, peers: this.peers, ...routing },
    }
    // As an editor does: truncated and written.
    writeFileSync(this.#file, stringify(JSON.parse(JSON.stringify(whole))))
  }

  async vtysh(...commands: readonly string[]): Promise<string> {
    const argv = ['vtysh', ...commands.flatMap((command) => ['-c', command])]
    return (await this.bed.run(FRR, routerCommand(this.bed.rack.host(FRR), argv))).stdout
  }

  /** What FRR has from this node. */
  async frrPath(prefix: string): Promise<FrrPath | undefined> {
    const text = await this.vtysh(`show bgp ipv4 unicast ${prefix} json`)
    const { paths = [] } = JSON.parse(text || '{}') as { paths?: readonly FrrPath[] }
    return paths.find(({ peer }) => peer?.peerId === this.ownToFrr)
  }

  /** The community on the node's own path; '' for a path without, undefined for no path. */
  async seenByFrr(prefix = this.podCidr): Promise<string | undefined> {
    const path = await this.frrPath(prefix)
    return path && (path.community?.string ?? '')
  }

  async #birdc(command: string): Promise<string> {
    const argv = routerCommand(this.bed.rack.host(BIRD), ['birdc', ...command.split(' ')])
    return (await this.bed.run(BIRD, argv)).stdout
  }

  async #seenByBird(): Promise<string | undefined> {
    const paths = (await this.#birdc(`show route all for ${this.podCidr}`)).split(/\n(?=\S* +unicast)/)
    const path = paths.find((text) => text.includes(`BGP.next_hop: ${this.#ownToBird}`))
    if (path === undefined) return undefined
    const [, left = '', right = ''] = /BGP\.community: \((\d+),(\d+)\)/.exec(path) ?? []
    return left === '' ? '' : `${left}:${right}`
  }

  /** How often FRR's session with the node came up. */
  async establishments(): Promise<number> {
    const text = await this.vtysh(`show bgp neighbors ${this.ownToFrr} json`)
    const answer = JSON.parse(text || '{}') as Record<string, { connectionsEstablished?: number }>
    return answer[this.ownToFrr]?.connectionsEstablished ?? 0
  }

  async birdIsEstablished(): Promise<boolean> {
    const text = await this.#birdc('show protocols all')
    const mine = text.split(/\n\n/).find((one) => one.includes(`Neighbor address: ${this.#ownToBird}`))
    return /BGP state: +Established/.test(mine ?? '')
  }

  async bothSee(community: string | undefined): Promise<void> {
    await this.bed.until(`both routers to see ${community}`, async () => {
      const seen = await Promise.all([this.seenByFrr(), this.#seenByBird()])
      return seen.every((one) => one === community)
    })
  }

  weir(args: readonly string[], input?: string) {
    const { directory } = this.#host
    const argv = [process.execPath, WEIR, ...args, '--socket', `${directory}/agent.sock`]
    if (input === undefined) return this.bed.run(this.#node.name, argv)
    const candidate = `${directory}/candidate.yaml`
    writeFileSync(candidate, input)
    return this.bed.run(this.#node.name, [...argv, '-f', candidate])
  }

  /** Killed, and another one started. */
  async restartAgent(): Promise<void> {
    const pidFile = `${this.#host.directory}/agent.pid`
    const agent = findProcess(pidFile)
    if (agent) process.kill(agent.pid, 'SIGKILL')
    await this.bed.until('the agent to be gone', async () => findProcess(pidFile) === undefined)
    await startAgent(this.bed.rack, this.#node)
    await this.bed.until(
      'it to have synced',
      async () => (await this.bed.agent<{ synced: boolean }>(this.#node.name, '/v1/status')).synced,
    )
  }

  async configuration(): Promise<Status['configuration']> {
    return (await this.bed.agent<Status>(this.#node.name, '/v1/status')).configuration
  }
}
