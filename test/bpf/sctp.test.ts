// SCTP: states by chunks, and a checksum that is right without a look at the payload.

import t from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import { type Case, checkCase, runUplink } from './check.ts'
import { type Frame, frame, SCTP } from './packet.ts'
import { readFrame } from './read-frame.ts'
import { arriving } from './tunnel.ts'
import {
  BACKEND,
  FROM_POD,
  flowState,
  SCTP_INIT,
  TARGET_PORT,
  TC,
  TO_POD,
  UPLINK,
  World,
  XDP,
} from './world.ts'

const world = new World('sctp')
t.teardown(() => world.close())
const R = abi.VerdictReason
const { FLOW_HALF_OPEN, FLOW_ESTABLISHED, FLOW_CLIENT_CLOSED, FLOW_CLOSING } = abi.FlowState
const CHUNK = {
  data: 0,
  initAck: 2,
  abort: 6,
  shutdown: 7,
  shutdownAck: 8,
  cookieEcho: 10,
  shutdownComplete: 14,
} as const
const SKB_BYTES = 192
const GSO_SEGMENTS_AT = 164
const GSO_SIZE_AT = 176
/** GSO_BY_FRAGS. */
const SEGMENTS_IN_LIST = 0xffff

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const check = (test: Parameters<typeof checkCase>[1], one: Case) => checkCase(world, test, one)
const states = () => world.flows().map(flowState)

