// The family of figures of the control plane: what the agent costs at size, from the API server's objects to the kernel's maps.

import { existsSync } from 'node:fs'
import type { Effort, Family, Measured } from '../frame/figure.ts'
import { GOBGPD, gobgpdVersion } from './bed.ts'
import { type ClusterSize, sizeName } from './cluster.ts'
import { measureRound, type Pains, type RoundFigures } from './measure.ts'
import { figuresOf, TABLES } from './rows.ts'

/** A round is an API server filled anew and a fresh agent, and takes a minute. */
const ROUNDS_MAX = 3
const QUICK_ROUNDS_MAX = 2
/** Kubernetes supports no more, and the slot array has room for about 12 000 ports that are spread by Maglev. */
const SERVICES_MAX = 10_000
const USUAL = { endpoints: 10, nodes: 100, external: 100 } as const
/** The largest cluster that Kubernetes supports, with as many load balancers as such a cluster may have. */
const LARGEST: ClusterSize = { services: SERVICES_MAX, endpoints: 15, nodes: 5000, external: 10 }

const FULL: Pains = { changes: 500, burst: 1000, settleMs: 10_000, idleMs: 20_000 }
const QUICK: Pains = { changes: 200, burst: 1000, settleMs: 3000, idleMs: 10_000 }

const ABOUT = `A real agent in a network namespace of its own, with the real programs and pinned maps, gobgpd without peers, and the
embedded API server in a process of its own, over TLS. Objects are as heavy as real ones. Every Service has one port, a ClusterIP and,
where nothing else is said, a load-balancer address (so a Maglev table) and ten endpoints. A round begins with empty maps and a fresh
agent; when the sync is over, every Service, frontend and backend is looked for in the pinned maps.

A change turns the readiness of one endpoint over. Its time runs from the moment the API server hands the event to its watches (encoding
and encryption are in it) until another process finds the new table of slots in the pinned map; a pause before each lets the agent come to
rest. A round is of ${FULL.changes} such changes, of which p50 and p99 are taken. All three processes share the machine's cores, so what the
agent's main thread waited for one is told beside it. "Without giving way" is processor time of that thread between two ticks of
a timer of 1 ms; the delay of a timer also holds what the thread waited for in the kernel (attaching a program to a device: 10 to 30 ms), and
what others did on the cores meanwhile; both are held against the same bar. Memory is what is anonymous (RssAnon); mapped
maps are the kernel's. At rest is without any change, and with what the agent does of its own accord.`

async function measure(effort: Effort): Promise<Measured> {
  const { sizes, remarks } = sizesFor(effort)
  const pains = effort.isQuick ? QUICK : FULL
  const measured = new Map<ClusterSize, RoundFigures[]>(sizes.map((size) => [size, []]))
  const rounds = Math.min(effort.rounds, effort.isQuick ? QUICK_ROUNDS_MAX : ROUNDS_MAX)
  for (let round = 0; round < rounds; round += 1)
    for (const size of round % 2 === 0 ? sizes : sizes.toReversed()) {
      effort.say(`round ${round + 1} of ${rounds}: ${sizeName(size)}`)
      measured.get(size)?.push(await measureRound(size, pains, effort))
    }
  return {
    figures: figuresOf(measured),
    plots: [
      {
        table: TABLES.sync,
        file: 'control-sync',
        abscissa: 'Services of ten endpoints',
        scale: 'logarithmic',
      },
      {
        table: TABLES.change,
        file: 'control-change',
        abscissa: 'Services of ten endpoints',
        scale: 'linear',
      },
    ],
    repeated: `${rounds} rounds`,
    remarks,
    versions: gobgpdVersion(),
  }
}

function sizesFor({ services, isQuick }: Effort): { sizes: ClusterSize[]; remarks: string[] } {
  const remarks: string[] = []
  const counts = services.filter((count) => count <= SERVICES_MAX)
  const left = services.filter((count) => count > SERVICES_MAX)
  if (left.length > 0)
    remarks.push(
      `Not measured at ${left.join(' and ')} Services: Kubernetes supports ${SERVICES_MAX}, and the slot array as shipped has room ` +
        'for about 12 000 Maglev tables.',
    )
  if (!existsSync(GOBGPD)) remarks.push(`There is no ${GOBGPD}: nothing was announced.`)
  const sizes: ClusterSize[] = counts.map((count) => ({ services: count, ...USUAL }))
  if (counts.includes(SERVICES_MAX) && !isQuick) sizes.push(LARGEST)
  return { sizes, remarks }
}

export const controlFamily: Family = {
  name: 'control',
  title: 'The control plane: from objects to the kernel',
  about: ABOUT,
  measure,
}
