// Writing Events, against a client that counts.

import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import type { KubeClient } from '../../../src/kube/client.ts'
import { KubeError } from '../../../src/kube/errors.ts'
import { EventRecorder } from '../../../src/kube/events.ts'
import type { Event } from '../../../src/kube/objects.ts'

function recorderWith(onProblem: (error: unknown) => void = () => {}) {
  const created: string[] = []
  let running = 0
  let most = 0
  const client = {
    get: async () => {
      running += 1
      most = Math.max(most, running)
      await turn()
      throw new KubeError('not-found', 'a new one')
    },
    create: async (_: unknown, event: Event) => {
      running -= 1
      if (event.message === 'refused') throw new KubeError('forbidden', 'not this one')
      created.push(event.message ?? '')
    },
  } as unknown as KubeClient
  const recorder = new EventRecorder({ client, component: 'weir', host: 'node1', onProblem })
  const record = (message: string) =>
    recorder.record(
      { apiVersion: 'v1', kind: 'Service', namespace: 'a', name: 'b' },
      'Warning',
      'Why',
      message,
    )
  const settle = async () => {
    for (let before = -1; before !== created.length; ) {
      before = created.length
      for (let turns = 0; turns < 10; turns += 1) await turn()
    }
  }
  return { created, record, settle, most: () => most }
}

t.test('one is written at a time, whatever became of the one before; the same is written once', async (t) => {
  const problems: unknown[] = []
  const { created, record, settle, most } = recorderWith((error) => problems.push(error))
  for (const message of ['first', 'refused', 'second', 'first']) record(message)
  await settle()
  t.strictSame(created, ['first', 'second'])
  t.equal(problems.length, 1)
  t.equal(most(), 1)
})

t.test('of thousands at once as many are written as may wait; the others may be said again', async (t) => {
  const { created, record, settle } = recorderWith()
  for (let index = 0; index < 1200; index += 1) record(`number ${index}`)
  await settle()
  t.equal(created.length, 1000)
  record('number 1100')
  await settle()
  t.equal(created.at(-1), 'number 1100')
})
