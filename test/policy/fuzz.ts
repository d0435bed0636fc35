// `npm run fuzz:policy -- --cases 1000000 --seed 7`: everyone who decides about packets against the reference evaluator, as long as one likes.

import { parseArgs } from 'node:util'
import { CONTENDERS, type Contender } from './contenders.ts'
import { Kernel } from './in-kernel.ts'
import { checkAgainstOracle } from './oracle.ts'

const USAGE = 'npm run fuzz:policy -- [--cases 100000] [--packets-per-set 50] [--seed NUMBER] [--only NAME]'

function positive(text: string, option: string): number {
  const number = Number(text)
  if (!Number.isSafeInteger(number) || number < 1)
    throw new TypeError(`--${option} ${text}: not a count.\n${USAGE}`)
  return number
}

/** Opened when it is asked for: it needs root. */
function kernelContender(): Contender {
  let kernel: Kernel | undefined
  return {
    name: 'the kernel',
    decide: (world) => {
      kernel ??= new Kernel()
      return kernel.decide(world)
    },
  }
}

function run(args: readonly string[]): void {
  const { values } = parseArgs({
    args: [...args],
    options: {
      cases: { type: 'string', default: '100000' },
      'packets-per-set': { type: 'string', default: '50' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      only: { type: 'string' },
    },
  })
  const packetsPerSet = positive(values['packets-per-set'], 'packets-per-set')
  const sets = Math.ceil(positive(values.cases, 'cases') / packetsPerSet)
  const seed = Number(values.seed)
  if (!Number.isSafeInteger(seed)) throw new TypeError(`--seed ${values.seed}: not a number.\n${USAGE}`)
  const contenders = [...CONTENDERS, kernelContender()]
  const chosen = contenders.filter(({ name }) => values.only === undefined || name === values.only)
  if (chosen.length === 0)
    throw new TypeError(
      `--only ${values.only}: one of ${contenders.map(({ name }) => `'${name}'`).join(', ')}`,
    )
  for (const { name, decide } of chosen) {
    const begun = performance.now()
    const { cases, coverage } = checkAgainstOracle(decide, { sets, packetsPerSet, seed })
    const seconds = ((performance.now() - begun) / 1000).toFixed(1)
    process.stdout.write(
      `${coverage}\n\n${name}: ${cases} cases of ${sets} sets, seed ${seed}, ${seconds} s: all agree\n`,
    )
    const missing = coverage.missing()
    if (missing.length > 0) process.stdout.write(`never met: ${missing.join('; ')}\n`)
  }
}

try {
  run(process.argv.slice(2))
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`)
  process.exitCode = 1
}
