// Files that daemons are started from: rewritten only when their text differs, so that a second `up` restarts nothing.

import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'

/** Resolves to whether the file had to be written. A reader sees the old text or the new, never half. */
export function writeIfChanged(path: string, text: string, mode: number): boolean {
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return false
  writeFileSync(`${path}.part`, text, { mode })
  renameSync(`${path}.part`, path)
  return true
}
