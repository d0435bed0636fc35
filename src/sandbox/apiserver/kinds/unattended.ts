// Kinds that nothing acts on here. They are served because manifests bring them along and kubectl asks for them by itself
// (`apply --prune` looks for every kind of its list, and gives up at the first that is missing).

import type { FieldError, KindDefinition, KubeObject } from '../kind.ts'
import { ageColumn, defineKind, numberColumn, textColumn } from './define.ts'
import { required } from './field-errors.ts'

/** The real server's. */
const PRECEDENCE_DEFAULT = 1000

interface CronJobSpec {
  schedule?: string
  timeZone?: string
  suspend?: boolean
}

const cronJobSpec = (object: KubeObject): CronJobSpec => (object['spec'] ?? {}) as CronJobSpec

export const cronJobKind: KindDefinition = defineKind('CronJob', {
  package: 'batch',
  group: 'batch',
  shortNames: ['cj'],
  categories: ['all'],
  hasGeneration: true,
  columns: [
    textColumn('Schedule', (object) => cronJobSpec(object).schedule ?? ''),
    textColumn('Timezone', (object) => cronJobSpec(object).timeZone ?? '<none>'),
    textColumn('Suspend', (object) => (cronJobSpec(object).suspend === true ? 'True' : 'False')),
    ageColumn,
  ],
  validate: (object): FieldError[] =>
    (cronJobSpec(object).schedule ?? '') === '' ? [required('spec.schedule')] : [],
})

interface Volume {
  spec?: {
    capacity?: Record<string, string>
    persistentVolumeReclaimPolicy?: string
    storageClassName?: string
  }
  status?: { phase?: string }
}

const volume = (object: KubeObject): Volume => object as unknown as Volume

export const persistentVolumeKind: KindDefinition = defineKind('PersistentVolume', {
  package: 'core',
  namespaced: false,
  shortNames: ['pv'],
  columns: [
    textColumn('Capacity', (object) => volume(object).spec?.capacity?.['storage'] ?? ''),
    textColumn('Reclaim Policy', (object) => volume(object).spec?.persistentVolumeReclaimPolicy ?? ''),
    textColumn('Status', (object) => volume(object).status?.phase ?? ''),
    textColumn('StorageClass', (object) => volume(object).spec?.storageClassName ?? ''),
    ageColumn,
  ],
})

interface FlowSchema {
  spec?: {
    priorityLevelConfiguration?: { name?: string }
    matchingPrecedence?: number
    distinguisherMethod?: { type?: string }
  }
}

const flowSchema = (object: KubeObject): FlowSchema => object as unknown as FlowSchema

export const flowSchemaKind: KindDefinition = defineKind('FlowSchema', {
  package: 'flowcontrol',
  group: 'flowcontrol.apiserver.k8s.io',
  namespaced: false,
  columns: [
    textColumn('PriorityLevel', (object) => flowSchema(object).spec?.priorityLevelConfiguration?.name ?? ''),
    numberColumn('MatchingPrecedence', (object) => flowSchema(object).spec?.matchingPrecedence ?? 0),
    textColumn(
      'DistinguisherMethod',
      (object) => flowSchema(object).spec?.distinguisherMethod?.type ?? '<none>',
    ),
    ageColumn,
  ],
  admit: (object) => {
    object['status'] ??= {}
    const spec = flowSchema(object).spec
    if (spec) spec.matchingPrecedence ||= PRECEDENCE_DEFAULT
  },
})
