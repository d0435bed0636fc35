// How often gobgpd went away of late. Once is a restart, of which routers see nothing; again and again is a fault: each time sessions end,
// and a router that still waits for the end of one restart lets go of the routes at the next.
//
// A router that sends what gobgpd cannot read ends it for all of them, and again as soon as its session is back. gobgpd dies without
// naming it; but its session has come up a moment before, each time, and hardly another's.

import type { SpeakerProblem } from './problems.ts'

const WITHIN_MS = 600_000
/** An upgrade is one, with its settling two. */
const LOSSES_MAX = 2
/** Routers send their table at once. Others come up that close before a death by chance, but not each time. */
const SPOKE_WITHIN_MS = 2_000

/** When sessions came up that were up before a loss, by address. */
export type CameUp = ReadonlyMap<string, number>

interface Loss {
  readonly atMs: number
  /** Whose sessions had just come up. */
  readonly suspects: readonly string[]
}

type Describe = (address: string) => { readonly name: string; readonly source: string }

export class Losses {
  #losses: Loss[] = []

  note(nowMs: number, cameUp: CameUp = new Map()): void {
    const suspects = [...cameUp].flatMap(([address, atMs]) =>
      nowMs - atMs <= SPOKE_WITHIN_MS ? address : [],
    )
    this.#losses = [...this.#recent(nowMs), { atMs: nowMs, suspects }]
  }

  problems(nowMs: number, describe: Describe): SpeakerProblem[] {
    const recent = this.#recent(nowMs)
    if (recent.length <= LOSSES_MAX) return []
    const suspect = suspectOf(recent)
    const what = `gobgpd went away more than ${LOSSES_MAX} times within ten minutes`
    if (suspect === undefined) {
      const text =
        `${what}; a router that sends what it cannot read ends it. ` +
        "Mend: look for 'panic' in gobgpd's log, and take the peer that spoke last out of routing.peers"
      return [{ code: 'gobgpd-dies', object: 'routing.gobgp', text }]
    }
    const { name, source } = describe(suspect)
    // It is no peer any more.
    if (source === suspect) return []
    const text =
      `${what}, the last ${LOSSES_MAX + 1} times a moment after the session with ${name} (${suspect}) had come up: ` +
      `it probably sends what gobgpd cannot read. Mend: take it out of ${source} until its software is mended; 'panic' in gobgpd's log says more`
    return [{ code: 'gobgpd-dies', object: source, text }]
  }

  #recent(nowMs: number): Loss[] {
    return this.#losses.filter(({ atMs }) => nowMs - atMs < WITHIN_MS)
  }
}

/** The one that had just come up each time of late. */
function suspectOf(losses: readonly Loss[]): string | undefined {
  const [first, ...others] = losses.slice(-LOSSES_MAX - 1)
  const always = first?.suspects.filter((one) => others.every(({ suspects }) => suspects.includes(one))) ?? []
  return always.length === 1 ? always[0] : undefined
}
