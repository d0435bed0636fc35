// How full the tables are that can be full: for status, metrics and warnings. One row per knob or fixed limit.

import type { Capacity } from './load.ts'

export interface MapFill {
  /** Name in bpf/maps.h. */
  readonly map: string
  readonly used: number
  /** In the unit of `used`: entries, or slots. */
  readonly capacity: number
  /** The configuration key that changes it, below `datapath.capacities`; undefined: fixed in bpf/maps.h. */
  readonly knob: Capacity | undefined
}

/** Maps of the same size that hold the rest of a table's rows, by the map that its fill is told of. */
const COMPANIONS: Readonly<Record<string, readonly string[]>> = {
  frontends: ['frontend_addresses', 'frontend_filter'],
  backends: ['backend_ids'],
  flows: ['flow_details'],
}

/** Kernel memory of a table with all its maps. @param memory bytes by map */
export function tableBytes(map: string, memory: ReadonlyMap<string, number>): number {
  return [map, ...(COMPANIONS[map] ?? [])].reduce((sum, name) => sum + (memory.get(name) ?? 0), 0)
}

/** From here on a table counts as nearly full. */
export const NEARLY_FULL = 0.8

export function isNearlyFull({ used, capacity }: MapFill): boolean {
  return used >= capacity * NEARLY_FULL
}

/** `slots is 83 % full (3.5 M of 4.2 M); raise datapath.capacities.slots and restart the agent` */
export function describeFill({ map, used, capacity, knob }: MapFill): string {
  const mend =
    knob === undefined
      ? 'its size is fixed in bpf/maps.h'
      : `raise datapath.capacities.${knob} and restart the agent`
  return `${map} is ${percent(used, capacity)} % full (${used} of ${capacity}); ${mend}`
}

export function percent(used: number, capacity: number): number {
  return capacity === 0 ? 0 : Math.floor((used * 100) / capacity)
}
