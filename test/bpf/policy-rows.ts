// Rows of policy as the compiler writes them, short.

import * as abi from '../../src/datapath/abi.gen.ts'
import { addressToBytes, FAMILIES } from '../../src/model/address.ts'
import {
  type CellRow,
  CLASS_PROTOCOLS,
  type ClassRow,
  FIRST_RULE,
  type PortInterval,
} from '../../src/policy/compile/rows.ts'
import type { World } from './world.ts'

/** A verdict from this port on; the rule tells which it is. */
export function said(isAllowed: boolean, first = 0, keepsExisting = false): PortInterval {
  return { first, isAllowed, rule: FIRST_RULE + (isAllowed ? 1 : 0), wouldBeRule: 0, keepsExisting }
}

/** The same verdict whatever the protocol and port. */
export function uniform(id: number, interval: PortInterval): ClassRow {
  return { class: id, protocols: CLASS_PROTOCOLS.map(() => [interval]), uniform: interval }
}

/** Of each class one cell, of another number. */
export const cellOf = (id: number) => id + 1000

export function cellsOf(...classes: readonly number[]): { table: 'cells'; put: CellRow[] } {
  return { table: 'cells', put: classes.map((id) => ({ cell: cellOf(id), class: id })) }
}

/** Whoever it is, the same identity. */
export const EVERYBODY = {
  table: 'identities',
  put: ['0.0.0.0/0', '::/0'].map(
    (text) => ({ kind: 'prefix', text, identity: 9, scope: 'outside' }) as const,
  ),
} as const

/** Test runs of socket buffers happen on it. */
export const LOOPBACK = 1

/** Makes it the device of all pods of this node. */
export function movePodsToLoopback(world: World): void {
  const pods = FAMILIES.flatMap((family) => [world.cast(family).pod, world.cast(family).localClient])
  for (const pod of pods.map((address) => addressToBytes(address))) {
    const row = abi.decodeEndpoint(world.map('endpoints').lookup(pod) ?? Buffer.alloc(abi.ENDPOINT_BYTES))
    world.map('endpoints').update(pod, abi.encodeEndpoint({ ...row, ifindex: LOOPBACK }))
  }
}
