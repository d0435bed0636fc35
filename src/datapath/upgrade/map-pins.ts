// Where maps are pinned, and which pin is the one in force.
//
//   <bpffs>/maps/<name>_v<version>_<entries>
//
// Version and capacity are part of the name, so that no other layout is ever read as ours, and a map of another layout or size
// stands beside the new one until everything has moved (see migration.ts). In force is the map that attached programs use; the
// file system alone cannot tell, for a process may be killed between any two steps:
//
//   ours is there, and used, or nothing else is          ours
//   ours is there, unused, another one is used            what an aborted move left: removed and begun again
//   ours is there, unused, and so are others              the same
//   only others are there                                 the used one, else the highest version, is what we move from

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { BpfLink, BpfMap, BpfProgram, unpin } from '../../sys/libbpf-ts/index.ts'
import { MapVersion } from '../abi.gen.ts'

/** The suffix of pins made before capacities were part of the name may lack the entries. */
const PIN = /^(?<name>.+)_v(?<version>\d+)(?:_(?<entries>\d+))?$/
/** Classifiers have no link: attach.ts marks their devices by a pin of the program. */
const PROGRAM_PIN = /^clsact_/

export interface EarlierMap {
  readonly path: string
  readonly version: number
  readonly mapId: number
}

export interface PinPlan {
  /** Where load() finds or pins ours. */
  readonly path: string
  /** Ours is new: its rows come from `source`. */
  readonly source: EarlierMap | undefined
  /** Everything else of this name; goes when programs have moved. */
  readonly earlier: readonly EarlierMap[]
}

/** The version of a map's layout in this build. */
export function mapVersion(name: string): number {
  const versions: Readonly<Record<string, number>> = MapVersion
  const version = versions[`MAP_VERSION_${name.toUpperCase()}`]
  if (version !== undefined) return version
  throw new TypeError(`map ${name} has no MAP_VERSION_${name.toUpperCase()} in bpf/abi/config.h`)
}

function mapPin(bpffs: string, name: string, entries: number): string {
  return join(bpffs, 'maps', `${name}_v${mapVersion(name)}_${entries}`)
}

/** Of one row for ever, so its capacity is not part of the name. */
export function secretPin(bpffs: string): string {
  return join(bpffs, 'maps', `secrets_v${mapVersion('secrets')}`)
}

export class MapPins {
  readonly #bpffs: string
  readonly #found = new Map<string, EarlierMap[]>()
  readonly #used: ReadonlySet<number>
  readonly #plans = new Map<string, PinPlan>()

  /** Reads what is pinned and attached now. */
  constructor(bpffs: string) {
    this.#bpffs = bpffs
    this.#used = attachedMapIds(join(bpffs, 'links'))
    for (const file of readdirSync(join(bpffs, 'maps'))) {
      const { name, version } = PIN.exec(file)?.groups ?? {}
      if (name === undefined || version === undefined) continue
      const path = join(bpffs, 'maps', file)
      const map = BpfMap.openPinned(path)
      const known = this.#found.get(name) ?? []
      this.#found.set(name, [...known, { path, version: Number(version), mapId: map.info.id }])
      map.close()
    }
  }

  /** Decides, once per map, and removes what an aborted move left. */
  plan(name: string, entries: number): PinPlan {
    const known = this.#plans.get(name)
    if (known) return known
    const path = name === 'secrets' ? secretPin(this.#bpffs) : mapPin(this.#bpffs, name, entries)
    const found = this.#found.get(name) ?? []
    const ours = found.find((map) => map.path === path)
    const earlier = found.filter((map) => map !== ours)
    const isInForce = ours !== undefined && this.#isInForce(ours, earlier)
    if (ours && !isInForce) unpin(ours.path)
    const plan = { path, source: isInForce ? undefined : this.#sourceOf(earlier), earlier }
    this.#plans.set(name, plan)
    return plan
  }

  get plans(): ReadonlyMap<string, PinPlan> {
    return this.#plans
  }

  /** A map that no attached program uses tells nothing itself; then the switch shows in any newer one that is used. */
  #isInForce(ours: EarlierMap, earlier: readonly EarlierMap[]): boolean {
    if (earlier.length === 0 || this.#used.has(ours.mapId)) return true
    if (earlier.some(({ mapId }) => this.#used.has(mapId))) return false
    return [...this.#used].some((mapId) => mapId >= ours.mapId)
  }

  #sourceOf(earlier: readonly EarlierMap[]): EarlierMap | undefined {
    const used = earlier.find((map) => this.#used.has(map.mapId))
    return used ?? [...earlier].sort((a, b) => b.version - a.version)[0]
  }
}

/** Maps that the programs on our pinned links use. */
function attachedMapIds(directory: string): ReadonlySet<number> {
  const ids = new Set<number>()
  for (const pin of readdirOrNone(directory)) {
    const program = PROGRAM_PIN.test(pin)
      ? BpfProgram.openPinned(join(directory, pin))
      : programOfLink(join(directory, pin))
    for (const id of program?.mapIds() ?? []) ids.add(id)
    program?.close()
  }
  return ids
}

function programOfLink(path: string): BpfProgram | undefined {
  const link = BpfLink.openPinned(path)
  try {
    return BpfProgram.fromId(link.info().programId)
  } catch {
    // A link whose device is gone has no program any more.
    return undefined
  } finally {
    link.close()
  }
}

function readdirOrNone(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}
