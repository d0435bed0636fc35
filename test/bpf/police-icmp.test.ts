// Policy at a pod's device on what has no ports, or hides them: pings, errors, neighbour discovery, tags and extension headers; on DHCP;
// and what is told of packets.

import { writeFileSync } from 'node:fs'
import t from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import { type Address, address, formatAddress } from '../../src/model/address.ts'
import { FIRST_RULE } from '../../src/policy/compile/rows.ts'
import { RingBuffer } from '../../src/sys/libbpf-ts/index.ts'
import { attachBed } from './attach-bed.ts'
import { type Frame, frame, TCP, UDP } from './packet.ts'
import {
  AUDITED,
  arrive,
  count,
  deliver,
  know,
  PORT,
  policy,
  type Said,
  send,
  UNSPEC,
  world,
} from './police-bed.ts'
import { ARRIVING, FROM_POD, TARGET_PORT, TC, TO_POD, UPLINK, XDP } from './world.ts'

const R = abi.VerdictReason
const ICMPV6 = 58
const GROUP = address('ff02::16')

for (const family of ['ipv4', 'ipv6'] as const) {
  const { pod, client, remotePod } = world.cast(family)
  const begin = (ingress: Said, egress: Said) => {
    world.forgetFlows()
    know()
    policy('pod', ingress, egress)
  }
  const ping = family === 'ipv4' ? { ask: 8, answer: 0 } : { ask: 128, answer: 129 }
  const icmp = (blank: Frame, type: number, identifier = 7) =>
    blank.icmp(type, 0, Buffer.from([0, identifier, 0, 1, 1, 2, 3, 4]))
  const out = (type: number, identifier?: number) =>
    icmp(frame(FROM_POD).from(pod).to(client), type, identifier)
  const into = (type: number, identifier?: number) =>
    icmp(frame(TO_POD).from(client).to(pod), type, identifier)

  t.test(`${family}: what hides its ports, or its network`, async (t) => {
    begin('port80', 'port80')
    const tagged = frame(FROM_POD).from(pod, PORT).to(remotePod, 80).tcp('syn').tagged(0)
    t.equal(send(tagged), TC.DROP, 'a tag, which a stack may overlook')
    t.equal(deliver(tagged.from(client, PORT).to(pod, 80)), TC.DROP)
    if (family === 'ipv4') return
    const [hopByHop, options] = [0, 60]
    const hidden = frame(FROM_POD).from(pod).to(remotePod).body(options, Buffer.alloc(40, TCP))
    t.equal(send(hidden), TC.DROP, 'a transport behind a header')
    t.equal(deliver(hidden.from(client).to(pod)), TC.DROP)
    const routerAlert = (nextHeader: number, type: number) =>
      Buffer.from([nextHeader, 0, 5, 2, 0, 0, 1, 0, type, 0, 0, 0, ...Buffer.alloc(20)])
    const report = frame(FROM_POD).from(pod).to(GROUP).ttl(1).body(hopByHop, routerAlert(ICMPV6, 143))
    t.equal(send(report), TC.OK, 'a report of multicast listeners')
    t.equal(send(report.ttl(64)), TC.DROP, 'which goes no further')
    t.equal(send(report.to(remotePod)), TC.DROP, 'and to groups alone')
    t.equal(send(report.body(hopByHop, routerAlert(ICMPV6, 128))), TC.DROP, 'a ping that looks like one')
    t.equal(send(report.body(hopByHop, routerAlert(UDP, 143))), TC.DROP, 'and a datagram')
    t.equal(send(report.body(options, routerAlert(ICMPV6, 143))), TC.DROP)
    policy('pod', 'open', 'open')
    t.equal(send(hidden), TC.OK, 'where all is allowed nobody asks')
    policy('pod', 'allow', 'allow')
    t.equal(send(hidden), TC.OK, 'nor where the peer may anything')
    policy('pod', 'udp', 'udp')
    t.equal(send(hidden), TC.DROP, 'all of one protocol is not anything')
    policy('pod', 'wouldDeny', 'wouldDenySome')
    const audited = count(R.REASON_POLICY_AUDITED, () => {
      t.equal(send(hidden), TC.OK, 'audited policies alone')
      t.equal(deliver(hidden.from(client).to(pod)), UNSPEC)
    })
    t.equal(audited, 2, 'would drop it')
  })

  t.test(`${family}: a ping in fragments, whose type no later one tells`, async (t) => {
    const whole = into(ping.ask).id(7)
    const pieces = [...whole.pieces(8)]
    const deliverAll = () => pieces.map((piece) => deliver(piece))
    t.ok(pieces.length > 1)
    begin('port80', 'deny')
    t.same(new Set(deliverAll()), new Set([TC.DROP]), 'pings alone are allowed')
    policy('pod', 'allow', 'deny')
    t.same(new Set(deliverAll()), new Set([UNSPEC]), 'everything is')
    policy('pod', 'deny', 'deny')
    const fromNode = pieces.map((piece) => deliver(piece, 0))
    t.same(new Set(fromNode), new Set([UNSPEC]), 'its own node’s')
  })

  t.test(`${family}: pings`, async (t) => {
    begin('deny', 'port80')
    t.equal(deliver(into(ping.ask)), TC.DROP)
    t.equal(deliver(into(ping.answer)), TC.DROP, 'an answer that nobody asked for')
    t.equal(send(out(ping.ask)), TC.OK)
    t.equal(deliver(into(ping.answer)), UNSPEC)
    t.equal(deliver(into(ping.answer, 8)), TC.DROP, 'to another question')
    t.equal(deliver(into(ping.ask)), TC.DROP, 'a question is no answer')
    begin('port80', 'deny')
    t.equal(deliver(into(ping.ask)), UNSPEC)
    t.equal(send(out(ping.answer)), TC.OK)
    t.equal(send(out(ping.ask)), TC.DROP)
  })

  t.test(`${family}: NP-021 errors go with the flow that they are about`, async (t) => {
    begin('deny', 'port80')
    const sent = frame(FROM_POD).from(pod, PORT).to(remotePod, 80).tcp('syn')
    const [type, code] = family === 'ipv4' ? [3, 4] : [2, 0]
    const error = sent.icmpError(type, code, 1400)
    t.equal(deliver(error), TC.DROP, 'about nothing')
    t.equal(send(sent), TC.OK)
    t.equal(deliver(error), UNSPEC)
    t.equal(deliver(error.from(client)), UNSPEC, 'of a router on the way')
    begin('port80', 'deny')
    const came = frame(TO_POD).from(client, PORT).to(pod, 80).udp()
    const closed = came.icmpError(family === 'ipv4' ? 3 : 1, family === 'ipv4' ? 3 : 4, 0)
    t.equal(send(closed), TC.DROP)
    t.equal(deliver(came), UNSPEC)
    t.equal(send(closed), TC.OK)
  })

  t.test(`${family}: and so does one about a Service’s, which comes by an uplink`, async (t) => {
    const { vip } = world.cast(family)
    const [type, code] = family === 'ipv4' ? [3, 4] : [2, 0]
    const asked = frame(ARRIVING).from(client, PORT).to(vip, 81).udp()
    const error = frame(UPLINK).from(vip, 81).to(client, PORT).udp().icmpError(type, code, 1400)
    const told = frame(FROM_POD).from(pod, TARGET_PORT).to(client, PORT).udp().icmpError(type, code, 1400)
    begin('port80', 'deny')
    t.equal(arrive(error), XDP.PASS, 'about nothing: past no pod’s device')
    t.equal(deliver(told), TC.DROP)
    t.equal(arrive(asked), XDP.REDIRECT)
    t.equal(arrive(error), XDP.PASS, 'nor about what is known')
    t.equal(deliver(told), UNSPEC)
    policy('pod', 'deny', 'deny')
    t.equal(deliver(told), TC.DROP, 'nor about what is cut')
  })
}

