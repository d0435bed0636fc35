// One round of the control plane's figures at one size, for those who work on it.
//
//   node bench/control/one-size.ts --services 10000
//     [--endpoints 10] [--nodes 100] [--external PERCENT] [--changes N] [--burst N] [--idle SECONDS] [--profile FILE]
//
// --profile writes a CPU profile of the agent's first synchronisation, one of the single changes to FILE.changes, and one of the
// synchronisation after its restart to FILE.restart.

import { parseArgs } from 'node:util'
import { gridsOf, screenText } from '../frame/grid.ts'
import { UndoStack } from '../frame/undo.ts'
import type { ClusterSize } from './cluster.ts'
import { measureRound } from './measure.ts'
import { figuresOf } from './rows.ts'

const { values } = parseArgs({
  options: {
    services: { type: 'string', default: '10000' },
    endpoints: { type: 'string', default: '10' },
    nodes: { type: 'string', default: '100' },
    external: { type: 'string', default: '100' },
    changes: { type: 'string', default: '500' },
    burst: { type: 'string', default: '1000' },
    idle: { type: 'string', default: '20' },
    profile: { type: 'string' },
  },
})

function numberOf(name: Exclude<keyof typeof values, 'profile'>): number {
  const number = Number(values[name])
  if (Number.isInteger(number) && number > 0) return number
  throw new Error(`--${name} ${values[name]}: write a whole number above 0`)
}

const size: ClusterSize = {
  services: numberOf('services'),
  endpoints: numberOf('endpoints'),
  nodes: numberOf('nodes'),
  external: numberOf('external'),
}
const pains = {
  changes: numberOf('changes'),
  burst: numberOf('burst'),
  settleMs: 5000,
  idleMs: numberOf('idle') * 1000,
  profileFile: values.profile,
}
const say = (line: string) => void process.stdout.write(`${line}\n`)
const undo = new UndoStack()
undo.onSignals()
try {
  const round = await measureRound(size, pains, { say, defer: (action) => undo.push(action) })
  for (const grid of gridsOf(figuresOf(new Map([[size, [round]]])))) say(`\n${screenText(grid)}`)
} finally {
  await undo.run()
}
