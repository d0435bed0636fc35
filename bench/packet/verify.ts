// Before anything is timed: do the packets of a case take the path that its name says?
//
//   every packet     counted under the one reason of that path, nothing else
//   the flow table   grown by each new flow's entries, and not at all by a known flow's packets
//   some packets     verdict, and every byte of what comes out, beside a packet built from nothing

import type { FlowEntry } from '../../src/datapath/flow-table.ts'
import { addressToBytes } from '../../src/model/address.ts'
import type { Frame } from '../../test/bpf/packet.ts'
import { dsrOption, outer } from '../../test/bpf/tunnel.ts'
import { TC, XDP } from '../../test/bpf/world.ts'
import { TO_ROUTER, toPod } from './bed.ts'
import { type Case, FLOWS, hookOf } from './cases.ts'
import { addressIn, numberIn, numberOf, SERVICE_PORT } from './cluster.ts'
import type { Accesses, CountedPrograms } from './counted-programs.ts'
import { untilWhole } from './driver.ts'
import type { PacketList } from './packet-list.ts'
import type { Populations } from './population.ts'
import { flowOf, packetOf } from './traffic.ts'

/** Flows whose packets are compared byte by byte. */
const SAMPLES = 5
/** Of sets of four places a few hold more flows than places at the fill that is measured; such flows are judged anew each time. */
const UNPLACED_MAX = 0.02
/** Of 4 096 flows one in a thousand runs has one; of a single flow none. */
const UNPLACED_OF_FEW_MAX = 0.001

const REASONS = {
  local: 'TO_LOCAL',
  dsr: 'TO_REMOTE',
  ranged: 'TO_REMOTE',
  snat: 'TO_REMOTE_SNAT',
} as const
const REPLY_REASONS = { local: 'REPLY', snat: 'SNAT_REPLY', dsr: undefined, ranged: undefined } as const

/** undefined: such packets are not counted. */
function reasonOf(of: Case): string | undefined {
  if (of.phase === 'reply') return REPLY_REASONS[of.kind]
  if (of.phase === 'foreign') return hookOf(of) === 'xdp' ? 'NOT_OURS' : undefined
  if (of.phase === 'refused') return of.kind === 'local' ? 'POLICY_INGRESS' : 'SOURCE_RANGE'
  return REASONS[of.kind]
}

/** @returns the share of flows that found no place in the table. @throws when packets went another way */
export function verify(of: Case, populations: Populations): number {
  const packets = populations.packets(of)
  const unplaced = untilWhole(() => checkCounters(of, populations, packets))
  // What comes out of a full table is what comes out of one with room, and of many flows some have no place.
  if (of.table === 'room' && (of.phase === 'new' || of.flows <= FLOWS.few))
    for (let sample = 0; sample < SAMPLES; sample += 1) untilWhole(() => checkBytes(of, populations, sample))
  return unplaced
}

function checkCounters(of: Case, populations: Populations, packets: PacketList): number {
  const { bed, driver, memory } = populations
  const hook = hookOf(of)
  populations.restore(of)
  const liveBefore = memory.live
  driver.select(hook, populations.program(hook), packets)
  const counted = bed.countedIn(() => driver.run(hook, packets.count))
  // Of a flood of refusals not every one is told to user space; a flow without a place is counted beside its way.
  const { EVENT_LOST: _lost, FLOW_SET_FULL: unplaced = 0, ...ways } = counted
  const strayed = strayedOf(of, ways, packets.count)
  const strayedMax = packets.count * (of.flows > FLOWS.few ? UNPLACED_MAX : UNPLACED_OF_FEW_MAX)
  if (strayed === undefined || Math.max(strayed, unplaced) > strayedMax)
    throw new Error(`${of.id}: ${packets.count} packets were counted as ${JSON.stringify(counted)}`)
  checkGrowth(of, memory.live - liveBefore, packets.count)
  return Math.max(strayed, unplaced) / packets.count
}

/** Packets that did not take the case's way; undefined: some took one that even a flow without a place has not. */
function strayedOf(of: Case, ways: Readonly<Record<string, number>>, packets: number): number | undefined {
  const reason = reasonOf(of)
  const { [reason ?? '']: onWay = 0, ...astray } = ways
  const { NOT_OURS: passed = 0, ...others } = astray
  if (Object.keys(others).length > 0) return undefined
  // Passed on uncounted, or counted as nobody's where the filter of addresses could not tell.
  if (reason === undefined) return 0
  return passed > 0 && of.phase !== 'reply' ? undefined : packets - onWay
}

function checkGrowth(of: Case, grown: number, packets: number): void {
  const perFlow = of.kind === 'local' || of.kind === 'snat' ? 2 : 1
  const expected = of.phase === 'new' && of.table === 'room' ? packets * perFlow : 0
  // Flows without a place may find one later.
  const stray = packets * perFlow * UNPLACED_MAX
  if (grown > expected + (expected === 0 ? stray : 0) || grown < expected - 2 * stray)
    throw new Error(`${of.id}: the flow table grew by ${grown} entries, not by ${expected}`)
}

