// Generated from BTF by tools/abi-gen.ts. Do not edit: change the C headers and build again.

import type { StructLayout } from '../sys/libbpf-ts/layout.ts'

export const AbiConstant = {
  NEXTHOP_MEMBERS: 4,
  FLOW_WAYS: 4,
  FLOW_SETS: 131072,
  FLOW_TICK_SHIFT: 0,
  FLOW_TICK_BITS: 20,
  FLOW_STATE_SHIFT: 20,
  FLOW_STATE_BITS: 4,
  FLOW_VERSION_SHIFT: 24,
  FLOW_TICK_JIFFIES_SHIFT: 8,
  FLOW_SNAT_REST: 2,
  FLOW_SNAT_REUSE: 10,
  FLOW_SILENT_UDP: 30,
  FLOW_IDLE_HALF_OPEN: 60,
  FLOW_IDLE_UNANSWERED_TCP: 7440,
  FLOW_IDLE_CLOSING: 120,
  FLOW_IDLE_HALF_CLOSED: 3600,
  FLOW_IDLE_ONE_SIDED_TCP: 8000,
  FLOW_IDLE_ESTABLISHED_TCP: 86400,
  FLOW_IDLE_ESTABLISHED_UDP: 300,
  FILTER_BITS: 4194304,
  FILTER_WORD_ORDER: 16,
  FILTER_NETWORK_ORDER: 15,
  FILTER_ALL_BITS: 4227072,
  FILTER_NETWORK_IPV4: 16,
  FILTER_NETWORK_IPV6: 64,
  SOCK_PEERS: 4,
  GENEVE_CLASS: 65367,
  GENEVE_TYPE: 129,
  GENEVE_PORT: 6081,
  BFD_PORT: 3784,
  BFD_SOURCE_PORT: 49152,
  BFD_SESSIONS: 64,
  BFD_SLOW_US: 1000000,
  BFD_CONTROL_BYTES: 24,
  BFD_LOSSES: 118,
  POLICY_STARTS: 8,
  POLICY_GENERATIONS: 65536,
} as const
export type AbiConstant = (typeof AbiConstant)[keyof typeof AbiConstant]

/** The first constant of each value. */
export const ABI_CONSTANT_NAMES: ReadonlyMap<number | bigint, keyof typeof AbiConstant> = new Map([
  [4, 'NEXTHOP_MEMBERS'],
  [131072, 'FLOW_SETS'],
  [0, 'FLOW_TICK_SHIFT'],
  [20, 'FLOW_TICK_BITS'],
  [24, 'FLOW_VERSION_SHIFT'],
  [8, 'FLOW_TICK_JIFFIES_SHIFT'],
  [2, 'FLOW_SNAT_REST'],
  [10, 'FLOW_SNAT_REUSE'],
  [30, 'FLOW_SILENT_UDP'],
  [60, 'FLOW_IDLE_HALF_OPEN'],
  [7440, 'FLOW_IDLE_UNANSWERED_TCP'],
  [120, 'FLOW_IDLE_CLOSING'],
  [3600, 'FLOW_IDLE_HALF_CLOSED'],
  [8000, 'FLOW_IDLE_ONE_SIDED_TCP'],
  [86400, 'FLOW_IDLE_ESTABLISHED_TCP'],
  [300, 'FLOW_IDLE_ESTABLISHED_UDP'],
  [4194304, 'FILTER_BITS'],
  [16, 'FILTER_WORD_ORDER'],
  [15, 'FILTER_NETWORK_ORDER'],
  [4227072, 'FILTER_ALL_BITS'],
  [64, 'FILTER_NETWORK_IPV6'],
  [65367, 'GENEVE_CLASS'],
  [129, 'GENEVE_TYPE'],
  [6081, 'GENEVE_PORT'],
  [3784, 'BFD_PORT'],
  [49152, 'BFD_SOURCE_PORT'],
  [1000000, 'BFD_SLOW_US'],
  [118, 'BFD_LOSSES'],
  [65536, 'POLICY_GENERATIONS'],
])

export const BackendFlags = {
  BACKEND_LOCAL: 1,
} as const
export type BackendFlags = (typeof BackendFlags)[keyof typeof BackendFlags]

/** The first constant of each value. */
export const BACKEND_FLAGS_NAMES: ReadonlyMap<number | bigint, keyof typeof BackendFlags> = new Map([
  [1, 'BACKEND_LOCAL'],
])

export const BackendState = {
  BACKEND_UNUSED: 0,
  BACKEND_ACTIVE: 1,
  BACKEND_TERMINATING: 2,
  BACKEND_GONE: 3,
} as const
export type BackendState = (typeof BackendState)[keyof typeof BackendState]

/** The first constant of each value. */
export const BACKEND_STATE_NAMES: ReadonlyMap<number | bigint, keyof typeof BackendState> = new Map([
  [0, 'BACKEND_UNUSED'],
  [1, 'BACKEND_ACTIVE'],
  [2, 'BACKEND_TERMINATING'],
  [3, 'BACKEND_GONE'],
])

export const BfdDiagnostic = {
  BFD_DIAGNOSTIC_NONE: 0,
  BFD_DIAGNOSTIC_SILENCE: 1,
  BFD_DIAGNOSTIC_ECHO: 2,
  BFD_DIAGNOSTIC_NEIGHBOUR: 3,
  BFD_DIAGNOSTIC_FORWARDING: 4,
  BFD_DIAGNOSTIC_PATH: 5,
  BFD_DIAGNOSTIC_BEYOND: 6,
  BFD_DIAGNOSTIC_ADMIN: 7,
} as const
export type BfdDiagnostic = (typeof BfdDiagnostic)[keyof typeof BfdDiagnostic]

/** The first constant of each value. */
export const BFD_DIAGNOSTIC_NAMES: ReadonlyMap<number | bigint, keyof typeof BfdDiagnostic> = new Map([
  [0, 'BFD_DIAGNOSTIC_NONE'],
  [1, 'BFD_DIAGNOSTIC_SILENCE'],
  [2, 'BFD_DIAGNOSTIC_ECHO'],
  [3, 'BFD_DIAGNOSTIC_NEIGHBOUR'],
  [4, 'BFD_DIAGNOSTIC_FORWARDING'],
  [5, 'BFD_DIAGNOSTIC_PATH'],
  [6, 'BFD_DIAGNOSTIC_BEYOND'],
  [7, 'BFD_DIAGNOSTIC_ADMIN'],
])

export const BfdFlag = {
  BFD_POLL: 32,
  BFD_FINAL: 16,
  BFD_INDEPENDENT: 8,
  BFD_AUTHENTICATED: 4,
  BFD_DEMAND: 2,
  BFD_MULTIPOINT: 1,
} as const
export type BfdFlag = (typeof BfdFlag)[keyof typeof BfdFlag]

/** The first constant of each value. */
export const BFD_FLAG_NAMES: ReadonlyMap<number | bigint, keyof typeof BfdFlag> = new Map([
  [32, 'BFD_POLL'],
  [16, 'BFD_FINAL'],
  [8, 'BFD_INDEPENDENT'],
  [4, 'BFD_AUTHENTICATED'],
  [2, 'BFD_DEMAND'],
  [1, 'BFD_MULTIPOINT'],
])

export const BfdGoverns = {
  BFD_GOVERNS_IPV4: 1,
  BFD_GOVERNS_IPV6: 2,
} as const
export type BfdGoverns = (typeof BfdGoverns)[keyof typeof BfdGoverns]

/** The first constant of each value. */
export const BFD_GOVERNS_NAMES: ReadonlyMap<number | bigint, keyof typeof BfdGoverns> = new Map([
  [1, 'BFD_GOVERNS_IPV4'],
  [2, 'BFD_GOVERNS_IPV6'],
])

export const BfdRefusal = {
  BFD_REFUSED_HOPS: 0,
  BFD_REFUSED_CHECKSUM: 1,
  BFD_REFUSED_MALFORMED: 2,
  BFD_REFUSED_AUTHENTICATED: 3,
  BFD_REFUSED_DISCRIMINATOR: 4,
  BFD_REFUSAL_COUNT: 5,
} as const
export type BfdRefusal = (typeof BfdRefusal)[keyof typeof BfdRefusal]

/** The first constant of each value. */
export const BFD_REFUSAL_NAMES: ReadonlyMap<number | bigint, keyof typeof BfdRefusal> = new Map([
  [0, 'BFD_REFUSED_HOPS'],
  [1, 'BFD_REFUSED_CHECKSUM'],
  [2, 'BFD_REFUSED_MALFORMED'],
  [3, 'BFD_REFUSED_AUTHENTICATED'],
  [4, 'BFD_REFUSED_DISCRIMINATOR'],
  [5, 'BFD_REFUSAL_COUNT'],
])

export const BfdSessionState = {
  BFD_ADMIN_DOWN: 0,
  BFD_DOWN: 1,
  BFD_INIT: 2,
  BFD_UP: 3,
} as const
export type BfdSessionState = (typeof BfdSessionState)[keyof typeof BfdSessionState]

/** The first constant of each value. */
export const BFD_SESSION_STATE_NAMES: ReadonlyMap<number | bigint, keyof typeof BfdSessionState> = new Map([
  [0, 'BFD_ADMIN_DOWN'],
  [1, 'BFD_DOWN'],
  [2, 'BFD_INIT'],
  [3, 'BFD_UP'],
])

export const EventKind = {
  EVENT_DROP: 1,
  EVENT_WOULD_DROP: 2,
  EVENT_WOULD_PASS: 3,
} as const
export type EventKind = (typeof EventKind)[keyof typeof EventKind]

/** The first constant of each value. */
export const EVENT_KIND_NAMES: ReadonlyMap<number | bigint, keyof typeof EventKind> = new Map([
  [1, 'EVENT_DROP'],
  [2, 'EVENT_WOULD_DROP'],
  [3, 'EVENT_WOULD_PASS'],
])

export const FlowFlags = {
  FLOW_CLIENT_IS_LOCAL: 1,
  FLOW_IS_UDP: 2,
  FLOW_IS_SERVER: 4,
  FLOW_FROM_HOST: 8,
  FLOW_OF_NODE: 16,
  FLOW_OF_HOST: 32,
  FLOW_FORWARDED: 64,
  FLOW_LEAVES: 128,
} as const
export type FlowFlags = (typeof FlowFlags)[keyof typeof FlowFlags]

/** The first constant of each value. */
export const FLOW_FLAGS_NAMES: ReadonlyMap<number | bigint, keyof typeof FlowFlags> = new Map([
  [1, 'FLOW_CLIENT_IS_LOCAL'],
  [2, 'FLOW_IS_UDP'],
  [4, 'FLOW_IS_SERVER'],
  [8, 'FLOW_FROM_HOST'],
  [16, 'FLOW_OF_NODE'],
  [32, 'FLOW_OF_HOST'],
  [64, 'FLOW_FORWARDED'],
  [128, 'FLOW_LEAVES'],
])

export const FlowKind = {
  FLOW_TO_LOCAL: 1,
  FLOW_TO_REMOTE: 2,
  FLOW_REPLY: 3,
  FLOW_TO_REMOTE_SNAT: 4,
  FLOW_SNAT_REPLY: 5,
  FLOW_TO_REMOTE_PLAIN: 6,
  FLOW_POD: 7,
} as const
export type FlowKind = (typeof FlowKind)[keyof typeof FlowKind]

/** The first constant of each value. */
export const FLOW_KIND_NAMES: ReadonlyMap<number | bigint, keyof typeof FlowKind> = new Map([
  [1, 'FLOW_TO_LOCAL'],
  [2, 'FLOW_TO_REMOTE'],
  [3, 'FLOW_REPLY'],
  [4, 'FLOW_TO_REMOTE_SNAT'],
  [5, 'FLOW_SNAT_REPLY'],
  [6, 'FLOW_TO_REMOTE_PLAIN'],
  [7, 'FLOW_POD'],
])

export const FlowState = {
  FLOW_FREE: 0,
  FLOW_BUSY: 1,
  FLOW_HALF_OPEN: 8,
  FLOW_ESTABLISHED: 9,
  FLOW_HALF_OPEN_CLOSED: 10,
  FLOW_CLIENT_CLOSED: 11,
  FLOW_BACKEND_CLOSED: 13,
  FLOW_CLOSING: 15,
} as const
export type FlowState = (typeof FlowState)[keyof typeof FlowState]

/** The first constant of each value. */
export const FLOW_STATE_NAMES: ReadonlyMap<number | bigint, keyof typeof FlowState> = new Map([
  [0, 'FLOW_FREE'],
  [1, 'FLOW_BUSY'],
  [8, 'FLOW_HALF_OPEN'],
  [9, 'FLOW_ESTABLISHED'],
  [10, 'FLOW_HALF_OPEN_CLOSED'],
  [11, 'FLOW_CLIENT_CLOSED'],
  [13, 'FLOW_BACKEND_CLOSED'],
  [15, 'FLOW_CLOSING'],
])

export const FrontendFlags = {
  FRONTEND_EXTERNAL: 1,
  FRONTEND_RANDOM: 2,
  FRONTEND_EXTERNAL_LOCAL: 4,
  FRONTEND_INTERNAL_LOCAL: 8,
  FRONTEND_DSR: 16,
  FRONTEND_ANY_ENDPOINT: 32,
  FRONTEND_SOURCE_RANGES: 64,
  FRONTEND_SOCKET_ONLY: 128,
  FRONTEND_OF_NODE: 256,
} as const
export type FrontendFlags = (typeof FrontendFlags)[keyof typeof FrontendFlags]

/** The first constant of each value. */
export const FRONTEND_FLAGS_NAMES: ReadonlyMap<number | bigint, keyof typeof FrontendFlags> = new Map([
  [1, 'FRONTEND_EXTERNAL'],
  [2, 'FRONTEND_RANDOM'],
  [4, 'FRONTEND_EXTERNAL_LOCAL'],
  [8, 'FRONTEND_INTERNAL_LOCAL'],
  [16, 'FRONTEND_DSR'],
  [32, 'FRONTEND_ANY_ENDPOINT'],
  [64, 'FRONTEND_SOURCE_RANGES'],
  [128, 'FRONTEND_SOCKET_ONLY'],
  [256, 'FRONTEND_OF_NODE'],
])

