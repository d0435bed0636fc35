// Kinds that describe the cluster itself: Namespace, Node, Lease, Event.

import type { FieldError, KindDefinition, KubeObject } from '../kind.ts'
import { ageOf, timeSince } from './age.ts'
import { ageColumn, defineKind, numberColumn, textColumn, wideColumn } from './define.ts'
import {
  cidrErrors,
  forbidden,
  invalid,
  isSame,
  label1123Errors,
  labelValueErrors,
  qualifiedNameErrors,
  required,
} from './field-errors.ts'
import { familyOf } from './ip-ranges.ts'

const namespaceNameLabel = 'kubernetes.io/metadata.name'

export const namespaceKind: KindDefinition = defineKind('Namespace', {
  package: 'core',
  namespaced: false,
  shortNames: ['ns'],
  columns: [
    textColumn('Status', (object) => (object['status'] as { phase?: string } | undefined)?.phase ?? ''),
    ageColumn,
  ],
  admit: (object) => {
    object.metadata.labels = { ...object.metadata.labels, [namespaceNameLabel]: object.metadata.name ?? '' }
  },
  allocate: (object, previous) => {
    object['spec'] ??= {}
    object['status'] ??= {}
    const spec = object['spec'] as { finalizers?: string[] }
    if (previous === undefined) spec.finalizers = [...new Set([...(spec.finalizers ?? []), 'kubernetes'])]
    const status = object['status'] as { phase?: string }
    status.phase =
      object.metadata.deletionTimestamp === undefined ? (status.phase ?? 'Active') : 'Terminating'
  },
  validate: (object) => label1123Errors('metadata.name', object.metadata.name ?? ''),
})

interface NodeSpec {
  podCIDR?: string
  podCIDRs?: string[]
  unschedulable?: boolean
  taints?: { key: string; value?: string; effect: string }[]
  providerID?: string
}

interface NodeStatus {
  conditions?: { type: string; status: string }[]
  addresses?: { type: string; address: string }[]
  nodeInfo?: {
    kubeletVersion?: string
    osImage?: string
    kernelVersion?: string
    containerRuntimeVersion?: string
  }
}

function nodeSpec(object: KubeObject): NodeSpec {
  return (object['spec'] ?? {}) as NodeSpec
}

function nodeStatus(object: KubeObject): NodeStatus {
  return (object['status'] ?? {}) as NodeStatus
}

function validateNode(object: KubeObject, previous: KubeObject | undefined): FieldError[] {
  const spec = nodeSpec(object)
  const cidrs = spec.podCIDRs ?? []
  const errors: FieldError[] = []
  for (const [index, cidr] of cidrs.entries()) errors.push(...cidrErrors(`spec.podCIDRs[${index}]`, cidr))
  const families = cidrs.map((cidr) => familyOf(cidr.split('/')[0] ?? ''))
  if (cidrs.length > 2)
    errors.push(invalid('spec.podCIDRs', cidrs, 'may specify no more than one CIDR for each IP family'))
  else if (cidrs.length === 2 && families[0] === families[1])
    errors.push(invalid('spec.podCIDRs', cidrs, 'may specify no more than one CIDR for each IP family'))
  if (spec.podCIDR && cidrs[0] !== spec.podCIDR)
    errors.push(invalid('spec.podCIDRs', cidrs, 'first value must match `podCIDR`'))
  for (const [index, taint] of (spec.taints ?? []).entries()) {
    errors.push(...qualifiedNameErrors(`spec.taints[${index}].key`, taint.key))
    errors.push(...labelValueErrors(`spec.taints[${index}].value`, taint.value ?? ''))
  }
  const before = previous === undefined ? undefined : nodeSpec(previous)
  if ((before?.podCIDRs ?? []).length > 0 && !isSame(before?.podCIDRs, cidrs))
    errors.push(forbidden('spec.podCIDRs', 'node updates may not change podCIDR except from "" to valid'))
  return errors
}

function nodeStatusText(object: KubeObject): string {
  const ready = (nodeStatus(object).conditions ?? []).find((condition) => condition.type === 'Ready')
  const state = ready === undefined ? 'Unknown' : ready.status === 'True' ? 'Ready' : 'NotReady'
  return nodeSpec(object).unschedulable === true ? `${state},SchedulingDisabled` : state
}

const rolePrefix = 'node-role.kubernetes.io/'

function rolesText(object: KubeObject): string {
  const roles = Object.entries(object.metadata.labels ?? {}).flatMap(([key, value]) => {
    if (key.startsWith(rolePrefix) && key.length > rolePrefix.length) return [key.slice(rolePrefix.length)]
    return key === 'kubernetes.io/role' && value !== '' ? [value] : []
  })
  return roles.length === 0 ? '<none>' : [...new Set(roles)].sort().join(',')
}

function nodeAddress(object: KubeObject, type: string): string {
  return (nodeStatus(object).addresses ?? []).find((entry) => entry.type === type)?.address ?? '<none>'
}

const unknownText = '<unknown>'

