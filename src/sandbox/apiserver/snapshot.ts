// The optional snapshot file: every object and the revision counter as one JSON document, replaced atomically. Watches can't resume
// across a restart (history is not kept); their clients get 410 and list again, with resourceVersions that went on.

import { open, readFile, rename } from 'node:fs/promises'
import { isRecord } from './json.ts'
import type { KubeObject } from './kind.ts'
import type { SnapshotContent, Storage } from './storage.ts'

const format = 1

export class SnapshotError extends Error {
  readonly code = 'snapshot-unreadable'
}

export const saveSnapshot = async (storage: Storage, file: string): Promise<void> => {
  const temporary = `${file}.${process.pid}.tmp`
  const handle = await open(temporary, 'w', 0o600)
  try {
    await handle.writeFile(JSON.stringify({ format, ...storage.content() }))
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(temporary, file)
}

/** False when there is no such file; a damaged one is an error, never an empty cluster. */
export const restoreSnapshot = async (storage: Storage, file: string): Promise<boolean> => {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw new SnapshotError(`read snapshot ${file}: ${(cause as Error).message}`, { cause })
  }
  storage.load(parseSnapshot(text, file))
  return true
}

const parseSnapshot = (text: string, file: string): SnapshotContent => {
  let content: unknown
  try {
    content = JSON.parse(text)
  } catch (cause) {
    throw new SnapshotError(`snapshot ${file} is not JSON; remove the file to start empty`, { cause })
  }
  if (
    !isRecord(content) ||
    content['format'] !== format ||
    typeof content['revision'] !== 'number' ||
    !isRecord(content['resources'])
  ) {
    throw new SnapshotError(`snapshot ${file} is not of format ${format}; remove the file to start empty`)
  }
  return { revision: content['revision'], resources: content['resources'] as Record<string, KubeObject[]> }
}
