// resourceVersions of one kind: whole numbers since Kubernetes 1.35 says so (KEP-5504), as they were before. They may exceed what a
// double holds, so they are compared as text.

import type { KubeError } from './errors.ts'

/** Below 0: `a` is older. 0 also for what is no number, of which nothing can be said. */
export function compareVersions(a: string, b: string): number {
  if (!isNumber(a) || !isNumber(b)) return 0
  if (a.length !== b.length) return a.length - b.length
  if (a === b) return 0
  return a < b ? -1 : 1
}

function isNumber(text: string): boolean {
  return /^[1-9]\d*$/.test(text)
}

/** The server has never seen our version: it came back with an older state, and our version means nothing there. */
export function isFromTheFuture(error: KubeError): boolean {
  return error.status === 504 && error.message.includes('Too large resource version')
}
