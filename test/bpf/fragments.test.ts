// Fragments: all of a datagram's go where the first one's ports say, translated without a checksum of their own.

import t from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import { addressToBytes } from '../../src/model/address.ts'
import { type Case, checkCase, runUplink } from './check.ts'
import { type Frame, frame, SCTP, TCP, TRANSPORT_NAMES, UDP } from './packet.ts'
import { readFrame } from './read-frame.ts'
import { arriving, dsrOption, outer } from './tunnel.ts'
import { ARRIVING, FROM_POD, TARGET_PORT, TC, TO_POD, TUNNEL_MTU, UPLINK, World, XDP } from './world.ts'

const world = new World('fragments')
t.teardown(() => world.close())
const R = abi.VerdictReason
const SKB_BYTES = 192
const PIECES = [1000, 504]

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const check = (test: Parameters<typeof checkCase>[1], one: Case) => checkCase(world, test, one)
let identification = 1

for (const family of ['ipv4', 'ipv6'] as const)
  for (const protocol of [TCP, UDP]) {
    const name = `${family} ${TRANSPORT_NAMES[protocol]}`
    const { client, vip, pod, remotePod, node, otherNode, stranger } = world.cast(family)
    /** A datagram of an odd length, never sent before. */
    const datagram = (port: number): Frame => {
      identification += 1
      const blank = world.request(family, protocol, port).id(identification).payload(2001)
      return protocol === TCP ? blank.tcp('ack') : blank
    }

    t.test(`${name}: a datagram in fragments to a pod of this node`, async (t) => {
      world.forgetFlows()
      const sent = datagram(81)
      const out = sent
        .to(pod, TARGET_PORT)
        .ttl(63)
        .link(TO_POD)
        .pieces(...PIECES)
      const common = { verdict: XDP.REDIRECT, reason: R.REASON_TO_LOCAL }
      for (const [index, piece] of sent.pieces(...PIECES).entries())
        check(t, { ...common, name: `piece ${index}`, sent: piece, out: out[index] })
      t.equal(world.flows().length, 2, 'one flow')
      const stack = datagram(82)
      const left = stack.to(pod, TARGET_PORT + 1).pieces(...PIECES)
      for (const [index, piece] of stack.pieces(...PIECES).entries())
        check(t, {
          name: `by the stack ${index}`,
          sent: piece,
          verdict: XDP.PASS,
          out: left[index],
          reason: R.REASON_TO_HOST,
        })
    })

    t.test(`${name}: in fragments to another node, and out of the tunnel there`, async (t) => {
      world.forgetFlows()
      const sent = datagram(80)
      const option = dsrOption(addressToBytes(remotePod))
      for (const [index, piece] of sent.pieces(...PIECES).entries()) {
        const { sourcePort } = readFrame(runUplink(world, piece.bytes()).dataOut)
        const out = outer(piece, family, option).from(node, sourcePort).to(otherNode, 6081).link(UPLINK)
        check(t, { name: `piece ${index}`, sent: piece, verdict: XDP.TX, out, reason: R.REASON_TO_REMOTE })
      }
      for (const { key } of [...world.map('fragments').entries()]) world.map('fragments').delete(key)
      world.forgetFlows()
      const out = sent
        .to(pod, TARGET_PORT)
        .ttl(63)
        .link(TO_POD)
        .pieces(...PIECES)
      const common = { verdict: XDP.REDIRECT, reason: R.REASON_FROM_TUNNEL }
      for (const [index, piece] of sent.pieces(...PIECES).entries())
        check(t, {
          ...common,
          name: `arriving ${index}`,
          sent: arriving(world, piece, family),
          out: out[index],
        })
    })

    t.test(`${name}: fragments without their first one are dropped`, async (t) => {
      const [first, later] = datagram(81).pieces(...PIECES)
      if (!first || !later) throw new Error('two pieces')
      check(t, { name: 'overtaken', sent: later, verdict: XDP.DROP, reason: R.REASON_FRAGMENT })
      check(t, {
        name: 'in the tunnel',
        sent: arriving(world, later, family),
        verdict: XDP.DROP,
        reason: R.REASON_FRAGMENT,
      })
      check(t, {
        name: 'no ports',
        sent: first.body(protocol, Buffer.alloc(6)),
        verdict: XDP.DROP,
        reason: R.REASON_MALFORMED,
      })
      const foreign = later.to(stranger)
      check(t, { name: 'not ours', sent: foreign, verdict: XDP.PASS, reason: R.REASON_NOT_OURS })
      runUplink(world, first.bytes())
      check(t, {
        name: 'another datagram',
        sent: later.id(identification + 1),
        verdict: XDP.DROP,
        reason: R.REASON_FRAGMENT,
      })
      check(t, {
        name: 'another client',
        sent: later.from(stranger),
        verdict: XDP.DROP,
        reason: R.REASON_FRAGMENT,
      })
    })

    t.test(`${name}: only a first fragment is answered`, async (t) => {
      const refused = datagram(90).pieces(...PIECES)
      const big = datagram(80)
        .payload(TUNNEL_MTU * 3)
        .pieces(TUNNEL_MTU, TUNNEL_MTU)
      for (const [pieces, reason] of [
        [refused, R.REASON_NO_ENDPOINT],
        [big, R.REASON_TOO_BIG],
      ] as const) {
        const [first, later] = pieces.map((piece) => runUplink(world, piece.bytes()).returnValue)
        t.same([first, later], [XDP.TX, XDP.DROP], `reason ${reason}`)
      }
    })

    t.test(`${name}: a pod’s answer in fragments`, async (t) => {
      world.forgetFlows()
      runUplink(world, world.request(family, protocol, 81).bytes())
      identification += 1
      const blank = frame(FROM_POD).from(pod, TARGET_PORT).to(client, 40_000).id(identification).payload(2001)
      const answer = protocol === TCP ? blank.tcp('ack') : blank.udp()
      const out = answer
        .from(vip, 81)
        .ttl(63)
        .link(UPLINK)
        .pieces(...PIECES)
      for (const [index, piece] of answer.pieces(...PIECES).entries()) {
        const result = world.datapath.podTc.testRun({
          data: piece.bytes(),
          context: Buffer.alloc(SKB_BYTES),
          dataOutBytes: 2000,
        })
        t.equal(result.returnValue, TC.REDIRECT)
        t.equal(hex(result.dataOut), hex(out[index]?.bytes() ?? Buffer.alloc(0)), `piece ${index}`)
      }
    })
  }