export const KnownNetnsKind = {
  NETNS_JUDGED: 1,
  NETNS_UNJUDGED: 2,
} as const
export type KnownNetnsKind = (typeof KnownNetnsKind)[keyof typeof KnownNetnsKind]

/** The first constant of each value. */
export const KNOWN_NETNS_KIND_NAMES: ReadonlyMap<number | bigint, keyof typeof KnownNetnsKind> = new Map([
  [1, 'NETNS_JUDGED'],
  [2, 'NETNS_UNJUDGED'],
])

export const MapVersion = {
  MAP_VERSION_FRONTENDS: 2,
  MAP_VERSION_FRONTEND_ADDRESSES: 1,
  MAP_VERSION_SLOTS: 1,
  MAP_VERSION_BACKENDS: 1,
  MAP_VERSION_BACKEND_IDS: 1,
  MAP_VERSION_NEXTHOPS: 2,
  MAP_VERSION_NODES: 1,
  MAP_VERSION_ENDPOINTS: 1,
  MAP_VERSION_FLOWS: 3,
  MAP_VERSION_SECRETS: 1,
  MAP_VERSION_EVENTS: 1,
  MAP_VERSION_METRICS: 1,
  MAP_VERSION_SOCK_REVERSE: 2,
  MAP_VERSION_FRONTEND_FILTER: 3,
  MAP_VERSION_FLOW_DETAILS: 1,
  MAP_VERSION_AFFINITY: 1,
  MAP_VERSION_SOURCE_RANGES: 1,
  MAP_VERSION_SERVICE_CIDRS: 1,
  MAP_VERSION_FRAGMENTS: 1,
  MAP_VERSION_NETNS_ENDPOINTS: 1,
  MAP_VERSION_ANSWERS: 1,
  MAP_VERSION_SCRATCH: 2,
  MAP_VERSION_SOCK_PEERS: 1,
  MAP_VERSION_BFD_SESSIONS: 1,
  MAP_VERSION_BFD_STATES: 1,
  MAP_VERSION_BFD_TIMERS: 1,
  MAP_VERSION_IDENTITIES: 2,
  MAP_VERSION_IDENTITY_PREFIXES: 2,
  MAP_VERSION_POLICY_SUBJECTS: 2,
  MAP_VERSION_POLICY_SETS: 2,
  MAP_VERSION_POLICY_PEERS: 2,
  MAP_VERSION_POLICY_CELLS: 1,
  MAP_VERSION_POLICY_CLASSES: 2,
  MAP_VERSION_POLICY_PORTS: 2,
  MAP_VERSION_POLICY_GENERATIONS: 2,
  MAP_VERSION_POLICY_HOST: 2,
  MAP_VERSION_KNOWN_NETNS: 1,
  MAP_VERSION_CLOSED_CGROUPS: 1,
  MAP_VERSION_NOTED_NETNS: 1,
} as const
export type MapVersion = (typeof MapVersion)[keyof typeof MapVersion]

/** The first constant of each value. */
export const MAP_VERSION_NAMES: ReadonlyMap<number | bigint, keyof typeof MapVersion> = new Map([
  [2, 'MAP_VERSION_FRONTENDS'],
  [1, 'MAP_VERSION_FRONTEND_ADDRESSES'],
  [3, 'MAP_VERSION_FLOWS'],
])

export const NexthopFlags = {
  NEXTHOP_REDIRECT: 1,
  NEXTHOP_TUNNEL_IPV6: 2,
  NEXTHOP_BYPASS: 4,
} as const
export type NexthopFlags = (typeof NexthopFlags)[keyof typeof NexthopFlags]

/** The first constant of each value. */
export const NEXTHOP_FLAGS_NAMES: ReadonlyMap<number | bigint, keyof typeof NexthopFlags> = new Map([
  [1, 'NEXTHOP_REDIRECT'],
  [2, 'NEXTHOP_TUNNEL_IPV6'],
  [4, 'NEXTHOP_BYPASS'],
])

export const NexthopKind = {
  NEXTHOP_KIND_UNUSED: 0,
  NEXTHOP_KIND_DEVICE: 1,
  NEXTHOP_KIND_GROUP: 2,
  NEXTHOP_KIND_TUNNEL: 3,
} as const
export type NexthopKind = (typeof NexthopKind)[keyof typeof NexthopKind]

/** The first constant of each value. */
export const NEXTHOP_KIND_NAMES: ReadonlyMap<number | bigint, keyof typeof NexthopKind> = new Map([
  [0, 'NEXTHOP_KIND_UNUSED'],
  [1, 'NEXTHOP_KIND_DEVICE'],
  [2, 'NEXTHOP_KIND_GROUP'],
  [3, 'NEXTHOP_KIND_TUNNEL'],
])

export const NexthopRow = {
  NEXTHOP_NONE: 0,
  NEXTHOP_UPLINKS_IPV4: 1,
  NEXTHOP_UPLINKS_IPV6: 2,
  NEXTHOP_FIRST_FREE: 16,
} as const
export type NexthopRow = (typeof NexthopRow)[keyof typeof NexthopRow]

/** The first constant of each value. */
export const NEXTHOP_ROW_NAMES: ReadonlyMap<number | bigint, keyof typeof NexthopRow> = new Map([
  [0, 'NEXTHOP_NONE'],
  [1, 'NEXTHOP_UPLINKS_IPV4'],
  [2, 'NEXTHOP_UPLINKS_IPV6'],
  [16, 'NEXTHOP_FIRST_FREE'],
])

export const PolicyDirection = {
  POLICY_INGRESS: 0,
  POLICY_EGRESS: 1,
  POLICY_DIRECTIONS: 2,
} as const
export type PolicyDirection = (typeof PolicyDirection)[keyof typeof PolicyDirection]

/** The first constant of each value. */
export const POLICY_DIRECTION_NAMES: ReadonlyMap<number | bigint, keyof typeof PolicyDirection> = new Map([
  [0, 'POLICY_INGRESS'],
  [1, 'POLICY_EGRESS'],
  [2, 'POLICY_DIRECTIONS'],
])

export const PolicyProtocol = {
  POLICY_TCP: 0,
  POLICY_UDP: 1,
  POLICY_SCTP: 2,
  POLICY_ICMP: 3,
  POLICY_ICMPV6: 4,
  POLICY_OTHER: 5,
  POLICY_PROTOCOLS: 6,
} as const
export type PolicyProtocol = (typeof PolicyProtocol)[keyof typeof PolicyProtocol]

/** The first constant of each value. */
export const POLICY_PROTOCOL_NAMES: ReadonlyMap<number | bigint, keyof typeof PolicyProtocol> = new Map([
  [0, 'POLICY_TCP'],
  [1, 'POLICY_UDP'],
  [2, 'POLICY_SCTP'],
  [3, 'POLICY_ICMP'],
  [4, 'POLICY_ICMPV6'],
  [5, 'POLICY_OTHER'],
  [6, 'POLICY_PROTOCOLS'],
])

export const PolicyRule = {
  POLICY_RULE_NONE: 0,
  POLICY_RULE_DEFAULT: 1,
  POLICY_RULE_SELF: 2,
  POLICY_RULE_OWN_NODE: 3,
  POLICY_RULE_NO_ROOM: 4,
  POLICY_RULE_FAIL_SAFE: 5,
  POLICY_RULE_UNKNOWN: 6,
  POLICY_RULE_UNTRANSLATED: 7,
} as const
export type PolicyRule = (typeof PolicyRule)[keyof typeof PolicyRule]

/** The first constant of each value. */
export const POLICY_RULE_NAMES: ReadonlyMap<number | bigint, keyof typeof PolicyRule> = new Map([
  [0, 'POLICY_RULE_NONE'],
  [1, 'POLICY_RULE_DEFAULT'],
  [2, 'POLICY_RULE_SELF'],
  [3, 'POLICY_RULE_OWN_NODE'],
  [4, 'POLICY_RULE_NO_ROOM'],
  [5, 'POLICY_RULE_FAIL_SAFE'],
  [6, 'POLICY_RULE_UNKNOWN'],
  [7, 'POLICY_RULE_UNTRANSLATED'],
])

export const PolicyScope = {
  SCOPE_OUTSIDE: 0,
  SCOPE_POD: 1,
  SCOPE_NODE: 2,
  SCOPE_COUNT: 3,
} as const
export type PolicyScope = (typeof PolicyScope)[keyof typeof PolicyScope]

/** The first constant of each value. */
export const POLICY_SCOPE_NAMES: ReadonlyMap<number | bigint, keyof typeof PolicyScope> = new Map([
  [0, 'SCOPE_OUTSIDE'],
  [1, 'SCOPE_POD'],
  [2, 'SCOPE_NODE'],
  [3, 'SCOPE_COUNT'],
])

export const PolicySetFlags = {
  POLICY_SET_INGRESS_OPEN: 1,
  POLICY_SET_EGRESS_OPEN: 2,
  POLICY_SET_LOCKED: 4,
  POLICY_SET_INGRESS_AUDITED: 8,
  POLICY_SET_EGRESS_AUDITED: 16,
} as const
export type PolicySetFlags = (typeof PolicySetFlags)[keyof typeof PolicySetFlags]

/** The first constant of each value. */
export const POLICY_SET_FLAGS_NAMES: ReadonlyMap<number | bigint, keyof typeof PolicySetFlags> = new Map([
  [1, 'POLICY_SET_INGRESS_OPEN'],
  [2, 'POLICY_SET_EGRESS_OPEN'],
  [4, 'POLICY_SET_LOCKED'],
  [8, 'POLICY_SET_INGRESS_AUDITED'],
  [16, 'POLICY_SET_EGRESS_AUDITED'],
])

export const PolicyVerdictFlags = {
  POLICY_ALLOWED: 1,
  POLICY_KEEPS_EXISTING: 2,
} as const
export type PolicyVerdictFlags = (typeof PolicyVerdictFlags)[keyof typeof PolicyVerdictFlags]

/** The first constant of each value. */
export const POLICY_VERDICT_FLAGS_NAMES: ReadonlyMap<number | bigint, keyof typeof PolicyVerdictFlags> = new Map([
  [1, 'POLICY_ALLOWED'],
  [2, 'POLICY_KEEPS_EXISTING'],
])

export const TunnelKind = {
  TUNNEL_GENEVE: 0,
  TUNNEL_IPIP: 1,
} as const
export type TunnelKind = (typeof TunnelKind)[keyof typeof TunnelKind]

/** The first constant of each value. */
export const TUNNEL_KIND_NAMES: ReadonlyMap<number | bigint, keyof typeof TunnelKind> = new Map([
  [0, 'TUNNEL_GENEVE'],
  [1, 'TUNNEL_IPIP'],
])

export const VerdictReason = {
  REASON_UNSPECIFIED: 0,
  REASON_TO_LOCAL: 1,
  REASON_TO_REMOTE: 2,
  REASON_FROM_TUNNEL: 3,
  REASON_REPLY: 4,
  REASON_SOCKET: 5,
  REASON_NOT_OURS: 6,
  REASON_PASSED_TO_STACK: 7,
  REASON_ECHO: 8,
  REASON_TO_REMOTE_SNAT: 9,
  REASON_SNAT_REPLY: 10,
  REASON_TO_REMOTE_PLAIN: 11,
  REASON_ICMP_RELAYED: 12,
  REASON_SECOND_CHOICE: 13,
  REASON_BFD: 14,
  REASON_TO_HOST: 15,
  REASON_OF_NODE: 16,
  REASON_OF_POD: 17,
  REASON_NO_ENDPOINT: 32,
  REASON_NO_SUCH_PORT: 33,
  REASON_NO_LOCAL_ENDPOINT: 64,
  REASON_UNKNOWN_TUNNEL_SOURCE: 65,
  REASON_MALFORMED_TUNNEL: 66,
  REASON_UNKNOWN_BACKEND: 67,
  REASON_NO_NEXTHOP: 68,
  REASON_TOO_BIG: 69,
  REASON_FLOW_SET_FULL: 70,
  REASON_MALFORMED: 71,
  REASON_TTL_EXCEEDED: 72,
  REASON_FRAGMENT: 73,
  REASON_UNKNOWN_FRONTEND: 74,
  REASON_ICMP_UNANSWERED: 75,
  REASON_SOURCE_RANGE: 76,
  REASON_UNALLOCATED_ADDRESS: 77,
  REASON_SNAT_EXHAUSTED: 78,
  REASON_ANSWER_LIMITED: 79,
  REASON_FORGED_SOURCE: 81,
  REASON_BFD_REFUSED: 82,
  REASON_POLICY_INGRESS: 83,
  REASON_POLICY_EGRESS: 84,
  REASON_POLICY_AUDITED: 85,
  REASON_EVENT_LOST: 80,
  REASON_COUNT: 96,
} as const
export type VerdictReason = (typeof VerdictReason)[keyof typeof VerdictReason]

/** The first constant of each value. */
export const VERDICT_REASON_NAMES: ReadonlyMap<number | bigint, keyof typeof VerdictReason> = new Map([
  [0, 'REASON_UNSPECIFIED'],
  [1, 'REASON_TO_LOCAL'],
  [2, 'REASON_TO_REMOTE'],
  [3, 'REASON_FROM_TUNNEL'],
  [4, 'REASON_REPLY'],
  [5, 'REASON_SOCKET'],
  [6, 'REASON_NOT_OURS'],
  [7, 'REASON_PASSED_TO_STACK'],
  [8, 'REASON_ECHO'],
  [9, 'REASON_TO_REMOTE_SNAT'],
  [10, 'REASON_SNAT_REPLY'],
  [11, 'REASON_TO_REMOTE_PLAIN'],
  [12, 'REASON_ICMP_RELAYED'],
  [13, 'REASON_SECOND_CHOICE'],
  [14, 'REASON_BFD'],
  [15, 'REASON_TO_HOST'],
  [16, 'REASON_OF_NODE'],
  [17, 'REASON_OF_POD'],
  [32, 'REASON_NO_ENDPOINT'],
  [33, 'REASON_NO_SUCH_PORT'],
  [64, 'REASON_NO_LOCAL_ENDPOINT'],
  [65, 'REASON_UNKNOWN_TUNNEL_SOURCE'],
  [66, 'REASON_MALFORMED_TUNNEL'],
  [67, 'REASON_UNKNOWN_BACKEND'],
  [68, 'REASON_NO_NEXTHOP'],
  [69, 'REASON_TOO_BIG'],
  [70, 'REASON_FLOW_SET_FULL'],
  [71, 'REASON_MALFORMED'],
  [72, 'REASON_TTL_EXCEEDED'],
  [73, 'REASON_FRAGMENT'],
  [74, 'REASON_UNKNOWN_FRONTEND'],
  [75, 'REASON_ICMP_UNANSWERED'],
  [76, 'REASON_SOURCE_RANGE'],
  [77, 'REASON_UNALLOCATED_ADDRESS'],
  [78, 'REASON_SNAT_EXHAUSTED'],
  [79, 'REASON_ANSWER_LIMITED'],
  [81, 'REASON_FORGED_SOURCE'],
  [82, 'REASON_BFD_REFUSED'],
  [83, 'REASON_POLICY_INGRESS'],
  [84, 'REASON_POLICY_EGRESS'],
  [85, 'REASON_POLICY_AUDITED'],
  [80, 'REASON_EVENT_LOST'],
  [96, 'REASON_COUNT'],
])

