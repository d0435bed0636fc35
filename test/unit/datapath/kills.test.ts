// The writers of the kernel's tables, stopped before every single write: killed and started again on what they left, or refused
// by the kernel (a full table) and repeated by the same process. After each write a packet must find its way or be turned away, never be misled; at the end the tables say what those of a fresh start say.

import t from 'tap'
import { filterAdmits } from '../../../src/datapath/frontend-filter.ts'
import { NexthopMaps } from '../../../src/datapath/nexthop-maps.ts'
import type { PodDevice, Uplink } from '../../../src/datapath/nexthop-plan.ts'
import { ServiceMaps } from '../../../src/datapath/service-maps.ts'
import { type Address, address } from '../../../src/model/address.ts'
import { type ObjectKey, objectKey } from '../../../src/model/service.ts'
import {
  type DesiredBackend,
  type DesiredPort,
  makeBackend,
  makeFrontend,
} from '../../../src/services/desired.ts'
import { nodeRow } from '../model/rows.ts'
import { type MemoryTables, memoryTables } from './memory-tables.ts'

const HERE = 'a'
const GRACE_MS = 60_000
const SELF = nodeRow(HERE, { internalIps: { ipv4: address('10.255.0.1') } })
const MAC = new Uint8Array(6)
const UPLINK: Uplink = { name: 'up0', ifindex: 2, mac: MAC, isUp: true, mtu: 9000 }
const KEYS = [objectKey('shop', 'one'), objectKey('shop', 'two')] as const

/** Everything the agent knows at one time. Pods are numbers: even ones live here, odd ones on node b or c. */
interface Scene {
  readonly services: Readonly<Record<string, readonly number[]>>
  /** Local pods whose device is there, and its index. */
  readonly devices: Readonly<Record<number, number>>
  /** Names of other nodes, and the last byte of their addresses. */
  readonly nodes: Readonly<Record<string, number>>
}

const podAddress = (pod: number) => address(`10.244.1.${pod}`)
const nodeOf = (pod: number) => (pod % 2 === 0 ? HERE : pod % 4 === 1 ? 'b' : 'c')

function backendOf(pod: number): DesiredBackend {
  return makeBackend({
    address: podAddress(pod),
    port: 8080,
    protocol: 'TCP',
    nodeName: nodeOf(pod),
    state: 'active',
    weight: 1,
  })
}

function portsOf(service: ObjectKey, pods: readonly number[]): DesiredPort[] {
  const vip = address(`203.0.113.${KEYS.indexOf(service) + 1}`)
  const common = { service, family: 'ipv4', externalLocal: false, internalLocal: false } as const
  return [
    {
      ...common,
      id: `${service} 80`,
      portName: `${service} 80`,
      balancing: 'list',
      isRandom: false,
      forwarding: 'dsr',
      sourceRanges: [],
      frontends: [makeFrontend(vip, 80, 'TCP', 'load-balancer')],
      backends: pods.map(backendOf),
      cluster: pods.map((_, index) => index),
      local: [],
      anyEndpoint: pods.length > 0,
      affinitySeconds: 0,
      createdMs: 1,
    },
  ]
}

class Stopped extends Error {}

/** What becomes of the process whose write is stopped. */
type Ending = 'killed' | 'refused'

/** Rows of arrays are always there, and deleting succeeds; a hash can be full, or without memory. */
const REFUSABLE = /^(frontends|backend_ids|nodes|endpoints) set$/

/** One node's kernel tables, and the time; processes come and go. */
class Bed {
  readonly tables: MemoryTables = memoryTables(1 << 10, 1 << 8)
  nowMs = 0
  /** Writes until one is stopped. */
  fuse = Number.POSITIVE_INFINITY
  wasStopped = false
  readonly #scenes: Scene[] = []
  readonly #ending: Ending
  #isRepetition = false
  /** Who had a backend's number last, and until when flows may carry it. */
  readonly #holders = new Map<number, { name: Address; goneMs: number | undefined }>()
  #process: { nexthops: NexthopMaps; services: ServiceMaps; hasPruned: boolean } | undefined

  constructor(ending: Ending) {
    this.#ending = ending
    // The tables note every write before they do it.
    this.tables.journal.push = (...writes) => {
      this.check()
      if (ending === 'refused' && !writes.some((write) => REFUSABLE.test(write))) return 0
      if (this.fuse === 0) throw new Stopped()
      this.fuse -= 1
      return 0
    }
  }

