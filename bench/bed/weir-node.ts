// Weir in the node of a bed: programs loaded and attached, tables written, by the product's own code. Only the agent's ears are missing: what
// it would learn from the API server and from netlink is told here.

import { rmSync } from 'node:fs'
import { Attachments, type HookChoice } from '../../src/datapath/attach.ts'
import { GatheredTables } from '../../src/datapath/gathered-tables.ts'
import { DEFAULT_SETTINGS, type LoadedDatapath, loadDatapath, tickSeconds } from '../../src/datapath/load.ts'
import { datapathTables, readMetrics } from '../../src/datapath/maps.ts'
import { NexthopMaps } from '../../src/datapath/nexthop-maps.ts'
import type { Uplink } from '../../src/datapath/nexthop-plan.ts'
import { ServiceMaps } from '../../src/datapath/service-maps.ts'
import { type Address, type Prefix, prefixContains } from '../../src/model/address.ts'
import type { Forwarding } from '../../src/model/service.ts'
import { type PlanContext, planService } from '../../src/services/plan-service.ts'
import { mac } from '../../test/bpf/packet.ts'
import {
  type BenchService,
  benchNode,
  benchServices,
  modelOf,
  NODE_ADDRESS,
  NODE_NAME,
  OTHER_NODES,
  PODS_HERE,
  podAddress,
} from './cluster.ts'
import { type Bed, CLIENT_ADDRESS, DEVICES, type Device, FAR_GATEWAY, MTU } from './topology.ts'

const VIP_POOL = '192.0.2.0/24' as Prefix
/** Services applied between two writes, as many as the agent gathers. */
const GATHERED = 500
/** From here on the shipped capacities have no room; see the README's table of capacities. */
const LARGE_SERVICES = 20_000
const LARGE_CAPACITIES = { frontends: 1 << 19, backends: 1 << 21 } as const
/** Tables before a change stand this long; nobody waits for it here. */
const GRACE_OVER_MS = 61_000

export interface WeirOptions {
  readonly hook: Exclude<HookChoice, 'auto'>
  /** Number of Services, see cluster.ts. */
  readonly size: number
  readonly protocol: 'tcp' | 'udp'
  /** How other nodes' pods are reached. */
  readonly forwarding: Forwarding
}

export class WeirNode {
  readonly loadMs: number
  readonly datapath: LoadedDatapath
  readonly bpffs: string
  readonly #attachments: Attachments
  readonly #maps: ServiceMaps
  readonly #gathered: GatheredTables
  readonly #context: PlanContext
  readonly #options: WeirOptions
  readonly #flows: Uint8Array
  #nowMs = Date.now()

