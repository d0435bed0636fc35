// Creating and changing objects: everything between "a client asks" and "the store has it", the same for HTTP clients and for
// controllers in this process. All of it is synchronous, so a read-modify-write (patch, apply, scale) can't race.
//
// A write runs: identity → unknown fields → subresource isolation → system metadata → defaults → what the cluster gives →
// validation → generation → ownership → store, unless nothing changed or it is a dry run.

import {
  admit,
  asObjectOf,
  checkConfiguration,
  checkUnknownFields,
  completeAndValidate,
  type WriteOptions,
} from './admission.ts'
import { dropFields, mergeApplied } from './apply.ts'
import { alreadyExists, badRequest, conflict, forbidden, notFound, StatusError } from './errors.ts'
import { type Comparison, compareFields, type FieldValues, fieldValuesOf } from './field-paths.ts'
import { checkIdentity, nameMismatch, placeInNamespace } from './identity.ts'
import { clone, deepEqual, isRecord, timestamp } from './json.ts'
import type { AdmissionContext, KindDefinition, KubeObject } from './kind.ts'
import {
  assertNoConflicts,
  baseOwnership,
  compareWrite,
  type Manager,
  type Ownership,
  ownedBy,
  ownedByOthers,
  ownershipAfterApply,
  ownershipAfterUpdate,
  readOwnership,
  writeOwnership,
} from './managed-fields.ts'
import { generateName } from './object-meta.ts'
import { apiVersionOf, inVersion, type KindRegistry } from './registry.ts'
import type { SchemaTools } from './schema-tools.ts'
import { isFinished, isolate, keyOfKind, type Section, specOf } from './sections.ts'
import { resourceKey, type Storage } from './storage.ts'

export interface WriterEnvironment {
  readonly storage: Storage
  readonly registry: KindRegistry
  readonly tools: SchemaTools
  readonly nowMs: () => number
  readonly randomBytes: (count: number) => Uint8Array
  readonly randomUuid: () => string
  readonly clusterIpRanges: readonly string[]
  readonly nodePortRange: { first: number; last: number }
}

/** Tries before a generated name that keeps colliding is given up. */
const generateNameAttempts = 8

export interface Written {
  object: KubeObject
  created: boolean
}

export class ObjectWriter {
  readonly #environment: WriterEnvironment

  constructor(environment: WriterEnvironment) {
    this.#environment = environment
  }

  /** The live object in the asked version, or 404. */
  read(kind: KindDefinition, namespace: string | undefined, name: string): KubeObject {
    const object = this.#environment.storage.get(keyOfKind(kind), namespace, name)
    if (!object) throw notFound(kind, name)
    return inVersion(object, kind)
  }

