// The flow table as policy sees it: each entry is one or two connections' ends that this node judges, as the packet that began them was
// after translation.

import type { FlowEntry } from '../datapath/flow-table.ts'
import { type Address, type Family, familyOf } from '../model/address.ts'
import type { PolicyDirection, PolicyPacket } from '../model/policy.ts'
import type { Seen } from '../policy/simulate/simulate.ts'
import { isLent, type LentPorts } from './lent-ports.ts'
import { type PolicyRecord, PROTOCOL_WORDS } from './policy-records.ts'

export interface SeenContext {
  readonly node: string
  /** Of the pod behind a device of this node. */
  readonly podAt: (ifindex: number, family: Family) => Address | undefined
  readonly backend: (id: number) => { readonly address: Address; readonly port: number } | undefined
  /** An address of this node's that has this family. */
  readonly nodeAt: (family: Family) => Address | undefined
  /** A pod of this node, or the node itself. */
  readonly isOwn: (address: Address) => boolean
  readonly isNode: (address: Address) => boolean
  /** From where nodes send for those whom they lend their address. */
  readonly lentPorts: LentPorts
}

interface Begun {
  readonly source: Address
  readonly sourcePort: number
  readonly destination: Address
  readonly port: number
}

/** Empty: nothing of it is judged here, or it does not say whose it is. */
export function seenInEntry(entry: FlowEntry, context: SeenContext): readonly Seen[] {
  const { client, clientPort, podEnd, backendId } = entry
  const protocol = PROTOCOL_WORDS.get(entry.protocol) ?? 'other'
  if (podEnd !== undefined) {
    const { port, isServer, isOfHost, ifindex } = podEnd
    const family = familyOf(client)
    const own = isOfHost ? context.nodeAt(family) : context.podAt(ifindex, family)
    if (own === undefined) return []
    const begun = isServer
      ? { source: client, sourcePort: clientPort, destination: own, port }
      : { source: own, sourcePort: port, destination: client, port: clientPort }
    return [flow(begun, isServer ? 'ingress' : 'egress', protocol, context)]
  }
  const backend = backendId === undefined ? undefined : context.backend(backendId)
  if (backend === undefined) return []
  const { address: destination, port } = backend
  const begun = { source: client, sourcePort: clientPort, destination, port }
  return [
    ...(context.isOwn(client) ? [flow(begun, 'egress', protocol, context)] : []),
    ...(context.isOwn(destination) ? [flow(begun, 'ingress', protocol, context)] : []),
  ]
}

/** The last packet of a record stands for all of it. */
export function seenInRecord(record: PolicyRecord, context: SeenContext): Seen {
  const { kind, direction, protocol, port, last, count } = record
  const { packet } = flow({ ...last, port }, direction, protocol, context)
  return { packet, direction, as: kind === 'dropped' ? 'drop' : 'audit', count }
}

function flow(
  { source, sourcePort, destination, port }: Begun,
  direction: PolicyDirection,
  protocol: PolicyPacket['protocol'],
  { node, isNode, lentPorts }: SeenContext,
): Seen {
  const packet: PolicyPacket = {
    ...{ source, destination, protocol, node },
    port: protocol === 'other' ? 0 : port,
    isMasqueraded:
      direction === 'ingress' && isNode(source) && isLent({ protocol, port }, sourcePort, lentPorts),
    isHairpin: source === destination,
  }
  return { packet, direction, as: 'flow', count: 1 }
}
