// What the agent keeps in its state directory goes when it is uninstalled.

import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { STATE_FILES } from '../../../src/agent/uninstall.ts'

const AGENT = new URL('../../../src/agent/', import.meta.url)
/** As every module that keeps a file says its name. */
const NAMED = /^export const \w+_FILE = '([^/']+)'$/gm

t.test('every file that a module of the agent names is taken away', async (t) => {
  const named = readdirSync(fileURLToPath(AGENT))
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) => [...readFileSync(new URL(file, AGENT), 'utf8').matchAll(NAMED)])
    .map(([, name]) => name ?? '')
  t.ok(named.length > 5)
  t.strictSame(
    named.filter((name) => !STATE_FILES.includes(name)),
    [],
  )
})
