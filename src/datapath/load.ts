// Loading: the BPF objects, their maps pinned under <bpffs>/maps and taken over from an earlier process, their
// load-time constants set. A map whose layout differs from the generated codecs is refused.
//
//   <bpffs>/maps/…    maps, see upgrade/map-pins.ts
//   <bpffs>/links/…   attachments, see attach.ts

import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Address, addressToBytes, type Family } from '../model/address.ts'
import {
  BpfError,
  BpfIterator,
  BpfMap,
  type BpfProgram,
  checkMapLayout,
  createMap,
  ensureBpffs,
  isBpffs,
  type LoadedObject,
  makePinDirectory,
  openObject,
} from '../sys/libbpf-ts/index.ts'
import { kernelHertz } from '../sys/libc/clock.ts'
import { networkNamespaceCookie } from '../sys/libc/sockets.ts'
import * as abi from './abi.gen.ts'
import type { UplinkPrograms } from './attach.ts'
import { stretchHashKey } from './hash-key.ts'
import { LAYOUTS, type MapName } from './maps.ts'
import { MapPins, secretPin } from './upgrade/map-pins.ts'
import { Migration, type Moved } from './upgrade/migration.ts'

const OBJECT_FILES = {
  xdp: 'weir_xdp.bpf.o',
  tc: 'weir_tc.bpf.o',
  uplinkTc: 'weir_uplink_tc.bpf.o',
  socket: 'weir_sock.bpf.o',
  iterators: 'weir_iter.bpf.o',
  closed: 'weir_closed.bpf.o',
  unseen: 'weir_unseen.bpf.o',
} as const
const BUILT_OBJECTS = fileURLToPath(new URL('../../build/bpf', import.meta.url))

export class DatapathError extends Error {
  readonly code: 'NOT_BUILT' | 'NO_BPFFS' | 'ATTACH'
  constructor(code: DatapathError['code'], message: string, cause?: unknown) {
    super(message, { cause })
    this.code = code
  }
}

/** What the operator chooses of the datapath, for all Services. */
export interface DatapathSettings {
  /** Source ports of masqueraded flows, both included; undefined: SNAT is off. */
  readonly snatPorts: { readonly first: number; readonly last: number } | undefined
  /** Source ports, and identifiers of pings, of what nodes' kernels masquerade; undefined: they do not, or nobody tells it by them. */
  readonly masqueradePorts: { readonly first: number; readonly last: number } | undefined
  /** The most that SYN-ACKs of tunnelled flows may announce, in bytes; 0: left alone. */
  readonly mss: Readonly<Record<Family, number>>
  readonly tunnel: 'geneve' | 'ipip'
  /** Policy is enforced: every flow of a pod is judged, and closed to whom nothing is known of. */
  readonly enforcesPolicy: boolean
  /** Pods' packets are balanced at their device too, for workloads that bypass the socket hooks. */
  readonly perPacket: boolean
  /** Entries of tables; what is absent has the size of bpf/maps.h. `flows` is a power of two. */
  readonly capacities: Partial<Readonly<Record<Capacity, number | undefined>>>
}

export type Capacity =
  | 'frontends'
  | 'slots'
  | 'backends'
  | 'flows'
  | 'affinity'
  | 'sourceRanges'
  | 'fragments'

const SLOTS_PER_ENTRY = 2
const FLOWS_PER_SET = 4

/** The maps behind each capacity, and how much of it one entry holds. */
const CAPACITY_OF_MAP: Readonly<Record<string, { readonly capacity: Capacity; readonly perEntry: number }>> =
  {
    frontends: { capacity: 'frontends', perEntry: 1 },
    frontend_addresses: { capacity: 'frontends', perEntry: 1 },
    slots: { capacity: 'slots', perEntry: SLOTS_PER_ENTRY },
    backends: { capacity: 'backends', perEntry: 1 },
    backend_ids: { capacity: 'backends', perEntry: 1 },
    flows: { capacity: 'flows', perEntry: FLOWS_PER_SET },
    flow_details: { capacity: 'flows', perEntry: FLOWS_PER_SET },
    affinity: { capacity: 'affinity', perEntry: 1 },
    source_ranges: { capacity: 'sourceRanges', perEntry: 1 },
    fragments: { capacity: 'fragments', perEntry: 1 },
  }

