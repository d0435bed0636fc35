// A node's kernel half: its programs loaded, its maps written as of one cast, and devices to run frames at. Nothing is attached: each
// program is run where the kernel would run it, so no frame ever leaves.

import { execFileSync } from 'node:child_process'
import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import * as abi from '../../src/datapath/abi.gen.ts'
import { FrontendFilter } from '../../src/datapath/frontend-filter.ts'
import { DEFAULT_SETTINGS, type LoadedDatapath, loadDatapath } from '../../src/datapath/load.ts'
import { type DatapathTables, datapathTables, readMetrics } from '../../src/datapath/maps.ts'
import { PolicyMaps } from '../../src/datapath/policy-maps.ts'
import { type Address, FAMILIES, type Family, familyOf } from '../../src/model/address.ts'
import type { PolicyWorld } from '../../src/model/policy.ts'
import { PolicyCompiler } from '../../src/policy/compile/compiler.ts'
import { withNetworkNamespace } from '../../src/sys/libc/namespaces.ts'
import { deleteOrphans } from '../bpf/orphans.ts'
import { mac } from '../bpf/packet.ts'
import { changesBetween, merged } from '../policy/changing-world.ts'
import { compilerOptions } from '../policy/compiled.ts'
import { Random } from '../policy/random.ts'
import { type Cast, type FrameService, OWN, PODS_MAX, type PodHere, SERVICE_ADDRESSES } from './cast.ts'
import { LENT_PORTS } from './gates.ts'

/** The uplink; pods' devices follow. */
export const UPLINK_IFINDEX = 100
const POD_IFINDEX_BASE = 200
export const ROUTER_MAC = '06:00:00:00:00:fe'
export const UPLINK_MAC = '02:00:00:00:00:01'
const NEXTHOP_BASE = abi.NexthopRow.NEXTHOP_FIRST_FREE
const TUNNEL_ROWS: Readonly<Record<Family, number>> = { ipv4: NEXTHOP_BASE + 32, ipv6: NEXTHOP_BASE + 33 }
const MTU = 1500
const FLOWS = 4096
/** Longer than anything of policy rests. */
const WORLD_MS = 10_000_000
const NOBODY: PolicyWorld = {
  ...{ policies: [], pods: [], nodes: [], networkGroups: [], services: [], apiServers: [] },
  namespaces: new Map(),
}
const EVERYWHERE: Readonly<Record<Family, readonly string[]>> = {
  ipv4: ['address add 10.255.0.1/32 dev lo', 'route add default dev up0'],
  ipv6: ['route add default dev up0'],
}

const numberOf = (device: string) => Number(device.slice(1))
export const ifindexOf = (device: string): number => POD_IFINDEX_BASE + numberOf(device)
export const podMac = (device: string) => `0a:00:00:00:${hex(numberOf(device))}:02`
export const hostMac = (device: string) => `0a:00:00:00:${hex(numberOf(device))}:01`

function hex(number: number): string {
  return number.toString(16).padStart(2, '0')
}

function makeDevices(ip: (line: string) => void): void {
  const make = (device: string, index: number, address: string) => {
    ip(`link add ${device} index ${index} address ${address} type veth peer name ${device}end`)
    ip(`link set ${device}end up`)
    ip(`link set ${device} up`)
  }
  ip('link set lo up')
  make('up0', UPLINK_IFINDEX, UPLINK_MAC)
  for (const family of FAMILIES) {
    ip(`address add ${OWN[family]}/${family === 'ipv4' ? 32 : 128} dev lo`)
    for (const line of EVERYWHERE[family]) ip(`${family === 'ipv6' ? '-6 ' : ''}${line}`)
  }
  for (let number = 1; number <= PODS_MAX; number += 1) {
    const device = `p${number}`
    make(device, ifindexOf(device), hostMac(device))
    ip(`route add 10.0.1.${number}/32 dev ${device}`)
    ip(`-6 route add fd00::1:${number}/128 dev ${device}`)
  }
}

/** All that comes from elsewhere and goes on is forwarded, or every address would count as the node's own. */
function forwardEverything(): void {
  for (const family of FAMILIES)
    for (const device of readdirSync(`/proc/sys/net/${family}/conf`))
      writeFileSync(`/proc/sys/net/${family}/conf/${device}/forwarding`, '1')
}