for (const family of ['ipv4', 'ipv6'] as const) {
  const { client, vip, pod, stranger } = world.cast(family)
  const to = (port: number, chunk: number = SCTP_INIT) => world.request(family, SCTP, port).sctp(chunk)
  const ofPod = (chunk: number) =>
    frame(FROM_POD).from(pod, TARGET_PORT).to(client, 40_000).payload(33).sctp(chunk)
  const answer = (sent: Frame) =>
    world.datapath.podTc.testRun({
      data: sent.bytes(),
      context: Buffer.alloc(SKB_BYTES),
      dataOutBytes: 10_000,
    })
  const delivered = (sent: Frame) => sent.to(pod, TARGET_PORT).ttl(63).link(TO_POD)

  t.test(
    `${family}: NAT-011 NAT-010 ports are translated and the CRC32c is right at any length`,
    async (t) => {
      world.forgetFlows()
      const common = { verdict: XDP.REDIRECT, reason: R.REASON_TO_LOCAL }
      check(t, { ...common, name: 'INIT', sent: to(81), out: delivered(to(81)) })
      for (const bytes of [0, 1, 2, 3, 4, 100, 255, 256, 1023, 1411]) {
        const sent = to(81, CHUNK.data).payload(bytes)
        check(t, { ...common, name: `${bytes} bytes`, sent, out: delivered(sent) })
      }
      const tagged = to(81, CHUNK.data)
      check(t, { ...common, name: 'tagged', sent: tagged.tagged(5), out: delivered(tagged) })
      const big = to(82, CHUNK.data).payload(8800)
      const left = { verdict: XDP.PASS, reason: R.REASON_TO_HOST }
      check(t, { ...left, name: 'jumbo', sent: big, out: big.to(pod, TARGET_PORT + 1) })
      const unfinished = to(81, CHUNK.data).withoutChecksum()
      check(t, { ...common, name: 'left to the hardware', sent: unfinished, out: delivered(unfinished) })
      t.equal(answer(ofPod(CHUNK.initAck)).returnValue, TC.REDIRECT)
      for (const sent of [ofPod(CHUNK.initAck), ofPod(CHUNK.data).payload(1001), ofPod(0).withoutChecksum()])
        t.equal(hex(answer(sent).dataOut), hex(sent.from(vip, 81).ttl(63).link(UPLINK).bytes()), 'the answer')
    },
  )

  t.test(`${family}: NAT-011 to another node, by tunnel and masqueraded`, async (t) => {
    world.forgetFlows()
    const common = { verdict: XDP.REDIRECT, reason: R.REASON_FROM_TUNNEL }
    check(t, {
      ...common,
      name: 'out of the tunnel',
      sent: arriving(world, to(80), family),
      out: delivered(to(80)),
    })
    t.equal(runUplink(world, to(80).bytes()).returnValue, XDP.TX)
    const { FRONTEND_EXTERNAL, FRONTEND_ANY_ENDPOINT } = abi.FrontendFlags
    world.changeFrontend(family, SCTP, 80, { flags: FRONTEND_EXTERNAL | FRONTEND_ANY_ENDPOINT })
    const masqueraded = readFrame(runUplink(world, to(80).payload(777).bytes()).dataOut)
    t.equal(masqueraded.destinationPort, TARGET_PORT)
  })

  t.test(`${family}: what is still to be cut into segments is not too big`, async (t) => {
    world.forgetFlows()
    runUplink(world, to(81).bytes())
    const context = Buffer.alloc(SKB_BYTES)
    context.writeUInt32LE(2, GSO_SEGMENTS_AT)
    context.writeUInt32LE(SEGMENTS_IN_LIST, GSO_SIZE_AT)
    const sent = to(81, CHUNK.data).payload(2600).withoutChecksum()
    const run = (program: Pick<typeof world.datapath.podTc, 'testRun'>, packet: Frame) =>
      program.testRun({ data: packet.bytes(), context: Buffer.from(context), dataOutBytes: 10_000 })
    t.equal(hex(run(world.datapath.uplink.ingress, sent).dataOut), hex(delivered(sent).bytes()))
    const back = ofPod(CHUNK.data).payload(2600).withoutChecksum()
    t.equal(
      hex(run(world.datapath.podTc, back).dataOut),
      hex(back.from(vip, 81).ttl(63).link(UPLINK).bytes()),
    )
  })

  t.test(`${family}: the chunks that begin and end an association`, async (t) => {
    world.forgetFlows()
    runUplink(world, to(81).bytes())
    t.same(states(), [FLOW_HALF_OPEN, FLOW_HALF_OPEN])
    answer(ofPod(CHUNK.initAck))
    t.same(states(), [FLOW_HALF_OPEN, FLOW_HALF_OPEN], 'a forged INIT gets an INIT ACK too')
    runUplink(world, to(81, CHUNK.cookieEcho).bytes())
    answer(ofPod(CHUNK.data))
    t.same(states(), [FLOW_ESTABLISHED, FLOW_ESTABLISHED])
    runUplink(world, to(81, CHUNK.shutdown).bytes())
    t.same(states(), [FLOW_CLIENT_CLOSED, FLOW_CLIENT_CLOSED])
    answer(ofPod(CHUNK.shutdownAck))
    t.same(states(), [FLOW_CLOSING, FLOW_CLOSING])
    world.forgetFlows()
    runUplink(world, to(81).bytes())
    answer(ofPod(CHUNK.abort))
    t.same(states(), [FLOW_CLOSING, FLOW_CLOSING])
  })

  t.test(`${family}: an INIT is judged afresh`, async (t) => {
    world.forgetFlows()
    const portOf = (sent: Frame) => readFrame(runUplink(world, sent.bytes()).dataOut).destinationPort
    t.equal(portOf(to(81)), TARGET_PORT)
    world.pointPort(family, SCTP, 81, BACKEND.byStack)
    t.equal(portOf(to(81, CHUNK.data)), TARGET_PORT, 'a known association stays')
    t.equal(portOf(to(81)), TARGET_PORT + 1)
    world.pointPort(family, SCTP, 81, BACKEND.local)
  })

  t.test(`${family}: SVC-014 nobody to serve is said as for a closed port`, async (t) => {
    const [type, code] = family === 'ipv4' ? [3, 3] : [1, 4]
    for (const [title, sent, reason] of [
      ['no endpoint', to(90), R.REASON_NO_ENDPOINT],
      ['no such port', to(7777), R.REASON_NO_SUCH_PORT],
      ['tagged', to(90).tagged(3), R.REASON_NO_ENDPOINT],
    ] as const)
      check(t, { name: title, sent, verdict: XDP.TX, out: sent.icmpError(type ?? 0, code ?? 0, 0), reason })
    check(t, {
      name: 'cut short',
      sent: to(80).body(SCTP, Buffer.alloc(11)),
      verdict: XDP.DROP,
      reason: R.REASON_MALFORMED,
    })
    check(t, {
      name: 'not ours',
      sent: to(80).to(stranger, 80),
      verdict: XDP.PASS,
      reason: R.REASON_NOT_OURS,
    })
  })
}
