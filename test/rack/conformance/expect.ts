// What conformance tests expect of addresses, asked again for a while, since changes take a moment to arrive.

import type { Test } from 'tap'
import type { Bed, Connect } from './bed.ts'

const WAIT_MS = 8000
const REQUESTS = 24

/** Asks until the names of who answers at each address are exactly these (sorted). */
export async function expectAnswerers(
  bed: Bed,
  t: Test,
  from: string,
  targets: readonly string[],
  wanted: readonly string[],
  port = 80,
): Promise<void> {
  for (const target of targets) {
    let seen: string[] = []
    const holds = async () => {
      seen = [...(await bed.answerers(from, target, port, REQUESTS)).keys()].sort()
      return seen.join() === wanted.join()
    }
    await bed.until('', holds, WAIT_MS).catch(() => {})
    t.strictSame(seen, [...wanted], `${target} port ${port} from ${from}`)
  }
}

/** Tries until connect() to each address ends like this. */
export async function expectConnect(
  bed: Bed,
  t: Test,
  from: string,
  targets: readonly string[],
  wanted: Connect,
  port = 80,
): Promise<void> {
  for (const target of targets) {
    let seen: Connect | undefined
    const holds = async () => {
      seen = await bed.connect(from, target, port)
      return seen === wanted
    }
    await bed.until('', holds, WAIT_MS).catch(() => {})
    t.equal(seen, wanted, `${target} port ${port} from ${from}`)
  }
}
