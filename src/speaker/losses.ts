// How often gobgpd went away of late. Once is a restart, of which routers see nothing; again and again is a fault: each time sessions end,
// and a router that still waits for the end of one restart lets go of the routes at the next.

import type { SpeakerProblem } from './problems.ts'

const WITHIN_MS = 600_000
/** An upgrade is one, with its settling two. */
const LOSSES_MAX = 2

export class Losses {
  #atMs: number[] = []

  note(nowMs: number): void {
    this.#atMs = [...this.#recent(nowMs), nowMs]
  }

  problems(nowMs: number): SpeakerProblem[] {
    if (this.#recent(nowMs).length <= LOSSES_MAX) return []
    const text =
      `gobgpd went away more than ${LOSSES_MAX} times within ten minutes; a router that sends what it cannot read ends it. ` +
      "Mend: look for 'panic' in gobgpd's log, and take the peer that spoke last out of routing.peers"
    return [{ code: 'gobgpd-dies', object: 'routing.gobgp', text }]
  }

  #recent(nowMs: number): number[] {
    return this.#atMs.filter((atMs) => nowMs - atMs < WITHIN_MS)
  }
}
