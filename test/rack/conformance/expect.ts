// What conformance tests expect of addresses: asked from several places at several addresses at once, and again for a while,
// since changes take a moment to arrive.

import type { Test } from 'tap'
import type { Bed } from './bed.ts'
import type { Outcome } from './prober.ts'

/** How long a change may take to arrive. A test that has already failed learns nothing by waiting so long again. */
const WAIT_MS = 20_000
const FAILED_WAIT_MS = 500
/** So many that of three equal endpoints one is left out in fewer than one of ten thousand tries. */
const REQUESTS = 26

type Many = string | readonly string[]

interface Asked {
  readonly port?: number
  readonly protocol?: 'tcp' | 'udp'
}

function list(many: Many): readonly string[] {
  return typeof many === 'string' ? [many] : many
}

/** Looks from each place at each address until all see what is wanted; then, or when time is over, one assertion for each. */
async function expectAll(
  bed: Bed,
  t: Test,
  from: Many,
  targets: Many,
  {
    wanted,
    what,
    look,
  }: { wanted: string; what: string; look: (from: string, target: string) => Promise<string> },
): Promise<void> {
  const pairs = list(from).flatMap((source) =>
    list(targets).map((target) => ({ source, target, seen: 'nothing asked yet' })),
  )
  const holds = async () => {
    const open = pairs.filter(({ seen }) => seen !== wanted)
    await Promise.all(
      open.map(async (pair) => {
        pair.seen = await look(pair.source, pair.target).catch((error: Error) => error.message)
      }),
    )
    return pairs.every(({ seen }) => seen === wanted)
  }
  await bed.until('', holds, t.passing() ? WAIT_MS : FAILED_WAIT_MS).catch(() => {})
  if (pairs.length === 0) t.fail(`no address to ask for ${what}`)
  for (const { source, target, seen } of pairs) t.equal(seen, wanted, `${target} ${what} from ${source}`)
}

/** Asks until the names of who answers at each address are exactly these. */
export async function expectAnswerers(
  bed: Bed,
  t: Test,
  from: Many,
  targets: Many,
  wanted: readonly string[],
  { port = 80, protocol = 'tcp' }: Asked = {},
): Promise<void> {
  const look = async (source: string, target: string) =>
    [...(await bed.answerers(source, target, port, REQUESTS, protocol)).keys()].sort().join()
  const what = `${protocol} ${port}`
  await expectAll(bed, t, from, targets, { wanted: [...wanted].sort().join(), what, look })
}

/** Tries until connect() (for UDP, the first datagram of a connected socket) ends like this at each address. */
export async function expectConnect(
  bed: Bed,
  t: Test,
  from: Many,
  targets: Many,
  wanted: Outcome,
  { port = 80, protocol = 'tcp' }: Asked = {},
): Promise<void> {
  const look = async (source: string, target: string) =>
    protocol === 'tcp'
      ? await bed.connect(source, target, port)
      : (await bed.udp(source, target, port)).outcome
  await expectAll(bed, t, from, targets, { wanted, what: `${protocol} ${port}`, look })
}

/** Asks netexec until it says this at each address: whom it sees (`/clientip`, without the port). */
export async function expectClientAddress(
  bed: Bed,
  t: Test,
  from: string,
  target: string,
  wanted: string,
  { port = 80, protocol = 'tcp' }: Asked = {},
): Promise<void> {
  const look = async (source: string, address: string) => {
    const text =
      protocol === 'tcp'
        ? await bed.http(source, address, '/clientip', port)
        : (await bed.udp(source, address, port, { message: 'clientip' })).text
    return text.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')
  }
  await expectAll(bed, t, from, target, { wanted, what: `${protocol} ${port}: the client is seen`, look })
}
