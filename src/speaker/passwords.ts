// Passwords of sessions, read where they are kept, again in every full round, so that a changed one is noticed. They go to gobgpd and
// nowhere else: not into a model, a log, an error or an answer.

import { readFile } from 'node:fs/promises'
import type { PasswordSource } from '../model/routing.ts'

/** Rejects with a sentence that says what could not be read; never with the text. */
export type PasswordReader = (source: PasswordSource) => Promise<string>

/** RFC 2385 leaves it open; Linux takes 80 bytes. */
const PASSWORD_BYTES_MAX = 80

export class PasswordError extends Error {
  override readonly name = 'PasswordError'
  readonly code = 'UNREADABLE'
}

/** @param readSecret answers the bytes of one key; undefined: this agent reads no Secrets */
export function passwordReader(
  readSecret?: (namespace: string, name: string, key: string) => Promise<string>,
): PasswordReader {
  const read = async (source: PasswordSource): Promise<string> => {
    if (source.kind === 'inline') return source.text
    if (source.kind === 'file') return readFile(source.path, 'utf8')
    if (readSecret) return readSecret(source.namespace, source.name, source.key)
    throw new PasswordError('this agent reads no Secrets; name a file instead')
  }
  return async (source) => {
    const where = describe(source)
    let text: string
    try {
      // A file or a Secret written by hand ends with a newline.
      text = (await read(source)).replace(/\r?\n$/, '')
    } catch (error) {
      throw new PasswordError(`${where}: ${error instanceof Error ? error.message : error}`)
    }
    const bytes = Buffer.byteLength(text)
    if (bytes > 0 && bytes <= PASSWORD_BYTES_MAX) return text
    throw new PasswordError(`${where} has ${bytes} bytes; a password has 1 to ${PASSWORD_BYTES_MAX}`)
  }
}

function describe(source: PasswordSource): string {
  if (source.kind === 'file') return `file ${source.path}`
  if (source.kind === 'inline') return 'the password'
  return `key ${source.key} of Secret ${source.namespace}/${source.name}`
}
