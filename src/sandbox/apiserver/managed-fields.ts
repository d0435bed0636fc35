// metadata.managedFields: who set which field. Entries in wire form (FieldsV1) ⇄ sets of paths, and the two rules that move
// ownership: an update takes what it changed from everyone else; an apply owns exactly its configuration and conflicts where it
// would change what another owns.

import { applyConflict, type StatusCause } from './errors.ts'
import {
  type Comparison,
  compareFields,
  type FieldPath,
  type FieldValues,
  pathOf,
  printPath,
  stepsOf,
} from './field-paths.ts'
import { isRecord, type JsonRecord, openRecord } from './json.ts'
import type { KubeObject } from './kind.ts'

export interface Manager {
  readonly name: string
  readonly operation: 'Apply' | 'Update'
  readonly apiVersion: string
  readonly subresource: string
}

export interface Ownership {
  readonly manager: Manager
  readonly fields: ReadonlySet<FieldPath>
  readonly time: string
}

const isSameManager = (left: Manager, right: Manager): boolean =>
  left.name === right.name &&
  left.operation === right.operation &&
  left.subresource === right.subresource &&
  (left.operation === 'Apply' || left.apiVersion === right.apiVersion)

const collectPaths = (fields: JsonRecord, steps: string[], into: Set<FieldPath>): void => {
  const keys = Object.keys(fields)
  if (keys.length === 0 && steps.length > 0) into.add(pathOf(steps))
  for (const key of keys) {
    const inner = fields[key]
    if (key === '.') into.add(pathOf(steps))
    else if (isRecord(inner)) collectPaths(inner, [...steps, key], into)
  }
}

const toFieldsV1 = (paths: ReadonlySet<FieldPath>): JsonRecord => {
  const root: JsonRecord = {}
  const terminals: JsonRecord[] = []
  for (const path of [...paths].sort()) {
    let node = root
    for (const step of stepsOf(path)) {
      node = openRecord(node, step)
    }
    terminals.push(node)
  }
  // A field that is owned itself and has owned fields inside carries "."; a childless one is owned by being there.
  for (const node of terminals) if (Object.keys(node).length > 0) node['.'] = {}
  return root
}

export const readOwnership = (managedFields: unknown): Ownership[] => {
  if (!Array.isArray(managedFields)) return []
  return managedFields.filter(isRecord).flatMap((entry) => {
    const fields = new Set<FieldPath>()
    if (isRecord(entry['fieldsV1'])) collectPaths(entry['fieldsV1'], [], fields)
    if (fields.size === 0) return []
    const manager: Manager = {
      name: String(entry['manager'] ?? 'unknown'),
      operation: entry['operation'] === 'Apply' ? 'Apply' : 'Update',
      apiVersion: String(entry['apiVersion'] ?? ''),
      subresource: String(entry['subresource'] ?? ''),
    }
    return [{ manager, fields, time: String(entry['time'] ?? '') }]
  })
}

export const writeOwnership = (owners: readonly Ownership[]): JsonRecord[] =>
  [...owners].sort(byOperationAndTime).map(({ manager, fields, time }) => ({
    manager: manager.name,
    operation: manager.operation,
    apiVersion: manager.apiVersion,
    ...(time === '' ? {} : { time }),
    fieldsType: 'FieldsV1',
    fieldsV1: toFieldsV1(fields),
    ...(manager.subresource === '' ? {} : { subresource: manager.subresource }),
  }))

/** Applies first, then by time, then by name: the order Kubernetes writes. */
const byOperationAndTime = (left: Ownership, right: Ownership): number => {
  if (left.manager.operation !== right.manager.operation) return left.manager.operation === 'Apply' ? -1 : 1
  if (left.time !== right.time) return left.time < right.time ? -1 : 1
  return left.manager.name < right.manager.name ? -1 : 1
}

const without = (fields: ReadonlySet<FieldPath>, ...lost: ReadonlySet<FieldPath>[]): Set<FieldPath> => {
  const kept = new Set<FieldPath>()
  for (const path of fields) if (!lost.some((set) => set.has(path))) kept.add(path)
  return kept
}

const withFields = (owner: Ownership, fields: ReadonlySet<FieldPath>, time: string): Ownership =>
  fields.size === owner.fields.size && [...fields].every((path) => owner.fields.has(path))
    ? owner
    : { ...owner, fields, time }

/**
 * What a write did, for ownership: changed is what the writer sent or let default (`written`), not what the cluster added on the way
 * to the stored state; removed is what the stored state lacks.
 */
