// The section `pools` of the configuration file: where LoadBalancer addresses come from. A pool's addresses belong to Services alone:
// the datapath refuses every port there that no Service defines.

import { z } from 'zod'
import { type Prefix, parseAddress, prefixContains } from '../model/address.ts'
import { nearMatches } from '../model/near-matches.ts'
import { ALLOWED_PREFIXES_MAX } from '../routing/allowed.ts'
import type { FileRouting } from '../routing/sources/file.ts'
import { attributes, networkText } from './config-fields.ts'
import { ownAddresses } from './config-routing.ts'

export const poolsSchema = z
  .array(
    z.strictObject({
      name: z.string().min(1),
      prefixes: z.array(networkText).min(1),
      /** What routes to its addresses carry. */
      attributes: attributes.optional(),
    }),
  )
  .default([])
  .superRefine((pools, context) => {
    for (const [index, { name }] of pools.entries()) {
      const first = pools.findIndex((pool) => pool.name === name)
      if (first === index) continue
      const message = `'${name}' is the name of pools[${first}] too`
      context.addIssue({ code: 'custom', path: [index, 'name'], message })
    }
  })

interface PoolsAndRouting {
  readonly routing: FileRouting
  readonly pools: z.infer<typeof poolsSchema>
}

export function checkPools({ routing, pools }: PoolsAndRouting, context: z.RefinementCtx): void {
  const own = ownAddresses(routing).flatMap((text) => parseAddress(text) ?? [])
  const check = (prefix: Prefix, path: (string | number)[], what: string) => {
    const taken = own.find((address) => prefixContains(prefix, address))
    if (taken === undefined) return
    const message = `${prefix} holds ${taken}, which is this node's or a router's own; ${what} belong to Services alone`
    context.addIssue({ code: 'custom', path, message })
  }
  for (const [poolIndex, pool] of pools.entries())
    for (const [index, prefix] of pool.prefixes.entries())
      check(prefix, ['pools', poolIndex, 'prefixes', index], "a pool's addresses")
  for (const [index, prefix] of routing.serviceNetworks.entries())
    check(prefix, ['routing', 'serviceNetworks', index], 'their addresses')
  checkPoolNames({ routing, pools }, context)
  const count = pools.flatMap(({ prefixes }) => prefixes).length + routing.serviceNetworks.length
  if (count <= ALLOWED_PREFIXES_MAX - OWN_PREFIXES_MAX) return
  const message = `hold ${count} prefixes with routing.serviceNetworks, more than ${ALLOWED_PREFIXES_MAX - OWN_PREFIXES_MAX}; join them into larger ones`
  context.addIssue({ code: 'custom', path: ['pools'], message })
}

/** Left to the node's own addresses and pod networks. */
const OWN_PREFIXES_MAX = 32

function checkPoolNames({ routing, pools }: PoolsAndRouting, context: z.RefinementCtx): void {
  // Other sources have pools of their own.
  if (routing.sources.cilium.enabled) return
  const names = pools.map(({ name }) => name)
  for (const [index, rule] of (routing.announce ?? []).entries()) {
    if (rule.pools === undefined || rule.pools === 'all') continue
    for (const [place, name] of rule.pools.entries()) {
      if (names.includes(name)) continue
      const near = nearMatches(name, names, 1)[0]
      const message = `no pool is named '${name}'${near === undefined ? '' : ` (did you mean '${near}'?)`}`
      context.addIssue({ code: 'custom', path: ['routing', 'announce', index, 'pools', place], message })
    }
  }
}
