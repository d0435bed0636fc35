// A case as YAML that a person reads: selectors as text, everything that is empty or usual left out.

import { stringify } from 'yaml'
import type { LabelSelector } from '../../src/model/label-selector.ts'
import type { Case } from './minimize.ts'

function selectorText({ requirements }: LabelSelector): string {
  const texts = requirements.map(({ key, operator, values }) => {
    if (operator === 'Exists') return key
    if (operator === 'DoesNotExist') return `!${key}`
    return `${key} ${operator === 'In' ? 'in' : 'not in'} (${values.join(', ')})`
  })
  return texts.length === 0 ? 'everything' : texts.join(', ')
}

function isSelector(value: object): value is LabelSelector {
  return 'requirements' in value
}

/** A policy's name where another thing refers to it. */
function refText(value: object): string | undefined {
  const { kind, key, part, ...rest } = value as Readonly<Record<string, unknown>>
  if (typeof kind !== 'string' || typeof key !== 'string' || typeof part !== 'number') return undefined
  return Object.keys(rest).length === 0 ? `${kind} ${key}${part === 0 ? '' : ` part ${part}`}` : undefined
}

/** What says nothing: identifiers that no verdict depends on, and numbers that are usual. */
const isIdle = (key: string, value: unknown) => key === 'uid' || (key === 'part' && value === 0)

const isUsual = (value: unknown) =>
  value === undefined ||
  value === false ||
  (typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length === 0)

/** Empty lists mean nobody and nothing in rules, so they stay there; elsewhere they are left out. */
const MEANINGFUL_LISTS = new Set(['peers', 'ports', 'rules'])

export function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain)
  if (value instanceof Map) return plain(Object.fromEntries(value))
  if (typeof value !== 'object' || value === null) return value
  if (isSelector(value)) return selectorText(value)
  const name = refText(value)
  if (name !== undefined) return name
  return Object.fromEntries(
    Object.entries(value)
      .map(([key, inner]) => [key, plain(inner)] as const)
      .filter(
        ([key, inner]) =>
          !isIdle(key, inner) &&
          !isUsual(inner) &&
          !(Array.isArray(inner) && inner.length === 0 && !MEANINGFUL_LISTS.has(key)),
      ),
  )
}

/** @param answers who says what, in the order to be printed */
export function printCase({ world, probe }: Case, answers: Readonly<Record<string, unknown>>): string {
  const { packet, direction } = probe
  const parts = { ...world, packet, direction, ...answers }
  return stringify(plain(parts), { lineWidth: 0, aliasDuplicateObjects: false })
}