t.test('masqueraded datagrams in fragments, both ways', async (t) => {
  const { FRONTEND_EXTERNAL, FRONTEND_ANY_ENDPOINT } = abi.FrontendFlags
  for (const family of ['ipv4', 'ipv6'] as const) {
    world.changeFrontend(family, UDP, 80, { flags: FRONTEND_EXTERNAL | FRONTEND_ANY_ENDPOINT })
    const { client, vip, remotePod, node } = world.cast(family)
    const { sourcePort } = readFrame(runUplink(world, world.request(family, UDP, 80).bytes()).dataOut)
    const sent = world.request(family, UDP, 80).id(77).payload(2001)
    const out = sent
      .from(node, sourcePort)
      .to(remotePod, TARGET_PORT)
      .ttl(63)
      .link(UPLINK)
      .pieces(...PIECES)
    for (const [index, piece] of sent.pieces(...PIECES).entries())
      check(t, {
        name: `${family} ${index}`,
        sent: piece,
        verdict: XDP.TX,
        out: out[index],
        reason: R.REASON_TO_REMOTE_SNAT,
      })
    const answer = frame(ARRIVING)
      .from(remotePod, TARGET_PORT)
      .to(node, sourcePort)
      .udp()
      .id(78)
      .payload(2001)
    const back = answer
      .from(vip, 80)
      .to(client, 40_000)
      .ttl(63)
      .link(UPLINK)
      .pieces(...PIECES)
    for (const [index, piece] of answer.pieces(...PIECES).entries())
      check(t, {
        name: `${family} back ${index}`,
        sent: piece,
        verdict: XDP.TX,
        out: back[index],
        reason: R.REASON_SNAT_REPLY,
      })
  }
})

t.test('IPv6: a fragment header on a whole packet', async (t) => {
  world.forgetFlows()
  const { pod } = world.cast('ipv6')
  const sent = world.request('ipv6', UDP, 81).fragment(0)
  const out = sent.to(pod, TARGET_PORT).ttl(63).link(TO_POD)
  check(t, { name: 'atomic', sent, verdict: XDP.REDIRECT, out, reason: R.REASON_TO_LOCAL })
})

t.test('SCTP in fragments cannot be translated', async (t) => {
  for (const family of ['ipv4', 'ipv6'] as const)
    for (const piece of world.request(family, SCTP, 81).payload(2000).pieces(1000))
      check(t, { name: family, sent: piece, verdict: XDP.DROP, reason: R.REASON_FRAGMENT })
})
