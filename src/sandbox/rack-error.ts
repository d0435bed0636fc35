// What can go wrong with a rack, told to its user: what failed, where, and the mend, under a stable code.

export type RackErrorCode =
  | 'bad-name'
  | 'bad-plan'
  | 'bad-usage'
  | 'busy'
  | 'command-failed'
  | 'name-too-long'
  | 'not-root'
  | 'not-up'
  | 'process-died'
  | 'rack-differs'
  | 'timeout'
  | 'unknown-host'
  | 'unknown-link'

export class RackError extends Error {
  readonly code: RackErrorCode
  /** What the user can do about it, one sentence without a final stop. */
  readonly mend: string

  /** `detail`: lines that show more, such as the end of a log. */
  constructor(
    code: RackErrorCode,
    what: string,
    mend: string,
    options: { cause?: unknown; detail?: readonly string[] } = {},
  ) {
    const lines = (options.detail ?? []).map((line) => `\n  ${line}`)
    super(
      `${what}. Mend: ${mend}.${lines.join('')}`,
      options.cause === undefined ? {} : { cause: options.cause },
    )
    this.name = 'RackError'
    this.code = code
    this.mend = mend
  }
}