export const ADDRESS_BYTES = 16

export type Address = Uint8Array

export function encodeAddress(value: Address, buffer: Buffer = Buffer.alloc(ADDRESS_BYTES), offset = 0): Buffer {
  writeBytes(value, 16, 'Address', buffer, offset)
  return buffer
}

export function decodeAddress(buffer: Buffer, offset = 0): Address {
  return readBytes(buffer, offset, 16)
}

export const ADDRESS_LAYOUT: StructLayout = {
  name: 'address',
  sizeBytes: 16,
  hash: 'aec1e40ddffcbbb1',
  fields: [
    { path: 'bytes', bitOffset: 0, bits: 128, type: 'u8[16]' },
  ],
}

export const AFFINITY_BYTES = 8

export interface Affinity {
  readonly backendId: number
  readonly tick: number
}

export function encodeAffinity(value: Affinity, buffer: Buffer = Buffer.alloc(AFFINITY_BYTES), offset = 0): Buffer {
  buffer.writeUInt32LE(value.backendId, offset)
  buffer.writeUInt32LE(value.tick, offset + 4)
  return buffer
}

export function decodeAffinity(buffer: Buffer, offset = 0): Affinity {
  return {
    backendId: buffer.readUInt32LE(offset),
    tick: buffer.readUInt32LE(offset + 4),
  }
}

export const AFFINITY_LAYOUT: StructLayout = {
  name: 'affinity',
  sizeBytes: 8,
  hash: '11c3ac13e163af6a',
  fields: [
    { path: 'backend_id', bitOffset: 0, bits: 32, type: 'u32' },
    { path: 'tick', bitOffset: 32, bits: 32, type: 'u32' },
  ],
}

export const AFFINITY_KEY_BYTES = 20

export interface AffinityKey {
  readonly client: Uint8Array
  readonly portId: number
}

export function encodeAffinityKey(value: AffinityKey, buffer: Buffer = Buffer.alloc(AFFINITY_KEY_BYTES), offset = 0): Buffer {
  writeBytes(value.client, 16, 'AffinityKey.client', buffer, offset)
  buffer.writeUInt32LE(value.portId, offset + 16)
  return buffer
}

export function decodeAffinityKey(buffer: Buffer, offset = 0): AffinityKey {
  return {
    client: readBytes(buffer, offset, 16),
    portId: buffer.readUInt32LE(offset + 16),
  }
}

export const AFFINITY_KEY_LAYOUT: StructLayout = {
  name: 'affinity_key',
  sizeBytes: 20,
  hash: '5d4c34826594e827',
  fields: [
    { path: 'client', bitOffset: 0, bits: 128, type: 'struct' },
    { path: 'client.bytes', bitOffset: 0, bits: 128, type: 'u8[16]' },
    { path: 'port_id', bitOffset: 128, bits: 32, type: 'u32' },
  ],
}

export const ANSWER_COUNT_BYTES = 8

export interface AnswerCount {
  readonly tick: number
  readonly answers: number
}

export function encodeAnswerCount(value: AnswerCount, buffer: Buffer = Buffer.alloc(ANSWER_COUNT_BYTES), offset = 0): Buffer {
  buffer.writeUInt32LE(value.tick, offset)
  buffer.writeUInt32LE(value.answers, offset + 4)
  return buffer
}

export function decodeAnswerCount(buffer: Buffer, offset = 0): AnswerCount {
  return {
    tick: buffer.readUInt32LE(offset),
    answers: buffer.readUInt32LE(offset + 4),
  }
}

export const ANSWER_COUNT_LAYOUT: StructLayout = {
  name: 'answer_count',
  sizeBytes: 8,
  hash: 'ab602eb85738909d',
  fields: [
    { path: 'tick', bitOffset: 0, bits: 32, type: 'u32' },
    { path: 'answers', bitOffset: 32, bits: 32, type: 'u32' },
  ],
}

export const BACKEND_BYTES = 32

export interface Backend {
  readonly address: Uint8Array
  readonly port: number
  readonly protocol: number
  readonly state: number
  readonly flags: number
  readonly nexthopId: number
  readonly nodeId: number
}

export function encodeBackend(value: Backend, buffer: Buffer = Buffer.alloc(BACKEND_BYTES), offset = 0): Buffer {
  writeBytes(value.address, 16, 'Backend.address', buffer, offset)
  buffer.writeUInt16BE(value.port, offset + 16)
  buffer.writeUInt8(value.protocol, offset + 18)
  buffer.writeUInt8(value.state, offset + 19)
  buffer.writeUInt32LE(value.flags, offset + 20)
  buffer.writeUInt32LE(value.nexthopId, offset + 24)
  buffer.writeUInt32LE(value.nodeId, offset + 28)
  return buffer
}

export function decodeBackend(buffer: Buffer, offset = 0): Backend {
  return {
    address: readBytes(buffer, offset, 16),
    port: buffer.readUInt16BE(offset + 16),
    protocol: buffer.readUInt8(offset + 18),
    state: buffer.readUInt8(offset + 19),
    flags: buffer.readUInt32LE(offset + 20),
    nexthopId: buffer.readUInt32LE(offset + 24),
    nodeId: buffer.readUInt32LE(offset + 28),
  }
}

export const BACKEND_LAYOUT: StructLayout = {
  name: 'backend',
  sizeBytes: 32,
  hash: 'abccbea865899e64',
  fields: [
    { path: 'address', bitOffset: 0, bits: 128, type: 'struct' },
    { path: 'address.bytes', bitOffset: 0, bits: 128, type: 'u8[16]' },
    { path: 'port', bitOffset: 128, bits: 16, type: 'be16' },
    { path: 'protocol', bitOffset: 144, bits: 8, type: 'u8' },
    { path: 'state', bitOffset: 152, bits: 8, type: 'u8' },
    { path: 'flags', bitOffset: 160, bits: 32, type: 'u32' },
    { path: 'nexthop_id', bitOffset: 192, bits: 32, type: 'u32' },
    { path: 'node_id', bitOffset: 224, bits: 32, type: 'u32' },
  ],
}

export const BACKEND_KEY_BYTES = 20

export interface BackendKey {
  readonly address: Uint8Array
  readonly port: number
  readonly protocol: number
}

export function encodeBackendKey(value: BackendKey, buffer: Buffer = Buffer.alloc(BACKEND_KEY_BYTES), offset = 0): Buffer {
  buffer.fill(0, offset, offset + 20)
  writeBytes(value.address, 16, 'BackendKey.address', buffer, offset)
  buffer.writeUInt16BE(value.port, offset + 16)
  buffer.writeUInt8(value.protocol, offset + 18)
  return buffer
}

export function decodeBackendKey(buffer: Buffer, offset = 0): BackendKey {
  return {
    address: readBytes(buffer, offset, 16),
    port: buffer.readUInt16BE(offset + 16),
    protocol: buffer.readUInt8(offset + 18),
  }
}

export const BACKEND_KEY_LAYOUT: StructLayout = {
  name: 'backend_key',
  sizeBytes: 20,
  hash: '91f506afe7364427',
  fields: [
    { path: 'address', bitOffset: 0, bits: 128, type: 'struct' },
    { path: 'address.bytes', bitOffset: 0, bits: 128, type: 'u8[16]' },
    { path: 'port', bitOffset: 128, bits: 16, type: 'be16' },
    { path: 'protocol', bitOffset: 144, bits: 8, type: 'u8' },
    { path: 'pad0', bitOffset: 152, bits: 8, type: 'u8' },
  ],
}

export const BFD_KEY_BYTES = 20

export interface BfdKey {
  readonly peer: Uint8Array
  readonly ifindex: number
}

export function encodeBfdKey(value: BfdKey, buffer: Buffer = Buffer.alloc(BFD_KEY_BYTES), offset = 0): Buffer {
  writeBytes(value.peer, 16, 'BfdKey.peer', buffer, offset)
  buffer.writeUInt32LE(value.ifindex, offset + 16)
  return buffer
}

export function decodeBfdKey(buffer: Buffer, offset = 0): BfdKey {
  return {
    peer: readBytes(buffer, offset, 16),
    ifindex: buffer.readUInt32LE(offset + 16),
  }
}

export const BFD_KEY_LAYOUT: StructLayout = {
  name: 'bfd_key',
  sizeBytes: 20,
  hash: '73a2edfcc91b37a4',
  fields: [
    { path: 'peer', bitOffset: 0, bits: 128, type: 'struct' },
    { path: 'peer.bytes', bitOffset: 0, bits: 128, type: 'u8[16]' },
    { path: 'ifindex', bitOffset: 128, bits: 32, type: 'u32' },
  ],
}

export const BFD_SESSION_BYTES = 32

export interface BfdSession {
  readonly row: number
  readonly discriminator: number
  readonly intervalUs: number
  readonly multiplier: number
  readonly isAdminDown: number
  readonly governs: number
  readonly local: Uint8Array
}

export function encodeBfdSession(value: BfdSession, buffer: Buffer = Buffer.alloc(BFD_SESSION_BYTES), offset = 0): Buffer {
  buffer.fill(0, offset, offset + 32)
  buffer.writeUInt32LE(value.row, offset)
  buffer.writeUInt32LE(value.discriminator, offset + 4)
  buffer.writeUInt32LE(value.intervalUs, offset + 8)
  buffer.writeUInt8(value.multiplier, offset + 12)
  buffer.writeUInt8(value.isAdminDown, offset + 13)
  buffer.writeUInt8(value.governs, offset + 14)
  writeBytes(value.local, 16, 'BfdSession.local', buffer, offset + 16)
  return buffer
}

export function decodeBfdSession(buffer: Buffer, offset = 0): BfdSession {
  return {
    row: buffer.readUInt32LE(offset),
    discriminator: buffer.readUInt32LE(offset + 4),
    intervalUs: buffer.readUInt32LE(offset + 8),
    multiplier: buffer.readUInt8(offset + 12),
    isAdminDown: buffer.readUInt8(offset + 13),
    governs: buffer.readUInt8(offset + 14),
    local: readBytes(buffer, offset + 16, 16),
  }
}

export const BFD_SESSION_LAYOUT: StructLayout = {
  name: 'bfd_session',
  sizeBytes: 32,
  hash: 'f54f40227d739d1d',
  fields: [
    { path: 'row', bitOffset: 0, bits: 32, type: 'u32' },
    { path: 'discriminator', bitOffset: 32, bits: 32, type: 'u32' },
    { path: 'interval_us', bitOffset: 64, bits: 32, type: 'u32' },
    { path: 'multiplier', bitOffset: 96, bits: 8, type: 'u8' },
    { path: 'is_admin_down', bitOffset: 104, bits: 8, type: 'u8' },
    { path: 'governs', bitOffset: 112, bits: 8, type: 'u8' },
    { path: 'pad0', bitOffset: 120, bits: 8, type: 'u8' },
    { path: 'local', bitOffset: 128, bits: 128, type: 'struct' },
    { path: 'local.bytes', bitOffset: 128, bits: 128, type: 'u8[16]' },
  ],
}

export const BFD_STATE_BYTES = 112

export interface BfdState {
  readonly heardNs: bigint
  readonly answeredNs: bigint
  readonly changedNs: bigint
  readonly received: bigint
  readonly answered: bigint
  readonly refused: readonly number[]
  readonly ups: number
  readonly downs: number
  readonly detectionUs: number
  readonly remoteDiscriminator: number
  readonly remoteDesiredUs: number
  readonly remoteRequiredUs: number
  readonly toldDesiredUs: number
  readonly toldRequiredUs: number
  readonly requiredUs: number
  readonly ifindex: number
  readonly state: number
  readonly diagnostic: number
  readonly remoteState: number
  readonly remoteDiagnostic: number
  readonly remoteFlags: number
  readonly remoteMultiplier: number
  readonly isPolling: number
  readonly governs: number
}

export function encodeBfdState(value: BfdState, buffer: Buffer = Buffer.alloc(BFD_STATE_BYTES), offset = 0): Buffer {
  buffer.fill(0, offset, offset + 112)
  buffer.writeBigUInt64LE(value.heardNs, offset)
  buffer.writeBigUInt64LE(value.answeredNs, offset + 8)
  buffer.writeBigUInt64LE(value.changedNs, offset + 16)
  buffer.writeBigUInt64LE(value.received, offset + 24)
  buffer.writeBigUInt64LE(value.answered, offset + 32)
  checkCount(value.refused.length, 5, 'BfdState.refused')
  for (let i = 0; i < 5; i += 1) {
    buffer.writeUInt32LE((value.refused[i] as number), offset + 40 + i * 4)
  }
  buffer.writeUInt32LE(value.ups, offset + 60)
  buffer.writeUInt32LE(value.downs, offset + 64)
  buffer.writeUInt32LE(value.detectionUs, offset + 68)
  buffer.writeUInt32LE(value.remoteDiscriminator, offset + 72)
  buffer.writeUInt32LE(value.remoteDesiredUs, offset + 76)
  buffer.writeUInt32LE(value.remoteRequiredUs, offset + 80)
  buffer.writeUInt32LE(value.toldDesiredUs, offset + 84)
  buffer.writeUInt32LE(value.toldRequiredUs, offset + 88)
  buffer.writeUInt32LE(value.requiredUs, offset + 92)
  buffer.writeUInt32LE(value.ifindex, offset + 96)
  buffer.writeUInt8(value.state, offset + 100)
  buffer.writeUInt8(value.diagnostic, offset + 101)
  buffer.writeUInt8(value.remoteState, offset + 102)
  buffer.writeUInt8(value.remoteDiagnostic, offset + 103)
  buffer.writeUInt8(value.remoteFlags, offset + 104)
  buffer.writeUInt8(value.remoteMultiplier, offset + 105)
  buffer.writeUInt8(value.isPolling, offset + 106)
  buffer.writeUInt8(value.governs, offset + 107)
  return buffer
}

