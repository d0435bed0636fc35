// What this node may announce at all, from its configuration alone: Services and endpoints have no say in it. The same list becomes
// the guard's check, gobgpd's export policy and its boot file, so a fault in one of the three does not open the others.

import { addressBits, type Prefix, prefixParts } from '../model/address.ts'
import type { AllowedPrefix } from '../model/announcement.ts'
import type { AddressPool } from './address-pools.ts'

/** Enough for any sane pool plan; each member is a comparison on every path that gobgpd exports. */
export const ALLOWED_PREFIXES_MAX = 256

/** Left to the node's own addresses and pod networks. */
const OWN_PREFIXES_MAX = 32
export const POOL_PREFIXES_MAX = ALLOWED_PREFIXES_MAX - OWN_PREFIXES_MAX

export interface AllowedSources {
  /** The node's own addresses, as /32 and /128. */
  readonly loopbacks: readonly Prefix[]
  /** The pod networks this node routes. */
  readonly podCidrs: readonly Prefix[]
  readonly pools: readonly AddressPool[]
  /** Networks of ClusterIPs and externalIPs that may be announced, too. */
  readonly serviceNetworks?: readonly Prefix[]
}

export class AllowedError extends Error {
  override readonly name = 'AllowedError'
  readonly code: 'WRONG_LENGTH' | 'DEFAULT_ROUTE' | 'TOO_MANY'
  constructor(code: AllowedError['code'], message: string) {
    super(message)
    this.code = code
  }
}

/**
 * The allow-list: VIPs as single addresses inside the pools, pod networks at their own length, loopbacks as single
 * addresses. Throws AllowedError where the configuration would allow a default route.
 */
export function allowedPrefixes(sources: AllowedSources): readonly AllowedPrefix[] {
  const rows = [
    ...sources.loopbacks.map(singleAddress),
    ...sources.podCidrs.map((prefix) => allow(prefix, 'routing.podCidrs', prefixParts(prefix).length)),
    ...sources.pools.flatMap((pool) =>
      pool.prefixes.map((prefix) => {
        const bits = addressBits(prefixParts(prefix).family)
        return allow(prefix, `pools (${pool.name})`, bits)
      }),
    ),
    ...(sources.serviceNetworks ?? []).map((prefix) =>
      allow(prefix, 'routing.serviceNetworks', addressBits(prefixParts(prefix).family)),
    ),
  ]
  const unique = new Map(rows.map((row) => [`${row.prefix} ${row.lengthMin} ${row.lengthMax}`, row]))
  if (unique.size > ALLOWED_PREFIXES_MAX)
    throw new AllowedError(
      'TOO_MANY',
      `pools, podCidrs and loopbacks hold ${unique.size} prefixes, more than ${ALLOWED_PREFIXES_MAX}. ` +
        'Mend: join pool prefixes into larger ones',
    )
  return [...unique.values()]
}

function singleAddress(prefix: Prefix): AllowedPrefix {
  const { family, length } = prefixParts(prefix)
  const bits = addressBits(family)
  if (length === bits) return allow(prefix, 'routing.loopbacks', bits)
  throw new AllowedError(
    'WRONG_LENGTH',
    `routing.loopbacks: ${prefix} is no single address. Mend: write it as /${bits}`,
  )
}

function allow(prefix: Prefix, where: string, exactLength: number): AllowedPrefix {
  const { family, length } = prefixParts(prefix)
  if (length > 0) return { prefix, family, lengthMin: exactLength, lengthMax: exactLength }
  throw new AllowedError(
    'DEFAULT_ROUTE',
    `${where}: ${prefix} would allow every address. Mend: name the networks that belong to this cluster`,
  )
}
