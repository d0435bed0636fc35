// A node with a few Services, written straight into freshly loaded and pinned maps: the cast of every packet test.
//
//   port 80  backend on another node        port 90  no endpoint anywhere
//   port 81  backend on this node           port 91  Local policy, endpoints elsewhere
//   port 82  on this node, by the stack     port 0   catches the rest of the address
//   port 84  on another node, masqueraded
//
// TCP, UDP and SCTP, IPv4 and IPv6 alike. Interface 1 is the one that packets come in by (test runs use loopback), 2 to 4 are others.

import { rmSync } from 'node:fs'
import * as abi from '../../src/datapath/abi.gen.ts'
import { FrontendFilter } from '../../src/datapath/frontend-filter.ts'
import {
  type DatapathSettings,
  DEFAULT_SETTINGS,
  type LoadedDatapath,
  loadDatapath,
  nodeConfig,
} from '../../src/datapath/load.ts'
import { type Address, address, addressToBytes, type Family } from '../../src/model/address.ts'
import type { BpfMap } from '../../src/sys/libbpf-ts/index.ts'
import { type Frame, frame, type Link, mac, SCTP, TCP, UDP } from './packet.ts'

const { REASON_COUNT } = abi.VerdictReason
export const XDP = { DROP: 1, PASS: 2, TX: 3, REDIRECT: 4 } as const
export const TC = { OK: 0, DROP: 2, REDIRECT: 7 } as const

/** From the router to this node, and what the next hops' rows say. */
export const ARRIVING: Link = { destination: '02:00:00:00:00:01', source: '02:00:00:00:00:fe' }
export const TO_POD: Link = { destination: '0a:00:00:00:00:02', source: '0a:00:00:00:00:01' }
export const FROM_POD: Link = { destination: TO_POD.source, source: TO_POD.destination }
export const UPLINK: Link = { destination: '06:00:00:00:00:fe', source: '06:00:00:00:00:01' }
export const TO_LOCAL_CLIENT: Link = { destination: '0c:00:00:00:00:02', source: '0c:00:00:00:00:01' }
const IFINDEX = { arriving: 1, pod: 2, otherUplink: 3 } as const

export const POD_MTU = 1500
export const TUNNEL_MTU = 2000
const ROW = { pod: 16, tunnelIpv4: 17, tunnelIpv6: 18, elsewhere: 19, localClient: 20 } as const

export interface Cast {
  readonly client: Address
  readonly localClient: Address
  readonly vip: Address
  readonly pod: Address
  readonly remotePod: Address
  readonly stranger: Address
  readonly node: Address
  readonly otherNode: Address
}

const CAST: Readonly<Record<Family, Cast>> = {
  ipv4: {
    client: address('198.51.100.7'),
    localClient: address('10.244.1.9'),
    vip: address('203.0.113.10'),
    pod: address('10.244.1.5'),
    remotePod: address('10.244.2.5'),
    stranger: address('192.0.2.77'),
    node: address('10.255.0.1'),
    otherNode: address('10.255.0.2'),
  },
  ipv6: {
    client: address('2001:db8:c::7'),
    localClient: address('fd00:244:1::9'),
    vip: address('2001:db8:113::10'),
    pod: address('fd00:244:1::5'),
    remotePod: address('fd00:244:2::5'),
    stranger: address('2001:db8:bad::77'),
    node: address('fd00:255::1'),
    otherNode: address('fd00:255::2'),
  },
}

export const SERVICE = 700
export const SCTP_INIT = 1
export const TARGET_PORT = 8080
export const BACKEND = { remote: 1, local: 2, byStack: 3, second: 4 } as const

