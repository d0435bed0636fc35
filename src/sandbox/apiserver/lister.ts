// Lists: which revision a client gets, selectors, and pages. A paged list is consistent: its pages come from the objects as they
// were when the first page was made (objects are immutable, so a page set is an array of references).

import { badRequest, expired, invalid } from './errors.ts'
import type { KindDefinition, KubeObject } from './kind.ts'
import { inVersion } from './registry.ts'
import { keyOfKind } from './sections.ts'
import type { ObjectPredicate } from './selectors.ts'
import { parseSelectors } from './selectors.ts'
import type { Storage } from './storage.ts'

/** Page sets kept for clients that are still turning pages; the oldest is dropped first and its client told to start again. */
const maxPageSets = 64
const pageSetLifeMs = 5 * 60 * 1000

export interface ListResult {
  items: KubeObject[]
  resourceVersion: string
  continueToken?: string
  remainingItemCount?: number
}

interface PageSet {
  readonly items: readonly KubeObject[]
  readonly revision: number
  readonly madeMs: number
  readonly query: string
  readonly hasSelector: boolean
}

export class Lister {
  readonly #storage: Storage
  readonly #nowMs: () => number
  #pageSets = new Map<string, PageSet>()
  #nextPageSet = 1

  constructor(storage: Storage, nowMs: () => number) {
    this.#storage = storage
    this.#nowMs = nowMs
  }

  list(kind: KindDefinition, namespace: string | undefined, query: URLSearchParams): ListResult {
    const limit = parseLimit(query.get('limit'))
    const token = query.get('continue') ?? ''
    if (token !== '') {
      if (query.get('resourceVersion') && query.get('resourceVersion') !== '0') {
        throw badRequest('specifying resource version is not allowed when using continue')
      }
      return this.#nextPage(token, limit, scopeOf(kind, namespace, query))
    }
    const predicate = parseSelectors(query, kind)
    const { items, revision } = this.#select(kind, namespace, query, predicate)
    if (limit === 0 || items.length <= limit) return { items, resourceVersion: String(revision) }
    const id = String(this.#nextPageSet++)
    this.#keep(id, {
      items,
      revision,
      madeMs: this.#nowMs(),
      query: scopeOf(kind, namespace, query),
      hasSelector: predicate !== undefined,
    })
    return this.#page(id, 0, limit)
  }

  #select(
    kind: KindDefinition,
    namespace: string | undefined,
    query: URLSearchParams,
    predicate: ObjectPredicate | undefined,
  ): { items: KubeObject[]; revision: number } {
    const asked = query.get('resourceVersion') ?? ''
    const match = query.get('resourceVersionMatch') ?? ''
    const revision = parseResourceVersion(asked)
    assertMatch(kind, match, asked)
    const isExact = match === 'Exact'
    if (revision !== undefined) this.#storage.assertReached(revision)
    const key = keyOfKind(kind)
    const found =
      isExact && revision !== undefined
        ? this.#storage.listAt(key, revision, namespace)
        : this.#storage.list(key, namespace)
    const items = (predicate ? found.filter(predicate) : found).map((object) => inVersion(object, kind))
    return { items, revision: isExact && revision !== undefined ? revision : this.#storage.revision }
  }

  #nextPage(token: string, limit: number, scope: string): ListResult {
    const match = /^([0-9]+)\.([0-9]+)$/.exec(Buffer.from(token, 'base64url').toString('latin1'))
    if (!match) throw badRequest('continue key is not valid: it was not issued by this server')
    const [, id = '', offset] = match
    const set = this.#pageSets.get(id)
    if (!set) {
      throw expired(
        'The provided continue parameter is too old to display a consistent list result. Start a new list without it.',
      )
    }
    if (set.query !== scope) throw badRequest('continue key is not valid: it belongs to another list')
    return this.#page(id, Number(offset), limit)
  }

  #page(id: string, offset: number, limit: number): ListResult {
    const set = this.#pageSets.get(id) as PageSet
    const end = limit === 0 ? set.items.length : Math.min(set.items.length, offset + limit)
    const result: ListResult = { items: set.items.slice(offset, end), resourceVersion: String(set.revision) }
    const remaining = set.items.length - end
    if (remaining === 0) return result
    result.continueToken = Buffer.from(`${id}.${end}`, 'latin1').toString('base64url')
    // Kubernetes gives no estimate for selected lists.
    if (!set.hasSelector) result.remainingItemCount = remaining
    return result
  }

  #keep(id: string, set: PageSet): void {
    for (const [oldId, old] of this.#pageSets) {
      const isExpired = old.madeMs + pageSetLifeMs < this.#nowMs()
      if (isExpired || this.#pageSets.size >= maxPageSets) this.#pageSets.delete(oldId)
    }
    this.#pageSets.set(id, set)
  }
}

const scopeOf = (kind: KindDefinition, namespace: string | undefined, query: URLSearchParams): string =>
  [
    kind.group,
    kind.version,
    kind.plural,
    namespace ?? '',
    query.get('labelSelector'),
    query.get('fieldSelector'),
  ].join(' ')

const parseLimit = (text: string | null): number => {
  if (text === null || text === '') return 0
  const limit = Number(text)
  if (!Number.isInteger(limit) || limit < 0)
    throw badRequest(`limit: Invalid value: "${text}": must be 0 or more`)
  return limit
}

/** undefined when the client leaves the choice to the server ('' or '0'). */
export const parseResourceVersion = (text: string): number | undefined => {
  if (text === '' || text === '0') return undefined
  if (!/^\d+$/.test(text))
    throw badRequest(`resourceVersion: Invalid value: "${text}": must be a decimal number`)
  return Number(text)
}

const assertMatch = (kind: KindDefinition, match: string, asked: string): void => {
  if (match === '') return
  const fail = (message: string): never => {
    throw invalid({ ...kind, kind: 'ListOptions', group: 'meta.k8s.io' }, '', [
      { field: 'resourceVersionMatch', reason: 'FieldValueForbidden', message },
    ])
  }
  if (match !== 'Exact' && match !== 'NotOlderThan') fail('must be Exact or NotOlderThan')
  if (asked === '') fail('resourceVersionMatch is forbidden unless resourceVersion is provided')
  if (match === 'Exact' && asked === '0')
    fail('resourceVersionMatch "Exact" is forbidden for resourceVersion "0"')
}
