// JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386) over plain JSON. Strategic merge needs a schema and lives in
// schema/strategic.ts; server-side apply in apply.ts. All of them return a new value and leave their input alone.

import { badRequest, StatusError } from './errors.ts'
import { clone, deepEqual, isRecord, type JsonRecord } from './json.ts'

/** A patch with more operations than this is refused, as the real server does. */
const maxJsonPatchOperations = 10_000

interface Operation {
  op: string
  path: string
  from?: string
  value?: unknown
}

const parsePointer = (pointer: string): string[] => {
  if (pointer === '') return []
  if (!pointer.startsWith('/')) throw badRequest(`json patch: path "${pointer}" must start with "/"`)
  return pointer
    .slice(1)
    .split('/')
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
}

const failed = (operation: string, pointer: string): StatusError =>
  new StatusError(
    422,
    'Invalid',
    `the server rejected our request due to an error in our request: ${operation} operation does not apply: ` +
      `doc is missing path: "${pointer}"`,
    {},
  )

const arrayIndex = (step: string, length: number, operation: string, pointer: string): number => {
  const index = /^(0|[1-9]\d*)$/.test(step) ? Number(step) : -1
  if (index < 0 || index > length) throw failed(operation, pointer)
  return index
}

const child = (parent: unknown, step: string, operation: string, pointer: string): unknown => {
  if (Array.isArray(parent)) {
    const index = arrayIndex(step, parent.length - 1, operation, pointer)
    return parent[index]
  }
  if (!isRecord(parent) || !Object.hasOwn(parent, step)) throw failed(operation, pointer)
  return parent[step]
}

const readAt = (document: unknown, pointer: string, operation: string): unknown =>
  parsePointer(pointer).reduce((parent: unknown, step) => child(parent, step, operation, pointer), document)

/** Changes the container at the pointer's parent in place: `document` is our own copy. */
const changeAt = (
  document: unknown,
  pointer: string,
  operation: string,
  change: (parent: unknown[] | JsonRecord, step: string) => void,
): void => {
  const steps = parsePointer(pointer)
  const last = steps.pop()
  if (last === undefined) throw failed(operation, pointer)
  let parent = document
  for (const step of steps) parent = child(parent, step, operation, pointer)
  if (!Array.isArray(parent) && !isRecord(parent)) throw failed(operation, pointer)
  change(parent, last)
}

const add = (document: unknown, pointer: string, value: unknown): unknown => {
  if (pointer === '') return value
  changeAt(document, pointer, 'add', (parent, step) => {
    if (Array.isArray(parent)) {
      const index = step === '-' ? parent.length : arrayIndex(step, parent.length, 'add', pointer)
      parent.splice(index, 0, value)
    } else parent[step] = value
  })
  return document
}

const remove = (document: unknown, pointer: string): void =>
  changeAt(document, pointer, 'remove', (parent, step) => {
    child(parent, step, 'remove', pointer)
    if (Array.isArray(parent)) parent.splice(Number(step), 1)
    else delete parent[step]
  })

const replace = (document: unknown, pointer: string, value: unknown): unknown => {
  if (pointer === '') return value
  changeAt(document, pointer, 'replace', (parent, step) => {
    child(parent, step, 'replace', pointer)
    if (Array.isArray(parent)) parent[Number(step)] = value
    else parent[step] = value
  })
  return document
}

const applyOperation = (document: unknown, operation: Operation): unknown => {
  const { op, path } = operation
  switch (op) {
    case 'add':
      return add(document, path, clone(operation.value))
    case 'replace':
      return replace(document, path, clone(operation.value))
    case 'remove':
      remove(document, path)
      return document
    case 'move': {
      const value = readAt(document, operation.from ?? '', 'move')
      remove(document, operation.from ?? '')
      return add(document, path, value)
    }
    case 'copy':
      return add(document, path, clone(readAt(document, operation.from ?? '', 'copy')))
    case 'test':
      if (deepEqual(testedValue(document, path), operation.value ?? null)) return document
      throw new StatusError(
        422,
        'Invalid',
        `the server rejected our request due to an error in our request: testing path ${path} failed`,
        {},
      )
    default:
      throw badRequest(`json patch: unexpected kind of operation: ${op}`)
  }
}

/** A missing value tests equal to null: csaupgrade and other clients rely on it. */
const testedValue = (document: unknown, path: string): unknown => {
  try {
    return readAt(document, path, 'test') ?? null
  } catch {
    return null
  }
}

export const applyJsonPatch = (current: unknown, patch: unknown): unknown => {
  if (!Array.isArray(patch)) throw badRequest('json patch: the body must be an array of operations')
  if (patch.length > maxJsonPatchOperations) {
    throw new StatusError(
      413,
      'RequestEntityTooLarge',
      `The allowed maximum operations in a JSON patch is ${maxJsonPatchOperations}, got ${patch.length}`,
    )
  }
  let document = clone(current)
  for (const operation of patch) {
    if (
      !isRecord(operation) ||
      typeof operation['op'] !== 'string' ||
      typeof operation['path'] !== 'string'
    ) {
      throw badRequest('json patch: every operation needs "op" and "path"')
    }
    document = applyOperation(document, operation as unknown as Operation)
  }
  return document
}

export const applyMergePatch = (current: unknown, patch: unknown): unknown => {
  if (!isRecord(patch)) return clone(patch)
  const result: JsonRecord = isRecord(current) ? { ...(clone(current) as JsonRecord) } : {}
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key]
    else result[key] = isRecord(value) ? applyMergePatch(result[key], value) : clone(value)
  }
  return result
}
