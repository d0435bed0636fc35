// Attaching: every program hangs on a pinned bpf_link, so it goes on working whatever becomes of this process. A link that an
// earlier process pinned is taken over by swapping its program in one step; one whose device is gone is dropped. What somebody
// else attached is named and left alone.
//
//   links/xdp_<uplink>, links/<socket hook>     links
//   links/<hook>_<cgroup>                       one that hangs on several cgroups
//   links/weir_closed_create                    on a function of the kernel, where policy is enforced
//   links/tc_<direction>_<uplink>               an uplink's tcx links: egress always, ingress where XDP is not
//   links/pod_<ifindex>, pod_egress_<ifindex>   a pod's device: its tcx links; the second where policy is enforced
//   links/clsact_<ifindex>, clsact_pod_egress_<ifindex>, clsact_<direction>_<ifindex>
//                                               the same on kernels without tcx (before 6.6): a classifier has no link, so a
//                                               pin of its program marks the device, for the next process to find
//   links/clsact_made_<ifindex>                 the device had no clsact qdisc before us
//
// Links stay open here too: a pin that somebody removes takes nothing off its place while the agent runs. `verify` finds what
// was detached, replaced or unpinned all the same.

import { existsSync, readdirSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import {
  attachCgroup,
  attachModifyReturn,
  attachTcx,
  attachXdp,
  BpfError,
  BpfLink,
  type BpfProgram,
  type LinkInfo,
  makePinDirectory,
  supportsTcx,
  type TcDirection,
  unpin,
} from '../sys/libbpf-ts/index.ts'
import { Classifiers } from './attach-classifiers.ts'
import {
  detachIfAny,
  detachPinned,
  type PodPinKind,
  pinName,
  podPinName,
  readPodPin,
  tcPin,
} from './attach-pins.ts'

/** Where an uplink's packets are met: `auto` is XDP where the device takes it and nobody else has it, else tc. */
export type HookChoice = 'auto' | 'xdp' | 'tc'

export interface UplinkPrograms {
  readonly xdp: BpfProgram
  /** At tc behind XDP: for frames that XDP leaves to it (bpf/lib/unfinished.h), and for what is the node's own; undefined: nothing. */
  readonly behindXdp: BpfProgram | undefined
  readonly ingress: BpfProgram
  readonly egress: BpfProgram
}

export interface UplinkHook {
  readonly hook: 'xdp' | 'tc'
  /** Why it is not XDP. */
  readonly reason: string | undefined
}

interface Held {
  readonly link: BpfLink
  readonly program: BpfProgram
  /** Whether the link is still at the place it was made for. */
  readonly isThere: (info: LinkInfo) => boolean
  /** The device it hangs on; undefined for a cgroup. */
  readonly ifindex: number | undefined
}

/** A program at its place. */
export interface AttachedProgram {
  /** `xdp`, `tcx_ingress`, `clsact_egress`, `connect4`, … */
  readonly hook: string
  /** undefined: a cgroup. */
  readonly ifindex: number | undefined
  readonly program: string
  /** As `bpftool prog show id` takes it. */
  readonly programId: number
  /** undefined: a classifier, which has no link. */
  readonly linkId: number | undefined
}

/** Something of ours that was found missing. */
export interface Loss {
  /** `link xdp_eth0`, `classifier of device 7`. */
  readonly what: string
  readonly how: 'detached' | 'replaced' | 'unpinned' | 'overwritten'
}

export class Attachments {
  readonly #directory: string
  /** By the pin's file name. */
  readonly #held = new Map<string, Held>()
  readonly #classifiers: Classifiers
  readonly #pods = new Set<number>()
  readonly #uplinks = new Map<number, UplinkHook & { readonly name: string }>()
  readonly #podPin: PodPinKind

  /**
   * @param bpffs this node's pin directory
   * @param usesTcx false: classifiers, as on kernels without tcx
   */
  constructor(bpffs: string, usesTcx = supportsTcx()) {
    this.#podPin = usesTcx ? 'pod' : 'clsact'
    this.#directory = join(bpffs, 'links')
    this.#classifiers = new Classifiers(this.#directory)
    makePinDirectory(this.#directory)
  }

  /** Uplinks that carry our programs now, and where. */
  get uplinks(): ReadonlyMap<number, UplinkHook> {
    return this.#uplinks
  }

  /** Devices of pods that carry our programs. */
  get pods(): ReadonlySet<number> {
    return this.#pods
  }

  /** Throws when nothing of ours can be attached, or not where it was wanted. A foreign program is never replaced. */
  attachUplink(programs: UplinkPrograms, name: string, ifindex: number, choice: HookChoice): void {
    for (const _step of this.attachingUplink(programs, name, ifindex, choice));
  }

  /** The same in steps: each makes this thread wait in the kernel for some tens of milliseconds, so others may want a turn in between. */
  *attachingUplink(
    programs: UplinkPrograms,
    name: string,
    ifindex: number,
    choice: HookChoice,
  ): Generator<void> {
    if (this.#uplinks.get(ifindex)?.name === name) return
    this.#attachTc(programs.egress, name, ifindex, 'egress')
    yield
    const hook = yield* this.#attachingIngress(programs, name, ifindex, choice)
    this.#uplinks.set(ifindex, { name, ...hook })
    yield
  }

  /** The new place is taken before the old one is left. */
  *#attachingIngress(
    programs: UplinkPrograms,
    name: string,
    ifindex: number,
    choice: HookChoice,
  ): Generator<void, UplinkHook> {
    const xdpPin = `xdp_${pinName(name)}`
    let reason = 'datapath.uplinkHook is tc'
    if (choice !== 'tc') {
      try {
        this.#attach(xdpPin, programs.xdp, { ifindex }, () => attachXdp(programs.xdp, ifindex, 'native'))
        yield
        if (programs.behindXdp) this.#attachTc(programs.behindXdp, name, ifindex, 'ingress')
        else this.#detachTc(name, ifindex, 'ingress')
        return { hook: 'xdp', reason: undefined }
      } catch (error) {
        if (choice === 'xdp' || !(error instanceof BpfError)) throw error
        reason = error.message
      }
    }
    this.#attachTc(programs.ingress, name, ifindex, 'ingress')
    this.#drop(xdpPin)
    return { hook: 'tc', reason }
  }

  /** Makes the next attachUplink() try XDP again where tc stands in for it. What is attached stays until then. */
  reconsiderUplinks(): void {
    for (const [ifindex, { hook }] of this.#uplinks) if (hook === 'tc') this.#uplinks.delete(ifindex)
  }

  /** Forgets uplinks that are no longer there, so that one of the same name is attached anew. */
  keepUplinks(present: ReadonlySet<number>): void {
    for (const ifindex of this.#uplinks.keys()) if (!present.has(ifindex)) this.#uplinks.delete(ifindex)
  }

  /**
   * Makes exactly these devices carry the program.
   * @param egress for their other direction; undefined: nothing there
   */
  attachPods(program: BpfProgram, ifindexes: ReadonlySet<number>, egress?: BpfProgram): void {
    for (const ifindex of ifindexes) {
      if (this.#pods.has(ifindex) || (egress && !this.#attachPod(egress, ifindex, 'egress'))) continue
      if (this.#attachPod(program, ifindex, 'ingress')) this.#pods.add(ifindex)
    }
    this.#dropStalePods(ifindexes, egress !== undefined)
    for (const ifindex of this.#pods) {
      if (ifindexes.has(ifindex)) continue
      this.#pods.delete(ifindex)
      for (const direction of ['ingress', 'egress'] as const)
        this.#classifiers.forget(podPinName({ kind: 'clsact', direction, ifindex }))
    }
  }

  /** Attaches the socket hooks to the cgroup and all below it. */
  attachSocket(programs: readonly BpfProgram[], cgroup: string): void {
    const cgroupId = statSync(cgroup, { bigint: true }).ino
    for (const program of programs)
      this.#attach(program.name, program, { cgroupId }, () => attachCgroup(program, cgroup))
  }

  /**
   * Makes exactly these cgroups carry the programs, also of those an earlier process attached.
   * @param names of the programs, to take them off where there are none
   * @returns cgroups that are not there
   */
  attachCgroups(
    programs: readonly BpfProgram[],
    names: readonly string[],
    cgroups: readonly string[],
  ): readonly string[] {
    const wanted = new Set<string>()
    const absent: string[] = []
    for (const cgroup of cgroups) {
      const cgroupId = statSync(cgroup, { bigint: true, throwIfNoEntry: false })?.ino
      if (cgroupId === undefined) {
        absent.push(cgroup)
        continue
      }
      for (const program of programs) {
        const name = `${program.name}_${cgroupId}`
        this.#attach(name, program, { cgroupId }, () => attachCgroup(program, cgroup))
        wanted.add(name)
      }
    }
    for (const pin of existsSync(this.#directory) ? readdirSync(this.#directory) : [])
      if (!wanted.has(pin) && names.some((name) => pin.startsWith(`${name}_`))) this.#drop(pin)
    return absent
  }

  /** Attaches to a function of the kernel. Its link takes no other program: the new one is there before an earlier process's goes. */
  attachFunction(program: BpfProgram): void {
    const { name } = program
    const pin = join(this.#directory, name)
    const next = `${pin}_next`
    const link = attachModifyReturn(program)
    unpin(next)
    link.pin(next)
    renameSync(next, pin)
    this.#forget(name)
    this.#held.set(name, { link, program, isThere: () => true, ifindex: undefined })
  }

  /** What attachFunction() attached, or an earlier process. */
  detachFunction(name: string): void {
    for (const pin of [name, `${name}_next`]) this.#drop(pin)
  }

  /**
   * Looks whether all that was attached is still at its place and pinned. Pins and programs are put back; what was detached is
   * forgotten, so that the next call of `attach…` brings it back.
   * @param present devices that are there; what hung on others went with them
   */
  verify(present: ReadonlySet<number>): readonly Loss[] {
    if (!existsSync(this.#directory)) makePinDirectory(this.#directory)
    const losses: Loss[] = []
    for (const [name, held] of this.#held) {
      if (held.ifindex !== undefined && !present.has(held.ifindex)) continue
      const how = this.#mend(name, held)
      if (how !== undefined) losses.push({ what: `link ${name}`, how })
    }
    for (const { ifindex, how } of this.#classifiers.verify(present)) {
      if (how === 'detached') this.#forgetDevice(ifindex)
      losses.push({ what: `classifier of device ${ifindex}`, how })
    }
    return losses
  }

  /** Ids of the programs that hang anywhere for us. */
  get programIds(): ReadonlySet<number> {
    const carried = [...this.#held.values(), ...this.#classifiers.held]
    return new Set(carried.map(({ program }) => program.info().id))
  }

  /** What hangs where, as the kernel tells it. */
  get programs(): readonly AttachedProgram[] {
    const held = [...this.#held.values()].map(({ link, program, ifindex }) => {
      const { id: linkId, programId, attachType, type } = link.info()
      return { hook: attachType ?? type, ifindex, program: program.name, programId, linkId }
    })
    const classifiers = this.#classifiers.held.map(({ ifindex, direction, program }) => ({
      hook: `clsact_${direction}`,
      ifindex,
      program: program.name,
      programId: program.info().id,
      linkId: undefined,
    }))
    return [...held, ...classifiers]
  }

  /** Gives descriptors up; everything pinned goes on. */
  close(): void {
    for (const { link } of this.#held.values()) link.close()
    this.#held.clear()
  }

  #mend(name: string, held: Held): Loss['how'] | undefined {
    const { link, program, isThere, ifindex } = held
    const pin = join(this.#directory, name)
    const info = link.info()
    if (!isThere(info)) {
      this.#forget(name)
      unpin(pin)
      if (ifindex !== undefined) this.#forgetDevice(ifindex)
      return 'detached'
    }
    const isReplaced = info.programId !== program.info().id
    if (isReplaced) link.update(program)
    const isUnpinned = !existsSync(pin)
    if (isUnpinned) link.pin(pin)
    if (isReplaced) return 'replaced'
    return isUnpinned ? 'unpinned' : undefined
  }

  #forgetDevice(ifindex: number): void {
    this.#uplinks.delete(ifindex)
    this.#pods.delete(ifindex)
  }

  #attachTc(program: BpfProgram, uplink: string, ifindex: number, direction: TcDirection): void {
    if (this.#podPin === 'clsact')
      this.#classifiers.attach(`clsact_${direction}_${ifindex}`, { program, ifindex, direction })
    else
      this.#attach(tcPin(uplink, direction), program, { ifindex }, () =>
        attachTcx(program, ifindex, direction),
      )
  }

  /** Also what an earlier process attached, in either way. */
  #detachTc(uplink: string, ifindex: number, direction: TcDirection): void {
    this.#classifiers.detach(`clsact_${direction}_${ifindex}`, ifindex, direction)
    this.#drop(tcPin(uplink, direction))
  }

  /** Takes a link of ours off its place. */
  #drop(name: string): void {
    const pin = join(this.#directory, name)
    if (existsSync(pin)) detachPinned(pin)
    this.#forget(name)
    unpin(pin)
  }

  #forget(name: string): void {
    this.#held.get(name)?.link.close()
    this.#held.delete(name)
  }

  /** False: there is no such device. */
  #attachPod(program: BpfProgram, ifindex: number, direction: TcDirection): boolean {
    const name = podPinName({ kind: this.#podPin, direction, ifindex })
    try {
      if (this.#podPin === 'clsact') this.#classifiers.attach(name, { program, ifindex, direction })
      else this.#attach(name, program, { ifindex }, () => attachTcx(program, ifindex, direction))
      return true
    } catch (error) {
      // The pod went while we looked; its route's end will be told next.
      if (error instanceof BpfError && error.code === 'not-found') return false
      throw error
    }
  }

  /** @param place where the link belongs, as its info tells it */
  #attach(
    name: string,
    program: BpfProgram,
    place: Pick<LinkInfo, 'ifindex' | 'cgroupId'>,
    create: () => BpfLink,
  ): void {
    const pin = join(this.#directory, name)
    const isThere = (info: LinkInfo) => info.ifindex === place.ifindex && info.cgroupId === place.cgroupId
    this.#forget(name)
    let link = BpfLink.openPinnedIfAny(pin)
    if (link && isThere(link.info())) link.update(program)
    else {
      link?.close()
      unpin(pin)
      link = create()
      link.pin(pin)
    }
    this.#held.set(name, { link, program, isThere, ifindex: place.ifindex })
  }

  /** A pin of a device that is gone, or no longer a pod's, would keep its link for ever. So would one of the other kind. */
  #dropStalePods(ifindexes: ReadonlySet<number>, hasEgress: boolean): void {
    for (const name of existsSync(this.#directory) ? readdirSync(this.#directory) : []) {
      const found = readPodPin(name)
      if (!found) continue
      const { kind, direction, ifindex } = found
      if (kind === this.#podPin && ifindexes.has(ifindex) && (hasEgress || direction === 'ingress')) continue
      const pin = join(this.#directory, name)
      const isGone = kind === 'clsact' && detachIfAny(ifindex, direction) === 'no-device'
      if (kind !== 'clsact') detachPinned(pin)
      this.#forget(name)
      unpin(pin)
      // A device that is still there keeps its qdisc, which others may use by now, and the mark of whose it is.
      if (isGone) unpin(join(this.#directory, `clsact_made_${ifindex}`))
    }
  }
}
