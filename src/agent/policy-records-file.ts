// The records of policy on disk, for the next agent. Written when there is something new, now and then and at the end: whoever is killed in
// between forgets what it was told meanwhile.

import type { Logger } from 'pino'
import { z } from 'zod'
import { POLICY_DIRECTIONS } from '../model/policy.ts'
import { type KeptRecords, type PolicyRecords, RECORD_KINDS } from './policy-records.ts'
import { StateFile } from './state-file.ts'

export const POLICY_RECORDS_FILE = 'policy-records.json'
/** Two thousand of them are some 800 kB. */
const WRITE_MS = 30_000

const text = z.string()
const count = z.number()
const tally = z.strictObject({ dropped: count, 'would-drop': count, 'would-pass': count })
const record = z.looseObject({
  kind: z.enum(RECORD_KINDS),
  direction: z.enum(POLICY_DIRECTIONS as [string, ...string[]]),
  source: text,
  destination: text,
  protocol: text,
  port: count,
  rule: text,
  name: z
    .looseObject({ kind: text, key: text, part: count, direction: text, index: count, path: text })
    .optional(),
  count,
  firstMs: count,
  lastMs: count,
  last: z.looseObject({ source: text, sourcePort: count, destination: text }),
})
const keptSchema = z.strictObject({ records: z.array(record), tallies: z.record(text, tally) })

/** What an earlier agent left; undefined where there is none, or what is there cannot be read. */
export function readPolicyRecords(
  stateDirectory: string,
  log: Pick<Logger, 'warn'>,
): KeptRecords | undefined {
  return stateFile(stateDirectory, log).read((kept) => keptSchema.parse(kept) as unknown as KeptRecords)
}

function stateFile(stateDirectory: string, log: Pick<Logger, 'warn'>): StateFile {
  return new StateFile({
    ...{ stateDirectory, log, name: POLICY_RECORDS_FILE },
    notRead: 'what policy dropped and audited before cannot be read',
    notWritten: 'what policy dropped and audited was not written down for the next agent',
  })
}

export class PolicyRecordsFile {
  readonly #file: StateFile
  readonly #records: PolicyRecords
  readonly #timer: NodeJS.Timeout
  #written = 0

  constructor(stateDirectory: string, records: PolicyRecords, log: Pick<Logger, 'warn'>) {
    this.#file = stateFile(stateDirectory, log)
    this.#records = records
    this.#timer = setInterval(() => this.#write(), WRITE_MS).unref()
  }

  close(): void {
    clearInterval(this.#timer)
    this.#write()
  }

  /** What fails is tried again the next time. */
  #write(): void {
    const { revision } = this.#records
    if (revision === this.#written) return
    if (this.#file.write(() => JSON.stringify(this.#records.keep()))) this.#written = revision
  }
}