t.test('neighbour discovery and multicast’s reports are the link’s business', async (t) => {
  const { pod, localClient, client, node } = world.cast('ipv6')
  const bed = attachBed(t, 'icmp')
  bed.ip('link', 'set', 'lo', 'up')
  bed.ip('address', 'add', `${node}/128`, 'dev', 'lo')
  bed.ip('-6', 'route', 'add', 'default', 'dev', 'lo')
  bed.inside(() => writeFileSync('/proc/sys/net/ipv6/conf/lo/forwarding', '1'))
  const sends = (sent: Frame) => bed.inside(() => send(sent))
  world.forgetFlows()
  know()
  policy('pod', 'deny', 'deny')
  const neighbour = (to: Address, ttl: number) =>
    frame(FROM_POD).from(pod).to(to).ttl(ttl).icmp(135, 0, Buffer.alloc(20))
  for (const to of [node, localClient, address('fe80::1'), GROUP])
    t.equal(sends(neighbour(to, 255)), TC.OK, `to ${to}`)
  t.equal(sends(neighbour(client, 255)), TC.DROP, 'what would be routed, whatever is in it')
  t.equal(sends(neighbour(client, 255).from(client)), TC.DROP)
  const came = frame(TO_POD).from(node).to(pod).icmp(135, 0, Buffer.alloc(20))
  t.equal(deliver(came.ttl(255)), UNSPEC)
  t.equal(deliver(came.ttl(64)), TC.DROP, 'from beyond a router')
  const report = frame(FROM_POD).from(pod).ttl(1).icmp(143, 0, Buffer.alloc(20))
  t.equal(sends(report.to(GROUP)), TC.OK)
  t.equal(sends(report.to(client)), TC.DROP, 'a report to a single address')
  t.equal(deliver(report.from(client).to(pod)), TC.DROP)
})

