// Server-side apply: live object + configuration → merged object, with fields dropped that the applier owned before and no longer
// names. Ownership itself is managed-fields.ts; this file only moves values.

import {
  type FieldPath,
  isAtomicMap,
  isInside,
  itemStep,
  listShape,
  memberSchema,
  resolve,
  stepsOf,
  withMetadata,
} from './field-paths.ts'
import { clone, isRecord, type JsonRecord } from './json.ts'
import type { Schema } from './kind.ts'
import type { Definitions } from './schema-tools.ts'

const mergeValue = (
  live: unknown,
  applied: unknown,
  schema: Schema | undefined,
  definitions: Definitions,
): unknown => {
  if (Array.isArray(applied) && Array.isArray(live)) return mergeList(live, applied, schema, definitions)
  if (!isRecord(applied) || isAtomicMap(schema, definitions)) return clone(applied)
  const merged: JsonRecord = isRecord(live) ? { ...live } : {}
  const resolved = resolve(schema, definitions)
  for (const [key, value] of Object.entries(applied)) {
    if (value === null) delete merged[key]
    else merged[key] = mergeValue(merged[key], value, memberSchema(resolved, key), definitions)
  }
  return merged
}

/** Associative lists: shared items merge in the configuration's order, the others' items keep their place before them. */
const mergeList = (
  live: unknown[],
  applied: unknown[],
  schema: Schema | undefined,
  definitions: Definitions,
): unknown[] => {
  const shape = listShape(schema, definitions)
  if (shape.type === 'atomic') return clone(applied)
  const items = resolve(schema, definitions)?.items
  const stepOf = (item: unknown): string => itemStep(item, shape, items, definitions)
  const liveByStep = new Map(live.map((item) => [stepOf(item), item]))
  const appliedSteps = applied.map(stepOf)
  const isApplied = new Set(appliedSteps)
  const liveSteps = [...liveByStep.keys()]
  const merged: unknown[] = []
  let next = 0
  for (const [index, step] of appliedSteps.entries()) {
    while (next < liveSteps.length && !isApplied.has(liveSteps[next] ?? '')) {
      merged.push(liveByStep.get(liveSteps[next] ?? ''))
      next += 1
    }
    if (liveSteps[next] === step) next += 1
    merged.push(mergeValue(liveByStep.get(step), applied[index], items, definitions))
  }
  for (const step of liveSteps.slice(next)) if (!isApplied.has(step)) merged.push(liveByStep.get(step))
  return merged
}

export const mergeApplied = (
  live: JsonRecord,
  applied: JsonRecord,
  schema: Schema,
  definitions: Definitions,
): JsonRecord => mergeValue(live, applied, withMetadata(schema, definitions), definitions) as JsonRecord

/** Removes one path; a copy is made along the way, never of the rest. Parents left empty by it go too. */
const removePath = (
  value: unknown,
  steps: readonly string[],
  schema: Schema | undefined,
  definitions: Definitions,
): unknown => {
  const [step = '', ...rest] = steps
  if (Array.isArray(value)) {
    const shape = listShape(schema, definitions)
    const items = resolve(schema, definitions)?.items
    const index = value.findIndex((item) => itemStep(item, shape, items, definitions) === step)
    if (index < 0) return value
    const copy = [...value]
    if (rest.length === 0) copy.splice(index, 1)
    else copy[index] = removePath(value[index], rest, items, definitions)
    return copy
  }
  const key = step.slice(2)
  if (!isRecord(value) || !Object.hasOwn(value, key)) return value
  const copy = { ...value }
  const inner =
    rest.length === 0
      ? undefined
      : removePath(value[key], rest, memberSchema(resolve(schema, definitions), key), definitions)
  if (inner === undefined || isEmptied(inner, value[key])) delete copy[key]
  else copy[key] = inner
  return copy
}

const isEmptied = (after: unknown, before: unknown): boolean =>
  after !== before &&
  (Array.isArray(after) ? after.length === 0 : isRecord(after) && Object.keys(after).length === 0)

/**
 * Drops what the applier owned, no longer applies, and nobody else owns: `dropped` minus paths that others own or own something in.
 * A list item that stays keeps the fields that name it.
 */
export const dropFields = (
  object: JsonRecord,
  dropped: readonly FieldPath[],
  kept: ReadonlySet<FieldPath>,
  schema: Schema,
  definitions: Definitions,
): JsonRecord => {
  const complete = withMetadata(schema, definitions)
  const removable = dropped.filter((path) => {
    if (kept.has(path) || isKeyOfItem(path)) return false
    for (const other of kept) if (isInside(other, path)) return false
    return true
  })
  let result: unknown = object
  for (const path of removable) {
    const goesWithParent = removable.some((other) => isInside(path, other))
    if (!goesWithParent) result = removePath(result, stepsOf(path), complete, definitions)
  }
  return result as JsonRecord
}

const isKeyOfItem = (path: FieldPath): boolean => {
  const steps = stepsOf(path)
  const item = steps.at(-2)
  if (!item?.startsWith('k:')) return false
  return Object.hasOwn(JSON.parse(item.slice(2)) as JsonRecord, steps.at(-1)?.slice(2) ?? '')
}