export function flowState({ word }: abi.Flow): number {
  const { FLOW_STATE_SHIFT, FLOW_STATE_BITS } = abi.AbiConstant
  return Number(word >> BigInt(FLOW_STATE_SHIFT)) & ((1 << FLOW_STATE_BITS) - 1)
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

/** Backend, frontend and slot numbers of each family and protocol are apart. */
function base(family: Family, protocol: number): number {
  return (family === 'ipv4' ? 0 : 200) + (protocol === TCP ? 0 : 100) + (protocol === SCTP ? 300 : 0)
}

export class World {
  readonly datapath: LoadedDatapath
  /** The load-time constant `node_config`. */
  readonly config: Buffer
  readonly #bpffs: string
  readonly #flows: Uint8Array
  readonly #filter: FrontendFilter
  #slots: Uint32Array | undefined

  /** @param redirectsOnly as on a node whose uplinks are veths */
  constructor(name: string, redirectsOnly = false, settings: Partial<DatapathSettings> = {}) {
    this.#bpffs = `/sys/fs/bpf/weir-test-${name}-${process.pid}`
    const options = {
      bpffs: this.#bpffs,
      objects: undefined,
      redirectsOnly,
      settings: { ...DEFAULT_SETTINGS, ...settings },
      tunnelAddresses: { ipv4: CAST.ipv4.node, ipv6: CAST.ipv6.node },
    }
    this.datapath = loadDatapath(options)
    this.config = nodeConfig(options)
    this.#flows = new Uint8Array(this.datapath.map('flows').mmap())
    this.#writeNexthops()
    this.#filter = new FrontendFilter(new Uint32Array(this.map('frontend_filter').mmap()))
    for (const family of ['ipv4', 'ipv6'] as const) {
      this.#filter.hold(CAST[family].vip)
      this.#writeNodesAndPods(family)
      for (const protocol of [TCP, UDP, SCTP]) this.#writeServices(family, protocol)
    }
  }

  close(): void {
    this.datapath.close()
    rmSync(this.#bpffs, { recursive: true, force: true })
  }

  cast(family: Family): Cast {
    return CAST[family]
  }

  map(name: Parameters<LoadedDatapath['map']>[0]): BpfMap {
    return this.datapath.map(name)
  }

  /** Makes packets of this address be looked up, or no longer. */
  admit(held: Address): void {
    this.#filter.hold(held)
  }

  refuse(held: Address): void {
    this.#filter.release(held)
  }

  forgetFlows(): void {
    this.#flows.fill(0)
  }

  get flowBytes(): Uint8Array {
    return this.#flows
  }

  flows(): abi.Flow[] {
    const found: abi.Flow[] = []
    this.#eachLive((_bytes, _at, flow) => found.push(flow))
    return found
  }

  /** A request of the client to the VIP. */
  request(family: Family, protocol: number, port: number): Frame {
    const { client, vip } = CAST[family]
    const blank = frame(ARRIVING).from(client, 40000).to(vip, port).payload(23)
    if (protocol === SCTP) return blank.sctp(SCTP_INIT)
    return protocol === TCP ? blank.tcp('syn') : blank.udp()
  }

  /** Packets counted so far, by reason; reasons never counted are absent. */
  metrics(): ReadonlyMap<number, number> {
    const map = this.map('metrics')
    const counted = new Map<number, number>()
    for (let reason = 0; reason < REASON_COUNT; reason++) {
      const rows = map.splitPerCpu(map.lookup(u32(reason)) ?? Buffer.alloc(0))
      const packets = rows.reduce((sum, row) => sum + Number(abi.decodeMetric(row).packets), 0)
      if (packets > 0) counted.set(reason, packets)
    }
    return counted
  }

  setBackendState(family: Family, protocol: number, number: number, state: number): void {
    this.changeBackend(family, protocol, number, { state })
  }

  /** @returns what the row was */
  changeBackend(family: Family, protocol: number, number: number, change: Partial<abi.Backend>): abi.Backend {
    const row = u32(base(family, protocol) + number)
    const backend = abi.decodeBackend(this.map('backends').lookup(row) ?? Buffer.alloc(abi.BACKEND_BYTES))
    this.map('backends').update(row, abi.encodeBackend({ ...backend, ...change }))
    return backend
  }

  /** Changes what a port's frontend says. */
  changeFrontend(family: Family, protocol: number, port: number, change: Partial<abi.Frontend>): void {
    const key = abi.encodeFrontendKey({ address: addressToBytes(CAST[family].vip), port, protocol })
    const row = abi.decodeFrontend(this.map('frontends').lookup(key) ?? Buffer.alloc(abi.FRONTEND_BYTES))
    this.map('frontends').update(key, abi.encodeFrontend({ ...row, ...change }))
  }

  /** Writes a slot table of these backends. @returns its range */
  writeTable(
    family: Family,
    protocol: number,
    first: number,
    backends: readonly number[],
  ): { base: number; size: number } {
    this.#slots ??= new Uint32Array(this.map('slots').mmap())
    this.#slots.set(
      backends.map((backend) => base(family, protocol) + backend),
      first,
    )
    return { base: first, size: backends.length }
  }

  /** Points a port's Cluster set at one backend. */
  pointPort(family: Family, protocol: number, port: number, backend: number): void {
    this.#writeSlot(base(family, protocol) + port - 80, base(family, protocol) + backend)
  }

  /** The row of a Service port: what a REPLY entry names. */
  frontendId(family: Family, protocol: number, port: number): number {
    return base(family, protocol) + port
  }

  backendId(family: Family, protocol: number, backend: number): number {
    return base(family, protocol) + backend
  }

  setUplinkMembers(count: number, mtu = 0): void {
    for (const row of [abi.NexthopRow.NEXTHOP_UPLINKS_IPV4, abi.NexthopRow.NEXTHOP_UPLINKS_IPV6])
      this.#writeNexthop(row, { kind: abi.NexthopKind.NEXTHOP_KIND_GROUP, memberCount: count, mtu })
  }

  /** Makes the last packet of these entries older by ticks. */
  age(ticks: number, applies: (flow: abi.Flow) => boolean = () => true): void {
    this.#eachLive((bytes, at, flow) => {
      const mask = (1n << BigInt(abi.AbiConstant.FLOW_TICK_BITS)) - 1n
      const tick = (flow.word - BigInt(ticks)) & mask
      if (applies(flow)) bytes.writeBigUInt64LE((flow.word & ~mask) | tick, at)
    })
  }

  /** Frees entries, as the sweeper does. */
  free(applies: (flow: abi.Flow) => boolean): void {
    this.#eachLive((bytes, at, flow) => {
      if (applies(flow)) bytes.fill(0, at, at + abi.FLOW_BYTES)
    })
  }

  #eachLive(visit: (bytes: Buffer, at: number, flow: abi.Flow) => void): void {
    const bytes = Buffer.from(this.#flows.buffer)
    for (let at = 0; at < bytes.length; at += abi.FLOW_BYTES) {
      if (bytes.readBigUInt64LE(at) === 0n) continue
      const flow = abi.decodeFlow(bytes, at)
      if (flowState(flow) > abi.FlowState.FLOW_BUSY) visit(bytes, at, flow)
    }
  }

  #writeNexthop(
    row: number,
    value: Partial<abi.Nexthop>,
    link: Link = UPLINK,
    ifindex: number = IFINDEX.arriving,
  ) {
    const member = { ifindex, destination: mac(link.destination), source: mac(link.source) }
    const none = { ifindex: 0, destination: Buffer.alloc(6), source: Buffer.alloc(6) }
    const nexthop = {
      ...{ kind: 0, flags: 0, memberCount: 0, membersDown: 0, via: 0, mtu: 0, remote: Buffer.alloc(16) },
      ...value,
    }
    const members = Array.from({ length: abi.AbiConstant.NEXTHOP_MEMBERS }, (_, index) =>
      index === 0 ? member : none,
    )
    this.map('nexthops').update(u32(row), abi.encodeNexthop({ ...nexthop, members }))
  }

  #writeNexthops(): void {
    const { NEXTHOP_KIND_DEVICE, NEXTHOP_KIND_TUNNEL } = abi.NexthopKind
    const { NEXTHOP_REDIRECT, NEXTHOP_TUNNEL_IPV6 } = abi.NexthopFlags
    const { NEXTHOP_UPLINKS_IPV4, NEXTHOP_UPLINKS_IPV6 } = abi.NexthopRow
    this.setUplinkMembers(1)
    const device = { kind: NEXTHOP_KIND_DEVICE, flags: NEXTHOP_REDIRECT, memberCount: 1, mtu: POD_MTU }
    this.#writeNexthop(ROW.pod, device, TO_POD, IFINDEX.pod)
    this.#writeNexthop(ROW.localClient, device, TO_LOCAL_CLIENT, IFINDEX.pod)
    const tunnel = { kind: NEXTHOP_KIND_TUNNEL, mtu: TUNNEL_MTU }
    const remote = (family: Family) => addressToBytes(CAST[family].otherNode)
    this.#writeNexthop(ROW.tunnelIpv4, { ...tunnel, via: NEXTHOP_UPLINKS_IPV4, remote: remote('ipv4') })
    this.#writeNexthop(ROW.tunnelIpv6, {
      ...tunnel,
      flags: NEXTHOP_TUNNEL_IPV6,
      via: NEXTHOP_UPLINKS_IPV6,
      remote: remote('ipv6'),
    })
  }

  #writeNodesAndPods(family: Family): void {
    const { otherNode, localClient, pod } = CAST[family]
    this.map('nodes').update(
      addressToBytes(otherNode),
      abi.encodeNode({ nodeId: 2, nexthopId: ROW.tunnelIpv4 }),
    )
    for (const [at, link, nexthopId] of [
      [localClient, TO_LOCAL_CLIENT, ROW.localClient],
      [pod, TO_POD, ROW.pod],
    ] as const)
      this.map('endpoints').update(
        addressToBytes(at),
        abi.encodeEndpoint({
          ifindex: IFINDEX.pod,
          nexthopId,
          pod: mac(link.destination),
          host: mac(link.source),
        }),
      )
  }

  #writeServices(family: Family, protocol: number): void {
    const { FRONTEND_DSR, FRONTEND_EXTERNAL_LOCAL, FRONTEND_ANY_ENDPOINT } = abi.FrontendFlags
    const { BACKEND_LOCAL } = abi.BackendFlags
    const FRONTEND_EXTERNAL = abi.FrontendFlags.FRONTEND_EXTERNAL | FRONTEND_DSR
    const { pod, remotePod, vip } = CAST[family]
    const tunnel = family === 'ipv4' ? ROW.tunnelIpv4 : ROW.tunnelIpv6
    this.#writeBackend(family, protocol, BACKEND.remote, remotePod, 0, tunnel)
    this.#writeBackend(family, protocol, BACKEND.local, pod, BACKEND_LOCAL, ROW.pod)
    this.#writeBackend(family, protocol, BACKEND.byStack, pod, BACKEND_LOCAL, 0, TARGET_PORT + 1)
    this.#writeBackend(family, protocol, BACKEND.second, remotePod, 0, tunnel, TARGET_PORT + 1)
    for (const [port, backend] of [
      [80, BACKEND.remote],
      [81, BACKEND.local],
      [82, BACKEND.byStack],
    ] as const)
      this.#writeFrontend(family, protocol, port, FRONTEND_EXTERNAL | FRONTEND_ANY_ENDPOINT, backend)
    this.#writeFrontend(
      family,
      protocol,
      84,
      abi.FrontendFlags.FRONTEND_EXTERNAL | FRONTEND_ANY_ENDPOINT,
      BACKEND.remote,
    )
    this.#writeFrontend(family, protocol, 90, FRONTEND_EXTERNAL)
    this.#writeFrontend(
      family,
      protocol,
      91,
      FRONTEND_EXTERNAL | FRONTEND_EXTERNAL_LOCAL | FRONTEND_ANY_ENDPOINT,
    )
    const catchAll = { address: addressToBytes(vip), port: 0, protocol: 0 }
    this.map('frontends').update(abi.encodeFrontendKey(catchAll), encodeFrontend(0, 0, 0, 0))
  }

  #writeBackend(
    family: Family,
    protocol: number,
    number: number,
    at: Address,
    flags: number,
    nexthopId: number,
    port = TARGET_PORT,
  ): void {
    const id = base(family, protocol) + number
    const key = { address: addressToBytes(at), port, protocol }
    const row = { ...key, state: abi.BackendState.BACKEND_ACTIVE, flags, nexthopId, nodeId: 0 }
    this.map('backends').update(u32(id), abi.encodeBackend(row))
    this.map('backend_ids').update(abi.encodeBackendKey(key), u32(id))
  }

  #writeFrontend(family: Family, protocol: number, port: number, flags: number, backend?: number): void {
    const id = base(family, protocol) + port
    const slot = base(family, protocol) + port - 80
    const key = { address: addressToBytes(CAST[family].vip), port, protocol }
    if (backend !== undefined) this.#writeSlot(slot, base(family, protocol) + backend)
    this.map('frontends').update(abi.encodeFrontendKey(key), encodeFrontend(id, flags, slot, backend ? 1 : 0))
    this.map('frontend_addresses').update(u32(id), abi.encodeFrontendAddress({ ...key, serviceId: SERVICE }))
  }

  #writeSlot(slot: number, backend: number): void {
    const row = u32(slot >> 1)
    const pair = this.map('slots').lookup(row) ?? Buffer.alloc(8)
    pair.writeUInt32LE(backend, (slot % 2) * 4)
    this.map('slots').update(row, pair)
  }
}

function encodeFrontend(frontendId: number, flags: number, slot: number, size: number): Buffer {
  const none = { base: 0, size: 0 }
  const cluster = { base: slot, size }
  const ids = { frontendId, serviceId: SERVICE, flags, affinityTicks: 0, portId: 0 }
  return abi.encodeFrontend({ ...ids, cluster, clusterBefore: none, local: none, localBefore: none })
}