t.test('a DHCP client asks and is told before it has an address, but by no other pod', async (t) => {
  const { pod, localClient, client } = world.cast('ipv4')
  const [nobody, everybody] = [address('0.0.0.0'), address('255.255.255.255')]
  know()
  policy('pod', 'deny', 'deny')
  t.equal(send(frame(FROM_POD).from(nobody, 68).to(everybody, 67).udp()), TC.OK)
  t.equal(send(frame(FROM_POD).from(nobody, 69).to(everybody, 67).udp()), TC.DROP)
  t.equal(send(frame(FROM_POD).from(pod, 68).to(everybody, 67).udp()), TC.DROP, 'who has one is judged')
  t.equal(deliver(frame(TO_POD).from(client, 67).to(everybody, 68).udp()), UNSPEC)
  t.equal(deliver(frame(TO_POD).from(localClient, 67).to(everybody, 68).udp()), TC.DROP)
})

/** Events that the action brings. */
function eventsOf(act: () => void): readonly abi.PacketEvent[] {
  const ring = new RingBuffer(world.map('events'))
  const events: abi.PacketEvent[] = []
  ring.consume(() => {})
  act()
  ring.consume(({ data, count: found, offsets }) => {
    for (let index = 0; index < found; index++) events.push(abi.decodePacketEvent(data, offsets[index]))
  })
  return events
}

t.test('an event tells of the flow as it was judged: after translation, as it began', async (t) => {
  for (const family of ['ipv4', 'ipv6'] as const) {
    const { pod, localClient, client, vip } = world.cast(family)
    world.forgetFlows()
    know()
    policy('pod', 'deny', 'open')
    policy('localClient', 'open', 'deny')
    const ask = frame(FROM_POD).from(localClient, PORT).to(vip, 81).payload(9).tcp('syn')
    const ends = eventsOf(() => t.equal(send(ask), TC.DROP)).map(
      ({ source, destination, destinationPort }) => [
        ...[formatAddress(source), formatAddress(destination), destinationPort],
      ],
    )
    t.strictSame(ends, [[localClient, pod, TARGET_PORT]], 'the backend, not the Service')
    policy('pod', 'open', 'open')
    const came = frame(TO_POD).from(client, PORT).to(pod, 80).payload(9).tcp('syn')
    t.equal(deliver(came), UNSPEC)
    policy('pod', 'deny', 'open')
    const answer = frame(FROM_POD).from(pod, 80).to(client, PORT).payload(9).tcp('syn', 'ack')
    t.match(
      eventsOf(() => t.equal(send(answer), TC.DROP)).map(({ reason, source, destinationPort }) => [
        ...[reason, formatAddress(source), destinationPort],
      ]),
      [[R.REASON_POLICY_INGRESS, client, 80]],
      'what an answer answers',
    )
  }
})

t.test('what audited policies would say is told of, and changes nothing', async (t) => {
  const { pod, client, remotePod } = world.cast('ipv4')
  world.forgetFlows()
  know()
  const told = (act: () => void) =>
    eventsOf(act).map(({ kind, reason, serviceId }) => [kind, reason, serviceId])
  const { EVENT_DROP, EVENT_WOULD_DROP, EVENT_WOULD_PASS } = abi.EventKind
  const sent = frame(FROM_POD).from(pod, PORT).to(remotePod, 80).tcp('syn')
  const came = frame(TO_POD).from(client, PORT).to(pod, 80).tcp('syn')
  policy('pod', 'wouldDeny', 'wouldAllow')
  const counted = count(R.REASON_POLICY_AUDITED, () => {
    t.same(
      told(() => {
        t.equal(deliver(came), UNSPEC)
        t.equal(deliver(came.tcp('ack')), UNSPEC)
      }),
      [[EVENT_WOULD_DROP, R.REASON_POLICY_INGRESS, AUDITED]],
      'once a flow',
    )
    t.same(
      told(() => t.equal(send(sent), TC.DROP)),
      [
        [EVENT_WOULD_PASS, R.REASON_POLICY_EGRESS, AUDITED],
        [EVENT_DROP, R.REASON_POLICY_EGRESS, FIRST_RULE],
      ],
    )
  })
  t.equal(counted, 2)
})