export function decodeBfdState(buffer: Buffer, offset = 0): BfdState {
  return {
    heardNs: buffer.readBigUInt64LE(offset),
    answeredNs: buffer.readBigUInt64LE(offset + 8),
    changedNs: buffer.readBigUInt64LE(offset + 16),
    received: buffer.readBigUInt64LE(offset + 24),
    answered: buffer.readBigUInt64LE(offset + 32),
    refused: [buffer.readUInt32LE(offset + 40), buffer.readUInt32LE(offset + 40 + 4), buffer.readUInt32LE(offset + 40 + 8), buffer.readUInt32LE(offset + 40 + 12), buffer.readUInt32LE(offset + 40 + 16)],
    ups: buffer.readUInt32LE(offset + 60),
    downs: buffer.readUInt32LE(offset + 64),
    detectionUs: buffer.readUInt32LE(offset + 68),
    remoteDiscriminator: buffer.readUInt32LE(offset + 72),
    remoteDesiredUs: buffer.readUInt32LE(offset + 76),
    remoteRequiredUs: buffer.readUInt32LE(offset + 80),
    toldDesiredUs: buffer.readUInt32LE(offset + 84),
    toldRequiredUs: buffer.readUInt32LE(offset + 88),
    requiredUs: buffer.readUInt32LE(offset + 92),
    ifindex: buffer.readUInt32LE(offset + 96),
    state: buffer.readUInt8(offset + 100),
    diagnostic: buffer.readUInt8(offset + 101),
    remoteState: buffer.readUInt8(offset + 102),
    remoteDiagnostic: buffer.readUInt8(offset + 103),
    remoteFlags: buffer.readUInt8(offset + 104),
    remoteMultiplier: buffer.readUInt8(offset + 105),
    isPolling: buffer.readUInt8(offset + 106),
    governs: buffer.readUInt8(offset + 107),
  }
}

export const BFD_STATE_LAYOUT: StructLayout = {
  name: 'bfd_state',
  sizeBytes: 112,
  hash: 'ca212e0bcc189970',
  fields: [
    { path: 'heard_ns', bitOffset: 0, bits: 64, type: 'u64' },
    { path: 'answered_ns', bitOffset: 64, bits: 64, type: 'u64' },
    { path: 'changed_ns', bitOffset: 128, bits: 64, type: 'u64' },
    { path: 'received', bitOffset: 192, bits: 64, type: 'u64' },
    { path: 'answered', bitOffset: 256, bits: 64, type: 'u64' },
    { path: 'refused', bitOffset: 320, bits: 160, type: 'u32[5]' },
    { path: 'ups', bitOffset: 480, bits: 32, type: 'u32' },
    { path: 'downs', bitOffset: 512, bits: 32, type: 'u32' },
    { path: 'detection_us', bitOffset: 544, bits: 32, type: 'u32' },
    { path: 'remote_discriminator', bitOffset: 576, bits: 32, type: 'u32' },
    { path: 'remote_desired_us', bitOffset: 608, bits: 32, type: 'u32' },
    { path: 'remote_required_us', bitOffset: 640, bits: 32, type: 'u32' },
    { path: 'told_desired_us', bitOffset: 672, bits: 32, type: 'u32' },
    { path: 'told_required_us', bitOffset: 704, bits: 32, type: 'u32' },
    { path: 'required_us', bitOffset: 736, bits: 32, type: 'u32' },
    { path: 'ifindex', bitOffset: 768, bits: 32, type: 'u32' },
    { path: 'state', bitOffset: 800, bits: 8, type: 'u8' },
    { path: 'diagnostic', bitOffset: 808, bits: 8, type: 'u8' },
    { path: 'remote_state', bitOffset: 816, bits: 8, type: 'u8' },
    { path: 'remote_diagnostic', bitOffset: 824, bits: 8, type: 'u8' },
    { path: 'remote_flags', bitOffset: 832, bits: 8, type: 'u8' },
    { path: 'remote_multiplier', bitOffset: 840, bits: 8, type: 'u8' },
    { path: 'is_polling', bitOffset: 848, bits: 8, type: 'u8' },
    { path: 'governs', bitOffset: 856, bits: 8, type: 'u8' },
  ],
}

export const CIDR_KEY_BYTES = 20

export interface CidrKey {
  readonly prefixBits: number
  readonly address: Uint8Array
}

export function encodeCidrKey(value: CidrKey, buffer: Buffer = Buffer.alloc(CIDR_KEY_BYTES), offset = 0): Buffer {
  buffer.writeUInt32LE(value.prefixBits, offset)
  writeBytes(value.address, 16, 'CidrKey.address', buffer, offset + 4)
  return buffer
}

export function decodeCidrKey(buffer: Buffer, offset = 0): CidrKey {
  return {
    prefixBits: buffer.readUInt32LE(offset),
    address: readBytes(buffer, offset + 4, 16),
  }
}

export const CIDR_KEY_LAYOUT: StructLayout = {
  name: 'cidr_key',
  sizeBytes: 20,
  hash: '3a65cdf4a57ba49e',
  fields: [
    { path: 'prefix_bits', bitOffset: 0, bits: 32, type: 'u32' },
    { path: 'address', bitOffset: 32, bits: 128, type: 'struct' },
    { path: 'address.bytes', bitOffset: 32, bits: 128, type: 'u8[16]' },
  ],
}

export const DSR_OPTION_BYTES = 40

export interface DsrOption {
  readonly optionClass: number
  readonly type: number
  readonly length: number
  readonly backend: Uint8Array
  readonly backendPort: number
  readonly secondPort: number
  readonly second: Uint8Array
}

export function encodeDsrOption(value: DsrOption, buffer: Buffer = Buffer.alloc(DSR_OPTION_BYTES), offset = 0): Buffer {
  buffer.writeUInt16BE(value.optionClass, offset)
  buffer.writeUInt8(value.type, offset + 2)
  buffer.writeUInt8(value.length, offset + 3)
  writeBytes(value.backend, 16, 'DsrOption.backend', buffer, offset + 4)
  buffer.writeUInt16BE(value.backendPort, offset + 20)
  buffer.writeUInt16BE(value.secondPort, offset + 22)
  writeBytes(value.second, 16, 'DsrOption.second', buffer, offset + 24)
  return buffer
}

export function decodeDsrOption(buffer: Buffer, offset = 0): DsrOption {
  return {
    optionClass: buffer.readUInt16BE(offset),
    type: buffer.readUInt8(offset + 2),
    length: buffer.readUInt8(offset + 3),
    backend: readBytes(buffer, offset + 4, 16),
    backendPort: buffer.readUInt16BE(offset + 20),
    secondPort: buffer.readUInt16BE(offset + 22),
    second: readBytes(buffer, offset + 24, 16),
  }
}

export const DSR_OPTION_LAYOUT: StructLayout = {
  name: 'dsr_option',
  sizeBytes: 40,
  hash: '8dcccc08f23f641d',
  fields: [
    { path: 'option_class', bitOffset: 0, bits: 16, type: 'be16' },
    { path: 'type', bitOffset: 16, bits: 8, type: 'u8' },
    { path: 'length', bitOffset: 24, bits: 8, type: 'u8' },
    { path: 'backend', bitOffset: 32, bits: 128, type: 'struct' },
    { path: 'backend.bytes', bitOffset: 32, bits: 128, type: 'u8[16]' },
    { path: 'backend_port', bitOffset: 160, bits: 16, type: 'be16' },
    { path: 'second_port', bitOffset: 176, bits: 16, type: 'be16' },
    { path: 'second', bitOffset: 192, bits: 128, type: 'struct' },
    { path: 'second.bytes', bitOffset: 192, bits: 128, type: 'u8[16]' },
  ],
}

export const ENDPOINT_BYTES = 20

export interface Endpoint {
  readonly ifindex: number
  readonly nexthopId: number
  readonly pod: Uint8Array
  readonly host: Uint8Array
}

export function encodeEndpoint(value: Endpoint, buffer: Buffer = Buffer.alloc(ENDPOINT_BYTES), offset = 0): Buffer {
  buffer.writeUInt32LE(value.ifindex, offset)
  buffer.writeUInt32LE(value.nexthopId, offset + 4)
  writeBytes(value.pod, 6, 'Endpoint.pod', buffer, offset + 8)
  writeBytes(value.host, 6, 'Endpoint.host', buffer, offset + 14)
  return buffer
}

export function decodeEndpoint(buffer: Buffer, offset = 0): Endpoint {
  return {
    ifindex: buffer.readUInt32LE(offset),
    nexthopId: buffer.readUInt32LE(offset + 4),
    pod: readBytes(buffer, offset + 8, 6),
    host: readBytes(buffer, offset + 14, 6),
  }
}

export const ENDPOINT_LAYOUT: StructLayout = {
  name: 'endpoint',
  sizeBytes: 20,
  hash: '687dccb4dfe84ba9',
  fields: [
    { path: 'ifindex', bitOffset: 0, bits: 32, type: 'u32' },
    { path: 'nexthop_id', bitOffset: 32, bits: 32, type: 'u32' },
    { path: 'pod', bitOffset: 64, bits: 48, type: 'struct' },
    { path: 'pod.bytes', bitOffset: 64, bits: 48, type: 'u8[6]' },
    { path: 'host', bitOffset: 112, bits: 48, type: 'struct' },
    { path: 'host.bytes', bitOffset: 112, bits: 48, type: 'u8[6]' },
  ],
}

export const FLOW_BYTES = 32

export interface Flow {
  readonly word: bigint
  readonly key: readonly number[]
  readonly index: number
  readonly kind: number
  readonly flags: number
  readonly snatPort: number
}

export function encodeFlow(value: Flow, buffer: Buffer = Buffer.alloc(FLOW_BYTES), offset = 0): Buffer {
  buffer.writeBigUInt64LE(value.word, offset)
  checkCount(value.key.length, 4, 'Flow.key')
  for (let i = 0; i < 4; i += 1) {
    buffer.writeUInt32LE((value.key[i] as number), offset + 8 + i * 4)
  }
  buffer.writeUInt32LE(value.index, offset + 24)
  buffer.writeUInt8(value.kind, offset + 28)
  buffer.writeUInt8(value.flags, offset + 29)
  buffer.writeUInt16BE(value.snatPort, offset + 30)
  return buffer
}

export function decodeFlow(buffer: Buffer, offset = 0): Flow {
  return {
    word: buffer.readBigUInt64LE(offset),
    key: [buffer.readUInt32LE(offset + 8), buffer.readUInt32LE(offset + 8 + 4), buffer.readUInt32LE(offset + 8 + 8), buffer.readUInt32LE(offset + 8 + 12)],
    index: buffer.readUInt32LE(offset + 24),
    kind: buffer.readUInt8(offset + 28),
    flags: buffer.readUInt8(offset + 29),
    snatPort: buffer.readUInt16BE(offset + 30),
  }
}

export const FLOW_LAYOUT: StructLayout = {
  name: 'flow',
  sizeBytes: 32,
  hash: '0a8cdd59500f34cd',
  fields: [
    { path: 'word', bitOffset: 0, bits: 64, type: 'u64' },
    { path: 'key', bitOffset: 64, bits: 128, type: 'u32[4]' },
    { path: 'index', bitOffset: 192, bits: 32, type: 'u32' },
    { path: 'kind', bitOffset: 224, bits: 8, type: 'u8' },
    { path: 'flags', bitOffset: 232, bits: 8, type: 'u8' },
    { path: 'snat_port', bitOffset: 240, bits: 16, type: 'be16' },
  ],
}

export const FLOW_DETAIL_BYTES = 24

export interface FlowDetail {
  readonly client: Uint8Array
  readonly clientPort: number
  readonly protocol: number
  readonly ifindexHigh: number
  readonly frontendId: number
}

export function encodeFlowDetail(value: FlowDetail, buffer: Buffer = Buffer.alloc(FLOW_DETAIL_BYTES), offset = 0): Buffer {
  writeBytes(value.client, 16, 'FlowDetail.client', buffer, offset)
  buffer.writeUInt16BE(value.clientPort, offset + 16)
  buffer.writeUInt8(value.protocol, offset + 18)
  buffer.writeUInt8(value.ifindexHigh, offset + 19)
  buffer.writeUInt32LE(value.frontendId, offset + 20)
  return buffer
}

export function decodeFlowDetail(buffer: Buffer, offset = 0): FlowDetail {
  return {
    client: readBytes(buffer, offset, 16),
    clientPort: buffer.readUInt16BE(offset + 16),
    protocol: buffer.readUInt8(offset + 18),
    ifindexHigh: buffer.readUInt8(offset + 19),
    frontendId: buffer.readUInt32LE(offset + 20),
  }
}

export const FLOW_DETAIL_LAYOUT: StructLayout = {
  name: 'flow_detail',
  sizeBytes: 24,
  hash: 'f08ff33a92b05374',
  fields: [
    { path: 'client', bitOffset: 0, bits: 128, type: 'struct' },
    { path: 'client.bytes', bitOffset: 0, bits: 128, type: 'u8[16]' },
    { path: 'client_port', bitOffset: 128, bits: 16, type: 'be16' },
    { path: 'protocol', bitOffset: 144, bits: 8, type: 'u8' },
    { path: 'ifindex_high', bitOffset: 152, bits: 8, type: 'u8' },
    { path: 'frontend_id', bitOffset: 160, bits: 32, type: 'u32' },
  ],
}

export const FLOW_DETAIL_SET_BYTES = 96

export interface FlowDetailSet {
  readonly ways: readonly FlowDetail[]
}

export function encodeFlowDetailSet(value: FlowDetailSet, buffer: Buffer = Buffer.alloc(FLOW_DETAIL_SET_BYTES), offset = 0): Buffer {
  checkCount(value.ways.length, 4, 'FlowDetailSet.ways')
  for (let i = 0; i < 4; i += 1) {
    encodeFlowDetail((value.ways[i] as FlowDetail), buffer, offset + i * 24)
  }
  return buffer
}

