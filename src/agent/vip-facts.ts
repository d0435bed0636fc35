// What the datapath serves → facts for the planner of routing: each address of a Service that somebody might be told of.

import { type Address, familyOf } from '../model/address.ts'
import type { AnnounceKind, NodeRouting } from '../model/routing.ts'
import type { VipFact } from '../routing/vip-gates.ts'
import type { ServedService } from './service-loop.ts'

/** Kinds of addresses that any rule names: of the others only Services that ask for it themselves need a plan. */
export type NamedKinds = ReadonlySet<AnnounceKind>

export function namedKinds({ rules }: Pick<NodeRouting, 'rules'>): NamedKinds {
  return new Set(rules.flatMap(({ kinds }) => kinds))
}

export function vipFacts(served: ServedService, named: NamedKinds): VipFact[] {
  const { service, held, servable } = served
  const asked = ([kind]: readonly [AnnounceKind, unknown]) =>
    named.has(kind) || service.announcing?.advertise[kind] === true
  const kindsOf = new Map<Address, AnnounceKind[]>()
  for (const [kind, addresses] of addressesByKind(served).filter(asked))
    for (const vip of addresses) kindsOf.set(vip, [...(kindsOf.get(vip) ?? []), kind])
  return [...kindsOf].map(([vip, kinds]) => {
    const { anywhere, here } = servable[familyOf(vip)]
    const isInternal = kinds.every((kind) => kind === 'cluster-ip')
    return {
      vip,
      service,
      kinds,
      isHeld: held.includes(vip),
      usableAnywhere: anywhere,
      usableLocal: here,
      policy: isInternal ? service.internalTrafficPolicy : service.externalTrafficPolicy,
    }
  })
}

export function addressesByKind({ service }: Pick<ServedService, 'service'>) {
  return [
    ['load-balancer-ip', service.loadBalancerIps],
    ['external-ip', service.externalIps],
    ['cluster-ip', service.clusterIps],
  ] as const satisfies readonly (readonly [AnnounceKind, readonly Address[]])[]
}
