// Cilium's endpoint selectors speak of one bag of labels: a pod's own, its namespace's name and labels, its service account, and reserved
// ones for who is no pod. Each requirement is about one key, so a selector falls apart into what it asks of the pod, of its namespace,
// and of neither.

import type { LabelSelector } from '../../model/label-selector.ts'
import {
  NAMESPACE_NAME_LABEL,
  POLICY_ENTITIES,
  type PolicyEntity,
  SERVICE_ACCOUNT_LABEL,
} from '../../model/policy.ts'
import { addFault, type Fields } from './fields.ts'
import { EVERYTHING, NOTHING, namespaceNamed, readWidely } from './parts.ts'

type Requirement = LabelSelector['requirements'][number]

export interface EndpointSelector {
  readonly namespaces: LabelSelector
  readonly pods: LabelSelector
  /** `reserved:…` labels that it asks for; with any of them it selects no pods. */
  readonly reserved: readonly PolicyEntity[]
}

const NAMESPACE_KEYS = ['io.kubernetes.pod.namespace', 'k8s.io.kubernetes.pod.namespace']
const NAMESPACE_LABEL_PREFIX = 'io.cilium.k8s.namespace.labels.'
const CLUSTER_KEY = 'io.cilium.k8s.policy.cluster'
const ACCOUNT_KEYS = [SERVICE_ACCOUNT_LABEL, `k8s.${SERVICE_ACCOUNT_LABEL}`]
/** Entities that a pod never is. */
const NO_PODS: readonly PolicyEntity[] = ['host', 'remote-node', 'kube-apiserver', 'ingress', 'health']
/** Where a label may be said to come from: `k8s:app`. */
const SOURCES = ['k8s', 'any', 'reserved']

/**
 * @param ownNamespace of the policy, meant wherever the selector says nothing of namespaces; undefined for a cluster-wide one
 * @returns undefined, and faults, when it cannot be read
 */
export function readEndpointSelector(
  fields: Fields,
  ownNamespace: string | undefined,
): EndpointSelector | undefined {
  const before = fields.faults.length
  const { namespaces, pods, reserved } = readParts(fields)
  if (fields.faults.length > before) return undefined
  const isImplied = ownNamespace !== undefined && namespaces.requirements.length === 0
  return { namespaces: isImplied ? namespaceNamed(ownNamespace) : namespaces, pods, reserved }
}

/** Of whom a policy protects: what cannot be read, faults beside it, narrows nothing (`readWidely`). */
export function readEndpointsWidely(fields: Fields): Omit<EndpointSelector, 'reserved'> {
  const { namespaces, pods, reserved } = readParts(fields)
  if (reserved.length === 0) return { namespaces, pods }
  addFault(fields.faults, fields.path, undefined, 'selects what is no pod', 'select nodes with nodeSelector')
  return reserved.every((entity) => NO_PODS.includes(entity))
    ? { namespaces: NOTHING, pods: EVERYTHING }
    : { namespaces, pods }
}

function readParts(fields: Fields): EndpointSelector {
  const namespaces: Requirement[] = []
  const pods: Requirement[] = []
  const reserved: PolicyEntity[] = []
  for (const requirement of readWidely(fields).requirements) {
    const { source, key } = splitKey(requirement.key)
    const ofNamespace = namespaceKey(key)
    if (source === 'reserved') reserved.push(...readReserved(fields, requirement, key))
    else if (source !== undefined && !SOURCES.includes(source)) refuseSource(fields, requirement.key, source)
    else if (key === CLUSTER_KEY) refuseCluster(fields)
    else if (ofNamespace !== undefined) namespaces.push({ ...requirement, key: ofNamespace })
    else pods.push({ ...requirement, key: ACCOUNT_KEYS.includes(key) ? SERVICE_ACCOUNT_LABEL : key })
  }
  if (reserved.length > 0 && namespaces.length + pods.length > 0)
    addFault(
      fields.faults,
      fields.path,
      undefined,
      'mixes reserved labels with others',
      'make two selectors of it',
    )
  return { namespaces: { requirements: namespaces }, pods: { requirements: pods }, reserved }
}

function splitKey(key: string): { source: string | undefined; key: string } {
  const colon = key.indexOf(':')
  if (colon >= 0) return { source: key.slice(0, colon), key: key.slice(colon + 1) }
  // The form that older objects have, where a colon was no part of a label's key.
  if (key.startsWith('reserved.')) return { source: 'reserved', key: key.slice('reserved.'.length) }
  return { source: undefined, key }
}

/** The key among the namespace's labels, if it is one. */
function namespaceKey(key: string): string | undefined {
  if (NAMESPACE_KEYS.includes(key)) return NAMESPACE_NAME_LABEL
  return key.startsWith(NAMESPACE_LABEL_PREFIX) ? key.slice(NAMESPACE_LABEL_PREFIX.length) : undefined
}

function readReserved(fields: Fields, { operator }: Requirement, key: string): PolicyEntity[] {
  const entity = POLICY_ENTITIES.find((one) => one === key)
  if (entity !== undefined && (operator === 'In' || operator === 'Exists')) return [entity]
  addFault(
    fields.faults,
    fields.path,
    `reserved:${key}`,
    'is not supported as it stands',
    `name the entity in fromEntities or toEntities: ${POLICY_ENTITIES.join(', ')}`,
  )
  return []
}

function refuseSource(fields: Fields, key: string, source: string): void {
  addFault(
    fields.faults,
    fields.path,
    key,
    `asks for labels of the source '${source}'`,
    `Kubernetes' labels have the source k8s; write k8s:KEY or KEY alone`,
  )
}

function refuseCluster(fields: Fields): void {
  addFault(
    fields.faults,
    fields.path,
    CLUSTER_KEY,
    'is not supported: there is one cluster',
    'remove that requirement',
  )
}
