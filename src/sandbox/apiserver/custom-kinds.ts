// CustomResourceDefinitions as data: one CRD object → the kind definitions the registry serves, and the rules a CRD itself must obey.

import { isRecord, recordAt, stringAt } from './json.ts'
import { compileJsonPath } from './json-path.ts'
import type { FieldError, KindDefinition, KubeObject, Schema, TableColumn } from './kind.ts'
import { age } from './table.ts'

export const cleanupFinalizer = 'customresourcecleanup.apiextensions.k8s.io'

const records = (value: unknown): Record<string, unknown>[] =>
  Array.isArray(value) ? value.filter(isRecord) : []
const strings = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((entry): entry is string => typeof entry === 'string') : []

export interface CustomKind {
  readonly versions: readonly KindDefinition[]
  readonly storageVersion: KindDefinition | undefined
}

const cellOf = (type: string, value: unknown, nowMs: number): string | number | boolean | null => {
  if (value === undefined || value === null) return null
  if (type === 'date') return typeof value === 'string' ? age(value, nowMs) : '<invalid>'
  if (type === 'string') return typeof value === 'string' ? value : JSON.stringify(value)
  return typeof value === 'number' || typeof value === 'boolean' || typeof value === 'string' ? value : null
}

const columnOf = (given: Record<string, unknown>): TableColumn => {
  const type = String(given['type'])
  const read = compileJsonPath(String(given['jsonPath']))
  return {
    name: String(given['name']),
    type: type as TableColumn['type'],
    ...(typeof given['format'] === 'string' ? { format: given['format'] } : {}),
    description:
      typeof given['description'] === 'string'
        ? given['description']
        : `Custom column of path ${String(given['jsonPath'])}`,
    priority: typeof given['priority'] === 'number' ? given['priority'] : 0,
    cell: (object, nowMs) => cellOf(type, read?.(object)[0], nowMs),
  }
}

const scaleOf = (subresources: Record<string, unknown>): Pick<KindDefinition, 'scale'> => {
  const { specReplicasPath, statusReplicasPath, labelSelectorPath } = recordAt(subresources, 'scale')
  if (typeof specReplicasPath !== 'string' || typeof statusReplicasPath !== 'string') return {}
  const selector = typeof labelSelectorPath === 'string' ? { labelSelectorPath } : {}
  return { scale: { specReplicasPath, statusReplicasPath, ...selector } }
}

/** `com.example.stable.v1.CronTab` for group stable.example.com, as OpenAPI names it. */
const definitionNameOf = (group: string, version: string, kind: string): string =>
  `${group.split('.').reverse().join('.')}.${version}.${kind}`

const versionOf = (crd: KubeObject, version: Record<string, unknown>): KindDefinition => {
  const names = recordAt(crd, 'spec', 'names')
  const group = stringAt(crd, 'spec', 'group') ?? ''
  const kind = String(names['kind'])
  const name = String(version['name'])
  const subresources = recordAt(version, 'subresources')
  const schema = recordAt(version, 'schema', 'openAPIV3Schema') as Schema
  return {
    group,
    version: name,
    kind,
    listKind: stringAt(names, 'listKind') ?? `${kind}List`,
    plural: String(names['plural']),
    singular: stringAt(names, 'singular') ?? kind.toLowerCase(),
    shortNames: strings(names['shortNames']),
    categories: strings(names['categories']),
    namespaced: stringAt(crd, 'spec', 'scope') === 'Namespaced',
    definitionName: definitionNameOf(group, name, kind),
    schema: { type: 'object', ...schema },
    hasStatusSubresource: isRecord(subresources['status']),
    ...scaleOf(subresources),
    columns: records(version['additionalPrinterColumns']).map(columnOf),
    selectableFields: records(version['selectableFields']).map((entry) =>
      String(entry['jsonPath']).replace(/^\./, ''),
    ),
    hasGeneration: true,
    isCustom: true,
  }
}

export const customKindOf = (crd: KubeObject): CustomKind => {
  const versions = records(recordAt(crd, 'spec')['versions'])
  const served = versions
    .filter((version) => version['served'] === true)
    .map((version) => versionOf(crd, version))
  const stored = versions.find((version) => version['storage'] === true)
  return { versions: served, storageVersion: stored && versionOf(crd, stored) }
}

