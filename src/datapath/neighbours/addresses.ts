// Another owner of what is ours: a Service's address on an interface of this node, and a Node that is known by another address than the
// one we tunnel from. Pure.

import type { Address } from '../../model/address.ts'
import type { Finding } from './finding.ts'

export interface LocalAddress {
  readonly address: Address
  readonly link: string
}

export interface ServiceAddress {
  readonly address: Address
  readonly service: string
}

/** Whose such an interface usually is. */
const MAKERS: Readonly<Record<string, string>> = {
  'kube-ipvs0': ' (kube-proxy in IPVS mode)',
  'kube-dummy-if': ' (kube-router)',
  nodelocaldns: ' (node-local DNS)',
}

export function findAddressOwners(
  local: readonly LocalAddress[],
  served: Iterable<ServiceAddress>,
): Finding[] {
  const links = new Map<Address, string[]>()
  for (const { address, link } of local) links.set(address, [...(links.get(address) ?? []), link])
  const services = new Map<Address, Set<string>>()
  for (const { address, service } of served) {
    if (!links.has(address)) continue
    services.set(address, (services.get(address) ?? new Set()).add(service))
  }
  return [...services].flatMap(([address, names]) =>
    (links.get(address) ?? []).map((link) => ({
      kind: 'address-owner' as const,
      where: `interface ${link}`,
      what: `it has ${address}, an address of Service ${[...names].join(', ')}${MAKERS[link] ?? ''}: the host answers there itself for what we do not translate`,
      mend: `ip address del ${address}/${address.includes(':') ? 128 : 32} dev ${link}, and stop who adds it`,
      services: [...names],
    })),
  )
}

/** Other nodes accept tunnels from the InternalIP alone. */
export function findNodeAddress(
  tunnelAddresses: readonly Address[],
  internalIps: readonly Address[],
): Finding[] {
  const strangers = tunnelAddresses.filter((address) => !internalIps.includes(address))
  if (internalIps.length === 0 || strangers.length === 0) return []
  return [
    {
      kind: 'node-address',
      where: 'Node object',
      what: `its InternalIP is ${internalIps.join(', ')}, but this node tunnels from ${strangers.join(', ')}, which others refuse`,
      mend: 'make routing.loopbacks and the kubelet’s --node-ip the same, and start the agent again',
      services: [],
    },
  ]
}
