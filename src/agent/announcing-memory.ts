// What Services' annotations said of their announcements when they could last be read, in the state directory: while they cannot be read,
// that stays in force (routing/settle-announcing.ts), also with the next agent, which must not take a VIP back because it was started
// meanwhile. Only Services that say something, or whose slip is being overruled, stand there: one that never said a word and is
// mistyped while no agent runs is kept in, as a new one is. Written when it changes, at most once a second.

import type { Logger } from 'pino'
import { isRecord } from '../model/is-record.ts'
import { type AnnounceKind, NO_ATTRIBUTES, type RouteAttributes } from '../model/routing.ts'
import type { ObjectKey, Service, ServiceAnnouncing } from '../model/service.ts'
import { StateFile } from './state-file.ts'

export const ANNOUNCING_MEMORY_FILE = 'announcing.json'

/** Rows of Services that this agent has not seen yet; by then it has seen every one there is. */
const UNSEEN_KEPT_MS = 10 * 60_000
/** Some 200 bytes each. Those beyond are forgotten with the agent. */
export const ANNOUNCING_MEMORIES_MAX = 10_000

export type Said = Pick<Service, 'uid' | 'announcing'>

export interface AnnouncingMemoryOptions {
  readonly stateDirectory: string
  readonly log: Pick<Logger, 'warn'>
  /** Never goes back. */
  readonly nowMs: () => number
}

export class AnnouncingMemory {
  readonly #options: AnnouncingMemoryOptions
  readonly #file: StateFile
  readonly #bornMs: number
  readonly #said: Map<ObjectKey, Said>
  readonly #unseen: Set<ObjectKey>

  constructor(options: AnnouncingMemoryOptions) {
    this.#options = options
    const { stateDirectory, log, nowMs } = options
    this.#file = new StateFile({
      ...{ stateDirectory, log, name: ANNOUNCING_MEMORY_FILE },
      notRead: "Services' last good annotations cannot be read",
      notWritten: "Services' last good annotations were not written down",
    })
    this.#bornMs = nowMs()
    this.#said = this.#file.read(readRows) ?? new Map()
    this.#unseen = new Set(this.#said.keys())
  }

  /** Undefined: it said nothing, as far as anybody knows. */
  recall(key: ObjectKey): Said | undefined {
    return this.#said.get(key)
  }

  /** @param service as it was settled; undefined: it is gone */
  keep(key: ObjectKey, service: Said | undefined): void {
    this.#unseen.delete(key)
    const { announcing } = service ?? {}
    const before = this.#said.get(key)
    if (service === undefined || announcing === undefined || announcing.unreadable !== undefined) {
      if (before === undefined) return
      this.#said.delete(key)
    } else {
      if (before?.uid === service.uid && isSame(before.announcing, announcing)) return
      this.#said.set(key, { uid: service.uid, announcing })
    }
    this.#file.writeSoon(() => this.#text())
  }

  close(): void {
    this.#file.close()
  }

  #text(): string {
    if (this.#options.nowMs() - this.#bornMs > UNSEEN_KEPT_MS) {
      for (const key of this.#unseen) this.#said.delete(key)
      this.#unseen.clear()
    }
    const rows = [...this.#said].slice(0, ANNOUNCING_MEMORIES_MAX)
    return `${JSON.stringify(Object.fromEntries(rows), withoutSlip)}\n`
  }
}

/** What is wrong now is read from the Service, each time. */
function withoutSlip(key: string, value: unknown): unknown {
  return key === 'overruled' ? undefined : value
}

function isSame(left: ServiceAnnouncing | undefined, right: ServiceAnnouncing): boolean {
  return left === right || JSON.stringify(left, withoutSlip) === JSON.stringify(right, withoutSlip)
}

function readRows(rows: unknown): Map<ObjectKey, Said> {
  return new Map(Object.entries(isRecord(rows) ? rows : {}).flatMap(readRow))
}

/** Nothing where it makes no sense: better kept in than told to the wrong ones. */
function readRow([key, row]: [string, unknown]): [ObjectKey, Said][] {
  if (!isRecord(row) || typeof row['uid'] !== 'string' || !isRecord(row['announcing'])) return []
  const { attributes, peers, advertise, withoutEndpoints } = row['announcing']
  const read = readAttributes(attributes)
  if (read === undefined || !isRecord(advertise)) return []
  if (peers !== undefined && !isTexts(peers)) return []
  if (withoutEndpoints !== undefined && withoutEndpoints !== 'withdraw' && withoutEndpoints !== 'keep')
    return []
  const flags = Object.entries(advertise).filter(([, flag]) => typeof flag === 'boolean')
  const announcing: ServiceAnnouncing = {
    attributes: read,
    peers,
    advertise: Object.fromEntries(flags) as Partial<Record<AnnounceKind, boolean>>,
    withoutEndpoints,
  }
  return [[key as ObjectKey, { uid: row['uid'], announcing }]]
}

function readAttributes(value: unknown): RouteAttributes | undefined {
  if (!isRecord(value)) return undefined
  const { communities, largeCommunities, localPref, med, prepend } = value
  if (!isTexts(communities) || !isTexts(largeCommunities) || !Number.isInteger(prepend)) return undefined
  const numbers = Object.entries({ localPref, med }).filter(([, number]) => number !== undefined)
  if (numbers.some(([, number]) => !Number.isInteger(number))) return undefined
  const read: RouteAttributes = {
    ...{ communities, largeCommunities, prepend: prepend as number },
    ...Object.fromEntries(numbers),
  }
  return JSON.stringify(read) === JSON.stringify(NO_ATTRIBUTES) ? NO_ATTRIBUTES : read
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string')
}
