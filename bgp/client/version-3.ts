// Version 3 (`apipb.GobgpApi`): NLRI, attributes and capabilities each in an Any, whose type_url ends in the message's name.

import { create, type DescMessage, type MessageInitShape, type MessageShape } from '@bufbuild/protobuf'
import { type Any, anyIs, anyPack, anyUnpack } from '@bufbuild/protobuf/wkt'
import {
  AddBmpRequest_MonitoringPolicy,
  AddPathCapabilitySchema,
  AsPathAttributeSchema,
  AsSegment_Type,
  CommunitiesAttributeSchema,
  CommunityAction_Type,
  DefinedType,
  EnhancedRouteRefreshCapabilitySchema,
  ExtendedNexthopCapabilitySchema,
  FourOctetASNCapabilitySchema,
  FqdnCapabilitySchema,
  GobgpApi,
  GracefulRestartCapabilitySchema,
  IPAddressPrefixSchema,
  LargeCommunitiesAttributeSchema,
  LocalPrefAttributeSchema,
  LongLivedGracefulRestartCapabilitySchema,
  MatchSet_Type,
  MedAction_Type,
  MpReachNLRIAttributeSchema,
  MultiExitDiscAttributeSchema,
  MultiProtocolCapabilitySchema,
  NextHopAttributeSchema,
  OriginAttributeSchema,
  PathSchema,
  PeerState_AdminState,
  ResetPeerRequest_SoftResetDirection,
  RouteRefreshCapabilitySchema,
  RouteRefreshCiscoCapabilitySchema,
  TableType,
  UnknownCapabilitySchema,
  WatchEventRequest_Table_Filter_Type,
} from '../proto/gobgp-v3.gen.ts'
import { type Attribute, usefulNextHop } from './attributes.ts'
import { capabilityName } from './capabilities.ts'
import { packFamily, readFamily } from './family.ts'
import type { Prefix } from './prefix.ts'
import { numbersOf, type Version } from './version.ts'

export const VERSION_3: Version = {
  number: 3,
  api: GobgpApi.method,
  pathSchema: PathSchema,
  numbers: numbersOf({
    table: TableType,
    set: DefinedType,
    match: MatchSet_Type,
    communityChange: CommunityAction_Type,
    med: MedAction_Type,
    reset: ResetPeerRequest_SoftResetDirection,
    admin: PeerState_AdminState,
    watch: WatchEventRequest_Table_Filter_Type,
    bmp: AddBmpRequest_MonitoringPolicy,
  }),
  packNlri: (prefix) => ({ nlri: packPrefix(prefix) }),
  packAttributes: (attributes) => ({ pattrs: attributes.map(packAttribute) }),
  readNlri: ({ nlri }) => {
    const prefix = nlri && anyUnpack(nlri, IPAddressPrefixSchema)
    return prefix && { address: prefix.prefix, length: prefix.prefixLen }
  },
  readAttributes: ({ pattrs }) => pattrs.flatMap((attribute) => readAttribute(attribute) ?? []),
  readCapabilities: ({ localCap, remoteCap }) => ({
    local: localCap.flatMap(capabilityNames).sort(),
    remote: remoteCap.flatMap(capabilityNames).sort(),
  }),
  readDisconnect: () => undefined,
  packBmp: (station) => ({
    address: station.address,
    port: station.port,
    policy: VERSION_3.numbers.bmp[station.policy],
    StatisticsTimeout: station.statisticsSeconds ?? 0,
    SysName: station.systemName ?? '',
    SysDescr: station.systemDescription ?? '',
  }),
  packStop: (keepRoutes) => (keepRoutes ? undefined : {}),
}

function pack<D extends DescMessage>(schema: D, value: MessageInitShape<D>): Any {
  return anyPack(schema, create(schema, value))
}

function packPrefix(prefix: Prefix): Any {
  const [address = ''] = prefix.text.split('/')
  return pack(IPAddressPrefixSchema, { prefix: address, prefixLen: prefix.length })
}

