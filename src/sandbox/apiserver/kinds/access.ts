// rbac.authorization.k8s.io: what `../authorizer.ts` decides by.

import type { FieldError, KindDefinition, KubeObject } from '../kind.ts'
import { ageColumn, createdAtColumn, defineKind, textColumn, wideColumn } from './define.ts'
import { immutableErrors, required } from './field-errors.ts'

const group = 'rbac.authorization.k8s.io'

interface Subject {
  kind: string
  name: string
  namespace?: string
  apiGroup?: string
}

interface Binding extends KubeObject {
  roleRef?: { apiGroup?: string; kind: string; name: string }
  subjects?: Subject[]
}

function ruleErrors(object: KubeObject): FieldError[] {
  const rules = (object['rules'] ?? []) as {
    verbs?: string[]
    apiGroups?: string[]
    resources?: string[]
    nonResourceURLs?: string[]
  }[]
  return rules.flatMap((rule, index) => {
    const at = `rules[${index}]`
    const errors =
      (rule.verbs ?? []).length === 0
        ? [required(`${at}.verbs`, 'verbs must contain at least one value')]
        : []
    if ((rule.nonResourceURLs ?? []).length > 0) return errors
    if ((rule.apiGroups ?? []).length === 0)
      errors.push(required(`${at}.apiGroups`, 'resource rules must supply at least one api group'))
    if ((rule.resources ?? []).length === 0)
      errors.push(required(`${at}.resources`, 'resource rules must supply at least one resource'))
    return errors
  })
}

function admitBinding(object: KubeObject): void {
  const binding = object as Binding
  if (binding.roleRef !== undefined) binding.roleRef.apiGroup ||= group
  for (const subject of binding.subjects ?? []) {
    if (subject.kind === 'User' || subject.kind === 'Group') subject.apiGroup ||= group
  }
}

function bindingErrors(object: KubeObject, previous: KubeObject | undefined): FieldError[] {
  const binding = object as Binding
  const errors: FieldError[] = []
  if (!binding.roleRef?.name) errors.push(required('roleRef.name'))
  for (const [index, subject] of (binding.subjects ?? []).entries())
    if (subject.kind === 'ServiceAccount' && !subject.namespace)
      errors.push(required(`subjects[${index}].namespace`))
  if (previous !== undefined)
    errors.push(...immutableErrors('roleRef', binding.roleRef, (previous as Binding).roleRef))
  return errors
}

function subjectNames(object: KubeObject, kind: string): string {
  const subjects = ((object as Binding).subjects ?? []).filter((subject) => subject.kind === kind)
  return subjects
    .map(({ namespace, name }) => (kind === 'ServiceAccount' ? `${namespace ?? ''}/${name}` : name))
    .join(', ')
}

const bindingColumns = [
  textColumn('Role', (object) => {
    const { kind, name } = (object as Binding).roleRef ?? { kind: '', name: '' }
    return `${kind}/${name}`
  }),
  ageColumn,
  wideColumn('Users', (object) => subjectNames(object, 'User')),
  wideColumn('Groups', (object) => subjectNames(object, 'Group')),
  wideColumn('ServiceAccounts', (object) => subjectNames(object, 'ServiceAccount')),
]

const common = { package: 'rbac', group }

export const roleKind: KindDefinition = defineKind('Role', {
  ...common,
  columns: [createdAtColumn],
  validate: ruleErrors,
})

export const clusterRoleKind: KindDefinition = defineKind('ClusterRole', {
  ...common,
  namespaced: false,
  columns: [createdAtColumn],
  validate: ruleErrors,
})

export const roleBindingKind: KindDefinition = defineKind('RoleBinding', {
  ...common,
  columns: bindingColumns,
  admit: admitBinding,
  validate: bindingErrors,
})

export const clusterRoleBindingKind: KindDefinition = defineKind('ClusterRoleBinding', {
  ...common,
  namespaced: false,
  columns: bindingColumns,
  admit: admitBinding,
  validate: bindingErrors,
})
