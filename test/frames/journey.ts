// A frame's way through this node: from program to program, as the kernel takes it, with a stack between them that routes and no more.
//
//   a pod's device    tc ingress; then redirected, or by the stack
//   the uplink        XDP, and tc ingress behind it; or tc ingress alone, which does both
//   the stack         to the node itself, or tc egress of the device that it is routed to
//
// What XDP redirects, and what tc redirects past a pod's device, meets no further program.

import { type Address, familyOf } from '../../src/model/address.ts'
import type { BpfProgram } from '../../src/sys/libbpf-ts/index.ts'
import { TC, XDP } from '../bpf/world.ts'
import { type FramesBed, hostMac, ifindexOf, podMac, ROUTER_MAC, UPLINK_IFINDEX, UPLINK_MAC } from './bed.ts'
import { type Cast, OWN, PODS_MAX } from './cast.ts'
import { read, type Seen } from './read.ts'
import { bytesOf, type Step } from './said.ts'

export type End =
  | { readonly kind: 'pod'; readonly device: string }
  | { readonly kind: 'node' }
  /** By the uplink. */
  | { readonly kind: 'left' }
  /** To a network that is not there. */
  | { readonly kind: 'nowhere' }
  | { readonly kind: 'dropped'; readonly by: string }

export interface Journey {
  readonly end: End
  /** Programs that it met, with what they said. */
  readonly met: readonly string[]
  /** The frame as it was in the end. */
  readonly bytes: Buffer
  readonly seen: Seen | undefined
}

/** Which of its two programs the uplink has. */
export type Hook = 'xdp' | 'tc'

const SKB_BYTES = 192
const AT = { ingressIfindex: 36, ifindex: 40, cb: 48, cbEnd: 68 } as const
const UNSPEC = 0xffff_ffff
const OUT_BYTES = 2048
const MULTICAST = { ipv4: /^(22[4-9]|23\d)\.|^255\./, ipv6: /^ff/ } as const

interface Ran {
  readonly verdict: number
  readonly bytes: Buffer
  readonly context: Buffer
}

export class Traveller {
  readonly #bed: FramesBed
  readonly #cast: Cast
  readonly #hook: Hook
  readonly #met: string[] = []

  constructor(bed: FramesBed, cast: Cast, hook: Hook) {
    this.#bed = bed
    this.#cast = cast
    this.#hook = hook
  }

  /** In the bed's namespace. */
  travel({ from, said }: Step): Journey {
    this.#met.length = 0
    const isPods = from !== 'wire' && from !== 'node'
    const link = isPods
      ? { destination: hostMac(from), source: podMac(from) }
      : { destination: UPLINK_MAC, source: ROUTER_MAC }
    const bytes = bytesOf(said, { link, own: OWN })
    if (from === 'wire') return this.#fromWire(bytes)
    return from === 'node' ? this.#byStack(bytes, 0) : this.#fromPod(bytes, from)
  }

