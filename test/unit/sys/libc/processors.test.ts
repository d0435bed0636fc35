import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import t from 'tap'
import { openPerfCounter, PerfCounter } from '../../../../src/sys/libc/perf-events.ts'
import { stayOnOneProcessor } from '../../../../src/sys/libc/processors.ts'

const allowed = () =>
  /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/thread-self/status', 'utf8'))?.[1]

t.test('a thread stays on one processor until it is let go', async (t) => {
  const before = allowed()
  const { processor, release } = stayOnOneProcessor()
  t.equal(allowed(), String(processor))
  t.ok(processor >= 0 && processor < 8192)
  release()
  t.equal(allowed(), before)
  t.ok(availableParallelism() >= 1)
})

t.test('the time that this thread spends on a processor is counted', async (t) => {
  const counter = openPerfCounter('task clock')
  if (!(counter instanceof PerfCounter)) {
    t.pass(`not here: ${counter}`)
    return
  }
  const before = counter.read()
  const until = process.cpuUsage().user + 20_000
  while (process.cpuUsage().user < until);
  const spent = counter.read() - before
  t.ok(spent > 10_000_000n && spent < 2_000_000_000n, `${spent} ns`)
  counter.close()
})

t.test('a counter that the processor lacks is told by name', async (t) => {
  const counter = openPerfCounter('instructions')
  if (counter instanceof PerfCounter) counter.close()
  else t.match(counter, /^E[A-Z]+$/)
})
