// One API request and its answer, free of sockets: the HTTP server and the in-process client both make these. Also the Kubernetes
// path grammar: /api/v1/… and /apis/GROUP/VERSION/… with an optional namespace, name and subresource.

export interface User {
  readonly name: string
  readonly uid: string
  readonly groups: readonly string[]
}

export interface ApiRequest {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly body: Buffer
  readonly user: User | undefined
}

/** Where a stream's lines go, one or several at a time. `write` returns false when the client reads too slowly; the stream then ends. */
export interface LineSink {
  write(lines: string): boolean
  /** Calls back when more may be written without piling up, never at once; not at all when the client has gone. */
  whenReady(next: () => void): void
  end(): void
}

export interface ApiResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Buffer
  readonly warnings: readonly string[]
  /** A watch or a followed log: called once the headers are out; returns the way to stop it. */
  readonly stream?: (sink: LineSink) => () => void
}

export interface ResourcePath {
  readonly group: string
  readonly version: string
  readonly namespace: string | undefined
  readonly plural: string
  readonly name: string | undefined
  readonly subresource: string | undefined
  /** The deprecated /watch/ prefix. */
  readonly isWatch: boolean
}

const namespaceSubresources = new Set(['status', 'finalize'])

/** undefined for what is not a resource path (discovery, health, OpenAPI). */
export const parseResourcePath = (path: string): ResourcePath | undefined => {
  const parts = path
    .split('/')
    .filter((part) => part !== '')
    .map(decodeURIComponent)
  const isCore = parts[0] === 'api'
  if (!isCore && parts[0] !== 'apis') return undefined
  const group = isCore ? '' : (parts[1] ?? '')
  const version = parts[isCore ? 1 : 2]
  let rest = parts.slice(isCore ? 2 : 3)
  if (version === undefined || rest.length === 0) return undefined
  const isWatch = rest[0] === 'watch' && rest.length > 1
  if (isWatch) rest = rest.slice(1)
  let namespace: string | undefined
  const third = rest[2]
  if (
    rest[0] === 'namespaces' &&
    third !== undefined &&
    !(rest.length === 3 && namespaceSubresources.has(third))
  ) {
    namespace = rest[1]
    rest = rest.slice(2)
  }
  const [plural, name, subresource, ...more] = rest
  if (plural === undefined || more.length > 0) return undefined
  return { group, version, namespace, plural, name, subresource, isWatch }
}

export const response = (
  status: number,
  body: string,
  headers: Record<string, string> = {},
  warnings: readonly string[] = [],
): ApiResponse => ({ status, headers: { 'content-type': 'application/json', ...headers }, body, warnings })

export const jsonResponse = (
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): ApiResponse => response(status, `${JSON.stringify(body)}\n`, headers)

export const textResponse = (status: number, text: string): ApiResponse =>
  response(status, text, { 'content-type': 'text/plain; charset=utf-8' })

/** `/api/v1`, `/apis/apps/v1` */
export const pathOfGroupVersion = (group: string, version: string): string =>
  group === '' ? `/api/${version}` : `/apis/${group}/${version}`

export const isTrue = (text: string | null): boolean => text === 'true' || text === '1'
