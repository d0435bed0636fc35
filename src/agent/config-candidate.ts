// A configuration that is tried: `routing` and `pools` given over the local API instead of the file's, in force at once, and taken back by
// itself unless confirmed in time, as on Junos. Its deadline lies in the state directory, so that an agent that dies in between still
// keeps it; on the clock since boot, so that whoever sets the time of day neither ends a trial nor makes it last. Of a trial that a
// reboot cut short nobody knows how much time was left: it is rolled back. A confirmed candidate stays in force until the file itself
// says something new, or it is rolled back.

import { createHash } from 'node:crypto'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { isRecord } from '../model/is-record.ts'
import { timeText } from '../model/time-text.ts'
import { BOOT_CLOCK, type BootClock } from './boot-clock.ts'
import { type AgentConfig, ConfigError, checkDocument, readDocument } from './config.ts'
import { keysThatWait, writeWhole } from './config-file.ts'

export const CANDIDATE_FILE = 'routing-candidate.json'
const SOURCE = 'the candidate'

/** Longer than anybody stays at the console, shorter than a weekend. */
export const CONFIRM_MAX_MS = 24 * 3_600_000

/** While more than this is left of a trial the clock is asked again: timers stand still while a machine is suspended. */
const LOOK_MS = 1_000

interface Deadline {
  readonly bootId: string
  /** Since that boot. */
  readonly atMs: number
}

export interface Candidate {
  /** YAML, `routing` and `pools` of which count. */
  readonly text: string
  /** By the time of day, for people. */
  readonly appliedAtMs: number
  /** Undefined: confirmed. */
  readonly deadline?: Deadline | undefined
  /** Of agents that went by the time of day: it counts as over. */
  readonly deadlineMs?: number | undefined
  /** Of the file's routing and pools, over which it stands. */
  readonly fileDigest: string
}

/** What was in force before, so that a rollback of a candidate over a confirmed one restores that. */
interface Kept {
  readonly candidate: Candidate
  readonly before?: Candidate | undefined
}

const candidateSchema = z.strictObject({
  text: z.string(),
  appliedAtMs: z.number(),
  deadline: z.strictObject({ bootId: z.string(), atMs: z.number() }).optional(),
  deadlineMs: z.number().optional(),
  fileDigest: z.string(),
})

const keptSchema = z.strictObject({ candidate: candidateSchema, before: candidateSchema.optional() })

export interface CandidateStatus {
  readonly appliedAtMs: number
  /** As the time of day is now; undefined: it is confirmed. */
  readonly deadlineMs: number | undefined
}

export interface ConfigCandidateOptions {
  readonly stateDirectory: string
  /** The file's last good configuration and text. */
  readonly file: () => { readonly config: AgentConfig; readonly text: string }
  /** Called whenever something else is in force, with the reason. */
  readonly onChange: (config: AgentConfig, why: string) => void
  /** The time of day. */
  readonly nowMs?: () => number
  readonly clock?: BootClock
}

export class CandidateError extends Error {
  readonly code: 'NOTHING_PENDING' | 'NEEDS_RESTART' | 'INVALID'
  constructor(code: CandidateError['code'], message: string, cause?: unknown) {
    super(message, { cause })
    this.code = code
  }
}

export class ConfigCandidate {
  readonly #options: ConfigCandidateOptions
  readonly #stateFile: string
  #kept: Kept | undefined
  #config: AgentConfig | undefined
  #timer: NodeJS.Timeout | undefined
  /** How the last one ended, for whoever comes too late. */
  #ending = 'none was applied since the agent started'

  /** Goes on with what an agent before had been given; too late to be confirmed, it is gone. */
  constructor(options: ConfigCandidateOptions) {
    this.#options = options
    this.#stateFile = join(options.stateDirectory, CANDIDATE_FILE)
    this.#kept = this.#read()
    this.#settle()
    this.#arm()
  }

  /** What is in force: the candidate, or the file's. */
  get config(): AgentConfig {
    return this.#config ?? this.#options.file().config
  }