/** undefined: as bpf/maps.h says. */
function entriesOf(map: string, { capacities }: DatapathSettings): number | undefined {
  const known = CAPACITY_OF_MAP[map]
  const wanted = known && capacities[known.capacity]
  return known && wanted !== undefined ? Math.ceil(wanted / known.perEntry) : undefined
}

export const DEFAULT_SETTINGS: DatapathSettings = {
  snatPorts: { first: 61_000, last: 65_535 },
  masqueradePorts: undefined,
  mss: { ipv4: 0, ipv6: 0 },
  tunnel: 'geneve',
  enforcesPolicy: false,
  perPacket: false,
  capacities: {},
}

export interface LoadOptions {
  /** Directory on bpffs for this node's pins. */
  readonly bpffs: string
  /** Where the compiled objects are; the checkout's build directory when absent. */
  readonly objects: string | undefined
  /** Outer source addresses of what this node tunnels. */
  readonly tunnelAddresses: { readonly ipv4: Address | undefined; readonly ipv6: Address | undefined }
  /** An uplink is a veth (racks, kind): its driver loses the wake-up of XDP_TX, see bpf/lib/ctx_xdp.h. */
  readonly redirectsOnly: boolean
  readonly settings: DatapathSettings
}

export interface SocketLists {
  readonly udp: BpfIterator
  readonly tcp: BpfIterator
}

export interface LoadedDatapath {
  readonly map: (name: MapName) => BpfMap
  /** `ingress` is `xdp` for uplinks that cannot have it; `egress` turns answers that leave through the host's stack. */
  readonly uplink: UplinkPrograms
  readonly podTc: BpfProgram
  /** At the same devices' tc egress, where policy is enforced. */
  readonly podEgressTc: BpfProgram
  /** Answers with what the programs call now, in flow ticks. */
  readonly flowClock: BpfProgram
  /** cgroup hooks; each knows where it attaches. */
  readonly socket: readonly BpfProgram[]
  /** cgroup hooks that close pods whom policy does not know; none where policy is not enforced. */
  readonly closed: readonly BpfProgram[]
  /** Judges the making of sockets that those do not see; undefined where policy is not enforced, or the kernel lacks it. */
  readonly unseen: BpfProgram | undefined
  /** Why it lacks it. */
  readonly noUnseen: string | undefined
  /** Lists of translated sockets; undefined where the kernel lacks them, and why. */
  readonly socketLists: SocketLists | undefined
  readonly noSocketLists: string | undefined
  /** Every pinned map, by the path of its pin. */
  readonly pinned: ReadonlyMap<string, BpfMap>
  /** Maps whose rows came from an earlier layout or capacity. */
  readonly moved: readonly Moved[]
  /** To be called when every program has been replaced on its link: brings over what came meanwhile, and lets the old maps go. */
  readonly finishMigration: () => void
  readonly close: () => void
}

/** Loads everything. Throws DatapathError or BpfError (verifier, layout) and leaves pinned state as it was. */
export function loadDatapath(options: LoadOptions): LoadedDatapath {
  if (options.bpffs.startsWith('/sys/fs/bpf/')) ensureBpffs()
  makePinDirectory(join(options.bpffs, 'maps'))
  if (!isBpffs(options.bpffs)) {
    throw new DatapathError(
      'NO_BPFFS',
      `${options.bpffs} is not on a bpf file system: mount one there, or set datapath.bpffs below /sys/fs/bpf`,
    )
  }
  const objects: LoadedObject[] = []
  try {
    return loadInto(objects, options)
  } catch (error) {
    for (const object of objects) object.close()
    throw error
  }
}