export function decodeFlowDetailSet(buffer: Buffer, offset = 0): FlowDetailSet {
  return {
    ways: [decodeFlowDetail(buffer, offset), decodeFlowDetail(buffer, offset + 24), decodeFlowDetail(buffer, offset + 48), decodeFlowDetail(buffer, offset + 72)],
  }
}

export const FLOW_DETAIL_SET_LAYOUT: StructLayout = {
  name: 'flow_detail_set',
  sizeBytes: 96,
  hash: '720371d133454226',
  fields: [
    { path: 'ways', bitOffset: 0, bits: 768, type: 'struct[4]' },
    { path: 'ways[0].client', bitOffset: 0, bits: 128, type: 'struct' },
    { path: 'ways[0].client.bytes', bitOffset: 0, bits: 128, type: 'u8[16]' },
    { path: 'ways[0].client_port', bitOffset: 128, bits: 16, type: 'be16' },
    { path: 'ways[0].protocol', bitOffset: 144, bits: 8, type: 'u8' },
    { path: 'ways[0].ifindex_high', bitOffset: 152, bits: 8, type: 'u8' },
    { path: 'ways[0].frontend_id', bitOffset: 160, bits: 32, type: 'u32' },
  ],
}

export const FLOW_SET_BYTES = 128

export interface FlowSet {
  readonly ways: readonly Flow[]
}

export function encodeFlowSet(value: FlowSet, buffer: Buffer = Buffer.alloc(FLOW_SET_BYTES), offset = 0): Buffer {
  checkCount(value.ways.length, 4, 'FlowSet.ways')
  for (let i = 0; i < 4; i += 1) {
    encodeFlow((value.ways[i] as Flow), buffer, offset + i * 32)
  }
  return buffer
}

export function decodeFlowSet(buffer: Buffer, offset = 0): FlowSet {
  return {
    ways: [decodeFlow(buffer, offset), decodeFlow(buffer, offset + 32), decodeFlow(buffer, offset + 64), decodeFlow(buffer, offset + 96)],
  }
}

export const FLOW_SET_LAYOUT: StructLayout = {
  name: 'flow_set',
  sizeBytes: 128,
  hash: 'a9a1e8ba1bd0240e',
  fields: [
    { path: 'ways', bitOffset: 0, bits: 1024, type: 'struct[4]' },
    { path: 'ways[0].word', bitOffset: 0, bits: 64, type: 'u64' },
    { path: 'ways[0].key', bitOffset: 64, bits: 128, type: 'u32[4]' },
    { path: 'ways[0].index', bitOffset: 192, bits: 32, type: 'u32' },
    { path: 'ways[0].kind', bitOffset: 224, bits: 8, type: 'u8' },
    { path: 'ways[0].flags', bitOffset: 232, bits: 8, type: 'u8' },
    { path: 'ways[0].snat_port', bitOffset: 240, bits: 16, type: 'be16' },
  ],
}

export const FRAGMENT_KEY_BYTES = 40

export interface FragmentKey {
  readonly source: Uint8Array
  readonly destination: Uint8Array
  readonly identification: number
  readonly protocol: number
}

export function encodeFragmentKey(value: FragmentKey, buffer: Buffer = Buffer.alloc(FRAGMENT_KEY_BYTES), offset = 0): Buffer {
  writeBytes(value.source, 16, 'FragmentKey.source', buffer, offset)
  writeBytes(value.destination, 16, 'FragmentKey.destination', buffer, offset + 16)
  buffer.writeUInt32BE(value.identification, offset + 32)
  buffer.writeUInt32LE(value.protocol, offset + 36)
  return buffer
}

export function decodeFragmentKey(buffer: Buffer, offset = 0): FragmentKey {
  return {
    source: readBytes(buffer, offset, 16),
    destination: readBytes(buffer, offset + 16, 16),
    identification: buffer.readUInt32BE(offset + 32),
    protocol: buffer.readUInt32LE(offset + 36),
  }
}

export const FRAGMENT_KEY_LAYOUT: StructLayout = {
  name: 'fragment_key',
  sizeBytes: 40,
  hash: '7dc18014e358bb72',
  fields: [
    { path: 'source', bitOffset: 0, bits: 128, type: 'struct' },
    { path: 'source.bytes', bitOffset: 0, bits: 128, type: 'u8[16]' },
    { path: 'destination', bitOffset: 128, bits: 128, type: 'struct' },
    { path: 'destination.bytes', bitOffset: 128, bits: 128, type: 'u8[16]' },
    { path: 'identification', bitOffset: 256, bits: 32, type: 'be32' },
    { path: 'protocol', bitOffset: 288, bits: 32, type: 'u32' },
  ],
}

export const FRAGMENT_PORTS_BYTES = 4

export interface FragmentPorts {
  readonly sourcePort: number
  readonly destinationPort: number
}

export function encodeFragmentPorts(value: FragmentPorts, buffer: Buffer = Buffer.alloc(FRAGMENT_PORTS_BYTES), offset = 0): Buffer {
  buffer.writeUInt16BE(value.sourcePort, offset)
  buffer.writeUInt16BE(value.destinationPort, offset + 2)
  return buffer
}

export function decodeFragmentPorts(buffer: Buffer, offset = 0): FragmentPorts {
  return {
    sourcePort: buffer.readUInt16BE(offset),
    destinationPort: buffer.readUInt16BE(offset + 2),
  }
}

export const FRAGMENT_PORTS_LAYOUT: StructLayout = {
  name: 'fragment_ports',
  sizeBytes: 4,
  hash: 'ddb1715e6ab94925',
  fields: [
    { path: 'source_port', bitOffset: 0, bits: 16, type: 'be16' },
    { path: 'destination_port', bitOffset: 16, bits: 16, type: 'be16' },
  ],
}

export const FRONTEND_BYTES = 56

export interface Frontend {
  readonly frontendId: number
  readonly serviceId: number
  readonly flags: number
  readonly affinityTicks: number
  readonly portId: number
  readonly cluster: SlotRange
  readonly clusterBefore: SlotRange
  readonly local: SlotRange
  readonly localBefore: SlotRange
}

export function encodeFrontend(value: Frontend, buffer: Buffer = Buffer.alloc(FRONTEND_BYTES), offset = 0): Buffer {
  buffer.fill(0, offset, offset + 56)
  buffer.writeUInt32LE(value.frontendId, offset)
  buffer.writeUInt32LE(value.serviceId, offset + 4)
  buffer.writeUInt32LE(value.flags, offset + 8)
  buffer.writeUInt32LE(value.affinityTicks, offset + 12)
  buffer.writeUInt32LE(value.portId, offset + 16)
  encodeSlotRange(value.cluster, buffer, offset + 24)
  encodeSlotRange(value.clusterBefore, buffer, offset + 32)
  encodeSlotRange(value.local, buffer, offset + 40)
  encodeSlotRange(value.localBefore, buffer, offset + 48)
  return buffer
}

export function decodeFrontend(buffer: Buffer, offset = 0): Frontend {
  return {
    frontendId: buffer.readUInt32LE(offset),
    serviceId: buffer.readUInt32LE(offset + 4),
    flags: buffer.readUInt32LE(offset + 8),
    affinityTicks: buffer.readUInt32LE(offset + 12),
    portId: buffer.readUInt32LE(offset + 16),
    cluster: decodeSlotRange(buffer, offset + 24),
    clusterBefore: decodeSlotRange(buffer, offset + 32),
    local: decodeSlotRange(buffer, offset + 40),
    localBefore: decodeSlotRange(buffer, offset + 48),
  }
}

export const FRONTEND_LAYOUT: StructLayout = {
  name: 'frontend',
  sizeBytes: 56,
  hash: 'afe870da8cb0fb91',
  fields: [
    { path: 'frontend_id', bitOffset: 0, bits: 32, type: 'u32' },
    { path: 'service_id', bitOffset: 32, bits: 32, type: 'u32' },
    { path: 'flags', bitOffset: 64, bits: 32, type: 'u32' },
    { path: 'affinity_ticks', bitOffset: 96, bits: 32, type: 'u32' },
    { path: 'port_id', bitOffset: 128, bits: 32, type: 'u32' },
    { path: 'pad0', bitOffset: 160, bits: 32, type: 'u32' },
    { path: 'cluster', bitOffset: 192, bits: 64, type: 'struct' },
    { path: 'cluster.base', bitOffset: 192, bits: 32, type: 'u32' },
    { path: 'cluster.size', bitOffset: 224, bits: 32, type: 'u32' },
    { path: 'cluster_before', bitOffset: 256, bits: 64, type: 'struct' },
    { path: 'cluster_before.base', bitOffset: 256, bits: 32, type: 'u32' },
    { path: 'cluster_before.size', bitOffset: 288, bits: 32, type: 'u32' },
    { path: 'local', bitOffset: 320, bits: 64, type: 'struct' },
    { path: 'local.base', bitOffset: 320, bits: 32, type: 'u32' },
    { path: 'local.size', bitOffset: 352, bits: 32, type: 'u32' },
    { path: 'local_before', bitOffset: 384, bits: 64, type: 'struct' },
    { path: 'local_before.base', bitOffset: 384, bits: 32, type: 'u32' },
    { path: 'local_before.size', bitOffset: 416, bits: 32, type: 'u32' },
  ],
}

export const FRONTEND_ADDRESS_BYTES = 24

export interface FrontendAddress {
  readonly address: Uint8Array
  readonly port: number
  readonly protocol: number
  readonly serviceId: number
}

export function encodeFrontendAddress(value: FrontendAddress, buffer: Buffer = Buffer.alloc(FRONTEND_ADDRESS_BYTES), offset = 0): Buffer {
  buffer.fill(0, offset, offset + 24)
  writeBytes(value.address, 16, 'FrontendAddress.address', buffer, offset)
  buffer.writeUInt16BE(value.port, offset + 16)
  buffer.writeUInt8(value.protocol, offset + 18)
  buffer.writeUInt32LE(value.serviceId, offset + 20)
  return buffer
}

export function decodeFrontendAddress(buffer: Buffer, offset = 0): FrontendAddress {
  return {
    address: readBytes(buffer, offset, 16),
    port: buffer.readUInt16BE(offset + 16),
    protocol: buffer.readUInt8(offset + 18),
    serviceId: buffer.readUInt32LE(offset + 20),
  }
}

export const FRONTEND_ADDRESS_LAYOUT: StructLayout = {
  name: 'frontend_address',
  sizeBytes: 24,
  hash: '7c758031b10f98db',
  fields: [
    { path: 'address', bitOffset: 0, bits: 128, type: 'struct' },
    { path: 'address.bytes', bitOffset: 0, bits: 128, type: 'u8[16]' },
    { path: 'port', bitOffset: 128, bits: 16, type: 'be16' },
    { path: 'protocol', bitOffset: 144, bits: 8, type: 'u8' },
    { path: 'pad0', bitOffset: 152, bits: 8, type: 'u8' },
    { path: 'service_id', bitOffset: 160, bits: 32, type: 'u32' },
  ],
}

export const FRONTEND_KEY_BYTES = 20

export interface FrontendKey {
  readonly address: Uint8Array
  readonly port: number
  readonly protocol: number
}

export function encodeFrontendKey(value: FrontendKey, buffer: Buffer = Buffer.alloc(FRONTEND_KEY_BYTES), offset = 0): Buffer {
  buffer.fill(0, offset, offset + 20)
  writeBytes(value.address, 16, 'FrontendKey.address', buffer, offset)
  buffer.writeUInt16BE(value.port, offset + 16)
  buffer.writeUInt8(value.protocol, offset + 18)
  return buffer
}

export function decodeFrontendKey(buffer: Buffer, offset = 0): FrontendKey {
  return {
    address: readBytes(buffer, offset, 16),
    port: buffer.readUInt16BE(offset + 16),
    protocol: buffer.readUInt8(offset + 18),
  }
}

export const FRONTEND_KEY_LAYOUT: StructLayout = {
  name: 'frontend_key',
  sizeBytes: 20,
  hash: '91f506afe7364427',
  fields: [
    { path: 'address', bitOffset: 0, bits: 128, type: 'struct' },
    { path: 'address.bytes', bitOffset: 0, bits: 128, type: 'u8[16]' },
    { path: 'port', bitOffset: 128, bits: 16, type: 'be16' },
    { path: 'protocol', bitOffset: 144, bits: 8, type: 'u8' },
    { path: 'pad0', bitOffset: 152, bits: 8, type: 'u8' },
  ],
}

export const HASH_KEY_BYTES = 48

export interface HashKey {
  readonly words: readonly number[]
}

export function encodeHashKey(value: HashKey, buffer: Buffer = Buffer.alloc(HASH_KEY_BYTES), offset = 0): Buffer {
  checkCount(value.words.length, 12, 'HashKey.words')
  for (let i = 0; i < 12; i += 1) {
    buffer.writeUInt32LE((value.words[i] as number), offset + i * 4)
  }
  return buffer
}

export function decodeHashKey(buffer: Buffer, offset = 0): HashKey {
  return {
    words: Array.from({ length: 12 }, (_, i) => buffer.readUInt32LE(offset + i * 4)),
  }
}

export const HASH_KEY_LAYOUT: StructLayout = {
  name: 'hash_key',
  sizeBytes: 48,
  hash: '510b0c9bdfac64aa',
  fields: [
    { path: 'words', bitOffset: 0, bits: 384, type: 'u32[12]' },
  ],
}

export const IDENTITY_BYTES = 8

export interface Identity {
  readonly number: number
  readonly scope: number
}

export function encodeIdentity(value: Identity, buffer: Buffer = Buffer.alloc(IDENTITY_BYTES), offset = 0): Buffer {
  buffer.writeUInt32LE(value.number, offset)
  buffer.writeUInt32LE(value.scope, offset + 4)
  return buffer
}

export function decodeIdentity(buffer: Buffer, offset = 0): Identity {
  return {
    number: buffer.readUInt32LE(offset),
    scope: buffer.readUInt32LE(offset + 4),
  }
}

export const IDENTITY_LAYOUT: StructLayout = {
  name: 'identity',
  sizeBytes: 8,
  hash: '35480b0847e0a8b4',
  fields: [
    { path: 'number', bitOffset: 0, bits: 32, type: 'u32' },
    { path: 'scope', bitOffset: 32, bits: 32, type: 'u32' },
  ],
}

export const MAC_ADDRESS_BYTES = 6

