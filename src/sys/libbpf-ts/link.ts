// Links: a program attached to a place, as a kernel object. The attachment lives as long as its descriptor or a pin does.
//
// Devices are looked up in the calling thread's network namespace. update() swaps the program in one step: no packet meets the
// place empty. Where the kernel has no tcx (before 6.6), tc.ts attaches a classifier instead.

import { closeSync, constants as fsConstants, openSync } from 'node:fs'
import { constants } from 'node:os'
import { BpfError, check } from './errors.ts'
import { type LinkInfo, readLinkInfo, readProgramInfo } from './info.ts'
import { ATTACH_TYPES, type AttachType } from './kernel-names.ts'
import * as native from './native.ts'
import type { BpfProgram } from './program.ts'

const { EBUSY, EEXIST, EINVAL, ENOENT, EOPNOTSUPP } = constants.errno
const LINK_CREATE_OPTIONS_BYTES = 16
const LINK_UPDATE_OPTIONS_BYTES = 16
const F_REPLACE = 4
const LOOPBACK_IFINDEX = 1

const XDP_MODE_FLAGS = { generic: 1 << 1, native: 1 << 2 } as const
export type XdpMode = keyof typeof XDP_MODE_FLAGS
export type TcDirection = 'ingress' | 'egress'

function createLink(program: BpfProgram, target: number, type: AttachType, flags: number): number {
  const options = Buffer.alloc(LINK_CREATE_OPTIONS_BYTES)
  options.writeBigUInt64LE(BigInt(LINK_CREATE_OPTIONS_BYTES), 0)
  options.writeUInt32LE(flags, 8)
  return native.linkCreate(program.fd, target, ATTACH_TYPES[type], options)
}

export class BpfLink {
  readonly fd: number
  #closed = false

  /** Takes over the descriptor. */
  constructor(fd: number) {
    this.fd = fd
  }

  static openPinned(path: string): BpfLink {
    return new BpfLink(check(native.objectGet(path), 'opening the pinned link', path))
  }

  /** Like openPinned, but undefined when nothing is pinned there. */
  static openPinnedIfAny(path: string): BpfLink | undefined {
    const fd = native.objectGet(path)
    return fd === -ENOENT ? undefined : new BpfLink(check(fd, 'opening the pinned link', path))
  }

  static fromId(id: number): BpfLink {
    return new BpfLink(check(native.linkFdById(id), 'opening', `link ${id}`))
  }

  info(): LinkInfo {
    this.#checkOpen()
    return readLinkInfo(this.fd)
  }

  /** Replaces the program in one step. With `expected`, only if that one is still there; false when it is not. */
  update(program: BpfProgram, expected?: BpfProgram): boolean {
    this.#checkOpen()
    const options = Buffer.alloc(LINK_UPDATE_OPTIONS_BYTES)
    options.writeBigUInt64LE(BigInt(LINK_UPDATE_OPTIONS_BYTES), 0)
    if (expected) {
      options.writeUInt32LE(F_REPLACE, 8)
      options.writeUInt32LE(expected.fd, 12)
    }
    const result = native.linkUpdate(this.fd, program.fd, options)
    if (expected && result === -constants.errno.EPERM && this.info().programId !== expected.info().id)
      return false
    check(result, `updating to program ${program.name}`, `link ${this.info().id}`)
    return true
  }

  pin(path: string): void {
    this.#checkOpen()
    check(native.objectPin(this.fd, path), 'pinning a link at', path)
  }

  /**
   * Takes the program off its place now, whoever else holds the link. The link itself stays, defunct. Those on functions of the kernel
   * know no such thing: they go with their last pin and descriptor.
   */
  detach(): void {
    this.#checkOpen()
    const result = native.linkDetach(this.fd)
    if (result !== -EOPNOTSUPP) check(result, 'detaching', `link ${this.info().id}`)
  }