  get status(): CandidateStatus | undefined {
    if (this.#kept === undefined) return undefined
    const { appliedAtMs, deadline } = this.#kept.candidate
    const deadlineMs = deadline && this.#nowMs() + deadline.atMs - this.#clock.nowMs()
    return { appliedAtMs, deadlineMs }
  }

  /** What a text would put in force. Throws CandidateError. */
  check(text: string): AgentConfig {
    const { config, text: fileText } = this.#options.file()
    try {
      const { base, next } = overlay(text, fileText)
      const waiting = keysThatWait(base, next)
      // What of the file itself waits for a restart is none of the candidate's.
      if (waiting.length === 0) return { ...config, routing: next.routing, pools: next.pools }
      throw new CandidateError(
        'NEEDS_RESTART',
        `${waiting.join(', ')} cannot be tried live; change the file and restart the agent`,
      )
    } catch (error) {
      if (error instanceof ConfigError) throw new CandidateError('INVALID', error.message, error)
      throw error
    }
  }

  /** @param confirmWithinMs undefined: it stays without being confirmed */
  apply(text: string, confirmWithinMs: number | undefined): AgentConfig {
    const config = this.check(text)
    const candidate: Candidate = {
      text,
      appliedAtMs: this.#nowMs(),
      ...(confirmWithinMs === undefined ? {} : { deadline: this.#deadlineIn(confirmWithinMs) }),
      fileDigest: digestOf(this.#options.file().config),
    }
    // Over an unconfirmed one: what was in force before that is what it comes back to.
    const standing = this.#kept?.candidate.deadline === undefined ? this.#kept?.candidate : this.#kept.before
    this.#keep({ candidate, ...(standing === undefined ? {} : { before: standing }) }, config, 'applied')
    return config
  }

  /** Throws CandidateError where there is nothing to confirm. */
  confirm(): void {
    const kept = this.#kept
    if (kept === undefined)
      throw new CandidateError(
        'NOTHING_PENDING',
        `nothing waits to be confirmed: ${this.#ending}. Mend: try it (again) with 'weir bgp apply -f FILE --confirm 60s'`,
      )
    if (kept.candidate.deadline === undefined)
      throw new CandidateError(
        'NOTHING_PENDING',
        "nothing waits to be confirmed: what was applied is confirmed and in force. Mend: write it to the agent's file, too; " +
          "'weir bgp rollback' takes it back",
      )
    const { deadline: _, ...candidate } = kept.candidate
    const confirmed = { candidate, ...(kept.before === undefined ? {} : { before: kept.before }) }
    this.#write(confirmed)
    this.#kept = confirmed
    this.#arm()
  }

  /** To what was in force before the last apply. Throws CandidateError where that is the file already. */
  rollback(why = 'rolled back'): void {
    const kept = this.#kept
    if (kept === undefined)
      throw new CandidateError(
        'NOTHING_PENDING',
        `the agent's file is in force: there is no candidate to roll back (${this.#ending}). ` +
          "Mend: change the file itself, or try a change with 'weir bgp apply -f FILE --confirm 60s'",
      )
    this.#noteEnding(why)
    this.#kept = kept.before === undefined ? undefined : { candidate: kept.before }
    this.#settle()
    this.#arm()
    // It is in force even if it cannot be written down (a full disk): whoever asked hears of that.
    try {
      this.#write(this.#kept)
    } finally {
      this.#options.onChange(this.config, why)
    }
  }

  #rollbackLate(): void {
    try {
      this.rollback('not confirmed in time: rolled back')
    } catch {
      // It was not written down, and need not be: the next agent finds it too late.
    }
  }

  /** The file says something new: it has the last word. */
  fileChanged(): void {
    if (this.#kept) this.#noteEnding('the file changed')
    this.#kept = undefined
    this.#config = undefined
    this.#forgetOnDisk()
    this.#arm()
    this.#options.onChange(this.config, 'the file changed')
  }

  close(): void {
    clearTimeout(this.#timer)
  }

  #keep(kept: Kept, config: AgentConfig, why: string): void {
    // On disk before it is in force: an agent that dies with the node cut off must know the deadline. What cannot be written is not tried.
    this.#write(kept)
    this.#kept = kept
    this.#config = config
    this.#arm()
    this.#options.onChange(config, why)
  }

  /** Drops what is too late, or stands over another file, or is refused by this version; back to what stood before it. */
  #settle(): void {
    for (;;) {
      const candidate = this.#kept?.candidate
      this.#config = undefined
      if (candidate === undefined) return
      const isLate = this.#isLate(candidate)
      const isOfFile = candidate.fileDigest === digestOf(this.#options.file().config)
      if (!isLate && isOfFile) {
        try {
          this.#config = this.check(candidate.text)
          return
        } catch (error) {
          if (!(error instanceof CandidateError)) throw error
        }
      }
      this.#noteEnding(isLate ? 'not confirmed in time' : 'it does not fit the file any more')
      const { before } = this.#kept ?? {}
      this.#kept = before === undefined ? undefined : { candidate: before }
      if (this.#kept === undefined) this.#forgetOnDisk()
    }
  }

  #arm(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const deadline = this.#kept?.candidate.deadline
    if (deadline === undefined) return
    const leftMs = Math.max(0, deadline.atMs - this.#clock.nowMs())
    this.#timer =
      leftMs > LOOK_MS
        ? setTimeout(() => this.#arm(), LOOK_MS)
        : setTimeout(() => this.#rollbackLate(), leftMs)
  }

  #deadlineIn(ms: number): Deadline {
    return { bootId: this.#clock.bootId(), atMs: this.#clock.nowMs() + Math.min(ms, CONFIRM_MAX_MS) }
  }

  /** Of another boot, too: how much time was left then is not known. */
  #isLate({ deadline, deadlineMs }: Candidate): boolean {
    if (deadline === undefined) return deadlineMs !== undefined
    return deadline.bootId !== this.#clock.bootId() || deadline.atMs <= this.#clock.nowMs()
  }

  #noteEnding(why: string): void {
    this.#ending = `the last one ended at ${timeText(this.#nowMs())}: ${why}`
  }

  #read(): Kept | undefined {
    try {
      return keptSchema.parse(JSON.parse(readFileSync(this.#stateFile, 'utf8')))
    } catch {
      return undefined
    }
  }

  #write(kept: Kept | undefined): void {
    if (kept === undefined) rmSync(this.#stateFile, { force: true })
    else writeWhole(this.#stateFile, JSON.stringify(kept))
  }

  #forgetOnDisk(): void {
    try {
      this.#write(undefined)
    } catch {
      // A file system that takes no change: what it holds is judged by its deadline and its file when it is read.
    }
  }

  #nowMs(): number {
    return (this.#options.nowMs ?? Date.now)()
  }

  get #clock(): BootClock {
    return this.#options.clock ?? BOOT_CLOCK
  }
}

/** Of what a candidate stands over: other sections of the file may change. */
function digestOf({ routing, pools }: AgentConfig): string {
  return createHash('sha256')
    .update(JSON.stringify([routing, pools]))
    .digest('hex')
}

const LIVE_SECTIONS = ['routing', 'pools']

/** The file's document with the candidate's `routing` and `pools`; a whole file will do, too. */
function overlay(text: string, fileText: string): { base: AgentConfig; next: AgentConfig } {
  const base = readDocument(fileText, 'the file')
  const given = readDocument(text, SOURCE)
  if (!isRecord(base) || !isRecord(given) || !LIVE_SECTIONS.some((key) => Object.hasOwn(given, key)))
    throw new ConfigError(
      'INVALID',
      `${SOURCE} has neither routing nor pools: give the sections that should change`,
    )
  const gobgp = isRecord(base['routing']) ? base['routing']['gobgp'] : undefined
  const routing = isRecord(given['routing']) ? { routing: { gobgp, ...given['routing'] } } : {}
  return {
    base: checkDocument(base, 'the file'),
    next: checkDocument({ ...base, ...given, ...routing }, SOURCE),
  }
}