  #run(
    name: string,
    program: BpfProgram | undefined,
    bytes: Buffer,
    ifindex: number,
    cameBy: number,
    cb?: Buffer,
  ): Ran {
    const context = Buffer.alloc(SKB_BYTES)
    context.writeUInt32LE(ifindex, AT.ifindex)
    context.writeUInt32LE(cameBy, AT.ingressIfindex)
    if (cb) cb.copy(context, AT.cb, AT.cb, AT.cbEnd)
    const ran = program?.testRun({ data: bytes, context, dataOutBytes: OUT_BYTES })
    if (!ran) throw new Error(`no program ${name}`)
    this.#met.push(`${name}: ${ran.returnValue === UNSPEC ? 'unspec' : ran.returnValue}`)
    return { verdict: ran.returnValue, bytes: Buffer.from(ran.dataOut), context: Buffer.from(ran.contextOut) }
  }

  #ends(end: End, bytes: Buffer): Journey {
    return { end, bytes, met: [...this.#met], seen: read(bytes) }
  }

  #dropped(by: string, bytes: Buffer): Journey {
    return this.#ends({ kind: 'dropped', by }, bytes)
  }

  #fromPod(sent: Buffer, device: string): Journey {
    const ifindex = ifindexOf(device)
    const name = `tc ingress of ${device}`
    const ran = this.#run(name, this.#bed.datapath.podTc, sent, ifindex, ifindex)
    if (ran.verdict === TC.OK) return this.#byStack(ran.bytes, ifindex)
    return ran.verdict === TC.REDIRECT ? this.#redirected(ran, ifindex) : this.#dropped(name, ran.bytes)
  }

  #fromWire(sent: Buffer): Journey {
    const { uplink } = this.#bed.datapath
    if (this.#hook === 'tc') {
      const ran = this.#run('tc ingress of the uplink', uplink.ingress, sent, UPLINK_IFINDEX, UPLINK_IFINDEX)
      if (ran.verdict === UNSPEC) return this.#byStack(ran.bytes, UPLINK_IFINDEX)
      if (ran.verdict === TC.REDIRECT) return this.#redirected(ran, UPLINK_IFINDEX, true)
      return this.#dropped('tc ingress of the uplink', ran.bytes)
    }
    const { returnValue, dataOut } = uplink.xdp.testRun({ data: sent, dataOutBytes: OUT_BYTES })
    const bytes = Buffer.from(dataOut)
    this.#met.push(`XDP: ${returnValue}`)
    if (returnValue === XDP.TX) return this.#ends({ kind: 'left' }, bytes)
    if (returnValue === XDP.REDIRECT) {
      const device = this.#deviceOf(bytes)
      return this.#ends(device ? { kind: 'pod', device } : { kind: 'left' }, bytes)
    }
    if (returnValue !== XDP.PASS) return this.#dropped('XDP', bytes)
    const ran = this.#run('tc ingress behind XDP', uplink.behindXdp, bytes, UPLINK_IFINDEX, UPLINK_IFINDEX)
    return ran.verdict === UNSPEC
      ? this.#byStack(ran.bytes, UPLINK_IFINDEX)
      : this.#dropped('tc ingress behind XDP', ran.bytes)
  }

  /** Whose hardware address the frame has. */
  #deviceOf(bytes: Buffer): string | undefined {
    const link = read(bytes)?.link
    for (let number = 1; number <= PODS_MAX; number += 1)
      if (podMac(`p${number}`) === link) return `p${number}`
    return undefined
  }

  #redirected({ bytes, context }: Ran, cameBy: number, maySkip = false): Journey {
    const device = this.#deviceOf(bytes)
    if (device === undefined) return this.#out(bytes, cameBy, context)
    const isSkipped =
      maySkip && this.#cast.pods.some((each) => each.device === device && each.way === 'bypass')
    return isSkipped ? this.#ends({ kind: 'pod', device }, bytes) : this.#toPod(bytes, device, cameBy)
  }

  #toPod(bytes: Buffer, device: string, cameBy: number): Journey {
    const name = `tc egress of ${device}`
    const ran = this.#run(name, this.#bed.datapath.podEgressTc, bytes, ifindexOf(device), cameBy)
    return ran.verdict === UNSPEC
      ? this.#ends({ kind: 'pod', device }, ran.bytes)
      : this.#dropped(name, ran.bytes)
  }

  #out(bytes: Buffer, cameBy: number, cb?: Buffer): Journey {
    const name = 'tc egress of the uplink'
    const ran = this.#run(name, this.#bed.datapath.uplink.egress, bytes, UPLINK_IFINDEX, cameBy, cb)
    if (ran.verdict === TC.DROP) return this.#dropped(name, ran.bytes)
    return this.#ends(ran.verdict === TC.REDIRECT ? { kind: 'node' } : { kind: 'left' }, ran.bytes)
  }

  /** @param cameBy a device; 0: the node's own */
  #byStack(bytes: Buffer, cameBy: number): Journey {
    const seen = read(bytes)
    if (!seen || (seen.tag !== undefined && seen.tag !== 0)) return this.#ends({ kind: 'nowhere' }, bytes)
    const { destination } = seen
    const family = familyOf(destination)
    if (OWN[family] === destination || MULTICAST[family].test(destination))
      return this.#ends({ kind: 'node' }, bytes)
    const routed = Buffer.from(seen.tag === 0 ? untagged(bytes) : bytes)
    const hopsAt = seen.hopsAt - (seen.tag === 0 ? 4 : 0)
    if (cameBy !== 0) routed[hopsAt] = (routed[hopsAt] ?? 0) - 1
    const device = this.#cast.podAt.get(destination as Address)?.device
    return device === undefined ? this.#out(routed, cameBy) : this.#toPod(routed, device, cameBy)
  }
}

/** A stack takes what has a tag of priority alone for untagged. */
function untagged(bytes: Buffer): Buffer {
  return Buffer.concat([bytes.subarray(0, 12), bytes.subarray(16)])
}