export const nodeKind: KindDefinition = defineKind('Node', {
  package: 'core',
  namespaced: false,
  shortNames: ['no'],
  columns: [
    textColumn('Status', nodeStatusText),
    textColumn('Roles', rolesText),
    ageColumn,
    textColumn('Version', (object) => nodeStatus(object).nodeInfo?.kubeletVersion ?? ''),
    wideColumn('Internal-IP', (object) => nodeAddress(object, 'InternalIP')),
    wideColumn('External-IP', (object) => nodeAddress(object, 'ExternalIP')),
    wideColumn('OS-Image', (object) => nodeStatus(object).nodeInfo?.osImage || unknownText),
    wideColumn('Kernel-Version', (object) => nodeStatus(object).nodeInfo?.kernelVersion || unknownText),
    wideColumn(
      'Container-Runtime',
      (object) => nodeStatus(object).nodeInfo?.containerRuntimeVersion || unknownText,
    ),
  ],
  admit: (object) => {
    object['spec'] ??= {}
    const spec = nodeSpec(object)
    // Each of the two spellings fills the other.
    const [first] = spec.podCIDRs ?? []
    if (spec.podCIDR && first === undefined) spec.podCIDRs = [spec.podCIDR]
    else if (!spec.podCIDR && first !== undefined) spec.podCIDR = first
  },
  validate: validateNode,
})

interface LeaseSpec {
  holderIdentity?: string
  leaseDurationSeconds?: number
  leaseTransitions?: number
}

function leaseSpec(object: KubeObject): LeaseSpec {
  return (object['spec'] ?? {}) as LeaseSpec
}

export const leaseKind: KindDefinition = defineKind('Lease', {
  package: 'coordination',
  group: 'coordination.k8s.io',
  columns: [textColumn('Holder', (object) => leaseSpec(object).holderIdentity ?? ''), ageColumn],
  validate: (object) => {
    const { leaseDurationSeconds: duration, leaseTransitions: transitions } = leaseSpec(object)
    const errors: FieldError[] = []
    if (duration !== undefined && duration <= 0)
      errors.push(invalid('spec.leaseDurationSeconds', duration, 'must be greater than 0'))
    if (transitions !== undefined && transitions < 0)
      errors.push(invalid('spec.leaseTransitions', transitions, 'must be greater than or equal to 0'))
    return errors
  },
})

interface Event extends KubeObject {
  involvedObject?: { kind?: string; name?: string; namespace?: string; fieldPath?: string }
  reason?: string
  message?: string
  type?: string
  count?: number
  source?: { component?: string; host?: string }
  reportingComponent?: string
  firstTimestamp?: string
  lastTimestamp?: string
  eventTime?: string
  series?: { count?: number; lastObservedTime?: string }
}

function lastSeen(event: Event, nowMs: number): string {
  const time =
    event.series?.lastObservedTime ?? event.lastTimestamp ?? event.firstTimestamp ?? event.eventTime
  return time === undefined ? ageOf(event, nowMs) : timeSince(time, nowMs)
}

const eventBase = defineKind('Event', {
  package: 'core',
  shortNames: ['ev'],
  columns: [
    textColumn('Last Seen', (object, nowMs) => lastSeen(object as Event, nowMs)),
    textColumn('Type', (object) => (object as Event).type ?? ''),
    textColumn('Reason', (object) => (object as Event).reason ?? ''),
    textColumn('Object', (object) => {
      const { kind, name } = (object as Event).involvedObject ?? {}
      return `${(kind ?? '').toLowerCase()}/${name ?? ''}`
    }),
    wideColumn('Subobject', (object) => (object as Event).involvedObject?.fieldPath ?? ''),
    wideColumn('Source', (object) => {
      const { source, reportingComponent } = object as Event
      const component = source?.component || reportingComponent || ''
      return source?.host ? `${component}, ${source.host}` : component
    }),
    textColumn('Message', (object) => ((object as Event).message ?? '').trim()),
    wideColumn('First Seen', (object, nowMs) => {
      const { firstTimestamp, eventTime } = object as Event
      return timeSince(firstTimestamp ?? eventTime ?? object.metadata.creationTimestamp, nowMs)
    }),
    {
      ...numberColumn('Count', (object) => (object as Event).series?.count ?? (object as Event).count ?? 1),
      priority: 1,
    },
  ],
  validate: (object) => {
    const { involvedObject } = object as Event
    if (involvedObject === undefined) return [required('involvedObject')]
    const namespace = involvedObject.namespace ?? ''
    // Events about objects without a namespace live in default.
    const isHome =
      namespace === object.metadata.namespace || (namespace === '' && object.metadata.namespace === 'default')
    return isHome ? [] : [invalid('involvedObject.namespace', namespace, 'does not match event.namespace')]
  },
})

/** An event's name says nothing: kubectl shows it last, and only when asked for everything. */
export const eventKind: KindDefinition = {
  ...eventBase,
  columns: [...eventBase.columns.slice(1), wideColumn('Name', (object) => object.metadata.name ?? '')],
}
