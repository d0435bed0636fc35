// Weir in the node of a pair bed: programs loaded and attached, policy compiled and written, by the product's own code.

import { rmSync } from 'node:fs'
import { Attachments } from '../../src/datapath/attach.ts'
import { DEFAULT_SETTINGS, type LoadedDatapath, loadDatapath } from '../../src/datapath/load.ts'
import { datapathTables, policyTables } from '../../src/datapath/maps.ts'
import { NexthopMaps } from '../../src/datapath/nexthop-maps.ts'
import type { PodDevice } from '../../src/datapath/nexthop-plan.ts'
import { PolicyMaps } from '../../src/datapath/policy-maps.ts'
import type { Address } from '../../src/model/address.ts'
import type { PolicyCompiler } from '../../src/policy/compile/compiler.ts'
import type { WorldChange } from '../../src/policy/compile/objects.ts'
import { mac } from '../../test/bpf/packet.ts'
import { NODE_ADDRESS } from '../bed/cluster.ts'
import { timed } from '../bed/contestants.ts'
import { type Bed, MTU } from '../bed/topology.ts'
import { SELF } from '../packet/cluster.ts'
import { benchCompiler } from './cluster.ts'
import type { Taken } from './node-shell.ts'
import { writeWorld } from './packet-bed.ts'
import { LINKS } from './pair-bed.ts'
import { LINKED, linkedAddress, pairWorld } from './pair-world.ts'

export class PairWeir {
  /** Compiling all there is, and writing it. */
  readonly loadMs: number
  readonly #datapath: LoadedDatapath
  readonly #bpffs: string
  readonly #attachments: Attachments
  readonly #compiler: PolicyCompiler
  readonly #maps: PolicyMaps
  readonly #flows: Uint8Array

  /** @param others policies besides the fixed ones */
  constructor(bed: Bed, others: number) {
    this.#bpffs = `/sys/fs/bpf/weir-test-${bed.name}-${process.pid}`
    this.#datapath = bed.inside('node', () =>
      loadDatapath({
        bpffs: this.#bpffs,
        objects: undefined,
        redirectsOnly: true,
        settings: { ...DEFAULT_SETTINGS, enforcesPolicy: true },
        tunnelAddresses: { ipv4: NODE_ADDRESS as Address, ipv6: undefined },
      }),
    )
    try {
      const { map, podTc, podEgressTc } = this.#datapath
      new NexthopMaps(datapathTables(map), () => 0).setPods(LINKED.map(podDevice), new Set())
      this.#compiler = benchCompiler(SELF)
      this.#maps = new PolicyMaps(policyTables(map), () => 0)
      const world = pairWorld(others)
      this.loadMs = timed(() => writeWorld(this.#maps, this.#compiler, world))
      this.#flows = new Uint8Array(map('flows').mmap())
      const devices = new Set(LINKED.map((linked) => LINKS[linked].node.ifindex))
      this.#attachments = bed.inside('node', () => {
        const attachments = new Attachments(this.#bpffs)
        attachments.attachPods(podTc, devices, podEgressTc)
        return attachments
      })
    } catch (error) {
      this.#drop()
      throw error
    }
  }

  /** @returns what compiling and writing took; processor time is of all threads, the collector's too */
  change(change: WorldChange): Taken {
    const before = process.cpuUsage()
    const wallMs = timed(() => this.#maps.apply(this.#compiler.apply(change, 0)))
    const { user, system } = process.cpuUsage(before)
    return { wallMs, cpuMs: (user + system) / 1000 }
  }

  forget(): void {
    this.#flows.fill(0)
  }

  close(): void {
    this.#attachments.close()
    this.#drop()
  }

  #drop(): void {
    this.#datapath.close()
    rmSync(this.#bpffs, { recursive: true, force: true })
  }
}

function podDevice(linked: (typeof LINKED)[number]): PodDevice {
  const { pod, node } = LINKS[linked]
  return {
    address: linkedAddress(linked),
    ifindex: node.ifindex,
    hostMac: mac(node.mac),
    podMac: mac(pod.mac),
    mtu: MTU.edge,
    takesRedirects: true,
    mayBypass: true,
    namespace: undefined,
  }
}
