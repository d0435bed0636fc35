// The family of figures of routing: how soon routers hear what changes, and what clients notice when something of it goes.

import { existsSync } from 'node:fs'
import { GOBGPD, gobgpdVersion } from '../control/bed.ts'
import type { Effort, Family, Figure, Measured } from '../frame/figure.ts'
import { measureVips, type Times, type VipTimes } from './vips.ts'

/** Medians are of so many at least. */
const REPETITIONS_MIN = 20
const REPETITIONS_PER_ROUND = 3
const VIPS_MAX = 10_000
const BAR_ALL_MS = 4_000

const ABOUT = `**One node between two ToRs**, each in a network namespace of its own: FRR (zebra, bgpd) and BIRD, configured as
\`weir bgp router-config\` prints it; the real agent, gobgpd under its supervisor with its fail-closed boot file, and the embedded API server
over TLS. Every Service is of type LoadBalancer with externalTrafficPolicy Local and one endpoint on the node. The time begins before the
write to the API server (of the EndpointSlice's readiness; of the Node's label
\`node.kubernetes.io/exclude-from-external-load-balancers\` for all VIPs at once) and ends when the kernel of the router's namespace tells, by
netlink, that the route is in its table, or no more. Hold-down, damping and the pace of changes, which hold
changes back on purpose, are off. FRR waits 50 ms before it chooses paths and 10 ms before it tells zebra; that is in its figures.`

async function measure(effort: Effort): Promise<Measured> {
  if (!existsSync(GOBGPD))
    return { figures: [], plots: [], remarks: [`There is no ${GOBGPD}: nothing was measured.`], versions: {} }
  const repetitions = effort.isQuick
    ? effort.rounds
    : Math.max(REPETITIONS_MIN, effort.rounds * REPETITIONS_PER_ROUND)
  const figures: Figure[] = []
  const sizes = sizesFor(effort)
  for (const services of sizes) {
    effort.say(`${services} VIPs`)
    const pains = { services, repetitions, bulkRepetitions: services === sizes.at(-1) ? repetitions : 0 }
    figures.push(...vipFigures(services, await measureVips(pains, effort)))
  }
  return { figures, plots: [], remarks: [], versions: gobgpdVersion() }
}

/** The fewest and the most: what is between tells nothing more. */
function sizesFor({ services }: Effort): number[] {
  const possible = services.filter((count) => count <= VIPS_MAX)
  const [fewest, most] = [possible[0], possible.at(-1)]
  return [...new Set([fewest, most])].filter((count) => count !== undefined)
}

function vipFigures(services: number, { ready, gone, allOn, allOff }: VipTimes): Figure[] {
  const column = `${services.toLocaleString('en').replaceAll(',', ' ')} VIPs`
  const rows = (table: string, what: string, times: Times, must?: number): Figure[] =>
    (['both', 'FRR', 'BIRD'] as const).map((router) => ({
      table,
      row: `${what} ${router === 'both' ? 'both' : router}`,
      column,
      unit: 'ms',
      samples: times[router],
      ...(router === 'both' && must !== undefined ? { bound: { sense: 'at most', must } as const } : {}),
    }))
  return [
    ...rows('One VIP', 'endpoint ready → route in the kernels of', ready),
    ...rows('One VIP', 'endpoint gone → no route in the kernels of', gone),
    ...(allOn.both.length === 0
      ? []
      : [
          ...rows('All VIPs at once', 'from none to all, in the kernels of', allOn, BAR_ALL_MS),
          ...rows('All VIPs at once', 'from all to none, in the kernels of', allOff),
        ]),
  ]
}

export const routingFamily: Family = {
  name: 'routing',
  title: 'Routing: what the ToRs hear, and when',
  about: ABOUT,
  measure,
}
