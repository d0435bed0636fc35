#!/usr/bin/env node
// The `weir` command: finds a Node that can run TypeScript as it is (24 or newer) and hands over to src/cli.
// Plain JavaScript, because it must speak clearly on the older Node that a distribution ships.

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'

const NODE_MAJOR_MIN = 24
const root = fileURLToPath(new URL('..', import.meta.url))
const pinnedNode = `${root}node_modules/.bin/node`

if (Number(process.versions.node.split('.')[0]) >= NODE_MAJOR_MIN) {
  // Half of a short command's time is reading TypeScript. Where the directory cannot be written it goes without; the agent runs for
  // months and would keep all of it in memory.
  const { enableCompileCache } = await import('node:module')
  if (process.argv[2] !== 'agent') enableCompileCache(`${root}build/compile-cache`)
  const { main } = await import('../src/cli/main.ts')
  process.exitCode = await main(process.argv.slice(2))
} else if (existsSync(pinnedNode)) {
  const child = spawn(pinnedNode, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: 'inherit',
  })
  // A terminal's interrupt reaches the child by itself; what is sent to this process alone is passed on.
  for (const signal of ['SIGINT', 'SIGQUIT']) process.on(signal, () => {})
  for (const signal of ['SIGTERM', 'SIGHUP', 'SIGUSR2']) process.on(signal, () => child.kill(signal))
  process.exitCode = await new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve(code ?? 128 + constants.signals[signal]))
  })
} else {
  process.stderr.write(
    `weir: needs Node ${NODE_MAJOR_MIN} or newer; this is ${process.version}. ` +
      `'npm run sandbox' in ${root} brings its own.\n`,
  )
  process.exitCode = 1
}
