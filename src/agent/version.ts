// The version that agent and commands tell each other.

import { readFileSync } from 'node:fs'

/** Of the answers of the local API; agents before it was told have none. */
export const VERSION_HEADER = 'weir-version'

export function weirVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}
