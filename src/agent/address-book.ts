// Who has an address, as policy's screens call them: a pod's workload, `node NAME`, or the address itself, which is nobody's here.

import type { Address } from '../model/address.ts'
import type { PolicyPod } from '../model/policy.ts'
import type { Node } from '../model/service.ts'
import { workloadOf } from '../policy/simulate/workload.ts'
import type { Table } from '../tables/table.ts'

export interface Somebody {
  readonly kind: 'pod' | 'node' | 'outside'
  readonly name: string
}

interface AddressBookTables {
  readonly pods: Pick<Table<PolicyPod>, 'revision' | 'values'>
  readonly nodes: Pick<Table<Node>, 'revision' | 'values'>
}

export class AddressBook {
  readonly #tables: AddressBookTables
  /** Made anew when it is asked after a change: nearly all the time nobody asks. */
  #known: ReadonlyMap<string, Somebody> = new Map()
  #revision = ''

  constructor(tables: AddressBookTables) {
    this.#tables = tables
  }

  at(address: Address): Somebody {
    const { pods, nodes } = this.#tables
    const revision = `${pods.revision} ${nodes.revision}`
    if (revision !== this.#revision) {
      this.#known = this.#read()
      this.#revision = revision
    }
    return this.#known.get(address) ?? { kind: 'outside', name: address }
  }

  #read(): ReadonlyMap<string, Somebody> {
    const known = new Map<string, Somebody>()
    for (const pod of this.#tables.pods.values()) {
      const somebody = { kind: 'pod', name: workloadOf(pod) } as const
      for (const address of pod.addresses) known.set(address, somebody)
    }
    for (const { name, addresses } of this.#tables.nodes.values()) {
      const somebody = { kind: 'node', name: `node ${name}` } as const
      for (const address of addresses) known.set(address, somebody)
    }
    return known
  }
}
