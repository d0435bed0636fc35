// The kernel's tables on real BPF maps: generated codecs on one side, our own types on the other. Nothing here decides
// anything; who writes what and when is the business of service-maps.ts and nexthop-maps.ts.

import type { Address } from '../model/address.ts'
import type { BpfMap } from '../sys/libbpf-ts/map.ts'
import * as abi from './abi.gen.ts'
import { type BfdTables, bfdKeyCodec, bfdSessionCodec, mappedBfdStates } from './bfd-tables.ts'
import type {
  BackendValue,
  BatchTables,
  CanGet,
  EndpointValue,
  FrontendAddressValue,
  FrontendKey,
  FrontendValue,
  KernelArray,
  KernelHash,
  LosesMany,
  NetnsEndpointValue,
  NexthopTables,
  NexthopValue,
  NodeValue,
  NotedNetnsValue,
  TakesMany,
} from './kernel-tables.ts'
import {
  addressCodec,
  backendCodec,
  backendKeyCodec,
  type Codec,
  cidrCodec,
  cookieCodec,
  endpointCodec,
  frontendAddressCodec,
  frontendCodec,
  frontendKeyCodec,
  indexCodec,
  netnsEndpointCodec,
  nexthopCodec,
  nodeCodec,
  notedNetnsCodec,
  sourceRangeCodec,
} from './map-codecs.ts'
import type { PolicyReads } from './policy-lookup.ts'
import {
  identityCodec,
  mappedGenerations,
  mappedPolicyCells,
  mappedPolicyPorts,
  type PolicyTables,
  peerKeyCodec,
  policyClassCodec,
  policySetCodec,
  policySubjectCodec,
} from './policy-tables.ts'
import { deletePacked, PackedRows } from './row-batch.ts'

function hashOf<Key, Value>(
  map: BpfMap,
  key: Codec<Key>,
  value: Codec<Value>,
): KernelHash<Key, Value> & TakesMany<Key, Value> & LosesMany<Key> & CanGet<Key, Value> {
  return {
    get: (k) => {
      const found = map.lookup(key.encode(k))
      return found && value.decode(found)
    },
    *entries() {
      for (const entry of map.entries()) yield [key.decode(entry.key), value.decode(entry.value)] as const
    },
    set: (k, v) => {
      map.update(key.encode(k), value.encode(v))
    },
    batch: () => new PackedRows(map, key, value),
    delete: (k) => {
      map.delete(key.encode(k))
    },
    deleteMany: (keys) => deletePacked(map, key, keys),
  }
}

const INDEX_BYTES = 4

/** Tells which rows of a batch are not zeroed. Most rows of most arrays are, so they are looked at word by word, in place. */
function rowsUsed(values: Buffer, rowBytes: number, count: number): (index: number) => boolean {
  if (rowBytes % 4 !== 0 || values.byteOffset % 4 !== 0) {
    const zero = Buffer.alloc(rowBytes)
    return (index) => values.compare(zero, 0, rowBytes, index * rowBytes, (index + 1) * rowBytes) !== 0
  }
  const rowWords = rowBytes / 4
  const words = new Uint32Array(values.buffer, values.byteOffset, count * rowWords)
  return (index) => {
    const end = (index + 1) * rowWords
    for (let at = index * rowWords; at < end; at += 1) if (words[at] !== 0) return true
    return false
  }
}

function arrayOf<Value>(
  map: BpfMap,
  value: Codec<Value>,
): KernelArray<Value> & TakesMany<number, Value> & CanGet<number, Value> {
  const zero = Buffer.alloc(map.info.valueSize)
  return {
    get: (index) => {
      const found = map.lookup(indexCodec.encode(index))
      return found?.some((byte) => byte !== 0) ? value.decode(found) : undefined
    },
    length: map.info.maxEntries,
    *entries() {
      const { valueSize } = map.info
      for (const { keys, values, count } of map.batches()) {
        const isUsed = rowsUsed(values, valueSize, count)
        for (let index = 0; index < count; index += 1) {
          if (!isUsed(index)) continue
          const bytes = values.subarray(index * valueSize, (index + 1) * valueSize)
          yield [keys.readUInt32LE(index * INDEX_BYTES), value.decode(bytes)] as const
        }
      }
    },
    set: (index, row) => {
      map.update(indexCodec.encode(index), row === undefined ? zero : value.encode(row))
    },
    batch: () => new PackedRows(map, indexCodec, value),
  }
}

