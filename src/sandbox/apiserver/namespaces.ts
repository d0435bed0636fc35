// The life of namespaces: four exist from the start, each holds a finalizer of its own, and a deleted one takes its content along
// before it goes. Runs in rounds on a settled event loop turn; a round only looks at namespaces that are being deleted.

import type { ObjectDeleter } from './deleter.ts'
import { clone, recordAt, stringAt } from './json.ts'
import type { KindDefinition, KubeObject } from './kind.ts'
import type { KindRegistry } from './registry.ts'
import type { Change, Storage } from './storage.ts'
import type { ObjectWriter } from './writer.ts'

const initialNamespaces = ['default', 'kube-system', 'kube-public', 'kube-node-lease']
const immortalNamespaces = new Set(['default', 'kube-system', 'kube-public'])
const contentFinalizer = 'kubernetes'
const nameLabel = 'kubernetes.io/metadata.name'

/** The Namespace kind with the rules every namespace obeys here, whatever else its definition says. */
export const withNamespaceRules = (kind: KindDefinition): KindDefinition => ({
  ...kind,
  admit: (object, previous, context) => {
    kind.admit?.(object, previous, context)
    object.metadata.labels = { ...object.metadata.labels, [nameLabel]: object.metadata.name ?? '' }
    if (previous) return
    const spec = recordAt(object, 'spec')
    object['spec'] = { ...spec, finalizers: spec['finalizers'] ?? [contentFinalizer] }
    object['status'] = { phase: 'Active' }
  },
  refuseDeletion: (object) =>
    immortalNamespaces.has(object.metadata.name ?? '') ? 'this namespace may not be deleted' : undefined,
})

export class NamespaceController {
  readonly #storage: Storage
  readonly #registry: KindRegistry
  readonly #writer: ObjectWriter
  readonly #deleter: ObjectDeleter
  #terminating = new Set<string>()
  #scheduled: NodeJS.Immediate | undefined
  #unsubscribe: () => void = () => undefined

  constructor(storage: Storage, registry: KindRegistry, writer: ObjectWriter, deleter: ObjectDeleter) {
    this.#storage = storage
    this.#registry = registry
    this.#writer = writer
    this.#deleter = deleter
  }

  start(): void {
    const kind = this.#kind()
    for (const name of initialNamespaces) {
      if (this.#storage.get('/namespaces', undefined, name)) continue
      this.#writer.create(kind, undefined, { metadata: { name } }, { fieldManager: 'kube-apiserver' })
    }
    for (const namespace of this.#storage.list('/namespaces')) this.#notice(namespace)
    this.#unsubscribe = this.#storage.subscribe(undefined, (change) => this.#changed(change))
  }

  close(): void {
    this.#unsubscribe()
    clearImmediate(this.#scheduled)
  }

  #kind(): KindDefinition {
    const kind = this.#registry.find('', 'v1', 'namespaces')
    if (!kind)
      throw new Error('the kind Namespace is not registered; a server without namespaces can hold nothing')
    return kind
  }

  #changed(change: Change): void {
    if (change.resource === '/namespaces') {
      if (change.type === 'DELETED') this.#terminating.delete(change.object.metadata.name ?? '')
      else this.#notice(change.object)
    } else if (change.type === 'DELETED' && this.#terminating.has(change.object.metadata.namespace ?? ''))
      this.#schedule()
  }

  #notice(namespace: KubeObject): void {
    if (namespace.metadata.deletionTimestamp === undefined) return
    this.#terminating.add(namespace.metadata.name ?? '')
    this.#schedule()
  }

  #schedule(): void {
    this.#scheduled ??= setImmediate(() => {
      this.#scheduled = undefined
      for (const name of [...this.#terminating]) this.#terminate(name)
    })
  }

  #terminate(name: string): void {
    const namespace = this.#storage.get('/namespaces', undefined, name)
    if (!namespace) return
    if (stringAt(namespace, 'status', 'phase') !== 'Terminating') {
      const status = { ...recordAt(namespace, 'status'), phase: 'Terminating' }
      this.#writer.replace(this.#kind(), { ...clone(namespace), status })
    }
    if (this.#deleteContent(name) > 0) return
    const empty = this.#storage.get('/namespaces', undefined, name)
    if (!empty) return
    const spec = recordAt(empty, 'spec')
    const finalizers = Array.isArray(spec['finalizers']) ? spec['finalizers'] : []
    if (!finalizers.includes(contentFinalizer)) return
    const rest = finalizers.filter((finalizer) => finalizer !== contentFinalizer)
    this.#writer.replace(this.#kind(), { ...clone(empty), spec: { ...spec, finalizers: rest } })
  }

  /** Asks everything inside to go; returns how much is still there. */
  #deleteContent(name: string): number {
    let remaining = 0
    for (const { key, storageVersion } of this.#registry.resources()) {
      if (!storageVersion.namespaced) continue
      for (const { metadata } of this.#storage.list(key, name)) {
        const isAsked = metadata.deletionTimestamp !== undefined
        const gone =
          !isAsked &&
          this.#deleter.delete(storageVersion, name, metadata.name ?? '', { propagationPolicy: 'Background' })
            .gone
        if (!gone) remaining += 1
      }
    }
    return remaining
  }
}
