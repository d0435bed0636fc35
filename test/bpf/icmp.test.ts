// ICMP to a Service's address: ping is answered, errors about its flows are relayed (icmp-errors.test.ts), all else is dropped, and
// none of it reaches a stack that would route it out again. Other addresses' ICMP is none of our business.

import t from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import { type Case, checkCase } from './check.ts'
import { type Frame, frame, TCP } from './packet.ts'
import { arriving } from './tunnel.ts'
import { ARRIVING, World, XDP } from './world.ts'

const world = new World('icmp')
t.teardown(() => world.close())
const R = abi.VerdictReason
const BACK = { destination: ARRIVING.source, source: ARRIVING.destination }

const ECHO = {
  ipv4: { request: 8, reply: 0, unreachable: 3, tooBig: [3, 4], protocol: 1 },
  ipv6: { request: 128, reply: 129, unreachable: 1, tooBig: [2, 0], protocol: 58 },
} as const

for (const family of ['ipv4', 'ipv6'] as const) {
  const { client, vip, stranger, node } = world.cast(family)
  const { request, reply, unreachable, tooBig, protocol } = ECHO[family]
  const body = (length: number) => Buffer.from(Array.from({ length: length + 4 }, (_, index) => index * 11))
  const message = (type: number, length = 56, code = 0): Frame =>
    frame(ARRIVING).from(client).to(vip).ttl(7).icmp(type, code, body(length))
  const answer = (sent: Frame, length = 56) =>
    sent.link(BACK).from(vip).to(client).ttl(64).icmp(reply, 0, body(length))
  const check = (test: Parameters<typeof checkCase>[1], one: Case) => checkCase(world, test, one)

  t.test(`${family}: ping of a Service's address is answered where it arrives`, async (t) => {
    const pinged = (name: string, sent: Frame, length = 56) =>
      check(t, { name, sent, verdict: XDP.TX, out: answer(sent, length), reason: R.REASON_ECHO })
    pinged('usual', message(request))
    pinged('empty', message(request, 0), 0)
    pinged('odd length', message(request, 57), 57)
    pinged('tagged', message(request).tagged(7, 8))
    pinged('jumbo', message(request, 8000), 8000)
    pinged('last hop', message(request).ttl(1))
    pinged('marked', message(request).trafficClass(0xb8))
    if (family === 'ipv4') pinged('options', message(request).ipOptions(Buffer.from('94040000', 'hex')))
  })

  t.test(`${family}: other ICMP to a Service's address ends here`, async (t) => {
    const ended = (name: string, sent: Frame, reason: number = R.REASON_ICMP_UNANSWERED) =>
      check(t, { name, sent, verdict: XDP.DROP, reason })
    ended('a reply', message(reply))
    ended('another code', message(request, 56, 1))
    ended('an error', message(unreachable))
    ended('too big', message(tooBig[0], 56, tooBig[1]))
    ended('cut short', message(request).body(protocol, Buffer.from([request, 0, 0])))
    ended('a fragment', message(request).fragment(0x2000), R.REASON_FRAGMENT)
  })

  t.test(`${family}: ICMP to other addresses passes`, async (t) => {
    for (const to of [stranger, node])
      for (const type of [request, reply, unreachable])
        check(t, {
          name: `${to} type ${type}`,
          sent: message(type).to(to),
          verdict: XDP.PASS,
          reason: R.REASON_NOT_OURS,
        })
    const piece = message(request).to(node).fragment(0x2000)
    check(t, { name: 'a fragment', sent: piece, verdict: XDP.PASS, reason: R.REASON_NOT_OURS })
  })

  t.test(`${family}: a tunnel brings no ping`, async (t) => {
    const sent = arriving(world, message(request), family)
    check(t, { name: 'ping', sent, verdict: XDP.DROP, reason: R.REASON_ICMP_UNANSWERED })
  })
}

t.test('another family’s ping type is no ping', async (t) => {
  const { client, vip } = world.cast('ipv4')
  const sent = frame(ARRIVING).from(client).to(vip).icmp(128, 0, Buffer.alloc(12))
  checkCase(world, t, { name: '128', sent, verdict: XDP.DROP, reason: R.REASON_ICMP_UNANSWERED })
  const mixed = world.request('ipv4', TCP, 80).body(58, Buffer.alloc(16))
  const out = mixed.icmpError(3, 3, 0)
  checkCase(world, t, {
    name: 'ICMPv6 in IPv4',
    sent: mixed,
    verdict: XDP.TX,
    out,
    reason: R.REASON_NO_SUCH_PORT,
  })
})
