// From a write to the API server to the kernels of both ToRs: one VIP, and all of them at once.

import { setTimeout as sleep } from 'node:timers/promises'
import { nodeName, OWN_NODE, serviceName, sliceOf } from '../control/cluster.ts'
import type { Effort } from '../frame/figure.ts'
import { FibWatch } from './fib-watch.ts'
import { VipBed, type Write } from './vip-bed.ts'

const EXCLUDED = 'node.kubernetes.io/exclude-from-external-load-balancers'
const VIP_PATTERN = /^10\.11[2-5]\./
/** Sessions take up to ten seconds to come up, and ten thousand Services some more. */
const COLD_MS = 90_000
const CHANGE_MS = 20_000
/** Between measurements: what was begun is done with. */
const PAUSE_MS = 150
const BULK_PAUSE_MS = 500

/** Milliseconds, a value a repetition. */
export interface VipTimes {
  readonly ready: Times
  readonly gone: Times
  readonly allOn: Times
  readonly allOff: Times
}

export interface Times {
  readonly both: number[]
  readonly FRR: number[]
  readonly BIRD: number[]
}

const noTimes = (): Times => ({ both: [], FRR: [], BIRD: [] })

export interface VipPains {
  readonly services: number
  readonly repetitions: number
  readonly bulkRepetitions: number
}

export async function measureVips(
  pains: VipPains,
  { say, defer }: Pick<Effort, 'say' | 'defer'>,
): Promise<VipTimes> {
  const bed = new VipBed()
  defer(() => bed.close())
  const watches: FibWatch[] = []
  try {
    const size = {
      services: pains.services,
      endpoints: 1,
      nodes: 1,
      external: 100,
      externalPolicy: 'Local',
    } as const
    const write = await bed.start(size)
    for (const tor of bed.tors)
      watches.push(
        await FibWatch.open(tor.namespace, (text) => VIP_PATTERN.test(text) && text.endsWith('/32')),
      )
    bed.startAgent()
    const [frr, bird] = watches
    if (!frr || !bird) throw new TypeError('two routers have two tables')
    const scene: Scene = { frr, bird, write, services: pains.services }
    await reach(scene, pains.services, 'the first announcement of everything', COLD_MS)
    say(`  both routers hold ${pains.services} VIPs`)
    await sleep(BULK_PAUSE_MS)
    return await measureOn(scene, pains, say)
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error)
    throw new Error(`${what}\nagent: ${bed.log('agent')}\ngobgpd: ${bed.log('gobgpd')}`, { cause: error })
  } finally {
    for (const watch of watches) watch.close()
    await bed.close()
  }
}

interface Scene {
  readonly frr: FibWatch
  readonly bird: FibWatch
  readonly write: Write
  readonly services: number
}

async function measureOn(scene: Scene, pains: VipPains, say: (line: string) => void): Promise<VipTimes> {
  const times = { ready: noTimes(), gone: noTimes(), allOn: noTimes(), allOff: noTimes() }
  for (let index = 0; index < pains.repetitions; index += 1) {
    const service = (index * 7919) % pains.services
    await timed(scene, times.gone, pains.services - 1, () => setReady(scene, service, false))
    await sleep(PAUSE_MS)
    await timed(scene, times.ready, pains.services, () => setReady(scene, service, true))
    await sleep(PAUSE_MS)
  }
  say(`  one VIP: ${pains.repetitions} times there and back`)
  for (let index = 0; index < pains.bulkRepetitions; index += 1) {
    await timed(scene, times.allOff, 0, () => setExcluded(scene, true))
    await sleep(BULK_PAUSE_MS)
    await timed(scene, times.allOn, pains.services, () => setExcluded(scene, false))
    await sleep(BULK_PAUSE_MS)
  }
  if (pains.bulkRepetitions > 0) say(`  all of them: ${pains.bulkRepetitions} times`)
  return times
}

/** Both tables hold so many VIPs. @returns when each did */
async function reach(
  { frr, bird }: Scene,
  count: number,
  what: string,
  withinMs: number,
): Promise<[bigint, bigint]> {
  const wait = (watch: FibWatch, name: string) =>
    watch.until(({ size }) => size === count, `${what}: ${count} VIPs in ${name}'s kernel`, withinMs)
  return await Promise.all([wait(frr, 'FRR'), wait(bird, 'BIRD')])
}

async function timed(scene: Scene, times: Times, count: number, act: () => Promise<bigint>): Promise<void> {
  const done = reach(scene, count, 'after a change', CHANGE_MS)
  const beganNs = await act()
  const [frrNs, birdNs] = await done
  const FRR = Number(frrNs - beganNs) / 1e6
  const BIRD = Number(birdNs - beganNs) / 1e6
  times.FRR.push(FRR)
  times.BIRD.push(BIRD)
  times.both.push(Math.max(FRR, BIRD))
}

function setReady({ write }: Scene, service: number, ready: boolean): Promise<bigint> {
  const { namespace } = serviceName(service)
  const { name, index } = sliceOf(service, 0)
  return write({
    path: `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices/${name}`,
    patch: [{ op: 'replace', path: `/endpoints/${index}/conditions/ready`, value: ready }],
  })
}

/** Every VIP of the node at once, by the one label that KEP-1143 gives for it. */
function setExcluded({ write }: Scene, isExcluded: boolean): Promise<bigint> {
  const path = `/metadata/labels/${EXCLUDED.replaceAll('/', '~1')}`
  const patch = isExcluded ? { op: 'add', path, value: '' } : { op: 'remove', path }
  return write({ path: `/api/v1/nodes/${nodeName(OWN_NODE)}`, patch: [patch] })
}
