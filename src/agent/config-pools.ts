// The section `pools` of the configuration file: where LoadBalancer addresses come from. A pool's addresses belong to Services alone:
// the datapath refuses every port there that no Service defines.

import { z } from 'zod'
import { parseAddress } from '../model/address.ts'
import {
  innerRange,
  parseRange,
  prefixRange,
  type RangeParts,
  rangeParts,
  rangePrefixes,
  rangesOverlap,
  rangeText,
} from '../model/address-range.ts'
import { nearMatches } from '../model/near-matches.ts'
import { DISABLED } from '../routing/address-pools.ts'
import { POOL_PREFIXES_MAX } from '../routing/allowed.ts'
import type { FileRouting } from '../routing/sources/file.ts'
import { attributes, labelSelector, networkText, together } from './config-fields.ts'
import { ownAddresses } from './config-routing.ts'

const rangeInText = z.string().transform((text, context) => {
  const parsed = parseRange(text)
  if (parsed !== undefined) return parsed
  context.addIssue({
    code: 'custom',
    message: `'${text}' is not a range like 203.0.113.10-203.0.113.20 (one family, the lower end first)`,
  })
  return z.NEVER
})

const PRIORITY_MAX = 1_000_000

const poolFields = z
  .strictObject({
    name: z.string().min(1),
    prefixes: z.array(networkText).default([]),
    /** Both ends included. */
    ranges: z.array(rangeInText).default([]),
    /** Whose Services get its addresses; absent: everybody's. */
    services: labelSelector.optional(),
    namespaces: z.array(z.string().min(1)).min(1).optional(),
    /** The highest is asked first, then in the order of the file. */
    priority: z.number().int().min(-PRIORITY_MAX).max(PRIORITY_MAX).default(0),
    /** `onRequest`: only Services that name the pool, or an address of it. */
    assign: z.enum(['automatic', 'onRequest']).default('automatic'),
    /** Whether the first address of each prefix, and the last of an IPv4 one, are given out, too. */
    allowFirstLast: z.boolean().default(false),
    /** Nothing new is given; what is held stays. */
    disabled: z.boolean().default(false),
    /** What routes to its addresses carry. */
    attributes: attributes.optional(),
  })
  .refine(({ prefixes, ranges }) => prefixes.length + ranges.length > 0, {
    path: ['prefixes'],
    message: 'a pool needs prefixes or ranges',
  })

/** As the file says it, and as everybody else takes it: all that is the pool's as prefixes, and what is given out of it. */
const pool = poolFields.transform(({ prefixes, ranges, assign, allowFirstLast, disabled, ...rest }) => ({
  ...rest,
  written: { prefixes, ranges },
  prefixes: [...prefixes, ...ranges.flatMap(rangePrefixes)],
  ranges: [
    ...prefixes.map((prefix) =>
      allowFirstLast ? prefixRange(prefix) : innerRange(prefix, 'network-and-broadcast'),
    ),
    ...ranges,
  ],
  isOnRequest: assign === 'onRequest',
  closed: disabled ? DISABLED : undefined,
}))

export type ConfigPool = z.infer<typeof pool>

export const poolsSchema = z
  .array(pool)
  .default([])
  .superRefine(together(refuseTwins))
  .superRefine(together(refuseOverlaps))

function refuseTwins(pools: readonly ConfigPool[], context: z.RefinementCtx): void {
  for (const [index, { name }] of pools.entries()) {
    const first = pools.findIndex((one) => one.name === name)
    if (first === index) continue
    const message = `'${name}' is the name of pools[${first}] too`
    context.addIssue({ code: 'custom', path: [index, 'name'], message })
  }
}

interface Part {
  readonly path: (string | number)[]
  readonly text: string
  readonly parts: RangeParts
}

/** Every address is of one pool, and once. */
function refuseOverlaps(pools: readonly ConfigPool[], context: z.RefinementCtx): void {
  const before: Part[] = []
  for (const part of pools.flatMap((one, index) => partsOf(one, [index]))) {
    const other = before.find(({ parts }) => rangesOverlap(parts, part.parts))
    before.push(part)
    if (other === undefined) continue
    const message = `${part.text} overlaps ${other.text} of pools[${other.path[0]}]; an address belongs to one pool, once`
    context.addIssue({ code: 'custom', path: part.path, message })
  }
}

function partsOf({ written }: ConfigPool, path: readonly (string | number)[]): Part[] {
  return [
    ...written.prefixes.map((prefix, place) => ({
      path: [...path, 'prefixes', place],
      text: prefix,
      parts: rangeParts(prefixRange(prefix)),
    })),
    ...written.ranges.map((range, place) => ({
      path: [...path, 'ranges', place],
      text: rangeText(range),
      parts: rangeParts(range),
    })),
  ]
}

interface PoolsAndRouting {
  readonly routing: FileRouting
  readonly pools: readonly ConfigPool[]
}

export function checkPools({ routing, pools }: PoolsAndRouting, context: z.RefinementCtx): void {
  const own = ownAddresses(routing).flatMap((text) => parseAddress(text) ?? [])
  const check = ({ path, text, parts }: Part, what: string) => {
    const taken = own.find((one) => rangesOverlap(parts, rangeParts({ first: one, last: one })))
    if (taken === undefined) return
    const message = `${text} holds ${taken}, which is this node's or a router's own; ${what} belong to Services alone`
    context.addIssue({ code: 'custom', path, message })
  }
  for (const [index, one] of pools.entries())
    for (const part of partsOf(one, ['pools', index])) check(part, "a pool's addresses")
  for (const [index, prefix] of routing.serviceNetworks.entries())
    check(
      { path: ['routing', 'serviceNetworks', index], text: prefix, parts: rangeParts(prefixRange(prefix)) },
      'their addresses',
    )
  checkPoolNames({ routing, pools }, context)
  const count = pools.flatMap(({ prefixes }) => prefixes).length + routing.serviceNetworks.length
  if (count <= POOL_PREFIXES_MAX) return
  const message = `hold ${count} prefixes with routing.serviceNetworks (a range is several), more than ${POOL_PREFIXES_MAX}; join them into larger ones`
  context.addIssue({ code: 'custom', path: ['pools'], message })
}

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
