// Recorded exchanges of a real kubectl: their form, and a server so predictable (clock, uids, revisions) that a replay must answer
// byte for byte as it did when recorded.

import type { ApiServerOptions } from '../../../../src/sandbox/apiserver/server.ts'

export interface RecordedExchange {
  method: string
  /** With its query. */
  path: string
  /** Those that matter: accept, content-type, user-agent. */
  headers: Record<string, string>
  body: string
  status: number
  contentType: string
  /** Absent for streams and for documents too long to keep. */
  answer?: unknown
}

export interface RecordedCommand {
  command: string
  exitCode: number
  exchanges: RecordedExchange[]
}

export const keptHeaders = ['accept', 'content-type', 'user-agent'] as const

const startMs = Date.parse('2026-01-01T00:00:00Z')

/** A clock that stands still and uids that count: the same requests get the same answers. */
export const predictable = (): Pick<ApiServerOptions, 'nowMs' | 'randomUuid'> => {
  let uids = 0
  return {
    nowMs: () => startMs,
    randomUuid: () => `00000000-0000-4000-8000-${String(++uids).padStart(12, '0')}`,
  }
}

/** OpenAPI documents follow the schemas, which have their own tests. */
export const isKept = (path: string): boolean => !path.startsWith('/openapi/')
