// CiliumBGPAdvertisements that a peer's configuration selects → rules of announcing to that peer.

import type { CiliumAdvertisement, CiliumPeerConfig } from '../../model/cilium.ts'
import {
  type Community,
  communitiesOf,
  describeBadCommunity,
  parseCommunity,
} from '../../model/communities.ts'
import { selectorMatches } from '../../model/label-selector.ts'
import type { AnnounceKind, AnnounceRule, BgpPeer, RouteAttributes } from '../../model/routing.ts'

type Row = CiliumAdvertisement['rows'][number]
type Refuse = (source: string, why: string) => void

const SERVICE_KINDS: Readonly<Record<string, AnnounceKind>> = {
  LoadBalancerIP: 'load-balancer-ip',
  ClusterIP: 'cluster-ip',
  ExternalIP: 'external-ip',
}

export function advertisedTo(
  peer: BgpPeer,
  config: CiliumPeerConfig,
  advertisements: readonly CiliumAdvertisement[],
  refuse: Refuse,
): readonly AnnounceRule[] {
  return peer.families.flatMap((family) => {
    const wanted = config.families.find(
      ({ afi, safi }) => afi === family && safi === 'unicast',
    )?.advertisements
    if (wanted === undefined) return []
    return advertisements
      .filter(({ labels }) => selectorMatches(wanted, labels))
      .flatMap(({ name, rows }) =>
        rows.flatMap((row, index): readonly AnnounceRule[] => {
          const source = `CiliumBGPAdvertisement ${name}, advertisements[${index}]`
          const kinds = kindsOf(row, source, refuse)
          if (kinds.length === 0) return []
          const attributes = attributesOf(row, source, refuse)
          const services = row.type === 'Service' && row.selector ? { services: row.selector } : {}
          return [{ source, kinds, peers: [peer.name], families: [family], ...services, attributes }]
        }),
      )
  })
}

/** What it lets out; none: nothing that can be followed. */
function kindsOf(row: Row, source: string, refuse: Refuse): readonly AnnounceKind[] {
  switch (row.type) {
    case 'PodCIDR':
      return ['pod-cidr']
    case 'Service':
      return serviceKinds(row, source, refuse)
    case 'Interface':
      if (row.interface === 'lo') return ['loopback']
      refuse(
        source,
        `addresses of interface ${row.interface} are not advertised; write them as routing.loopbacks`,
      )
      return []
    default:
      refuse(source, `advertisementType ${row.type} is not followed`)
      return []
  }
}

function serviceKinds(row: Row, source: string, refuse: Refuse): readonly AnnounceKind[] {
  if (row.selector === undefined) {
    refuse(source, 'has no selector and so selects no Service, as with Cilium')
    return []
  }
  if (row.aggregates)
    refuse(source, 'aggregationLength is not followed: Services are advertised address by address')
  return row.addresses.flatMap((name) => {
    const kind = Object.hasOwn(SERVICE_KINDS, name) ? SERVICE_KINDS[name] : undefined
    if (kind === undefined) refuse(source, `addresses '${name}' are not known`)
    return kind ?? []
  })
}

function attributesOf({ communities, localPref }: Row, source: string, refuse: Refuse): RouteAttributes {
  const parsed: Community[] = []
  for (const text of communities) {
    const one = parseCommunity(text)
    if (one === undefined) refuse(source, `'${text}' ${describeBadCommunity(text)}`)
    else parsed.push(one)
  }
  return { ...communitiesOf(parsed), ...(localPref === undefined ? {} : { localPref }), prepend: 0 }
}
