// The kernel's tick, against the kernel's own configuration where this machine shows it.

import { existsSync, readFileSync } from 'node:fs'
import { release } from 'node:os'
import t from 'tap'
import { kernelHertz, threadCpuNs } from '../../../../src/sys/libc/clock.ts'

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
