// An agent of another version than the command that asks it: said in words, where a field that is not there would end in a crash.

import type { z } from 'zod'

/** More of them tell nothing new. */
const FIELDS_TOLD_MAX = 3
const MEND =
  "restart the agent with this version, or use the command of the agent's own (in its pod: kubectl exec); -o json shows the answer as it is"

/** @param agent undefined: of the time before agents told theirs */
function describeVersions(agent: string | undefined, own: string): string {
  if (agent === undefined) return `the agent is older than this command (${own})`
  const order = compareVersions(agent, own)
  if (order === 0) return `the agent is older or newer than this command (both call themselves ${own})`
  return `the agent (${agent}) is ${order < 0 ? 'older' : 'newer'} than this command (${own})`
}

export function otherVersion(agent: string | undefined, own: string, what: string): string {
  return `${describeVersions(agent, own)}: ${what}. Mend: ${MEND}`
}

/** What of an answer is not as the command knows it. */
export function describeMismatch(answer: unknown, { issues }: Pick<z.core.$ZodError, 'issues'>): string {
  const lacking = new Set<string>()
  const differing = new Set<string>()
  for (const { path } of issues) {
    const isThere = valueAt(answer, path) !== undefined
    const found = isThere ? differing : lacking
    found.add(`'${path.map(String).join('.')}'`)
  }
  const told = (names: ReadonlySet<string>) => [...names].slice(0, FIELDS_TOLD_MAX).join(', ')
  return [
    ...(lacking.size > 0 ? [`its answer lacks ${told(lacking)}`] : []),
    ...(differing.size > 0 ? [`it answers otherwise at ${told(differing)}`] : []),
  ].join('; ')
}

function valueAt(answer: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (value, key) =>
      typeof value === 'object' && value !== null ? (value as Record<PropertyKey, unknown>)[key] : undefined,
    answer,
  )
}

function compareVersions(left: string, right: string): number {
  const numbers = (text: string) => text.split(/[.-]/).map((part) => Number.parseInt(part, 10) || 0)
  const [a, b] = [numbers(left), numbers(right)]
  const differing = a.findIndex((number, index) => number !== (b[index] ?? 0))
  return differing < 0 ? 0 : (a[differing] ?? 0) - (b[differing] ?? 0)
}
