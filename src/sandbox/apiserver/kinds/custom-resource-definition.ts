// CustomResourceDefinition: names, versions and scope. That each schema is structural is required, not that it is wise.

import type { FieldError, KindDefinition, KubeObject } from '../kind.ts'
import { isJsonObject } from '../schema/traverse.ts'
import { createdAtColumn, defineKind } from './define.ts'
import { immutableErrors, invalid, label1035Errors, required, subdomainErrors } from './field-errors.ts'

interface Names {
  plural?: string
  singular?: string
  kind?: string
  listKind?: string
}

interface Version {
  name: string
  served?: boolean
  storage?: boolean
  schema?: { openAPIV3Schema?: Record<string, unknown> }
}

interface CrdSpec {
  group?: string
  scope?: string
  names?: Names
  versions?: Version[]
  conversion?: { strategy?: string }
  preserveUnknownFields?: boolean
}

function crdSpec(object: KubeObject): CrdSpec {
  return (object['spec'] ?? {}) as CrdSpec
}

function admitDefinition(object: KubeObject): void {
  const spec = crdSpec(object)
  const names = spec.names ?? {}
  names.singular ||= (names.kind ?? '').toLowerCase()
  names.listKind ||= `${names.kind ?? ''}List`
  spec.conversion ??= { strategy: 'None' }
}

function validateDefinition(object: KubeObject, previous: KubeObject | undefined): FieldError[] {
  const spec = crdSpec(object)
  const { plural = '', kind = '' } = spec.names ?? {}
  const versions = spec.versions ?? []
  const errors = subdomainErrors('spec.group', spec.group ?? '')
  if (object.metadata.name !== `${plural}.${spec.group}`)
    errors.push(invalid('metadata.name', object.metadata.name, 'must be spec.names.plural+"."+spec.group'))
  if (!spec.group?.includes('.'))
    errors.push(invalid('spec.group', spec.group, 'should be a domain with at least one dot'))
  errors.push(
    ...label1035Errors('spec.names.plural', plural),
    ...label1035Errors('spec.names.kind', kind.toLowerCase()),
  )
  if (versions.length === 0) errors.push(required('spec.versions', 'must have at least one version'))
  else if (versions.filter((version) => version.storage === true).length !== 1)
    errors.push(
      invalid(
        'spec.versions',
        versions.map(({ name }) => name),
        'must have exactly one version marked as storage version',
      ),
    )
  for (const [index, version] of versions.entries())
    errors.push(...versionErrors(version, `spec.versions[${index}]`))
  if (previous !== undefined) {
    const before = crdSpec(previous)
    errors.push(
      ...immutableErrors('spec.group', spec.group, before.group),
      ...immutableErrors('spec.scope', spec.scope, before.scope),
      ...immutableErrors('spec.names.plural', plural, before.names?.plural),
      ...immutableErrors('spec.names.kind', kind, before.names?.kind),
    )
  }
  return errors
}

function versionErrors(version: Version, at: string): FieldError[] {
  const errors = label1035Errors(`${at}.name`, version.name)
  const schema = version.schema?.openAPIV3Schema
  const field = `${at}.schema.openAPIV3Schema`
  if (schema === undefined) errors.push(required(field, 'schemas are required'))
  else if (schema['type'] !== 'object')
    errors.push(invalid(`${field}.type`, schema['type'] ?? '', 'must be object at the root'))
  else errors.push(...structureErrors(schema, field))
  return errors
}

/** Every place of a structural schema has a type, unless it says that it takes anything. */
function structureErrors(schema: Record<string, unknown>, at: string): FieldError[] {
  const isOpen =
    schema['x-kubernetes-int-or-string'] === true || schema['x-kubernetes-preserve-unknown-fields'] === true
  const errors: FieldError[] = []
  if (!schema['type'] && !isOpen)
    errors.push(required(`${at}.type`, 'must not be empty for specified object fields'))
  if (schema['type'] === 'array' && !isJsonObject(schema['items']))
    errors.push(required(`${at}.items`, 'must be specified'))
  if (isJsonObject(schema['items'])) errors.push(...structureErrors(schema['items'], `${at}.items`))
  const properties = schema['properties']
  if (isJsonObject(properties))
    for (const [name, inner] of Object.entries(properties))
      if (isJsonObject(inner)) errors.push(...structureErrors(inner, `${at}.properties[${name}]`))
  const additional = schema['additionalProperties']
  if (isJsonObject(additional)) errors.push(...structureErrors(additional, `${at}.additionalProperties`))
  return errors
}

export const customResourceDefinitionKind: KindDefinition = defineKind('CustomResourceDefinition', {
  package: 'apiextensions',
  group: 'apiextensions.k8s.io',
  namespaced: false,
  shortNames: ['crd', 'crds'],
  categories: ['api-extensions'],
  hasGeneration: true,
  columns: [createdAtColumn],
  admit: admitDefinition,
  validate: validateDefinition,
})
