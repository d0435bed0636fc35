// What a request asks to do, in the words of a Role: verb, resource, namespace, name; of a path that is no resource, the path. Pure.

import { type ApiRequest, isTrue, parseResourcePath } from './request.ts'

export interface ResourceAttributes {
  readonly group: string
  readonly plural: string
  readonly subresource?: string | undefined
  readonly namespace?: string | undefined
  readonly name?: string | undefined
}

export interface Attributes {
  readonly verb: string
  readonly path: string
  readonly resource?: ResourceAttributes | undefined
}

const verbs: Readonly<Record<string, string>> = {
  POST: 'create',
  GET: 'get',
  HEAD: 'get',
  PUT: 'update',
  PATCH: 'patch',
  DELETE: 'delete',
}

export const attributesOf = (request: ApiRequest): Attributes => {
  const { method, path, query } = request
  const found = parseResourcePath(path)
  if (!found) return { verb: method.toLowerCase(), path }
  const { group, plural, subresource, name, isWatch } = found
  // A namespace lies in itself.
  const namespace = found.namespace ?? (group === '' && plural === 'namespaces' ? name : undefined)
  const resource = { group, plural, subresource, namespace, name }
  const verb = verbs[method] ?? ''
  if (isWatch) return { verb: 'watch', path, resource }
  if (name !== undefined) return { verb, path, resource }
  if (verb === 'delete') return { verb: 'deletecollection', path, resource }
  if (verb !== 'get') return { verb, path, resource }
  const isWatching = isTrue(query.get('watch'))
  // Whoever lists one object by its name may do so where only that name is granted.
  return {
    verb: isWatching ? 'watch' : 'list',
    path,
    resource: { ...resource, name: selectedName(query.get('fieldSelector')) },
  }
}

const selectedName = (fieldSelector: string | null): string | undefined =>
  (fieldSelector ?? '')
    .split(',')
    .map((term) => /^metadata\.name==?([^=]+)$/.exec(term)?.[1])
    .find((name) => name !== undefined)
