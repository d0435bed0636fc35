// What a drain leaves on disk, so that it survives the agent in any state: where it stands, a wish that was told to this agent alone, and
// the marker that tells gobgpd's supervisor to let it say goodbye when it is stopped.

import { closeSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type DrainState, readDrainState } from '../routing/drain.ts'

export interface DrainRecord {
  readonly state: DrainState
  /** `weir drain` was told here, with no API server to tell. */
  readonly isWantedLocally: boolean
  /** The Node has our condition, which has to tell the truth from then on. */
  readonly hasCondition: boolean
}

export class DrainFiles {
  readonly #record: string
  readonly #marker: string

  constructor(stateDirectory: string) {
    this.#record = join(stateDirectory, 'drain.json')
    this.#marker = join(stateDirectory, 'drain')
  }

  read(): DrainRecord | undefined {
    let text: string
    try {
      text = readFileSync(this.#record, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
    const state = readDrainState(text)
    if (!state) return undefined
    const { isWantedLocally, hasCondition } = JSON.parse(text) as Partial<DrainRecord>
    return { state, isWantedLocally: isWantedLocally === true, hasCondition: hasCondition === true }
  }

  /** A reader finds the old text or the new, never half. */
  write({ state, ...wishes }: DrainRecord): void {
    writeFileSync(`${this.#record}.part`, `${JSON.stringify({ ...state, ...wishes })}\n`, { mode: 0o600 })
    renameSync(`${this.#record}.part`, this.#record)
  }

  setMarker(isThere: boolean): void {
    if (isThere) closeSync(openSync(this.#marker, 'w', 0o600))
    else rmSync(this.#marker, { force: true })
  }
}