/** An agent's compiler and writer, which live on from world to world. */
class Policies {
  readonly #maps: PolicyMaps
  #compiler: PolicyCompiler | undefined
  #world: PolicyWorld = NOBODY
  #nowMs = 0

  constructor(tables: DatapathTables['policy']) {
    this.#maps = new PolicyMaps(tables, () => this.#nowMs)
    this.#maps.settle()
  }

  /** @param isNew nothing of the world before is left, and no flow carries what it said */
  become(world: PolicyWorld, isNew: boolean): void {
    if (world === this.#world) return
    this.#compiler ??= new PolicyCompiler(compilerOptions(world))
    if (isNew) {
      this.#nowMs += WORLD_MS
      this.#maps.retire(() => false)
    }
    const change = merged(changesBetween(this.#world, world, new Random(0)))
    this.#maps.apply(this.#compiler.apply(change, this.#nowMs))
    this.#world = world
    const { lockedSets, classes, subjects } = this.#maps.shortage
    if (lockedSets + classes + subjects > 0) throw new Error('the maps are too small for this world')
  }
}

export class FramesBed {
  readonly datapath: LoadedDatapath
  readonly #namespace = `weir-t${process.pid}-frames`
  readonly #bpffs = `/sys/fs/bpf/weir-test-frames-${process.pid}`
  readonly #tables: DatapathTables
  readonly #policies: Policies
  readonly #filter: FrontendFilter
  readonly #flows: Uint8Array
  /** Rows of the cast before. */
  #written: (() => void)[] = []

  constructor() {
    deleteOrphans('frames')
    execFileSync('ip', ['netns', 'add', this.#namespace])
    makeDevices((line) => execFileSync('ip', ['-n', this.#namespace, ...line.split(' ')]))
    this.inside(forwardEverything)
    this.datapath = loadDatapath({
      bpffs: this.#bpffs,
      objects: undefined,
      redirectsOnly: false,
      settings: {
        ...DEFAULT_SETTINGS,
        ...{ enforcesPolicy: true, perPacket: true, capacities: { flows: FLOWS } },
        ...{ snatPorts: LENT_PORTS.snat, masqueradePorts: LENT_PORTS.masquerade },
      },
      tunnelAddresses: OWN,
    })
    this.#tables = datapathTables(this.datapath.map)
    this.#policies = new Policies(this.#tables.policy)
    this.#filter = new FrontendFilter(this.#tables.filter)
    this.#flows = new Uint8Array(this.datapath.map('flows').mmap())
    for (const held of [...SERVICE_ADDRESSES, ...Object.values(OWN)]) this.#filter.hold(held)
    this.#writeWays()
  }

  close(): void {
    this.datapath.close()
    execFileSync('ip', ['netns', 'delete', this.#namespace])
    rmSync(this.#bpffs, { recursive: true, force: true })
  }

  inside<T>(action: () => T): T {
    return withNetworkNamespace(`/run/netns/${this.#namespace}`, action)
  }

  /** Connections, and the ports of datagrams in pieces. */
  forget(): void {
    this.#flows.fill(0)
    const fragments = this.datapath.map('fragments')
    for (const { key } of [...fragments.entries()]) fragments.delete(key)
  }

  /** Policies change; who has them, and what goes on, stays. */
  turn(world: PolicyWorld): void {
    this.#policies.become(world, false)
  }

  /** Packets by what became of them, as the programs count. */
  reasons(): Readonly<Record<string, number>> {
    const counted = Object.entries(readMetrics(this.datapath.map('metrics')))
    return Object.fromEntries(counted.map(([reason, { packets }]) => [reason, packets]))
  }

  /** In place of the cast before. */
  begin(cast: Cast): void {
    for (const undo of this.#written.splice(0)) undo()
    this.#policies.become(cast.world, true)
    this.#writePods(cast)
    this.#writeServices(cast)
    for (const node of cast.otherNodes)
      this.#put(this.#tables.nodes, node, { nodeId: 2, nexthopId: TUNNEL_ROWS[familyOf(node)] })
    this.forget()
  }

  #put<K, V>(
    table: { readonly set: (key: K, value: V) => void; readonly delete: (key: K) => void },
    key: K,
    value: V,
  ): void {
    table.set(key, value)
    this.#written.push(() => table.delete(key))
  }

  #writeWays(): void {
    const member = { ifindex: UPLINK_IFINDEX, destination: mac(ROUTER_MAC), source: mac(UPLINK_MAC) }
    const group = { planned: { kind: 'group', members: [member], mtu: MTU }, via: 0 } as const
    const { NEXTHOP_UPLINKS_IPV4, NEXTHOP_UPLINKS_IPV6 } = abi.NexthopRow
    this.#tables.nexthops.set(NEXTHOP_UPLINKS_IPV4, group)
    this.#tables.nexthops.set(NEXTHOP_UPLINKS_IPV6, group)
    const others = { ipv4: '192.168.0.2', ipv6: 'fd01::2' } as Record<Family, Address>
    for (const family of FAMILIES) {
      const planned = { kind: 'tunnel', remote: others[family], mtu: MTU } as const
      const via = family === 'ipv4' ? NEXTHOP_UPLINKS_IPV4 : NEXTHOP_UPLINKS_IPV6
      this.#tables.nexthops.set(TUNNEL_ROWS[family], { planned, via })
    }
  }

  #writePods({ pods }: Cast): void {
    for (const { pod, device, way } of pods) {
      const ends = { destination: mac(podMac(device)), source: mac(hostMac(device)) }
      const member = { ifindex: ifindexOf(device), ...ends }
      const ways = { redirect: way === 'redirect', bypass: way === 'bypass' }
      const planned = { kind: 'device', member, mtu: MTU, ...ways } as const
      const nexthopId = NEXTHOP_BASE + numberOf(device)
      this.#tables.nexthops.set(nexthopId, { planned, via: 0 })
      for (const at of pod.addresses as readonly Address[])
        this.#put(this.#tables.endpoints, at, {
          ...{ ifindex: ifindexOf(device), nexthopId },
          ...{ podMac: ends.destination, hostMac: ends.source },
        })
    }
  }

  #writeServices(cast: Cast): void {
    let backendId = 1
    let slot = 0
    for (const at of SERVICE_ADDRESSES)
      this.#put(this.#tables.frontends, { address: at, port: 0, protocol: 'ANY' }, rowOf(0, 0, 0, 0))
    for (const [index, service] of cast.services.entries()) {
      const { at, backends } = service
      const protocol = PROTOCOL_NAMES[service.protocol]
      const base = slot
      for (const backend of backends) {
        const here = cast.podAt.get(backend.address)
        const key = { ...backend, protocol }
        this.#tables.backends.set(backendId, {
          ...{ ...key, state: 'active', isLocal: here !== undefined, nodeId: 0 },
          nexthopId: this.#rowOfBackend(backend.address, here),
        })
        this.#put(this.#tables.backendIds, key, backendId)
        this.#tables.slots[slot] = backendId
        slot += 1
        backendId += 1
      }
      const frontendId = index + 1
      const row = rowOf(frontendId, flagsOf(service), base, backends.length)
      this.#put(this.#tables.frontends, { ...at, protocol }, row)
      this.#tables.frontendAddresses.set(frontendId, { ...at, protocol, serviceId: frontendId })
    }
  }

  #rowOfBackend(at: Address, here: PodHere | undefined): number {
    return here ? NEXTHOP_BASE + numberOf(here.device) : TUNNEL_ROWS[familyOf(at)]
  }
}

const PROTOCOL_NAMES = { tcp: 'TCP', udp: 'UDP', sctp: 'SCTP' } as const

function flagsOf({ kind }: FrameService): number {
  const { FRONTEND_EXTERNAL, FRONTEND_DSR, FRONTEND_ANY_ENDPOINT, FRONTEND_OF_NODE } = abi.FrontendFlags
  if (kind === 'cluster') return FRONTEND_ANY_ENDPOINT
  if (kind === 'vip') return FRONTEND_EXTERNAL | FRONTEND_DSR | FRONTEND_ANY_ENDPOINT
  const external = FRONTEND_EXTERNAL | FRONTEND_ANY_ENDPOINT
  return kind === 'node-port' ? external | FRONTEND_OF_NODE : external
}

function rowOf(frontendId: number, flags: number, base: number, size: number) {
  const none = { base: 0, size: 0 }
  return {
    ...{ frontendId, serviceId: frontendId, flags, affinityTicks: 0, portId: 0 },
    ...{ cluster: { base, size }, clusterBefore: none, local: none, localBefore: none },
  }
}
