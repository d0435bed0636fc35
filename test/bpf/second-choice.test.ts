// Connections that routers move to another node while the set of backends changes: the second choice, given along and passed on once.

import t from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import { addressToBytes, type Family } from '../../src/model/address.ts'
import { type Case, checkCase, runUplink } from './check.ts'
import { type Frame, SCTP, TCP, TRANSPORT_NAMES, UDP } from './packet.ts'
import { readFrame } from './read-frame.ts'
import { arriving, dsrOption, outer } from './tunnel.ts'
import { BACKEND, TARGET_PORT, TO_POD, UPLINK, World, XDP } from './world.ts'

const world = new World('second-choice')
t.teardown(() => world.close())
const R = abi.VerdictReason
const SECOND_PORT = TARGET_PORT + 1

const check = (test: Parameters<typeof checkCase>[1], one: Case) => checkCase(world, test, one)

/** A frontend's set now and before, one backend each. */
function change(family: Family, protocol: number, port: number, now: number, before: number): void {
  world.changeFrontend(family, protocol, port, {
    cluster: world.writeTable(family, protocol, 1000, [now]),
    clusterBefore: world.writeTable(family, protocol, 1002, [before]),
  })
}

for (const family of ['ipv4', 'ipv6'] as const)
  for (const protocol of [TCP, UDP, SCTP]) {
    const name = `${family} ${TRANSPORT_NAMES[protocol]}`
    const { pod, remotePod, node, otherNode } = world.cast(family)
    const first = (port: number) => world.request(family, protocol, port)
    const further = (port: number) => {
      if (protocol === SCTP) return first(port).sctp(0)
      return protocol === TCP ? first(port).tcp('ack') : first(port)
    }
    const remote = addressToBytes(remotePod)
    const second = { second: remote, secondPort: SECOND_PORT }
    /** What goes to the other node's backend of this port. */
    const tunnelled = (sent: Frame, backendPort: number, along: Partial<abi.DsrOption> = {}) => {
      const { sourcePort } = readFrame(runUplink(world, sent.bytes()).dataOut)
      const option = dsrOption(remote, { backendPort, ...along })
      const inner = sent.link(UPLINK)
      return outer(inner, family, option).from(node, sourcePort).to(otherNode, 6081).link(UPLINK)
    }
    /** The same, of what came out of a tunnel itself. */
    const passedOn = (inner: Frame, sent: Frame) => {
      const { sourcePort } = readFrame(runUplink(world, sent.bytes()).dataOut)
      const marked = dsrOption(remote, { backendPort: SECOND_PORT, ...second })
      return outer(inner, family, marked).from(node, sourcePort).to(otherNode, 6081).link(UPLINK)
    }
    const hasSecond = protocol !== UDP

    t.test(
      `${name}: CT-004 the entry node names the backend of before, in the middle of a connection`,
      async (t) => {
        world.forgetFlows()
        change(family, protocol, 80, BACKEND.remote, BACKEND.second)
        const common = { verdict: XDP.TX, reason: R.REASON_TO_REMOTE }
        const begun = tunnelled(first(80), TARGET_PORT)
        check(t, { ...common, name: 'the first packet has one choice', sent: first(80), out: begun })
        const known = tunnelled(further(80), TARGET_PORT)
        check(t, { ...common, name: 'a known flow follows it', sent: further(80), out: known })
        const out = () => {
          const wrapped = tunnelled(further(80), TARGET_PORT, hasSecond ? second : {})
          world.forgetFlows()
          return wrapped
        }
        world.forgetFlows()
        check(t, { ...common, name: 'unknown here', sent: further(80), out: out() })
        world.forgetFlows()
        change(family, protocol, 80, BACKEND.remote, BACKEND.remote)
        check(t, {
          ...common,
          name: 'the same before',
          sent: further(80),
          out: tunnelled(further(80), TARGET_PORT),
        })
      },
    )

    t.test(`${name}: CT-004 a node without state passes it on, once`, async (t) => {
      world.forgetFlows()
      const inner = further(80)
      const sent = arriving(world, inner, family, second)
      const local = {
        verdict: XDP.REDIRECT,
        reason: R.REASON_FROM_TUNNEL,
        out: inner.to(pod, TARGET_PORT).ttl(63).link(TO_POD),
      }
      if (!hasSecond) {
        check(t, { ...local, name: 'a datagram stays', sent })
        return
      }
      const out = passedOn(inner, sent)
      world.forgetFlows()
      const on = { verdict: XDP.TX, reason: R.REASON_SECOND_CHOICE, out }
      check(t, { ...on, name: 'passed on', sent })
      check(t, { ...on, name: 'and the next, without a second choice', sent: arriving(world, inner, family) })
      const marked = { second: addressToBytes(pod), secondPort: TARGET_PORT }
      check(t, { ...local, name: 'what was passed on stays', sent: arriving(world, inner, family, marked) })
      world.forgetFlows()
      check(t, {
        ...local,
        name: 'no further, without state either',
        sent: arriving(world, inner, family, marked),
      })
      world.forgetFlows()
      const begin = arriving(world, first(80), family, second)
      check(t, {
        ...local,
        name: 'a new connection',
        sent: begin,
        out: first(80).to(pod, TARGET_PORT).ttl(63).link(TO_POD),
      })
      check(t, { ...local, name: 'whose state is here', sent })
      const unknown = { second: addressToBytes(node), secondPort: 9 }
      world.forgetFlows()
      check(t, { ...local, name: 'an unknown second', sent: arriving(world, inner, family, unknown) })
      world.forgetFlows()
      const gone = arriving(world, inner, family, { ...second, backendPort: 9 })
      check(t, { ...on, name: 'the first choice is gone', sent: gone })
    })

    t.test(`${name}: CT-004 the entry node is the first choice itself`, async (t) => {
      world.forgetFlows()
      change(family, protocol, 81, BACKEND.local, BACKEND.second)
      const here = { verdict: XDP.REDIRECT, reason: R.REASON_TO_LOCAL }
      const delivered = (sent: Frame) => sent.to(pod, TARGET_PORT).ttl(63).link(TO_POD)
      if (hasSecond) {
        const option = { backendPort: SECOND_PORT, ...second }
        const out = tunnelled(further(81), SECOND_PORT, option)
        world.forgetFlows()
        check(t, {
          name: 'no state here',
          sent: further(81),
          verdict: XDP.TX,
          out,
          reason: R.REASON_SECOND_CHOICE,
        })
        world.forgetFlows()
      }
      check(t, { ...here, name: 'a new connection', sent: first(81), out: delivered(first(81)) })
      check(t, { ...here, name: 'goes on', sent: further(81), out: delivered(further(81)) })
      world.forgetFlows()
      change(family, protocol, 81, BACKEND.local, BACKEND.byStack)
      check(t, { ...here, name: 'both are here', sent: further(81), out: delivered(further(81)) })
    })
  }
