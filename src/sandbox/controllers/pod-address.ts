// Which address a pod gets: per family the lowest of its node's podCIDR that no pod holds. The first address is the gateway
// (the node's end), the all-zero and, for IPv4, the broadcast address are never given. Pure.

import {
  addressBits,
  familyOf,
  formatAddress,
  type Network,
  nthAddress,
  parseAddress,
  parseNetwork,
} from '../ip-arithmetic.ts'
import { RackError } from '../rack-error.ts'

export interface PodAddress {
  address: string
  gateway: string
}

/** Offset of the gateway within the podCIDR, as the host-local IPAM plug-in has it. */
const GATEWAY = 1
/** A /64 holds more than anyone runs; the search ends here. */
const SEARCH_MAX = 65_536

/** One address per CIDR. `used` are the addresses of pods that still have a network namespace, or will. */
export function choosePodAddresses(podCidrs: readonly string[], used: Iterable<string>): PodAddress[] {
  const taken = new Set([...used].map((address) => canonical(address)))
  return podCidrs.map((cidr) => {
    const network = parseNetwork(cidr)
    if (network === undefined) {
      throw new RackError(
        'bad-plan',
        `'${cidr}' is no pod network`,
        'write podCIDRs as address/length without host bits',
      )
    }
    return lowestFree(network, taken)
  })
}

function lowestFree(network: Network, taken: ReadonlySet<string>): PodAddress {
  const sizeBits = addressBits(network.family) - network.length
  const broadcast = network.family === 'ipv4' ? 1 : 0
  const end = Math.min(SEARCH_MAX, sizeBits > 16 ? SEARCH_MAX : 2 ** sizeBits - broadcast)
  for (let offset = GATEWAY + 1; offset < end; offset++) {
    const address = nthAddress(network, offset)
    if (!taken.has(address)) return { address, gateway: nthAddress(network, GATEWAY) }
  }
  throw new RackError(
    'bad-plan',
    `the pod network ${nthAddress(network, 0)}/${network.length} has no free address`,
    'run fewer pods on the node or give it a larger pod network',
  )
}

function canonical(address: string): string {
  const value = parseAddress(address)
  return value === undefined ? address : formatAddress(familyOf(address), value)
}
