// What a pod's own kernel has got, by who sent it: counted where packets enter its stack, before anything in the pod sees them.

import { runIn } from '../../../src/sandbox/host.ts'
import type { Bed } from '../conformance/bed.ts'

const TABLE = 'probes'
const FAMILIES = { sources4: ['ipv4_addr', 'ip saddr'], sources6: ['ipv6_addr', 'ip6 saddr'] } as const

const RULES = `table inet ${TABLE} {
${Object.entries(FAMILIES)
  .map(([name, [type]]) => `  set ${name} { type ${type}; size 65535; flags dynamic; }`)
  .join('\n')}
  chain entering {
    type filter hook prerouting priority -400;
${Object.entries(FAMILIES)
  .map(([name, [, key]]) => `    update @${name} { ${key} counter }`)
  .join('\n')}
  }
}`

type Listing = {
  nftables: { set?: { elem?: { elem?: { val: string; counter?: { packets: number } } }[] } }[]
}

/** A pod as `namespace/name`. */
export async function countReceived(
  bed: Bed,
  pod: string,
): Promise<() => Promise<ReadonlyMap<string, number>>> {
  const host = await bed.host(pod)
  const made = await runIn(host, ['nft', '-f', '-'], { input: RULES })
  if (made.status !== 0) throw new Error(`nft in ${pod}: ${made.stderr}`)
  return async () => {
    const { stdout } = await runIn(host, ['nft', '-j', 'list', 'table', 'inet', TABLE])
    const { nftables } = JSON.parse(stdout) as Listing
    return new Map(
      nftables
        .flatMap(({ set }) => set?.elem ?? [])
        .flatMap(({ elem }) => (elem === undefined ? [] : [[elem.val, elem.counter?.packets ?? 0] as const])),
    )
  }
}

/** All that these have sent. */
export function fromThese(received: ReadonlyMap<string, number>, senders: readonly string[]): number {
  return senders.reduce((sum, sender) => sum + (received.get(sender) ?? 0), 0)
}
