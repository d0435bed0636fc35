// The way before tcx: a direct-action classifier in the clsact qdisc, told apart from others by its handle and priority.
// It has no link, hence no pin: it stays until it is detached or the device goes, which is what an agent's restart needs.

import { constants } from 'node:os'
import { check } from './errors.ts'
import type { TcDirection } from './link.ts'
import * as native from './native.ts'
import type { BpfProgram } from './program.ts'

const HOOK_BYTES = 24
const OPTIONS_BYTES = 32
const ATTACH_POINTS: Readonly<Record<TcDirection, number>> = { ingress: 1, egress: 2 }
const F_REPLACE = 1
const { EEXIST, EINVAL, ENOENT } = constants.errno

export interface TcPlace {
  readonly ifindex: number
  readonly direction: TcDirection
  /** Lower runs first. */
  readonly priority: number
  readonly handle: number
}

function hookOf(place: TcPlace): Buffer {
  const hook = Buffer.alloc(HOOK_BYTES)
  hook.writeBigUInt64LE(BigInt(HOOK_BYTES), 0)
  hook.writeInt32LE(place.ifindex, 8)
  hook.writeUInt32LE(ATTACH_POINTS[place.direction], 12)
  return hook
}

function optionsOf(place: TcPlace): Buffer {
  const options = Buffer.alloc(OPTIONS_BYTES)
  options.writeBigUInt64LE(BigInt(OPTIONS_BYTES), 0)
  options.writeUInt32LE(place.handle, 20)
  options.writeUInt32LE(place.priority, 24)
  return options
}

const describe = (place: TcPlace): string =>
  `clsact ${place.direction} of device ${place.ifindex} (priority ${place.priority}, handle ${place.handle})`

/** Attaches, or replaces what holds the same priority and handle. Makes the clsact qdisc when there is none, and says so. */
export function attachClsact(program: BpfProgram, place: TcPlace): { readonly madeQdisc: boolean } {
  const hook = hookOf(place)
  const made = native.tcHookCreate(hook)
  if (made !== -EEXIST) check(made, 'making', describe(place))
  const options = optionsOf(place)
  options.writeInt32LE(program.fd, 8)
  options.writeUInt32LE(F_REPLACE, 12)
  check(native.tcAttach(hook, options), `attaching program ${program.name} to`, describe(place))
  return { madeQdisc: made === 0 }
}

/** The id of the program there, or undefined. */
export function queryClsact(place: TcPlace): number | undefined {
  const options = optionsOf(place)
  const result = native.tcQuery(hookOf(place), options)
  // EINVAL: there is no clsact qdisc at all.
  if (result === -ENOENT || result === -EINVAL) return undefined
  check(result, 'asking for the program of', describe(place))
  return options.readUInt32LE(16)
}

/** Detaches. Returns false when nothing was there. The qdisc stays: others may use it. */
export function detachClsact(place: TcPlace): boolean {
  const result = native.tcDetach(hookOf(place), optionsOf(place))
  if (result === -ENOENT || result === -EINVAL) return false
  check(result, 'detaching', describe(place))
  return true
}
