// A dialect that finds out by itself which version answers: it asks once, when the first call is made, and again when a call meets a
// daemon that no longer offers what it did, as after an upgrade behind the same socket. Such a call was not carried out, so it is made
// once more.

import { openDialect } from './calls.ts'
import type { Dialect } from './dialect.ts'
import { GobgpError } from './errors.ts'
import type { Transport } from './transport.ts'
import { VERSION_3 } from './version-3.ts'
import { VERSION_4 } from './version-4.ts'

type Call = (...inputs: readonly unknown[]) => Promise<unknown>

export function openProbingDialect(transport: Transport): Dialect {
  const dialects = [VERSION_3, VERSION_4].map((version) => openDialect(transport, version))
  let chosen: Promise<Dialect> | undefined
  const choose = (): Promise<Dialect> => {
    chosen ??= firstThatAnswers(dialects).catch((error: unknown) => {
      chosen = undefined
      throw error
    })
    return chosen
  }
  const through =
    (name: keyof Dialect): Call =>
    async (...inputs) => {
      const before = choose()
      const dialect = await before
      try {
        return await (dialect[name] as Call)(...inputs)
      } catch (error) {
        if (!isOtherVersion(error)) throw error
        if (chosen === before) chosen = undefined
        const other = await choose()
        if (other === dialect) throw error
        return (other[name] as Call)(...inputs)
      }
    }
  const names = Object.keys(dialects[0] ?? {}) as (keyof Dialect)[]
  return Object.fromEntries(names.map((name) => [name, through(name)])) as unknown as Dialect
}

async function firstThatAnswers(dialects: readonly Dialect[]): Promise<Dialect> {
  let refusal: unknown
  for (const dialect of dialects) {
    try {
      await dialect.getDaemon()
      return dialect
    } catch (error) {
      if (!isOtherVersion(error)) throw error
      refusal = error
    }
  }
  throw new GobgpError(
    'UNSUPPORTED_VERSION',
    'it is no gobgpd of version 3 or 4: neither apipb.GobgpApi nor api.GoBgpService answers. Mend: run gobgpd 3.10 or later',
    refusal,
  )
}

function isOtherVersion(error: unknown): boolean {
  return error instanceof GobgpError && error.code === 'UNSUPPORTED_VERSION'
}
