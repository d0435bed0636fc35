// The family of figures of routing: how soon routers hear what changes, and what clients notice when something of it goes.

import { existsSync } from 'node:fs'
import { GOBGPD, gobgpdVersion } from '../control/bed.ts'
import type { Effort, Family, Figure, Measured } from '../frame/figure.ts'
import { numberText } from '../frame/grid.ts'
import { type DisturbancePains, type DisturbanceTimes, measureDisturbances } from './disturbances.ts'
import { measureVips, type Times, type VipTimes } from './vips.ts'

/** Medians are of so many at least. */
const REPETITIONS_MIN = 20
const REPETITIONS_PER_ROUND = 3
const VIPS_MAX = 10_000
const BAR_ALL_MS = 4_000
const BAR_BLACKHOLE_MS = 1_000
const RACK_VIPS = 200
const RACK_VIPS_QUICK = 5
/** Half a minute each. */
const LOSS_REPETITIONS = 3
/** New connections a second. A quick run shows that all of it works, also on a machine with other work. */
const REQUESTS = 1_000
const REQUESTS_QUICK = 100

const ABOUT = `**One node between two ToRs**, each in a network namespace of its own: FRR (zebra, bgpd) and BIRD, configured as
\`weir bgp router-config\` prints it; the real agent, gobgpd under its supervisor with its fail-closed boot file, and the embedded API server
over TLS. Every Service is of type LoadBalancer with externalTrafficPolicy Local and one endpoint on the node. The time begins before the
write to the API server (of the EndpointSlice's readiness; of the Node's label
\`node.kubernetes.io/exclude-from-external-load-balancers\` for all VIPs at once) and ends when the kernel of the router's namespace tells, by
netlink, that the route is in its table, or no more. Hold-down, damping and the pace of changes, which hold
changes back on purpose, are off. FRR waits 50 ms before it chooses paths and 10 ms before it tells zebra; that is in its figures.

**A rack of two nodes**, as \`weir sandbox up\` makes it, with clients behind the spine. A client asks one VIP over new connections, 500 a second,
when a link between a node and a ToR begins to lose every frame and keeps its carrier; a request that is not answered within 250 ms met it. The
time of the last such request is told, from the fault and from the first; BFD runs at 250 ms × 3. While a link recovers, one of the other node and
the other ToR is measured. Lost requests are counted at 1 000 new connections a second, in runs in which
the agent of one of the two nodes is killed and started again, gobgpd is killed (and its supervisor starts it), or the node is drained and
undrained: every request not answered within two seconds counts. A drain begins with its request to the agent and
has an effect when the kernels of both ToRs send nothing to the node any more; it ends after a second without traffic, when VIPs are withdrawn.`

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
  const vips = effort.isQuick ? RACK_VIPS_QUICK : RACK_VIPS
  effort.say(`a rack with ${vips} VIPs`)
  const lossRepetitions = effort.isQuick ? 1 : LOSS_REPETITIONS
  const requestsPerSecond = effort.isQuick ? REQUESTS_QUICK : REQUESTS
  const pains = { vips, repetitions, lossRepetitions, requestsPerSecond }
  const times = await measureDisturbances(pains, effort)
  figures.push(...disturbanceFigures(pains, times))
  const repeated = `${repetitions} repetitions, ${lossRepetitions} of what counts lost requests`
  const remarks = times.repeated.map((seen) => `A window of requests was repeated: ${seen}.`)
  return { figures, plots: [], repeated, remarks, versions: gobgpdVersion() }
}

/** The fewest and the most: what is between tells nothing more. */
function sizesFor({ services }: Effort): number[] {
  const possible = services.filter((count) => count <= VIPS_MAX)
  const [fewest, most] = [possible[0], possible.at(-1)]
  return [...new Set([fewest, most])].filter((count) => count !== undefined)
}

function vipFigures(services: number, { ready, gone, allOn, allOff }: VipTimes): Figure[] {
  const column = `${numberText(services)} VIPs`
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

function disturbanceFigures(
  { vips, requestsPerSecond }: DisturbancePains,
  times: DisturbanceTimes,
): Figure[] {
  const drains = {
    'drain → kernels of both ToRs send nothing to the node': times.marked,
    'drain → VIPs withdrawn': times.drained,
    'undrain → kernels of both ToRs send to the node again': times.undrained,
  }
  const blackholes = {
    'fault → last request lost': times.blackhole.fromFault,
    'first request lost → last request lost': times.blackhole.fromFirst,
  }
  const losses = {
    'agent killed, another started': times.lost.agent,
    'gobgpd killed': times.lost.gobgpd,
    'node drained and undrained': times.lost.drain,
  }
  return [
    ...Object.entries(blackholes).map(([row, samples]) => ({
      table: 'A link that loses every frame',
      row,
      column: '500 requests/s',
      unit: 'ms',
      samples,
      bound: { sense: 'at most', must: BAR_BLACKHOLE_MS } as const,
    })),
    ...Object.entries(drains).map(([row, samples]) => ({
      table: 'A node is drained',
      row,
      column: `${vips} VIPs`,
      unit: 'ms',
      samples,
    })),
    ...Object.entries(losses).map(([row, samples]) => ({
      table: 'Requests lost',
      row,
      column: `${numberText(requestsPerSecond)} requests/s`,
      unit: 'requests',
      samples,
      bound: { sense: 'at most', must: 0 } as const,
    })),
  ]
}

export const routingFamily: Family = {
  name: 'routing',
  title: 'Routing: what the ToRs hear, and when',
  about: ABOUT,
  measure,
}
