// A Service port as the kernel holds it: what its plan has, what the plans before had and it has not let go of, and until when the
// tables before a change still stand.

import type { DesiredBackend, DesiredFrontend } from '../services/desired.ts'
import type { PlacedPort } from './frontend-claims.ts'

export const NOTHING_OWED: Owed = { frontends: [], backends: [] }

export interface InstalledPort extends PlacedPort {
  /** Whether the plan is written in full; an attempt that failed is repeated. */
  isWritten: boolean
  /** What the plans before had and this one has not let go of yet. */
  owed: Owed
}

interface Owed {
  readonly frontends: readonly DesiredFrontend[]
  readonly backends: readonly DesiredBackend[]
}

/** All that is to be let go of when the port gets another plan, or none. */
export function owedBy({ owed, desired }: InstalledPort): Owed {
  return {
    frontends: [...owed.frontends, ...desired.frontends],
    backends: [...owed.backends, ...desired.backends],
  }
}

/** Ports whose table before a change still stands, and until when; in about that order. */
export class PortExpiries {
  readonly #untilMs = new Map<string, number>()

  note(id: string, port: Pick<InstalledPort, 'cluster' | 'local'>): void {
    const standing = [port.cluster, port.local].filter(({ before }) => before.size > 0)
    if (standing.length === 0) {
      this.#untilMs.delete(id)
      return
    }
    const untilMs = Math.min(...standing.map(({ beforeUntilMs }) => beforeUntilMs))
    if (this.#untilMs.get(id) === untilMs) return
    this.#untilMs.delete(id)
    this.#untilMs.set(id, untilMs)
  }

  /** @param most how many at the most */
  due(nowMs: number, most: number): string[] {
    const due: string[] = []
    for (const [id, untilMs] of this.#untilMs) {
      if (untilMs > nowMs || due.length === most) break
      due.push(id)
    }
    return due
  }

  delete(id: string): void {
    this.#untilMs.delete(id)
  }

  nextMs(): number | undefined {
    return this.#untilMs.values().next().value
  }
}