export const compareWrite = (before: FieldValues, written: FieldValues, stored: FieldValues): Comparison => {
  const { removed } = compareFields(before, stored)
  const { changed } = compareFields(before, written)
  for (const path of changed) if (!stored.has(path)) changed.delete(path)
  return { changed, removed }
}

/** After an ordinary write: the writer gains what changed, everyone else loses it, and nobody owns what is gone. */
export const ownershipAfterUpdate = (
  owners: readonly Ownership[],
  writer: Manager,
  { changed, removed }: Comparison,
  now: string,
): Ownership[] => {
  let writerSeen = false
  const next = owners.map((owner) => {
    if (!isSameManager(owner.manager, writer))
      return withFields(owner, without(owner.fields, changed, removed), owner.time)
    writerSeen = true
    return withFields(owner, new Set([...without(owner.fields, removed), ...changed]), now)
  })
  if (!writerSeen) next.push({ manager: writer, fields: changed, time: now })
  return next.filter((owner) => owner.fields.size > 0)
}

/** After an apply: the applier owns its configuration; what it changed leaves the others (they were asked before, see conflicts). */
export const ownershipAfterApply = (
  owners: readonly Ownership[],
  applier: Manager,
  applied: ReadonlySet<FieldPath>,
  { changed, removed }: Comparison,
  now: string,
): Ownership[] => {
  let applierSeen = false
  const next = owners.map((owner) => {
    if (!isSameManager(owner.manager, applier))
      return withFields(owner, without(owner.fields, changed, removed), owner.time)
    applierSeen = true
    return { ...withFields(owner, applied, now), manager: applier }
  })
  if (!applierSeen) next.push({ manager: applier, fields: applied, time: now })
  return next.filter((owner) => owner.fields.size > 0)
}

export const ownedBy = (owners: readonly Ownership[], manager: Manager): ReadonlySet<FieldPath> =>
  owners.find((owner) => isSameManager(owner.manager, manager))?.fields ?? new Set()

export const ownedByOthers = (owners: readonly Ownership[], manager: Manager): Set<FieldPath> => {
  const paths = new Set<FieldPath>()
  for (const owner of owners) {
    if (isSameManager(owner.manager, manager)) continue
    for (const path of owner.fields) paths.add(path)
  }
  return paths
}

const printManager = ({ manager, time }: Ownership): string => {
  let text = `"${manager.name}"`
  if (manager.subresource !== '') text += ` with subresource "${manager.subresource}"`
  if (manager.operation === 'Update')
    text += ` using ${manager.apiVersion}${time === '' ? '' : ` at ${time}`}`
  return text
}

/** Throws 409 when the applier would change a field that another owns. */
export const assertNoConflicts = (
  owners: readonly Ownership[],
  applier: Manager,
  changed: ReadonlySet<FieldPath>,
): void => {
  const conflicts = owners
    .filter((owner) => !isSameManager(owner.manager, applier))
    .flatMap((owner) =>
      [...owner.fields].filter((path) => changed.has(path)).map((path) => ({ owner, path })),
    )
  if (conflicts.length === 0) return
  const causes: StatusCause[] = conflicts.map(({ owner, path }) => ({
    reason: 'FieldManagerConflict',
    message: `conflict with ${printManager(owner)}`,
    field: printPath(path),
  }))
  const [only] = causes
  if (causes.length === 1 && only) {
    throw applyConflict(`Apply failed with 1 conflict: ${only.message}: ${only.field}`, causes)
  }
  const lines: string[] = []
  for (const owner of new Set(conflicts.map((entry) => entry.owner))) {
    lines.push(`conflicts with ${printManager(owner)}:`)
    for (const entry of conflicts) if (entry.owner === owner) lines.push(`- ${printPath(entry.path)}`)
  }
  throw applyConflict(`Apply failed with ${causes.length} conflicts: ${lines.join('\n')}`, causes)
}

/**
 * The entries a write starts from: those it sends (clients may edit managedFields, kubectl does when it migrates from client-side
 * apply), or the stored ones when it sends none. A single empty entry asks for a reset; an empty list does not, because clients that
 * know nothing of the field send that.
 */
export const baseOwnership = (incoming: KubeObject, previous: KubeObject | undefined): Ownership[] => {
  const sent = incoming.metadata.managedFields
  if (!Array.isArray(sent) || sent.length === 0) return readOwnership(previous?.metadata.managedFields)
  return readOwnership(sent)
}
