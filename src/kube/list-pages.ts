// A whole list, page by page. A page is parsed at one go, so pages are kept small enough that parsing one holds nothing up; and a
// list whose continue token expired half way (410) is begun anew, the second time in one piece, for then paging is too slow here.

import { setImmediate } from 'node:timers/promises'
import type { KubeClient, ListQuery } from './client.ts'
import { isKubeError } from './errors.ts'
import type { ApiObject, Resource } from './objects.ts'

const PAGE_SIZE = 500
const PAGE_SIZE_MIN = 20
/** JSON of about 10 ms to parse. */
const PAGE_BYTES = 512 * 1024

export interface ListPagesOptions<T extends ApiObject> {
  readonly client: KubeClient
  readonly resource: Resource<T>
  readonly query: Pick<ListQuery, 'namespace' | 'labelSelector' | 'fieldSelector'>
  readonly pageSize?: number | undefined
  readonly signal: AbortSignal
}

/** @returns the version of the list */
export async function listPages<T extends ApiObject>(
  options: ListPagesOptions<T>,
  onStart: () => void,
  onItem: (object: T) => void,
): Promise<string> {
  try {
    return await turnPages(options, options.pageSize ?? PAGE_SIZE, onStart, onItem)
  } catch (error) {
    if (!isKubeError(error, 'gone')) throw error
    return await turnPages(options, undefined, onStart, onItem)
  }
}

async function turnPages<T extends ApiObject>(
  { client, resource, query, pageSize, signal }: ListPagesOptions<T>,
  firstLimit: number | undefined,
  onStart: () => void,
  onItem: (object: T) => void,
): Promise<string> {
  onStart()
  let limit = firstLimit
  let next: string | undefined
  let version: string | undefined
  do {
    const { list, bytes } = await client.listPage(resource, { ...query, limit, continue: next }, signal)
    for (const object of list.items) onItem(object)
    next = list.metadata.continue || undefined
    version = list.metadata.resourceVersion
    if (next !== undefined && limit !== undefined && pageSize === undefined && list.items.length > 0)
      limit = nextLimit(bytes / list.items.length)
    // What came over a fast connection is there at once: others get their turn.
    if (next !== undefined) await setImmediate()
  } while (next !== undefined)
  return version ?? '0'
}

function nextLimit(bytesPerItem: number): number {
  return Math.max(PAGE_SIZE_MIN, Math.min(PAGE_SIZE, Math.floor(PAGE_BYTES / bytesPerItem)))
}
