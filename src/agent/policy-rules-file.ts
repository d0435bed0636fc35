// Numbers of rules and their names on disk, so that they mean the same to the next agent: in rows, on flows, in events that nobody has read
// yet, and to whoever wrote one down. New ones are appended before the kernel has them; now and then the file is written anew, with those
// that are still known.

import { appendFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { z } from 'zod'
import { POLICY_DIRECTIONS } from '../model/policy.ts'
import { FIRST_RULE } from '../policy/compile/rows.ts'
import { type NumberedRule, RuleIds, type RuleIdsOptions } from '../policy/compile/rule-ids.ts'
import { writeWhole } from './config-file.ts'

export const POLICY_RULES_FILE = 'policy-rules.jsonl'
/** Lines that say nothing new any more, beside one for each rule, before they go. */
const STALE_LINES_MAX = 4_096

const id = z.number().int().min(FIRST_RULE).max(0xffff_ffff)
const headSchema = z.strictObject({ next: id })
const directions = z.enum(POLICY_DIRECTIONS as [string, ...string[]])
const lineSchema = z.tuple([id, z.string(), z.string(), z.number(), directions, z.number(), z.string()])

export class PolicyRulesFile {
  readonly ids: RuleIds
  readonly #file: string
  readonly #log: Pick<Logger, 'warn'>
  /** Given, and not in the file yet. */
  #fresh = ''
  #freshLines = 0
  #lines = 0
  /** What stands in the file can be added to. */
  #isWhole = false

  constructor(stateDirectory: string, log: Pick<Logger, 'warn'>) {
    this.#file = join(stateDirectory, POLICY_RULES_FILE)
    this.#log = log
    this.ids = new RuleIds({
      ...this.#read(),
      onNew: (rule) => {
        this.#fresh += lineOf(rule)
        this.#freshLines += 1
      },
    })
  }

  /** What fails is written with the next ones. */
  flush(): void {
    if (this.#freshLines === 0) return
    const isStale = this.#lines + this.#freshLines > 2 * this.ids.size + STALE_LINES_MAX
    try {
      if (this.#isWhole && !isStale) this.#append()
      else this.#rewrite()
    } catch (error) {
      this.#isWhole = false
      this.#log.warn({ err: error }, 'the names of policy rules were not written down for the next agent')
    }
    this.#fresh = ''
    this.#freshLines = 0
  }

  #append(): void {
    appendFileSync(this.#file, this.#fresh, { mode: 0o600 })
    this.#lines += this.#freshLines
  }

  #rewrite(): void {
    const lines = [...this.ids.list()].map(lineOf)
    writeWhole(this.#file, `${JSON.stringify({ next: this.ids.next })}\n${lines.join('')}`)
    this.#lines = lines.length
    this.#isWhole = true
  }

  /** A line that cannot be read is one that a killed agent did not finish, and names a number that nothing carries. */
  #read(): RuleIdsOptions {
    let text: string
    try {
      text = readFileSync(this.#file, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        this.#log.warn({ err: error }, 'the names of policy rules from before cannot be read')
      return {}
    }
    const [head = '', ...lines] = text.split('\n')
    const next = headSchema.safeParse(parsed(head)).data?.next ?? FIRST_RULE
    return { next, known: lines.flatMap(ruleOf) }
  }
}

function lineOf({ id, name: { kind, key, part, direction, index, path } }: NumberedRule): string {
  return `${JSON.stringify([id, kind, key, part, direction, index, path])}\n`
}

function ruleOf(line: string): readonly NumberedRule[] {
  const { data } = lineSchema.safeParse(parsed(line))
  if (data === undefined) return []
  const [id, kind, key, part, direction, index, path] = data
  return [{ id, name: { kind, key, part, direction, index, path } as NumberedRule['name'] }]
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
