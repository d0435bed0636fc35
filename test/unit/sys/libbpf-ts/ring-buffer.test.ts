// The ring reader: no event lost, in order, on the main thread and on a worker.

import t from 'tap'
import { type RingBatch, RingBuffer, startRingWorker } from '../../../../src/sys/libbpf-ts/index.ts'
import { openCounter } from './fixture.ts'

const RECORD_BYTES = 16
const RING_BYTES = 1 << 20
const frame = Buffer.alloc(64)

function load() {
  const spec = openCounter()
  spec.loadOnly(['emit_event'])
  return spec.load()
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 5000
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('events did not arrive')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** Collects sequence numbers and checks that each record is whole. */
function collector() {
  const seen: number[] = []
  let largestBatch = 0
  const handler = ({ data, count, offsets, lengths }: RingBatch) => {
    largestBatch = Math.max(largestBatch, count)
    for (let i = 0; i < count; i += 1) {
      const at = offsets[i] ?? 0
      const sequence = data.readBigUInt64LE(at)
      const isWhole =
        lengths[i] === RECORD_BYTES && data.readBigUInt64LE(at + 8) === BigInt.asUintN(64, ~sequence)
      seen.push(isWhole ? Number(sequence) : -1)
    }
  }
  return { seen, handler, largestBatch: () => largestBatch }
}

const isSequence = (seen: readonly number[]) => seen.every((value, index) => value === index)

for (const [name, options] of [
  ['on wake-ups', {}],
  ['by timer', { intervalMs: 2 }],
] as const) {
  t.test(`100 000 events arrive whole and in order, ${name}, over several laps of the ring`, async (t) => {
    const object = load()
    const ring = new RingBuffer(object.map('events'), 1000)
    const { seen, handler, largestBatch } = collector()
    ring.start(handler, options)
    t.throws(() => ring.start(handler), { code: 'busy' })
    const program = object.program('emit_event')
    for (let sent = 10_000; sent <= 100_000; sent += 10_000) {
      t.equal(program.testRun({ data: frame, repeat: 10_000 }).returnValue, 2)
      await until(() => seen.length === sent)
    }
    ring.stop()
    t.ok(isSequence(seen))
    t.ok(largestBatch() <= 1000, 'a turn hands over no more than it was told to')
    t.equal(ring.pendingBytes(), 0)
    object.close()
  })
}

t.test('what does not fit the ring is refused to the producer, what is in it stays whole', (t) => {
  const object = load()
  const ring = new RingBuffer(object.map('events'))
  const { seen, handler } = collector()
  const room = Math.floor(RING_BYTES / (RECORD_BYTES + 8))
  t.equal(object.program('emit_event').testRun({ data: frame, repeat: room + 1000 }).returnValue, 1, 'full')
  t.ok(ring.pendingBytes() > RING_BYTES - 64)
  while (ring.consume(handler) > 0);
  t.ok(Math.abs(seen.length - room) <= 1)
  t.ok(isSequence(seen))
  object.close()
  t.end()
})

t.test('a handler that throws stops the reading and is reported', async (t) => {
  const object = load()
  const ring = new RingBuffer(object.map('events'))
  const errors: unknown[] = []
  const fail = () => {
    throw new Error('handler failed')
  }
  ring.start(fail, { onError: (error) => errors.push(error) })
  object.program('emit_event').testRun({ data: frame })
  await until(() => errors.length > 0)
  t.match(errors, [{ message: 'handler failed' }])
  t.throws(() => new RingBuffer(object.map('table')), { code: 'invalid', message: /it is a hash/ })
  object.close()
})

t.test('a worker reads the ring and posts what its module returns', async (t) => {
  const object = load()
  const seen: number[] = []
  const errors: unknown[] = []
  const worker = startRingWorker(object.map('events'), {
    module: new URL('./ring-echo.ts', import.meta.url),
    onMessage: (message) => seen.push(...(message as number[])),
    onError: (error) => errors.push(error),
  })
  object.program('emit_event').testRun({ data: frame, repeat: 10_000 })
  await until(() => seen.length === 10_000 || errors.length > 0)
  t.strictSame(errors, [])
  t.ok(isSequence(seen))
  await worker.close()
  object.close()
})
