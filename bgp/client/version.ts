// What differs between the versions of GoBGP's interface, as a value: the calls, the enum numbers that moved, and the packing of NLRI,
// attributes and capabilities. Everything else (calls.ts, pack-*.ts) is written once, in the terms of version 3.
//
// Message and field names and numbers are the same in both for all that we use; test/unit/bgp/versions.test.ts holds them against each
// other. So version 4 may pass its descriptors off as version 3's: what is encoded is decided by the descriptor, not by its type.

import type { MessageInitShape } from '@bufbuild/protobuf'
import type {
  AddBmpRequest_MonitoringPolicy,
  AddBmpRequestSchema,
  CommunityAction_Type,
  DefinedType,
  GobgpApi,
  MatchSet_Type,
  MedAction_Type,
  PathSchema,
  PeerState,
  PeerState_AdminState,
  ResetPeerRequest_SoftResetDirection,
  StopBgpRequestSchema,
  TableType,
  WatchEventRequest_Table_Filter_Type,
  Path as WirePath,
} from '../proto/gobgp-v3.gen.ts'
import type { Attribute } from './attributes.ts'
import type { Prefix } from './prefix.ts'
import type { BmpStation, CommunityChange, PeerStatus, PolicyChanges, SetKind, TableName } from './types.ts'

export type Api = typeof GobgpApi.method
export type WirePathInit = MessageInitShape<typeof PathSchema>

/** Enums whose values moved by one in version 4. Those that did not move are used as version 3 names them. */
export interface Numbers {
  readonly table: Readonly<Record<TableName['kind'], TableType>>
  readonly set: Readonly<Record<SetKind, DefinedType>>
  readonly match: Readonly<Record<'any' | 'all' | 'none', MatchSet_Type>>
  readonly communityChange: Readonly<Record<CommunityChange['kind'], CommunityAction_Type>>
  readonly med: Readonly<Record<NonNullable<PolicyChanges['med']>['kind'], MedAction_Type>>
  readonly reset: Readonly<Record<'in' | 'out' | 'both', ResetPeerRequest_SoftResetDirection>>
  readonly admin: Readonly<Record<PeerStatus['admin'], PeerState_AdminState>>
  readonly watchBest: WatchEventRequest_Table_Filter_Type
  readonly bmp: Readonly<Record<BmpStation['policy'], AddBmpRequest_MonitoringPolicy>>
}

type Names<Name extends string> = Readonly<Record<Name, number>>

/** The enums of one version, by the names that both have: nothing may be missing, though the numbers are others. */
export interface NamedEnums {
  readonly table: Names<'GLOBAL' | 'ADJ_IN' | 'ADJ_OUT'>
  readonly set: Names<'PREFIX' | 'NEIGHBOR' | 'COMMUNITY' | 'LARGE_COMMUNITY'>
  readonly match: Names<'ANY' | 'ALL' | 'INVERT'>
  readonly communityChange: Names<'ADD' | 'REMOVE' | 'REPLACE'>
  readonly med: Names<'MOD' | 'REPLACE'>
  readonly reset: Names<'IN' | 'OUT' | 'BOTH'>
  readonly admin: Names<'UP' | 'DOWN' | 'PFX_CT'>
  readonly watch: Names<'BEST'>
  readonly bmp: Names<'PRE' | 'POST' | 'BOTH' | 'LOCAL' | 'ALL'>
}

export function numbersOf(enums: NamedEnums): Numbers {
  const { table, set, match, communityChange, med, reset, admin, watch, bmp } = enums
  const numbers = {
    table: { global: table.GLOBAL, 'adj-in': table.ADJ_IN, 'adj-out': table.ADJ_OUT },
    set: {
      prefix: set.PREFIX,
      neighbor: set.NEIGHBOR,
      community: set.COMMUNITY,
      'large-community': set.LARGE_COMMUNITY,
    },
    match: { any: match.ANY, all: match.ALL, none: match.INVERT },
    communityChange: {
      add: communityChange.ADD,
      remove: communityChange.REMOVE,
      replace: communityChange.REPLACE,
    },
    med: { add: med.MOD, set: med.REPLACE },
    reset: { in: reset.IN, out: reset.OUT, both: reset.BOTH },
    admin: { up: admin.UP, down: admin.DOWN, 'prefix-limit': admin.PFX_CT },
    watchBest: watch.BEST,
    bmp: { pre: bmp.PRE, post: bmp.POST, both: bmp.BOTH, 'local-rib': bmp.LOCAL, all: bmp.ALL },
  } satisfies NumbersOfAnyVersion
  return numbers as unknown as Numbers
}

type NumbersOfAnyVersion = {
  readonly [K in keyof Numbers]: Numbers[K] extends number
    ? number
    : Readonly<Record<keyof Numbers[K], number>>
}

export interface Version {
  readonly number: 3 | 4
  readonly api: Api
  readonly numbers: Numbers
  readonly pathSchema: typeof PathSchema
  readonly packNlri: (prefix: Prefix) => Pick<WirePathInit, 'nlri'>
  readonly packAttributes: (attributes: readonly Attribute[]) => Pick<WirePathInit, 'pattrs'>
  /** Undefined when the NLRI is none of IPv4 or IPv6 unicast. */
  readonly readNlri: (path: WirePath) => { readonly address: string; readonly length: number } | undefined
  /** Without those of kinds we have no use for. */
  readonly readAttributes: (path: WirePath) => readonly Attribute[]
  readonly readCapabilities: (state: PeerState) => { local: readonly string[]; remote: readonly string[] }
  /** Why the session ended last; undefined when it is not known. */
  readonly readDisconnect: (state: PeerState) => string | undefined
  readonly packBmp: (station: BmpStation) => MessageInitShape<typeof AddBmpRequestSchema>
  /** Undefined: the version cannot stop so that peers keep our routes. */
  readonly packStop: (keepRoutes: boolean) => MessageInitShape<typeof StopBgpRequestSchema> | undefined
}