/** Every map whose layout both sides share, by its name in bpf/maps.h. */
export const LAYOUTS = {
  frontends: { key: abi.FRONTEND_KEY_LAYOUT, value: abi.FRONTEND_LAYOUT },
  frontend_addresses: { value: abi.FRONTEND_ADDRESS_LAYOUT },
  slots: { value: abi.SLOT_PAIR_LAYOUT },
  backends: { value: abi.BACKEND_LAYOUT },
  backend_ids: { key: abi.BACKEND_KEY_LAYOUT },
  nexthops: { value: abi.NEXTHOP_LAYOUT },
  nodes: { key: abi.ADDRESS_LAYOUT, value: abi.NODE_LAYOUT },
  endpoints: { key: abi.ADDRESS_LAYOUT, value: abi.ENDPOINT_LAYOUT },
  flows: { value: abi.FLOW_SET_LAYOUT },
  flow_details: { value: abi.FLOW_DETAIL_SET_LAYOUT },
  affinity: { key: abi.AFFINITY_KEY_LAYOUT, value: abi.AFFINITY_LAYOUT },
  source_ranges: { key: abi.SOURCE_RANGE_KEY_LAYOUT },
  service_cidrs: { key: abi.CIDR_KEY_LAYOUT },
  fragments: { key: abi.FRAGMENT_KEY_LAYOUT, value: abi.FRAGMENT_PORTS_LAYOUT },
  netns_endpoints: { value: abi.NETNS_ENDPOINT_LAYOUT },
  sock_peers: { value: abi.SOCK_ENTRY_LAYOUT },
  answers: { value: abi.ANSWER_COUNT_LAYOUT },
  secrets: { value: abi.SECRET_LAYOUT },
  metrics: { value: abi.METRIC_LAYOUT },
  bfd_sessions: { key: abi.BFD_KEY_LAYOUT, value: abi.BFD_SESSION_LAYOUT },
  bfd_states: { value: abi.BFD_STATE_LAYOUT },
  identities: { key: abi.ADDRESS_LAYOUT, value: abi.IDENTITY_LAYOUT },
  identity_prefixes: { key: abi.CIDR_KEY_LAYOUT, value: abi.IDENTITY_LAYOUT },
  policy_subjects: { key: abi.ADDRESS_LAYOUT, value: abi.POLICY_SUBJECT_LAYOUT },
  policy_sets: { value: abi.POLICY_SET_LAYOUT },
  policy_peers: { key: abi.POLICY_PEER_KEY_LAYOUT },
  policy_classes: { value: abi.POLICY_CLASS_LAYOUT },
  policy_ports: { value: abi.POLICY_PORT_LAYOUT },
  noted_netns: { value: abi.NOTED_NETNS_LAYOUT },
} as const

/** Maps by their name in bpf/maps.h; bits and flags are without a layout, a ring and timers have none. */
export type MapName =
  | keyof typeof LAYOUTS
  | 'frontend_filter'
  | 'events'
  | 'bfd_timers'
  | 'policy_cells'
  | 'policy_generations'
  | 'policy_host'
  | 'known_netns'
  | 'closed_cgroups'

/** All that hold rows, but the secret of the flow table's hash, which is read once. */
export const MAP_NAMES: readonly MapName[] = [
  ...(Object.keys(LAYOUTS) as (keyof typeof LAYOUTS)[]).filter((name) => name !== 'secrets'),
  'frontend_filter',
  'events',
  'bfd_timers',
  'policy_cells',
  'policy_generations',
  'policy_host',
  'known_netns',
  'closed_cgroups',
]

export interface DatapathTables extends BatchTables, NexthopTables {
  readonly frontends: BatchTables['frontends'] & CanGet<FrontendKey, FrontendValue>
  readonly backends: BatchTables['backends'] & CanGet<number, BackendValue>
  readonly nexthops: NexthopTables['nexthops'] & CanGet<number, NexthopValue>
  readonly nodes: NexthopTables['nodes'] & CanGet<Address, NodeValue>
  readonly endpoints: NexthopTables['endpoints'] & CanGet<Address, EndpointValue>
  /** By network namespace cookie. */
  readonly netnsEndpoints: KernelHash<bigint, NetnsEndpointValue>
  /** By network namespace cookie. */
  readonly knownNetns: KernelHash<bigint, number>
  /** By id of a cgroup. */
  readonly closedCgroups: KernelHash<bigint, number>
  /** By network namespace cookie. */
  readonly notedNetns: Pick<KernelHash<bigint, NotedNetnsValue>, 'entries' | 'delete'>
  readonly bfd: BfdTables
  readonly policy: PolicyTables & PolicyReads
}

