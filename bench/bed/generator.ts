// Drives a bed with packets and counts what comes out: every packet's whole way, from the generator through the node to the sink that
// drops it, is worked off in the softirq of the generator's own task, so that task's CPU time (and ksoftirqd's, when it takes over) is
// the cost of the way. It moves by a few percent when others use the machine, where packets a second by the clock move by half.

import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { constants } from 'node:os'
import {
  attachClsact,
  attachTcx,
  attachXdp,
  BpfError,
  type BpfLink,
  F_TEST_XDP_LIVE_FRAMES,
  type LoadedObject,
  openObject,
  supportsTcx,
} from '../../src/sys/libbpf-ts/index.ts'
import { threadCpuNs } from '../../src/sys/libc/clock.ts'
import { compileBpf, ROOT } from '../packet/driver.ts'
import { type Bed, DEVICES, type Device, type Host } from './topology.ts'

const FRAME_BYTES = 64
const IP_AT = 14
const UDP_AT = 34
const CLIENTS_FIRST = 0xc612_0100 // 198.18.1.0
const UDP = 17
const ROW_BYTES = 8
const COUNTS = ['sent', 'toPod', 'toTunnel', 'other'] as const
const XDP_MD_BYTES = 24
const INGRESS_IFINDEX_AT = 12
const ZERO = Buffer.alloc(4)
const ATTEMPTS = 20
const SETTLE_MS = 20
const SETTLE_LOOKS_MAX = 50
/** Odd, and far from a power of two: flows are not visited in the order in which they began. */
const MULTIPLIER = 0x9e3779b1
/** See write_flow in traffic.bpf.c. */
export const FLOWS_MAX = 1 << 30
export const POD_FLOWS_MAX = 1 << 15
const ENDS = { ofClients: 0, ofPod: 1, answered: 2 } as const
const LOOPBACK = 1

export type Counts = Readonly<Record<(typeof COUNTS)[number], number>>

export interface Destination {
  readonly address: string
  readonly port: number
}

export interface Traffic {
  /** Each flow has one of them. */
  readonly destinations: readonly Destination[]
  /** A power of two; FLOWS_MAX: every packet begins a flow. From a pod at most POD_FLOWS_MAX. */
  readonly flows: number
  /** undefined: clients at the other end of n0, many addresses. */
  readonly sender?: Sender
}

/** A pod: one address, flows by its ports. */
export interface Sender {
  readonly address: string
  readonly host: Host
  /** The pod's end of its link, and the node's. */
  readonly device: Device
  readonly towards: Device
  /** The pod answers: to those ports, from the one that the destination names. */
  readonly answers: boolean
}

export interface Window {
  readonly counts: Counts
  readonly cpuNs: number
  readonly wallNs: number
}

/** A signal ended the test run: the window does not count. */
class Interrupted extends Error {}

export class Generator {
  readonly #object: LoadedObject
  readonly #cpu: number
  readonly #softirqTask: string
  #restoreAffinity: (() => void) | undefined
  #from: { readonly host: Host; readonly device: Device } = { host: 'client', device: DEVICES.c0 }

  constructor() {
    mkdirSync(`${ROOT}build/bench`, { recursive: true })
    const path = `${ROOT}build/bench/traffic.bpf.o`
    compileBpf(`${ROOT}bench/bed/traffic.bpf.c`, path)
    this.#object = openObject(path).load()
    this.#cpu = lastCpu()
    this.#softirqTask = softirqTaskOf(this.#cpu)
  }

  close(): void {
    this.unpin()
    this.#object.close()
  }

