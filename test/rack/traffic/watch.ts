// Whether flows go on: asked of everybody who sends some.

import type { Bed } from '../conformance/bed.ts'
import type { FlowReport } from './client.ts'
import type { Traffic } from './traffic.ts'

export async function reportsOf(running: readonly Traffic[]): Promise<FlowReport[]> {
  return (await Promise.all(running.map((one) => one.report()))).flat()
}

export function idOf({ protocol, address, localPort }: FlowReport): string {
  return `${protocol} ${address} ${localPort}`
}

export interface Watched {
  /** As they were last. */
  readonly flows: readonly FlowReport[]
  readonly isAnsweredSince: (flow: FlowReport) => boolean
}

/** Waits until all flows have begun and every one that must hold is answered after now, or the time is over; what came of it is for the test to judge. */
export async function watchFlows(
  bed: Pick<Bed, 'until'>,
  running: readonly Traffic[],
  { mustHold = () => true, withinMs }: { mustHold?: (flow: FlowReport) => boolean; withinMs?: number } = {},
): Promise<Watched> {
  const before = new Map((await reportsOf(running)).map((flow) => [idOf(flow), flow.answered]))
  let flows: FlowReport[] = []
  const isAnsweredSince = (flow: FlowReport) => flow.answered > (before.get(idOf(flow)) ?? 0)
  const wanted = running.reduce((sum, one) => sum + one.flows, 0)
  const areAnswered = async () => {
    flows = await reportsOf(running)
    return flows.length >= wanted && flows.filter(mustHold).every(isAnsweredSince)
  }
  await bed.until('answers', areAnswered, withinMs).catch(() => {})
  return { flows: flows.filter(mustHold), isAnsweredSince }
}
