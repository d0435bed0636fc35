// Before anything is timed: packets arrive, all of them, as they should look, and Weir counted them as what they are.

import { NODE_ADDRESS } from '../bed/cluster.ts'
import type { Contestant } from '../bed/contestants.ts'
import type { Generator, Traffic } from '../bed/generator.ts'
import { DEVICES } from '../bed/topology.ts'
import type { WeirNode } from '../bed/weir-node.ts'
import type { Side } from './cases.ts'
import { type Expected, wrongWith } from './frame-check.ts'

const PACKETS = 4096
const CLIENTS = '198.18.0.0/15'

/** What reached its end, among what was sent. */
export const delivered = ({ counts }: { counts: { toPod: number; toTunnel: number } }): number =>
  counts.toPod + counts.toTunnel

/** How a contestant sends packets on. */
export type Way = 'translated' | 'masqueraded' | 'tunnelled' | 'untouched'

function expectedOf(side: Side, way: Way): Expected {
  if (side === 'local') return { mac: DEVICES.b0.mac, source: CLIENTS, destination: '10.244.0.0/24' }
  const { mac } = DEVICES.f0
  if (way === 'tunnelled')
    return {
      mac,
      source: NODE_ADDRESS,
      destination: '172.20.0.0/24',
      inside: { source: CLIENTS, destination: '192.0.2.0/24' },
    }
  const source = way === 'masqueraded' ? NODE_ADDRESS : CLIENTS
  return { mac, source, destination: '10.244.0.0/16' }
}

const REASON_OF: Readonly<Record<Side, Readonly<Record<'tunnelled' | 'masqueraded', string>>>> = {
  local: { tunnelled: 'TO_LOCAL', masqueraded: 'TO_LOCAL' },
  leaving: { tunnelled: 'TO_REMOTE', masqueraded: 'TO_REMOTE_SNAT' },
}

/** @throws when a packet was lost, changed wrongly, or counted as something else */
export function verify(
  generator: Generator,
  contestant: Contestant & { readonly node?: WeirNode },
  side: Side,
  way: Way,
  traffic: Traffic,
): void {
  const fail = (why: string): never => {
    throw new Error(`${contestant.title}, ${contestant.bed.name}, packets ${side}: ${why}`)
  }
  generator.select(traffic)
  let before: Record<string, number> = {}
  const read = () => {
    before = contestant.node?.counted() ?? {}
  }
  read()
  const { window, frame } = generator.sample(contestant.bed, PACKETS, read)
  if (delivered(window) !== PACKETS) fail(`of ${PACKETS} came ${JSON.stringify(window.counts)}`)
  const wrong = wrongWith(frame, expectedOf(side, way))
  if (wrong !== undefined) fail(`${wrong} (${frame.toString('hex')})`)
  if (contestant.node && (way === 'tunnelled' || way === 'masqueraded')) {
    const reason = REASON_OF[side][way]
    const counted = (contestant.node.counted()[reason] ?? 0) - (before[reason] ?? 0)
    if (counted !== PACKETS) fail(`${counted} of ${PACKETS} were counted as ${reason}`)
  }
}
