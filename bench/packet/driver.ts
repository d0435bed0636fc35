// The program that feeds the ones under test with packets of many flows (driver.bpf.c), built and driven.

import { spawnSync } from 'node:child_process'
import { mkdirSync, renameSync } from 'node:fs'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'
import { deleteNamespace } from '../../src/sandbox/host.ts'
import {
  attachXdp,
  BpfError,
  type BpfLink,
  type BpfProgram,
  type LoadedObject,
  openObject,
} from '../../src/sys/libbpf-ts/index.ts'
import { withNetworkNamespace } from '../../src/sys/libc/namespaces.ts'
import { ip } from '../frame/children.ts'
import { type PacketList, ROW_BYTES, TEMPLATE_BYTES } from './packet-list.ts'

const PLAN_BYTES = TEMPLATE_BYTES + 6 * 4
/** struct __sk_buff as far as a test run reads it. */
const SKB_BYTES = 192
const INGRESS_IFINDEX_AT = 36
const LOOPBACK = 1
const CLANG_CANDIDATES = ['clang-19', 'clang-18', 'clang-16', 'clang']
/** Signals end test runs early; one that never gets through is a fault. */
const ATTEMPTS = 50

export const ROOT = fileURLToPath(new URL('../../', import.meta.url))
export type Hook = 'xdp' | 'tc'

/** Compiles a program that is no part of the product, so the product's build does not make it. */
export function compileBpf(source: string, object: string, flags: readonly string[] = []): void {
  const include = `-I/usr/include/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`
  const common = ['-O2', '-g', '-target', 'bpf', '-mcpu=v3', '-std=gnu11', include]
  // Written beside and renamed, for another run may be loading it.
  const part = `${object}.part${process.pid}`
  for (const compiler of CLANG_CANDIDATES) {
    const made = spawnSync(compiler, [...common, ...flags, '-c', source, '-o', part], { encoding: 'utf8' })
    if (made.status === 0) {
      renameSync(part, object)
      return
    }
    if (made.error === undefined)
      throw new Error(`${compiler} could not compile ${source}:\n${made.stderr.slice(0, 4000)}`)
  }
  throw new Error(`no clang found to compile ${source}. Mend: apt-get install clang-19`)
}

/** What has come in by no device is this node's own, and judged as that: packets come in by the device that test runs happen on. */
function cameIn(): Buffer {
  const context = Buffer.alloc(SKB_BYTES)
  context.writeUInt32LE(LOOPBACK, INGRESS_IFINDEX_AT)
  return context
}

/** Where nothing ever arrives. */
const NAMESPACE = `weir-t${process.pid}packet`
const IDLE_DEVICE = { name: 'idle0', ifindex: 100 } as const

/** A test run was ended early by a signal, so not all its packets were sent. */
class Interrupted extends Error {}

export class Driver {
  readonly #object: LoadedObject
  readonly #list: Uint8Array
  readonly #place: BpfLink
  #data: Uint8Array = new Uint8Array()

  constructor() {
    mkdirSync(`${ROOT}build/bench`, { recursive: true })
    const object = `${ROOT}build/bench/packet_driver.bpf.o`
    compileBpf(`${ROOT}bench/packet/driver.bpf.c`, object)
    this.#object = openObject(object).load()
    this.#list = new Uint8Array(this.#object.map('list').mmap())
    this.#place = attachWhereNothingArrives(this.feeder('xdp'))
  }

  async close(): Promise<void> {
    this.#place.close()
    this.#object.close()
    await deleteNamespace(NAMESPACE)
  }

  /** The program that does nothing, of a hook. */
  idle(hook: Hook): BpfProgram {
    return this.#object.program(`idle_${hook}`)
  }

  /** What feeds the program under test: itself what the kernel's run statistics count. */
  feeder(hook: Hook): BpfProgram {
    return this.#object.program(`drive_${hook}`)
  }

  /** From the first packet on, through this program. */
  select(hook: Hook, program: BpfProgram, packets: PacketList): void {
    const fd = Buffer.alloc(4)
    fd.writeUInt32LE(program.fd)
    this.#object.map(`${hook}_under_test`).update(Buffer.alloc(4), fd)
    this.#list.set(packets.rows.subarray(0, packets.count * ROW_BYTES))
    this.#writePlan(packets)
    this.#data = packets.template
  }

  /** @returns nanoseconds a packet, the driver's own among them. */
  run(hook: Hook, runs: number): number {
    return this.runOnce(hook, runs).durationNs
  }

  /** Verdict and bytes of the last packet. @throws Interrupted */
  runOnce(hook: Hook, runs: number): { durationNs: number; returnValue: number; dataOut: Buffer } {
    try {
      return this.feeder(hook).testRun({
        ...{ data: this.#data, repeat: runs, dataOutBytes: 1024 },
        ...(hook === 'tc' && { context: cameIn() }),
      })
    } catch (error) {
      if (error instanceof BpfError && error.errno === constants.errno.EINTR) throw new Interrupted()
      throw error
    }
  }

  #writePlan({ template, count, family, protocol }: PacketList): void {
    const plan = Buffer.alloc(PLAN_BYTES)
    plan.set(template.subarray(0, TEMPLATE_BYTES))
    const words = [template.length, count, family === 'ipv6' ? 1 : 0, protocol === 'UDP' ? 1 : 0, 0, 0]
    for (const [index, word] of words.entries()) plan.writeUInt32LE(word, TEMPLATE_BYTES + index * 4)
    this.#object.map('plans').update(Buffer.alloc(4), plan)
  }
}

/**
 * For a test run of an XDP program that hangs nowhere the kernel patches its dispatcher, before and behind: tens of milliseconds of waiting, in
 * which others take the caches, for two of measuring.
 */
function attachWhereNothingArrives(program: BpfProgram): BpfLink {
  const { name, ifindex } = IDLE_DEVICE
  ip('netns', 'add', NAMESPACE)
  ip('-n', NAMESPACE, 'link', 'add', name, 'index', String(ifindex), 'type', 'veth', 'peer', 'name', 'idle1')
  return withNetworkNamespace(`/run/netns/${NAMESPACE}`, () => attachXdp(program, ifindex, 'native'))
}

/** Does it again from its beginning when a signal ended a test run in it. */
export function untilWhole<Result>(attempt: () => Result): Result {
  for (let attempts = 1; ; attempts += 1)
    try {
      return attempt()
    } catch (error) {
      if (!(error instanceof Interrupted) || attempts === ATTEMPTS) throw error
    }
}