  constructor(bed: Bed, options: WeirOptions) {
    this.#options = options
    this.bpffs = `/sys/fs/bpf/weir-test-${bed.name}-${process.pid}`
    this.datapath = bed.inside('node', () => this.#load())
    try {
      const tables = datapathTables(this.datapath.map)
      const nexthops = new NexthopMaps(tables, () => this.#nowMs)
      describeSurroundings(nexthops, bed)
      this.#context = contextOf(options)
      this.#gathered = new GatheredTables(tables)
      this.#maps = this.#openServices(this.#gathered, nexthops)
      this.loadMs = this.#applyAll()
      this.#flows = new Uint8Array(this.datapath.map('flows').mmap())
      this.#attachments = bed.inside('node', () => this.#attach())
    } catch (error) {
      this.#drop()
      throw error
    }
  }

  close(): void {
    this.#attachments.close()
    this.#drop()
  }

  forget(): void {
    this.#flows.fill(0)
  }

  /** Entries of the flow table. */
  get flowCapacity(): number {
    return this.datapath.map('flows').info.maxEntries * 4
  }

  /** Packets counted since the programs were loaded, by reason. */
  counted(): Record<string, number> {
    const metrics = readMetrics(this.datapath.map('metrics'))
    return Object.fromEntries(Object.entries(metrics).map(([reason, { packets }]) => [reason, packets]))
  }

  changeEndpoint(place: number): readonly number[] {
    const whole = serviceAt(place, this.#options)
    const reduced = { ...whole, endpoints: whole.endpoints.slice(0, -1) }
    return [reduced, whole].map((service) => {
      const taken = timed(() => this.#apply(service))
      this.#nowMs += GRACE_OVER_MS
      this.#maps.retire()
      return taken
    })
  }

  #load(): LoadedDatapath {
    const { size } = this.#options
    return loadDatapath({
      bpffs: this.bpffs,
      objects: undefined,
      redirectsOnly: true,
      settings: { ...DEFAULT_SETTINGS, capacities: size > LARGE_SERVICES ? LARGE_CAPACITIES : {} },
      tunnelAddresses: { ipv4: NODE_ADDRESS as Address, ipv6: undefined },
    })
  }

  #attach(): Attachments {
    const attachments = new Attachments(this.bpffs)
    for (const { name, ifindex } of UPLINKS)
      attachments.attachUplink(this.datapath.uplink, name, ifindex, this.#options.hook)
    attachments.attachPods(this.datapath.podTc, new Set([DEVICES.n1.ifindex]))
    return attachments
  }

  #openServices(tables: GatheredTables, nexthops: NexthopMaps): ServiceMaps {
    return new ServiceMaps({
      tables,
      nowMs: () => this.#nowMs,
      tickSeconds: tickSeconds(),
      place: (backend) =>
        backend.nodeName === NODE_NAME
          ? { isLocal: true, nexthopId: nexthops.podRow(backend.address), nodeId: 0 }
          : { isLocal: false, ...nexthops.nodeRow(backend.nodeName ?? '') },
    })
  }

  /** @returns milliseconds in planning and writing; making the objects is what the API server's answers would have done */
  #applyAll(): number {
    let spentMs = 0
    let waiting: BenchService[] = []
    const write = () => {
      const models = waiting.map(modelOf)
      spentMs += timed(() => {
        for (const { service, slices } of models) this.#applyModel(service, slices)
        this.#gathered.flush()
      })
      waiting = []
    }
    this.#gathered.gather()
    for (const service of benchServices(this.#options.size, this.#options.protocol)) {
      waiting.push(service)
      if (waiting.length === GATHERED) write()
    }
    write()
    spentMs += timed(() => this.#gathered.finish())
    return spentMs
  }

  #apply(service: BenchService): void {
    const model = modelOf(service)
    this.#applyModel(model.service, model.slices)
  }

  #applyModel(
    ...[service, slices]: [Parameters<typeof planService>[0], Parameters<typeof planService>[1]]
  ): void {
    const { problems } = this.#maps.apply(service.key, planService(service, slices, this.#context))
    if (problems.length > 0) throw new Error(`${service.key} could not be written: ${problems.join('; ')}`)
  }

  #drop(): void {
    this.datapath.close()
    rmSync(this.bpffs, { recursive: true, force: true })
  }
}

function timed(action: () => void): number {
  const begun = performance.now()
  action()
  return performance.now() - begun
}

function serviceAt(place: number, { size, protocol }: WeirOptions): BenchService {
  let index = 0
  for (const service of benchServices(size, protocol)) if (index++ === place) return service
  throw new Error(`there is no Service ${place} among ${size}`)
}

function uplinkOf({ name, ifindex, mac: text }: Device, mtu: number): Uplink {
  return { name, ifindex, mac: mac(text), isUp: true, mtu }
}

const UPLINKS: readonly Uplink[] = [uplinkOf(DEVICES.n0, MTU.edge), uplinkOf(DEVICES.n2, MTU.fabric)]

/** The default route, the other nodes, this node's pods: what the agent reads from netlink and the API. */
function describeSurroundings(nexthops: NexthopMaps, bed: Bed): void {
  const [out, gateway, via] =
    bed.wayOut === 'n0'
      ? ([DEVICES.n0, CLIENT_ADDRESS, DEVICES.c0] as const)
      : ([DEVICES.n2, FAR_GATEWAY, DEVICES.f0] as const)
  nexthops.setUplinks(UPLINKS, [
    { family: 'ipv4', ifindex: out.ifindex, address: gateway as Address, mac: mac(via.mac) },
  ])
  const others = Array.from({ length: OTHER_NODES }, (_, index) => benchNode(index + 1))
  nexthops.setNodes(benchNode(0), others, UPLINKS)
  const pods = Array.from({ length: PODS_HERE }, (_, pod) => ({
    address: podAddress(0, pod),
    ifindex: DEVICES.n1.ifindex,
    hostMac: mac(DEVICES.n1.mac),
    podMac: mac(DEVICES.b0.mac),
    mtu: MTU.edge,
    takesRedirects: true,
    mayBypass: true,
    namespace: undefined,
  }))
  nexthops.setPods(pods, new Set())
}

function contextOf({ forwarding }: WeirOptions): PlanContext {
  return {
    nodeName: NODE_NAME,
    zone: () => undefined,
    forwarding,
    isVip: (address) => prefixContains(VIP_POOL, address),
    isNode: () => true,
    nodeOf: () => undefined,
    nodePortAddresses: () => [],
    nodeAddresses: () => [NODE_ADDRESS as Address],
    mayBeExternal: () => false,
  }
}
