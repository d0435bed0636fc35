// A node as the programs see it: everything loaded, the tables written by the product's own planners and writers for a cluster of N
// Services. No program is attached anywhere; packets come by test run.

import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { FlowTable } from '../../src/datapath/flow-table.ts'
import { GatheredTables } from '../../src/datapath/gathered-tables.ts'
import {
  type DatapathSettings,
  DEFAULT_SETTINGS,
  type LoadedDatapath,
  type LoadOptions,
  loadDatapath,
  tickSeconds,
} from '../../src/datapath/load.ts'
import { datapathTables, type FlowNames, flowNames, readMetrics } from '../../src/datapath/maps.ts'
import { NexthopMaps } from '../../src/datapath/nexthop-maps.ts'
import { ServiceMaps } from '../../src/datapath/service-maps.ts'
import { FAMILIES } from '../../src/model/address.ts'
import { type PlanContext, planService } from '../../src/services/plan-service.ts'
import { type Link, mac } from '../../test/bpf/packet.ts'
import { addressIn, clusterNode, clusterServices, NODES, PODS_HERE, SELF } from './cluster.ts'

/** Test runs come in by the loopback device. */
export const LOOPBACK_IFINDEX = 1
const UPLINK_IFINDEX = LOOPBACK_IFINDEX
const POD_IFINDEX_FIRST = 1000
const UPLINK_MTU = 9000
const POD_MTU = 1500
/** Services applied between two writes. */
const GATHERED = 500

export const FROM_ROUTER: Link = { destination: '06:00:00:00:00:01', source: '06:00:00:00:00:fe' }
export const TO_ROUTER: Link = { destination: FROM_ROUTER.source, source: FROM_ROUTER.destination }
const octet = (number: number) => number.toString(16).padStart(2, '0')
export const toPod = (number: number): Link => ({
  destination: `0a:00:00:00:00:${octet(number)}`,
  source: `0b:00:00:00:00:${octet(number)}`,
})

export interface BedOptions {
  /** Services besides those that carry the fixed flows. */
  readonly services: number
  /** Directory of compiled objects; undefined: this checkout's. */
  readonly objects: string | undefined
  /** What differs from the settings as shipped. */
  readonly settings: Partial<DatapathSettings>
  /** One device for all pods: where policy is enforced, what a pod sends has to come by its own. Without it each has one. */
  readonly podIfindex?: number
  /** Pods of this node; without it those that the Services' endpoints are. */
  readonly pods?: number
}

/**
 * What a hundred thousand Services need: every size is then measured with maps of the same shape. And ports for flows that are spread
 * over the six endpoints that ten Services have of a kind.
 */
export const SETTINGS_AT_SIZE: Partial<DatapathSettings> = {
  capacities: { frontends: 1 << 20, slots: 1 << 26, backends: 1 << 19 },
  snatPorts: { first: 10_000, last: 65_535 },
}

export class Bed {
  readonly options: BedOptions
  readonly datapath: LoadedDatapath
  readonly loadOptions: LoadOptions
  readonly table: FlowTable
  readonly names: FlowNames

  constructor(options: BedOptions) {
    this.options = options
    // Found by this name, and taken away, when this process was killed: tools/test-leftovers.ts.
    const name = `weir-test-packet-${randomBytes(4).toString('hex')}-${process.pid}`
    this.loadOptions = {
      bpffs: `/sys/fs/bpf/${name}`,
      objects: options.objects,
      redirectsOnly: false,
      settings: { ...DEFAULT_SETTINGS, ...options.settings },
      tunnelAddresses: { ipv4: addressIn('ipv4', 'node', 0), ipv6: addressIn('ipv6', 'node', 0) },
    }
    this.datapath = loadDatapath(this.loadOptions)
    this.names = flowNames(this.datapath.map)
    this.table = openFlowTable(this.datapath)
    try {
      fill(this.datapath, options)
    } catch (error) {
      this.close()
      throw error
    }
  }

