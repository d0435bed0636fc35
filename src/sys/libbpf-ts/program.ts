// A loaded program: run it on crafted input, pin it, ask about it.

import { BpfError, check } from './errors.ts'
import { type ProgramInfo, readProgramInfo, readProgramMapIds } from './info.ts'
import { type AttachType, attachTypeName } from './kernel-names.ts'
import * as native from './native.ts'

/** As large as one page of packet the kernel takes beside its head- and tailroom; frags-capable programs take more. */
const DEFAULT_DATA_OUT_BYTES = 4096
const TEST_RUN_OPTIONS_BYTES = 80
const STATS_RUN_TIME = 0

export interface TestRunInput {
  readonly data?: Uint8Array
  readonly context?: Uint8Array
  /** Runs; the duration is their mean. */
  readonly repeat?: number
  /** Room for the packet that comes out. */
  readonly dataOutBytes?: number
  readonly flags?: number
  readonly cpu?: number
  /** Frames per batch with BPF_F_TEST_XDP_LIVE_FRAMES. */
  readonly batchSize?: number
}

export interface TestRunResult {
  readonly returnValue: number
  /** The packet as the program left it. Empty when live frames went off into the stack. */
  readonly dataOut: Buffer
  readonly contextOut: Buffer
  readonly durationNs: number
}

export const F_TEST_XDP_LIVE_FRAMES = 2

function testRunOptions(input: TestRunInput, dataOut: Buffer, contextOut: Buffer): Buffer {
  const { data, context } = input
  const options = Buffer.alloc(TEST_RUN_OPTIONS_BYTES)
  const writePointer = (buffer: Uint8Array | undefined, pointerAt: number, sizeAt: number) => {
    if (!buffer || buffer.byteLength === 0) return
    options.writeBigUInt64LE(native.addressOf(buffer), pointerAt)
    options.writeUInt32LE(buffer.byteLength, sizeAt)
  }
  options.writeBigUInt64LE(BigInt(TEST_RUN_OPTIONS_BYTES), 0)
  writePointer(data, 8, 24)
  writePointer(dataOut, 16, 28)
  writePointer(context, 32, 48)
  writePointer(contextOut, 40, 52)
  options.writeInt32LE(input.repeat ?? 1, 60)
  options.writeUInt32LE(input.flags ?? 0, 68)
  options.writeUInt32LE(input.cpu ?? 0, 72)
  options.writeUInt32LE(input.batchSize ?? 0, 76)
  return options
}

export class BpfProgram {
  readonly fd: number
  /** The C function's whole name where it is known; the kernel's own is cut at 15 characters. */
  readonly name: string
  /** Known for programs loaded from an object; the kernel does not tell it for pinned ones. */
  readonly attachType: AttachType | undefined
  #closed = false

  /** Takes over the descriptor. */
  constructor(fd: number, name?: string, attachTypeNumber?: number) {
    this.fd = fd
    this.name = name ?? readProgramInfo(fd).name
    this.attachType = attachTypeNumber === undefined ? undefined : attachTypeName(attachTypeNumber)
  }

  static openPinned(path: string): BpfProgram {
    return new BpfProgram(check(native.objectGet(path), 'opening the pinned program', path))
  }

  static fromId(id: number): BpfProgram {
    return new BpfProgram(check(native.programFdById(id), 'opening', `program ${id}`))
  }

  /** Asked of the kernel each time: counters move. */
  info(): ProgramInfo {
    this.#checkOpen()
    return readProgramInfo(this.fd)
  }

  /** Ids of the maps it uses. */
  mapIds(): readonly number[] {
    this.#checkOpen()
    return readProgramMapIds(this.fd)
  }

  /** Runs the program in the kernel on this input (BPF_PROG_TEST_RUN). */
  testRun(input: TestRunInput): TestRunResult {
    this.#checkOpen()
    // Live frames leave through the stack: the kernel refuses room for an output then.
    const isLive = ((input.flags ?? 0) & F_TEST_XDP_LIVE_FRAMES) !== 0
    const dataOut = Buffer.alloc(isLive || !input.data ? 0 : (input.dataOutBytes ?? DEFAULT_DATA_OUT_BYTES))
    const contextOut = Buffer.alloc(isLive ? 0 : (input.context?.byteLength ?? 0))
    const options = testRunOptions(input, dataOut, contextOut)
    check(native.testRun(this.fd, options), 'test-running', `program ${this.name}`)
    return {
      returnValue: options.readUInt32LE(56),
      dataOut: dataOut.subarray(0, options.readUInt32LE(28)),
      contextOut: contextOut.subarray(0, options.readUInt32LE(52)),
      durationNs: options.readUInt32LE(64),
    }
  }

  pin(path: string): void {
    this.#checkOpen()
    check(native.objectPin(this.fd, path), `pinning program ${this.name} at`, path)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    native.closeDescriptor(this.fd)
  }

  #checkOpen(): void {
    if (!this.#closed) return
    throw new BpfError({
      action: 'using',
      object: `program ${this.name}`,
      code: 'closed',
      reason: 'it is closed',
    })
  }
}

/** Makes the kernel count run time and runs of every program, until the returned function is called. */
export function enableRunTimeStats(): () => void {
  const fd = check(native.enableStats(STATS_RUN_TIME), 'enabling', 'run-time statistics')
  return () => native.closeDescriptor(fd)
}
