// weir_uplink_xdp, packet in → verdict, packet out (every byte), flows and metrics out.

import t from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import { addressToBytes, type Family } from '../../src/model/address.ts'
import { type Assertions, type Case, checkCase, runUplink } from './check.ts'
import { type Frame, icmpOf, TCP, UDP } from './packet.ts'
import { readFrame } from './read-frame.ts'
import { arriving as arrivingAt, dsrOption, outer } from './tunnel.ts'
import { ARRIVING, BACKEND, POD_MTU, TARGET_PORT, TO_POD, TUNNEL_MTU, UPLINK, World, XDP } from './world.ts'

const world = new World('xdp')
t.teardown(() => world.close())
const R = abi.VerdictReason

const run = (bytes: Uint8Array) => runUplink(world, bytes)
const check = (test: Assertions, one: Case) => checkCase(world, test, one)

/** What the entry node puts around a packet; the source port comes from a hash and is read back from what came out. */
function tunnelled(inner: Frame, family: Family, sourcePort: number): Frame {
  const { node, otherNode, remotePod } = world.cast(family)
  const option = dsrOption(addressToBytes(remotePod))
  return outer(inner, family, option).from(node, sourcePort).to(otherNode, 6081).link(UPLINK)
}

const arriving = (inner: Frame, family: Family, change: Partial<abi.DsrOption> = {}) =>
  arrivingAt(world, inner, family, change)

