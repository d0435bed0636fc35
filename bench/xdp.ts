// What weir_uplink_xdp costs per packet, with distinct flows: nanoseconds net of the driver, median of several repeats.
//
//   npm run build && node bench/xdp.ts
//
// The kernel averages over the repeats of one test run. The driver's own cost (restoring the packet, tail call) is measured with an
// idle program and taken off; programs that encapsulate also pay about 8 ns for the driver's undoing of it, which stays in.

import { spawnSync } from 'node:child_process'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'
import * as abi from '../src/datapath/abi.gen.ts'
import { BpfError, openObject } from '../src/sys/libbpf-ts/index.ts'
import { type Frame, TCP } from '../test/bpf/packet.ts'
import { World } from '../test/bpf/world.ts'

const TEMPLATE_BYTES = 96
/** struct plan: the template, five words, and four bytes of padding. */
const PLAN_BYTES = TEMPLATE_BYTES + 6 * 4
const REPEATS = 7
const RUNS = 500_000
/** A third of the ports at the end. */
const NEW_MASQUERADED_RUNS = 21_000
const DRIVER = 'xdp_driver.bpf.o'

const path = (relative: string) => fileURLToPath(new URL(`../${relative}`, import.meta.url))

/** The driver is no part of the product, so the product's build does not make it. */
function buildDriver(): string {
  const object = path(`build/bpf/${DRIVER}`)
  const include = `-I/usr/include/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`
  const flags = [
    '-O2',
    '-g',
    '-target',
    'bpf',
    '-mcpu=v3',
    include,
    '-c',
    path('bench/xdp_driver.bpf.c'),
    '-o',
    object,
  ]
  const made = spawnSync('clang-19', flags, { encoding: 'utf8' })
  if (made.status !== 0) throw new Error(`clang-19 failed: ${made.error?.message ?? made.stderr}`)
  return object
}

const world = new World('bench', false, { snatPorts: { first: 1024, last: 65_535 } })
/** The same program without the filter of addresses, which the datapath otherwise uses; its maps are empty. */
const unfiltered = openObject(path('build/bpf/weir_xdp.bpf.o')).load()
const driver = openObject(buildDriver()).load()
const key = Buffer.alloc(4)

function select(fd: number): void {
  const value = Buffer.alloc(4)
  value.writeUInt32LE(fd)
  driver.map('under_test').update(key, value)
}

function plan(sent: Frame, flows: number, multiplier: number): Buffer {
  const isIpv4 = sent.fields.source.includes('.')
  const bytes = Buffer.alloc(PLAN_BYTES)
  sent.bytes().copy(bytes, 0, 0, TEMPLATE_BYTES)
  bytes.writeUInt32LE(sent.bytes().length, TEMPLATE_BYTES)
  bytes.writeUInt32LE(flows - 1, TEMPLATE_BYTES + 4)
  bytes.writeUInt32LE(isIpv4 ? 34 : 54, TEMPLATE_BYTES + 8)
  bytes.writeUInt32LE(isIpv4 ? 28 : 36, TEMPLATE_BYTES + 12)
  bytes.writeUInt32LE(multiplier, TEMPLATE_BYTES + 16)
  return bytes
}

function run(sent: Frame, flows: number, runs: number, multiplier = 1): number {
  driver.map('plans').update(key, plan(sent, flows, multiplier))
  const input = { data: sent.bytes(), repeat: runs, dataOutBytes: 512 }
  for (;;) {
    try {
      return driver.program('drive').testRun(input).durationNs
    } catch (error) {
      // A signal to this thread ends a test run early.
      if (!(error instanceof BpfError) || error.errno !== constants.errno.EINTR) throw error
    }
  }
}

const median = (values: readonly number[]) =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN
const measure = (action: () => number) => median(Array.from({ length: REPEATS }, action))

function report(name: string, rawNs: number, floorNs: number): void {
  process.stdout.write(`${name.padEnd(44)} ${String(rawNs - floorNs).padStart(5)} ns\n`)
}

const VISIT_ORDER = 2654435761

for (const family of ['ipv4', 'ipv6'] as const) {
  const { stranger } = world.cast(family)
  const ack = (port: number) => world.request(family, TCP, port).tcp('ack').payload(64)
  select(driver.program('idle').fd)
  const floorNs = measure(() => run(ack(80), 1, RUNS))
  const foreign = ack(80).to(stranger, 80)
  for (const [title, program] of [
    ['not ours, without the filter', unfiltered.program('weir_uplink_xdp')],
    ['not ours', world.datapath.uplink.xdp],
  ] as const) {
    select(program.fd)
    report(
      `${family} ${title}`,
      measure(() => run(foreign, 4096, RUNS)),
      floorNs,
    )
  }
  for (const [title, port] of [
    ['established, to another node', 80],
    ['established, to a pod here', 81],
  ] as const)
    for (const flows of [1, 4096, 65_536]) {
      world.forgetFlows()
      run(ack(port), flows, flows * 2)
      const rawNs = measure(() => run(ack(port), flows, RUNS, VISIT_ORDER))
      report(`${family} ${title}, ${flows} flows`, rawNs, floorNs)
    }
  for (const [title, port] of [
    ['new, to another node', 80],
    ['new, to a pod here', 81],
  ] as const) {
    const syn = world.request(family, TCP, port).payload(64)
    const rawNs = measure(() => {
      world.forgetFlows()
      return run(syn, 2 ** 30, 100_000, VISIT_ORDER)
    })
    report(`${family} ${title}, table with room`, rawNs, floorNs)
  }
}
// Masqueraded flows have a port each, so no more of them than a backend has ports here.
const { FRONTEND_EXTERNAL, FRONTEND_ANY_ENDPOINT } = abi.FrontendFlags
for (const family of ['ipv4', 'ipv6'] as const) {
  world.changeFrontend(family, TCP, 80, { flags: FRONTEND_EXTERNAL | FRONTEND_ANY_ENDPOINT })
  const ack = world.request(family, TCP, 80).tcp('ack').payload(64)
  const syn = world.request(family, TCP, 80).payload(64)
  select(driver.program('idle').fd)
  const floorNs = measure(() => run(ack, 1, RUNS))
  select(world.datapath.uplink.xdp.fd)
  for (const flows of [1, 4096]) {
    world.forgetFlows()
    run(ack, flows, flows * 2)
    const rawNs = measure(() => run(ack, flows, RUNS, VISIT_ORDER))
    report(`${family} established, masqueraded, ${flows} flows`, rawNs, floorNs)
  }
  const rawNs = measure(() => {
    world.forgetFlows()
    return run(syn, 2 ** 30, NEW_MASQUERADED_RUNS, VISIT_ORDER)
  })
  report(`${family} new, masqueraded, a third of the ports taken`, rawNs, floorNs)
}
driver.close()
unfiltered.close()
world.close()
