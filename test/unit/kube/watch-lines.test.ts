// Lines of a body that comes in pieces: handed over at once, held back while the reader works, and not lost when the end comes meanwhile.

import type { IncomingMessage } from 'node:http'
import { PassThrough } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { isKubeError, KubeError } from '../../../src/kube/errors.ts'
import { readLines } from '../../../src/kube/watch-lines.ts'

function reading(work: (lines: readonly string[]) => Promise<void> | undefined, inactivityMs = 10_000) {
  const body = new PassThrough()
  const done = readLines(body as unknown as IncomingMessage, {
    what: 'things',
    inactivityMs: () => inactivityMs,
    onLines: work,
  })
  done.catch(() => {})
  return { body, done }
}

t.test('a line is handed over when it is whole, whatever pieces it comes in', async (t) => {
  const seen: (readonly string[])[] = []
  const { body, done } = reading((lines) => {
    seen.push(lines)
    return undefined
  })
  for (const piece of ['a\nb', 'b\n\n', 'c', 'c\ndd\n', 'never whole']) {
    body.write(piece)
    await nextTurn()
  }
  body.end()
  t.equal(await done, 'end')
  t.strictSame(seen, [['a'], ['bb'], ['cc', 'dd']])
})

t.test('no piece is read before the last one has been worked on, and the end waits too', async (t) => {
  const seen: string[] = []
  let release = () => {}
  const { body, done } = reading((lines) => {
    seen.push(...lines)
    return new Promise<void>((resolve) => {
      release = resolve
    })
  })
  body.write('a\n')
  await nextTurn()
  body.write('b\n')
  body.destroy()
  let isDone = false
  done.catch(() => {
    isDone = true
  })
  await nextTurn()
  await nextTurn()
  t.strictSame(seen, ['a'])
  t.notOk(isDone, 'the reader is still at work')
  release()
  await t.rejects(done, { code: 'interrupted' })
})

t.test('what the reader throws or rejects with ends the reading', async (t) => {
  const error = new KubeError('bad-response', 'no')
  for (const work of [
    () => {
      throw error
    },
    () => Promise.reject(error),
  ]) {
    const { body, done } = reading(work)
    body.write('a\n')
    await t.rejects(done, error)
    t.ok(body.destroyed)
  }
})

t.test('a silence ends it in good order, a broken connection does not', async (t) => {
  t.equal(await reading(() => undefined, 5).done, 'silence')
  const { body, done } = reading(() => undefined)
  body.destroy(new Error('ECONNRESET'))
  const caught = await done.catch((error: unknown) => error)
  t.ok(isKubeError(caught, 'interrupted'))
  t.match(caught, { cause: { message: 'ECONNRESET' } })
})
