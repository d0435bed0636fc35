// Other shapes of the same objects: meta/v1 Table (what `kubectl get` prints) and PartialObjectMetadata (metadata-only clients).

import type { Shape } from './content.ts'
import { isRecord } from './json.ts'
import type { KindDefinition, KubeObject, TableColumn } from './kind.ts'

export interface ListEnvelope {
  kind: string
  apiVersion: string
  metadata: { resourceVersion: string; continue?: string; remainingItemCount?: number }
  items: readonly KubeObject[]
}

export type IncludeObject = 'None' | 'Metadata' | 'Object'

const nameColumn: TableColumn = {
  name: 'Name',
  type: 'string',
  format: 'name',
  description: 'Name must be unique within a namespace.',
  priority: 0,
  cell: (object) => object.metadata.name ?? '',
}

const ageColumn: TableColumn = {
  name: 'Age',
  type: 'string',
  description: 'CreationTimestamp is the server time when this object was created.',
  priority: 0,
  cell: (object, nowMs) => age(object.metadata.creationTimestamp, nowMs),
}

/** Time since, as people read it: 45s, 3m12s, 5h, 12d, 2y30d. */
export const humanDuration = (milliseconds: number): string => {
  const seconds = Math.floor(milliseconds / 1000)
  if (seconds < -1) return '<invalid>'
  if (seconds <= 0) return '0s'
  if (seconds < 120) return `${seconds}s`
  const two = (high: number, highUnit: string, low: number, lowUnit: string): string =>
    low === 0 ? `${high}${highUnit}` : `${high}${highUnit}${low}${lowUnit}`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 10) return two(minutes, 'm', seconds % 60, 's')
  if (minutes < 180) return `${minutes}m`
  const hours = Math.floor(minutes / 60)
  if (hours < 8) return two(hours, 'h', minutes % 60, 'm')
  if (hours < 48) return `${hours}h`
  const days = Math.floor(hours / 24)
  if (days < 8) return two(days, 'd', hours % 24, 'h')
  if (days < 730) return `${days}d`
  const years = Math.floor(days / 365)
  return years < 8 ? two(years, 'y', days % 365, 'd') : `${years}y`
}

export const age = (since: string | undefined, nowMs: number): string => {
  const start = since === undefined ? Number.NaN : Date.parse(since)
  return Number.isNaN(start) ? '<unknown>' : humanDuration(nowMs - start)
}

/** A kind's columns, with the name first and the age last where the kind leaves them out. */
export const columnsOf = (kind: KindDefinition): readonly TableColumn[] => {
  const named = kind.columns.some((column) => column.name === 'Name')
    ? kind.columns
    : [nameColumn, ...kind.columns]
  return kind.columns.length === 0 ? [...named, ageColumn] : named
}

const rowOf = (
  object: KubeObject,
  columns: readonly TableColumn[],
  include: IncludeObject,
  nowMs: number,
  version: string,
): object => ({
  cells: columns.map((column) => cellOf(column, object, nowMs)),
  ...(include === 'None' ? {} : { object: include === 'Object' ? object : partial(object, version) }),
})

/** A cell that can't be computed must not hide the whole list from the person who wants to find out why. */
const cellOf = (column: TableColumn, object: KubeObject, nowMs: number): unknown => {
  try {
    return column.cell(object, nowMs)
  } catch {
    return '<error>'
  }
}

export const tableOf = (
  kind: KindDefinition,
  objects: readonly KubeObject[],
  metadata: object,
  options: { include: IncludeObject; nowMs: number; version: string; withColumns: boolean },
): object => {
  const columns = columnsOf(kind)
  return {
    kind: 'Table',
    apiVersion: `meta.k8s.io/${options.version}`,
    metadata,
    columnDefinitions: options.withColumns
      ? columns.map(({ name, type, format, description, priority }) => ({
          name,
          type,
          format: format ?? '',
          description: description ?? '',
          priority,
        }))
      : null,
    rows: objects.map((object) => rowOf(object, columns, options.include, options.nowMs, options.version)),
  }
}

export const partial = (object: KubeObject, version: string): KubeObject => ({
  kind: 'PartialObjectMetadata',
  apiVersion: `meta.k8s.io/${version}`,
  metadata: object.metadata,
})

export interface Shaping {
  shape: Shape
  version: string
  include: IncludeObject
  nowMs: number
}

const isList = (body: unknown): body is ListEnvelope => isRecord(body) && Array.isArray(body['items'])

/** The response body in the shape the client asked for. Status objects keep their own. */
export const shapeBody = (body: object, kind: KindDefinition, shaping: Shaping): object => {
  if (shaping.shape === 'Object') return body
  const isTable = shaping.shape === 'Table'
  if (isList(body)) {
    if (isTable) return tableOf(kind, body.items, body.metadata, { ...shaping, withColumns: true })
    return {
      kind: 'PartialObjectMetadataList',
      apiVersion: `meta.k8s.io/${shaping.version}`,
      metadata: body.metadata,
      items: body.items.map((object) => partial(object, shaping.version)),
    }
  }
  const object = body as KubeObject
  if (object.kind === 'Status') return body
  if (!isTable) return partial(object, shaping.version)
  const metadata = { resourceVersion: object.metadata.resourceVersion ?? '' }
  return tableOf(kind, [object], metadata, { ...shaping, withColumns: true })
}
