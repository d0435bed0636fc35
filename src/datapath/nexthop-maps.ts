// Rows of `nexthops`, and the two maps that lead to them: `nodes` (who may tunnel to us) and `endpoints` (local pods).
// A pod's or node's row keeps its number for life; what it says changes with links and neighbours. A row is written before
// anything names it, and rests after the last name is gone.

import { type Address, FAMILIES, type Family, familyOf } from '../model/address.ts'
import type { Node } from '../model/service.ts'
import { AbiConstant, NexthopRow } from './abi.gen.ts'
import { IdPool } from './id-pool.ts'
import type { EndpointValue, NexthopTables, NexthopValue, NodeValue } from './kernel-tables.ts'
import {
  type Gateway,
  type Member,
  type PlannedNexthop,
  type PodDevice,
  planPodDevice,
  planTunnel,
  planUplinkGroup,
  type TunnelKind,
  tunnelAddresses,
  type Uplink,
} from './nexthop-plan.ts'
import { setIfRoom } from './room.ts'

/** Numbers of rows that flows may still name rest this long. */
const GRACE_MS = 60_000
/** Row 0 of node numbers is this node. */
const SELF_NODE_ID = 0
/** Rows written before others get their turn: some 5 ms where all are new. */
const NODES_AT_A_STRETCH = 1000

const GROUP_ROW: Readonly<Record<Family, number>> = {
  ipv4: NexthopRow.NEXTHOP_UPLINKS_IPV4,
  ipv6: NexthopRow.NEXTHOP_UPLINKS_IPV6,
}

export class NexthopMaps {
  readonly #tables: NexthopTables
  readonly #tunnel: TunnelKind
  readonly #nowMs: () => number
  readonly #rowIds: IdPool
  readonly #nodeIds = new IdPool(SELF_NODE_ID + 1, 0xffff_ffff, GRACE_MS)
  readonly #rows = new Map<number, NexthopValue>()
  readonly #podRows = new Map<Address, number>()
  readonly #nodeRows = new Map<string, NodeValue>()
  readonly #nodes = new Map<Address, NodeValue>()
  readonly #endpoints = new Map<Address, EndpointValue>()
  /** Tunnel rows of an earlier process, by the address they lead to. */
  readonly #adoptedTunnels = new Map<Address, number>()
  readonly #adoptedNodeIds = new Map<Address, number>()
  /** Rows of an earlier process that may still be nobody's; empty after `prune`. */
  readonly #adoptedRows = new Set<number>()

  constructor(tables: NexthopTables, nowMs: () => number, tunnel: TunnelKind = 'geneve') {
    this.#tables = tables
    this.#tunnel = tunnel
    this.#nowMs = nowMs
    this.#rowIds = new IdPool(NexthopRow.NEXTHOP_FIRST_FREE, tables.nexthops.length, GRACE_MS)
    this.#adopt()
  }

  /** The row of a local pod; NEXTHOP_NONE, which leaves delivery to the host's routing, until `setPods` told of it. */
  podRow(address: Address): number {
    return this.#podRows.get(address) ?? NexthopRow.NEXTHOP_NONE
  }

  /** The tunnel row and number of another node; zeros, which lead nowhere, until `setNodes` told of it. */
  nodeRow(name: string): NodeValue {
    return this.#nodeRows.get(name) ?? { nodeId: SELF_NODE_ID, nexthopId: NexthopRow.NEXTHOP_NONE }
  }

