// A router at one end of a BFD session, the node's programs at the other: what the router says, and what comes back.

import type { Test } from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import { addressToBytes, type Family } from '../../src/model/address.ts'
import { type Control, decodeControl, encodeControl } from './bfd-control.ts'
import { type Frame, frame } from './packet.ts'
import { readFrame } from './read-frame.ts'
import { ARRIVING, TC, World, XDP } from './world.ts'

const IFINDEX = 1
const SKB_BYTES = 192
export const OURS = 0x0a0b0c0d
export const THEIRS = 0x71727374
const ROW = 5
/** Between two packets of a neighbour that sends each 300 ms. */
export const INTERVAL_US = 300_000
export const NOTHING = 'nothing'

type Hook = 'xdp' | 'tc'
export type Sent = Partial<Control> & { readonly change?: (frame: Frame) => Frame; readonly payload?: Buffer }

export const QUIET: Control = {
  version: 1,
  diagnostic: 0,
  state: 'down',
  flags: '',
  multiplier: 3,
  length: 24,
  mine: THEIRS,
  yours: 0,
  desiredUs: 1_000_000,
  requiredUs: INTERVAL_US,
}
/** What a neighbour says when it is up. */
export const UP: Partial<Control> = { state: 'up', yours: OURS, desiredUs: INTERVAL_US }

/** A router at one end, the node at the other. */
export class Bed {
  readonly world: World
  readonly family: Family
  readonly hook: Hook
  readonly #states: Buffer

  constructor(hook: Hook, family: Family, redirectsOnly = false) {
    this.world = new World(`bfd-${hook}-${family}${redirectsOnly ? '-veth' : ''}`, redirectsOnly)
    this.hook = hook
    this.family = family
    this.#states = Buffer.from(this.world.map('bfd_states').mmap())
    this.configure()
  }

  /** As user space makes a session, or changes it. */
  configure(change: Partial<abi.BfdSession> = {}): void {
    const { otherNode, node } = this.world.cast(this.family)
    const session = {
      row: ROW,
      discriminator: OURS,
      intervalUs: INTERVAL_US,
      multiplier: 3,
      isAdminDown: 0,
      governs: 3,
      local: addressToBytes(node),
      ...change,
    }
    const key = abi.encodeBfdKey({ peer: addressToBytes(otherNode), ifindex: IFINDEX })
    this.world.map('bfd_sessions').update(key, abi.encodeBfdSession(session))
  }

  /** A session as if it had just been made. */
  reset(change: Partial<abi.BfdState> = {}): void {
    this.#row.fill(0)
    this.change({ state: abi.BfdSessionState.BFD_DOWN, ...change })
  }

  get #row(): Buffer {
    const stride = this.world.map('bfd_states').strideBytes
    return this.#states.subarray(ROW * stride, ROW * stride + abi.BFD_STATE_BYTES)
  }

  get state(): abi.BfdState {
    return abi.decodeBfdState(this.#row)
  }

  change(change: Partial<abi.BfdState>): void {
    abi.encodeBfdState({ ...this.state, ...change }, this.#row)
  }

  /** Makes the next packet come when an answer is due. */
  wait(): void {
    this.change({ answeredNs: 0n })
  }

  packet({ change = (same) => same, payload, ...said }: Sent): Frame {
    const { otherNode, node } = this.world.cast(this.family)
    const body = payload ?? encodeControl({ ...QUIET, ...said })
    return change(frame(ARRIVING).from(otherNode, 49_999).to(node, 3784).ttl(255).udp().payload(body))
  }

  run(sent: Frame) {
    const data = sent.bytes()
    if (this.hook === 'xdp') return this.world.datapath.uplink.xdp.testRun({ data, dataOutBytes: 2000 })
    const run = { data, context: Buffer.alloc(SKB_BYTES), dataOutBytes: 2000 }
    const result = this.world.datapath.uplink.ingress.testRun(run)
    return { ...result, returnValue: result.returnValue | 0 }
  }

  /** What comes back, or that nothing does. */
  say(t: Test, said: Sent): Control | typeof NOTHING {
    const sent = this.packet(said)
    const { returnValue, dataOut } = this.run(sent)
    const [dropped, ...answered] =
      this.hook === 'xdp' ? [XDP.DROP, XDP.TX, XDP.REDIRECT] : [TC.DROP, TC.REDIRECT]
    if (returnValue === dropped) return NOTHING
    if (!answered.some((verdict) => verdict === returnValue)) throw new Error(`verdict ${returnValue}`)
    const { otherNode, node } = this.world.cast(this.family)
    const tags = sent.fields.tags.length * 4
    const control = decodeControl(dataOut.subarray(-24))
    const expected = frame({ destination: ARRIVING.source, source: ARRIVING.destination })
      .tagged(...sent.fields.tags)
      .from(node, 49_152 + ROW)
      .to(otherNode, 3784)
      .ttl(255)
      .trafficClass(0xc0)
      .id(0)
      .udp()
      .payload(encodeControl(control))
    t.equal(dataOut.toString('hex'), expected.bytes().toString('hex'), 'every byte of the answer')
    if (tags === 0) readFrame(dataOut)
    return control
  }

  /** Brings the session up: the neighbour says Down, then Init. */
  bringUp(t: Test): void {
    this.reset()
    this.say(t, { state: 'down' })
    this.say(t, { state: 'up', yours: OURS, flags: 'P', desiredUs: INTERVAL_US })
    this.wait()
    this.say(t, UP)
    this.say(t, { ...UP, flags: 'F' })
    t.match(this.state, { state: 3, isPolling: 0 }, 'up, and no poll is under way')
    this.wait()
  }

  refused(t: Test, said: Sent, kind: keyof typeof abi.BfdRefusal): void {
    const before = this.state
    t.equal(this.say(t, said), NOTHING, 'not answered')
    const index = abi.BfdRefusal[kind]
    const after = this.state
    t.equal(after.refused[index], (before.refused[index] ?? 0) + 1, `counted as ${kind}`)
    t.same({ ...after, refused: [] }, { ...before, refused: [] }, 'nothing else changed')
  }

  membersDown(family: Family): number {
    const row = Buffer.alloc(4)
    row.writeUInt32LE(abi.NexthopRow[family === 'ipv4' ? 'NEXTHOP_UPLINKS_IPV4' : 'NEXTHOP_UPLINKS_IPV6'])
    const bytes = this.world.map('nexthops').lookup(row) ?? Buffer.alloc(abi.NEXTHOP_BYTES)
    return abi.decodeNexthop(bytes).membersDown
  }
}
