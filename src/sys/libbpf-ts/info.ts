// What the kernel tells about a descriptor: maps, programs, links and their BTF.

import { readFileSync } from 'node:fs'
import { type Btf, parseBtf } from './btf.ts'
import { check } from './errors.ts'
import {
  type AttachType,
  attachTypeName,
  type LinkType,
  linkTypeName,
  type MapType,
  mapTypeName,
  type ProgramType,
  programTypeName,
} from './kernel-names.ts'
import { addressOf, btfFdById, closeDescriptor, infoByFd, u32Buffer } from './native.ts'

export interface MapInfo {
  readonly id: number
  /** At most 15 characters: the kernel cuts longer ones. */
  readonly name: string
  readonly type: MapType
  readonly keySize: number
  readonly valueSize: number
  readonly maxEntries: number
  readonly flags: number
  /** 0: the map was made without types. */
  readonly btfId: number
  readonly btfKeyTypeId: number
  readonly btfValueTypeId: number
}

export interface ProgramInfo {
  readonly id: number
  /** At most 15 characters. */
  readonly name: string
  readonly type: ProgramType
  /** Hash of the instructions, hex. */
  readonly tag: string
  readonly instructionCount: number
  readonly jitedBytes: number
  readonly verifiedInstructionCount: number
  /** Nanoseconds since boot. */
  readonly loadTimeNs: bigint
  /** Counted only while run-time statistics are enabled. */
  readonly runTimeNs: bigint
  readonly runCount: bigint
  readonly btfId: number
}

export interface LinkInfo {
  readonly id: number
  readonly type: LinkType
  readonly programId: number
  /** XDP and tcx links; 0 when the device is gone. */
  readonly ifindex?: number
  readonly cgroupId?: bigint
  readonly attachType?: AttachType
}

/** Larger than every info struct so far: the kernel writes only what it knows. */
const INFO_BYTES = 256

function readInfo(fd: number, what: string): Buffer {
  const info = Buffer.alloc(INFO_BYTES)
  check(infoByFd(fd, info, u32Buffer(INFO_BYTES)), 'asking for the info of', `${what} (descriptor ${fd})`)
  return info
}

const cString = (buffer: Buffer, at: number, limit: number): string => {
  const end = buffer.indexOf(0, at)
  return buffer.toString('utf8', at, end < 0 || end > at + limit ? at + limit : end)
}

const NAME_BYTES = 16

export function readMapInfo(fd: number): MapInfo {
  const info = readInfo(fd, 'map')
  return {
    type: mapTypeName(info.readUInt32LE(0)),
    id: info.readUInt32LE(4),
    keySize: info.readUInt32LE(8),
    valueSize: info.readUInt32LE(12),
    maxEntries: info.readUInt32LE(16),
    flags: info.readUInt32LE(20),
    name: cString(info, 24, NAME_BYTES),
    btfId: info.readUInt32LE(64),
    btfKeyTypeId: info.readUInt32LE(68),
    btfValueTypeId: info.readUInt32LE(72),
  }
}

/** What a map takes in the kernel. Exact from kernel 6.4 on, before that an estimate; 0 where it is not told. */
export function readMapMemoryBytes(fd: number): number {
  const told = /^memlock:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))
  return Number(told?.[1] ?? 0)
}

export function readProgramInfo(fd: number): ProgramInfo {
  const INSTRUCTION_BYTES = 8
  const info = readInfo(fd, 'program')
  return {
    type: programTypeName(info.readUInt32LE(0)),
    id: info.readUInt32LE(4),
    tag: info.toString('hex', 8, 16),
    jitedBytes: info.readUInt32LE(16),
    instructionCount: info.readUInt32LE(20) / INSTRUCTION_BYTES,
    loadTimeNs: info.readBigUInt64LE(40),
    name: cString(info, 64, NAME_BYTES),
    btfId: info.readUInt32LE(128),
    runTimeNs: info.readBigUInt64LE(192),
    runCount: info.readBigUInt64LE(200),
    verifiedInstructionCount: info.readUInt32LE(216),
  }
}

/** Ids of the maps that a program uses. */
export function readProgramMapIds(fd: number): number[] {
  const COUNT_AT = 52
  const POINTER_AT = 56
  const count = readInfo(fd, 'program').readUInt32LE(COUNT_AT)
  const ids = Buffer.alloc(count * 4)
  if (count === 0) return []
  const info = Buffer.alloc(INFO_BYTES)
  info.writeUInt32LE(count, COUNT_AT)
  info.writeBigUInt64LE(addressOf(ids), POINTER_AT)
  check(infoByFd(fd, info, u32Buffer(INFO_BYTES)), 'asking for the maps of', `program (descriptor ${fd})`)
  return Array.from({ length: count }, (_, index) => ids.readUInt32LE(index * 4))
}

/** Elsewhere it stands behind the device. */
const ATTACH_TYPE_AT: Readonly<Partial<Record<LinkType, number>>> = { cgroup: 24, tracing: 16 }

export function readLinkInfo(fd: number): LinkInfo {
  const info = readInfo(fd, 'link')
  const type = linkTypeName(info.readUInt32LE(0))
  const common = { type, id: info.readUInt32LE(4), programId: info.readUInt32LE(8) }
  if (type === 'xdp') return { ...common, ifindex: info.readUInt32LE(16), attachType: 'xdp' }
  const attachType = attachTypeName(info.readUInt32LE(ATTACH_TYPE_AT[type] ?? 20))
  const withAttachType = attachType === undefined ? common : { ...common, attachType }
  if (type === 'tcx') return { ...withAttachType, ifindex: info.readUInt32LE(16) }
  if (type === 'cgroup') return { ...withAttachType, cgroupId: info.readBigUInt64LE(16) }
  return type === 'tracing' ? withAttachType : common
}

/** The types that a map or program was loaded with. */
export function readLoadedBtf(id: number): Btf {
  const source = `loaded type collection ${id}`
  const fd = check(btfFdById(id), 'opening', source)
  try {
    const first = readInfo(fd, source)
    const blob = Buffer.alloc(first.readUInt32LE(8))
    const info = Buffer.alloc(INFO_BYTES)
    info.writeBigUInt64LE(addressOf(blob), 0)
    info.writeUInt32LE(blob.length, 8)
    check(infoByFd(fd, info, u32Buffer(INFO_BYTES)), 'reading', source)
    return parseBtf(blob, source)
  } finally {
    closeDescriptor(fd)
  }
}
