// Making KindDefinitions: what most kinds have in common is filled in here, so a kind's file says only what is its own.

import type { KindDefinition, KubeObject, TableColumn } from '../kind.ts'
import { definitionNameOf, sharedDefinitions } from '../schema/definitions.ts'
import { ageOf } from './age.ts'

type Cell = (object: KubeObject, nowMs: number) => string | number | boolean | null

interface KindOptions
  extends Partial<Omit<KindDefinition, 'kind' | 'definitionName' | 'schema' | 'columns'>> {
  /** Of the Go package, where the API group is longer: discovery for discovery.k8s.io. */
  package: string
  columns: readonly TableColumn[]
}

function pluralOf(kind: string): string {
  const lower = kind.toLowerCase()
  if (lower.endsWith('ss')) return `${lower}es`
  if (lower.endsWith('y')) return `${lower.slice(0, -1)}ies`
  return lower.endsWith('s') ? lower : `${lower}s`
}

export function defineKind(kind: string, options: KindOptions): KindDefinition {
  const { package: packageName, columns, ...rest } = options
  const version = rest.version ?? 'v1'
  const definitionName = definitionNameOf(`${packageName}.${version}.${kind}`)
  const schema = sharedDefinitions[definitionName]
  if (schema === undefined)
    throw new Error(`no definition ${definitionName}: add ${kind} to tools/kube-types-gen.ts`)
  return {
    group: '',
    version,
    kind,
    listKind: `${kind}List`,
    plural: pluralOf(kind),
    singular: kind.toLowerCase(),
    shortNames: [],
    categories: [],
    namespaced: true,
    definitionName,
    schema,
    hasStatusSubresource: schema.properties?.['status'] !== undefined,
    columns: [nameColumn, ...columns],
    hasGeneration: false,
    ...rest,
  }
}

const nameColumn: TableColumn = {
  name: 'Name',
  type: 'string',
  format: 'name',
  priority: 0,
  cell: (object) => object.metadata.name ?? '',
}

export function textColumn(name: string, cell: Cell): TableColumn {
  return { name, type: 'string', priority: 0, cell }
}

export function numberColumn(name: string, cell: Cell): TableColumn {
  return { name, type: 'integer', priority: 0, cell }
}

/** Shown only with `-o wide`. */
export function wideColumn(name: string, cell: Cell): TableColumn {
  return { name, type: 'string', priority: 1, cell }
}

export const ageColumn: TableColumn = textColumn('Age', ageOf)
export const createdAtColumn: TableColumn = {
  name: 'Created At',
  type: 'date',
  priority: 0,
  cell: (object) => object.metadata.creationTimestamp ?? '',
}

/** a=b,c=d */
export function labelsText(labels: Record<string, string> | undefined): string {
  const pairs = Object.entries(labels ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))
  return pairs.length === 0 ? '<none>' : pairs.map(([key, value]) => `${key}=${value}`).join(',')
}

interface Selector {
  matchLabels?: Record<string, string>
  matchExpressions?: { key: string; operator: string; values?: string[] }[]
}

export function selectorText(selector: Selector | undefined): string {
  const equalities = Object.entries(selector?.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`)
  const sets = (selector?.matchExpressions ?? []).map(({ key, operator, values }) => {
    const list = [...(values ?? [])].sort().join(',')
    if (operator === 'In') return `${key} in (${list})`
    if (operator === 'NotIn') return `${key} notin (${list})`
    return operator === 'DoesNotExist' ? `!${key}` : key
  })
  const parts = [...equalities, ...sets].sort()
  return parts.length === 0 ? '<none>' : parts.join(',')
}
