// What the datapath costs, for orientation: the XDP program by test run, and requests through the VIP.

import { join } from 'node:path'
import { BpfLink, BpfProgram } from '../../sys/libbpf-ts/index.ts'
import { nodeBpffs } from '../names.ts'
import { type Finding, loadFrom, type ProofContext, urlOf } from './context.ts'

const REPEATS = 500_000
const LOAD_SECONDS = 1

/** An Ethernet frame with a TCP ACK from a client to `vip` (IPv4), checksums left zero: the program only updates them. */
function ackFrame(clientAddress: string, vip: string): Buffer {
  const frame = Buffer.alloc(64)
  frame.writeUInt16BE(0x0800, 12)
  const ip = 14
  frame.writeUInt8(0x45, ip)
  frame.writeUInt16BE(50, ip + 2)
  frame.writeUInt8(64, ip + 8)
  frame.writeUInt8(6, ip + 9)
  Buffer.from(clientAddress.split('.').map(Number)).copy(frame, ip + 12)
  Buffer.from(vip.split('.').map(Number)).copy(frame, ip + 16)
  const tcp = ip + 20
  frame.writeUInt16BE(40_000, tcp)
  frame.writeUInt16BE(80, tcp + 2)
  frame.writeUInt8(0x50, tcp + 12)
  frame.writeUInt8(0x10, tcp + 13)
  return frame
}

/** Nanoseconds per run of the program that is attached to the node's first uplink right now. */
function measureProgram({ rack, service }: ProofContext): {
  foreignNs: number
  vipNs: number
  instructions: number
} {
  const node = rack.plan.nodes[0]
  const uplink = node?.uplinks[0]?.interface ?? ''
  const link = BpfLink.openPinned(join(nodeBpffs(rack.name, node?.name ?? ''), 'links', `xdp_${uplink}`))
  const program = BpfProgram.fromId(link.info().programId)
  try {
    const client = rack.plan.clients[0]?.address.ipv4 ?? ''
    const vip = service.vips.find((candidate) => !candidate.includes(':')) ?? ''
    // Each run gets the frame as the last run left it, so what is repeated is a packet that stays as it is: one not ours.
    const foreign = program.testRun({ data: ackFrame(client, client), repeat: REPEATS })
    const once = Array.from(
      { length: 2000 },
      () => program.testRun({ data: ackFrame(client, vip) }).durationNs,
    )
    once.sort((a, b) => a - b)
    return {
      foreignNs: foreign.durationNs,
      vipNs: once[Math.floor(once.length / 2)] ?? 0,
      instructions: program.info().instructionCount,
    }
  } finally {
    program.close()
    link.close()
  }
}

export async function proveCost(context: ProofContext): Promise<Finding[]> {
  const { rack, service } = context
  const { foreignNs, vipNs, instructions } = measureProgram(context)
  const url = urlOf(service.vips[0] ?? '', '/hostname')
  const client = rack.host('client1')
  const fresh = await loadFrom(client, url, ['--seconds', String(LOAD_SECONDS), '--concurrency', '32'])
  const kept = await loadFrom(client, url, [
    '--seconds',
    String(LOAD_SECONDS),
    '--concurrency',
    '32',
    '--keep-alive',
  ])
  const rate = (report: { answered: number; seconds: number }) =>
    `${Math.round(report.answered / report.seconds)}/s`
  return [
    {
      claim: 'cost of the XDP program, by test run on the attached program',
      holds: foreignNs > 0 && vipNs > 0,
      seen: `${foreignNs} ns not ours, ${vipNs} ns to the VIP`,
      details: [`${instructions} instructions; single runs of one flow include the test run's own overhead`],
    },
    {
      claim: 'requests through the VIP, client and servers on these same cores',
      holds: fresh.failures.length === 0 && kept.failures.length === 0,
      seen: `${rate(fresh)} new connections, ${rate(kept)} kept alive`,
    },
  ]
}
