// The kernel's clocks, against what the kernel itself shows of them.

import { existsSync, readFileSync } from 'node:fs'
import { release } from 'node:os'
import t from 'tap'
import { kernelHertz, sinceBootMs, threadCpuNs } from '../../../../src/sys/libc/clock.ts'

const configuration = `/boot/config-${release()}`

t.test('the tick is one of those a kernel can have', async (t) => {
  const hertz = kernelHertz()
  t.ok(Number.isInteger(hertz) && hertz >= 24 && hertz <= 1200, `${hertz}`)
})

t.test('and the one it was built with', { skip: !existsSync(configuration) }, async (t) => {
  const told = /^CONFIG_HZ=(\d+)$/m.exec(readFileSync(configuration, 'utf8'))?.[1]
  t.equal(kernelHertz(), Number(told))
})

t.test('a thread uses CPU time while it works, and none while it sleeps', async (t) => {
  const begun = threadCpuNs()
  const until = performance.now() + 20
  while (performance.now() < until);
  const worked = threadCpuNs()
  t.ok(worked > begun, `${worked - begun} ns`)
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50)
  t.ok(threadCpuNs() - worked < 25e6)
})

t.test('the time since boot is what /proc/uptime tells', async (t) => {
  const uptimeMs = () => Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 1000
  const before = uptimeMs()
  const told = sinceBootMs()
  // It has hundredths, rounded down.
  t.ok(told >= before && told <= uptimeMs() + 10, `${before} ${told}`)
})
