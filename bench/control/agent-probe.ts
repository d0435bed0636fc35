// Loaded into the measured agent before its own code (node --import): tells, when asked over the IPC channel, how long its event
// loop was ever held up, and what it cost. The agent itself is the real one and knows nothing of it.
//
//   in   { probe: 'reset', isSampling?, profileFile? } or { probe: 'read' }
//   out  ProbeReading
//
// Two figures of one thing, for the machine's cores are shared: the wall-clock delay of a timer, which includes time in which
// others ran, and the longest time on the processor between two ticks of that timer, which is the agent's own doing.

import { subscribe } from 'node:diagnostics_channel'
import { writeFileSync } from 'node:fs'
import { Session } from 'node:inspector/promises'
import { monitorEventLoopDelay } from 'node:perf_hooks'

export interface ProbeReading {
  /** Wall clock, in milliseconds since the epoch: when the first list request left. */
  readonly firstRequestMs: number
  readonly loopDelayMaxMs: number
  readonly busyStretchMaxMs: number
  /** Processor time of all threads since the last reset. */
  readonly cpuMs: number
  readonly wallMs: number
}

const TICK_MS = 1
const profileFile = process.env['WEIR_BENCH_PROFILE']

const delay = monitorEventLoopDelay({ resolution: TICK_MS })
let firstRequestMs = 0
let busyMaxUs = 0
let lastUs = 0
let finishProfile: (() => Promise<void>) | undefined
let sampler: NodeJS.Timeout | undefined
let cpuAtReset = process.cpuUsage()
let resetMs = performance.now()

subscribe('http.client.request.start', () => {
  if (firstRequestMs > 0) return
  firstRequestMs = Date.now()
  // What was before is the start of a process: nobody waits for its event loop yet.
  reset(true)
  if (profileFile !== undefined) void profile(profileFile)
})

/** Not from the process's start: the profiler's signals make the kernel's verifier give up. */
async function profile(file: string): Promise<void> {
  const session = new Session()
  session.connect()
  await session.post('Profiler.enable')
  await session.post('Profiler.setSamplingInterval', { interval: 500 })
  await session.post('Profiler.start')
  finishProfile = async () => {
    finishProfile = undefined
    writeFileSync(file, JSON.stringify((await session.post('Profiler.stop')).profile))
    session.disconnect()
  }
}

function threadUs(): number {
  const { user, system } = process.threadCpuUsage()
  return user + system
}

function sample(): void {
  const nowUs = threadUs()
  busyMaxUs = Math.max(busyMaxUs, nowUs - lastUs)
  lastUs = nowUs
}

/** @param isSampling ticks cost a little themselves: off while idleness is measured */
function reset(isSampling: boolean): void {
  delay.reset()
  if (isSampling) delay.enable()
  else delay.disable()
  clearInterval(sampler)
  lastUs = threadUs()
  busyMaxUs = 0
  if (isSampling) sampler = setInterval(sample, TICK_MS).unref()
  cpuAtReset = process.cpuUsage()
  resetMs = performance.now()
}

function read(): ProbeReading {
  const { user, system } = process.cpuUsage(cpuAtReset)
  return {
    firstRequestMs,
    loopDelayMaxMs: delay.max / 1e6,
    busyStretchMaxMs: busyMaxUs / 1000,
    cpuMs: (user + system) / 1000,
    wallMs: performance.now() - resetMs,
  }
}

interface Question {
  readonly probe: 'reset' | 'read'
  readonly isSampling?: boolean
  /** Gets a CPU profile of what happens until the next question. */
  readonly profileFile?: string
}

async function answer({ probe, isSampling, profileFile: file }: Question): Promise<void> {
  if (probe === 'reset') reset(isSampling ?? true)
  const reading = read()
  await finishProfile?.()
  if (file !== undefined) await profile(file)
  process.send?.({ reading })
}

process.on('message', (question: Question) => void answer(question))
process.channel?.unref()
reset(true)