/** @param map finds a loaded map by its name in bpf/maps.h */
export function datapathTables(map: (name: MapName) => BpfMap): DatapathTables {
  return {
    frontends: hashOf(map('frontends'), frontendKeyCodec, frontendCodec),
    frontendAddresses: arrayOf(map('frontend_addresses'), frontendAddressCodec),
    filter: new Uint32Array(map('frontend_filter').mmap()),
    // Two slots of 32 bits fill one 8-byte element, so the mapped array is one flat array of slots.
    slots: new Uint32Array(map('slots').mmap(), 0, map('slots').info.maxEntries * 2),
    backends: arrayOf(map('backends'), backendCodec),
    backendIds: hashOf(map('backend_ids'), backendKeyCodec, indexCodec),
    sourceRanges: hashOf(map('source_ranges'), sourceRangeCodec, indexCodec),
    serviceCidrs: hashOf(map('service_cidrs'), cidrCodec, indexCodec),
    nexthops: arrayOf(map('nexthops'), nexthopCodec),
    nodes: hashOf(map('nodes'), addressCodec, nodeCodec),
    endpoints: hashOf(map('endpoints'), addressCodec, endpointCodec),
    netnsEndpoints: hashOf(map('netns_endpoints'), cookieCodec, netnsEndpointCodec),
    knownNetns: hashOf(map('known_netns'), cookieCodec, indexCodec),
    closedCgroups: hashOf(map('closed_cgroups'), cookieCodec, indexCodec),
    notedNetns: hashOf(map('noted_netns'), cookieCodec, notedNetnsCodec),
    bfd: {
      sessions: hashOf(map('bfd_sessions'), bfdKeyCodec, bfdSessionCodec),
      states: mappedBfdStates(map('bfd_states')),
    },
    policy: policyTables(map),
  }
}

/** @param map finds a loaded map by its name in bpf/maps.h */
export function policyTables(map: (name: MapName) => BpfMap): PolicyTables & PolicyReads {
  return {
    identities: hashOf(map('identities'), addressCodec, identityCodec),
    prefixes: hashOf(map('identity_prefixes'), cidrCodec, identityCodec),
    subjects: hashOf(map('policy_subjects'), addressCodec, policySubjectCodec),
    sets: arrayOf(map('policy_sets'), policySetCodec),
    peers: hashOf(map('policy_peers'), peerKeyCodec, indexCodec),
    cells: mappedPolicyCells(map('policy_cells')),
    classes: arrayOf(map('policy_classes'), policyClassCodec),
    ports: mappedPolicyPorts(map('policy_ports')),
    generations: mappedGenerations(map('policy_generations')),
    host: arrayOf(map('policy_host'), indexCodec),
  }
}

/** Rows that flows name by number, looked up one by one; undefined when they are nobody's any more. */
export interface FlowNames {
  readonly frontend: (id: number) => FrontendAddressValue | undefined
  readonly backend: (id: number) => BackendValue | undefined
}

export function flowNames(map: (name: MapName) => BpfMap): FlowNames {
  return {
    frontend: rowReader(map('frontend_addresses'), frontendAddressCodec),
    backend: rowReader(map('backends'), backendCodec),
  }
}

function rowReader<Value>(map: BpfMap, codec: Codec<Value>): (index: number) => Value | undefined {
  return (index) => {
    const row = map.lookup(indexCodec.encode(index))
    return row === undefined || row.every((byte) => byte === 0) ? undefined : codec.decode(row)
  }
}

export interface ReasonCount {
  readonly packets: number
  readonly bytes: number
}

/** The datapath's counters, summed over CPUs, by the name of their reason (`TO_LOCAL`, `NO_ENDPOINT`, …); zeros left out. */
export function readMetrics(metrics: BpfMap): Record<string, ReasonCount> {
  const counts: Record<string, ReasonCount> = {}
  for (const { key, value } of metrics.entries()) {
    let packets = 0
    let bytes = 0
    for (const part of metrics.splitPerCpu(value)) {
      const row = abi.decodeMetric(part)
      packets += Number(row.packets)
      bytes += Number(row.bytes)
    }
    const name = abi.VERDICT_REASON_NAMES.get(key.readUInt32LE())
    if (packets > 0 && name !== undefined) counts[name.replace('REASON_', '')] = { packets, bytes }
  }
  return counts
}
