// `npm run fuzz:frames -- --cases 100000 --seed 7`: whole frames through the programs against what may pass, as long as one likes. As root.

import { parseArgs } from 'node:util'
import { FramesBed } from './bed.ts'
import { checkFrames } from './oracle.ts'

const USAGE = 'npm run fuzz:frames -- [--cases 10000] [--seed NUMBER]'

function wholeNumber(text: string, option: string): number {
  const number = Number(text)
  if (!Number.isSafeInteger(number) || number < 0)
    throw new TypeError(`--${option} ${text}: not a number.\n${USAGE}`)
  return number
}

function run(args: readonly string[]): void {
  const { values } = parseArgs({
    args: [...args],
    options: {
      cases: { type: 'string', default: '10000' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    },
  })
  const seed = wholeNumber(values.seed, 'seed')
  const begun = performance.now()
  const bed = new FramesBed()
  try {
    const { coverage, ...done } = checkFrames(bed, { sequences: wholeNumber(values.cases, 'cases'), seed })
    const seconds = ((performance.now() - begun) / 1000).toFixed(1)
    process.stdout.write(
      `${coverage}\n\n${done.frames} frames in ${done.sequences} sequences of ${done.worlds} worlds, seed ${seed}, ${seconds} s: all go as they may\n`,
    )
    const missing = coverage.missing()
    if (missing.length > 0) process.stdout.write(`never met: ${missing.join('; ')}\n`)
  } finally {
    bed.close()
  }
}

try {
  run(process.argv.slice(2))
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`)
  process.exitCode = 1
}
