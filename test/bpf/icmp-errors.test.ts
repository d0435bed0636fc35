// ICMP errors about packets of Services' flows, from routers on the way and from either end: to whom they go, and what they quote then.

import t from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import { FrontendFilter } from '../../src/datapath/frontend-filter.ts'
import { type Address, addressToBytes, type Family } from '../../src/model/address.ts'
import { type Case, checkCase, runUplink } from './check.ts'
import { type Frame, frame, SCTP, TCP, TRANSPORT_NAMES, UDP } from './packet.ts'
import { readFrame } from './read-frame.ts'
import { arriving, dsrOption, outer } from './tunnel.ts'
import { ARRIVING, FROM_POD, TARGET_PORT, TC, TO_LOCAL_CLIENT, TO_POD, UPLINK, World, XDP } from './world.ts'

const world = new World('icmp-errors')
t.teardown(() => world.close())
const R = abi.VerdictReason
const SKB_BYTES = 192

const ERRORS = {
  ipv4: {
    tooBig: [3, 4],
    unreachable: [3, 3],
    others: [
      [3, 1],
      [11, 0],
      [12, 0],
    ],
    echo: 8,
    redirect: 5,
  },
  ipv6: {
    tooBig: [2, 0],
    unreachable: [1, 4],
    others: [
      [1, 0],
      [3, 0],
      [4, 1],
    ],
    echo: 128,
    redirect: 137,
  },
} as const

interface Quoting {
  readonly from: Address
  readonly to: Address
  readonly error: readonly [number, number] | readonly number[]
  readonly value?: number
  /** How much is quoted behind the IP header. */
  readonly bytes?: number
}

/** What a router, or an end, says of a packet. */
function errorAbout(
  quoted: Frame,
  { from, to, error: [type, code], value = 1400, bytes = 8 }: Quoting,
): Frame {
  const word = Buffer.alloc(4)
  word.writeUInt32BE(value)
  const header = quoted.fields.options.length + (from.includes(':') ? 40 : 20)
  const body = Buffer.concat([word, quoted.packet().subarray(0, header + bytes)])
  return frame(ARRIVING)
    .from(from)
    .to(to)
    .ttl(60)
    .icmp(type ?? 0, code ?? 0, body)
}