/** @param objects is given each as soon as it is loaded */
function loadInto(objects: LoadedObject[], options: LoadOptions): LoadedDatapath {
  const pins = new MapPins(options.bpffs)
  const config = nodeConfig(options)
  const load = (file: string, its = config) => {
    const object = loadOne(options, file, its, pins)
    objects.push(object)
    return object
  }
  const { enforcesPolicy } = options.settings
  const xdp = load(OBJECT_FILES.xdp)
  const tc = load(OBJECT_FILES.tc)
  const uplinkTc = load(OBJECT_FILES.uplinkTc)
  const { lists: socketLists, problem: noSocketLists, kernelSocketBit } = loadIterators(load)
  const socket = load(
    OBJECT_FILES.socket,
    abi.encodeNodeConfig({ ...abi.decodeNodeConfig(config), kernelSocketBit }),
  )
  const closed = enforcesPolicy ? load(OBJECT_FILES.closed) : undefined
  const unseen = enforcesPolicy ? loadUnseen(load) : {}
  const map = (name: string) => (objects.find((object) => object.maps.has(name)) ?? xdp).map(name)
  const maps = bringOver(options, pins, map, abi.decodeNodeConfig(config).flowSecret)
  return {
    map,
    uplink: {
      xdp: xdp.program('weir_uplink_xdp'),
      ingress: uplinkTc.program('weir_uplink_ingress'),
      behindXdp: behindXdp(options, uplinkTc),
      egress: uplinkTc.program('weir_uplink_egress'),
    },
    podTc: tc.program('weir_pod_tc'),
    podEgressTc: tc.program('weir_pod_egress_tc'),
    flowClock: tc.program('weir_flow_clock'),
    socket: [...socket.programs.values()],
    closed: [...(closed?.programs.values() ?? [])],
    unseen: unseen.program,
    noUnseen: unseen.problem,
    socketLists,
    noSocketLists,
    pinned: maps.pinned,
    moved: maps.moved,
    finishMigration: maps.finish,
    close: () => {
      socketLists?.udp.close()
      socketLists?.tcp.close()
      for (const object of objects) object.close()
      maps.secret.close()
    },
  }
}

/** Holds the maps against their layouts, and brings over the rows of those that had another one. */
function bringOver(
  { bpffs }: LoadOptions,
  pins: MapPins,
  map: (name: string) => BpfMap,
  flowSecret: readonly bigint[],
) {
  for (const [name, layout] of Object.entries(LAYOUTS))
    if (name !== 'secrets') checkMapLayout(map(name), layout)
  const migration = new Migration(pins, map, flowSecret)
  const moved = migration.copy()
  const secret = BpfMap.openPinned(secretPin(bpffs))
  const pinned = new Map([...pins.plans].map(([name, { path }]) => [path, map(name)]))
  pinned.set(secretPin(bpffs), secret)
  return { moved, pinned, secret, finish: () => migration.finish() }
}

/** Frames that were never on a wire need all of it; elsewhere the node's own policy is what is left to do. */
function behindXdp({ redirectsOnly, settings }: LoadOptions, uplinkTc: LoadedObject): BpfProgram | undefined {
  if (redirectsOnly) return uplinkTc.program('weir_uplink_ingress')
  return settings.enforcesPolicy ? uplinkTc.program('weir_host_ingress') : undefined
}

/** Kernels may lack programs on their own functions, or refuse them. */
function loadUnseen(load: (file: string) => LoadedObject): {
  readonly program?: BpfProgram
  readonly problem?: string
} {
  try {
    const object = load(OBJECT_FILES.unseen)
    return { program: object.program('weir_closed_create') }
  } catch (error) {
    if (!(error instanceof BpfError)) throw error
    return { problem: error.message }
  }
}

/** Another object that the datapath can do without: kernels may lack iterators, or the types of their own structures. */
function loadIterators(load: (file: string) => LoadedObject): {
  readonly lists?: SocketLists
  readonly problem?: string
  readonly kernelSocketBit: number
} {
  try {
    const object = load(OBJECT_FILES.iterators)
    const open = (name: string) => new BpfIterator(object.program(name))
    const kernelSocketBit = object.program('weir_kernel_socket_bit').testRun({ repeat: 0 }).returnValue
    return { lists: { udp: open('weir_list_udp'), tcp: open('weir_list_tcp') }, kernelSocketBit }
  } catch (error) {
    if (!(error instanceof BpfError)) throw error
    return { problem: error.message, kernelSocketBit: 0 }
  }
}

