// Discovery: which groups, versions and resources there are. Aggregated (apidiscovery v2, one document for /api and one for /apis)
// when the client accepts it, otherwise the older documents per group. Everything is derived from the registry.

import { parseMediaType } from './content.ts'
import type { KindDefinition } from './kind.ts'
import { apiVersionOf, type KindRegistry } from './registry.ts'
import { type ApiRequest, type ApiResponse, jsonResponse } from './request.ts'

const objectVerbs = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch']
const partVerbs = ['get', 'patch', 'update']

interface Part {
  subresource: string
  responseKind: { group: string; version: string; kind: string }
  verbs: string[]
}

/** Subresources beyond status and scale, by resource. */
const extraParts: Record<string, Part[]> = {
  pods: [
    {
      subresource: 'binding',
      responseKind: { group: '', version: 'v1', kind: 'Binding' },
      verbs: ['create'],
    },
    {
      subresource: 'eviction',
      responseKind: { group: 'policy', version: 'v1', kind: 'Eviction' },
      verbs: ['create'],
    },
    { subresource: 'log', responseKind: { group: '', version: 'v1', kind: 'Pod' }, verbs: ['get'] },
  ],
  namespaces: [
    {
      subresource: 'finalize',
      responseKind: { group: '', version: 'v1', kind: 'Namespace' },
      verbs: ['update'],
    },
  ],
}

const partsOf = (kind: KindDefinition): Part[] => {
  const { group, version, kind: name, plural } = kind
  const parts: Part[] = group === '' ? [...(extraParts[plural] ?? [])] : []
  if (kind.scale) {
    parts.push({
      subresource: 'scale',
      responseKind: { group: 'autoscaling', version: 'v1', kind: 'Scale' },
      verbs: partVerbs,
    })
  }
  if (kind.hasStatusSubresource) {
    parts.push({ subresource: 'status', responseKind: { group, version, kind: name }, verbs: partVerbs })
  }
  return parts
}

const aggregatedResource = (kind: KindDefinition): object => ({
  resource: kind.plural,
  responseKind: { group: kind.group, version: kind.version, kind: kind.kind },
  scope: kind.namespaced ? 'Namespaced' : 'Cluster',
  singularResource: kind.singular,
  verbs: objectVerbs,
  ...(kind.shortNames.length > 0 ? { shortNames: kind.shortNames } : {}),
  ...(kind.categories.length > 0 ? { categories: kind.categories } : {}),
  subresources: partsOf(kind),
})

const kindsOf = (registry: KindRegistry, group: string, version: string): KindDefinition[] =>
  registry
    .resources()
    .filter((resource) => resource.group === group)
    .flatMap((resource) => resource.versions.filter((kind) => kind.version === version))
    .sort((left, right) => (left.plural < right.plural ? -1 : 1))

const aggregatedGroups = (registry: KindRegistry, isCore: boolean, version: string): object => ({
  kind: 'APIGroupDiscoveryList',
  apiVersion: `apidiscovery.k8s.io/${version}`,
  metadata: {},
  items: [...registry.groups()]
    .filter(([group]) => (group === '') === isCore)
    .map(([group, versions]) => ({
      metadata: { name: group, creationTimestamp: null },
      versions: versions.map((name) => ({
        version: name,
        resources: kindsOf(registry, group, name).map(aggregatedResource),
        freshness: 'Current',
      })),
    })),
})

const legacyResources = (kind: KindDefinition): object[] => [
  {
    name: kind.plural,
    singularName: kind.singular,
    namespaced: kind.namespaced,
    kind: kind.kind,
    verbs: objectVerbs,
    ...(kind.shortNames.length > 0 ? { shortNames: kind.shortNames } : {}),
    ...(kind.categories.length > 0 ? { categories: kind.categories } : {}),
  },
  ...partsOf(kind).map(({ subresource, responseKind, verbs }) => ({
    name: `${kind.plural}/${subresource}`,
    singularName: '',
    namespaced: kind.namespaced,
    group: responseKind.group,
    version: responseKind.version,
    kind: responseKind.kind,
    verbs,
  })),
]

const apiGroup = (group: string, versions: readonly string[]): object => {
  const entries = versions.map((version) => ({ groupVersion: `${group}/${version}`, version }))
  return { name: group, versions: entries, preferredVersion: entries[0] }
}

/** The aggregated form's version the client accepts first, if it prefers that to plain JSON. */
const aggregatedVersion = (accept: string): 'v2' | 'v2beta1' | undefined => {
  for (const entry of accept.split(',')) {
    const { parameters } = parseMediaType(entry)
    if (parameters['as'] === undefined) return undefined
    const version = parameters['v']
    if (parameters['as'] !== 'APIGroupDiscoveryList' || parameters['g'] !== 'apidiscovery.k8s.io') continue
    if (version === 'v2' || version === 'v2beta1') return version
  }
  return undefined
}

/** undefined for paths that are not discovery's. */
export const discover = (registry: KindRegistry, request: ApiRequest): ApiResponse | undefined => {
  const parts = request.path.split('/').filter((part) => part !== '')
  const [root, first, second, ...more] = parts
  if ((root !== 'api' && root !== 'apis') || more.length > 0) return undefined
  if (first === undefined) return rootDocument(registry, root === 'api', request)
  const group = root === 'api' ? '' : first
  const version = root === 'api' ? first : second
  if (root === 'api' && second !== undefined) return undefined
  const versions = registry.groups().get(group)
  if (!versions) return undefined
  if (version === undefined)
    return jsonResponse(200, { kind: 'APIGroup', apiVersion: 'v1', ...apiGroup(group, versions) })
  if (!versions.includes(version)) return undefined
  return jsonResponse(200, {
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion: apiVersionOf({ group, version }),
    resources: kindsOf(registry, group, version).flatMap(legacyResources),
  })
}

const rootDocument = (registry: KindRegistry, isCore: boolean, request: ApiRequest): ApiResponse => {
  const aggregated = aggregatedVersion(request.headers['accept'] ?? '')
  if (aggregated) {
    return jsonResponse(200, aggregatedGroups(registry, isCore, aggregated), {
      'content-type': `application/json;g=apidiscovery.k8s.io;v=${aggregated};as=APIGroupDiscoveryList`,
      vary: 'Accept',
    })
  }
  if (isCore) {
    return jsonResponse(200, {
      kind: 'APIVersions',
      versions: registry.groups().get('') ?? [],
      serverAddressByClientCIDRs: [{ clientCIDR: '0.0.0.0/0', serverAddress: request.headers['host'] ?? '' }],
    })
  }
  const groups = [...registry.groups()].filter(([group]) => group !== '')
  return jsonResponse(200, {
    kind: 'APIGroupList',
    apiVersion: 'v1',
    groups: groups.map(([group, versions]) => apiGroup(group, versions)),
  })
}