  create(
    kind: KindDefinition,
    namespace: string | undefined,
    body: unknown,
    options: WriteOptions = {},
  ): KubeObject {
    const object = clone(asObjectOf(kind, body))
    this.#checkUnknown(kind, object, options)
    placeInNamespace(kind, namespace, object)
    if (object.metadata.resourceVersion)
      throw badRequest('resourceVersion should not be set on objects to be created')
    this.#assertNamespaceAccepts(kind, object)
    this.#chooseName(kind, object)
    const name = object.metadata.name ?? ''
    const sent = baseOwnership(object, undefined)
    this.#initialise(kind, object)
    if (kind.hasStatusSubresource && kind.keepsStatusOnCreate !== true) delete object['status']
    const compared = this.#admit(kind, object, undefined, new Map(), options)
    if (this.#environment.storage.get(keyOfKind(kind), object.metadata.namespace, name))
      throw alreadyExists(kind, name)
    const manager = managerOf(kind, 'Update', 'main', options)
    const owners = ownershipAfterUpdate(sent, manager, compared, this.#now())
    return this.#store(kind, object, owners, options)
  }

  /**
   * Replaces the object by what `change` makes of it. PUT and every patch end here; a patch passes a function of the live object.
   * `mustCarryVersion` is false for patches, whose base is the live object by construction.
   */
  update(
    kind: KindDefinition,
    namespace: string | undefined,
    name: string,
    change: (current: KubeObject) => unknown,
    options: WriteOptions = {},
    section: Section = 'main',
  ): KubeObject {
    const previous = this.read(kind, namespace, name)
    const incoming = clone(asObjectOf(kind, change(previous)))
    checkIdentity(kind, incoming, previous)
    this.#checkUnknown(kind, incoming, options)
    const object = isolate(kind, incoming, previous, section)
    const before = this.#fieldValues(kind, previous, section)
    const compared = this.#admit(kind, object, previous, before, options, section)
    this.#bumpGeneration(kind, object, previous)
    const base = baseOwnership(incoming, previous)
    const owners = ownershipAfterUpdate(
      base,
      managerOf(kind, 'Update', section, options),
      compared,
      this.#now(),
    )
    return this.#storeIfChanged(kind, object, previous, owners, options)
  }

  /** Server-side apply: creates the object, or merges the configuration into it under the applier's ownership. */
  apply(
    kind: KindDefinition,
    namespace: string | undefined,
    name: string,
    body: unknown,
    options: WriteOptions,
    section: Section = 'main',
  ): Written {
    const applied = clone(asObjectOf(kind, body))
    placeInNamespace(kind, namespace, applied)
    applied.metadata.name ??= name
    if (applied.metadata.name !== name) throw nameMismatch(applied.metadata.name, name)
    if (Array.isArray(applied.metadata.managedFields) && applied.metadata.managedFields.length > 0) {
      throw badRequest('metadata.managedFields must be nil')
    }
    checkConfiguration(this.#environment.tools, this.#environment.registry.definitions, kind, applied)
    if (section === 'main' && kind.hasStatusSubresource) delete applied['status']
    const current = this.#environment.storage.get(keyOfKind(kind), namespace, name)
    if (!current && section !== 'main') throw notFound(kind, name)
    if (!current) return { object: this.#createApplied(kind, applied, options), created: true }
    return {
      object: this.#mergeAppliedInto(kind, inVersion(current, kind), applied, options, section),
      created: false,
    }
  }

  /** Stores an object whose change is the server's own (deletion marks, conditions): no ownership, no validation. Or removes it, when
   * the change took away the last thing that held a deleted object. */
  replace(kind: KindDefinition, object: KubeObject): KubeObject {
    const { storage } = this.#environment
    const stored = inVersion(object, this.#storageKind(kind))
    if (!isFinished(stored)) return storage.put(keyOfKind(kind), stored)
    return (
      storage.remove(keyOfKind(kind), object.metadata.namespace, object.metadata.name ?? '', stored) ?? stored
    )
  }

  context(dryRun: boolean): AdmissionContext {
    const { storage, nowMs, randomBytes, clusterIpRanges, nodePortRange } = this.#environment
    return {
      nowMs,
      randomBytes,
      holders: (group, plural, index, key) => storage.holders(resourceKey(group, plural), index, key),
      clusterIpRanges,
      nodePortRange,
      dryRun,
    }
  }

  #createApplied(kind: KindDefinition, applied: KubeObject, options: WriteOptions): KubeObject {
    const configured = this.#fieldValues(kind, applied, 'main')
    if (applied.metadata.uid !== undefined) {
      throw conflict(
        kind,
        applied.metadata.name ?? '',
        `Precondition failed: UID in precondition: ${applied.metadata.uid}, UID in object meta: `,
      )
    }
    if (applied.metadata.resourceVersion) throw notFound(kind, applied.metadata.name ?? '')
    const object = mergeApplied(
      {},
      applied,
      kind.schema,
      this.#environment.registry.definitions,
    ) as unknown as KubeObject
    this.#assertNamespaceAccepts(kind, object)
    this.#initialise(kind, object)
    this.#admit(kind, object, undefined, new Map(), options)
    const manager = managerOf(kind, 'Apply', 'main', options)
    const owners = [{ manager, fields: new Set(configured.keys()), time: this.#now() }]
    return this.#store(kind, object, owners, options)
  }

  #mergeAppliedInto(
    kind: KindDefinition,
    previous: KubeObject,
    applied: KubeObject,
    options: WriteOptions,
    section: Section,
  ): KubeObject {
    const { definitions } = this.#environment.registry
    const manager = managerOf(kind, 'Apply', section, options)
    const owners = readOwnership(previous.metadata.managedFields)
    const configured = new Set(this.#fieldValues(kind, applied, section).keys())
    const kept = new Set([...configured, ...ownedByOthers(owners, manager)])
    const dropped = [...ownedBy(owners, manager)].filter((path) => !configured.has(path))
    const merged = dropFields(
      mergeApplied(previous, applied, kind.schema, definitions),
      dropped,
      kept,
      kind.schema,
      definitions,
    )
    const incoming = clone(merged) as unknown as KubeObject
    checkIdentity(kind, incoming, previous)
    const object = isolate(kind, incoming, previous, section)
    const before = this.#fieldValues(kind, previous, section)
    const wanted = compareFields(before, this.#fieldValues(kind, object, section))
    if (options.force !== true) assertNoConflicts(owners, manager, wanted.changed)
    const compared = this.#admit(kind, object, previous, before, options, section)
    this.#bumpGeneration(kind, object, previous)
    const next = ownershipAfterApply(owners, manager, configured, compared, this.#now())
    return this.#storeIfChanged(kind, object, previous, next, options)
  }

  #store(
    kind: KindDefinition,
    object: KubeObject,
    owners: readonly Ownership[],
    options: WriteOptions,
  ): KubeObject {
    object.metadata.managedFields = writeOwnership(owners)
    if (options.dryRun === true) return object
    return inVersion(this.replace(kind, object), kind)
  }

  /** A write that changes nothing but ownership times leaves the object and its resourceVersion alone. */
  #storeIfChanged(
    kind: KindDefinition,
    object: KubeObject,
    previous: KubeObject,
    owners: readonly Ownership[],
    options: WriteOptions,
  ): KubeObject {
    const managedFields = writeOwnership(owners)
    const isOwnershipEqual = deepEqual(
      managedFields.map(withoutTime),
      (previous.metadata.managedFields ?? []).map(withoutTime),
    )
    object.metadata.managedFields = isOwnershipEqual ? (previous.metadata.managedFields ?? []) : managedFields
    if (deepEqual(object, previous)) return previous
    if (options.dryRun === true) return object
    return inVersion(this.replace(kind, object), kind)
  }

  #storageKind(kind: KindDefinition): KindDefinition {
    return this.#environment.registry.resource(keyOfKind(kind))?.storageVersion ?? kind
  }

  #fieldValues(kind: KindDefinition, object: KubeObject, section: Section): FieldValues {
    const part = section === 'status' ? 'status' : kind.hasStatusSubresource ? 'notStatus' : 'all'
    return fieldValuesOf(object, kind.schema, this.#environment.registry.definitions, part)
  }

  #checkUnknown(kind: KindDefinition, object: KubeObject, options: WriteOptions): void {
    const { tools, registry } = this.#environment
    checkUnknownFields(tools, registry.definitions, kind, object, options)
  }

  /** Completes and validates the object; answers what the writer changed of `before`, for ownership. */
  #admit(
    kind: KindDefinition,
    object: KubeObject,
    previous: KubeObject | undefined,
    before: FieldValues,
    options: WriteOptions,
    section: Section = 'main',
  ): Comparison {
    const { tools, registry } = this.#environment
    const context = this.context(options.dryRun === true)
    const admitted = { tools, definitions: registry.definitions, kind, object, previous, context }
    admit(admitted)
    const written = this.#fieldValues(kind, object, section)
    completeAndValidate(admitted)
    const stored = kind.allocate ? this.#fieldValues(kind, object, section) : written
    return compareWrite(before, written, stored)
  }

  #now(): string {
    return timestamp(this.#environment.nowMs())
  }

  #assertNamespaceAccepts(kind: KindDefinition, object: KubeObject): void {
    const name = object.metadata.namespace
    if (!kind.namespaced || name === undefined) return
    const namespace = this.#environment.storage.get('/namespaces', undefined, name)
    if (!namespace) throw notFound({ group: '', plural: 'namespaces', kind: 'Namespace' }, name)
    if (namespace.metadata.deletionTimestamp === undefined) return
    const message = `namespace ${name} is being terminated`
    throw forbidden(
      kind,
      object.metadata.name ?? '',
      `unable to create new content in namespace ${name} because it is being terminated`,
      [{ reason: 'NamespaceTerminating', message, field: 'metadata.namespace' }],
    )
  }

  #chooseName(kind: KindDefinition, object: KubeObject): void {
    const prefix = object.metadata.generateName
    if (object.metadata.name || !prefix) return
    const { storage, randomBytes } = this.#environment
    for (let attempt = 0; attempt < generateNameAttempts; attempt += 1) {
      const name = generateName(prefix, randomBytes)
      if (storage.get(keyOfKind(kind), object.metadata.namespace, name)) continue
      object.metadata.name = name
      return
    }
    throw new StatusError(
      409,
      'AlreadyExists',
      `no free name found for generateName "${prefix}"; try again`,
      {
        name: prefix,
        kind: kind.plural,
        retryAfterSeconds: 1,
      },
    )
  }

  /** System metadata of a new object; what a client sent for it is ignored, as a real server does. */
  #initialise(kind: KindDefinition, object: KubeObject): void {
    const { metadata } = object
    metadata.uid = this.#environment.randomUuid()
    metadata.creationTimestamp = this.#now()
    delete metadata.deletionTimestamp
    delete metadata.deletionGracePeriodSeconds
    delete metadata.resourceVersion
    delete metadata['selfLink']
    if (kind.hasGeneration) metadata.generation = 1
    else delete metadata.generation
  }

  #bumpGeneration(kind: KindDefinition, object: KubeObject, previous: KubeObject): void {
    if (!kind.hasGeneration) return
    if (!deepEqual(specOf(object, kind), specOf(previous, kind))) {
      object.metadata.generation = (previous.metadata.generation ?? 0) + 1
    }
  }
}

const withoutTime = (entry: unknown): unknown => {
  if (!isRecord(entry)) return entry
  const { time: _time, ...rest } = entry
  return rest
}

const managerOf = (
  kind: KindDefinition,
  operation: Manager['operation'],
  section: Section,
  options: WriteOptions,
): Manager => ({
  name: options.fieldManager ?? 'unknown',
  operation,
  apiVersion: apiVersionOf(kind),
  subresource: section === 'main' ? '' : section,
})
