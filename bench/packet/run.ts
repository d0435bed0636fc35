// A look at chosen cases, or at two builds of the programs beside each other in one run:
//
//   node bench/packet/run.ts [--cases REGULAR-EXPRESSION] [--services 10,1000] [--layout fixed|spread] [--rounds N] [--count]
//                            [--objects DIRECTORY]…
//
// Cases are called like `established dsr ipv4 tcp 4096 room fixed`; without --cases they are listed. Each --objects is one contestant,
// the first the one that the others are divided by; without it this checkout's build is measured alone. Builds must agree with this checkout
// about the layout of maps.

import { setImmediate } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { interleave, type Measurement } from '../frame/interleave.ts'
import { summarize } from '../frame/statistics.ts'
import { UndoStack } from '../frame/undo.ts'
import { Bed, SETTINGS_AT_SIZE } from './bed.ts'
import { type Case, casesAtSize, FLOWS, knownFlows, newFlows, statelessPackets } from './cases.ts'
import { Driver } from './driver.ts'
import { FULL_RUNS, measureOnce, prepare } from './measure.ts'
import { Populations } from './population.ts'
import { verify } from './verify.ts'

const { values } = parseArgs({
  options: {
    cases: { type: 'string' },
    services: { type: 'string', default: '10' },
    layout: { type: 'string', default: 'fixed' },
    rounds: { type: 'string', default: '7' },
    objects: { type: 'string', multiple: true, default: [] },
  },
})

function allCases(): Case[] {
  if (values.layout === 'spread') return casesAtSize('spread')
  const known = (['TCP', 'UDP'] as const).flatMap((protocol) =>
    knownFlows(protocol, [FLOWS.one, FLOWS.few, FLOWS.many]),
  )
  const fresh = (['TCP', 'UDP'] as const).flatMap((protocol) => [
    ...newFlows(protocol, 'room', FLOWS.many),
    ...newFlows(protocol, 'full', FLOWS.many),
  ])
  return [...known, ...fresh, ...statelessPackets()]
}

const say = (line: string) => void process.stdout.write(`${line}\n`)

function valueText(samples: readonly number[]): string {
  const { median, lowest, highest } = summarize(samples)
  return `${median.toFixed(1)} [${lowest}–${highest}]`.padStart(20)
}

async function compare(cases: readonly Case[], undo: UndoStack): Promise<void> {
  const driver = new Driver()
  undo.push(() => driver.close())
  const contestants = values.objects.length > 0 ? values.objects : [undefined]
  const sizes = values.services.split(',').map(Number)
  for (const services of sizes) {
    const beds = contestants.map((objects) => {
      const bed = new Bed({ services, objects, settings: SETTINGS_AT_SIZE })
      undo.push(() => bed.close())
      return new Populations(bed, driver)
    })
    const measurements = new Map<string, Measurement>()
    for (const of of cases)
      for (const [index, populations] of beds.entries()) {
        const unplaced = verify(of, populations)
        if (unplaced > 0) say(`${of.id}: ${(unplaced * 100).toFixed(2)} % of the flows found no place`)
        const prepared = prepare(of, populations)
        measurements.set(`${of.id}/${index}`, () =>
          setImmediate().then(() => measureOnce(prepared, FULL_RUNS)),
        )
      }
    const measured = await interleave(measurements, Number(values.rounds))
    say(`\n${services} Services; ns a packet net of the driver, median [lowest–highest]`)
    for (const { id } of cases)
      say(
        lineOf(
          id,
          contestants.map((_, index) => measured.get(`${id}/${index}`) ?? []),
        ),
      )
  }
}

/** A contestant a column, and what each is of the first, round by round. */
function lineOf(id: string, contestants: readonly (readonly number[])[]): string {
  const [first = []] = contestants
  const ratios = contestants.slice(1).map((samples) => {
    const { median, lowest, highest } = summarize(
      samples.map((value, round) => value / (first[round] ?? Number.NaN)),
    )
    return `  ×${median.toFixed(3)} [${lowest.toFixed(2)}–${highest.toFixed(2)}]`
  })
  return `${id.padEnd(48)}${contestants.map(valueText).join('')}${ratios.join('')}`
}

const undo = new UndoStack()
undo.onSignals()
try {
  const pattern = values.cases === undefined ? undefined : new RegExp(values.cases)
  const cases = allCases().filter(({ id }) => pattern?.test(id) ?? true)
  if (pattern) await compare(cases, undo)
  else for (const { id } of cases) say(id)
} finally {
  await undo.run()
}