export type MacAddress = Uint8Array

export function encodeMacAddress(value: MacAddress, buffer: Buffer = Buffer.alloc(MAC_ADDRESS_BYTES), offset = 0): Buffer {
  writeBytes(value, 6, 'MacAddress', buffer, offset)
  return buffer
}

export function decodeMacAddress(buffer: Buffer, offset = 0): MacAddress {
  return readBytes(buffer, offset, 6)
}

export const MAC_ADDRESS_LAYOUT: StructLayout = {
  name: 'mac_address',
  sizeBytes: 6,
  hash: '3ea6297c752f1c13',
  fields: [
    { path: 'bytes', bitOffset: 0, bits: 48, type: 'u8[6]' },
  ],
}

export const METRIC_BYTES = 16

export interface Metric {
  readonly packets: bigint
  readonly bytes: bigint
}

export function encodeMetric(value: Metric, buffer: Buffer = Buffer.alloc(METRIC_BYTES), offset = 0): Buffer {
  buffer.writeBigUInt64LE(value.packets, offset)
  buffer.writeBigUInt64LE(value.bytes, offset + 8)
  return buffer
}

export function decodeMetric(buffer: Buffer, offset = 0): Metric {
  return {
    packets: buffer.readBigUInt64LE(offset),
    bytes: buffer.readBigUInt64LE(offset + 8),
  }
}

export const METRIC_LAYOUT: StructLayout = {
  name: 'metric',
  sizeBytes: 16,
  hash: 'c67f39083cef9720',
  fields: [
    { path: 'packets', bitOffset: 0, bits: 64, type: 'u64' },
    { path: 'bytes', bitOffset: 64, bits: 64, type: 'u64' },
  ],
}

export const NETNS_ENDPOINT_BYTES = 32

export interface NetnsEndpoint {
  readonly ipv4: Uint8Array
  readonly ipv6: Uint8Array
}

export function encodeNetnsEndpoint(value: NetnsEndpoint, buffer: Buffer = Buffer.alloc(NETNS_ENDPOINT_BYTES), offset = 0): Buffer {
  writeBytes(value.ipv4, 16, 'NetnsEndpoint.ipv4', buffer, offset)
  writeBytes(value.ipv6, 16, 'NetnsEndpoint.ipv6', buffer, offset + 16)
  return buffer
}

export function decodeNetnsEndpoint(buffer: Buffer, offset = 0): NetnsEndpoint {
  return {
    ipv4: readBytes(buffer, offset, 16),
    ipv6: readBytes(buffer, offset + 16, 16),
  }
}

export const NETNS_ENDPOINT_LAYOUT: StructLayout = {
  name: 'netns_endpoint',
  sizeBytes: 32,
  hash: '03a9c8c214a276e2',
  fields: [
    { path: 'ipv4', bitOffset: 0, bits: 128, type: 'struct' },
    { path: 'ipv4.bytes', bitOffset: 0, bits: 128, type: 'u8[16]' },
    { path: 'ipv6', bitOffset: 128, bits: 128, type: 'struct' },
    { path: 'ipv6.bytes', bitOffset: 128, bits: 128, type: 'u8[16]' },
  ],
}

export const NEXTHOP_BYTES = 96

export interface Nexthop {
  readonly kind: number
  readonly flags: number
  readonly memberCount: number
  readonly membersDown: number
  readonly via: number
  readonly mtu: number
  readonly remote: Uint8Array
  readonly members: readonly NexthopMember[]
}

export function encodeNexthop(value: Nexthop, buffer: Buffer = Buffer.alloc(NEXTHOP_BYTES), offset = 0): Buffer {
  buffer.fill(0, offset, offset + 96)
  buffer.writeUInt8(value.kind, offset)
  buffer.writeUInt8(value.flags, offset + 1)
  buffer.writeUInt8(value.memberCount, offset + 2)
  buffer.writeUInt32LE(value.membersDown, offset + 4)
  buffer.writeUInt32LE(value.via, offset + 8)
  buffer.writeUInt32LE(value.mtu, offset + 12)
  writeBytes(value.remote, 16, 'Nexthop.remote', buffer, offset + 16)
  checkCount(value.members.length, 4, 'Nexthop.members')
  for (let i = 0; i < 4; i += 1) {
    encodeNexthopMember((value.members[i] as NexthopMember), buffer, offset + 32 + i * 16)
  }
  return buffer
}

export function decodeNexthop(buffer: Buffer, offset = 0): Nexthop {
  return {
    kind: buffer.readUInt8(offset),
    flags: buffer.readUInt8(offset + 1),
    memberCount: buffer.readUInt8(offset + 2),
    membersDown: buffer.readUInt32LE(offset + 4),
    via: buffer.readUInt32LE(offset + 8),
    mtu: buffer.readUInt32LE(offset + 12),
    remote: readBytes(buffer, offset + 16, 16),
    members: [decodeNexthopMember(buffer, offset + 32), decodeNexthopMember(buffer, offset + 32 + 16), decodeNexthopMember(buffer, offset + 32 + 32), decodeNexthopMember(buffer, offset + 32 + 48)],
  }
}

export const NEXTHOP_LAYOUT: StructLayout = {
  name: 'nexthop',
  sizeBytes: 96,
  hash: 'a3b8a2c8f4ab3ae0',
  fields: [
    { path: 'kind', bitOffset: 0, bits: 8, type: 'u8' },
    { path: 'flags', bitOffset: 8, bits: 8, type: 'u8' },
    { path: 'member_count', bitOffset: 16, bits: 8, type: 'u8' },
    { path: 'pad0', bitOffset: 24, bits: 8, type: 'u8' },
    { path: 'members_down', bitOffset: 32, bits: 32, type: 'u32' },
    { path: 'via', bitOffset: 64, bits: 32, type: 'u32' },
    { path: 'mtu', bitOffset: 96, bits: 32, type: 'u32' },
    { path: 'remote', bitOffset: 128, bits: 128, type: 'struct' },
    { path: 'remote.bytes', bitOffset: 128, bits: 128, type: 'u8[16]' },
    { path: 'members', bitOffset: 256, bits: 512, type: 'struct[4]' },
    { path: 'members[0].ifindex', bitOffset: 256, bits: 32, type: 'u32' },
    { path: 'members[0].destination', bitOffset: 288, bits: 48, type: 'struct' },
    { path: 'members[0].destination.bytes', bitOffset: 288, bits: 48, type: 'u8[6]' },
    { path: 'members[0].source', bitOffset: 336, bits: 48, type: 'struct' },
    { path: 'members[0].source.bytes', bitOffset: 336, bits: 48, type: 'u8[6]' },
  ],
}

export const NEXTHOP_MEMBER_BYTES = 16

export interface NexthopMember {
  readonly ifindex: number
  readonly destination: Uint8Array
  readonly source: Uint8Array
}

export function encodeNexthopMember(value: NexthopMember, buffer: Buffer = Buffer.alloc(NEXTHOP_MEMBER_BYTES), offset = 0): Buffer {
  buffer.writeUInt32LE(value.ifindex, offset)
  writeBytes(value.destination, 6, 'NexthopMember.destination', buffer, offset + 4)
  writeBytes(value.source, 6, 'NexthopMember.source', buffer, offset + 10)
  return buffer
}

export function decodeNexthopMember(buffer: Buffer, offset = 0): NexthopMember {
  return {
    ifindex: buffer.readUInt32LE(offset),
    destination: readBytes(buffer, offset + 4, 6),
    source: readBytes(buffer, offset + 10, 6),
  }
}

export const NEXTHOP_MEMBER_LAYOUT: StructLayout = {
  name: 'nexthop_member',
  sizeBytes: 16,
  hash: 'b9a54dd83aecb74b',
  fields: [
    { path: 'ifindex', bitOffset: 0, bits: 32, type: 'u32' },
    { path: 'destination', bitOffset: 32, bits: 48, type: 'struct' },
    { path: 'destination.bytes', bitOffset: 32, bits: 48, type: 'u8[6]' },
    { path: 'source', bitOffset: 80, bits: 48, type: 'struct' },
    { path: 'source.bytes', bitOffset: 80, bits: 48, type: 'u8[6]' },
  ],
}

export const NODE_BYTES = 8

export interface Node {
  readonly nodeId: number
  readonly nexthopId: number
}

export function encodeNode(value: Node, buffer: Buffer = Buffer.alloc(NODE_BYTES), offset = 0): Buffer {
  buffer.writeUInt32LE(value.nodeId, offset)
  buffer.writeUInt32LE(value.nexthopId, offset + 4)
  return buffer
}

export function decodeNode(buffer: Buffer, offset = 0): Node {
  return {
    nodeId: buffer.readUInt32LE(offset),
    nexthopId: buffer.readUInt32LE(offset + 4),
  }
}

export const NODE_LAYOUT: StructLayout = {
  name: 'node',
  sizeBytes: 8,
  hash: '6ddf9f7465567111',
  fields: [
    { path: 'node_id', bitOffset: 0, bits: 32, type: 'u32' },
    { path: 'nexthop_id', bitOffset: 32, bits: 32, type: 'u32' },
  ],
}

export const NODE_CONFIG_BYTES = 192

export interface NodeConfig {
  readonly tunnelIpv4: Uint8Array
  readonly tunnelIpv6: Uint8Array
  readonly hostNetnsCookie: bigint
  readonly flowSecret: readonly bigint[]
  readonly flowKeys: readonly HashKey[]
  readonly nodeId: number
  readonly tickShift: number
  readonly flowSetMask: number
  readonly redirectsOnly: number
  readonly snatPortFirst: number
  readonly snatPortLast: number
  readonly mssIpv4: number
  readonly mssIpv6: number
  readonly masqueradePortFirst: number
  readonly masqueradePortLast: number
  readonly tunnelKind: number
  readonly perPacket: number
  readonly enforcesPolicy: number
  readonly kernelSocketBit: number
}

export function encodeNodeConfig(value: NodeConfig, buffer: Buffer = Buffer.alloc(NODE_CONFIG_BYTES), offset = 0): Buffer {
  buffer.fill(0, offset, offset + 192)
  writeBytes(value.tunnelIpv4, 16, 'NodeConfig.tunnelIpv4', buffer, offset)
  writeBytes(value.tunnelIpv6, 16, 'NodeConfig.tunnelIpv6', buffer, offset + 16)
  buffer.writeBigUInt64LE(value.hostNetnsCookie, offset + 32)
  checkCount(value.flowSecret.length, 2, 'NodeConfig.flowSecret')
  for (let i = 0; i < 2; i += 1) {
    buffer.writeBigUInt64LE((value.flowSecret[i] as bigint), offset + 40 + i * 8)
  }
  checkCount(value.flowKeys.length, 2, 'NodeConfig.flowKeys')
  for (let i = 0; i < 2; i += 1) {
    encodeHashKey((value.flowKeys[i] as HashKey), buffer, offset + 56 + i * 48)
  }
  buffer.writeUInt32LE(value.nodeId, offset + 152)
  buffer.writeUInt32LE(value.tickShift, offset + 156)
  buffer.writeUInt32LE(value.flowSetMask, offset + 160)
  buffer.writeUInt32LE(value.redirectsOnly, offset + 164)
  buffer.writeUInt16LE(value.snatPortFirst, offset + 168)
  buffer.writeUInt16LE(value.snatPortLast, offset + 170)
  buffer.writeUInt16LE(value.mssIpv4, offset + 172)
  buffer.writeUInt16LE(value.mssIpv6, offset + 174)
  buffer.writeUInt16LE(value.masqueradePortFirst, offset + 176)
  buffer.writeUInt16LE(value.masqueradePortLast, offset + 178)
  buffer.writeUInt8(value.tunnelKind, offset + 180)
  buffer.writeUInt8(value.perPacket, offset + 181)
  buffer.writeUInt8(value.enforcesPolicy, offset + 182)
  buffer.writeUInt32LE(value.kernelSocketBit, offset + 184)
  return buffer
}

export function decodeNodeConfig(buffer: Buffer, offset = 0): NodeConfig {
  return {
    tunnelIpv4: readBytes(buffer, offset, 16),
    tunnelIpv6: readBytes(buffer, offset + 16, 16),
    hostNetnsCookie: buffer.readBigUInt64LE(offset + 32),
    flowSecret: [buffer.readBigUInt64LE(offset + 40), buffer.readBigUInt64LE(offset + 40 + 8)],
    flowKeys: [decodeHashKey(buffer, offset + 56), decodeHashKey(buffer, offset + 56 + 48)],
    nodeId: buffer.readUInt32LE(offset + 152),
    tickShift: buffer.readUInt32LE(offset + 156),
    flowSetMask: buffer.readUInt32LE(offset + 160),
    redirectsOnly: buffer.readUInt32LE(offset + 164),
    snatPortFirst: buffer.readUInt16LE(offset + 168),
    snatPortLast: buffer.readUInt16LE(offset + 170),
    mssIpv4: buffer.readUInt16LE(offset + 172),
    mssIpv6: buffer.readUInt16LE(offset + 174),
    masqueradePortFirst: buffer.readUInt16LE(offset + 176),
    masqueradePortLast: buffer.readUInt16LE(offset + 178),
    tunnelKind: buffer.readUInt8(offset + 180),
    perPacket: buffer.readUInt8(offset + 181),
    enforcesPolicy: buffer.readUInt8(offset + 182),
    kernelSocketBit: buffer.readUInt32LE(offset + 184),
  }
}