function loadOne(options: LoadOptions, file: string, config: Buffer, pins: MapPins): LoadedObject {
  const path = join(options.objects ?? BUILT_OBJECTS, file)
  if (!existsSync(path)) {
    throw new DatapathError('NOT_BUILT', `${path} is missing: run 'npm run build', or set datapath.objects`)
  }
  const spec = openObject(path)
  for (const map of spec.maps.values()) {
    if (map.isInternal) continue
    const entries = entriesOf(map.name, options.settings)
    if (entries !== undefined) map.setMaxEntries(entries)
    map.setPinPath(pins.plan(map.name, map.maxEntries).path)
  }
  if (spec.hasConstant('node_config')) spec.setConstant('node_config', config)
  if (spec.hasConstant('uses_frontend_filter')) spec.setConstant('uses_frontend_filter', 1)
  return spec.load()
}

/** The load-time constant of every object. */
export function nodeConfig({ bpffs, tunnelAddresses, redirectsOnly, settings }: LoadOptions): Buffer {
  const none = new Uint8Array(16)
  const { ipv4, ipv6 } = tunnelAddresses
  const flowSecret = readSecret(bpffs)
  return abi.encodeNodeConfig({
    tunnelIpv4: ipv4 === undefined ? none : addressToBytes(ipv4),
    tunnelIpv6: ipv6 === undefined ? none : addressToBytes(ipv6),
    hostNetnsCookie: networkNamespaceCookie(),
    flowSecret,
    flowKeys: flowSecret.map(stretchHashKey),
    nodeId: 0,
    tickShift: tickShift(),
    flowSetMask: Math.max(0, (entriesOf('flows', settings) ?? 0) - 1),
    redirectsOnly: redirectsOnly ? 1 : 0,
    snatPortFirst: settings.snatPorts?.first ?? 0,
    snatPortLast: settings.snatPorts?.last ?? 0,
    masqueradePortFirst: settings.masqueradePorts?.first ?? 0,
    masqueradePortLast: settings.masqueradePorts?.last ?? 0,
    mssIpv4: settings.mss.ipv4,
    mssIpv6: settings.mss.ipv6,
    tunnelKind: abi.TunnelKind[settings.tunnel === 'ipip' ? 'TUNNEL_IPIP' : 'TUNNEL_GENEVE'],
    perPacket: settings.perPacket ? 1 : 0,
    enforcesPolicy: settings.enforcesPolicy ? 1 : 0,
    kernelSocketBit: 0,
  })
}

/** The key of the flow table's hash: drawn when there is none, for flows written with another would never be found again. */
function readSecret(bpffs: string): readonly bigint[] {
  const pin = secretPin(bpffs)
  const row = Buffer.alloc(4)
  const pinned = BpfMap.openPinnedIfAny(pin)
  const map =
    pinned ??
    createMap({ name: 'secrets', type: 'array', keySize: 4, valueSize: abi.SECRET_BYTES, maxEntries: 1 })
  try {
    const known = pinned && map.lookup(row)
    if (known?.some((byte) => byte !== 0)) return abi.decodeSecret(known).flow
    const drawn = randomBytes(abi.SECRET_BYTES)
    map.update(row, drawn)
    // Pinned only when it holds the secret: a process killed in between leaves nothing behind.
    if (!pinned) map.pin(pin)
    return abi.decodeSecret(drawn).flow
  } finally {
    map.close()
  }
}

/** A flow's tick is the power of two of jiffies nearest to a second. */
function tickShift(): number {
  return Math.round(Math.log2(kernelHertz()))
}

/** How long a tick takes. */
export function tickSeconds(): number {
  return 2 ** tickShift() / kernelHertz()
}
