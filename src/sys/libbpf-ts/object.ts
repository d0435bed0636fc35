// An object file on its way into the kernel: opened, adjusted, loaded.
//
// openObject() reads the ELF file and touches no kernel state. The returned spec is adjusted (constants, sizes, pins,
// which programs), then load() creates everything and hands out maps and programs that own their descriptors, so that nothing of
// libbpf's object stays behind. A spec is used up by load() or close().

import { existsSync, mkdirSync } from 'node:fs'
import { constants } from 'node:os'
import { dirname } from 'node:path'
import { type Btf, findType, parseBtf, sizeOf, typeAt } from './btf.ts'
import { BpfError, check } from './errors.ts'
import {
  ATTACH_TYPES,
  type AttachType,
  attachTypeName,
  type MapType,
  mapTypeName,
  type ProgramType,
  programTypeName,
} from './kernel-names.ts'
import { lastLines, withLog } from './log.ts'
import { BpfMap } from './map.ts'
import * as native from './native.ts'
import { BpfProgram } from './program.ts'

export interface LoadedObject {
  readonly maps: ReadonlyMap<string, BpfMap>
  readonly programs: ReadonlyMap<string, BpfProgram>
  /** The map of that name, or an error that lists the names there are. */
  map(name: string): BpfMap
  program(name: string): BpfProgram
  /** Closes every map and program of it. Pinned and attached ones live on. */
  close(): void
}

export class MapSpec {
  readonly #pointer: native.Pointer
  readonly name: string
  readonly type: MapType
  readonly keySize: number
  readonly valueSize: number
  readonly flags: number
  /** Made by the compiler for global variables (.rodata, .bss, .data). */
  readonly isInternal: boolean

  constructor(pointer: native.Pointer) {
    this.#pointer = pointer
    this.name = native.mapName(pointer)
    this.type = mapTypeName(native.mapType(pointer))
    this.keySize = native.mapKeySize(pointer)
    this.valueSize = native.mapValueSize(pointer)
    this.flags = native.mapFlags(pointer)
    this.isInternal = native.mapIsInternal(pointer)
  }