function checkBytes(of: Case, populations: Populations, sample: number): void {
  const { driver } = populations
  const hook = hookOf(of)
  const { packet, entry } = populations.sample(of, sample, SAMPLES)
  populations.restore(of)
  driver.select(hook, populations.program(hook), packet)
  const { returnValue, dataOut } = driver.runOnce(hook, 1)
  const expected = expectedOf(of, populations, packetOf(packet), { entry, dataOut })
  if (returnValue !== expected.verdict)
    throw new Error(`${of.id}: verdict ${returnValue} instead of ${expected.verdict}`)
  const out = expected.out?.bytes().toString('hex')
  if (out !== undefined && out !== dataOut.toString('hex'))
    throw new Error(`${of.id}: what came out is not what should have:\n${dataOut.toString('hex')}\n${out}`)
}

interface Expected {
  readonly verdict: number
  /** undefined: dropped. */
  readonly out: Frame | undefined
}

interface Known {
  /** undefined: the flow began with this packet, or there is none. */
  readonly entry: FlowEntry | undefined
  readonly dataOut: Buffer
}

function expectedOf(of: Case, populations: Populations, sent: Frame, known: Known): Expected {
  if (of.phase === 'refused') return { verdict: XDP.DROP, out: undefined }
  if (of.phase === 'foreign') return { verdict: hookOf(of) === 'xdp' ? XDP.PASS : TC.OK, out: sent }
  const { names } = populations.bed
  const entry = known.entry ?? populations.entry(flowOf({ client: sent.fields.source }))
  const [backend, frontend] = [names.backend(entry?.backendId ?? 0), names.frontend(entry?.frontendId ?? 0)]
  if (!entry || !backend || !frontend)
    throw new Error(`${of.id}: a flow is not in the table after its packet`)
  if (of.phase === 'reply') {
    const turned = sent.from(frontend.address, SERVICE_PORT).ttl(63).link(TO_ROUTER)
    if (of.kind === 'local') return { verdict: TC.REDIRECT, out: turned }
    return { verdict: XDP.TX, out: turned.to(entry.client, entry.clientPort) }
  }
  const translated = sent.to(backend.address, backend.port).ttl(63)
  if (of.kind === 'local') {
    const pod = numberOf(backend.address) - numberIn('podHere', 0)
    return { verdict: XDP.REDIRECT, out: translated.link(toPod(pod)) }
  }
  const node = addressIn(of.family, 'node', 0)
  if (of.kind === 'snat')
    return { verdict: XDP.TX, out: translated.from(node, entry.snatPort).link(TO_ROUTER) }
  // Tunnels run over IPv4 where both nodes have it. The outer source port is a hash's, and not foretold.
  const option = dsrOption(addressToBytes(backend.address), { backendPort: backend.port })
  const tunnelled = outer(sent, of.family, option)
    .from(addressIn('ipv4', 'node', 0), known.dataOut.readUInt16BE(34))
    .to(addressIn('ipv4', 'node', backend.nodeId), 6081)
  return { verdict: XDP.TX, out: tunnelled.link(TO_ROUTER) }
}

/** An established packet may ask for its frontend when it is the flow's first of a second. */
const FRONTENDS_OF_KNOWN_MAX = 0.05

/** A second that begins between two passes makes each flow's packet its first of it, which looks up more: the least is the usual. */
const COUNTED_PASSES = 3

/** What the same sources count of a pass over all packets. @throws when a known flow was judged, or a new one was not */
export function countAccesses(of: Case, populations: Populations, programs: CountedPrograms): Accesses {
  const passes = Array.from({ length: COUNTED_PASSES }, () =>
    untilWhole(() => countOnce(of, populations, programs)),
  )
  const counted = passes.reduce((least, pass) => (sumOf(pass) < sumOf(least) ? pass : least))
  if (of.phase === 'established' && counted.frontends > FRONTENDS_OF_KNOWN_MAX)
    throw new Error(
      `${of.id}: ${counted.frontends} frontends were looked up a packet, though its flow is known`,
    )
  if (of.phase === 'new' && counted.frontends < 1)
    throw new Error(
      `${of.id}: ${counted.frontends} frontends were looked up a packet, though its flow is new`,
    )
  return counted
}

const sumOf = ({ arrays, calls }: Accesses) => arrays + calls

function countOnce(of: Case, populations: Populations, programs: CountedPrograms): Accesses {
  const { driver } = populations
  const hook = hookOf(of)
  const packets = populations.packets(of)
  populations.restore(of)
  driver.select(hook, programs.program(hook), packets)
  // Renews the entries, which is not what is counted.
  if (of.phase !== 'new') driver.run(hook, packets.count)
  return programs.count(hook, packets.count, () => void driver.run(hook, packets.count))
}
