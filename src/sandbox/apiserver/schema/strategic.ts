// Strategic merge patch: a merge patch that knows which lists are sets of named things.
//
// Data in: the current object, a patch, the kind's schema (patch strategies and merge keys). Data out: a new object; neither input
// changes. Directives a patch may carry: `$patch: replace | delete | merge` in a map or list item, `$retainKeys` (keep only these
// keys), `$setElementOrder/<list>` and `$deleteFromPrimitiveList/<list>` beside a list. Semantics are those of the API conventions;
// kubectl apply and kubectl edit send nothing else to built-in kinds.
//
// One step beyond the real server: lists whose key is really a pair (ports: number and protocol) are matched by the pair when the
// number alone is ambiguous, so a Service may have port 53 for UDP and TCP and still be patched.

import { badRequest } from '../errors.ts'
import type { Schema } from '../kind.ts'
import {
  copyOf,
  type Definitions,
  fieldSchema,
  isJsonObject,
  type JsonObject,
  resolveSchema,
} from './traverse.ts'

const patchDirective = '$patch'
const retainKeysDirective = '$retainKeys'
const orderPrefix = '$setElementOrder/'
const deletePrefix = '$deleteFromPrimitiveList/'

export function strategicMergePatch(
  schema: Schema,
  definitions: Definitions,
  current: unknown,
  patch: unknown,
): unknown {
  if (!isJsonObject(patch)) throw badRequest('strategic merge patch: the body must be an object')
  return mergeMap({ definitions, schema, isRoot: true }, isJsonObject(current) ? current : {}, patch)
}

interface Place {
  readonly definitions: Definitions
  /** Undefined inside free-form data, where every list is replaced. */
  readonly schema: Schema | undefined
  readonly isRoot: boolean
}

function inside(place: Place, schema: Schema | undefined): Place {
  const resolved = schema === undefined ? undefined : resolveSchema(schema, place.definitions).schema
  return { definitions: place.definitions, schema: resolved, isRoot: false }
}

function fieldPlace(place: Place, field: string): Place {
  const own = place.schema === undefined ? undefined : resolveSchema(place.schema, place.definitions).schema
  return inside(place, own === undefined ? undefined : fieldSchema(own, field, place.isRoot))
}

function strategiesOf(schema: Schema | undefined): readonly string[] {
  return schema?.['x-kubernetes-patch-strategy']?.split(',') ?? []
}

function mergeMap(place: Place, current: JsonObject, patch: JsonObject): JsonObject {
  const directive = patch[patchDirective]
  if (directive === 'replace') return withoutDirectives(patch)
  if (directive === 'delete') return {}
  if (directive !== undefined && directive !== 'merge')
    throw badRequest(
      `strategic merge patch: unknown directive $patch: ${String(directive)}; use replace, delete or merge`,
    )
  const result = retainKeys(current, patch)
  const listFields = new Set<string>()
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith(orderPrefix)) listFields.add(key.slice(orderPrefix.length))
    else if (key.startsWith(deletePrefix)) listFields.add(key.slice(deletePrefix.length))
    else if (key.startsWith('$')) continue
    else if (value === null) delete result[key]
    else if (Array.isArray(value)) listFields.add(key)
    else result[key] = mergeField(fieldPlace(place, key), result[key], value)
  }
  for (const field of listFields) mergeListField(fieldPlace(place, field), result, field, patch)
  return result
}

function retainKeys(current: JsonObject, patch: JsonObject): JsonObject {
  const keep = patch[retainKeysDirective]
  if (keep === undefined) return { ...current }
  if (!Array.isArray(keep))
    throw badRequest('strategic merge patch: $retainKeys must be a list of field names')
  return Object.fromEntries(Object.entries(current).filter(([key]) => keep.includes(key)))
}

function mergeField(place: Place, current: unknown, value: unknown): unknown {
  if (!isJsonObject(value)) return copyOf(value)
  const isReplaced = strategiesOf(place.schema).includes('replace')
  if (isReplaced && value[patchDirective] === undefined) return withoutDirectives(value)
  return mergeMap(place, isJsonObject(current) ? current : {}, value)
}

function mergeListField(place: Place, result: JsonObject, field: string, patch: JsonObject): void {
  const listed = patch[field]
  if (listed === null) return
  const order = listOf(patch[`${orderPrefix}${field}`], orderPrefix)
  const removed = listOf(patch[`${deletePrefix}${field}`], deletePrefix)
  const current = Array.isArray(result[field]) ? (result[field] as unknown[]) : undefined
  const given = Array.isArray(listed) ? listed : undefined
  if (current === undefined && given === undefined) return
  if (!strategiesOf(place.schema).includes('merge')) {
    if (given !== undefined) result[field] = given.map(copyOf)
    return
  }
  const mergeKey = place.schema?.['x-kubernetes-patch-merge-key']
  const merged =
    mergeKey === undefined
      ? mergePrimitives(current ?? [], given ?? [], order, removed)
      : new KeyedList(place, mergeKey).merge(current ?? [], given ?? [], order)
  result[field] = merged
}

function listOf(value: unknown, directive: string): readonly unknown[] | undefined {
  if (value === undefined || value === null) return undefined
  if (!Array.isArray(value)) throw badRequest(`strategic merge patch: ${directive}… must be a list`)
  return value
}

function mergePrimitives(
  current: readonly unknown[],
  given: readonly unknown[],
  order: readonly unknown[] | undefined,
  removed: readonly unknown[] | undefined,
): unknown[] {
  const kept = current.filter((item) => !(removed ?? []).includes(item))
  const merged = [...new Set([...kept, ...given])]
  return order === undefined
    ? merged
    : inOrder(
        merged,
        current,
        order,
        (item) => String(item),
        (item) => String(item),
      )
}

