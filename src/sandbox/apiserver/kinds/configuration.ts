// Kinds that hold data for pods: ConfigMap, Secret, ServiceAccount, PersistentVolumeClaim.

import type { FieldError, KindDefinition, KubeObject } from '../kind.ts'
import { ageColumn, defineKind, numberColumn, textColumn, wideColumn } from './define.ts'
import { forbidden, immutableErrors, invalid, isSame } from './field-errors.ts'

const dataLimitBytes = 1024 * 1024
const keyPattern = /^[-._a-zA-Z0-9]+$/
const keyLimit = 253

interface DataHolder extends KubeObject {
  data?: Record<string, string>
  binaryData?: Record<string, string>
  stringData?: Record<string, string>
  immutable?: boolean
  type?: string
}

function keyCount(object: KubeObject): number {
  const { data, binaryData } = object as DataHolder
  return Object.keys(data ?? {}).length + Object.keys(binaryData ?? {}).length
}

function dataErrors(object: KubeObject, previous: KubeObject | undefined): FieldError[] {
  const holder = object as DataHolder
  const errors: FieldError[] = []
  let bytes = 0
  for (const field of ['data', 'binaryData'] as const)
    for (const [key, value] of Object.entries(holder[field] ?? {})) {
      bytes += Buffer.byteLength(value)
      if (!keyPattern.test(key) || key.length > keyLimit || key === '.' || key === '..')
        errors.push(invalid(`${field}[${key}]`, key, keyRule))
      if (field === 'binaryData' && holder.data?.[key] !== undefined)
        errors.push(invalid(`${field}[${key}]`, key, 'duplicate of key present in data'))
    }
  if (bytes > dataLimitBytes)
    errors.push({
      field: '',
      reason: 'FieldValueInvalid',
      message: `Too long: may not be more than ${dataLimitBytes} bytes`,
    })
  return [...errors, ...immutabilityErrors(holder, previous as DataHolder | undefined)]
}

const keyRule =
  "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', " +
  "regex used for validation is '[-._a-zA-Z0-9]+')"

function immutabilityErrors(holder: DataHolder, previous: DataHolder | undefined): FieldError[] {
  if (previous?.immutable !== true) return []
  const errors: FieldError[] = []
  const why = 'field is immutable when `immutable` is set'
  if (holder.immutable !== true) errors.push(forbidden('immutable', why))
  for (const field of ['data', 'binaryData'] as const)
    if (!isSame(holder[field] ?? {}, previous[field] ?? {})) errors.push(forbidden(field, why))
  return errors
}

export const configMapKind: KindDefinition = defineKind('ConfigMap', {
  package: 'core',
  shortNames: ['cm'],
  columns: [numberColumn('Data', keyCount), ageColumn],
  validate: dataErrors,
})

export const secretKind: KindDefinition = defineKind('Secret', {
  package: 'core',
  columns: [
    textColumn('Type', (object) => (object as DataHolder).type ?? ''),
    numberColumn('Data', keyCount),
    ageColumn,
  ],
  // stringData is write-only: it ends up in data, in base64.
  admit: (object) => {
    const secret = object as DataHolder
    for (const [key, text] of Object.entries(secret.stringData ?? {})) {
      secret.data ??= {}
      secret.data[key] = Buffer.from(text).toString('base64')
    }
    delete secret.stringData
  },
  validate: (object, previous) => [
    ...dataErrors(object, previous),
    ...(previous === undefined
      ? []
      : immutableErrors('type', (object as DataHolder).type, (previous as DataHolder).type)),
  ],
})

export const serviceAccountKind: KindDefinition = defineKind('ServiceAccount', {
  package: 'core',
  shortNames: ['sa'],
  columns: [numberColumn('Secrets', (object) => ((object['secrets'] ?? []) as unknown[]).length), ageColumn],
})

interface Claim {
  spec?: {
    accessModes?: string[]
    storageClassName?: string
    volumeName?: string
    volumeMode?: string
    volumeAttributesClassName?: string
  }
  status?: { phase?: string; capacity?: Record<string, string>; accessModes?: string[] }
}

const accessModeShort: Record<string, string> = {
  ReadWriteOnce: 'RWO',
  ReadOnlyMany: 'ROX',
  ReadWriteMany: 'RWX',
  ReadWriteOncePod: 'RWOP',
}

function claim(object: KubeObject): Claim {
  return object as unknown as Claim
}

export const persistentVolumeClaimKind: KindDefinition = defineKind('PersistentVolumeClaim', {
  package: 'core',
  shortNames: ['pvc'],
  columns: [
    textColumn('Status', (object) => claim(object).status?.phase ?? 'Pending'),
    textColumn('Volume', (object) => claim(object).spec?.volumeName ?? ''),
    textColumn('Capacity', (object) => claim(object).status?.capacity?.['storage'] ?? ''),
    textColumn('Access Modes', (object) =>
      (claim(object).status?.accessModes ?? []).map((mode) => accessModeShort[mode] ?? mode).join(','),
    ),
    textColumn('StorageClass', (object) => claim(object).spec?.storageClassName ?? ''),
    textColumn(
      'VolumeAttributesClass',
      (object) => claim(object).spec?.volumeAttributesClassName ?? '<unset>',
    ),
    ageColumn,
    wideColumn('VolumeMode', (object) => claim(object).spec?.volumeMode ?? '<unset>'),
  ],
  admit: (object) => {
    object['status'] ??= {}
    const status = object['status'] as { phase?: string }
    status.phase ??= 'Pending'
  },
})