  /** The same by the node's number; NEXTHOP_NONE when there is no such node now. */
  nodeRowOf(nodeId: number): NodeValue {
    const row = [...this.#nodeRows.values()].find((known) => known.nodeId === nodeId)
    return row ?? { nodeId, nexthopId: NexthopRow.NEXTHOP_NONE }
  }

  /** Rows in use. */
  get usage(): Readonly<Record<'nexthops' | 'nodes' | 'endpoints', number>> {
    return { nexthops: this.#rowIds.used, nodes: this.#nodes.size, endpoints: this.#endpoints.size }
  }

  /** What the three tables should hold. */
  get rows(): {
    readonly nexthops: ReadonlyMap<number, NexthopValue>
    readonly nodes: ReadonlyMap<Address, NodeValue>
    readonly endpoints: ReadonlyMap<Address, EndpointValue>
  } {
    return { nexthops: this.#rows, nodes: this.#nodes, endpoints: this.#endpoints }
  }

  /** Sets the group rows that lead out of this node. */
  setUplinks(uplinks: readonly Uplink[], gateways: readonly Gateway[]): void {
    for (const family of FAMILIES) {
      const planned = planUplinkGroup(family, uplinks, gateways, AbiConstant.NEXTHOP_MEMBERS)
      this.#write(GROUP_ROW[family], planned)
    }
  }

  /** Writes the group rows once more, and so takes away what the programs marked in them (bpf/lib/bfd.h). */
  rewriteUplinks(): void {
    for (const row of Object.values(GROUP_ROW)) {
      const value = this.#rows.get(row)
      if (value) this.#tables.nexthops.set(row, value)
    }
  }

  /**
   * Makes `nodes` and the tunnel rows hold exactly the other nodes of the cluster.
   * @returns names of nodes whose numbers changed: their backends must be placed anew
   */
  setNodes(self: Node, others: readonly Node[], uplinks: readonly Uplink[]): ReadonlySet<string> {
    const steps = this.setNodesInSteps(self, others, uplinks)
    for (;;) {
      const step = steps.next()
      if (step.done) return step.value
    }
  }

  /** The same for thousands of nodes, with pauses in which others may run; nothing else may be set in them. */
  *setNodesInSteps(
    self: Node,
    others: readonly Node[],
    uplinks: readonly Uplink[],
  ): Generator<undefined, ReadonlySet<string>> {
    const changed = new Set<string>()
    const wanted = new Map<Address, NodeValue>()
    const hasWayOut = (family: Family) => this.#hasWayOut(family)
    let count = 0
    for (const other of others) {
      count += 1
      if (count % NODES_AT_A_STRETCH === 0) yield
      const tunnel = tunnelAddresses(self, other, hasWayOut)
      if (!tunnel) continue
      if (!this.#nodeRows.has(other.name)) changed.add(other.name)
      const row = this.#adoptNode(other.name, tunnel.remote)
      this.#write(row.nexthopId, planTunnel(tunnel.remote, uplinks, this.#tunnel))
      for (const address of Object.values(other.internalIps)) wanted.set(address, row)
    }
    for (const address of this.#nodes.keys()) if (!wanted.has(address)) this.#dropNode(address)
    for (const [address, value] of wanted) {
      count += 1
      if (count % NODES_AT_A_STRETCH === 0) yield
      const current = this.#nodes.get(address)
      if (current?.nodeId === value.nodeId && current.nexthopId === value.nexthopId) continue
      // Without room for it, what this node tunnels is refused; the fill of the table tells.
      if (setIfRoom(this.#tables.nodes, address, value)) this.#nodes.set(address, value)
    }
    this.#forgetNodes(new Set(others.map((node) => node.name)), changed)
    return changed
  }

  /**
   * Makes `endpoints` and the pods' rows hold exactly these local pods.
   * @param unknown pods that are there but not yet understood: what an earlier process wrote of them stays
   * @returns addresses whose numbers changed: their backends must be placed anew
   */
  setPods(pods: readonly PodDevice[], unknown: ReadonlySet<Address>): ReadonlySet<Address> {
    const changed = new Set<Address>()
    const wanted = new Set(pods.map((pod) => pod.address))
    // A pod that found no room in the table has its row of next hops all the same.
    for (const address of new Set([...this.#endpoints.keys(), ...this.#podRows.keys()])) {
      if (wanted.has(address) || unknown.has(address)) continue
      this.#dropPod(address)
      changed.add(address)
    }
    for (const pod of pods) {
      if (!this.#podRows.has(pod.address)) changed.add(pod.address)
      const nexthopId = this.podRow(pod.address) || this.#takeRow()
      if (nexthopId !== NexthopRow.NEXTHOP_NONE) this.#podRows.set(pod.address, nexthopId)
      this.#write(nexthopId, planPodDevice(pod), pod.bridge)
      const value = { ifindex: pod.ifindex, nexthopId, podMac: pod.podMac, hostMac: pod.hostMac }
      const current = this.#endpoints.get(pod.address)
      if (current && equalEndpoints(current, value)) continue
      if (setIfRoom(this.#tables.endpoints, pod.address, value)) this.#endpoints.set(pod.address, value)
    }
    return changed
  }

  /** After the first full round: rows of an earlier process that nobody took over rest, then go. */
  prune(): void {
    const kept = new Set<number>(this.#podRows.values())
    for (const row of this.#nodeRows.values()) kept.add(row.nexthopId)
    for (const id of this.#adoptedRows) if (!kept.has(id)) this.#rowIds.release(id, this.#nowMs())
    this.#adoptedRows.clear()
    this.#adoptedTunnels.clear()
    this.#adoptedNodeIds.clear()
  }

  /** Clears rows whose rest is over. @returns when to call again */
  retire(): number | undefined {
    for (const id of this.#rowIds.wake(this.#nowMs())) {
      this.#tables.nexthops.set(id, undefined)
      this.#rows.delete(id)
    }
    this.#nodeIds.wake(this.#nowMs())
    return this.#rowIds.nextWakeMs()
  }

  #hasWayOut(family: Family): boolean {
    const planned = this.#rows.get(GROUP_ROW[family])?.planned
    return planned?.kind === 'group' && planned.members.length > 0
  }

  #adopt(): void {
    for (const [id, value] of this.#tables.nexthops.entries()) {
      this.#rows.set(id, value)
      if (id < NexthopRow.NEXTHOP_FIRST_FREE) continue
      this.#rowIds.claim(id)
      this.#adoptedRows.add(id)
      if (value.planned.kind === 'tunnel') this.#adoptedTunnels.set(value.planned.remote, id)
    }
    for (const [address, value] of this.#tables.nodes.entries()) {
      this.#nodes.set(address, value)
      this.#adoptedNodeIds.set(address, value.nodeId)
      this.#nodeIds.claim(value.nodeId)
    }
    for (const [address, value] of this.#tables.endpoints.entries()) {
      this.#endpoints.set(address, value)
      if (value.nexthopId < NexthopRow.NEXTHOP_FIRST_FREE) continue
      this.#rowIds.claim(value.nexthopId)
      this.#podRows.set(address, value.nexthopId)
    }
  }

  /** Numbers survive a restart: the row that already leads to this address is this node's. */
  #adoptNode(name: string, remote: Address): NodeValue {
    const nexthopId = this.#adoptedTunnels.get(remote)
    const nodeId = this.#adoptedNodeIds.get(remote)
    const known = this.#nodeRows.get(name)
    if (known) return known
    const row =
      nexthopId === undefined || nodeId === undefined
        ? { nodeId: this.#nodeIds.take() ?? SELF_NODE_ID, nexthopId: this.#takeRow() }
        : { nodeId, nexthopId }
    this.#adoptedTunnels.delete(remote)
    this.#adoptedNodeIds.delete(remote)
    this.#nodeRows.set(name, row)
    return row
  }

  #dropNode(address: Address): void {
    this.#tables.nodes.delete(address)
    this.#nodes.delete(address)
  }

  /** A node that left keeps its numbers only as long as flows may name them. */
  #forgetNodes(present: ReadonlySet<string>, changed: Set<string>): void {
    for (const [name, row] of this.#nodeRows) {
      if (present.has(name)) continue
      this.#nodeRows.delete(name)
      changed.add(name)
      this.#releaseRow(row.nexthopId)
      this.#nodeIds.release(row.nodeId, this.#nowMs())
    }
  }

  #dropPod(address: Address): void {
    const id = this.podRow(address)
    this.#write(id, planPodDevice(undefined))
    this.#tables.endpoints.delete(address)
    // Both writes are done: only now is it forgotten, for a refused one is repeated.
    this.#endpoints.delete(address)
    this.#podRows.delete(address)
    this.#releaseRow(id)
  }

  /** NEXTHOP_NONE when the table is full: what would use the row goes without. */
  #takeRow(): number {
    return this.#rowIds.take() ?? NexthopRow.NEXTHOP_NONE
  }

  #releaseRow(id: number): void {
    this.#adoptedRows.delete(id)
    if (id !== NexthopRow.NEXTHOP_NONE) this.#rowIds.release(id, this.#nowMs())
  }

  /** @param bridge of a pod's device */
  #write(id: number, planned: PlannedNexthop, bridge = 0): void {
    if (id === NexthopRow.NEXTHOP_NONE) return
    const via = planned.kind === 'tunnel' ? GROUP_ROW[familyOf(planned.remote)] : bridge
    const value = { planned, via }
    const current = this.#rows.get(id)
    if (current && equalNexthops(current, value)) return
    this.#tables.nexthops.set(id, value)
    this.#rows.set(id, value)
  }
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index])
}

function equalEndpoints(a: EndpointValue, b: EndpointValue): boolean {
  return (
    a.ifindex === b.ifindex &&
    a.nexthopId === b.nexthopId &&
    equalBytes(a.podMac, b.podMac) &&
    equalBytes(a.hostMac, b.hostMac)
  )
}

function equalNexthops(a: NexthopValue, b: NexthopValue): boolean {
  return a.via === b.via && equalPlanned(a.planned, b.planned)
}

function equalPlanned(a: PlannedNexthop, b: PlannedNexthop): boolean {
  if (a.mtu !== b.mtu) return false
  if (a.kind === 'tunnel') return b.kind === 'tunnel' && a.remote === b.remote
  if (a.kind === 'device')
    return (
      b.kind === 'device' &&
      a.redirect === b.redirect &&
      a.bypass === b.bypass &&
      equalMembers([a.member], [b.member])
    )
  return b.kind === 'group' && equalMembers(a.members, b.members)
}

function equalMembers(a: readonly (Member | undefined)[], b: readonly (Member | undefined)[]): boolean {
  return a.length === b.length && a.every((member, index) => equalMember(member, b[index]))
}

function equalMember(a: Member | undefined, b: Member | undefined): boolean {
  if (!a || !b) return a === b
  return a.ifindex === b.ifindex && equalBytes(a.destination, b.destination) && equalBytes(a.source, b.source)
}
