// Cilium's objects as they were last read, in the state directory: what counts while the API server does not let this agent read them. A role
// that lost a rule must not take peers, pools and with them addresses away that were there a moment ago.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeWhole } from './config-file.ts'

export const CILIUM_FILE = 'cilium.json'

/** By the kind's plural: keys and rows. */
type Kept = Readonly<Record<string, readonly (readonly [string, unknown])[]>>

export class CiliumMemory {
  readonly #file: string
  #text: string
  #kept: Kept

  constructor(stateDirectory: string) {
    this.#file = join(stateDirectory, CILIUM_FILE)
    this.#text = readOrNothing(this.#file)
    this.#kept = parse(this.#text)
  }

  /** Nothing where no agent has ever read the kind here. */
  recall<Row>(plural: string): readonly (readonly [string, Row])[] {
    return (this.#kept[plural] ?? []) as readonly (readonly [string, Row])[]
  }

  /** Throws when it cannot be written. @param kinds all of them: what is left out is forgotten */
  keep(kinds: Kept): void {
    const text = JSON.stringify(kinds)
    if (text === this.#text) return
    this.#kept = kinds
    writeWhole(this.#file, text)
    this.#text = text
  }
}

function readOrNothing(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

function parse(text: string): Kept {
  try {
    const kept: unknown = JSON.parse(text)
    return typeof kept === 'object' && kept !== null ? (kept as Kept) : {}
  } catch {
    return {}
  }
}
