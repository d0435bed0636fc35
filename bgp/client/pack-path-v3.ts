// Paths in the form of version 3: NLRI and attributes each in an Any. IPv4 carries its next hop in an attribute of its own, IPv6
// inside MP_REACH_NLRI (RFC 4760). The unspecified next hop makes gobgpd put in the session's own address, per session.

import { create, type DescMessage, type MessageInitShape } from '@bufbuild/protobuf'
import { anyPack, anyUnpack } from '@bufbuild/protobuf/wkt'
import {
  CommunitiesAttributeSchema,
  Family_Afi,
  Family_Safi,
  IPAddressPrefixSchema,
  MpReachNLRIAttributeSchema,
  NextHopAttributeSchema,
  OriginAttributeSchema,
  type PathSchema,
  type Path as WirePath,
} from '../proto/gobgp-v3.gen.ts'
import type { CheckedPath } from './dialect.ts'
import { type Family, type Prefix, parsePrefix } from './prefix.ts'
import type { Path } from './types.ts'
import { parseCommunity } from './validate.ts'

const ORIGIN_IGP = 0
const SELF: Readonly<Record<Family, string>> = { ipv4: '0.0.0.0', ipv6: '::' }

export function packFamily(family: Family): { afi: Family_Afi; safi: Family_Safi } {
  return { afi: family === 'ipv4' ? Family_Afi.IP : Family_Afi.IP6, safi: Family_Safi.UNICAST }
}

export function packAnnouncement({ path, prefix }: CheckedPath): MessageInitShape<typeof PathSchema> {
  const nlri = packNlri(prefix)
  const nextHop = path.nextHop ?? SELF[prefix.family]
  const communities = (path.communities ?? []).map(parseCommunity)
  return {
    nlri,
    family: packFamily(prefix.family),
    pattrs: [
      pack(OriginAttributeSchema, { origin: ORIGIN_IGP }),
      prefix.family === 'ipv4'
        ? pack(NextHopAttributeSchema, { nextHop })
        : pack(MpReachNLRIAttributeSchema, {
            family: packFamily('ipv6'),
            nextHops: [nextHop],
            nlris: [nlri],
          }),
      ...(communities.length > 0 ? [pack(CommunitiesAttributeSchema, { communities })] : []),
    ],
  }
}

/** A withdrawal names the network alone. Never by uuid: re-adding a path silently makes its older uuid useless. */
export function packWithdrawal(prefix: Prefix): MessageInitShape<typeof PathSchema> {
  return { nlri: packNlri(prefix), family: packFamily(prefix.family), isWithdraw: true }
}

/** Undefined for what we could not have sent: another kind of NLRI, or one that is no prefix. */
export function unpackPath(wire: WirePath): Path | undefined {
  const nlri = wire.nlri && anyUnpack(wire.nlri, IPAddressPrefixSchema)
  const prefix = nlri && parsePrefix(`${nlri.prefix}/${nlri.prefixLen}`)
  if (!prefix) return undefined
  let nextHop: string | undefined
  let communities: string[] = []
  for (const attribute of wire.pattrs) {
    nextHop ??= anyUnpack(attribute, NextHopAttributeSchema)?.nextHop
    nextHop ??= anyUnpack(attribute, MpReachNLRIAttributeSchema)?.nextHops[0]
    const values = anyUnpack(attribute, CommunitiesAttributeSchema)?.communities
    if (values) communities = values.map((value) => `${value >>> 16}:${value & 0xffff}`)
  }
  return {
    prefix: prefix.text,
    ...(nextHop !== undefined && nextHop !== SELF[prefix.family] ? { nextHop } : {}),
    ...(communities.length > 0 ? { communities } : {}),
  }
}

function packNlri(prefix: Prefix) {
  const [address = ''] = prefix.text.split('/')
  return pack(IPAddressPrefixSchema, { prefix: address, prefixLen: prefix.length })
}

function pack<D extends DescMessage>(schema: D, value: MessageInitShape<D>) {
  return anyPack(schema, create(schema, value))
}
