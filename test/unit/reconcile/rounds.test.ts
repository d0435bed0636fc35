// Rounds: requests share a round, rounds never overlap, failures pause, and due times are kept.

import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Rounds } from '../../../src/reconcile/rounds.ts'

function setUp(run: () => Promise<void> | void) {
  const errors: number[] = []
  const rounds = new Rounds({
    name: 'test',
    settleMs: 2,
    retryMinMs: 10,
    retryMaxMs: 40,
    run,
    onError: (_error, retryInMs) => errors.push(retryInMs),
  })
  return { rounds, errors }
}

t.test('many requests are one round, and one during a round is another after it', async (t) => {
  let running = 0
  let count = 0
  const gate = Promise.withResolvers<void>()
  const { rounds } = setUp(async () => {
    running += 1
    count += 1
    t.equal(running, 1, 'never two at once')
    await gate.promise
    running -= 1
  })
  for (let index = 0; index < 100; index += 1) rounds.request()
  while (count < 1) await sleep(1)
  rounds.request()
  rounds.request()
  gate.resolve()
  while (count < 2) await sleep(1)
  await sleep(60)
  t.equal(count, 2)
  await rounds.close()
})

t.test('a due time asked for within a round is kept, not run at once', async (t) => {
  let count = 0
  const { rounds } = setUp(() => {
    count += 1
    rounds.requestIn(60_000)
  })
  rounds.request()
  while (count < 1) await sleep(1)
  await sleep(60)
  t.equal(count, 1, 'no busy loop')
  rounds.request()
  while (count < 2) await sleep(1)
  await rounds.close()
})

t.test('failures pause longer and longer, up to the most, and a success forgets them', async (t) => {
  let failuresLeft = 4
  let count = 0
  const { rounds, errors } = setUp(() => {
    count += 1
    if (failuresLeft > 0) {
      failuresLeft -= 1
      throw new Error('not yet')
    }
  })
  rounds.request()
  while (count < 5) await sleep(5)
  t.strictSame(errors, [10, 20, 40, 40])
  failuresLeft = 1
  rounds.request()
  while (count < 7) await sleep(5)
  t.equal(errors.at(-1), 10)
  await rounds.close()
})

t.test('closed rounds start nothing', async (t) => {
  let count = 0
  const { rounds } = setUp(() => {
    count += 1
  })
  rounds.request()
  await rounds.close()
  rounds.request()
  await sleep(20)
  t.equal(count, 0)
})

t.test('the time of day is set back: rounds come as before', async (t) => {
  let count = 0
  const { rounds } = setUp(() => {
    count += 1
  })
  rounds.request()
  while (count < 1) await sleep(1)
  const { now } = Date
  t.teardown(() => {
    Date.now = now
  })
  Date.now = () => now() - 3_600_000
  rounds.request()
  while (count < 2) await sleep(1)
  await rounds.close()
})
