// Steps told as they happen: name, outcome in a few words, seconds. The same columns as the preparation before it.

import { RackError } from './rack-error.ts'

const NAME_COLUMN = 34
const OUTCOME_COLUMN = 36

/** Runs one step of a longer work; the action resolves to its outcome in a few words. */
export type Step = (name: string, action: () => Promise<string>) => Promise<void>

/** Prints each step in one line. Steps that run side by side share the screen: a line is written when its step ends. */
export function printedSteps(write: (text: string) => void): Step {
  return async (name, action) => {
    const begun = performance.now()
    try {
      const outcome = await action()
      const seconds = ((performance.now() - begun) / 1000).toFixed(1)
      write(`  ${name.padEnd(NAME_COLUMN)}${outcome.padEnd(OUTCOME_COLUMN)} ${seconds} s\n`)
    } catch (error) {
      write(`  ${name.padEnd(NAME_COLUMN)}failed\n`)
      throw error
    }
  }
}

/** For callers without a screen. */
export const silentSteps: Step = async (_name, action) => {
  await action()
}

/** Waits for all, then throws the first failure: no step is left running behind an error message. */
export async function together(actions: readonly Promise<unknown>[]): Promise<void> {
  const results = await Promise.allSettled(actions)
  const failed = results.find((result) => result.status === 'rejected')
  if (!failed) return
  throw failed.reason instanceof Error
    ? failed.reason
    : new RackError('command-failed', String(failed.reason), 'see the lines above')
}