export const NODE_CONFIG_LAYOUT: StructLayout = {
  name: 'node_config',
  sizeBytes: 192,
  hash: 'd37430a32427a231',
  fields: [
    { path: 'tunnel_ipv4', bitOffset: 0, bits: 128, type: 'struct' },
    { path: 'tunnel_ipv4.bytes', bitOffset: 0, bits: 128, type: 'u8[16]' },
    { path: 'tunnel_ipv6', bitOffset: 128, bits: 128, type: 'struct' },
    { path: 'tunnel_ipv6.bytes', bitOffset: 128, bits: 128, type: 'u8[16]' },
    { path: 'host_netns_cookie', bitOffset: 256, bits: 64, type: 'u64' },
    { path: 'flow_secret', bitOffset: 320, bits: 128, type: 'u64[2]' },
    { path: 'flow_keys', bitOffset: 448, bits: 768, type: 'struct[2]' },
    { path: 'flow_keys[0].words', bitOffset: 448, bits: 384, type: 'u32[12]' },
    { path: 'node_id', bitOffset: 1216, bits: 32, type: 'u32' },
    { path: 'tick_shift', bitOffset: 1248, bits: 32, type: 'u32' },
    { path: 'flow_set_mask', bitOffset: 1280, bits: 32, type: 'u32' },
    { path: 'redirects_only', bitOffset: 1312, bits: 32, type: 'u32' },
    { path: 'snat_port_first', bitOffset: 1344, bits: 16, type: 'u16' },
    { path: 'snat_port_last', bitOffset: 1360, bits: 16, type: 'u16' },
    { path: 'mss_ipv4', bitOffset: 1376, bits: 16, type: 'u16' },
    { path: 'mss_ipv6', bitOffset: 1392, bits: 16, type: 'u16' },
    { path: 'masquerade_port_first', bitOffset: 1408, bits: 16, type: 'u16' },
    { path: 'masquerade_port_last', bitOffset: 1424, bits: 16, type: 'u16' },
    { path: 'tunnel_kind', bitOffset: 1440, bits: 8, type: 'u8' },
    { path: 'per_packet', bitOffset: 1448, bits: 8, type: 'u8' },
    { path: 'enforces_policy', bitOffset: 1456, bits: 8, type: 'u8' },
    { path: 'pad0', bitOffset: 1464, bits: 8, type: 'u8' },
    { path: 'kernel_socket_bit', bitOffset: 1472, bits: 32, type: 'u32' },
    { path: 'pad1', bitOffset: 1504, bits: 32, type: 'u32' },
  ],
}

export const NOTED_NETNS_BYTES = 16

export interface NotedNetns {
  readonly belowRoot: bigint
  readonly belowThat: bigint
}

export function encodeNotedNetns(value: NotedNetns, buffer: Buffer = Buffer.alloc(NOTED_NETNS_BYTES), offset = 0): Buffer {
  buffer.writeBigUInt64LE(value.belowRoot, offset)
  buffer.writeBigUInt64LE(value.belowThat, offset + 8)
  return buffer
}

export function decodeNotedNetns(buffer: Buffer, offset = 0): NotedNetns {
  return {
    belowRoot: buffer.readBigUInt64LE(offset),
    belowThat: buffer.readBigUInt64LE(offset + 8),
  }
}

export const NOTED_NETNS_LAYOUT: StructLayout = {
  name: 'noted_netns',
  sizeBytes: 16,
  hash: 'ceb1cd5ef8a3e968',
  fields: [
    { path: 'below_root', bitOffset: 0, bits: 64, type: 'u64' },
    { path: 'below_that', bitOffset: 64, bits: 64, type: 'u64' },
  ],
}

export const PACKET_EVENT_BYTES = 56

export interface PacketEvent {
  readonly timeNs: bigint
  readonly source: Uint8Array
  readonly destination: Uint8Array
  readonly sourcePort: number
  readonly destinationPort: number
  readonly protocol: number
  readonly kind: number
  readonly reason: number
  readonly ifindex: number
  readonly serviceId: number
}

export function encodePacketEvent(value: PacketEvent, buffer: Buffer = Buffer.alloc(PACKET_EVENT_BYTES), offset = 0): Buffer {
  buffer.writeBigUInt64LE(value.timeNs, offset)
  writeBytes(value.source, 16, 'PacketEvent.source', buffer, offset + 8)
  writeBytes(value.destination, 16, 'PacketEvent.destination', buffer, offset + 24)
  buffer.writeUInt16BE(value.sourcePort, offset + 40)
  buffer.writeUInt16BE(value.destinationPort, offset + 42)
  buffer.writeUInt8(value.protocol, offset + 44)
  buffer.writeUInt8(value.kind, offset + 45)
  buffer.writeUInt16LE(value.reason, offset + 46)
  buffer.writeUInt32LE(value.ifindex, offset + 48)
  buffer.writeUInt32LE(value.serviceId, offset + 52)
  return buffer
}

export function decodePacketEvent(buffer: Buffer, offset = 0): PacketEvent {
  return {
    timeNs: buffer.readBigUInt64LE(offset),
    source: readBytes(buffer, offset + 8, 16),
    destination: readBytes(buffer, offset + 24, 16),
    sourcePort: buffer.readUInt16BE(offset + 40),
    destinationPort: buffer.readUInt16BE(offset + 42),
    protocol: buffer.readUInt8(offset + 44),
    kind: buffer.readUInt8(offset + 45),
    reason: buffer.readUInt16LE(offset + 46),
    ifindex: buffer.readUInt32LE(offset + 48),
    serviceId: buffer.readUInt32LE(offset + 52),
  }
}

export const PACKET_EVENT_LAYOUT: StructLayout = {
  name: 'packet_event',
  sizeBytes: 56,
  hash: 'ba2851a1331ca57d',
  fields: [
    { path: 'time_ns', bitOffset: 0, bits: 64, type: 'u64' },
    { path: 'source', bitOffset: 64, bits: 128, type: 'struct' },
    { path: 'source.bytes', bitOffset: 64, bits: 128, type: 'u8[16]' },
    { path: 'destination', bitOffset: 192, bits: 128, type: 'struct' },
    { path: 'destination.bytes', bitOffset: 192, bits: 128, type: 'u8[16]' },
    { path: 'source_port', bitOffset: 320, bits: 16, type: 'be16' },
    { path: 'destination_port', bitOffset: 336, bits: 16, type: 'be16' },
    { path: 'protocol', bitOffset: 352, bits: 8, type: 'u8' },
    { path: 'kind', bitOffset: 360, bits: 8, type: 'u8' },
    { path: 'reason', bitOffset: 368, bits: 16, type: 'u16' },
    { path: 'ifindex', bitOffset: 384, bits: 32, type: 'u32' },
    { path: 'service_id', bitOffset: 416, bits: 32, type: 'u32' },
  ],
}

export const POLICY_CLASS_BYTES = 32

export interface PolicyClass {
  readonly uniform: PolicyPort
  readonly base: number
  readonly starts: readonly number[]
}

export function encodePolicyClass(value: PolicyClass, buffer: Buffer = Buffer.alloc(POLICY_CLASS_BYTES), offset = 0): Buffer {
  encodePolicyPort(value.uniform, buffer, offset)
  buffer.writeUInt32LE(value.base, offset + 12)
  checkCount(value.starts.length, 8, 'PolicyClass.starts')
  for (let i = 0; i < 8; i += 1) {
    buffer.writeUInt16LE((value.starts[i] as number), offset + 16 + i * 2)
  }
  return buffer
}

export function decodePolicyClass(buffer: Buffer, offset = 0): PolicyClass {
  return {
    uniform: decodePolicyPort(buffer, offset),
    base: buffer.readUInt32LE(offset + 12),
    starts: [buffer.readUInt16LE(offset + 16), buffer.readUInt16LE(offset + 16 + 2), buffer.readUInt16LE(offset + 16 + 4), buffer.readUInt16LE(offset + 16 + 6), buffer.readUInt16LE(offset + 16 + 8), buffer.readUInt16LE(offset + 16 + 10), buffer.readUInt16LE(offset + 16 + 12), buffer.readUInt16LE(offset + 16 + 14)],
  }
}

export const POLICY_CLASS_LAYOUT: StructLayout = {
  name: 'policy_class',
  sizeBytes: 32,
  hash: 'd12ea624130b5b36',
  fields: [
    { path: 'uniform', bitOffset: 0, bits: 96, type: 'struct' },
    { path: 'uniform.first', bitOffset: 0, bits: 16, type: 'u16' },
    { path: 'uniform.flags', bitOffset: 16, bits: 8, type: 'u8' },
    { path: 'uniform.pad0', bitOffset: 24, bits: 8, type: 'u8' },
    { path: 'uniform.rule_id', bitOffset: 32, bits: 32, type: 'u32' },
    { path: 'uniform.would_be_rule_id', bitOffset: 64, bits: 32, type: 'u32' },
    { path: 'base', bitOffset: 96, bits: 32, type: 'u32' },
    { path: 'starts', bitOffset: 128, bits: 128, type: 'u16[8]' },
  ],
}

export const POLICY_PEER_KEY_BYTES = 8

export interface PolicyPeerKey {
  readonly setAndDirection: number
  readonly identity: number
}

export function encodePolicyPeerKey(value: PolicyPeerKey, buffer: Buffer = Buffer.alloc(POLICY_PEER_KEY_BYTES), offset = 0): Buffer {
  buffer.writeUInt32LE(value.setAndDirection, offset)
  buffer.writeUInt32LE(value.identity, offset + 4)
  return buffer
}

export function decodePolicyPeerKey(buffer: Buffer, offset = 0): PolicyPeerKey {
  return {
    setAndDirection: buffer.readUInt32LE(offset),
    identity: buffer.readUInt32LE(offset + 4),
  }
}

export const POLICY_PEER_KEY_LAYOUT: StructLayout = {
  name: 'policy_peer_key',
  sizeBytes: 8,
  hash: 'ee8617d4913df8be',
  fields: [
    { path: 'set_and_direction', bitOffset: 0, bits: 32, type: 'u32' },
    { path: 'identity', bitOffset: 32, bits: 32, type: 'u32' },
  ],
}

export const POLICY_PORT_BYTES = 12

export interface PolicyPort {
  readonly first: number
  readonly flags: number
  readonly ruleId: number
  readonly wouldBeRuleId: number
}

export function encodePolicyPort(value: PolicyPort, buffer: Buffer = Buffer.alloc(POLICY_PORT_BYTES), offset = 0): Buffer {
  buffer.fill(0, offset, offset + 12)
  buffer.writeUInt16LE(value.first, offset)
  buffer.writeUInt8(value.flags, offset + 2)
  buffer.writeUInt32LE(value.ruleId, offset + 4)
  buffer.writeUInt32LE(value.wouldBeRuleId, offset + 8)
  return buffer
}

export function decodePolicyPort(buffer: Buffer, offset = 0): PolicyPort {
  return {
    first: buffer.readUInt16LE(offset),
    flags: buffer.readUInt8(offset + 2),
    ruleId: buffer.readUInt32LE(offset + 4),
    wouldBeRuleId: buffer.readUInt32LE(offset + 8),
  }
}

export const POLICY_PORT_LAYOUT: StructLayout = {
  name: 'policy_port',
  sizeBytes: 12,
  hash: 'f8db9ed57c6fcc35',
  fields: [
    { path: 'first', bitOffset: 0, bits: 16, type: 'u16' },
    { path: 'flags', bitOffset: 16, bits: 8, type: 'u8' },
    { path: 'pad0', bitOffset: 24, bits: 8, type: 'u8' },
    { path: 'rule_id', bitOffset: 32, bits: 32, type: 'u32' },
    { path: 'would_be_rule_id', bitOffset: 64, bits: 32, type: 'u32' },
  ],
}

export const POLICY_SET_BYTES = 32

export interface PolicySet {
  readonly generation: number
  readonly flags: number
  readonly ingressDefaults: readonly number[]
  readonly egressDefaults: readonly number[]
}

export function encodePolicySet(value: PolicySet, buffer: Buffer = Buffer.alloc(POLICY_SET_BYTES), offset = 0): Buffer {
  buffer.writeUInt32LE(value.generation, offset)
  buffer.writeUInt32LE(value.flags, offset + 4)
  checkCount(value.ingressDefaults.length, 3, 'PolicySet.ingressDefaults')
  for (let i = 0; i < 3; i += 1) {
    buffer.writeUInt32LE((value.ingressDefaults[i] as number), offset + 8 + i * 4)
  }
  checkCount(value.egressDefaults.length, 3, 'PolicySet.egressDefaults')
  for (let i = 0; i < 3; i += 1) {
    buffer.writeUInt32LE((value.egressDefaults[i] as number), offset + 20 + i * 4)
  }
  return buffer
}

export function decodePolicySet(buffer: Buffer, offset = 0): PolicySet {
  return {
    generation: buffer.readUInt32LE(offset),
    flags: buffer.readUInt32LE(offset + 4),
    ingressDefaults: [buffer.readUInt32LE(offset + 8), buffer.readUInt32LE(offset + 8 + 4), buffer.readUInt32LE(offset + 8 + 8)],
    egressDefaults: [buffer.readUInt32LE(offset + 20), buffer.readUInt32LE(offset + 20 + 4), buffer.readUInt32LE(offset + 20 + 8)],
  }
}

export const POLICY_SET_LAYOUT: StructLayout = {
  name: 'policy_set',
  sizeBytes: 32,
  hash: '8c36205b83d5b793',
  fields: [
    { path: 'generation', bitOffset: 0, bits: 32, type: 'u32' },
    { path: 'flags', bitOffset: 32, bits: 32, type: 'u32' },
    { path: 'ingress_defaults', bitOffset: 64, bits: 96, type: 'u32[3]' },
    { path: 'egress_defaults', bitOffset: 160, bits: 96, type: 'u32[3]' },
  ],
}

export const POLICY_SUBJECT_BYTES = 12

export interface PolicySubject {
  readonly set: number
  readonly ledBack: readonly number[]
}

export function encodePolicySubject(value: PolicySubject, buffer: Buffer = Buffer.alloc(POLICY_SUBJECT_BYTES), offset = 0): Buffer {
  buffer.writeUInt32LE(value.set, offset)
  checkCount(value.ledBack.length, 2, 'PolicySubject.ledBack')
  for (let i = 0; i < 2; i += 1) {
    buffer.writeUInt32LE((value.ledBack[i] as number), offset + 4 + i * 4)
  }
  return buffer
}

export function decodePolicySubject(buffer: Buffer, offset = 0): PolicySubject {
  return {
    set: buffer.readUInt32LE(offset),
    ledBack: [buffer.readUInt32LE(offset + 4), buffer.readUInt32LE(offset + 4 + 4)],
  }
}

export const POLICY_SUBJECT_LAYOUT: StructLayout = {
  name: 'policy_subject',
  sizeBytes: 12,
  hash: '61d4f652a77da39d',
  fields: [
    { path: 'set', bitOffset: 0, bits: 32, type: 'u32' },
    { path: 'led_back', bitOffset: 32, bits: 64, type: 'u32[2]' },
  ],
}

export const SECRET_BYTES = 16

export interface Secret {
  readonly flow: readonly bigint[]
}

