// Before anything is timed: is it judged as its name says, by the rule that is meant?
//
//   the rows         say of some of the flows what is expected, by a rule of the policy that is meant
//   every packet     uncounted where it is allowed, counted under its direction's denial where it is not; and nothing else
//   the flow table   grown by an entry for each new flow, with that rule and a generation that is current; else not at all
//   some packets     have the verdict

import { lookUpPolicy } from '../../src/datapath/policy-lookup.ts'
import { RULE_DEFAULT } from '../../src/policy/compile/rows.ts'
import { TC } from '../../test/bpf/world.ts'
import { FLOWS } from '../packet/cases.ts'
import { addressIn } from '../packet/cluster.ts'
import { untilWhole } from '../packet/driver.ts'
import { type PacketList, single } from '../packet/packet-list.ts'
import type { PodCase } from './packet-cases.ts'
import { flowOf, type PodFlows } from './packet-flows.ts'

const SAMPLES = 8
/** Of sets of four places a few get more flows than places at the fill that is measured: one takes another's, or is dropped. */
const UNPLACED_MAX = 0.02
/** What the program at the device's other direction says of what it lets pass: TC_ACT_UNSPEC. */
const UNSPEC = 0xffff_ffff
const DENIED = { egress: 'POLICY_EGRESS', ingress: 'POLICY_INGRESS' } as const
const PING_TYPES = { ipv4: 8, ipv6: 128 } as const

/** @returns the share of flows that found no place in the table. @throws when anything is judged otherwise */
export function verifyPod(of: PodCase, flows: PodFlows): number {
  if (flows.bed.isEnforced) for (let sample = 0; sample < SAMPLES; sample += 1) checkRows(of, flows, sample)
  const packets = flows.packets(of)
  const unplaced = untilWhole(() => checkCounters(of, flows, packets))
  for (let sample = 0; sample < SAMPLES; sample += 1) {
    const packet = single(packets, Math.floor((packets.count * sample) / SAMPLES))
    untilWhole(() => checkVerdict(of, flows, packet))
  }
  return unplaced
}

function checkRows(of: PodCase, { bed }: PodFlows, sample: number): void {
  const { here, elsewhere, port } = flowOf(of, Math.floor((of.flows * sample) / SAMPLES), bed.others ?? 0)
  const { isAllowed, rule } = lookUpPolicy(bed.tables, {
    ...{ direction: of.way, isFromHost: false },
    subject: addressIn(of.family, 'podHere', here),
    peer: addressIn(of.family, 'podElsewhere', elsewhere),
    ...(of.protocol === 'ping'
      ? { protocol: of.family === 'ipv4' ? 'icmp' : 'icmpv6', port: PING_TYPES[of.family] }
      : { protocol: of.protocol === 'TCP' ? 'tcp' : 'udp', port }),
  })
  if (isAllowed === (of.phase === 'denied') || !isMeant(of, bed, rule))
    throw new Error(`${of.id}: the rows say ${isAllowed ? 'allowed' : 'denied'} by ${nameText(bed, rule)}`)
}

function nameText(bed: PodFlows['bed'], rule: number): string {
  return JSON.stringify(bed.nameOf(rule) ?? rule)
}

/** Whether it is a rule of the policies that are meant to judge such packets; of a denial their isolation. */
function isMeant(of: PodCase, bed: PodFlows['bed'], rule: number): boolean {
  if (bed.others === undefined) return rule === RULE_DEFAULT
  const name = bed.nameOf(rule)
  if (name === undefined || typeof name === 'string') return false
  const policies =
    of.layout === 'spread' ? 'others/other-' : of.protocol === 'ping' ? 'measured/pings' : 'measured/role-'
  if (of.phase === 'denied') return name.key.startsWith('measured/') && name.index === -1
  return name.direction === of.way && name.key.startsWith(policies) && name.index === 0
}

function checkCounters(of: PodCase, flows: PodFlows, packets: PacketList): number {
  const { bed, driver, memory } = flows
  flows.restore(of)
  const liveBefore = memory.live
  driver.select('tc', flows.program(of), packets)
  const counted = bed.countedIn(() => driver.run('tc', packets.count))
  // Of a flood of refusals not every one is told to user space.
  const { EVENT_LOST: _lost, FLOW_SET_FULL: unplaced = 0, [DENIED[of.way]]: denied = 0, ...others } = counted
  const wanted = of.phase === 'denied' ? packets.count : 0
  const unplacedMax = of.flows > FLOWS.few ? packets.count * UNPLACED_MAX : packets.count * UNPLACED_MAX * 0.1
  if (denied !== wanted || unplaced > unplacedMax || Object.keys(others).length > 0)
    throw new Error(`${of.id}: ${packets.count} packets were counted as ${JSON.stringify(counted)}`)
  const grown = memory.live - liveBefore
  const isKept = bed.isEnforced && of.phase === 'new'
  const [most, least] = isKept ? [packets.count, packets.count - unplacedMax] : [0, 0]
  if (grown > most || grown < least)
    throw new Error(`${of.id}: the flow table grew by ${grown} entries with ${packets.count} packets`)
  if (bed.isEnforced && of.phase !== 'denied') checkEntries(of, flows, unplacedMax)
  return unplaced / packets.count
}

/**
 * Also of established flows: their entries say what allowed them, and that it still holds. Of a flow that lost its place to another the
 * answer begins one of the other direction, where that is allowed too.
 */
function checkEntries(of: PodCase, { bed, memory }: PodFlows, strayMax: number): void {
  let meant = 0
  let strays = 0
  for (const { generation, rule, entries } of memory.verdicts()) {
    if (!bed.tables.generations.isCurrent(generation))
      throw new Error(`${of.id}: ${entries} entries carry generation ${generation}, which is not current`)
    if (isMeant(of, bed, rule)) meant += entries
    else strays += entries
    if (strays > strayMax)
      throw new Error(`${of.id}: ${strays} entries carry other rules, ${nameText(bed, rule)} among them`)
  }
  if (meant + strayMax < of.flows) throw new Error(`${of.id}: of ${of.flows} flows ${meant} have entries`)
}

function checkVerdict(of: PodCase, flows: PodFlows, packet: PacketList): void {
  const { driver } = flows
  flows.restore(of)
  driver.select('tc', flows.program(of), packet)
  const { returnValue } = driver.runOnce('tc', 1)
  const allowed = of.way === 'egress' ? TC.OK : UNSPEC
  const expected = of.phase === 'denied' ? TC.DROP : allowed
  if (returnValue !== expected) throw new Error(`${of.id}: verdict ${returnValue} instead of ${expected}`)
}
