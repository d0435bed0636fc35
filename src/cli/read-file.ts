// A file that a command names.

import { readFileSync } from 'node:fs'
import { UsageError } from './options.ts'

/** `-`: standard input. Throws UsageError. */
export function readNamedFile(file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8')
  } catch (error) {
    throw new UsageError(
      `cannot read ${file} (${(error as NodeJS.ErrnoException).code}). Mend: name an existing file`,
    )
  }
}
