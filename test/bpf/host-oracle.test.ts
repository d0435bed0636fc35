// Random policies of nodes, and packets at their rules' edges, as real packets through the programs at an uplink, against the reference
// evaluator; and the answer of what is let through.

import { writeFileSync } from 'node:fs'
import t from 'tap'
import { DEFAULT_SETTINGS, loadDatapath } from '../../src/datapath/load.ts'
import { policyTables } from '../../src/datapath/maps.ts'
import { PolicyMaps } from '../../src/datapath/policy-maps.ts'
import { type Address, familyOf } from '../../src/model/address.ts'
import type { PolicyPacket, PolicyWorld } from '../../src/model/policy.ts'
import { PolicyCompiler } from '../../src/policy/compile/compiler.ts'
import { wholeWorld } from '../../src/policy/compile/objects.ts'
import { judge } from '../../src/policy/evaluate.ts'
import { subjectMatches } from '../../src/policy/matching.ts'
import { partyAt } from '../../src/policy/parties.ts'
import { aimProbes, type Probe } from '../policy/arbitrary/probes.ts'
import { OWN_NODE, randomWorlds } from '../policy/arbitrary/worlds.ts'
import { compilerOptions, ownAddresses } from '../policy/compiled.ts'
import { Random } from '../policy/random.ts'
import { attachBed } from './attach-bed.ts'
import { type Frame, frame } from './packet.ts'
import { ARRIVING, SCTP_INIT, TC } from './world.ts'

const WORLDS = 900
const PROBES = 400
const WANTED = 10_000
const UNSPEC = 0xffff_ffff
const SKB_BYTES = 192
/** The world before rests no longer. */
const WORLD_MS = 10_000_000
const GRE = 47
const ERRORS = { ipv4: [3, 11, 12], ipv6: [1, 2, 3, 4] } as const

// Where nothing is forwarded, all that comes in is the node's, whatever address it has.
const bed = attachBed(t, 'hostoracle')
bed.ip('link', 'set', 'lo', 'up')
for (const family of ['ipv4', 'ipv6'])
  bed.inside(() => writeFileSync(`/proc/sys/net/${family}/conf/lo/forwarding`, '0'))
const datapath = loadDatapath({
  bpffs: bed.bpffs,
  objects: undefined,
  redirectsOnly: false,
  settings: { ...DEFAULT_SETTINGS, enforcesPolicy: true },
  tunnelAddresses: { ipv4: undefined, ipv6: undefined },
})
t.teardown(() => datapath.close())
const { behindXdp, egress } = datapath.uplink
const flows = new Uint8Array(datapath.map('flows').mmap())

function run(sent: Frame, direction: Probe['direction']): 'allow' | 'deny' {
  const program = direction === 'ingress' ? behindXdp : egress
  const run = () => program?.testRun({ data: sent.bytes(), context: Buffer.alloc(SKB_BYTES) }).returnValue
  const verdict = bed.inside(run)
  if (verdict !== UNSPEC && verdict !== TC.DROP) throw new Error(`the program says ${verdict}`)
  return verdict === UNSPEC ? 'allow' : 'deny'
}

function frameOf({ source, destination, protocol, port }: PolicyPacket, sourcePort: number): Frame {
  const blank = frame(ARRIVING)
    .from(source as Address, sourcePort)
    .to(destination as Address, port)
  if (protocol === 'tcp') return blank.tcp('syn')
  if (protocol === 'udp') return blank.udp()
  if (protocol === 'sctp') return blank.sctp(SCTP_INIT)
  if (protocol === 'other') return blank.body(GRE, Buffer.alloc(16))
  const identifier = Buffer.from([sourcePort >> 8, sourcePort & 255, 0, 1, 1, 2, 3, 4])
  return blank.icmp(port, 0, identifier)
}

function answerOf({ source, destination, protocol, port }: PolicyPacket, sourcePort: number) {
  const blank = frame(ARRIVING)
    .from(destination as Address, port)
    .to(source as Address, sourcePort)
  return protocol === 'tcp' ? blank.tcp('syn', 'ack') : blank.udp()
}

/** What crosses an uplink as the node's: not what it says to itself or its own pods, nor what only borrows its address. */
function isAsked({ packet, direction }: Probe, world: PolicyWorld, own: ReadonlySet<string>): boolean {
  const { source, destination, protocol, port, isMasqueraded, isHairpin } = packet
  const [subject, peer] = direction === 'egress' ? [source, destination] : [destination, source]
  if (isHairpin || !own.has(subject)) return false
  const hasPorts = protocol !== 'icmp' && protocol !== 'other'
  if (isMasqueraded) return direction === 'ingress' && hasPorts
  if (own.has(peer)) return false
  const party = partyAt(world, peer, OWN_NODE)
  if (party.kind === 'pod' && party.pod.node === OWN_NODE && direction === 'egress') return false
  // A router's errors go out whatever its policies say.
  const errors: readonly number[] = ERRORS[familyOf(source as Address)]
  return !(protocol === 'icmp' && direction === 'egress' && errors.includes(port))
}

function selectsNode({ policies, nodes }: PolicyWorld): boolean {
  const node = nodes.find(({ name }) => name === OWN_NODE)
  const party = node && { kind: 'node' as const, address: '', node, isJudge: true }
  return party !== undefined && policies.some(({ subject }) => subjectMatches(subject, party))
}

t.test('the programs decide about the node as the evaluator does', async (t) => {
  const random = new Random(77)
  const tables = policyTables((name) => datapath.map(name))
  const seen = { allow: 0, deny: 0, answers: 0 }
  let now = 0
  let sourcePort = 1024
  for (const world of randomWorlds(4711, WORLDS)) {
    if (seen.allow + seen.deny >= WANTED) break
    if (!selectsNode(world)) continue
    const own = ownAddresses(world)
    now += WORLD_MS
    const maps = new PolicyMaps(tables, () => now)
    maps.retire(() => false)
    maps.apply(new PolicyCompiler(compilerOptions(world)).apply(wholeWorld(world), now))
    maps.settle()
    flows.fill(0)
    for (const probe of aimProbes(world, random, PROBES)) {
      if (!isAsked(probe, world, own)) continue
      const { packet, direction } = probe
      sourcePort = sourcePort === 60_000 ? 1024 : sourcePort + 1
      const from = packet.isMasqueraded ? (sourcePort % 1000) + 61_000 : sourcePort
      const { verdict, cause } = judge(world, packet, direction)
      const got = run(frameOf(packet, from), direction)
      if (got !== verdict)
        throw new Error(
          `${JSON.stringify({ packet, direction, verdict, cause, got, policies: world.policies })}`,
        )
      seen[verdict] += 1
      if (verdict === 'deny' || (packet.protocol !== 'tcp' && packet.protocol !== 'udp')) continue
      const back = direction === 'ingress' ? 'egress' : 'ingress'
      if (run(answerOf(packet, from), back) !== 'allow')
        throw new Error(`the answer is dropped: ${JSON.stringify({ packet, direction })}`)
      seen.answers += 1
    }
  }
  t.comment(JSON.stringify(seen))
  t.ok(seen.allow + seen.deny >= WANTED, 'packets')
  t.ok(Math.min(seen.allow, seen.deny, seen.answers) > WANTED / 10, 'of every outcome')
})