  get maxEntries(): number {
    return native.mapMaxEntries(this.#pointer)
  }

  setMaxEntries(entries: number): void {
    check(
      native.mapSetMaxEntries(this.#pointer, entries),
      `setting max_entries ${entries} of`,
      `map ${this.name}`,
    )
  }

  get pinPath(): string | undefined {
    return native.mapPinPath(this.#pointer) ?? undefined
  }

  /** load() takes over a map that is pinned there if type, sizes and flags agree, and pins a new one otherwise. */
  setPinPath(path: string | undefined): void {
    check(native.mapSetPinPath(this.#pointer, path ?? null), 'setting the pin path of', `map ${this.name}`)
  }

  /** load() uses this map instead of creating one. */
  reuse(map: BpfMap): void {
    check(native.mapReuseFd(this.#pointer, map.fd), `reusing map ${map.name} as`, `map ${this.name}`)
  }

  /** Leaves the map out; programs that name it then don't load. */
  setAutocreate(create: boolean): void {
    check(native.mapSetAutocreate(this.#pointer, create), 'setting autocreate of', `map ${this.name}`)
  }

  /** For this folder only. */
  get pointer(): native.Pointer {
    return this.#pointer
  }
}

export class ProgramSpec {
  readonly #pointer: native.Pointer
  readonly name: string
  readonly section: string
  readonly type: ProgramType

  constructor(pointer: native.Pointer) {
    this.#pointer = pointer
    this.name = native.programName(pointer)
    this.section = native.programSection(pointer)
    this.type = programTypeName(native.programType(pointer))
  }

  get attachType(): AttachType | undefined {
    return attachTypeName(native.programAttachType(this.#pointer))
  }

  setAttachType(type: AttachType): void {
    const result = native.programSetAttachType(this.#pointer, ATTACH_TYPES[type])
    check(result, `setting attach type ${type} of`, `program ${this.name}`)
  }

  get autoload(): boolean {
    return native.programAutoload(this.#pointer)
  }

  setAutoload(autoload: boolean): void {
    check(native.programSetAutoload(this.#pointer, autoload), 'setting autoload of', `program ${this.name}`)
  }

  /** For this folder only. */
  get pointer(): native.Pointer {
    return this.#pointer
  }
}

export type ConstantValue = number | bigint | boolean | Uint8Array

interface ConstantSection {
  readonly map: MapSpec
  readonly bytes: Buffer
}

export class ObjectSpec {
  readonly path: string
  /** The object's own types, with section offsets filled in by libbpf. */
  readonly btf: Btf
  readonly maps: ReadonlyMap<string, MapSpec>
  readonly programs: ReadonlyMap<string, ProgramSpec>
  readonly #sections = new Map<string, ConstantSection>()
  #pointer: native.Pointer

  constructor(path: string, pointer: native.Pointer) {
    this.path = path
    this.#pointer = pointer
    this.btf = readBtf(path, pointer)
    this.maps = collect(native.nextMap, pointer, (item) => new MapSpec(item))
    this.programs = collect(native.nextProgram, pointer, (item) => new ProgramSpec(item))
  }

  map(name: string): MapSpec {
    return pick(this.maps, name, 'map', this.path)
  }

  program(name: string): ProgramSpec {
    return pick(this.programs, name, 'program', this.path)
  }

  /** Only these programs are loaded. */
  loadOnly(names: readonly string[]): void {
    for (const name of names) this.program(name)
    for (const program of this.programs.values()) program.setAutoload(names.includes(program.name))
  }

  /** Sets a global `const volatile` variable (.rodata) before the verifier sees it, or the first value of another global. */
  setConstant(name: string, value: ConstantValue): void {
    const { section, offset, sizeBytes } = this.#findVariable(name)
    const encoded = encodeConstant(value, sizeBytes, name)
    encoded.copy(this.#section(section).bytes, offset)
  }

  /** Whether the object has such a global variable. */
  hasConstant(name: string): boolean {
    return findType(this.btf, 'variable', name) !== undefined
  }

  load(): LoadedObject {
    this.#checkOpen()
    try {
      const adopted = this.#preparePins()
      for (const { map, bytes } of this.#sections.values()) {
        const result = native.mapSetInitialValue(map.pointer, bytes, bytes.length)
        check(result, 'setting the constants of', `map ${map.name}`)
      }
      const { result, log } = withLog(() => native.objectLoad(this.#pointer))
      if (result < 0) throw loadError(this.path, -result, log)
      return new Loaded(this, adopted)
    } finally {
      this.close()
    }
  }

  close(): void {
    if (this.#pointer === null) return
    native.objectClose(this.#pointer)
    this.#pointer = null
  }

  #checkOpen(): void {
    if (this.#pointer !== null) return
    throw new BpfError({
      action: 'using',
      object: this.path,
      code: 'closed',
      reason: 'already loaded or closed',
    })
  }

  #preparePins(): ReadonlySet<string> {
    const adopted = new Set<string>()
    for (const map of this.maps.values()) {
      const path = map.pinPath
      if (path === undefined) continue
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
      if (existsSync(path)) adopted.add(map.name)
    }
    return adopted
  }

  #section(name: string): ConstantSection {
    const known = this.#sections.get(name)
    if (known) return known
    // libbpf names the map after the object, and the kernel cuts that: only the section's name at the end is sure.
    const map = [...this.maps.values()].find((spec) => spec.isInternal && spec.name.endsWith(name))
    if (!map)
      throw new BpfError({
        action: 'finding the section',
        object: `${name} of ${this.path}`,
        code: 'not-found',
      })
    const size = Buffer.alloc(8)
    const pointer = native.mapInitialValue(map.pointer, size)
    const section = { map, bytes: native.copyMemory(pointer, Number(size.readBigUInt64LE())) }
    this.#sections.set(name, section)
    return section
  }

  #findVariable(name: string): { section: string; offset: number; sizeBytes: number } {
    this.#checkOpen()
    for (const type of this.btf.types) {
      if (type.kind !== 'section' || type.name === '.maps') continue
      const found = type.variables.find((variable) => typeAt(this.btf, variable.typeId).name === name)
      if (found)
        return { section: type.name, offset: found.offset, sizeBytes: sizeOf(this.btf, found.typeId) }
    }
    throw new BpfError({
      action: 'setting',
      object: `constant ${name}`,
      code: 'not-found',
      reason: `${this.path} has no such global variable that a program uses`,
      mend: 'declare it const volatile, or ask hasConstant() first',
    })
  }
}

class Loaded implements LoadedObject {
  readonly maps: ReadonlyMap<string, BpfMap>
  readonly programs: ReadonlyMap<string, BpfProgram>
  readonly #path: string

  constructor(spec: ObjectSpec, adopted: ReadonlySet<string>) {
    this.#path = spec.path
    const maps = new Map<string, BpfMap>()
    for (const map of spec.maps.values()) {
      const fd = native.mapFd(map.pointer)
      if (fd >= 0) maps.set(map.name, new BpfMap(native.duplicateDescriptor(fd), adopted.has(map.name)))
    }
    const programs = new Map<string, BpfProgram>()
    for (const program of spec.programs.values()) {
      const fd = native.programFd(program.pointer)
      const attachType = native.programAttachType(program.pointer)
      if (fd >= 0)
        programs.set(program.name, new BpfProgram(native.duplicateDescriptor(fd), program.name, attachType))
    }
    this.maps = maps
    this.programs = programs
  }

  map(name: string): BpfMap {
    return pick(this.maps, name, 'map', this.#path)
  }

  program(name: string): BpfProgram {
    return pick(this.programs, name, 'program', this.#path)
  }

  close(): void {
    for (const map of this.maps.values()) map.close()
    for (const program of this.programs.values()) program.close()
  }
}

/** Opens an object file. Nothing is in the kernel before load(). */
export function openObject(path: string): ObjectSpec {
  const { result, log } = withLog(() => {
    const pointer = native.objectOpen(path, null)
    return { pointer, errno: pointer === null ? native.errnoNow() : 0 }
  })
  if (result.pointer !== null) return new ObjectSpec(path, result.pointer)
  throw new BpfError({
    action: 'opening the object',
    object: path,
    errno: result.errno,
    log,
    mend: lastLines(log),
  })
}

function loadError(path: string, errno: number, log: string): BpfError {
  const failed = /prog '([^']+)': BPF program load failed/.exec(log)?.[1]
  const isVerifier = log.includes('BEGIN PROG LOAD LOG') && errno !== constants.errno.EPERM
  return new BpfError({
    action: 'loading',
    object: failed === undefined ? path : `program ${failed} of ${path}`,
    errno,
    ...(isVerifier ? { code: 'verifier' as const } : {}),
    reason: `errno ${errno}\n${lastLines(log)}\n`,
    log,
  })
}

function readBtf(path: string, pointer: native.Pointer): Btf {
  const btf = native.objectBtf(pointer)
  if (btf === null) return { types: [{ kind: 'void', name: '' }] }
  const size = Buffer.alloc(8)
  const data = native.btfRawData(btf, size)
  return parseBtf(native.copyMemory(data, size.readUInt32LE()), path)
}

function collect<T extends { readonly name: string }>(
  next: (object: native.Pointer, item: native.Pointer) => native.Pointer,
  object: native.Pointer,
  make: (item: native.Pointer) => T,
): ReadonlyMap<string, T> {
  const found = new Map<string, T>()
  for (let item = next(object, null); item !== null; item = next(object, item)) {
    const made = make(item)
    found.set(made.name, made)
  }
  return found
}

function pick<T>(items: ReadonlyMap<string, T>, name: string, kind: string, path: string): T {
  const item = items.get(name)
  if (item !== undefined) return item
  throw new BpfError({
    action: 'finding',
    object: `${kind} ${name} in ${path}`,
    code: 'not-found',
    reason: `there are ${[...items.keys()].join(', ') || 'none'}`,
    mend: 'correct the name, or load the object that has it',
  })
}

function encodeConstant(value: ConstantValue, sizeBytes: number, name: string): Buffer {
  const refuse = (reason: string) =>
    new BpfError({
      action: 'setting',
      object: `constant ${name}`,
      code: 'size',
      reason,
      mend: 'match its C type',
    })
  if (value instanceof Uint8Array) {
    if (value.byteLength !== sizeBytes) throw refuse(`${value.byteLength} bytes given, it has ${sizeBytes}`)
    return Buffer.from(value)
  }
  if (![1, 2, 4, 8].includes(sizeBytes)) throw refuse(`it has ${sizeBytes} bytes; pass its encoded bytes`)
  const number = BigInt(value)
  const bits = sizeBytes * 8
  const fits = BigInt.asUintN(bits, number) === number || BigInt.asIntN(bits, number) === number
  if (!fits) throw refuse(`${number} does not fit ${sizeBytes} bytes`)
  const encoded = Buffer.alloc(8)
  encoded.writeBigUInt64LE(BigInt.asUintN(64, number))
  return encoded.subarray(0, sizeBytes)
}