/** What the CRD's author may leave out. */
const completeNames = (crd: KubeObject): void => {
  const spec = recordAt(crd, 'spec')
  const names = recordAt(spec, 'names')
  const kind = names['kind']
  if (typeof kind === 'string') {
    names['singular'] ??= kind.toLowerCase()
    names['listKind'] ??= `${kind}List`
  }
  spec['conversion'] ??= { strategy: 'None' }
}

const structuralErrors = (schema: unknown, path: string, isRoot: boolean): FieldError[] => {
  if (!isRecord(schema)) return []
  const isUntyped =
    schema['x-kubernetes-int-or-string'] === true || schema['x-kubernetes-preserve-unknown-fields'] === true
  const errors: FieldError[] = []
  if (typeof schema['type'] !== 'string' && !isUntyped) {
    const where = isRoot ? 'at the root' : 'for specified object fields'
    errors.push({
      field: `${path}.type`,
      reason: 'FieldValueRequired',
      message: `Required value: must not be empty ${where}`,
    })
  } else if (isRoot && schema['type'] !== 'object') {
    errors.push({
      field: `${path}.type`,
      reason: 'FieldValueInvalid',
      message: `Invalid value: ${JSON.stringify(schema['type'])}: must be object at the root`,
    })
  }
  for (const [name, inner] of Object.entries(recordAt(schema, 'properties'))) {
    if (!(isRoot && name === 'metadata'))
      errors.push(...structuralErrors(inner, `${path}.properties[${name}]`, false))
  }
  errors.push(...structuralErrors(schema['items'], `${path}.items`, false))
  errors.push(...structuralErrors(schema['additionalProperties'], `${path}.additionalProperties`, false))
  return errors
}

const versionErrors = (version: Record<string, unknown>, path: string): FieldError[] => {
  const schema = recordAt(version, 'schema')['openAPIV3Schema']
  const errors = isRecord(schema)
    ? structuralErrors(schema, `${path}.schema.openAPIV3Schema`, true)
    : [
        {
          field: `${path}.schema.openAPIV3Schema`,
          reason: 'FieldValueRequired' as const,
          message: 'Required value: schemas are required',
        },
      ]
  for (const [index, column] of records(version['additionalPrinterColumns']).entries()) {
    if (compileJsonPath(String(column['jsonPath']))) continue
    errors.push({
      field: `${path}.additionalPrinterColumns[${index}].jsonPath`,
      reason: 'FieldValueInvalid',
      message: `Invalid value: ${JSON.stringify(column['jsonPath'])}: is an invalid JSON path`,
    })
  }
  return errors
}

const crdErrors = (crd: KubeObject, previous: KubeObject | undefined): FieldError[] => {
  const spec = recordAt(crd, 'spec')
  const names = recordAt(spec, 'names')
  const errors: FieldError[] = []
  const expected = `${String(names['plural'])}.${String(spec['group'])}`
  if (crd.metadata.name !== expected) {
    const message = `Invalid value: "${crd.metadata.name}": must be spec.names.plural+"."+spec.group`
    errors.push({ field: 'metadata.name', reason: 'FieldValueInvalid', message })
  }
  const versions = records(spec['versions'])
  if (versions.filter((version) => version['storage'] === true).length !== 1) {
    const message = 'Invalid value: must have exactly one version marked as storage version'
    errors.push({ field: 'spec.versions', reason: 'FieldValueInvalid', message })
  }
  for (const [index, version] of versions.entries())
    errors.push(...versionErrors(version, `spec.versions[${index}]`))
  if (stringAt(spec, 'conversion', 'strategy') !== 'None') {
    const message = 'Unsupported value: this server converts nothing; use "None"'
    errors.push({ field: 'spec.conversion.strategy', reason: 'FieldValueNotSupported', message })
  }
  if (previous && stringAt(previous, 'spec', 'scope') !== spec['scope']) {
    errors.push({
      field: 'spec.scope',
      reason: 'FieldValueInvalid',
      message: 'Invalid value: field is immutable',
    })
  }
  return errors
}

/** The CustomResourceDefinition kind with these rules added to what its definition says. */
export const withCrdRules = (kind: KindDefinition): KindDefinition => ({
  ...kind,
  admit: (object, previous, context) => {
    kind.admit?.(object, previous, context)
    completeNames(object)
    if (!previous)
      object.metadata.finalizers = [...new Set([...(object.metadata.finalizers ?? []), cleanupFinalizer])]
  },
  validate: (object, previous, context) => [
    ...(kind.validate?.(object, previous, context) ?? []),
    ...crdErrors(object, previous),
  ],
})
