// Which kinds the server serves right now: the built-in ones and those of established CustomResourceDefinitions. Several versions
// of one kind share storage; an object is stored in the first version registered and shown in the version asked for (apiVersion is
// rewritten, nothing else: CRD conversion strategy None).

import type { KindDefinition, KubeObject, Schema } from './kind.ts'
import { type ResourceKey, resourceKey } from './storage.ts'

export interface ServedResource {
  readonly key: ResourceKey
  readonly group: string
  readonly plural: string
  readonly kind: string
  /** Most preferred first, as discovery lists them. */
  readonly versions: readonly KindDefinition[]
  readonly storageVersion: KindDefinition
}

export const apiVersionOf = (kind: Pick<KindDefinition, 'group' | 'version'>): string =>
  kind.group === '' ? kind.version : `${kind.group}/${kind.version}`

export const parseApiVersion = (apiVersion: string): { group: string; version: string } => {
  const slash = apiVersion.indexOf('/')
  return slash < 0
    ? { group: '', version: apiVersion }
    : { group: apiVersion.slice(0, slash), version: apiVersion.slice(slash + 1) }
}

/** `v1` before `v1beta2` before `v1alpha1`; then higher numbers first; then everything else by name. */
export const compareVersions = (left: string, right: string): number => {
  const rank = (version: string): [number, number, number] | undefined => {
    const match = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(version)
    if (!match) return undefined
    const stage = match[2] === undefined ? 2 : match[2] === 'beta' ? 1 : 0
    return [stage, Number(match[1]), Number(match[3] ?? 0)]
  }
  const a = rank(left)
  const b = rank(right)
  if (!a || !b) return a ? -1 : b ? 1 : left < right ? -1 : 1
  return b[0] - a[0] || b[1] - a[1] || b[2] - a[2]
}

/** The object in another version of its kind; the same instance when nothing differs. */
export const inVersion = (object: KubeObject, kind: KindDefinition): KubeObject => {
  const apiVersion = apiVersionOf(kind)
  return object.apiVersion === apiVersion && object.kind === kind.kind
    ? object
    : { ...object, apiVersion, kind: kind.kind }
}

export class KindRegistry {
  #resources = new Map<ResourceKey, ServedResource>()
  /** Shared definitions that built-in kinds refer to; kinds of CRDs are whole trees. */
  readonly definitions: Readonly<Record<string, Schema>>
  #revision = 0

  constructor(kinds: readonly KindDefinition[], definitions: Record<string, Schema>) {
    this.definitions = definitions
    const byResource = new Map<ResourceKey, KindDefinition[]>()
    for (const kind of kinds) {
      const key = resourceKey(kind.group, kind.plural)
      byResource.set(key, [...(byResource.get(key) ?? []), kind])
    }
    for (const versions of byResource.values()) this.register(versions)
  }

  /** Grows with every change of what is served: discovery and OpenAPI documents are cached by it. */
  get revision(): number {
    return this.#revision
  }

  resources(): ServedResource[] {
    return [...this.#resources.values()]
  }

  resource(key: ResourceKey): ServedResource | undefined {
    return this.#resources.get(key)
  }

  find(group: string, version: string, plural: string): KindDefinition | undefined {
    return this.#resources
      .get(resourceKey(group, plural))
      ?.versions.find((candidate) => candidate.version === version)
  }

  /** By what an object or an ownerReference says of itself. */
  findKind(apiVersion: string, kindName: string): KindDefinition | undefined {
    const { group, version } = parseApiVersion(apiVersion)
    for (const resource of this.#resources.values()) {
      if (resource.group !== group || resource.kind !== kindName) continue
      return resource.versions.find((candidate) => candidate.version === version) ?? resource.storageVersion
    }
    return undefined
  }

  /** Serves one kind in the given versions, replacing what was served under its name. The first is the storage version. */
  register(versions: readonly KindDefinition[], storageVersion = versions[0]): void {
    if (!storageVersion) throw new Error('register a kind with at least one version')
    const { group, plural, kind } = storageVersion
    const key = resourceKey(group, plural)
    const sorted = [...versions].sort((left, right) => compareVersions(left.version, right.version))
    this.#resources.set(key, { key, group, plural, kind, versions: sorted, storageVersion })
    this.#revision += 1
  }

  unregister(key: ResourceKey): void {
    if (this.#resources.delete(key)) this.#revision += 1
  }

  /** API groups with their versions, preferred first; the core group is ''. */
  groups(): Map<string, string[]> {
    const groups = new Map<string, Set<string>>()
    for (const resource of this.#resources.values()) {
      const versions = groups.get(resource.group) ?? new Set()
      for (const kind of resource.versions) versions.add(kind.version)
      groups.set(resource.group, versions)
    }
    return new Map([...groups].map(([group, versions]) => [group, [...versions].sort(compareVersions)]))
  }
}
