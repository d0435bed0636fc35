// One packet through weir_uplink_xdp: verdict, every byte of what comes out, and the one reason counted.

import type { Test } from 'tap'
import type { Frame } from './packet.ts'
import { type World, XDP } from './world.ts'

export type Assertions = Pick<Test, 'equal' | 'same'>

export interface Case {
  readonly name: string
  readonly sent: Frame
  readonly verdict: number
  /** Absent: the packet is dropped, or left as it was. */
  readonly out?: Frame | undefined
  /** The one reason counted. */
  readonly reason: number
}

export function runUplink(world: World, bytes: Uint8Array) {
  return world.datapath.uplink.xdp.testRun({ data: bytes, dataOutBytes: 12_000 })
}

export function checkCase(world: World, test: Assertions, { name, sent, verdict, out, reason }: Case): void {
  const before = world.metrics()
  const result = runUplink(world, sent.bytes())
  test.equal(result.returnValue, verdict, `${name}: verdict`)
  if (verdict !== XDP.DROP) test.equal(hex(result.dataOut), hex((out ?? sent).bytes()), `${name}: bytes`)
  test.same(countedSince(world, before), { [reason]: 1 }, `${name}: counted`)
}

/** Packets by reason. */
export function countedSince(world: World, before: ReadonlyMap<number, number>): Record<number, number> {
  const counted: Record<number, number> = {}
  for (const [reason, packets] of world.metrics()) {
    const more = packets - (before.get(reason) ?? 0)
    if (more > 0) counted[reason] = more
  }
  return counted
}

/** Packets of this reason that the action brings. */
export function countWhile(world: World, reason: number, act: () => void): number {
  const before = world.metrics()
  act()
  return countedSince(world, before)[reason] ?? 0
}

/** Of all entries of the flow table, in order. */
export function flowKinds(world: World): number[] {
  return world
    .flows()
    .map(({ kind }) => kind)
    .sort()
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