for (const family of ['ipv4', 'ipv6'] as const)
  for (const protocol of [TCP, UDP]) {
    const name = `${family} ${protocol === TCP ? 'TCP' : 'UDP'}`
    const { client, pod, stranger, vip, node } = world.cast(family)
    const to = (port: number) => world.request(family, protocol, port)
    const further = (port: number) => (protocol === TCP ? to(port).tcp('ack') : to(port))

    t.test(`${name}: a new flow to a pod of this node`, async (t) => {
      world.forgetFlows()
      const delivered = (sent: Frame) => sent.to(pod, TARGET_PORT).ttl(63).link(TO_POD).tagged()
      const common = { verdict: XDP.REDIRECT, reason: R.REASON_TO_LOCAL }
      check(t, { ...common, name: 'first', sent: to(81), out: delivered(to(81)) })
      const kinds = world.flows().map(({ kind, index }) => [kind, index])
      t.same(kinds.sort(), [
        [abi.FlowKind.FLOW_TO_LOCAL, world.backendId(family, protocol, BACKEND.local)],
        [abi.FlowKind.FLOW_REPLY, world.frontendId(family, protocol, 81)],
      ])
      check(t, { ...common, name: 'further', sent: further(81), out: delivered(further(81)) })
      check(t, { ...common, name: 'tagged', sent: further(81).tagged(7), out: delivered(further(81)) })
      check(t, { ...common, name: 'two tags', sent: further(81).tagged(7, 8), out: delivered(further(81)) })
      const odd = further(81).payload(31)
      check(t, { ...common, name: 'odd length', sent: odd, out: delivered(odd) })
      if (protocol === UDP && family === 'ipv4') {
        const unchecked = further(81).withoutChecksum()
        check(t, { ...common, name: 'no UDP checksum', sent: unchecked, out: delivered(unchecked) })
      }
      if (family === 'ipv4') {
        const optioned = further(81).ipOptions(Buffer.from('9404000001010100', 'hex'))
        check(t, { ...common, name: 'IP options', sent: optioned, out: delivered(optioned) })
      }
      t.equal(world.flows().length, 2, 'no more entries')
    })

    t.test(`${name}: where redirection is impossible the stack delivers`, async (t) => {
      const out = to(82).to(pod, TARGET_PORT + 1)
      check(t, { name: 'first', sent: to(82), verdict: XDP.PASS, out, reason: R.REASON_TO_HOST })
    })

    t.test(`${name}: a Service asks nobody, or two would answer each other for ever`, async (t) => {
      world.forgetFlows()
      for (const sent of [to(81).from(vip, 81), to(80).from(vip, 81), further(81).from(vip, 82)])
        check(t, { name: 'forged', sent, verdict: XDP.DROP, reason: R.REASON_FORGED_SOURCE })
      t.equal(world.flows().length, 0)
    })

    t.test(`${name}: a backend on another node gets it in a tunnel`, async (t) => {
      world.forgetFlows()
      const wrapped = (sent: Frame) => {
        const { sourcePort } = readFrame(run(sent.bytes()).dataOut)
        t.ok(sourcePort >= 0xc000, 'entropy in the source port')
        return tunnelled(sent, family, sourcePort)
      }
      const common = { verdict: XDP.TX, reason: R.REASON_TO_REMOTE }
      const first = to(80).trafficClass(0xba)
      check(t, { ...common, name: 'first', sent: first, out: wrapped(first) })
      t.same(
        world.flows().map(({ kind, index }) => [kind, index]),
        [[abi.FlowKind.FLOW_TO_REMOTE, world.backendId(family, protocol, BACKEND.remote)]],
      )
      check(t, { ...common, name: 'further', sent: further(80), out: wrapped(further(80)) })
      check(t, { ...common, name: 'tagged', sent: further(80).tagged(7), out: wrapped(further(80)) })
    })

    t.test(`${name}: out of the tunnel to the pod`, async (t) => {
      world.forgetFlows()
      const out = (sent: Frame) => sent.to(pod, TARGET_PORT).ttl(63).link(TO_POD)
      const common = { verdict: XDP.REDIRECT, reason: R.REASON_FROM_TUNNEL }
      check(t, { ...common, name: 'first', sent: arriving(to(80), family), out: out(to(80)) })
      t.equal(world.flows().length, 2, 'forward and reply')
      check(t, { ...common, name: 'further', sent: arriving(further(80), family), out: out(further(80)) })
      t.equal(world.flows().length, 2)
    })

    t.test(`${name}: what a tunnel may not bring`, async (t) => {
      world.forgetFlows()
      const bad = (title: string, sent: Frame, reason: number) =>
        check(t, { name: title, sent, verdict: XDP.DROP, reason })
      const ok = arriving(to(80), family)
      bad('unknown source', ok.from(stranger, 50_000), R.REASON_UNKNOWN_TUNNEL_SOURCE)
      bad('class', arriving(to(80), family, { optionClass: 0x0101 }), R.REASON_MALFORMED_TUNNEL)
      bad('type', arriving(to(80), family, { type: 1 }), R.REASON_MALFORMED_TUNNEL)
      bad('length', arriving(to(80), family, { length: 8 }), R.REASON_MALFORMED_TUNNEL)
      bad('truncated', ok.payload(ok.fields.payload.subarray(0, 20)), R.REASON_MALFORMED_TUNNEL)
      bad('not IP', ok.payload(ok.fields.payload.subarray(0, 50)), R.REASON_MALFORMED_TUNNEL)
      const elsewhere = { backend: addressToBytes(world.cast(family).remotePod) }
      bad('backend elsewhere', arriving(to(80), family, elsewhere), R.REASON_UNKNOWN_BACKEND)
      bad('unknown backend', arriving(to(80), family, { backendPort: 9 }), R.REASON_UNKNOWN_BACKEND)
      bad('no such Service', arriving(to(99), family), R.REASON_UNKNOWN_FRONTEND)
      t.equal(world.flows().length, 0)
    })

    t.test(`${name}: nobody to serve`, async (t) => {
      world.forgetFlows()
      const back = { destination: ARRIVING.source, source: ARRIVING.destination }
      const answer = (sent: Frame) => {
        if (protocol === UDP) return sent.icmpError(family === 'ipv4' ? 3 : 1, family === 'ipv4' ? 3 : 4, 0)
        const length = sent.fields.payload.length + (sent.fields.flags.includes('syn') ? 1 : 0)
        const reset = sent
          .from(vip, sent.fields.destinationPort)
          .to(client, 40000)
          .link(back)
          .ttl(64)
          .id(0)
          .payload(0)
        return sent.fields.flags.includes('ack')
          ? reset.tcp('rst').numbers(sent.fields.acknowledged, 0)
          : reset.tcp('rst', 'ack').numbers(0, sent.fields.sequence + length)
      }
      const refused = (title: string, sent: Frame, reason: number) =>
        check(t, { name: title, sent, verdict: XDP.TX, out: answer(sent), reason })
      refused('no endpoint', to(90), R.REASON_NO_ENDPOINT)
      refused('no endpoint, further', further(90), R.REASON_NO_ENDPOINT)
      refused('undefined port', to(7777), R.REASON_NO_SUCH_PORT)
      refused('tagged', to(90).tagged(7), R.REASON_NO_ENDPOINT)
      const local = { name: 'none here', sent: to(91), verdict: XDP.DROP, reason: R.REASON_NO_LOCAL_ENDPOINT }
      check(t, local)
      if (protocol === TCP)
        check(t, {
          name: 'a reset',
          sent: to(90).tcp('rst'),
          verdict: XDP.DROP,
          reason: R.REASON_NO_ENDPOINT,
        })
    })

    t.test(`${name}: not ours`, async (t) => {
      const pass = (title: string, sent: Frame) =>
        check(t, { name: title, sent, verdict: XDP.PASS, reason: R.REASON_NOT_OURS })
      pass('another address', to(80).to(stranger, 80))
      pass('this node', further(80).to(node, 22))
      pass('a fragment', to(80).to(stranger, 80).fragment(0x2000))
    })

    t.test(`${name}: what can't be balanced`, async (t) => {
      const dropped = (title: string, sent: Frame, reason: number) =>
        check(t, { name: title, sent, verdict: XDP.DROP, reason })
      dropped('cut short', to(80).body(protocol, Buffer.alloc(6)), R.REASON_MALFORMED)
    })

    t.test(`${name}: hops and sizes`, async (t) => {
      const error = icmpOf(family)
      const last = to(81).ttl(1)
      const out = error(last, [11, 0], [3, 0], 0)
      check(t, { name: 'last hop', sent: last, verdict: XDP.TX, out, reason: R.REASON_TTL_EXCEEDED })
      for (const [port, mtu] of [
        [80, TUNNEL_MTU],
        [81, POD_MTU],
      ] as const) {
        const big = to(port).payload(mtu)
        const tooBig = error(big, [3, 4], [2, 0], mtu)
        check(t, { name: `port ${port}`, sent: big, verdict: XDP.TX, out: tooBig, reason: R.REASON_TOO_BIG })
      }
      const jumbo = to(81).payload(8900)
      const tooBig = error(jumbo, [3, 4], [2, 0], POD_MTU)
      check(t, { name: 'jumbo', sent: jumbo, verdict: XDP.TX, out: tooBig, reason: R.REASON_TOO_BIG })
      const passed = jumbo.to(pod, TARGET_PORT + 1)
      const big = {
        sent: jumbo.to(vip, 82),
        verdict: XDP.PASS,
        out: passed,
        reason: R.REASON_TO_HOST,
      }
      check(t, { name: 'jumbo through the stack', ...big })
    })

    t.test(`${name}: what a flow keeps when the Service changes`, async (t) => {
      world.forgetFlows()
      const portOf = (sent: Frame) => run(sent.bytes()).dataOut.readUInt16BE(family === 'ipv4' ? 70 : 90)
      t.equal(portOf(to(80)), TARGET_PORT)
      world.pointPort(family, protocol, 80, BACKEND.second)
      t.equal(portOf(further(80)), TARGET_PORT, 'a known flow stays')
      t.equal(portOf(further(80).from(client, 40001)), TARGET_PORT + 1, 'another goes to the new backend')
      if (protocol === TCP) t.equal(portOf(to(80)), TARGET_PORT + 1, 'a SYN is judged afresh')
      world.pointPort(family, protocol, 80, BACKEND.remote)
      world.setBackendState(family, protocol, BACKEND.second, abi.BackendState.BACKEND_GONE)
      t.equal(portOf(further(80).from(client, 40001)), TARGET_PORT, 'a gone backend loses its flows')
      world.setBackendState(family, protocol, BACKEND.second, abi.BackendState.BACKEND_ACTIVE)
    })

    t.test(`${name}: the flows of a node that left move at once`, async (t) => {
      world.forgetFlows()
      const portOf = (sent: Frame) => run(sent.bytes()).dataOut.readUInt16BE(family === 'ipv4' ? 70 : 90)
      world.pointPort(family, protocol, 80, BACKEND.second)
      t.equal(portOf(to(80)), TARGET_PORT + 1)
      world.pointPort(family, protocol, 80, BACKEND.remote)
      t.equal(portOf(further(80)), TARGET_PORT + 1, 'a known flow stays')
      const { nexthopId } = world.changeBackend(family, protocol, BACKEND.second, { nexthopId: 0 })
      t.equal(portOf(further(80)), TARGET_PORT, 'without its node it is judged afresh')
      world.changeBackend(family, protocol, BACKEND.second, { nexthopId })
    })
  }

