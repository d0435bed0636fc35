// Label and field selectors: the query-string syntax of Kubernetes → predicates over objects.

import { badRequest, qualifiedResource } from './errors.ts'
import { valueAt } from './json.ts'
import type { KindDefinition, KubeObject } from './kind.ts'

export type ObjectPredicate = (object: KubeObject) => boolean

type Labels = Readonly<Record<string, string>>
type LabelRequirement = (labels: Labels) => boolean

const labelKey = '(?:[A-Za-z0-9.-]+/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?'
const setPattern = new RegExp(`^(${labelKey})\\s+(in|notin)\\s*\\(([^)]*)\\)$`)
const equalityPattern = new RegExp(`^(${labelKey})\\s*(==|=|!=)\\s*([A-Za-z0-9_.-]*)$`)
const comparisonPattern = new RegExp(`^(${labelKey})\\s*([<>])\\s*(-?\\d+)$`)
const existencePattern = new RegExp(`^(!?)\\s*(${labelKey})$`)

/** Splits at commas outside parentheses. */
const splitRequirements = (selector: string): string[] => {
  const parts: string[] = []
  let depth = 0
  let start = 0
  for (let index = 0; index < selector.length; index += 1) {
    const character = selector[index]
    if (character === '(') depth += 1
    else if (character === ')') depth -= 1
    else if (character === ',' && depth === 0) {
      parts.push(selector.slice(start, index))
      start = index + 1
    }
  }
  parts.push(selector.slice(start))
  return parts.map((part) => part.trim())
}

const parseLabelRequirement = (text: string, selector: string): LabelRequirement => {
  const set = setPattern.exec(text)
  if (set) {
    const [, key = '', operator, list = ''] = set
    const values = new Set(list.split(',').map((value) => value.trim()))
    return operator === 'in'
      ? (labels) => labels[key] !== undefined && values.has(labels[key])
      : (labels) => labels[key] === undefined || !values.has(labels[key])
  }
  const equality = equalityPattern.exec(text)
  if (equality) {
    const [, key = '', operator, value] = equality
    return operator === '!=' ? (labels) => labels[key] !== value : (labels) => labels[key] === value
  }
  const comparison = comparisonPattern.exec(text)
  if (comparison) {
    const [, key = '', operator, bound] = comparison
    return (labels) => {
      const value = Number(labels[key] ?? Number.NaN)
      return operator === '>' ? value > Number(bound) : value < Number(bound)
    }
  }
  const existence = existencePattern.exec(text)
  if (existence) {
    const [, negation, key = ''] = existence
    return negation === '!' ? (labels) => labels[key] === undefined : (labels) => labels[key] !== undefined
  }
  throw badRequest(`unable to parse requirement: found '${text}' in label selector "${selector}"`)
}

export const parseLabelSelector = (selector: string): ObjectPredicate => {
  const requirements = splitRequirements(selector)
    .filter((part) => part !== '')
    .map((part) => parseLabelRequirement(part, selector))
  return (object) => {
    const labels = object.metadata.labels ?? {}
    return requirements.every((requirement) => requirement(labels))
  }
}

/** Selectable fields beside metadata.name and metadata.namespace, by resource. CRDs add theirs through `selectableFields`. */
const selectableFields: Record<string, readonly string[]> = {
  pods: [
    'spec.nodeName',
    'spec.restartPolicy',
    'spec.schedulerName',
    'spec.serviceAccountName',
    'spec.hostNetwork',
    'status.phase',
    'status.podIP',
    'status.nominatedNodeName',
  ],
  nodes: ['spec.unschedulable'],
  namespaces: ['status.phase'],
  secrets: ['type'],
  services: ['spec.clusterIP', 'spec.type'],
  replicationcontrollers: ['status.replicas'],
  'replicasets.apps': ['status.replicas'],
  'jobs.batch': ['status.successful'],
  events: [
    'involvedObject.kind',
    'involvedObject.namespace',
    'involvedObject.name',
    'involvedObject.uid',
    'involvedObject.apiVersion',
    'involvedObject.resourceVersion',
    'involvedObject.fieldPath',
    'reason',
    'reportingComponent',
    'source',
    'type',
  ],
  'events.events.k8s.io': [
    'regarding.kind',
    'regarding.namespace',
    'regarding.name',
    'regarding.uid',
    'reason',
    'reportingController',
    'type',
  ],
  'certificatesigningrequests.certificates.k8s.io': ['spec.signerName'],
}

/** An absent field compares as its zero value: '' for text, false for spec.unschedulable and spec.hostNetwork. */
const fieldText = (object: KubeObject, path: string): string => {
  if (path === 'source')
    return String(valueAt(object, 'source', 'component') ?? object['reportingComponent'] ?? '')
  const value = valueAt(object, ...path.split('.'))
  if (value !== undefined && value !== null) return String(value)
  if (path === 'status.replicas' || path === 'status.successful') return '0'
  return path === 'spec.unschedulable' || path === 'spec.hostNetwork' ? 'false' : ''
}

export const parseFieldSelector = (selector: string, kind: KindDefinition): ObjectPredicate => {
  const known = new Set([
    'metadata.name',
    'metadata.namespace',
    ...(selectableFields[qualifiedResource(kind)] ?? []),
    ...(kind.selectableFields ?? []),
  ])
  const requirements = selector
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map((part) => {
      const match = /^([^=!]+?)\s*(==|=|!=)\s*(.*)$/.exec(part)
      if (!match) throw badRequest(`invalid selector: '${selector}'; can't understand '${part}'`)
      const [, path = '', operator, value] = match
      if (!known.has(path)) throw badRequest(`field label not supported: ${path}`)
      return (object: KubeObject) => (fieldText(object, path) === value) === (operator !== '!=')
    })
  return (object) => requirements.every((requirement) => requirement(object))
}

/** Both selectors of a request as one predicate; undefined when it selects everything. */
export const parseSelectors = (query: URLSearchParams, kind: KindDefinition): ObjectPredicate | undefined => {
  const labelSelector = query.get('labelSelector') ?? ''
  const fieldSelector = query.get('fieldSelector') ?? ''
  const predicates: ObjectPredicate[] = []
  if (labelSelector !== '') predicates.push(parseLabelSelector(labelSelector))
  if (fieldSelector !== '') predicates.push(parseFieldSelector(fieldSelector, kind))
  if (predicates.length === 0) return undefined
  return (object) => predicates.every((predicate) => predicate(object))
}
