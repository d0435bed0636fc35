// Kinds that keep pods: Deployment, ReplicaSet, DaemonSet, StatefulSet, Job, ReplicationController.

import type { FieldError, KindDefinition, KubeObject, TableColumn } from '../kind.ts'
import { humanDuration } from './age.ts'
import {
  ageColumn,
  defineKind,
  labelsText,
  numberColumn,
  selectorText,
  textColumn,
  wideColumn,
} from './define.ts'
import {
  immutableErrors,
  invalid,
  isEmptySelector,
  type LabelSelector,
  labelSelectorErrors,
  nonNegativeErrors,
  required,
} from './field-errors.ts'
import { fillPodSpec, type PodTemplate } from './pod-spec.ts'
import { templateErrors } from './pod-validation.ts'

interface WorkloadSpec {
  replicas?: number
  selector?: LabelSelector
  template?: PodTemplate
  minReadySeconds?: number
  revisionHistoryLimit?: number
  strategy?: RollingStrategy
  updateStrategy?: RollingStrategy
  serviceName?: string
  volumeClaimTemplates?: unknown
  podManagementPolicy?: string
  parallelism?: number
  completions?: number
}

interface RollingStrategy {
  type?: string
  rollingUpdate?: { maxUnavailable?: number | string; maxSurge?: number | string; partition?: number }
}

type Counters = Record<string, number | undefined>

function workloadSpec(object: KubeObject): WorkloadSpec {
  return (object['spec'] ?? {}) as WorkloadSpec
}

function counters(object: KubeObject): Counters {
  return (object['status'] ?? {}) as Counters
}

function admitTemplate(object: KubeObject): void {
  const { template } = workloadSpec(object)
  if (template?.spec !== undefined) fillPodSpec(template.spec)
  object['status'] ??= {}
}

function matchesLabels(selector: LabelSelector, labels: Record<string, string>): boolean {
  const isEqual = Object.entries(selector.matchLabels ?? {}).every(([key, value]) => labels[key] === value)
  return (
    isEqual &&
    (selector.matchExpressions ?? []).every(({ key, operator, values }) => {
      const value = labels[key]
      if (operator === 'In') return value !== undefined && (values ?? []).includes(value)
      if (operator === 'NotIn') return value === undefined || !(values ?? []).includes(value)
      return operator === 'Exists' ? value !== undefined : value === undefined
    })
  )
}

function workloadErrors(object: KubeObject, previous: KubeObject | undefined): FieldError[] {
  const spec = workloadSpec(object)
  const { selector, template } = spec
  const labels = template?.metadata?.labels ?? {}
  const errors: FieldError[] = []
  if (selector === undefined) errors.push(required('spec.selector'))
  else {
    errors.push(...labelSelectorErrors('spec.selector', selector))
    if (isEmptySelector(selector))
      errors.push(
        invalid('spec.selector', selector, `empty selector is invalid for ${object.kind.toLowerCase()}`),
      )
    else if (!matchesLabels(selector, labels))
      errors.push(
        invalid('spec.template.metadata.labels', labels, '`selector` does not match template `labels`'),
      )
  }
  if (previous !== undefined)
    errors.push(...immutableErrors('spec.selector', selector, workloadSpec(previous).selector))
  return [
    ...errors,
    ...nonNegativeErrors('spec.replicas', spec.replicas),
    ...nonNegativeErrors('spec.minReadySeconds', spec.minReadySeconds),
    ...nonNegativeErrors('spec.revisionHistoryLimit', spec.revisionHistoryLimit),
    ...templateErrors(template, 'spec.template', ['Always']),
  ]
}

const percentage = /^\d{1,3}%$/

function amountErrors(field: string, amount: number | string | undefined): FieldError[] {
  if (amount === undefined || (typeof amount === 'number' && amount >= 0)) return []
  if (typeof amount === 'number') return [invalid(field, amount, 'must be greater than or equal to 0')]
  const why =
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
  return percentage.test(amount) ? [] : [invalid(field, amount, why)]
}

function rollingErrors(at: string, strategy: RollingStrategy | undefined): FieldError[] {
  const rolling = strategy?.rollingUpdate
  if (rolling === undefined) return []
  if (strategy?.type !== 'RollingUpdate')
    return [
      {
        field: `${at}.rollingUpdate`,
        reason: 'FieldValueForbidden',
        message: `Forbidden: may not be specified when strategy \`type\` is '${strategy?.type ?? ''}'`,
      },
    ]
  const isZero = (amount: number | string | undefined): boolean => amount === 0 || amount === '0%'
  const errors = [
    ...amountErrors(`${at}.rollingUpdate.maxUnavailable`, rolling.maxUnavailable),
    ...amountErrors(`${at}.rollingUpdate.maxSurge`, rolling.maxSurge),
  ]
  if (isZero(rolling.maxUnavailable) && isZero(rolling.maxSurge))
    errors.push(
      invalid(
        `${at}.rollingUpdate.maxUnavailable`,
        rolling.maxUnavailable,
        'may not be 0 when `maxSurge` is 0',
      ),
    )
  return errors
}

