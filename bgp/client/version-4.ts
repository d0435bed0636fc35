// Version 4 (`api.GoBgpService`, from 4.0.0 on): NLRI, attributes and capabilities each in a oneof, enums that begin with UNSPECIFIED,
// and what version 3 does not know: why a session ended, and stopping so that peers keep our routes.
//
// The messages have version 4's descriptors and travel under version 3's types (see version.ts); where the two differ, the functions
// here say so with a cast. Nothing else does.

import type { MessageInitShape } from '@bufbuild/protobuf'
import {
  AddBmpRequest_MonitoringPolicy,
  type AddBmpRequestSchema,
  AsSegment_Type,
  type Capability,
  CommunityAction_Type,
  DefinedType,
  GoBgpService,
  MatchSet_Type,
  MedAction_Type,
  type Path,
  PathSchema,
  type PeerState,
  PeerState_AdminState,
  PeerState_DisconnectReason,
  ResetPeerRequest_Direction,
  type StopBgpRequestSchema,
  TableType,
  WatchEventRequest_Table_Filter_Type,
  type Attribute as WireAttribute,
} from '../proto/gobgp-v4.gen.ts'
import { type Attribute, usefulNextHop } from './attributes.ts'
import { capabilityName } from './capabilities.ts'
import { packFamily, readFamily } from './family.ts'
import type { Prefix } from './prefix.ts'
import { type Api, numbersOf, type Version, type WirePathInit } from './version.ts'

export const VERSION_4: Version = {
  number: 4,
  api: GoBgpService.method as unknown as Api,
  pathSchema: PathSchema as unknown as Version['pathSchema'],
  numbers: numbersOf({
    table: TableType,
    set: DefinedType,
    match: MatchSet_Type,
    communityChange: CommunityAction_Type,
    med: MedAction_Type,
    reset: ResetPeerRequest_Direction,
    admin: PeerState_AdminState,
    watch: WatchEventRequest_Table_Filter_Type,
    bmp: AddBmpRequest_MonitoringPolicy,
  }),
  packNlri: (prefix) => ({ nlri: packPrefix(prefix) }) as unknown as Pick<WirePathInit, 'nlri'>,
  packAttributes: (attributes) =>
    ({ pattrs: attributes.map((attribute) => ({ attr: packAttribute(attribute) })) }) as unknown as Pick<
      WirePathInit,
      'pattrs'
    >,
  readNlri: (path) => {
    const nlri = (path as unknown as Path).nlri?.nlri
    return nlri?.case === 'prefix' ? { address: nlri.value.prefix, length: nlri.value.prefixLen } : undefined
  },
  readAttributes: (path) =>
    (path as unknown as Path).pattrs.flatMap((attribute) => readAttribute(attribute) ?? []),
  readCapabilities: (state) => {
    const { localCap, remoteCap } = state as unknown as PeerState
    return { local: localCap.map(nameOf).sort(), remote: remoteCap.map(nameOf).sort() }
  },
  readDisconnect: (state) => describeDisconnect(state as unknown as PeerState),
  packBmp: (station) =>
    ({
      address: station.address,
      port: station.port,
      policy: VERSION_4.numbers.bmp[station.policy],
      statisticsTimeout: station.statisticsSeconds ?? 0,
      sysName: station.systemName ?? '',
      sysDescr: station.systemDescription ?? '',
    }) satisfies MessageInitShape<typeof AddBmpRequestSchema> as object,
  packStop: (keepRoutes) =>
    ({ allowGracefulRestart: keepRoutes }) satisfies MessageInitShape<typeof StopBgpRequestSchema> as object,
}

function packPrefix(prefix: Prefix) {
  const [address = ''] = prefix.text.split('/')
  return { nlri: { case: 'prefix' as const, value: { prefix: address, prefixLen: prefix.length } } }
}

/** The kinds are named as the oneof's cases are. */
function packAttribute(attribute: Attribute) {
  switch (attribute.kind) {
    case 'asPath':
      return {
        case: attribute.kind,
        value: { segments: [{ type: AsSegment_Type.AS_SEQUENCE, numbers: [...attribute.numbers] }] },
      }
    case 'mpReach':
      return {
        case: attribute.kind,
        value: {
          family: packFamily('ipv6'),
          nextHops: [attribute.nextHop],
          nlris: attribute.prefix ? [packPrefix(attribute.prefix)] : [],
        },
      }
    default: {
      const { kind, ...value } = attribute
      return { case: kind, value }
    }
  }
}

function readAttribute({ attr }: WireAttribute): Attribute | undefined {
  switch (attr.case) {
    case 'origin':
      return { kind: attr.case, origin: attr.value.origin }
    case 'asPath':
      return { kind: attr.case, numbers: attr.value.segments.flatMap(({ numbers }) => numbers) }
    case 'nextHop':
      return { kind: attr.case, nextHop: attr.value.nextHop }
    case 'multiExitDisc':
      return { kind: attr.case, med: attr.value.med }
    case 'localPref':
      return { kind: attr.case, localPref: attr.value.localPref }
    case 'communities':
      return { kind: attr.case, communities: attr.value.communities }
    case 'mpReach':
      return { kind: attr.case, nextHop: usefulNextHop(attr.value.nextHops) }
    case 'largeCommunities':
      return { kind: attr.case, communities: attr.value.communities }
    default:
      return undefined
  }
}

/** `gracefulRestart` → `graceful-restart`. */
function nameOf({ cap }: Capability): string {
  if (cap.case === 'unknown') return capabilityName(cap.value.code)
  if (cap.case === 'multiProtocol') return `multi-protocol ${readFamily(cap.value.family) ?? 'other'}`
  return (cap.case ?? 'other').replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

const REASONS: Readonly<Record<number, string>> = {
  [PeerState_DisconnectReason.ADMIN_DOWN]: 'disabled here',
  [PeerState_DisconnectReason.HOLD_TIMER_EXPIRED]: 'hold timer expired',
  [PeerState_DisconnectReason.NOTIFICATION_SENT]: 'notification sent',
  [PeerState_DisconnectReason.NOTIFICATION_RECEIVED]: 'notification received',
  [PeerState_DisconnectReason.READ_FAILED]: 'reading failed',
  [PeerState_DisconnectReason.WRITE_FAILED]: 'writing failed',
  [PeerState_DisconnectReason.IDLE_TIMER_EXPIRED]: 'idle timer expired',
  [PeerState_DisconnectReason.RESTART_TIMER_EXPIRED]: 'restart timer expired',
  [PeerState_DisconnectReason.GRACEFUL_RESTART]: 'graceful restart',
  [PeerState_DisconnectReason.INVALID_MSG]: 'invalid message',
  [PeerState_DisconnectReason.HARD_RESET]: 'hard reset',
  [PeerState_DisconnectReason.DECONFIGURED]: 'deconfigured',
  [PeerState_DisconnectReason.BAD_PEER_AS]: "not the peer's AS",
}

function describeDisconnect({ disconnectReason, disconnectMessage }: PeerState): string | undefined {
  if (disconnectReason === PeerState_DisconnectReason.UNSPECIFIED) return undefined
  const reason = REASONS[disconnectReason] ?? `reason ${disconnectReason}`
  return disconnectMessage === '' ? reason : `${reason}: ${disconnectMessage}`
}
