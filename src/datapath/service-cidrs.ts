// Rows of `service_cidrs`: networks that ClusterIPs come from, so that what goes to an address that no Service has ends here
// instead of at the default route. The filter of addresses must know their networks before their rows are written.

import { type Address, addressBits, addressFromNumber, type Prefix, prefixParts } from '../model/address.ts'
import { BpfError } from '../sys/libbpf-ts/index.ts'
import { AbiConstant } from './abi.gen.ts'
import type { FrontendFilter } from './frontend-filter.ts'
import type { KernelHash } from './kernel-tables.ts'

const NETWORK_BITS = {
  ipv4: AbiConstant.FILTER_NETWORK_IPV4,
  ipv6: AbiConstant.FILTER_NETWORK_IPV6,
} as const
/** An IPv4 /8, an IPv6 /56: Kubernetes allows no larger IPv6 ServiceCIDR than a /64. Each network costs a bit of the filter. */
const NETWORKS_MAX = 256

/** The networks of the filter's lengths that a prefix reaches; undefined when they are too many. */
export function filterNetworks(prefix: Prefix): Address[] | undefined {
  const { family, length, first } = prefixParts(prefix)
  const networkBits = NETWORK_BITS[family]
  const step = 1n << BigInt(addressBits(family) - networkBits)
  const start = (first / step) * step
  const count = 2 ** Math.max(0, networkBits - length)
  if (count > NETWORKS_MAX) return undefined
  return Array.from({ length: count }, (_, index) => addressFromNumber(family, start + BigInt(index) * step))
}

export class ServiceCidrs {
  readonly #rows: KernelHash<Prefix, number>
  readonly #filter: Pick<FrontendFilter, 'holdNetwork' | 'releaseNetwork'>
  readonly #held = new Map<Prefix, readonly Address[]>()

  /** Adopts what an earlier process wrote; it stays until `set`. */
  constructor(
    rows: KernelHash<Prefix, number>,
    filter: Pick<FrontendFilter, 'holdNetwork' | 'releaseNetwork'>,
  ) {
    this.#rows = rows
    this.#filter = filter
    for (const [prefix] of rows.entries()) this.#hold(prefix)
  }

  /** @returns those that could not be held: too wide, or the table is full */
  set(prefixes: ReadonlySet<Prefix>): readonly Prefix[] {
    for (const [prefix, networks] of this.#held) {
      if (prefixes.has(prefix)) continue
      this.#rows.delete(prefix)
      this.#held.delete(prefix)
      for (const network of networks) this.#filter.releaseNetwork(network)
    }
    return [...prefixes].filter((prefix) => !this.#held.has(prefix) && !this.#add(prefix))
  }

  #add(prefix: Prefix): boolean {
    if (!this.#hold(prefix)) return false
    try {
      this.#rows.set(prefix, 1)
      return true
    } catch (error) {
      for (const network of this.#held.get(prefix) ?? []) this.#filter.releaseNetwork(network)
      this.#held.delete(prefix)
      if (error instanceof BpfError && error.code === 'full') return false
      throw error
    }
  }

  #hold(prefix: Prefix): boolean {
    const networks = filterNetworks(prefix)
    if (networks === undefined) return false
    for (const network of networks) this.#filter.holdNetwork(network)
    this.#held.set(prefix, networks)
    return true
  }
}