const podColumns = (selector: (object: KubeObject) => string): readonly TableColumn[] => [
  wideColumn('Containers', (object) =>
    containersOf(object)
      .map((container) => container.name)
      .join(','),
  ),
  wideColumn('Images', (object) =>
    containersOf(object)
      .map((container) => container.image ?? '')
      .join(','),
  ),
  wideColumn('Selector', selector),
]

function containersOf(object: KubeObject): readonly { name: string; image?: string }[] {
  return workloadSpec(object).template?.spec?.containers ?? []
}

const ownSelector = (object: KubeObject): string => selectorText(workloadSpec(object).selector)

const scale = {
  specReplicasPath: '.spec.replicas',
  statusReplicasPath: '.status.replicas',
  labelSelectorPath: '.spec.selector',
}

export const deploymentKind: KindDefinition = defineKind('Deployment', {
  package: 'apps',
  group: 'apps',
  shortNames: ['deploy'],
  categories: ['all'],
  hasGeneration: true,
  scale,
  columns: [
    textColumn(
      'Ready',
      (object) => `${counters(object)['readyReplicas'] ?? 0}/${workloadSpec(object).replicas ?? 0}`,
    ),
    numberColumn('Up-to-date', (object) => counters(object)['updatedReplicas'] ?? 0),
    numberColumn('Available', (object) => counters(object)['availableReplicas'] ?? 0),
    ageColumn,
    ...podColumns(ownSelector),
  ],
  admit: (object) => {
    admitTemplate(object)
    const { strategy } = workloadSpec(object)
    if (strategy?.type !== 'RollingUpdate') return
    strategy.rollingUpdate = { maxUnavailable: '25%', maxSurge: '25%', ...strategy.rollingUpdate }
  },
  validate: (object, previous) => [
    ...workloadErrors(object, previous),
    ...rollingErrors('spec.strategy', workloadSpec(object).strategy),
  ],
})

const replicaColumns = [
  numberColumn('Desired', (object) => workloadSpec(object).replicas ?? 0),
  numberColumn('Current', (object) => counters(object)['replicas'] ?? 0),
  numberColumn('Ready', (object) => counters(object)['readyReplicas'] ?? 0),
  ageColumn,
]

export const replicaSetKind: KindDefinition = defineKind('ReplicaSet', {
  package: 'apps',
  group: 'apps',
  shortNames: ['rs'],
  categories: ['all'],
  hasGeneration: true,
  scale,
  columns: [...replicaColumns, ...podColumns(ownSelector)],
  admit: (object) => {
    admitTemplate(object)
    const status = counters(object)
    status['replicas'] ??= 0
  },
  validate: workloadErrors,
})

export const daemonSetKind: KindDefinition = defineKind('DaemonSet', {
  package: 'apps',
  group: 'apps',
  shortNames: ['ds'],
  categories: ['all'],
  hasGeneration: true,
  columns: [
    numberColumn('Desired', (object) => counters(object)['desiredNumberScheduled'] ?? 0),
    numberColumn('Current', (object) => counters(object)['currentNumberScheduled'] ?? 0),
    numberColumn('Ready', (object) => counters(object)['numberReady'] ?? 0),
    numberColumn('Up-to-date', (object) => counters(object)['updatedNumberScheduled'] ?? 0),
    numberColumn('Available', (object) => counters(object)['numberAvailable'] ?? 0),
    textColumn('Node Selector', (object) => labelsText(workloadSpec(object).template?.spec?.nodeSelector)),
    ageColumn,
    ...podColumns(ownSelector),
  ],
  admit: (object) => {
    admitTemplate(object)
    const { updateStrategy } = workloadSpec(object)
    if (updateStrategy?.type === 'RollingUpdate')
      updateStrategy.rollingUpdate = { maxUnavailable: 1, maxSurge: 0, ...updateStrategy.rollingUpdate }
    const status = counters(object)
    for (const field of [
      'currentNumberScheduled',
      'numberMisscheduled',
      'desiredNumberScheduled',
      'numberReady',
    ])
      status[field] ??= 0
  },
  validate: (object, previous) => [
    ...workloadErrors(object, previous),
    ...rollingErrors('spec.updateStrategy', workloadSpec(object).updateStrategy),
  ],
})

