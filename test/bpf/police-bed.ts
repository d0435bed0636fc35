// Two pods of this node on whose flows policy is enforced, and packets through the programs at their devices and at an uplink.

import t from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import { policyTables } from '../../src/datapath/maps.ts'
import { PolicyMaps } from '../../src/datapath/policy-maps.ts'
import { type Address, addressToBytes, FAMILIES } from '../../src/model/address.ts'
import { CLASS_PROTOCOLS, type PortInterval, type SetDirection } from '../../src/policy/compile/rows.ts'
import { countWhile, runUplink } from './check.ts'
import type { Frame } from './packet.ts'
import { EVERYBODY, LOOPBACK, movePodsToLoopback, said, uniform } from './policy-rows.ts'
import { TARGET_PORT, World } from './world.ts'

export const world = new World('police', false, { enforcesPolicy: true, perPacket: true })
export const maps = new PolicyMaps(
  policyTables((name) => world.map(name)),
  () => 0,
)
t.teardown(() => world.close())

/** struct __sk_buff as far as a test run reads it. */
const SKB_BYTES = 192
const INGRESS_IFINDEX_AT = 36
const SET = { pod: 1, localClient: 2, node: 3 } as const
export const CLASS = {
  deny: 1,
  allow: 2,
  port80: 3,
  keep: 4,
  wouldDeny: 5,
  wouldAllow: 6,
  udp: 7,
  wouldDenySome: 8,
} as const
/** A rule of policies that are audited. */
export const AUDITED = 777
const STATE_SHIFT = BigInt(abi.AbiConstant.FLOW_STATE_SHIFT)
export type Said = keyof typeof CLASS | 'open'
/** What the bed's other ends speak from. */
export const PORT = 40_000

const port80: readonly PortInterval[] = [
  said(false),
  said(true, 80),
  said(false, 81),
  said(true, TARGET_PORT),
]
const ofPing = (type: number): readonly PortInterval[] => [
  said(false),
  said(true, type),
  said(false, type + 1),
]
maps.apply([
  {
    table: 'classes',
    put: [
      uniform(CLASS.deny, said(false)),
      uniform(CLASS.allow, said(true)),
      uniform(CLASS.keep, said(false, 0, true)),
      uniform(CLASS.wouldDeny, { ...said(true), wouldBeRule: AUDITED }),
      uniform(CLASS.wouldAllow, { ...said(false), wouldBeRule: AUDITED }),
      {
        class: CLASS.udp,
        uniform: undefined,
        protocols: [port80, [said(true)], [said(false)], ofPing(8), ofPing(128), [said(false)]],
      },
      {
        class: CLASS.wouldDenySome,
        uniform: undefined,
        protocols: CLASS_PROTOCOLS.map(() => [said(true), { ...said(true, 81), wouldBeRule: AUDITED }]),
      },
      {
        class: CLASS.port80,
        uniform: undefined,
        protocols: [port80, port80, [said(false)], ofPing(8), ofPing(128), [said(false)]],
      },
    ],
  },
  EVERYBODY,
])

let epoch = 0
const direction = (all: Said): SetDirection =>
  all === 'open'
    ? { defaults: [0, 0, 0], isOpen: true }
    : {
        defaults: [CLASS[all], CLASS[all], CLASS[all]],
        isOpen: false,
        isAudited: all.startsWith('wouldDeny'),
      }

/** What the pods' and the node's sets say from now on. */
export function policy(who: keyof typeof SET, ingress: Said, egress: Said): void {
  epoch += 1
  const set = { set: SET[who], epoch, ingress: direction(ingress), egress: direction(egress) }
  maps.apply([{ table: 'sets', put: [set] }])
}

movePodsToLoopback(world)
const PODS = FAMILIES.flatMap((family) => [
  [world.cast(family).pod, SET.pod] as const,
  [world.cast(family).localClient, SET.localClient] as const,
])