  /**
   * Drops and counts what reaches the pods (as packets of their stack, at tc) and what leaves for other nodes (as frames). The generator
   * itself hangs on the client's device, where nothing arrives: a test run of a program that is attached nowhere makes the kernel patch
   * its dispatcher of XDP programs, before and after, with milliseconds of waiting for the other CPUs.
   */
  attach(bed: Bed): BpfLink[] {
    const own = bed.inside('client', () =>
      attachXdp(this.#object.program('generate'), DEVICES.c0.ifindex, 'native'),
    )
    const sinks = bed.inside('backend', () => [
      ...this.#attachTcSink(DEVICES.b0),
      attachXdp(this.#object.program('sink_xdp'), DEVICES.f0.ifindex, 'native'),
    ])
    return [own, ...sinks]
  }

  /**
   * The same where every device leads to a pod, which may send and gets packets of its stack: the generator hangs on a loopback device, where
   * nothing arrives either.
   */
  attachToPods(bed: Bed): BpfLink[] {
    return [
      ...bed.inside('client', () => [
        attachXdp(this.#object.program('generate'), LOOPBACK, 'generic'),
        ...this.#attachTcSink(DEVICES.c0),
      ]),
      ...bed.inside('backend', () =>
        [DEVICES.b0, DEVICES.f0].flatMap((device) => this.#attachTcSink(device)),
      ),
    ]
  }

  /** A classifier, on kernels before 6.6, has no link and goes with its device. */
  #attachTcSink({ ifindex }: Device): BpfLink[] {
    const program = this.#object.program('sink_tc')
    if (supportsTcx()) return [attachTcx(program, ifindex, 'ingress')]
    attachClsact(program, { ifindex, direction: 'ingress', priority: 1, handle: 1 })
    return []
  }

  /** What the box can do at most: everything that comes in is redirected, whatever it is. */
  attachReflection(bed: Bed): BpfLink {
    return bed.inside('node', () => attachXdp(this.#object.program('reflect'), DEVICES.n0.ifindex, 'native'))
  }

  setReflection(out: Device, to: Device): void {
    const row = Buffer.alloc(16)
    row.writeUInt32LE(out.ifindex)
    macBytes(to.mac).copy(row, 4)
    macBytes(out.mac).copy(row, 10)
    this.#object.map('reflections').update(ZERO, row)
  }

  /** Keeps this thread on one CPU, the kernel's work for it too. Commands started meanwhile inherit that. */
  pin(): void {
    if (this.#restoreAffinity) return
    const before = affinity()
    setAffinity(String(this.#cpu))
    this.#restoreAffinity = () => setAffinity(before)
  }

  unpin(): void {
    this.#restoreAffinity?.()
    this.#restoreAffinity = undefined
  }

  /** From the next window on. */
  select(traffic: Traffic): void {
    const { destinations, sender } = traffic
    this.#from = sender ?? { host: 'client', device: DEVICES.c0 }
    const rows = Buffer.from(this.#object.map('destinations').mmap())
    for (const [index, { address, port }] of destinations.entries()) {
      rows.writeUInt32BE(addressNumber(address), index * ROW_BYTES)
      rows.writeUInt16BE(port, index * ROW_BYTES + 4)
    }
    this.#object.map('plans').update(ZERO, planOf(traffic))
  }

  /**
   * Sends that many packets into the bed. A window that a signal cut is sent once more.
   * @param again what to do before that
   */
  send(bed: Bed, packets: number, again: () => void = () => {}): Window {
    for (let attempt = 1; ; attempt += 1)
      try {
        return this.#sendOnce(bed, packets)
      } catch (error) {
        if (!(error instanceof Interrupted) || attempt === ATTEMPTS) throw error
        this.#settle()
        again()
      }
  }

  /** What a window that was cut had still on its way would be counted in the next: on a busy machine ksoftirqd takes its time. */
  #settle(): void {
    for (let look = 1, before = this.#counts(); look <= SETTLE_LOOKS_MAX; look += 1) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, SETTLE_MS)
      const now = this.#counts()
      if (COUNTS.every((name) => now[name] === before[name])) return
      before = now
    }
  }

  /** The last frame that a sink took while these packets were sent. */
  sample(bed: Bed, packets: number, again?: () => void): { window: Window; frame: Buffer } {
    const map = this.#object.map('samples')
    const wanted = Buffer.alloc(map.valueBytes)
    wanted.writeUInt32LE(1)
    map.update(ZERO, wanted)
    const window = this.send(bed, packets, again)
    const row = map.lookup(ZERO) ?? wanted
    map.update(ZERO, Buffer.alloc(map.valueBytes))
    return { window, frame: row.subarray(8, 8 + Math.min(row.readUInt32LE(4), row.length - 8)) }
  }

  #sendOnce(bed: Bed, packets: number): Window {
    const context = Buffer.alloc(XDP_MD_BYTES)
    context.writeUInt32LE(FRAME_BYTES, 4)
    context.writeUInt32LE(this.#from.device.ifindex, INGRESS_IFINDEX_AT)
    const input = {
      data: Buffer.alloc(FRAME_BYTES),
      context,
      repeat: packets,
      flags: F_TEST_XDP_LIVE_FRAMES,
    }
    const program = this.#object.program('generate')
    return bed.inside(this.#from.host, () => {
      const before = this.#read()
      try {
        program.testRun(input)
      } catch (error) {
        if (error instanceof BpfError && error.errno === constants.errno.EINTR) throw new Interrupted()
        throw error
      }
      return difference(before, this.#read())
    })
  }

  #read(): Reading {
    return {
      counts: this.#counts(),
      waitedNs: schedulerTimes('/proc/thread-self/schedstat').waitedNs,
      softirqNs: schedulerTimes(this.#softirqTask).ranNs,
      wallNs: Number(process.hrtime.bigint()),
      ranNs: threadCpuNs(),
    }
  }

  #counts(): Counts {
    const map = this.#object.map('counts')
    const rows = map.splitPerCpu(map.lookup(ZERO) ?? Buffer.alloc(0))
    const sum = (index: number) =>
      rows.reduce((total, row) => total + Number(row.readBigUInt64LE(index * 8)), 0)
    return Object.fromEntries(COUNTS.map((name, index) => [name, sum(index)])) as unknown as Counts
  }
}

interface Reading {
  readonly counts: Counts
  readonly wallNs: number
  readonly ranNs: number
  readonly waitedNs: number
  readonly softirqNs: number
}

/** Below this share of what the clock says, the kernel does not count the softirq's time as the task's. */
const COUNTED_SHARE = 0.7

function difference(before: Reading, after: Reading): Window {
  const counts = Object.fromEntries(
    COUNTS.map((name) => [name, after.counts[name] - before.counts[name]]),
  ) as unknown as Counts
  const wallNs = after.wallNs - before.wallNs
  const ranNs = after.ranNs - before.ranNs
  // Some kernels (CONFIG_IRQ_TIME_ACCOUNTING) take interrupts' time off tasks. The task never sleeps, so what it did not wait, it used.
  const usedNs = wallNs - (after.waitedNs - before.waitedNs)
  const ownNs = ranNs < usedNs * COUNTED_SHARE ? usedNs : ranNs
  return { counts, wallNs, cpuNs: ownNs + after.softirqNs - before.softirqNs }
}

function schedulerTimes(path: string): { ranNs: number; waitedNs: number } {
  const [ran = '0', waited = '0'] = readFileSync(path, 'utf8').split(' ')
  return { ranNs: Number(ran), waitedNs: Number(waited) }
}

function softirqTaskOf(cpu: number): string {
  const name = `ksoftirqd/${cpu}\n`
  const pid = readdirSync('/proc').find(
    (entry) => /^\d+$/.test(entry) && readOrEmpty(`/proc/${entry}/comm`) === name,
  )
  if (pid === undefined) throw new Error(`there is no ksoftirqd/${cpu}: measure outside a container`)
  return `/proc/${pid}/schedstat`
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** As `taskset` writes lists: `0-1`. */
function affinity(): string {
  const status = readFileSync('/proc/thread-self/status', 'utf8')
  return /^Cpus_allowed_list:\s*(\S+)/m.exec(status)?.[1] ?? '0'
}

/** Interrupts are served by the first CPUs as a rule. */
function lastCpu(): number {
  return Number(/(\d+)$/.exec(affinity())?.[1] ?? 0)
}

/** Of this thread alone: V8's helpers may run where they like. */
function setAffinity(list: string): void {
  const child = spawnSync('taskset', ['--cpu-list', '--pid', list, String(process.pid)], { encoding: 'utf8' })
  if (child.status !== 0)
    throw new Error(`taskset could not move this process to CPU ${list}: ${child.stderr}`)
}

export function addressNumber(address: string): number {
  return address.split('.').reduce((value, part) => value * 256 + Number(part), 0)
}

function macBytes(mac: string): Buffer {
  return Buffer.from(mac.replaceAll(':', ''), 'hex')
}

/** The template and the sums of what does not vary: struct plan. */
function planOf({ destinations, flows, sender }: Traffic): Buffer {
  const frame = Buffer.alloc(FRAME_BYTES)
  macBytes((sender?.towards ?? DEVICES.n0).mac).copy(frame, 0)
  macBytes((sender?.device ?? DEVICES.c0).mac).copy(frame, 6)
  frame.writeUInt16BE(0x0800, 12)
  const length = FRAME_BYTES - UDP_AT
  frame.writeUInt8(0x45, IP_AT)
  frame.writeUInt16BE(FRAME_BYTES - IP_AT, IP_AT + 2)
  frame.writeUInt8(64, IP_AT + 8)
  frame.writeUInt8(UDP, IP_AT + 9)
  frame.writeUInt16BE(length, UDP_AT + 4)
  frame.fill('weir', UDP_AT + 8)
  const pseudo = Buffer.alloc(4)
  pseudo.writeUInt16BE(UDP)
  pseudo.writeUInt16BE(length, 2)
  const plan = Buffer.alloc(FRAME_BYTES + 32)
  frame.copy(plan)
  const sums = [wordSum(frame.subarray(IP_AT, UDP_AT)), wordSum(frame.subarray(UDP_AT)) + wordSum(pseudo)]
  const source = sender ? addressNumber(sender.address) : CLIENTS_FIRST
  const ends = !sender ? ENDS.ofClients : sender.answers ? ENDS.answered : ENDS.ofPod
  const words = [flows - 1, MULTIPLIER, destinations.length, ...sums, source, ends]
  for (const [index, word] of words.entries()) plan.writeUInt32LE(word, FRAME_BYTES + index * 4)
  return plan
}

/** Words as they lie in memory, for the program adds them so. */
function wordSum(bytes: Buffer): number {
  let sum = 0
  for (let at = 0; at + 1 < bytes.length; at += 2) sum += bytes.readUInt16LE(at)
  return sum
}