/** A packet of one end to the other, as the other's side sees it. */
function segment(from: Address, port: number, to: Address, toPort: number, protocol: number): Frame {
  const blank = frame(ARRIVING).from(from, port).to(to, toPort).ttl(55).payload(91)
  if (protocol === SCTP) return blank.sctp(0)
  return protocol === TCP ? blank.tcp('ack') : blank.udp()
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const check = (test: Parameters<typeof checkCase>[1], one: Case) => checkCase(world, test, one)

for (const family of ['ipv4', 'ipv6'] as const)
  for (const protocol of [TCP, UDP, SCTP]) {
    const name = `${family} ${TRANSPORT_NAMES[protocol]}`
    const { client, localClient, vip, pod, remotePod, stranger: router, node, otherNode } = world.cast(family)
    const { tooBig, unreachable, others, echo, redirect } = ERRORS[family]
    /** What the backend sent, as the client's side saw it. */
    const answer = (port: number) => segment(vip, port, client, 40_000, protocol)
    const asked = (port: number) => runUplink(world, world.request(family, protocol, port).bytes())
    const toVip = (port: number, error: readonly number[] = tooBig, change: Partial<Quoting> = {}) =>
      errorAbout(answer(port), { from: router, to: vip, error, ...change })
    const toPod = (port: number, error: readonly number[] = tooBig, change: Partial<Quoting> = {}) =>
      errorAbout(answer(port).from(pod, TARGET_PORT), { from: router, to: pod, error, ...change })
        .ttl(59)
        .link(TO_POD)
    const relayed = { verdict: XDP.REDIRECT, reason: R.REASON_ICMP_RELAYED }

    t.test(`${name}: an error about what a pod of this node sent`, async (t) => {
      world.forgetFlows()
      check(t, { ...relayed, name: 'no flow here: the table knows', sent: toVip(81), out: toPod(81) })
      asked(81)
      for (const error of [tooBig, unreachable, ...others])
        check(t, { ...relayed, name: `type ${error}`, sent: toVip(81, error), out: toPod(81, error) })
      check(t, { ...relayed, name: 'tagged', sent: toVip(81).tagged(7, 8), out: toPod(81) })
      if (protocol !== SCTP)
        for (const bytes of [28, 71]) {
          const sent = toVip(81, tooBig, { bytes })
          check(t, { ...relayed, name: `${bytes} bytes quoted`, sent, out: toPod(81, tooBig, { bytes }) })
        }
      const own = toVip(81, unreachable, { from: client })
      check(t, {
        ...relayed,
        name: 'the client’s own',
        sent: own,
        out: toPod(81, unreachable, { from: client }),
      })
      if (family === 'ipv4') {
        const options = Buffer.from('9404000001010100', 'hex')
        const quoted = answer(81).ipOptions(options)
        const sent = errorAbout(quoted, { from: router, to: vip, error: tooBig }).ipOptions(options)
        const out = errorAbout(quoted.from(pod, TARGET_PORT), { from: router, to: pod, error: tooBig })
        check(t, { ...relayed, name: 'options', sent, out: out.ipOptions(options).ttl(59).link(TO_POD) })
      }
      if (family === 'ipv4' && protocol === UDP) {
        const quoted = answer(81).withoutChecksum()
        const sent = errorAbout(quoted, { from: router, to: vip, error: tooBig })
        const out = errorAbout(quoted.from(pod, TARGET_PORT), { from: router, to: pod, error: tooBig })
        check(t, { ...relayed, name: 'no UDP checksum', sent, out: out.ttl(59).link(TO_POD) })
      }
      check(t, { name: 'last hop', sent: toVip(81).ttl(1), verdict: XDP.DROP, reason: R.REASON_TTL_EXCEEDED })
      const byStack = errorAbout(answer(82).from(pod, TARGET_PORT + 1), {
        from: router,
        to: pod,
        error: tooBig,
      })
      check(t, {
        name: 'by the stack',
        sent: toVip(82),
        verdict: XDP.PASS,
        out: byStack,
        reason: R.REASON_ICMP_RELAYED,
      })
    })

    t.test(`${name}: an error about what a pod of another node sent goes there in the tunnel`, async (t) => {
      const wrapped = (sent: Frame) => {
        const { sourcePort } = readFrame(runUplink(world, sent.bytes()).dataOut)
        const option = dsrOption(addressToBytes(remotePod))
        return outer(sent, family, option).from(node, sourcePort).to(otherNode, 6081).link(UPLINK)
      }
      const common = { verdict: XDP.TX, reason: R.REASON_TO_REMOTE }
      world.forgetFlows()
      check(t, { ...common, name: 'no flow here', sent: toVip(80), out: wrapped(toVip(80)) })
      asked(80)
      check(t, { ...common, name: 'its flow is here', sent: toVip(80), out: wrapped(toVip(80)) })
      world.forgetFlows()
      for (const port of [80, 81])
        check(t, {
          ...relayed,
          name: `out of the tunnel, port ${port}`,
          sent: arriving(world, toVip(port), family),
          out: toPod(port),
        })
      const elsewhere = arriving(world, toVip(80), family, { backend: addressToBytes(remotePod) })
      check(t, { name: 'not here', sent: elsewhere, verdict: XDP.DROP, reason: R.REASON_ICMP_UNANSWERED })
      const ping = arriving(world, toVip(80, [echo, 0]), family)
      check(t, { name: 'a ping', sent: ping, verdict: XDP.DROP, reason: R.REASON_ICMP_UNANSWERED })
    })

    t.test(`${name}: errors about nothing of ours end here`, async (t) => {
      const ended = (title: string, sent: Frame) =>
        check(t, { name: title, sent, verdict: XDP.DROP, reason: R.REASON_ICMP_UNANSWERED })
      ended(
        'another sender is quoted',
        errorAbout(answer(81).from(router, 81), { from: router, to: vip, error: tooBig }),
      )
      ended('a port without a Service', toVip(7777))
      ended('nobody serves', toVip(90))
      ended('ports cut off', toVip(81, tooBig, { bytes: 7 }))
      ended('no quotation', frame(ARRIVING).from(router).to(vip).icmp(tooBig[0], tooBig[1], Buffer.alloc(4)))
      ended('a redirect', toVip(81, [redirect, 1]))
      ended('a later fragment is quoted', toVip(81, tooBig).body(...laterQuoted(family)))
      const sent = errorAbout(answer(81).from(router, 81), { from: vip, to: router, error: tooBig })
      check(t, { name: 'not to us', sent, verdict: XDP.PASS, reason: R.REASON_NOT_OURS })
    })

    function laterQuoted(of: Family): [number, Uint8Array] {
      const quoted = answer(81).payload(200).pieces(64)[1] ?? answer(81)
      const bytes = of === 'ipv4' ? 8 : 16
      const error = errorAbout(quoted, { from: router, to: vip, error: tooBig, bytes })
      return [error.fields.protocol, error.fields.body ?? Buffer.alloc(0)]
    }

    t.test(`${name}: an error of a pod reaches the client as the VIP’s`, async (t) => {
      world.forgetFlows()
      const request = segment(client, 40_000, pod, TARGET_PORT, protocol)
      const send = (sent: Frame) =>
        world.datapath.podTc.testRun({
          data: sent.bytes(),
          context: Buffer.alloc(SKB_BYTES),
          dataOutBytes: 2000,
        })
      const ofPod = (error: readonly number[]) =>
        errorAbout(request, { from: pod, to: client, error }).link(FROM_POD)
      t.equal(send(ofPod(unreachable)).returnValue, TC.OK, 'no flow, no translation')
      t.equal(hex(send(ofPod(unreachable)).dataOut), hex(ofPod(unreachable).bytes()))
      asked(81)
      const before = world.metrics().get(R.REASON_ICMP_RELAYED) ?? 0
      for (const error of [tooBig, unreachable, ...others]) {
        const result = send(ofPod(error))
        const out = errorAbout(request.to(vip, 81), { from: vip, to: client, error }).ttl(59).link(UPLINK)
        t.equal(result.returnValue, TC.REDIRECT)
        t.equal(hex(result.dataOut), hex(out.bytes()), `type ${error}`)
      }
      t.equal(world.metrics().get(R.REASON_ICMP_RELAYED), before + 2 + others.length)
      const ofRouter = send(errorAbout(request, { from: router, to: client, error: tooBig }).link(FROM_POD))
      const out = errorAbout(request.to(vip, 81), { from: router, to: client, error: tooBig })
        .ttl(59)
        .link(UPLINK)
      t.equal(hex(ofRouter.dataOut), hex(out.bytes()), 'a router behind the pod’s device keeps its name')
      runUplink(world, world.request(family, protocol, 81).from(localClient, 40_000).bytes())
      const near = request.from(localClient, 40_000)
      const local = send(errorAbout(near, { from: pod, to: localClient, error: unreachable }).link(FROM_POD))
      const shown = errorAbout(near.to(vip, 81), { from: vip, to: localClient, error: unreachable })
      t.equal(hex(local.dataOut), hex(shown.ttl(59).link(TO_LOCAL_CLIENT).bytes()), 'to a pod of this node')
    })

    t.test(`${name}: errors of a backend on the host’s network leave as the VIP’s`, async (t) => {
      world.forgetFlows()
      const request = segment(client, 40_000, pod, TARGET_PORT + 1, protocol)
      const send = (sent: Frame) =>
        world.datapath.uplink.egress.testRun({
          data: sent.bytes(),
          context: Buffer.alloc(SKB_BYTES),
          dataOutBytes: 2000,
        })
      const sent = errorAbout(request, { from: pod, to: client, error: unreachable })
      const filter = new FrontendFilter(new Uint32Array(world.map('frontend_filter').mmap()))
      filter.hold(pod)
      t.equal(hex(send(sent).dataOut), hex(sent.bytes()), 'no flow')
      asked(82)
      const out = errorAbout(request.to(vip, 82), { from: vip, to: client, error: unreachable })
      t.equal(hex(send(sent).dataOut), hex(out.bytes()))
      const pieces = segment(pod, TARGET_PORT + 1, client, 40_000, protocol)
        .id(77)
        .payload(1001)
      if (protocol !== SCTP)
        for (const [index, piece] of pieces.pieces(400).entries())
          t.equal(
            hex(send(piece).dataOut),
            hex(pieces.from(vip, 82).pieces(400)[index]?.bytes() ?? sent.bytes()),
          )
      filter.release(pod)
    })

    t.test(`${name}: an error about a pod’s own packet to a backend elsewhere`, async (t) => {
      world.forgetFlows()
      const { FLOW_REPLY } = abi.FlowKind
      runUplink(world, world.request(family, protocol, 81).from(localClient, 40_000).bytes())
      t.ok(world.flows().some(({ kind }) => kind === FLOW_REPLY))
      const filter = new FrontendFilter(new Uint32Array(world.map('frontend_filter').mmap()))
      filter.hold(localClient)
      const asSent = segment(localClient, 40_000, pod, TARGET_PORT, protocol)
      const sent = errorAbout(asSent, { from: router, to: localClient, error: tooBig })
      const out = errorAbout(asSent.to(vip, 81), { from: router, to: localClient, error: tooBig })
      check(t, { name: 'to the pod', sent, verdict: XDP.PASS, out, reason: R.REASON_ICMP_RELAYED })
      filter.release(localClient)
    })

    t.test(`${name}: errors of masqueraded flows, both ways`, async (t) => {
      world.forgetFlows()
      const { FRONTEND_EXTERNAL, FRONTEND_ANY_ENDPOINT, FRONTEND_DSR } = abi.FrontendFlags
      const flags = FRONTEND_EXTERNAL | FRONTEND_ANY_ENDPOINT
      world.changeFrontend(family, protocol, 80, { flags })
      world.changeFrontend(family, protocol, 81, { flags })
      check(t, {
        name: 'a pod of this node, by another one',
        sent: toVip(81),
        verdict: XDP.DROP,
        reason: R.REASON_ICMP_UNANSWERED,
      })
      world.changeFrontend(family, protocol, 81, { flags: flags | FRONTEND_DSR })
      check(t, { name: 'elsewhere', sent: toVip(80), verdict: XDP.DROP, reason: R.REASON_ICMP_UNANSWERED })
      const { sourcePort } = readFrame(asked(80).dataOut)
      const ours = segment(node, sourcePort, remotePod, TARGET_PORT, protocol)
      const clients = segment(client, 40_000, vip, 80, protocol)
      const common = { verdict: XDP.TX, reason: R.REASON_ICMP_RELAYED }
      check(t, {
        ...common,
        name: 'a router’s, to the client',
        sent: errorAbout(ours, { from: router, to: node, error: tooBig }),
        out: errorAbout(clients, { from: router, to: client, error: tooBig }).ttl(59).link(UPLINK),
      })
      check(t, {
        ...common,
        name: 'the backend’s, to the client',
        sent: errorAbout(ours, { from: remotePod, to: node, error: unreachable }),
        out: errorAbout(clients, { from: vip, to: client, error: unreachable }).ttl(59).link(UPLINK),
      })
      const answers = segment(remotePod, TARGET_PORT, node, sourcePort, protocol)
      check(t, {
        ...common,
        name: 'a router’s, to the backend',
        sent: toVip(80),
        out: errorAbout(answers, { from: router, to: remotePod, error: tooBig }).ttl(59).link(UPLINK),
      })
      check(t, {
        ...common,
        name: 'the client’s, to the backend',
        sent: toVip(80, unreachable, { from: client }),
        out: errorAbout(answers, { from: node, to: remotePod, error: unreachable }).ttl(59).link(UPLINK),
      })
      const foreign = errorAbout(segment(node, 22, router, 9, protocol), {
        from: router,
        to: node,
        error: tooBig,
      })
      check(t, { name: 'this node’s own', sent: foreign, verdict: XDP.PASS, reason: R.REASON_NOT_OURS })
      world.changeFrontend(family, protocol, 80, { flags: flags | FRONTEND_DSR })
    })
  }
