// What goes to and from the first node of a PolicyBed, where policy may select it: connections that last, ways that are begun anew, and
// its sessions with routers.

import { HTTP_PORT } from './conformance/manifests.ts'
import type { PolicyBed } from './policy-bed.ts'

export const SSH = 22
export const SHUT = 9000

type Lasting = 'ssh' | 'shut' | 'own'

export class NodeWays {
  readonly #policy: PolicyBed
  /** IPv4 and IPv6 of the node and of a client outside. */
  readonly node: readonly string[]
  readonly client: readonly string[]

  private constructor(policy: PolicyBed) {
    this.#policy = policy
    this.node = policy.bed.nodeAddresses(1)
    this.client = Object.values(policy.bed.rack.plan.clients[0]?.address ?? {})
  }

  /** Both ends listen, and what lasts is opened. */
  static async open(policy: PolicyBed): Promise<NodeWays> {
    const ways = new NodeWays(policy)
    const { bed } = policy
    for (const port of [SSH, SHUT]) {
      await bed.order('node1', { kind: 'listen', port })
      await bed.order('client1', { kind: 'listen', port })
    }
    const lasting = [
      ['ssh', ways.node, SSH],
      ['shut', ways.node, SHUT],
      ['own', ways.client, SSH],
    ] as const
    for (const [key, [address = ''], port] of lasting)
      await bed.order(fromOf(key), { kind: 'open', key, protocol: 'tcp', address, port, timeoutMs: 2000 })
    return ways
  }

  /** What becomes of a request on one that lasts. */
  async ask(key: Lasting): Promise<string> {
    const order = { kind: 'ask', key, text: '/', timeoutMs: 1000 } as const
    return (await this.#policy.bed.order(fromOf(key), order)).outcome
  }

  /** How a connection that is begun in each family ends. */
  async begin(from: string, addresses: readonly string[], port: number): Promise<string> {
    const { bed } = this.#policy
    const ends = await Promise.all(addresses.map((address) => bed.connect(from, address, port)))
    return [...new Set(ends)].join(' and ')
  }

  async all(): Promise<Readonly<Record<string, string>>> {
    const { node, client } = this
    const { web } = this.#policy
    const asked = {
      ssh: this.begin('client1', node, SSH),
      shut: this.begin('client1', node, SHUT),
      'shut to its own pod': this.begin('default/near', node, SHUT),
      "shut to another's pod": this.begin('default/far', node, SHUT),
      'its own to SSH': this.begin('node1', client, SSH),
      'its own to a shut port': this.begin('node1', client, SHUT),
      'its own to its pod': this.begin('node1', web, HTTP_PORT),
      "its pod's to the outside": this.begin('default/near', client, SHUT),
      'another to its pod': this.begin('default/far', web, HTTP_PORT),
    }
    const ends = await Promise.all(
      Object.entries(asked).map(async ([what, end]) => [what, await end] as const),
    )
    return Object.fromEntries(ends)
  }

  async sessions(): Promise<string[]> {
    const { peers } = await this.#policy.bed.agent<{
      peers: { sinceMs: number; state: string; bfd: { state: string } }[]
    }>('node1', '/v1/bgp/peers')
    return peers.map(({ sinceMs, state, bfd }) => `${state} since ${sinceMs}, BFD ${bfd.state}`)
  }
}

function fromOf(key: Lasting): string {
  return key === 'own' ? 'node1' : 'client1'
}

export function onNode(name: string, spec: object) {
  return {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumClusterwideNetworkPolicy',
    metadata: { name },
    spec: { nodeSelector: { matchLabels: { 'kubernetes.io/hostname': 'node1' } }, ...spec },
  }
}
