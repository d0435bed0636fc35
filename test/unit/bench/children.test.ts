import { fork } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { nextMessage } from '../../../bench/frame/children.ts'

t.test('nobody waits for a word of a process that has ended', async (t) => {
  const program = join(t.testdir(), 'program.mjs')
  writeFileSync(program, `process.send({ ready: true }, () => process.disconnect())`)
  const child = fork(program)
  const ended = once(child, 'exit')
  t.same(await nextMessage(child, 'ready'), { ready: true })
  const asked = nextMessage(child, 'more')
  await t.rejects(asked, /ended/)
  await ended
  await t.rejects(nextMessage(child, 'more'), /ended/)
})