function packAttribute(attribute: Attribute): Any {
  switch (attribute.kind) {
    case 'origin':
      return pack(OriginAttributeSchema, { origin: attribute.origin })
    case 'asPath':
      return pack(AsPathAttributeSchema, {
        segments: [{ type: AsSegment_Type.AS_SEQUENCE, numbers: [...attribute.numbers] }],
      })
    case 'nextHop':
      return pack(NextHopAttributeSchema, { nextHop: attribute.nextHop })
    case 'multiExitDisc':
      return pack(MultiExitDiscAttributeSchema, { med: attribute.med })
    case 'localPref':
      return pack(LocalPrefAttributeSchema, { localPref: attribute.localPref })
    case 'communities':
      return pack(CommunitiesAttributeSchema, { communities: [...attribute.communities] })
    case 'mpReach':
      return pack(MpReachNLRIAttributeSchema, {
        family: packFamily('ipv6'),
        nextHops: [attribute.nextHop],
        nlris: attribute.prefix ? [packPrefix(attribute.prefix)] : [],
      })
    case 'largeCommunities':
      return pack(LargeCommunitiesAttributeSchema, { communities: [...attribute.communities] })
  }
}

type Reader = (any: Any) => Attribute | undefined

function reader<D extends DescMessage>(
  schema: D,
  read: (value: MessageShape<D>) => Attribute,
): readonly [string, Reader] {
  return [
    schema.typeName,
    (any) => {
      const value = anyUnpack(any, schema)
      return value && read(value)
    },
  ]
}

/** By the message's full name, with which the type_url ends. */
const READERS: ReadonlyMap<string, Reader> = new Map([
  reader(OriginAttributeSchema, ({ origin }) => ({ kind: 'origin', origin })),
  reader(AsPathAttributeSchema, ({ segments }) => ({
    kind: 'asPath',
    numbers: segments.flatMap(({ numbers }) => numbers),
  })),
  reader(NextHopAttributeSchema, ({ nextHop }) => ({ kind: 'nextHop', nextHop })),
  reader(MultiExitDiscAttributeSchema, ({ med }) => ({ kind: 'multiExitDisc', med })),
  reader(LocalPrefAttributeSchema, ({ localPref }) => ({ kind: 'localPref', localPref })),
  reader(CommunitiesAttributeSchema, ({ communities }) => ({ kind: 'communities', communities })),
  reader(MpReachNLRIAttributeSchema, ({ nextHops }) => ({
    kind: 'mpReach',
    nextHop: usefulNextHop(nextHops),
  })),
  reader(LargeCommunitiesAttributeSchema, ({ communities }) => ({ kind: 'largeCommunities', communities })),
])

function readAttribute(any: Any): Attribute | undefined {
  return READERS.get(any.typeUrl.slice(any.typeUrl.lastIndexOf('/') + 1))?.(any)
}

const CAPABILITIES: readonly (readonly [DescMessage, string])[] = [
  [RouteRefreshCapabilitySchema, 'route-refresh'],
  [ExtendedNexthopCapabilitySchema, 'extended-nexthop'],
  [GracefulRestartCapabilitySchema, 'graceful-restart'],
  [FourOctetASNCapabilitySchema, 'four-octet-asn'],
  [AddPathCapabilitySchema, 'add-path'],
  [EnhancedRouteRefreshCapabilitySchema, 'enhanced-route-refresh'],
  [LongLivedGracefulRestartCapabilitySchema, 'long-lived-graceful-restart'],
  [RouteRefreshCiscoCapabilitySchema, 'route-refresh-cisco'],
  [FqdnCapabilitySchema, 'fqdn'],
]

function capabilityNames(any: Any): string[] {
  const multiProtocol = anyUnpack(any, MultiProtocolCapabilitySchema)
  if (multiProtocol) return [`multi-protocol ${readFamily(multiProtocol.family) ?? 'other'}`]
  const unknown = anyUnpack(any, UnknownCapabilitySchema)
  if (unknown) return [capabilityName(unknown.code)]
  return CAPABILITIES.filter(([schema]) => anyIs(any, schema)).map(([, name]) => name)
}
