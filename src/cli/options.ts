// Options of every command, read by one rule: a mistake is told in one line, with what was probably meant.

import { type ParseArgsOptionsConfig, parseArgs } from 'node:util'
import { nearMatches } from '../model/near-matches.ts'

/** The command line itself is wrong; the message names the mend. */
export class UsageError extends Error {
  readonly code = 'bad-usage'
}

/** @param command what the mend calls it: `weir agent` */
export function parseOptions<const Options extends ParseArgsOptionsConfig>(
  command: string,
  args: readonly string[],
  options: Options,
) {
  try {
    return parseArgs({ args: [...args], allowPositionals: true, strict: true, options })
  } catch (cause) {
    const { message, code } = cause as NodeJS.ErrnoException
    const word = /'(?:-\w, )?(--?[\w-]+)/.exec(message)?.[1] ?? ''
    const mend = `'${command} --help' tells more`
    if (code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION') {
      const names = Object.keys(options).map((name) => `--${name}`)
      throw new UsageError(`no such option '${word}'. Mend: ${didYouMean(word, names)}; ${mend}.`)
    }
    if (code === 'ERR_PARSE_ARGS_INVALID_OPTION_VALUE') {
      const takesText = options[word.replace(/^-+/, '')]?.type === 'string'
      const what = takesText ? `'${word}' needs a value after it` : `'${word}' takes no value`
      throw new UsageError(`${what}. Mend: ${mend}.`)
    }
    throw new UsageError(`${message}. Mend: ${mend}.`)
  }
}

/** Half a sentence for the mend of an unknown word. */
export function didYouMean(word: string, known: readonly string[]): string {
  const near = nearMatches(word, known)
  return near.length > 0 ? `did you mean ${near.join(' or ')}` : `one of ${known.join(', ')}`
}
