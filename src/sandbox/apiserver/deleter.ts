// Deleting objects: preconditions, grace periods, finalizers and propagation. What deletion means for dependents is carried out
// later by garbage-collector.ts, for a namespace's content by namespaces.ts; here it only becomes finalizers.

import { badRequest, conflict, forbidden } from './errors.ts'
import { clone, isRecord, timestamp } from './json.ts'
import type { KindDefinition, KubeObject } from './kind.ts'
import { hasFinalizers, keyOfKind } from './sections.ts'
import type { Storage } from './storage.ts'
import type { ObjectWriter } from './writer.ts'

export type Propagation = 'Foreground' | 'Background' | 'Orphan'

export const foregroundFinalizer = 'foregroundDeletion'
export const orphanFinalizer = 'orphan'

export interface DeleteOptions {
  readonly gracePeriodSeconds?: number
  readonly propagationPolicy?: Propagation
  readonly preconditions?: { uid?: string; resourceVersion?: string }
  readonly dryRun?: boolean
}

export interface Deleted {
  object: KubeObject
  /** False while a grace period runs or finalizers hold the object. */
  gone: boolean
}

const propagations = new Set<unknown>(['Foreground', 'Background', 'Orphan'])

/** From a DeleteOptions body and the query parameters; the body wins, as in Kubernetes. */
export const parseDeleteOptions = (body: unknown, query: URLSearchParams): DeleteOptions => {
  const given = isRecord(body) ? body : {}
  const graceText = query.get('gracePeriodSeconds')
  const grace = given['gracePeriodSeconds'] ?? (graceText === null ? undefined : Number(graceText))
  if (grace !== undefined && grace !== null && !(Number.isInteger(grace) && Number(grace) >= 0)) {
    throw badRequest(
      `gracePeriodSeconds: Invalid value: ${String(grace)}: must be a whole number of seconds, 0 or more`,
    )
  }
  const orphan = given['orphanDependents'] ?? query.get('orphanDependents') ?? undefined
  const legacy = orphan === undefined ? undefined : String(orphan) === 'true' ? 'Orphan' : 'Background'
  const propagation = given['propagationPolicy'] ?? query.get('propagationPolicy') ?? legacy
  if (propagation !== undefined && propagation !== null && !propagations.has(propagation)) {
    throw badRequest(
      `propagationPolicy: Unsupported value: "${String(propagation)}": supported values: "Background", "Foreground", "Orphan"`,
    )
  }
  const preconditions = isRecord(given['preconditions']) ? given['preconditions'] : undefined
  const dryRun = [...query.getAll('dryRun'), ...(Array.isArray(given['dryRun']) ? given['dryRun'] : [])]
  return {
    ...(typeof grace === 'number' ? { gracePeriodSeconds: grace } : {}),
    ...(propagation ? { propagationPolicy: propagation as Propagation } : {}),
    ...(preconditions ? { preconditions: preconditions as { uid?: string; resourceVersion?: string } } : {}),
    dryRun: dryRun.includes('All'),
  }
}

export class ObjectDeleter {
  readonly #storage: Storage
  readonly #writer: ObjectWriter
  readonly #nowMs: () => number

  constructor(storage: Storage, writer: ObjectWriter, nowMs: () => number) {
    this.#storage = storage
    this.#writer = writer
    this.#nowMs = nowMs
  }

  delete(
    kind: KindDefinition,
    namespace: string | undefined,
    name: string,
    options: DeleteOptions = {},
  ): Deleted {
    const current = this.#writer.read(kind, namespace, name)
    const refusal = kind.refuseDeletion?.(current)
    if (refusal !== undefined) throw forbidden(kind, name, refusal)
    this.#checkPreconditions(kind, current, options)
    const marked = this.#mark(kind, current, options)
    const finished = !hasFinalizers(marked) && (marked.metadata.deletionGracePeriodSeconds ?? 0) === 0
    if (options.dryRun === true) return { object: marked, gone: finished }
    if (finished) {
      const last = this.#storage.remove(keyOfKind(kind), namespace, name)
      return { object: last ?? current, gone: true }
    }
    if (isSameDeletion(marked, current)) return { object: current, gone: false }
    return { object: this.#writer.replace(kind, marked), gone: false }
  }

  #checkPreconditions(
    kind: KindDefinition,
    { metadata }: KubeObject,
    { preconditions }: DeleteOptions,
  ): void {
    const name = metadata.name ?? ''
    if (preconditions?.uid !== undefined && preconditions.uid !== metadata.uid) {
      const why = `Precondition failed: UID in precondition: ${preconditions.uid}, UID in object meta: ${metadata.uid}`
      throw conflict(kind, name, why)
    }
    const version = preconditions?.resourceVersion
    if (version !== undefined && version !== metadata.resourceVersion) {
      const why = `Precondition failed: ResourceVersion in precondition: ${version}, ResourceVersion in object meta: ${metadata.resourceVersion}`
      throw conflict(kind, name, why)
    }
  }

  /** The object as its deletion leaves it if something still holds it. A second deletion can only shorten the grace period. */
  #mark(kind: KindDefinition, current: KubeObject, options: DeleteOptions): KubeObject {
    const object = clone(current)
    const { metadata } = object
    const own = kind.deletionGraceSeconds?.(object) ?? 0
    const asked = own === 0 ? 0 : (options.gracePeriodSeconds ?? own)
    const running = metadata.deletionTimestamp === undefined ? undefined : metadata.deletionGracePeriodSeconds
    const grace =
      running === undefined
        ? asked
        : Math.min(running, options.gracePeriodSeconds === undefined ? running : asked)
    metadata.finalizers = propagationFinalizers(metadata.finalizers ?? [], options.propagationPolicy)
    if (metadata.finalizers.length === 0) delete metadata.finalizers
    if (metadata.deletionTimestamp === undefined || grace !== running) {
      if (metadata.deletionTimestamp === undefined && metadata.generation !== undefined)
        metadata.generation += 1
      metadata.deletionTimestamp = timestamp(this.#nowMs() + grace * 1000)
      metadata.deletionGracePeriodSeconds = grace
    }
    return object
  }
}

/** A named policy replaces the finalizers of another one; without one, what an earlier deletion asked for stays. */
const propagationFinalizers = (finalizers: string[], policy: Propagation | undefined): string[] => {
  if (policy === undefined) return finalizers
  const others = finalizers.filter(
    (finalizer) => finalizer !== foregroundFinalizer && finalizer !== orphanFinalizer,
  )
  if (policy === 'Foreground') return [...others, foregroundFinalizer]
  return policy === 'Orphan' ? [...others, orphanFinalizer] : others
}

const isSameDeletion = ({ metadata: left }: KubeObject, { metadata: right }: KubeObject): boolean =>
  left.deletionTimestamp === right.deletionTimestamp &&
  left.deletionGracePeriodSeconds === right.deletionGracePeriodSeconds &&
  JSON.stringify(left.finalizers) === JSON.stringify(right.finalizers)