/** A list of maps that are told apart by a key. */
class KeyedList {
  readonly #mergeKey: string
  /** All keys that together tell items apart; the first is the merge key. */
  readonly #keys: readonly string[]
  readonly #item: Place

  constructor(place: Place, mergeKey: string) {
    this.#mergeKey = mergeKey
    const listKeys = place.schema?.['x-kubernetes-list-map-keys'] ?? []
    this.#keys = [mergeKey, ...listKeys.filter((key) => key !== mergeKey)]
    this.#item = inside(place, place.schema?.items)
  }

  merge(
    current: readonly unknown[],
    patch: readonly unknown[],
    order: readonly unknown[] | undefined,
  ): unknown[] {
    const items = patch.map((item) => this.#checked(item))
    const isReplaced = items.some((item) => item[patchDirective] === 'replace')
    const plain = items.filter(
      (item) => item[patchDirective] === undefined || item[patchDirective] === 'merge',
    )
    if (isReplaced) return plain.map(withoutDirectives)
    let result: unknown[] = [...current]
    for (const item of items)
      if (item[patchDirective] === 'delete')
        result = result.filter((existing) => !this.#isDeletedBy(existing, item))
    const wanted = new Map<unknown, number>()
    for (const entry of order ?? [])
      if (isJsonObject(entry)) wanted.set(entry[this.#mergeKey], (wanted.get(entry[this.#mergeKey]) ?? 0) + 1)
    for (const item of plain) this.#mergeItem(result, item, wanted.get(item[this.#mergeKey]) ?? 1)
    return order === undefined ? result : this.#sorted(result, current, order)
  }

  #checked(item: unknown): JsonObject {
    if (!isJsonObject(item))
      throw badRequest('strategic merge patch: a list of objects cannot hold plain values')
    if (item[this.#mergeKey] === undefined && item[patchDirective] !== 'replace')
      throw badRequest(`map: ${JSON.stringify(item)} does not contain declared merge key: ${this.#mergeKey}`)
    return item
  }

  #isDeletedBy(existing: unknown, deletion: JsonObject): boolean {
    if (!isJsonObject(existing)) return false
    return this.#keys.every(
      (key) => deletion[key] === undefined || this.#keyOf(existing, key) === deletion[key],
    )
  }

  #keyOf(item: JsonObject, key: string): unknown {
    return item[key] ?? this.#item.schema?.properties?.[key]?.default
  }

  /** `wantedCount`: how many items with this merge key the result shall have. */
  #mergeItem(result: unknown[], item: JsonObject, wantedCount: number): void {
    const matches = [...result.entries()].filter(
      (entry): entry is [number, JsonObject] =>
        isJsonObject(entry[1]) && entry[1][this.#mergeKey] === item[this.#mergeKey],
    )
    const isAmbiguous = matches.length > 1 || wantedCount > matches.length
    const exact = matches.filter(([, existing]) =>
      this.#keys.every((key) => this.#keyOf(existing, key) === this.#keyOf(item, key)),
    )
    const [target] = isAmbiguous && this.#keys.length > 1 && this.#namesAllKeys(item) ? exact : matches
    if (target === undefined) result.push(mergeMap(this.#item, {}, item))
    else result[target[0]] = mergeMap(this.#item, target[1], item)
  }

  #namesAllKeys(item: JsonObject): boolean {
    return this.#keys.every((key) => this.#keyOf(item, key) !== undefined)
  }

  #sorted(result: readonly unknown[], current: readonly unknown[], order: readonly unknown[]): unknown[] {
    const identity = (item: unknown): string =>
      isJsonObject(item) ? JSON.stringify(item[this.#mergeKey] ?? null) : JSON.stringify(item)
    return inOrder(result, current, order, identity, identity)
  }
}

/**
 * Items named by `order` in that order; items only the server has keep their place among those they stood with before.
 */
function inOrder(
  items: readonly unknown[],
  current: readonly unknown[],
  order: readonly unknown[],
  identityOf: (item: unknown) => string,
  orderIdentityOf: (entry: unknown) => string,
): unknown[] {
  const rank = new Map(order.map((entry, index) => [orderIdentityOf(entry), index]))
  const place = new Map(current.map((item, index) => [identityOf(item), index]))
  const named = items.filter((item) => rank.has(identityOf(item)))
  named.sort((left, right) => (rank.get(identityOf(left)) ?? 0) - (rank.get(identityOf(right)) ?? 0))
  const others = items.filter((item) => !rank.has(identityOf(item)))
  const result: unknown[] = []
  for (const item of named) {
    const itemPlace = place.get(identityOf(item))
    while (itemPlace !== undefined && others.length > 0) {
      const next = others[0]
      if ((place.get(identityOf(next)) ?? Number.POSITIVE_INFINITY) > itemPlace) break
      result.push(others.shift())
    }
    result.push(item)
  }
  return [...result, ...others]
}

/** A copy of new data: directives have done their work, nulls mean absent. */
function withoutDirectives(value: JsonObject): JsonObject {
  const clean = (inner: unknown): unknown => {
    if (Array.isArray(inner)) return inner.map(clean)
    return isJsonObject(inner) ? withoutDirectives(inner) : inner
  }
  const fields = Object.entries(value).filter(([key, inner]) => !key.startsWith('$') && inner !== null)
  return Object.fromEntries(fields.map(([key, inner]) => [key, clean(inner)]))
}
