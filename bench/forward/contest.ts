// Everything that is compared, set up and alive together, so that it can be measured in turns: each contestant at each number of Services in a
// bed of its own.

import { setImmediate as turn } from 'node:timers/promises'
import { type BenchService, benchServices } from '../bed/cluster.ts'
import { raiseConntrack } from '../bed/conntrack.ts'
import {
  bareRedirect,
  type Contestant,
  iptablesMode,
  nftablesMode,
  plainForwarding,
  weir,
} from '../bed/contestants.ts'
import type { Generator } from '../bed/generator.ts'
import { type Bed, makeBed } from '../bed/topology.ts'
import type { WeirNode } from '../bed/weir-node.ts'
import type { Effort } from '../frame/figure.ts'
import type { Side } from './cases.ts'
import type { Way } from './verify.ts'

/** Beyond, nft needs longer to load than anybody waits. */
const RIVALS_SERVICES_MAX = 10_000
const CONNTRACK = { max: 1 << 22, buckets: 1 << 20 } as const

export interface Entry {
  readonly title: string
  /** Number of Services; undefined: it has none. */
  readonly size: number | undefined
  readonly contestant: Contestant & { readonly node?: WeirNode }
  readonly ways: Partial<Readonly<Record<Side, Way>>>
}

export interface Contest {
  readonly entries: readonly Entry[]
  /** Those with a load-balancer address, by the number of all. */
  readonly external: ReadonlyMap<number, readonly BenchService[]>
}

const MASQUERADING = 'Weir XDP, masquerading'

type Maker = (
  bed: Bed,
  size: number,
  services: readonly BenchService[],
) => Entry['contestant'] | Promise<Entry['contestant']>

const WEIR_XDP: Maker = (bed, size) => weir(bed, { hook: 'xdp', size, protocol: 'udp', forwarding: 'dsr' })
const WEIR_TC: Maker = (bed, size) => weir(bed, { hook: 'tc', size, protocol: 'udp', forwarding: 'dsr' })
const WEIR_SNAT: Maker = (bed, size) => ({
  ...weir(bed, { hook: 'xdp', size, protocol: 'udp', forwarding: 'snat' }),
  title: MASQUERADING,
})

export async function openContest(effort: Effort, generator: Generator): Promise<Contest> {
  raiseConntrack(CONNTRACK, effort)
  const entries: Entry[] = []
  const external = new Map<number, readonly BenchService[]>()
  const enter = async (
    name: string,
    size: number | undefined,
    ways: Entry['ways'],
    make: (bed: Bed) => ReturnType<Maker>,
  ) => {
    const bed = makeBed(name, 'n2')
    effort.defer(() => bed.close())
    const links = generator.attach(bed)
    effort.defer(() => {
      for (const link of links) link.close()
    })
    const contestant = await make(bed)
    effort.defer(() => contestant.close())
    // Setting up blocks the event loop: here signals are heard.
    await turn()
    entries.push({ title: contestant.title, size, contestant, ways })
    if (contestant.loadMs > 0)
      effort.say(
        `${contestant.title}, ${size} Services: loaded in ${(contestant.loadMs / 1000).toFixed(2)} s`,
      )
  }
  const smallest = effort.services[0]
  const plain = { local: 'translated', leaving: 'untouched' } as const
  await enter('plain', smallest, plain, plainForwarding)
  await enter('bare', smallest, plain, (bed) => bareRedirect(bed, generator.attachReflection(bed)))
  for (const size of effort.services) {
    const hasRivals = size <= RIVALS_SERVICES_MAX
    const services = hasRivals ? [...benchServices(size, 'udp')] : []
    external.set(size, externalOf(hasRivals ? services : benchServices(size, 'udp')))
    const add = (name: string, ways: Entry['ways'], make: Maker) =>
      enter(`${name}${size}`, size, ways, (bed) => make(bed, size, services))
    await add('x', { local: 'tunnelled', leaving: 'tunnelled' }, WEIR_XDP)
    if (!hasRivals) continue
    await add('t', { local: 'tunnelled', leaving: 'tunnelled' }, WEIR_TC)
    await add('s', { leaving: 'masqueraded' }, WEIR_SNAT)
    await add('i', { local: 'translated', leaving: 'masqueraded' }, (bed) => iptablesMode(bed, services))
    await add('n', { local: 'translated', leaving: 'masqueraded' }, (bed) => nftablesMode(bed, services))
  }
  return { entries, external }
}

function externalOf(services: Iterable<BenchService>): BenchService[] {
  const chosen: BenchService[] = []
  for (const service of services) if (service.loadBalancerIp !== undefined) chosen.push(service)
  return chosen
}
