// Tunnels without an option: an outer header and nothing else, in all four pairs of families.

import t from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import { type Case, checkCase } from './check.ts'
import { type Frame, frame, TCP, TRANSPORT_NAMES, UDP } from './packet.ts'
import { ARRIVING, BACKEND, TARGET_PORT, TO_POD, TUNNEL_MTU, UPLINK, World, XDP } from './world.ts'

const world = new World('ipip', false, { tunnel: 'ipip' })
t.teardown(() => world.close())
const R = abi.VerdictReason
const check = (test: Parameters<typeof checkCase>[1], one: Case) => checkCase(world, test, one)
const PROTOCOL = { ipv4: 4, ipv6: 41 } as const

for (const family of ['ipv4', 'ipv6'] as const)
  for (const protocol of [TCP, UDP]) {
    const name = `${family} ${TRANSPORT_NAMES[protocol]}`
    const { pod, node, otherNode, stranger, vip } = world.cast(family)
    const to = (port: number) => world.request(family, protocol, port)
    const wrapped = (inner: Frame) =>
      frame(ARRIVING)
        .from(node)
        .to(otherNode)
        .id(0)
        .trafficClass(inner.fields.trafficClass & 0xfc)
        .body(PROTOCOL[family], inner.packet())
    const arriving = (inner: Frame) => wrapped(inner).from(otherNode).to(node)

    t.test(`${name}: to a backend on another node`, async (t) => {
      world.forgetFlows()
      const sent = to(80).trafficClass(0xba)
      const out = wrapped(sent).link(UPLINK)
      check(t, { name: 'sent', sent, verdict: XDP.TX, out, reason: R.REASON_TO_REMOTE })
      check(t, { name: 'tagged', sent: sent.tagged(7), verdict: XDP.TX, out, reason: R.REASON_TO_REMOTE })
      const [type, code] = family === 'ipv4' ? [3, 4] : [2, 0]
      const big = to(80).payload(TUNNEL_MTU)
      const answer = big.icmpError(type ?? 0, code ?? 0, TUNNEL_MTU)
      check(t, { name: 'too big', sent: big, verdict: XDP.TX, out: answer, reason: R.REASON_TOO_BIG })
    })

    t.test(`${name}: out of the tunnel the same table chooses`, async (t) => {
      world.forgetFlows()
      const out = to(81).to(pod, TARGET_PORT).ttl(63).link(TO_POD)
      const common = { verdict: XDP.REDIRECT, reason: R.REASON_FROM_TUNNEL }
      check(t, { ...common, name: 'to a pod', sent: arriving(to(81)), out })
      const elsewhere = arriving(to(80))
      check(t, { name: 'nothing here', sent: elsewhere, verdict: XDP.DROP, reason: R.REASON_UNKNOWN_BACKEND })
      world.changeFrontend(family, protocol, 80, {
        local: world.writeTable(family, protocol, 900, [BACKEND.local]),
      })
      const any = to(80).to(pod, TARGET_PORT).ttl(63).link(TO_POD)
      check(t, { ...common, name: 'else what is here', sent: elsewhere, out: any })
    })

    t.test(`${name}: from whom, and whose`, async (t) => {
      const dropped = (title: string, sent: Frame, reason: number) =>
        check(t, { name: title, sent, verdict: XDP.DROP, reason })
      dropped('an unknown source', arriving(to(81)).from(stranger), R.REASON_UNKNOWN_TUNNEL_SOURCE)
      dropped('no such port', arriving(to(81).to(vip, 7777)), R.REASON_UNKNOWN_FRONTEND)
      const passed = (title: string, sent: Frame) =>
        check(t, { name: title, sent, verdict: XDP.PASS, reason: R.REASON_NOT_OURS })
      passed('another tunnel of this kind', arriving(to(81).to(stranger)))
      passed('not to this end', arriving(to(81)).to(stranger))
      passed('cut short', arriving(to(81)).body(PROTOCOL[family], Buffer.alloc(12)))
    })
  }
