// What goes with a route, in a cell: communities by the names that routers show, then what is set of the rest.

import { showCommunity } from '../model/communities.ts'
import type { RouteAttributes } from '../model/routing.ts'

export function formatAttributes(attributes: RouteAttributes): string {
  const { communities, largeCommunities, localPref, med, prepend } = attributes
  const parts = [
    ...communities.map(showCommunity),
    ...largeCommunities,
    ...(localPref === undefined ? [] : [`local-pref ${localPref}`]),
    ...(med === undefined ? [] : [`med ${med}`]),
    ...(prepend === 0 ? [] : [`prepend ${prepend}`]),
  ]
  return parts.join(' ') || 'no attributes'
}
