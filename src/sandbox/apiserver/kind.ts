// What the API server must know of a kind. Built-in kinds (kinds/) and CustomResourceDefinitions both end up as one of these;
// nothing else in the server knows a kind by name.

/** A Kubernetes object as it travels: plain JSON. */
export interface KubeObject {
  apiVersion: string
  kind: string
  metadata: ObjectMeta
  [field: string]: unknown
}

export interface ObjectMeta {
  name?: string
  generateName?: string
  namespace?: string
  uid?: string
  resourceVersion?: string
  generation?: number
  creationTimestamp?: string
  deletionTimestamp?: string
  deletionGracePeriodSeconds?: number
  labels?: Record<string, string>
  annotations?: Record<string, string>
  finalizers?: string[]
  ownerReferences?: OwnerReference[]
  managedFields?: unknown[]
  [field: string]: unknown
}

export interface OwnerReference {
  apiVersion: string
  kind: string
  name: string
  uid: string
  controller?: boolean
  blockOwnerDeletion?: boolean
}

/** A structural OpenAPI v3 schema, with the Kubernetes extensions that merging and validation read. */
export interface Schema {
  type?: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean'
  format?: string
  description?: string
  properties?: Record<string, Schema>
  additionalProperties?: Schema | boolean
  items?: Schema
  required?: readonly string[]
  enum?: readonly unknown[]
  default?: unknown
  minimum?: number
  maximum?: number
  minLength?: number
  maxLength?: number
  minItems?: number
  maxItems?: number
  pattern?: string
  nullable?: boolean
  /** Name of a shared definition (for OpenAPI's components), e.g. io.k8s.api.core.v1.Container. */
  $ref?: string
  'x-kubernetes-int-or-string'?: boolean
  'x-kubernetes-preserve-unknown-fields'?: boolean
  'x-kubernetes-embedded-resource'?: boolean
  'x-kubernetes-list-type'?: 'atomic' | 'set' | 'map'
  'x-kubernetes-list-map-keys'?: readonly string[]
  'x-kubernetes-map-type'?: 'atomic' | 'granular'
  'x-kubernetes-patch-strategy'?: string
  'x-kubernetes-patch-merge-key'?: string
  [extension: string]: unknown
}

/** One reason an object is refused; becomes a `details.causes` entry of an Invalid (422) status. */
export interface FieldError {
  /** JSON path without leading dot, e.g. spec.ports[0].port */
  field: string
  reason:
    | 'FieldValueInvalid'
    | 'FieldValueRequired'
    | 'FieldValueNotSupported'
    | 'FieldValueDuplicate'
    | 'FieldValueForbidden'
    | 'FieldValueTypeInvalid'
  message: string
}

export interface TableColumn {
  name: string
  type: 'string' | 'integer' | 'number' | 'boolean' | 'date'
  format?: string
  description?: string
  /** 0 is always shown; above 0 only with `-o wide`. */
  priority: number
  cell: (object: KubeObject, nowMs: number) => string | number | boolean | null
}

/** What admission of one object may use: allocation that must be unique in the cluster, and the clock. */
export interface AdmissionContext {
  nowMs: () => number
  randomBytes: (count: number) => Uint8Array
  /** Live objects of a kind found under a key of one of its `indexes`: who holds this address, at the same cost at any size. */
  holders: (group: string, plural: string, index: string, key: string) => readonly KubeObject[]
  clusterIpRanges: readonly string[]
  nodePortRange: { first: number; last: number }
  dryRun: boolean
}

export interface KindDefinition {
  group: string
  version: string
  kind: string
  listKind: string
  plural: string
  singular: string
  shortNames: readonly string[]
  categories: readonly string[]
  namespaced: boolean
  /** Shared definition name of the kind itself, e.g. io.k8s.api.core.v1.Service. */
  definitionName: string
  schema: Schema
  hasStatusSubresource: boolean
  /** JSON paths with leading dot, as CRDs write them. */
  scale?: { specReplicasPath: string; statusReplicasPath: string; labelSelectorPath?: string }
  columns: readonly TableColumn[]
  /** Seconds a deletion waits for its owner (pods: terminationGracePeriodSeconds); absent: deleted at once. */
  deletionGraceSeconds?: (object: KubeObject) => number
  /** What live objects of this kind can be found by in `AdmissionContext.holders`: index name → an object's keys. */
  indexes?: Readonly<Record<string, (object: KubeObject) => readonly string[]>>
  /** Fills defaults that depend on other fields. Runs after schema defaults; like those, what it fills in is the writer's own. */
  admit?: (object: KubeObject, previous: KubeObject | undefined, context: AdmissionContext) => void
  /** What the cluster gives the object (ClusterIPs, nodePorts, admission plug-ins): nobody owns it until somebody sets it. */
  allocate?: (object: KubeObject, previous: KubeObject | undefined, context: AdmissionContext) => void
  /** Rules a schema cannot say; runs last. */
  validate?: (object: KubeObject, previous: KubeObject | undefined, context: AdmissionContext) => FieldError[]
  /** True where a changed spec must bump metadata.generation (most kinds; not Events, Leases, EndpointSlices by hand). */
  hasGeneration: boolean
  /** Field selectors beyond metadata.name and metadata.namespace, without leading dot (a CRD's selectableFields). */
  selectableFields?: readonly string[]
  /** Nodes register with their status; everywhere else a status subresource means that creation ignores status. */
  keepsStatusOnCreate?: boolean
  /** Defined by a CustomResourceDefinition: no strategic merge, and a replacement must name the resourceVersion it replaces. */
  isCustom?: boolean
  /** Why this object may not be deleted at all, if so. */
  refuseDeletion?: (object: KubeObject) => string | undefined
}
