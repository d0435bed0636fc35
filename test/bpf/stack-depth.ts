// How deep a program's calls reach into the stack as the verifier of 6.1 counts: each frame rounded up to 32 bytes, 512 for a chain.
// Newer kernels round less, so an object that loads here may not load there. Read from the object file, without a kernel.

import { readFileSync } from 'node:fs'

export const STACK_BYTES_MAX = 512
const ROUNDED_TO = 32
const INSTRUCTION_BYTES = 8
const FRAME_POINTER = 10

const SECTION = { bytes: 64, symbols: 2, relocations: 9 } as const
const SYMBOL = { bytes: 24, function: 2, section: 3 } as const
const RELOCATION_BYTES = 16
const CALL = 0x85
const PSEUDO_CALL = 1
const MOVE_REGISTER = 0xbf
const ADD_NUMBER = 0x07
const CLASS_MASK = 7
const CLASS_LOAD_REGISTER = 1
const CLASS_STORES = [2, 3]

interface Section {
  readonly type: number
  readonly link: number
  readonly info: number
  readonly content: Buffer
}

interface Code {
  readonly name: string
  readonly section: number
  readonly from: number
  readonly to: number
}

interface Frame {
  readonly bytes: number
  readonly calls: ReadonlySet<string>
}

function readSections(file: Buffer): Section[] {
  const at = Number(file.readBigUInt64LE(40))
  return Array.from({ length: file.readUInt16LE(60) }, (_, index) => {
    const header = file.subarray(at + index * SECTION.bytes, at + (index + 1) * SECTION.bytes)
    const offset = Number(header.readBigUInt64LE(24))
    const content = file.subarray(offset, offset + Number(header.readBigUInt64LE(32)))
    const type = header.readUInt32LE(4)
    return { type, link: header.readUInt32LE(40), info: header.readUInt32LE(44), content }
  })
}

function readSymbols(sections: readonly Section[]): (Code & { readonly kind: number })[] {
  const table = sections.find(({ type }) => type === SECTION.symbols)
  const names = sections[table?.link ?? 0]?.content ?? Buffer.alloc(0)
  return Array.from({ length: (table?.content.length ?? 0) / SYMBOL.bytes }, (_, index) => {
    const row = table?.content.subarray(index * SYMBOL.bytes) ?? Buffer.alloc(SYMBOL.bytes)
    const start = row.readUInt32LE(0)
    const from = Number(row.readBigUInt64LE(8))
    return {
      name: names.toString('latin1', start, names.indexOf(0, start)),
      kind: (row[4] ?? 0) & 15,
      section: row.readUInt16LE(6),
      from,
      to: from + Number(row.readBigUInt64LE(16)),
    }
  })
}

/** The deepest byte that an instruction names; what is passed to helpers is named when its address is made. */
function stackOf(code: Buffer): number {
  let deepest = 0
  let copied = -1
  for (let at = 0; at < code.length; at += INSTRUCTION_BYTES) {
    const operation = code[at] ?? 0
    const destination = (code[at + 1] ?? 0) & 15
    const source = (code[at + 1] ?? 0) >> 4
    const kind = operation & CLASS_MASK
    const touches =
      (CLASS_STORES.includes(kind) && destination === FRAME_POINTER) ||
      (kind === CLASS_LOAD_REGISTER && source === FRAME_POINTER)
    if (touches) deepest = Math.max(deepest, -code.readInt16LE(at + 2))
    if (operation === ADD_NUMBER && destination === copied)
      deepest = Math.max(deepest, -code.readInt32LE(at + 4))
    copied = operation === MOVE_REGISTER && source === FRAME_POINTER ? destination : -1
  }
  return deepest
}

function readFrames(path: string): Map<string, Frame> {
  const sections = readSections(readFileSync(path))
  const symbols = readSymbols(sections)
  const functions = symbols.filter(({ kind }) => kind === SYMBOL.function)
  const named = (section: number, at: number) =>
    functions.find((code) => code.section === section && code.from <= at && at < code.to)
  const frames = new Map<string, { bytes: number; calls: Set<string> }>()
  for (const { name, section, from, to } of functions)
    frames.set(name, {
      bytes: stackOf(sections[section]?.content.subarray(from, to) ?? Buffer.alloc(0)),
      calls: new Set(),
    })
  for (const { type, info, content } of sections) {
    if (type !== SECTION.relocations) continue
    for (let at = 0; at < content.length; at += RELOCATION_BYTES) {
      const offset = Number(content.readBigUInt64LE(at))
      const code = sections[info]?.content ?? Buffer.alloc(0)
      const caller = named(info, offset)
      if (!caller || code[offset] !== CALL || (code[offset + 1] ?? 0) >> 4 !== PSEUDO_CALL) continue
      const symbol = symbols[content.readUInt32LE(at + 12)]
      const addend =
        symbol?.kind === SYMBOL.section ? (code.readInt32LE(offset + 4) + 1) * INSTRUCTION_BYTES : 0
      const callee = symbol && named(symbol.section, symbol.from + addend)
      if (callee) frames.get(caller.name)?.calls.add(callee.name)
    }
  }
  return frames
}

export interface Depth {
  readonly bytes: number
  readonly chain: readonly string[]
}

/** The deepest chain of calls of each function that nobody calls. */
export function stackDepths(path: string): Map<string, Depth> {
  const frames = readFrames(path)
  const below = (name: string): Depth => {
    const frame = frames.get(name) ?? { bytes: 0, calls: new Set<string>() }
    const own = Math.max(1, Math.ceil(frame.bytes / ROUNDED_TO)) * ROUNDED_TO
    const deepest = [...frame.calls].map(below).sort((a, b) => b.bytes - a.bytes)[0]
    return {
      bytes: own + (deepest?.bytes ?? 0),
      chain: [`${name} ${frame.bytes}`, ...(deepest?.chain ?? [])],
    }
  }
  const called = new Set([...frames.values()].flatMap(({ calls }) => [...calls]))
  return new Map([...frames.keys()].filter((name) => !called.has(name)).map((name) => [name, below(name)]))
}