export function encodeSecret(value: Secret, buffer: Buffer = Buffer.alloc(SECRET_BYTES), offset = 0): Buffer {
  checkCount(value.flow.length, 2, 'Secret.flow')
  for (let i = 0; i < 2; i += 1) {
    buffer.writeBigUInt64LE((value.flow[i] as bigint), offset + i * 8)
  }
  return buffer
}

export function decodeSecret(buffer: Buffer, offset = 0): Secret {
  return {
    flow: [buffer.readBigUInt64LE(offset), buffer.readBigUInt64LE(offset + 8)],
  }
}

export const SECRET_LAYOUT: StructLayout = {
  name: 'secret',
  sizeBytes: 16,
  hash: '048582fd5f4053ca',
  fields: [
    { path: 'flow', bitOffset: 0, bits: 128, type: 'u64[2]' },
  ],
}

export const SLOT_PAIR_BYTES = 8

export interface SlotPair {
  readonly backendId: readonly number[]
}

export function encodeSlotPair(value: SlotPair, buffer: Buffer = Buffer.alloc(SLOT_PAIR_BYTES), offset = 0): Buffer {
  checkCount(value.backendId.length, 2, 'SlotPair.backendId')
  for (let i = 0; i < 2; i += 1) {
    buffer.writeUInt32LE((value.backendId[i] as number), offset + i * 4)
  }
  return buffer
}

export function decodeSlotPair(buffer: Buffer, offset = 0): SlotPair {
  return {
    backendId: [buffer.readUInt32LE(offset), buffer.readUInt32LE(offset + 4)],
  }
}

export const SLOT_PAIR_LAYOUT: StructLayout = {
  name: 'slot_pair',
  sizeBytes: 8,
  hash: 'e3d391b51fe652ab',
  fields: [
    { path: 'backend_id', bitOffset: 0, bits: 64, type: 'u32[2]' },
  ],
}

export const SLOT_RANGE_BYTES = 8

export interface SlotRange {
  readonly base: number
  readonly size: number
}

export function encodeSlotRange(value: SlotRange, buffer: Buffer = Buffer.alloc(SLOT_RANGE_BYTES), offset = 0): Buffer {
  buffer.writeUInt32LE(value.base, offset)
  buffer.writeUInt32LE(value.size, offset + 4)
  return buffer
}

export function decodeSlotRange(buffer: Buffer, offset = 0): SlotRange {
  return {
    base: buffer.readUInt32LE(offset),
    size: buffer.readUInt32LE(offset + 4),
  }
}

export const SLOT_RANGE_LAYOUT: StructLayout = {
  name: 'slot_range',
  sizeBytes: 8,
  hash: 'd0d3e6b5e9cb7272',
  fields: [
    { path: 'base', bitOffset: 0, bits: 32, type: 'u32' },
    { path: 'size', bitOffset: 32, bits: 32, type: 'u32' },
  ],
}

export const SOCK_ENTRY_BYTES = 64

export interface SockEntry {
  readonly cookie: bigint
  readonly peer: SockPeer
  readonly storage: number
}

export function encodeSockEntry(value: SockEntry, buffer: Buffer = Buffer.alloc(SOCK_ENTRY_BYTES), offset = 0): Buffer {
  buffer.fill(0, offset, offset + 64)
  buffer.writeBigUInt64LE(value.cookie, offset)
  encodeSockPeer(value.peer, buffer, offset + 8)
  buffer.writeUInt32LE(value.storage, offset + 52)
  return buffer
}

export function decodeSockEntry(buffer: Buffer, offset = 0): SockEntry {
  return {
    cookie: buffer.readBigUInt64LE(offset),
    peer: decodeSockPeer(buffer, offset + 8),
    storage: buffer.readUInt32LE(offset + 52),
  }
}

export const SOCK_ENTRY_LAYOUT: StructLayout = {
  name: 'sock_entry',
  sizeBytes: 64,
  hash: 'df8f2d3a667b14a0',
  fields: [
    { path: 'cookie', bitOffset: 0, bits: 64, type: 'u64' },
    { path: 'peer', bitOffset: 64, bits: 352, type: 'struct' },
    { path: 'peer.service', bitOffset: 64, bits: 128, type: 'struct' },
    { path: 'peer.service.bytes', bitOffset: 64, bits: 128, type: 'u8[16]' },
    { path: 'peer.backend', bitOffset: 192, bits: 128, type: 'struct' },
    { path: 'peer.backend.bytes', bitOffset: 192, bits: 128, type: 'u8[16]' },
    { path: 'peer.service_port', bitOffset: 320, bits: 16, type: 'be16' },
    { path: 'peer.backend_port', bitOffset: 336, bits: 16, type: 'be16' },
    { path: 'peer.backend_id', bitOffset: 352, bits: 32, type: 'u32' },
    { path: 'peer.table', bitOffset: 384, bits: 32, type: 'u32' },
    { path: 'storage', bitOffset: 416, bits: 32, type: 'u32' },
    { path: 'pad0', bitOffset: 448, bits: 64, type: 'u64' },
  ],
}

export const SOCK_PEER_BYTES = 44

export interface SockPeer {
  readonly service: Uint8Array
  readonly backend: Uint8Array
  readonly servicePort: number
  readonly backendPort: number
  readonly backendId: number
  readonly table: number
}

export function encodeSockPeer(value: SockPeer, buffer: Buffer = Buffer.alloc(SOCK_PEER_BYTES), offset = 0): Buffer {
  writeBytes(value.service, 16, 'SockPeer.service', buffer, offset)
  writeBytes(value.backend, 16, 'SockPeer.backend', buffer, offset + 16)
  buffer.writeUInt16BE(value.servicePort, offset + 32)
  buffer.writeUInt16BE(value.backendPort, offset + 34)
  buffer.writeUInt32LE(value.backendId, offset + 36)
  buffer.writeUInt32LE(value.table, offset + 40)
  return buffer
}

export function decodeSockPeer(buffer: Buffer, offset = 0): SockPeer {
  return {
    service: readBytes(buffer, offset, 16),
    backend: readBytes(buffer, offset + 16, 16),
    servicePort: buffer.readUInt16BE(offset + 32),
    backendPort: buffer.readUInt16BE(offset + 34),
    backendId: buffer.readUInt32LE(offset + 36),
    table: buffer.readUInt32LE(offset + 40),
  }
}

export const SOCK_PEER_LAYOUT: StructLayout = {
  name: 'sock_peer',
  sizeBytes: 44,
  hash: '52357febe3ecd5de',
  fields: [
    { path: 'service', bitOffset: 0, bits: 128, type: 'struct' },
    { path: 'service.bytes', bitOffset: 0, bits: 128, type: 'u8[16]' },
    { path: 'backend', bitOffset: 128, bits: 128, type: 'struct' },
    { path: 'backend.bytes', bitOffset: 128, bits: 128, type: 'u8[16]' },
    { path: 'service_port', bitOffset: 256, bits: 16, type: 'be16' },
    { path: 'backend_port', bitOffset: 272, bits: 16, type: 'be16' },
    { path: 'backend_id', bitOffset: 288, bits: 32, type: 'u32' },
    { path: 'table', bitOffset: 320, bits: 32, type: 'u32' },
  ],
}

export const SOCK_REVERSE_BYTES = 184

export interface SockReverse {
  readonly peers: readonly SockPeer[]
  readonly next: number
  readonly last: number
}

export function encodeSockReverse(value: SockReverse, buffer: Buffer = Buffer.alloc(SOCK_REVERSE_BYTES), offset = 0): Buffer {
  checkCount(value.peers.length, 4, 'SockReverse.peers')
  for (let i = 0; i < 4; i += 1) {
    encodeSockPeer((value.peers[i] as SockPeer), buffer, offset + i * 44)
  }
  buffer.writeUInt32LE(value.next, offset + 176)
  buffer.writeUInt32LE(value.last, offset + 180)
  return buffer
}

export function decodeSockReverse(buffer: Buffer, offset = 0): SockReverse {
  return {
    peers: [decodeSockPeer(buffer, offset), decodeSockPeer(buffer, offset + 44), decodeSockPeer(buffer, offset + 88), decodeSockPeer(buffer, offset + 132)],
    next: buffer.readUInt32LE(offset + 176),
    last: buffer.readUInt32LE(offset + 180),
  }
}

export const SOCK_REVERSE_LAYOUT: StructLayout = {
  name: 'sock_reverse',
  sizeBytes: 184,
  hash: 'ef2b2d05408c857a',
  fields: [
    { path: 'peers', bitOffset: 0, bits: 1408, type: 'struct[4]' },
    { path: 'peers[0].service', bitOffset: 0, bits: 128, type: 'struct' },
    { path: 'peers[0].service.bytes', bitOffset: 0, bits: 128, type: 'u8[16]' },
    { path: 'peers[0].backend', bitOffset: 128, bits: 128, type: 'struct' },
    { path: 'peers[0].backend.bytes', bitOffset: 128, bits: 128, type: 'u8[16]' },
    { path: 'peers[0].service_port', bitOffset: 256, bits: 16, type: 'be16' },
    { path: 'peers[0].backend_port', bitOffset: 272, bits: 16, type: 'be16' },
    { path: 'peers[0].backend_id', bitOffset: 288, bits: 32, type: 'u32' },
    { path: 'peers[0].table', bitOffset: 320, bits: 32, type: 'u32' },
    { path: 'next', bitOffset: 1408, bits: 32, type: 'u32' },
    { path: 'last', bitOffset: 1440, bits: 32, type: 'u32' },
  ],
}

export const SOURCE_RANGE_KEY_BYTES = 24

export interface SourceRangeKey {
  readonly prefixBits: number
  readonly serviceId: number
  readonly source: Uint8Array
}

export function encodeSourceRangeKey(value: SourceRangeKey, buffer: Buffer = Buffer.alloc(SOURCE_RANGE_KEY_BYTES), offset = 0): Buffer {
  buffer.writeUInt32LE(value.prefixBits, offset)
  buffer.writeUInt32LE(value.serviceId, offset + 4)
  writeBytes(value.source, 16, 'SourceRangeKey.source', buffer, offset + 8)
  return buffer
}

export function decodeSourceRangeKey(buffer: Buffer, offset = 0): SourceRangeKey {
  return {
    prefixBits: buffer.readUInt32LE(offset),
    serviceId: buffer.readUInt32LE(offset + 4),
    source: readBytes(buffer, offset + 8, 16),
  }
}

export const SOURCE_RANGE_KEY_LAYOUT: StructLayout = {
  name: 'source_range_key',
  sizeBytes: 24,
  hash: '03539e2456f1d408',
  fields: [
    { path: 'prefix_bits', bitOffset: 0, bits: 32, type: 'u32' },
    { path: 'service_id', bitOffset: 32, bits: 32, type: 'u32' },
    { path: 'source', bitOffset: 64, bits: 128, type: 'struct' },
    { path: 'source.bytes', bitOffset: 64, bits: 128, type: 'u8[16]' },
  ],
}

export const TRANSLATED_SOCKET_BYTES = 64

export interface TranslatedSocket {
  readonly cookie: bigint
  readonly local: Uint8Array
  readonly backend: Uint8Array
  readonly service: Uint8Array
  readonly localPort: number
  readonly backendPort: number
  readonly servicePort: number
}

export function encodeTranslatedSocket(value: TranslatedSocket, buffer: Buffer = Buffer.alloc(TRANSLATED_SOCKET_BYTES), offset = 0): Buffer {
  buffer.fill(0, offset, offset + 64)
  buffer.writeBigUInt64LE(value.cookie, offset)
  writeBytes(value.local, 16, 'TranslatedSocket.local', buffer, offset + 8)
  writeBytes(value.backend, 16, 'TranslatedSocket.backend', buffer, offset + 24)
  writeBytes(value.service, 16, 'TranslatedSocket.service', buffer, offset + 40)
  buffer.writeUInt16BE(value.localPort, offset + 56)
  buffer.writeUInt16BE(value.backendPort, offset + 58)
  buffer.writeUInt16BE(value.servicePort, offset + 60)
  return buffer
}

export function decodeTranslatedSocket(buffer: Buffer, offset = 0): TranslatedSocket {
  return {
    cookie: buffer.readBigUInt64LE(offset),
    local: readBytes(buffer, offset + 8, 16),
    backend: readBytes(buffer, offset + 24, 16),
    service: readBytes(buffer, offset + 40, 16),
    localPort: buffer.readUInt16BE(offset + 56),
    backendPort: buffer.readUInt16BE(offset + 58),
    servicePort: buffer.readUInt16BE(offset + 60),
  }
}

export const TRANSLATED_SOCKET_LAYOUT: StructLayout = {
  name: 'translated_socket',
  sizeBytes: 64,
  hash: '655b7af25c8c09d1',
  fields: [
    { path: 'cookie', bitOffset: 0, bits: 64, type: 'u64' },
    { path: 'local', bitOffset: 64, bits: 128, type: 'struct' },
    { path: 'local.bytes', bitOffset: 64, bits: 128, type: 'u8[16]' },
    { path: 'backend', bitOffset: 192, bits: 128, type: 'struct' },
    { path: 'backend.bytes', bitOffset: 192, bits: 128, type: 'u8[16]' },
    { path: 'service', bitOffset: 320, bits: 128, type: 'struct' },
    { path: 'service.bytes', bitOffset: 320, bits: 128, type: 'u8[16]' },
    { path: 'local_port', bitOffset: 448, bits: 16, type: 'be16' },
    { path: 'backend_port', bitOffset: 464, bits: 16, type: 'be16' },
    { path: 'service_port', bitOffset: 480, bits: 16, type: 'be16' },
    { path: 'pad0', bitOffset: 496, bits: 16, type: 'u16' },
  ],
}

function checkCount(found: number, count: number, field: string): void {
  if (found !== count) throw new RangeError(`${field} has ${found} elements, ${count} are needed`)
}

/** A copy: what is decoded may be memory that changes. */
function readBytes(buffer: Buffer, offset: number, length: number): Uint8Array {
  if (offset + length > buffer.length) throw new RangeError(`${length} bytes at ${offset} lie outside of the buffer`)
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i += 1) bytes[i] = buffer[offset + i] as number
  return bytes
}

function writeBytes(value: Uint8Array, length: number, field: string, buffer: Buffer, offset: number): void {
  if (value.length !== length) throw new RangeError(`${field} has ${value.length} bytes, ${length} are needed`)
  buffer.set(value, offset)
}