  /** Gives the descriptor up. The program stays attached if the link is pinned, and goes otherwise. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    native.closeDescriptor(this.fd)
  }

  #checkOpen(): void {
    if (this.#closed)
      throw new BpfError({ action: 'using', object: 'a link', code: 'closed', reason: 'it is closed' })
  }
}

/** Names what holds the place: the message that a person acts on. */
function attachError(result: number, program: BpfProgram, place: string, ifindex?: number): BpfError {
  const action = `attaching program ${program.name} to`
  const isTaken = result === -EBUSY || result === -EEXIST
  const holder = isTaken && ifindex !== undefined ? describeXdpHolder(ifindex) : undefined
  return new BpfError({
    action,
    object: place,
    errno: -result,
    ...(holder === undefined
      ? {}
      : { code: 'busy', reason: holder, mend: 'detach it, or choose another device' }),
  })
}

/** Attaches XDP. Native by default: generic mode works on every driver, at a fraction of the speed. */
export function attachXdp(program: BpfProgram, ifindex: number, mode: XdpMode = 'native'): BpfLink {
  const result = createLink(program, ifindex, 'xdp', XDP_MODE_FLAGS[mode])
  if (result < 0) throw attachError(result, program, `XDP (${mode}) of device ${ifindex}`, ifindex)
  return new BpfLink(result)
}

let tcxSupport: boolean | undefined

/** Whether this kernel has tcx (6.6 and newer). Asked once. */
export function supportsTcx(): boolean {
  tcxSupport ??= queryPrograms(LOOPBACK_IFINDEX, 'tcx_ingress') !== -EINVAL
  return tcxSupport
}

function queryPrograms(target: number, type: AttachType): number {
  return native.programQuery(target, ATTACH_TYPES[type], 0, null, Buffer.alloc(4), native.u32Buffer(0))
}

/** More than anybody attaches to one place; the kernel's own limit for tcx and cgroups is 64. */
const ATTACHED_MAX = 64
const F_QUERY_EFFECTIVE = 1

/** Ids of the programs on a device's tcx hook, in the order they run. Empty where the kernel has no tcx. */
export function queryTcx(ifindex: number, direction: TcDirection): number[] {
  return queryIds(ifindex, `tcx_${direction}`, 0, `tcx ${direction} of device ${ifindex}`)
}

/** Ids of the programs that run for a cgroup's sockets, its ancestors' included, in the order they run. */
export function queryCgroup(cgroupPath: string, type: AttachType): number[] {
  const cgroup = openSync(cgroupPath, fsConstants.O_RDONLY | fsConstants.O_DIRECTORY)
  try {
    return queryIds(cgroup, type, F_QUERY_EFFECTIVE, `cgroup ${cgroupPath}`)
  } finally {
    closeSync(cgroup)
  }
}

function queryIds(target: number, type: AttachType, flags: number, place: string): number[] {
  const ids = Buffer.alloc(4 * ATTACHED_MAX)
  const count = native.u32Buffer(ATTACHED_MAX)
  const result = native.programQuery(target, ATTACH_TYPES[type], flags, native.u32Buffer(), ids, count)
  // ENOENT: nothing was ever attached there; EINVAL: no such hook in this kernel.
  if (result === -ENOENT || result === -EINVAL) return []
  check(result, `asking for the ${type} programs of`, place)
  return Array.from({ length: count.readUInt32LE() }, (_, index) => ids.readUInt32LE(4 * index))
}

const F_BEFORE = 8

/**
 * Attaches before whatever is at this place already: a program there may end the walk, and then ours would not be asked. It passes
 * on with TCX_NEXT (-1). Needs supportsTcx().
 */
export function attachTcx(program: BpfProgram, ifindex: number, direction: TcDirection): BpfLink {
  const result = createLink(program, ifindex, `tcx_${direction}`, F_BEFORE)
  if (result < 0) throw attachError(result, program, `tcx ${direction} of device ${ifindex}`)
  return new BpfLink(result)
}

/** Attaches to a cgroup (v2) and all below it, beside other programs there. The type is known for programs from an object. */
export function attachCgroup(program: BpfProgram, cgroupPath: string, type = program.attachType): BpfLink {
  const place = `cgroup ${cgroupPath}`
  if (type === undefined) {
    throw new BpfError({
      action: `attaching program ${program.name} to`,
      object: place,
      code: 'invalid',
      reason: 'the kernel does not tell the attach type of a program that was not loaded here',
      mend: 'pass the attach type',
    })
  }
  const cgroup = openSync(cgroupPath, fsConstants.O_RDONLY | fsConstants.O_DIRECTORY)
  try {
    const result = createLink(program, cgroup, type, 0)
    if (result < 0) throw attachError(result, program, place)
    return new BpfLink(result)
  } finally {
    closeSync(cgroup)
  }
}

/**
 * Attaches to the kernel's function that the program names (`SEC("fmod_ret/…")`), beside others there; the function is not called where
 * one of them returns anything but 0. Such a link takes no other program.
 */
export function attachModifyReturn(program: BpfProgram): BpfLink {
  const result = createLink(program, 0, 'modify_return', 0)
  if (result < 0) throw attachError(result, program, 'the function that it names')
  return new BpfLink(result)
}

export interface XdpAttachment {
  readonly programId: number
  readonly programName: string
  readonly mode: XdpMode | 'offload'
  /** Undefined: attached by netlink, without a link. */
  readonly linkId: number | undefined
}

const XDP_QUERY_OPTIONS_BYTES = 32
const ATTACH_MODES = { 1: 'native', 2: 'generic', 3: 'offload' } as const

/** The id of the XDP program on a device; undefined when there is none. Cheaper than queryXdp. */
export function queryXdpProgram(ifindex: number): number | undefined {
  return readXdp(ifindex)?.programId
}

/** The XDP program on a device, whoever put it there. */
export function queryXdp(ifindex: number): XdpAttachment | undefined {
  const found = readXdp(ifindex)
  if (!found) return undefined
  const { programId } = found
  const link = listLinks().find(
    (info) => info.type === 'xdp' && info.ifindex === ifindex && info.programId === programId,
  )
  return { ...found, programName: programNameOf(programId), linkId: link?.id }
}

function readXdp(ifindex: number): Pick<XdpAttachment, 'programId' | 'mode'> | undefined {
  const options = Buffer.alloc(XDP_QUERY_OPTIONS_BYTES)
  options.writeBigUInt64LE(BigInt(XDP_QUERY_OPTIONS_BYTES), 0)
  check(native.xdpQuery(ifindex, 0, options), 'asking for the XDP program of', `device ${ifindex}`)
  const mode = ATTACH_MODES[options.readUInt8(24) as keyof typeof ATTACH_MODES]
  const programId = options.readUInt32LE(8)
  return mode === undefined || programId === 0 ? undefined : { programId, mode }
}

function programNameOf(id: number): string {
  const fd = native.programFdById(id)
  if (fd < 0) return ''
  try {
    return readProgramInfo(fd).name
  } finally {
    native.closeDescriptor(fd)
  }
}

function describeXdpHolder(ifindex: number): string | undefined {
  const holder = queryXdp(ifindex)
  if (!holder) return undefined
  const link = holder.linkId === undefined ? 'without a link' : `by link ${holder.linkId}`
  return `program '${holder.programName}' (id ${holder.programId}) is attached there, ${link}`
}

/** All links on this machine, of every namespace. Links that vanish meanwhile are left out. */
export function listLinks(): LinkInfo[] {
  const found: LinkInfo[] = []
  const next = native.u32Buffer()
  for (let id = 0; native.linkNextId(id, next) === 0; ) {
    id = next.readUInt32LE()
    const fd = native.linkFdById(id)
    if (fd === -ENOENT) continue
    check(fd, 'opening', `link ${id}`)
    try {
      found.push(readLinkInfo(fd))
    } finally {
      native.closeDescriptor(fd)
    }
  }
  return found
}