export const statefulSetKind: KindDefinition = defineKind('StatefulSet', {
  package: 'apps',
  group: 'apps',
  shortNames: ['sts'],
  categories: ['all'],
  hasGeneration: true,
  scale,
  columns: [
    textColumn(
      'Ready',
      (object) => `${counters(object)['readyReplicas'] ?? 0}/${workloadSpec(object).replicas ?? 0}`,
    ),
    ageColumn,
    ...podColumns(ownSelector).slice(0, 2),
  ],
  admit: (object) => {
    admitTemplate(object)
    const { updateStrategy } = workloadSpec(object)
    if (updateStrategy?.type === 'RollingUpdate')
      updateStrategy.rollingUpdate = { partition: 0, ...updateStrategy.rollingUpdate }
    const status = counters(object)
    status['replicas'] ??= 0
    status['availableReplicas'] ??= 0
  },
  validate: (object, previous) => [
    ...workloadErrors(object, previous),
    ...statefulUpdateErrors(object, previous),
  ],
})

function statefulUpdateErrors(object: KubeObject, previous: KubeObject | undefined): FieldError[] {
  if (previous === undefined) return []
  const spec = workloadSpec(object)
  const before = workloadSpec(previous)
  const fields = ['serviceName', 'podManagementPolicy', 'volumeClaimTemplates'] as const
  if (
    fields.every((field) => immutableErrors('spec', spec[field] ?? null, before[field] ?? null).length === 0)
  )
    return []
  const why =
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', " +
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
  return [{ field: 'spec', reason: 'FieldValueForbidden', message: `Forbidden: ${why}` }]
}

interface JobStatus {
  succeeded?: number
  startTime?: string
  completionTime?: string
  conditions?: { type: string; status: string }[]
}

function jobStatus(object: KubeObject): JobStatus {
  return (object['status'] ?? {}) as JobStatus
}

function jobStatusText(object: KubeObject): string {
  const isTrue = (type: string): boolean =>
    (jobStatus(object).conditions ?? []).some(
      (condition) => condition.type === type && condition.status === 'True',
    )
  if (isTrue('Complete')) return 'Complete'
  if (isTrue('Failed')) return 'Failed'
  if (object.metadata.deletionTimestamp !== undefined) return 'Terminating'
  return isTrue('Suspended') ? 'Suspended' : 'Running'
}

function jobDuration(object: KubeObject, nowMs: number): string {
  const { startTime, completionTime } = jobStatus(object)
  if (startTime === undefined) return ''
  return humanDuration(
    (completionTime === undefined ? nowMs : Date.parse(completionTime)) - Date.parse(startTime),
  )
}

export const jobKind: KindDefinition = defineKind('Job', {
  package: 'batch',
  group: 'batch',
  categories: ['all'],
  hasGeneration: true,
  columns: [
    textColumn('Status', jobStatusText),
    textColumn('Completions', (object) => {
      const { completions, parallelism } = workloadSpec(object)
      const done = jobStatus(object).succeeded ?? 0
      if (completions !== undefined) return `${done}/${completions}`
      return (parallelism ?? 1) > 1 ? `${done}/1 of ${parallelism}` : `${done}/1`
    }),
    textColumn('Duration', jobDuration),
    ageColumn,
    ...podColumns(ownSelector),
  ],
  admit: (object) => {
    admitTemplate(object)
    const spec = workloadSpec(object)
    if (spec.completions === undefined && spec.parallelism === undefined) spec.completions = 1
    spec.parallelism ??= 1
    const uid = object.metadata.uid ?? ''
    spec.template ??= {}
    const { template } = spec
    template.metadata ??= {}
    template.metadata.labels ??= {}
    if (spec.selector !== undefined || uid === '') return
    spec.selector = { matchLabels: { 'batch.kubernetes.io/controller-uid': uid } }
    template.metadata.labels['batch.kubernetes.io/controller-uid'] = uid
    template.metadata.labels['batch.kubernetes.io/job-name'] = object.metadata.name ?? ''
  },
  validate: (object) =>
    templateErrors(workloadSpec(object).template, 'spec.template', ['Never', 'OnFailure']),
})

interface ReplicationControllerSpec {
  selector?: Record<string, string>
  template?: PodTemplate
}

export const replicationControllerKind: KindDefinition = defineKind('ReplicationController', {
  package: 'core',
  shortNames: ['rc'],
  categories: ['all'],
  hasGeneration: true,
  scale,
  columns: [
    ...replicaColumns,
    ...podColumns((object) =>
      labelsText((object['spec'] as ReplicationControllerSpec | undefined)?.selector),
    ),
  ],
  admit: (object) => {
    admitTemplate(object)
    const spec = (object['spec'] ?? {}) as ReplicationControllerSpec & { replicas?: number }
    spec.replicas ??= 1
    spec.selector ??= { ...spec.template?.metadata?.labels }
    counters(object)['replicas'] ??= 0
  },
  validate: (object) => templateErrors(workloadSpec(object).template, 'spec.template', ['Always']),
})
