// Commands of several actions (`weir bgp peers`, `weir flow get`): which there are, the help of each, and what each one takes. A word or an
// option that is not an action's is refused in one line, with what was probably meant.

import type { ParseArgsOptionsConfig } from 'node:util'
import { PAGE_WIDTH, wrapText } from '../model/text-table.ts'
import { AGENT_OPTIONS, AGENT_OPTIONS_HELP } from './ask-agent.ts'
import { didYouMean, parseOptions, UsageError } from './options.ts'

export interface Action<Values> {
  /** What may stand behind it, as `[PEER…]`. */
  readonly takes: string
  /** How many words that is at most. */
  readonly words: number
  /** For the list of actions. */
  readonly summary: string
  /** What its own help says first: what is shown or done. Lines are broken anew. */
  readonly about: string
  /** A whole command line. */
  readonly example: string
  /** A line for each of its own options, and for outputs of its own. */
  readonly optionsHelp?: string
  /** Names of its own options, beside those of every command for the node. */
  readonly options: readonly string[]
  readonly run: (values: Values, words: readonly string[]) => Promise<number>
}

/** What parseArgs makes of options. */
export type ValuesOf<Options extends ParseArgsOptionsConfig> = ReturnType<
  typeof parseOptions<Options>
>['values']

export interface ActionSet<Options extends ParseArgsOptionsConfig> {
  /** `weir bgp` */
  readonly command: string
  /** Of all actions together. */
  readonly options: Options
  readonly actions: Readonly<Record<string, Action<ValuesOf<Options>>>>
}

/** Runs the action that the arguments name. Throws UsageError. */
export async function runAction<const Options extends ParseArgsOptionsConfig>(
  set: ActionSet<Options>,
  args: readonly string[],
): Promise<number> {
  const { command, actions, options } = set
  const { values, positionals } = parseOptions(command, args, options)
  const [name, ...words] = positionals
  const isHelp = (values as { help?: boolean }).help === true
  if (name === undefined) {
    process.stdout.write(overview(command, actions))
    return isHelp ? 0 : 2
  }
  const action = Object.hasOwn(actions, name) ? actions[name] : undefined
  if (!action)
    throw new UsageError(`no such action '${name}'. Mend: ${didYouMean(name, Object.keys(actions))}`)
  if (isHelp) {
    process.stdout.write(helpOf(command, name, action))
    return 0
  }
  checkFit(command, name, action, Object.keys(values), words)
  return await action.run(values, words)
}

function checkFit<Values>(
  command: string,
  name: string,
  action: Action<Values>,
  given: readonly string[],
  words: readonly string[],
): void {
  const known = [...action.options, ...Object.keys(AGENT_OPTIONS)]
  const foreign = given.find((option) => !known.includes(option))
  const mend = `'${command} ${name} --help' tells more`
  if (foreign !== undefined)
    throw new UsageError(
      `'${name}' takes no --${foreign}. Mend: its options are ${known.map((one) => `--${one}`).join(', ')}; ${mend}`,
    )
  if (words.length > action.words)
    throw new UsageError(`'${words[action.words]}' is one word too many. Mend: ${mend}`)
}

function overview<Values>(command: string, actions: Readonly<Record<string, Action<Values>>>): string {
  const width = Math.max(...Object.keys(actions).map((name) => name.length))
  const rows = Object.entries(actions).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`)
  return `Usage: ${command} ACTION [ARGUMENTS]\n\n${rows.join('\n')}\n\n'${command} ACTION --help' tells more, with an example.\n`
}

export function helpOf<Values>(command: string, name: string, action: Action<Values>): string {
  const { takes, about, example, optionsHelp = '' } = action
  return `Usage: ${command} ${name}${takes === '' ? '' : ` ${takes}`}

${wrapText(about.replaceAll(/\s+/g, ' '), PAGE_WIDTH)}

Example: ${example}

${optionsHelp}${AGENT_OPTIONS_HELP}`
}