  close(): void {
    this.datapath.close()
    rmSync(this.loadOptions.bpffs, { recursive: true, force: true })
  }

  /** Packets counted since the programs were loaded, by reason. */
  #counted(): Record<string, number> {
    const metrics = readMetrics(this.datapath.map('metrics'))
    return Object.fromEntries(Object.entries(metrics).map(([reason, { packets }]) => [reason, packets]))
  }

  /** Packets counted while it runs, by reason. */
  countedIn(run: () => void): Record<string, number> {
    const before = this.#counted()
    run()
    return Object.fromEntries(
      Object.entries(this.#counted())
        .map(([reason, count]) => [reason, count - (before[reason] ?? 0)] as const)
        .filter(([, count]) => count > 0),
    )
  }
}

function openFlowTable({ map, flowClock }: LoadedDatapath): FlowTable {
  const memory = { flows: map('flows').mmap(), details: map('flow_details').mmap() }
  // The kernel takes no repetitions of a program of this type.
  const clock = () => flowClock.testRun({ repeat: 0 }).returnValue
  return new FlowTable({ ...memory, sets: map('flows').info.maxEntries }, clock)
}

const CONTEXT: PlanContext = {
  nodeName: SELF,
  zone: () => undefined,
  forwarding: 'dsr',
  isVip: () => true,
  isNode: () => true,
  nodeOf: () => undefined,
  nodePortAddresses: () => [],
  nodeAddresses: () => [],
  mayBeExternal: () => true,
}

function fill(datapath: LoadedDatapath, options: BedOptions): void {
  const tables = datapathTables(datapath.map)
  const nexthops = new NexthopMaps(tables, Date.now)
  describeSurroundings(nexthops, options)
  const gathered = new GatheredTables(tables)
  const maps = new ServiceMaps({
    tables: gathered,
    nowMs: Date.now,
    tickSeconds: tickSeconds(),
    place: (backend) =>
      backend.nodeName === SELF
        ? { isLocal: true, nexthopId: nexthops.podRow(backend.address), nodeId: 0 }
        : { isLocal: false, ...nexthops.nodeRow(backend.nodeName ?? '') },
  })
  gathered.gather()
  let waiting = 0
  for (const { service, slices } of clusterServices(options.services)) {
    const { problems } = maps.apply(service.key, planService(service, slices, CONTEXT))
    if (problems.length > 0) throw new Error(`${service.key} could not be written: ${problems.join('; ')}`)
    waiting += 1
    if (waiting % GATHERED === 0) gathered.flush()
  }
  gathered.finish()
}

/** One uplink with a router behind it, the other nodes, and this node's pods. */
function describeSurroundings(
  nexthops: NexthopMaps,
  { pods: podCount = PODS_HERE, podIfindex }: BedOptions,
): void {
  const uplink = {
    name: 'uplink',
    ifindex: UPLINK_IFINDEX,
    mac: mac(TO_ROUTER.source),
    isUp: true,
    mtu: UPLINK_MTU,
  }
  const gateways = FAMILIES.map((family) => ({
    family,
    ifindex: UPLINK_IFINDEX,
    address: addressIn(family, 'elsewhere', 1),
    mac: mac(TO_ROUTER.destination),
  }))
  nexthops.setUplinks([uplink], gateways)
  const others = Array.from({ length: NODES }, (_, index) => clusterNode(index + 1))
  nexthops.setNodes(clusterNode(0), others, [uplink])
  const pods = Array.from({ length: podCount }, (_, number) =>
    FAMILIES.map((family) => ({
      address: addressIn(family, 'podHere', number),
      ifindex: podIfindex ?? POD_IFINDEX_FIRST + number,
      hostMac: mac(toPod(number).source),
      podMac: mac(toPod(number).destination),
      mtu: POD_MTU,
      takesRedirects: true,
      mayBypass: false,
      namespace: undefined,
    })),
  )
  nexthops.setPods(pods.flat(), new Set())
}