  /** As the agent's service loop does it. Killed: the process is gone, its tables stay. @returns false when stopped */
  round(scene: Scene): boolean {
    if (this.#scenes.at(-1) !== scene) this.#scenes.push(scene)
    try {
      this.#write(scene)
      this.check()
      return true
    } catch (error) {
      if (!(error instanceof Stopped)) throw error
      if (this.#ending === 'killed') this.#process = undefined
      else this.#isRepetition = true
      this.wasStopped = true
      return false
    }
  }

  #start() {
    const nowMs = () => this.nowMs
    const nexthops = new NexthopMaps(this.tables, nowMs)
    const services = new ServiceMaps({
      tables: this.tables,
      nowMs,
      place: (backend) =>
        backend.nodeName === HERE
          ? { isLocal: true, nexthopId: nexthops.podRow(backend.address), nodeId: 0 }
          : { isLocal: false, ...nexthops.nodeRow(backend.nodeName ?? '') },
      placeAgain: (row) =>
        row.isLocal
          ? { isLocal: true, nexthopId: nexthops.podRow(row.address), nodeId: 0 }
          : { isLocal: false, ...nexthops.nodeRowOf(row.nodeId) },
    })
    return { nexthops, services, hasPruned: false }
  }

  #write(scene: Scene): void {
    this.#process ??= this.#start()
    const { nexthops, services, hasPruned } = this.#process
    nexthops.setUplinks([UPLINK], [])
    const pods = Object.entries(scene.devices).map(
      ([pod, ifindex]): PodDevice => ({
        address: podAddress(Number(pod)),
        ifindex,
        hostMac: MAC,
        podMac: MAC,
        mtu: 1500,
        takesRedirects: true,
        mayBypass: true,
        namespace: undefined,
      }),
    )
    const others = Object.entries(scene.nodes).map(([name, last]) =>
      nodeRow(name, { internalIps: { ipv4: address(`10.255.0.${last}`) } }),
    )
    const movedPods = nexthops.setPods(pods, new Set())
    const movedNodes = nexthops.setNodes(SELF, others, [UPLINK])
    services.refreshPlacement(
      (one) => this.#isRepetition || movedPods.has(one.address) || movedNodes.has(one.nodeName ?? ''),
    )
    for (const key of KEYS) {
      const listed = scene.services[key]
      services.apply(key, listed ? portsOf(key, listed) : [])
    }
    if (!hasPruned) {
      services.prune()
      nexthops.prune()
      this.#process.hasPruned = true
    }
    this.#isRepetition = false
    services.retire()
    nexthops.retire()
  }

  /** What any packet at this moment relies on. */
  check(): void {
    const { frontends, frontendAddresses, backends, backendIds, slots, endpoints, filter } = this.tables
    for (const [key, value] of frontends.entries()) {
      const row = frontendAddresses.rows.get(value.frontendId)
      expect(row?.address === key.address && row.port === key.port, `${key.address} has another's row`)
      expect(filterAdmits(filter, key.address), `${key.address} is not in the filter`)
      for (let slot = 0; slot < value.cluster.size; slot += 1) {
        const id = slots[value.cluster.base + slot] ?? 0
        expect(
          backends.rows.get(id)?.state === 'active',
          `slot ${slot} of ${key.address} leads to no backend`,
        )
      }
    }
    for (const [key, id] of backendIds.entries())
      expect(backends.rows.get(id)?.address === key.address, `the key of ${key.address} leads elsewhere`)
    for (const [pod, { nexthopId }] of endpoints.entries()) this.#expectDevice(pod, nexthopId)
    for (const [id, row] of backends.rows) this.#checkBackend(id, row.address, row.state !== 'active')
  }

  #checkBackend(id: number, name: Address, isGone: boolean): void {
    const row = this.tables.backends.rows.get(id)
    const nexthop = this.tables.nexthops.rows.get(row?.nexthopId ?? 0)?.planned
    if (row && !isGone && row.isLocal) this.#expectDevice(name, row.nexthopId)
    if (row && !isGone && !row.isLocal && row.nexthopId !== 0)
      expect(nexthop?.kind === 'tunnel', `${name} on another node is reached by a ${nexthop?.kind}`)
    const holder = this.#holders.get(id)
    if (holder && holder.name !== name)
      expect(
        holder.goneMs !== undefined && this.nowMs - holder.goneMs >= GRACE_MS,
        `number ${id} went from ${holder.name} to ${name} within the grace period`,
      )
    const goneMs = isGone ? (holder?.goneMs ?? this.nowMs) : undefined
    this.#holders.set(id, { name, goneMs })
  }

  /** A pod's row is its device's, of now or of just before, or says to leave delivery to the host. */
  #expectDevice(pod: Address, nexthopId: number): void {
    const planned = this.tables.nexthops.rows.get(nexthopId)?.planned
    if (!planned) return
    const number = Number(pod.slice(pod.lastIndexOf('.') + 1))
    const devices = this.#scenes.slice(-2).map((scene) => scene.devices[number])
    expect(planned.kind === 'device', `${pod} has a ${planned.kind} as its device`)
    const ifindex = planned.kind === 'device' ? planned.member?.ifindex : undefined
    expect(ifindex === undefined || devices.includes(ifindex), `${pod} gets device ${ifindex}`)
  }

  /** What the tables say, without their numbers. */
  meaning(): unknown {
    const { frontends, slots, backends, backendIds, nodes, endpoints, nexthops } = this.tables
    const reach = (id: number) => nexthops.rows.get(id) ?? null
    const backendText = (id: number) => {
      const row = backends.rows.get(id)
      return row && { ...row, nexthopId: reach(row.nexthopId), nodeId: 0 }
    }
    // What nobody lists any more may still have its key, for connections that last.
    const isListed = (id: number) => this.tables.backends.rows.get(id)?.state === 'active'
    const sorted = (rows: readonly unknown[]) => rows.map((row) => JSON.stringify(row)).sort()
    return {
      frontends: sorted(
        [...frontends.entries()].map(([key, { cluster }]) => [
          key,
          [...slots.subarray(cluster.base, cluster.base + cluster.size)].map(backendText),
        ]),
      ),
      keys: sorted(
        [...backendIds.entries()].filter(([, id]) => isListed(id)).map(([key, id]) => [key, backendText(id)]),
      ),
      nodes: sorted([...nodes.entries()].map(([key, { nexthopId }]) => [key, reach(nexthopId)])),
      endpoints: sorted([...endpoints.entries()].map(([key, v]) => [key, v.ifindex, reach(v.nexthopId)])),
    }
  }

  /** Rows that are not zero, when everything has rested. */
  get sizes() {
    const { frontends, frontendAddresses, backends, backendIds, nexthops, filter } = this.tables
    const bits = filter.reduce((sum, word) => sum + word.toString(2).replaceAll('0', '').length, 0)
    const rows = [frontends, frontendAddresses, backends, backendIds, nexthops].map(
      (table) => table.rows.size,
    )
    return [...rows, bits]
  }
}

