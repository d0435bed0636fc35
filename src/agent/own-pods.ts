// Which addresses are those of this node's pods, for who finds devices that others may have made: where policy is enforced what the API server
// says of its pods, else what is in the node's pod networks.

import { type Address, prefixContains } from '../model/address.ts'
import type { PolicyPod } from '../model/policy.ts'
import type { Node } from '../model/service.ts'
import type { Table } from '../tables/table.ts'

export class OwnPods {
  readonly #nodeName: string
  readonly #nodes: Pick<Table<Node>, 'get'>
  readonly #pods: Pick<Table<PolicyPod>, 'find' | 'reader'> | undefined

  /** @param pods of all nodes, by `node` and `address`; undefined: nobody follows them */
  constructor(
    nodeName: string,
    nodes: Pick<Table<Node>, 'get'>,
    pods?: Pick<Table<PolicyPod>, 'find' | 'reader'>,
  ) {
    this.#nodeName = nodeName
    this.#nodes = nodes
    this.#pods = pods
  }

  has(address: Address): boolean {
    if (this.#pods) return this.#pods.find('address', address).some(({ node }) => node === this.#nodeName)
    const cidrs = this.#nodes.get(this.#nodeName)?.podCidrs ?? []
    return cidrs.some((cidr) => prefixContains(cidr, address))
  }

  /** Calls when another set of addresses is this node's pods'. A node's networks do not change. */
  onChange(changed: () => void): void {
    const reader = this.#pods?.reader()
    let before = ''
    reader?.onChange(() => {
      // Others read the table in turns of their own, and many rows come at once.
      setImmediate(() => {
        reader.take()
        const now = (this.#pods?.find('node', this.#nodeName) ?? [])
          .flatMap(({ addresses }) => addresses)
          .join()
        if (now === before) return
        before = now
        changed()
      })
    })
  }
}