/** All pods. @param hairpin what they are let do that a Service leads to themselves */
export function know(hairpin = { ingress: CLASS.allow as number, egress: CLASS.allow as number }): void {
  const put = PODS.map(([address, set]) => ({ kind: 'pod' as const, address, set, pod: 'a/b', hairpin }))
  maps.apply([{ table: 'subjects', put }])
}

/** Whether a policy selects the node. */
export function judgeNode(isJudged: boolean): void {
  maps.apply([
    isJudged
      ? { table: 'subjects', put: [{ kind: 'node', set: SET.node }] }
      : { table: 'subjects', delete: [{ kind: 'node' }] },
  ])
}

/** Says whose port the pod's device is. */
export function bridge(of: Address, ifindex: number): void {
  const nexthops = world.map('nexthops')
  const row = world.map('endpoints').lookup(addressToBytes(of))
  const key = Buffer.alloc(4)
  key.writeUInt32LE(row ? abi.decodeEndpoint(row).nexthopId : 0)
  const nexthop = abi.decodeNexthop(nexthops.lookup(key) ?? Buffer.alloc(abi.NEXTHOP_BYTES))
  nexthops.update(key, abi.encodeNexthop({ ...nexthop, via: ifindex }))
}

/** From a pod's device. */
export function runFromPod(sent: Frame) {
  return world.datapath.podTc.testRun({ data: sent.bytes(), context: Buffer.alloc(SKB_BYTES) })
}

export const send = (sent: Frame): number => runFromPod(sent).returnValue

export const UNSPEC = 0xffff_ffff

/** To a pod's device. @param from the device that it came in by; 0: this node says it */
export function deliver(sent: Frame, from = LOOPBACK): number {
  const context = Buffer.alloc(SKB_BYTES)
  context.writeUInt32LE(from, INGRESS_IFINDEX_AT)
  return world.datapath.podEgressTc.testRun({ data: sent.bytes(), context }).returnValue
}

/** What the stack hands to an uplink. @param from the device that it came in by; 0: this node says it */
export function leave(sent: Frame, from = 0): number {
  const context = Buffer.alloc(SKB_BYTES)
  context.writeUInt32LE(from, INGRESS_IFINDEX_AT)
  return world.datapath.uplink.egress.testRun({ data: sent.bytes(), context }).returnValue
}

/** What XDP leaves to the stack. */
export function comeIn(sent: Frame): number {
  const { behindXdp } = world.datapath.uplink
  if (!behindXdp) throw new Error('nothing stands behind XDP')
  return behindXdp.testRun({ data: sent.bytes(), context: Buffer.alloc(SKB_BYTES) }).returnValue
}

export function arrive(sent: Frame): number {
  return runUplink(world, sent.bytes()).returnValue
}

export function count(reason: number, act: () => void): number {
  return countWhile(world, reason, act)
}

/** Established flows of others hold every place of the set where the entry of this kind was. */
export function takeSet(kind: number) {
  const flows = Buffer.from(world.flowBytes.buffer)
  const rows = Array.from({ length: flows.length / abi.FLOW_BYTES }, (_, row) => row * abi.FLOW_BYTES)
  const found = rows.find((at) => flows.readBigUInt64LE(at) !== 0n && abi.decodeFlow(flows, at).kind === kind)
  if (found === undefined) throw new Error(`no entry of kind ${kind}`)
  const begins = found - (found % abi.FLOW_SET_BYTES)
  const entry = Buffer.from(flows.subarray(found, found + abi.FLOW_BYTES))
  const other = abi.decodeFlow(entry)
  const established = other.word | (BigInt(abi.FlowState.FLOW_ESTABLISHED) << STATE_SHIFT)
  for (let at = begins; at < begins + abi.FLOW_SET_BYTES; at += abi.FLOW_BYTES)
    flows.set(abi.encodeFlow({ ...other, word: established, key: [at, 1, 2, 3] }), at)
  return { leaveOne: () => flows.fill(0, begins, begins + abi.FLOW_BYTES) }
}
