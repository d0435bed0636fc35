// What the control plane costs at size: a real agent with the real datapath, fed by the embedded API server.
//
//   npm run bench:control                                              the sizes of the table, then bench/RESULTS.md
//   npm run bench:control -- --services 2000 --endpoints 10            one size, printed only
//     [--nodes N] [--external PERCENT] [--changes N] [--burst N] [--idle SECONDS] [--profile FILE]
//
// --profile writes a CPU profile of the agent's first synchronisation, and one of that after its restart to FILE.restart. Exit status 1 when a budget is not met.

import { parseArgs } from 'node:util'
import type { ClusterSize } from './control/cluster.ts'
import { type Effort, type Figures, measure } from './control/measure.ts'
import { missedBudgets, printFigures, writeResults } from './control/report.ts'

/** Small, the size the budgets are for, and the largest cluster that Kubernetes supports. */
const SIZES: readonly ClusterSize[] = [
  { services: 1000, endpoints: 10, nodes: 100, external: 100 },
  { services: 10_000, endpoints: 10, nodes: 100, external: 100 },
  { services: 10_000, endpoints: 15, nodes: 5000, external: 10 },
]

const { values } = parseArgs({
  options: {
    services: { type: 'string' },
    endpoints: { type: 'string', default: '10' },
    nodes: { type: 'string', default: '100' },
    external: { type: 'string', default: '100' },
    changes: { type: 'string', default: '500' },
    burst: { type: 'string', default: '1000' },
    idle: { type: 'string', default: '30' },
    profile: { type: 'string' },
  },
})

function numberOf(
  name: 'services' | 'endpoints' | 'nodes' | 'external' | 'changes' | 'burst' | 'idle',
): number {
  const number = Number(values[name])
  if (Number.isInteger(number) && number > 0) return number
  throw new Error(`--${name} ${values[name]}: write a whole number above 0`)
}

const effort: Effort = {
  changes: numberOf('changes'),
  burst: numberOf('burst'),
  idleMs: numberOf('idle') * 1000,
  profileFile: values.profile,
}
const say = (line: string) => void process.stdout.write(`${line}\n`)
const sizes =
  values.services === undefined
    ? SIZES
    : [
        {
          services: numberOf('services'),
          endpoints: numberOf('endpoints'),
          nodes: numberOf('nodes'),
          external: numberOf('external'),
        },
      ]
const measured: Figures[] = []
for (const size of sizes) {
  say(`${size.services} Services of ${size.endpoints} endpoints on ${size.nodes} nodes`)
  const figures = await measure(size, effort, say)
  printFigures(figures, say)
  measured.push(figures)
}
if (values.services === undefined) writeResults(measured)
const missed = measured.flatMap(missedBudgets)
for (const line of missed) say(`NOT MET: ${line}`)
process.exitCode = missed.length > 0 ? 1 : 0