function expect(isTrue: boolean, otherwise: string): void {
  if (!isTrue) throw new Error(otherwise)
}

const [one, two] = KEYS
const START: Scene = {
  services: { [one]: [2, 3], [two]: [3, 4] },
  devices: { 2: 12, 4: 14 },
  nodes: { b: 2, c: 3 },
}
const SCENES: Readonly<Record<string, readonly Scene[]>> = {
  'the first start': [],
  'an endpoint comes and another goes': [START, { ...START, services: { [one]: [2, 5], [two]: [4] } }],
  'a Service goes and another comes': [
    { ...START, services: { [one]: [2, 3] } },
    { ...START, services: { [two]: [3, 6] }, devices: { 2: 12 } },
  ],
  'a device appears after its backend': [{ ...START, devices: { 2: 12 } }],
  'a device goes before its backend': [START, { ...START, devices: { 2: 12 } }],
  'a pod’s device is made anew': [START, { ...START, devices: { 2: 22, 4: 14 } }],
  'two pods swap devices': [START, { ...START, devices: { 2: 14, 4: 12 } }],
  'a node joins after its pods': [{ ...START, nodes: { c: 3 } }],
  'a node leaves before its pods': [START, { ...START, nodes: { c: 3 } }],
  'a node changes its address': [START, { ...START, nodes: { b: 9, c: 3 } }],
  'two nodes swap addresses': [START, { ...START, nodes: { b: 3, c: 2 } }],
  'everything goes': [START, { services: {}, devices: {}, nodes: {} }, START],
}

function play(history: readonly Scene[], ending: Ending, stop?: { scene: number; writes: number }): Bed {
  const bed = new Bed(ending)
  history.forEach((scene, index) => {
    if (stop?.scene === index) bed.fuse = stop.writes
    if (!bed.round(scene)) {
      bed.fuse = Number.POSITIVE_INFINITY
      bed.nowMs += 500
      bed.round(scene)
    }
    bed.fuse = Number.POSITIVE_INFINITY
    bed.nowMs += 1000
  })
  return bed
}

/** Plays the history once for every write in it. @returns how often a write was stopped; throws at the first difference */
function stopEverywhere(history: readonly Scene[], ending: Ending): number {
  const last = history.at(-1) ?? START
  const fresh = play([last], ending)
  let stops = 0
  for (let scene = 0; scene < history.length; scene += 1)
    for (let writes = 0; ; writes += 1) {
      const bed = play(history, ending, { scene, writes })
      const where = `scene ${scene}, ${ending} at write ${writes}`
      const [got, wanted] = [bed.meaning(), fresh.meaning()].map((meaning) =>
        JSON.stringify(meaning, null, 1),
      )
      expect(got === wanted, `${where}: the tables say ${got}, not ${wanted}`)
      for (let minute = 0; minute < 4; minute += 1) {
        bed.nowMs += GRACE_MS
        bed.round(last)
      }
      expect(
        String(bed.sizes) === String(fresh.sizes),
        `${where}: ${bed.sizes} rows left, not ${fresh.sizes}`,
      )
      if (!bed.wasStopped) break
      stops += 1
    }
  return stops
}

for (const ending of ['killed', 'refused'] as const)
  for (const [name, scenes] of Object.entries(SCENES))
    t.test(`OPS-007 ${ending} at every write: ${name}`, async (t) => {
      const stops = stopEverywhere(scenes.length > 1 ? scenes : [...scenes, START], ending)
      t.ok(stops >= 4, `${stops} writes`)
    })
