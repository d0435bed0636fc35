// Address families to and from the wire; their numbers are IANA's, and the same in both versions.

import { Family_Afi, Family_Safi, type Family as WireFamily } from '../proto/gobgp-v3.gen.ts'
import type { Family } from './prefix.ts'

export function packFamily(family: Family): { afi: Family_Afi; safi: Family_Safi } {
  return { afi: family === 'ipv4' ? Family_Afi.IP : Family_Afi.IP6, safi: Family_Safi.UNICAST }
}

/** Undefined for families other than IPv4 and IPv6 unicast. */
export function readFamily(wire: Pick<WireFamily, 'afi' | 'safi'> | undefined): Family | undefined {
  if (wire?.safi !== Family_Safi.UNICAST) return undefined
  if (wire.afi === Family_Afi.IP) return 'ipv4'
  return wire.afi === Family_Afi.IP6 ? 'ipv6' : undefined
}
