// Attaching: every program hangs on a pinned bpf_link, so it goes on working whatever becomes of this process. A link that an
// earlier process pinned is taken over by swapping its program in one step; one whose device is gone is dropped. What somebody
// else attached is named and left alone.

import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import {
  attachCgroup,
  attachClsact,
  attachTcx,
  attachXdp,
  BpfError,
  BpfLink,
  type BpfProgram,
  makePinDirectory,
  supportsTcx,
  unpin,
} from '../sys/libbpf-ts/index.ts'

const POD_PIN = /^pod_(\d+)$/
/** Our place among classifiers on kernels without tcx. */
const CLSACT = { direction: 'ingress', priority: 0x5745, handle: 1 } as const

export class Attachments {
  readonly #directory: string
  readonly #pods = new Set<number>()
  readonly #uplinks = new Map<number, string>()

  /** @param bpffs this node's pin directory */
  constructor(bpffs: string) {
    this.#directory = join(bpffs, 'links')
    makePinDirectory(this.#directory)
  }

  /** Uplinks that carry the XDP program now. */
  get attachedUplinks(): ReadonlySet<number> {
    return new Set(this.#uplinks.keys())
  }

  /** Throws when a foreign program holds the device. */
  attachUplink(program: BpfProgram, name: string, ifindex: number): void {
    if (this.#uplinks.get(ifindex) === name) return
    const pin = join(this.#directory, `xdp_${pinName(name)}`)
    const isOurs = (link: BpfLink) => link.info().ifindex === ifindex
    this.#attach(pin, program, isOurs, () => attachXdp(program, ifindex, 'native'))
    this.#uplinks.set(ifindex, name)
  }

  /** Forgets uplinks that are no longer there, so that one of the same name is attached anew. */
  keepUplinks(present: ReadonlySet<number>): void {
    for (const ifindex of this.#uplinks.keys()) if (!present.has(ifindex)) this.#uplinks.delete(ifindex)
  }

  /** Makes exactly these devices carry the program. */
  attachPods(program: BpfProgram, ifindexes: ReadonlySet<number>): void {
    if (!supportsTcx()) {
      for (const ifindex of ifindexes)
        if (!this.#pods.has(ifindex)) attachClsact(program, { ifindex, ...CLSACT })
    } else {
      for (const ifindex of ifindexes) if (!this.#pods.has(ifindex)) this.#attachPod(program, ifindex)
      this.#dropStalePods(ifindexes)
    }
    this.#pods.clear()
    for (const ifindex of ifindexes) this.#pods.add(ifindex)
  }

  /** Attaches the socket hooks to the cgroup and all below it. */
  attachSocket(programs: readonly BpfProgram[], cgroup: string): void {
    const cgroupId = statSync(cgroup, { bigint: true }).ino
    for (const program of programs) {
      const pin = join(this.#directory, program.name)
      const isOurs = (link: BpfLink) => link.info().cgroupId === cgroupId
      this.#attach(pin, program, isOurs, () => attachCgroup(program, cgroup))
    }
  }

  #attachPod(program: BpfProgram, ifindex: number): void {
    const pin = join(this.#directory, `pod_${ifindex}`)
    const isOurs = (link: BpfLink) => link.info().ifindex === ifindex
    try {
      this.#attach(pin, program, isOurs, () => attachTcx(program, ifindex, 'ingress'))
    } catch (error) {
      // The pod went while we looked; its route's end will be told next.
      if (!(error instanceof BpfError) || error.code !== 'not-found') throw error
    }
  }

  #attach(pin: string, program: BpfProgram, isOurs: (link: BpfLink) => boolean, create: () => BpfLink): void {
    const known = BpfLink.openPinnedIfAny(pin)
    if (known && isOurs(known)) {
      known.update(program)
      known.close()
      return
    }
    known?.close()
    unpin(pin)
    const link = create()
    link.pin(pin)
    link.close()
  }

  /** A pin of a device that is gone, or no longer a pod's, would keep its link for ever. */
  #dropStalePods(ifindexes: ReadonlySet<number>): void {
    for (const name of existsSync(this.#directory) ? readdirSync(this.#directory) : []) {
      const ifindex = POD_PIN.exec(name)?.[1]
      if (ifindex !== undefined && !ifindexes.has(Number(ifindex))) unpin(join(this.#directory, name))
    }
  }
}

/** bpffs refuses dots, which VLAN devices have (`eth0.100`). */
function pinName(interfaceName: string): string {
  return interfaceName.replaceAll('.', '_')
}
