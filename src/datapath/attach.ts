// Attaching: every program hangs on a pinned bpf_link, so it goes on working whatever becomes of this process. A link that an
// earlier process pinned is taken over by swapping its program in one step; one whose device is gone is dropped. What somebody
// else attached is named and left alone.
//
//   links/xdp_<uplink>, links/<socket hook>     links
//   links/pod_<ifindex>                         a pod's device: its tcx link
//   links/clsact_<ifindex>                      kernels without tcx (before 6.6): a classifier has no link, so a pin of its
//                                               program marks the device, for the next process to find

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
  detachClsact,
  makePinDirectory,
  supportsTcx,
  unpin,
} from '../sys/libbpf-ts/index.ts'

const POD_PIN = /^(pod|clsact)_(\d+)$/
/** Our place among classifiers on kernels without tcx. */
const CLSACT = { direction: 'ingress', priority: 0x5745, handle: 1 } as const

export class Attachments {
  readonly #directory: string
  readonly #pods = new Set<number>()
  readonly #uplinks = new Map<number, string>()
  readonly #podPin: 'pod' | 'clsact'

  /**
   * @param bpffs this node's pin directory
   * @param usesTcx false: classifiers, as on kernels without tcx
   */
  constructor(bpffs: string, usesTcx = supportsTcx()) {
    this.#podPin = usesTcx ? 'pod' : 'clsact'
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
    for (const ifindex of ifindexes)
      if (!this.#pods.has(ifindex) && this.#attachPod(program, ifindex)) this.#pods.add(ifindex)
    this.#dropStalePods(ifindexes)
    for (const ifindex of this.#pods) if (!ifindexes.has(ifindex)) this.#pods.delete(ifindex)
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

  /** False: there is no such device. */
  #attachPod(program: BpfProgram, ifindex: number): boolean {
    const pin = join(this.#directory, `${this.#podPin}_${ifindex}`)
    const isOurs = (link: BpfLink) => link.info().ifindex === ifindex
    try {
      if (this.#podPin === 'clsact') attachMarked(program, ifindex, pin)
      else this.#attach(pin, program, isOurs, () => attachTcx(program, ifindex, 'ingress'))
      return true
    } catch (error) {
      // The pod went while we looked; its route's end will be told next.
      if (error instanceof BpfError && error.code === 'not-found') return false
      throw error
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

  /** A pin of a device that is gone, or no longer a pod's, would keep its link for ever. So would one of the other kind. */
  #dropStalePods(ifindexes: ReadonlySet<number>): void {
    for (const name of existsSync(this.#directory) ? readdirSync(this.#directory) : []) {
      const [, kind, number] = POD_PIN.exec(name) ?? []
      const ifindex = Number(number)
      if (kind === undefined || (kind === this.#podPin && ifindexes.has(ifindex))) continue
      const pin = join(this.#directory, name)
      if (kind === 'clsact') detachIfAny(ifindex)
      else detachPinned(pin)
      unpin(pin)
    }
  }
}

/** Marked first: a process killed in between leaves a mark of nothing, which is harmless; the other way round is not. */
function attachMarked(program: BpfProgram, ifindex: number, pin: string): void {
  unpin(pin)
  program.pin(pin)
  attachClsact(program, { ifindex, ...CLSACT })
}

/** A link that only loses its pin is taken down some time later, and until then its place is taken (EEXIST). */
function detachPinned(pin: string): void {
  const link = BpfLink.openPinnedIfAny(pin)
  link?.detach()
  link?.close()
}

function detachIfAny(ifindex: number): void {
  try {
    detachClsact({ ifindex, ...CLSACT })
  } catch (error) {
    if (!(error instanceof BpfError) || error.code !== 'not-found') throw error
  }
}

/** bpffs refuses dots, which VLAN devices have (`eth0.100`). */
function pinName(interfaceName: string): string {
  return interfaceName.replaceAll('.', '_')
}
