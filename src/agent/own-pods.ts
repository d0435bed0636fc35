// Which addresses are those of this node's pods, for who finds devices that others may have made: what the API server says of its pods.
// Where policy is not enforced here they are not asked for: who hangs on a bridge is then reached by the host's routing, where
// another's policy may judge (kube-router's hooks, Canal's), which a redirection would go past.

import type { Address } from '../model/address.ts'
import type { PolicyPod } from '../model/policy.ts'
import type { Table } from '../tables/table.ts'

export class OwnPods {
  readonly #nodeName: string
  readonly #pods: Pick<Table<PolicyPod>, 'find' | 'reader'>

  /** @param pods of all nodes, by `node` and `address` */
  constructor(nodeName: string, pods: Pick<Table<PolicyPod>, 'find' | 'reader'>) {
    this.#nodeName = nodeName
    this.#pods = pods
  }

  has(address: Address): boolean {
    return this.#pods.find('address', address).some(({ node }) => node === this.#nodeName)
  }

  /** Calls when another set of addresses is this node's pods'. */
  onChange(changed: () => void): void {
    const reader = this.#pods.reader()
    let before = ''
    reader.onChange(() => {
      // Others read the table in turns of their own, and many rows come at once.
      setImmediate(() => {
        reader.take()
        const pods = this.#pods.find('node', this.#nodeName)
        const now = pods.flatMap(({ addresses }) => addresses).join()
        if (now === before) return
        before = now
        changed()
      })
    })
  }
}