t.test('no way out: the tunnel has no uplink', async (t) => {
  world.setUplinkMembers(0)
  const sent = world.request('ipv4', TCP, 80)
  check(t, { name: 'IPv4', sent, verdict: XDP.DROP, reason: R.REASON_NO_NEXTHOP })
  world.setUplinkMembers(1)
})

t.test('refusals and ICMP errors are limited per second', async (t) => {
  const row = Buffer.alloc(4)
  const spend = () => {
    const map = world.map('answers')
    const counts = map
      .splitPerCpu(map.lookup(row) ?? Buffer.alloc(0))
      .map((bytes) => abi.decodeAnswerCount(bytes))
    map.update(row, Buffer.concat(counts.map(({ tick }) => abi.encodeAnswerCount({ tick, answers: 10_000 }))))
  }
  for (const [sent, reason] of [
    [world.request('ipv4', TCP, 90), R.REASON_NO_ENDPOINT],
    [world.request('ipv6', UDP, 7777), R.REASON_NO_SUCH_PORT],
    [world.request('ipv6', TCP, 81).ttl(1), R.REASON_TTL_EXCEEDED],
  ] as const) {
    // A tick may end between filling its budget and trying it.
    const verdicts = Array.from({ length: 3 }, () => {
      run(sent.bytes())
      spend()
      const before = world.metrics()
      const { returnValue } = run(sent.bytes())
      const more = (of: number) => (world.metrics().get(of) ?? 0) - (before.get(of) ?? 0)
      return [returnValue, more(reason), more(R.REASON_ANSWER_LIMITED)].join()
    })
    t.ok(verdicts.includes([XDP.DROP, 1, 1].join()), `${reason}: ${verdicts}`)
  }
  for (const { key, value } of world.map('answers').entries())
    world.map('answers').update(key, Buffer.alloc(value.length))
})

t.test('other protocols', async (t) => {
  const sent = world.request('ipv4', TCP, 80).body(47, Buffer.alloc(16))
  const out = sent.icmpError(3, 3, 0)
  check(t, { name: 'GRE to a VIP', sent, verdict: XDP.TX, out, reason: R.REASON_NO_SUCH_PORT })
  const arp = Buffer.concat([Buffer.from('ffffffffffff0200000000fe0806', 'hex'), Buffer.alloc(46)])
  t.equal(run(arp).returnValue, XDP.PASS)
})
