// Backends on other nodes without a tunnel: masqueraded on the way there, turned back on the way here, and whose port is whose.

import t from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import type { Family } from '../../src/model/address.ts'
import { type Case, checkCase, runUplink } from './check.ts'
import { type Frame, frame, icmpOf, TCP, UDP } from './packet.ts'
import { readFrame } from './read-frame.ts'
import { ARRIVING, BACKEND, flowState, TARGET_PORT, UPLINK, World, XDP } from './world.ts'

const R = abi.VerdictReason
const EXTERNAL = abi.FrontendFlags.FRONTEND_EXTERNAL | abi.FrontendFlags.FRONTEND_ANY_ENDPOINT
const { FLOW_TO_REMOTE_SNAT, FLOW_SNAT_REPLY } = abi.FlowKind
const { FLOW_HALF_OPEN, FLOW_ESTABLISHED, FLOW_CLOSING } = abi.FlowState

/** Three ports, so that they run out. */
const PORTS = { first: 62_001, last: 62_003 }
const PORT_COUNT = 3

const wide = new World('snat-wide')
const narrow = new World('snat-narrow', false, { snatPorts: PORTS })
const off = new World('snat-off', false, { snatPorts: undefined })
t.teardown(() => {
  for (const world of [wide, narrow, off]) world.close()
})

/** A world whose port 80 is not forwarded for a direct answer. */
function scene(world: World, family: Family, protocol: number) {
  const { client, vip, node, remotePod } = world.cast(family)
  world.forgetFlows()
  world.pointPort(family, protocol, 80, BACKEND.remote)
  world.changeFrontend(family, protocol, 80, { flags: EXTERNAL })
  const to = (port = 40_000) => world.request(family, protocol, 80).from(client, port)
  const further = (port = 40_000) => (protocol === TCP ? to(port).tcp('ack') : to(port))
  const backwards = (snatPort: number, targetPort = TARGET_PORT) => {
    const blank = frame(ARRIVING).from(remotePod, targetPort).to(node, snatPort).payload(41)
    return protocol === TCP ? blank.tcp('ack') : blank.udp()
  }
  /** The port that this packet leaves from, 0 when it is dropped. */
  const portOf = (sent: Frame) => {
    const { returnValue, dataOut } = runUplink(world, sent.bytes())
    return returnValue === XDP.TX ? readFrame(dataOut).sourcePort : 0
  }
  return {
    to,
    further,
    backwards,
    portOf,
    masqueraded: (sent: Frame, port: number) =>
      sent.from(node, port).to(remotePod, TARGET_PORT).ttl(63).link(UPLINK).tagged(),
    answered: (sent: Frame, port = 40_000) => sent.from(vip, 80).to(client, port).ttl(63).link(UPLINK),
    kinds: () =>
      world
        .flows()
        .map(({ kind, snatPort }) => [kind, snatPort])
        .sort(),
    states: () => world.flows().map(flowState),
  }
}

for (const family of ['ipv4', 'ipv6'] as const)
  for (const protocol of [TCP, UDP]) {
    const name = `${family} ${protocol === TCP ? 'TCP' : 'UDP'}`

    t.test(`${name}: there and back`, async (t) => {
      const { to, further, backwards, portOf, masqueraded, answered, kinds, states } = scene(
        wide,
        family,
        protocol,
      )
      const check = (one: Case) => checkCase(wide, t, one)
      const port = portOf(to())
      t.ok(port >= 61_000 && port <= 65_535, `port ${port}`)
      t.same(kinds(), [
        [FLOW_TO_REMOTE_SNAT, port],
        [FLOW_SNAT_REPLY, port],
      ])
      const out = { verdict: XDP.TX, reason: R.REASON_TO_REMOTE_SNAT }
      check({ ...out, name: 'again', sent: to(), out: masqueraded(to(), port) })
      check({ ...out, name: 'further', sent: further(), out: masqueraded(further(), port) })
      check({ ...out, name: 'tagged', sent: further().tagged(7), out: masqueraded(further(), port) })
      if (family === 'ipv4' && protocol === UDP) {
        const unchecked = further().withoutChecksum()
        check({ ...out, name: 'no checksum', sent: unchecked, out: masqueraded(unchecked, port) })
      }
      t.same(states(), [FLOW_HALF_OPEN, FLOW_HALF_OPEN])
      const back = { verdict: XDP.TX, reason: R.REASON_SNAT_REPLY }
      const sent = backwards(port)
      if (protocol === TCP) {
        const first = sent.tcp('syn', 'ack')
        check({ ...back, name: 'SYN-ACK', sent: first, out: answered(first) })
        t.same(states(), [FLOW_HALF_OPEN, FLOW_HALF_OPEN])
      }
      check({ ...back, name: 'answer', sent, out: answered(sent) })
      t.same(states(), [FLOW_ESTABLISHED, FLOW_ESTABLISHED])
      if (protocol === UDP) return
      portOf(further().tcp('fin', 'ack'))
      t.same(states(), [abi.FlowState.FLOW_CLIENT_CLOSED, abi.FlowState.FLOW_CLIENT_CLOSED])
      const end = sent.tcp('fin', 'ack')
      check({ ...back, name: 'end', sent: end, out: answered(end) })
      t.same(states(), [FLOW_CLOSING, FLOW_CLOSING])
    })

    t.test(`${name}: what comes to the ports without a flow is the stack's`, async (t) => {
      const { backwards } = scene(wide, family, protocol)
      const sent = backwards(61_234)
      checkCase(wide, t, { name: 'pass', sent, verdict: XDP.PASS, reason: R.REASON_NOT_OURS })
    })

    t.test(`${name}: hops, sizes, ways`, async (t) => {
      const { to, further, backwards, portOf } = scene(wide, family, protocol)
      const icmp = icmpOf(family)
      const port = portOf(to())
      for (const sent of [further().ttl(1), backwards(port).ttl(1)]) {
        const out = icmp(sent, [11, 0], [3, 0], 0)
        checkCase(wide, t, { name: 'last hop', sent, verdict: XDP.TX, out, reason: R.REASON_TTL_EXCEEDED })
      }
      wide.setUplinkMembers(1, 1500)
      for (const blank of [further(), backwards(port)]) {
        const sent = blank.payload(1500)
        const out = icmp(sent, [3, 4], [2, 0], 1500)
        checkCase(wide, t, { name: 'too big', sent, verdict: XDP.TX, out, reason: R.REASON_TOO_BIG })
      }
      wide.setUplinkMembers(0)
      checkCase(wide, t, { name: 'no way', sent: further(), verdict: XDP.DROP, reason: R.REASON_NO_NEXTHOP })
      wide.setUplinkMembers(1)
    })

    t.test(`${name}: ports run out for new flows alone, and each flow has its own`, async (t) => {
      const { to, further, backwards, portOf, answered } = scene(narrow, family, protocol)
      const clients = [40_000, 40_001, 40_002]
      const ports = clients.map((client) => portOf(to(client)))
      t.same([...ports].sort(), [62_001, 62_002, 62_003])
      const refused = {
        name: 'a fourth',
        sent: to(40_003),
        verdict: XDP.DROP,
        reason: R.REASON_SNAT_EXHAUSTED,
      }
      checkCase(narrow, t, refused)
      t.equal(narrow.flows().length, 2 * PORT_COUNT)
      for (const [index, client] of clients.entries()) {
        t.equal(portOf(further(client)), ports[index], 'still there')
        const sent = backwards(ports[index] ?? 0)
        const out = answered(sent, client)
        checkCase(narrow, t, { name: 'back', sent, verdict: XDP.TX, reason: R.REASON_SNAT_REPLY, out })
      }
      narrow.pointPort(family, protocol, 80, BACKEND.second)
      t.ok(portOf(to(40_003)), 'another backend has ports of its own')
    })

    t.test(`${name}: the same ports again`, async (t) => {
      const { to, portOf, kinds } = scene(narrow, family, protocol)
      const port = portOf(to())
      for (let round = 0; round < 5; round++) t.equal(portOf(to()), port, 'go on')
      narrow.pointPort(family, protocol, 80, BACKEND.second)
      narrow.setBackendState(family, protocol, BACKEND.remote, abi.BackendState.BACKEND_GONE)
      for (let round = 0; round < 5; round++) t.ok(portOf(to()))
      t.equal(kinds().length, 2, 'with another backend, the earlier port was given back')
      narrow.setBackendState(family, protocol, BACKEND.remote, abi.BackendState.BACKEND_ACTIVE)
    })

    t.test(`${name}: a port goes to another when its flow's time is over`, async (t) => {
      const { to, further, portOf, backwards } = scene(narrow, family, protocol)
      const port = portOf(to())
      for (const client of [40_001, 40_002]) portOf(to(client))
      narrow.age(abi.AbiConstant.FLOW_IDLE_HALF_OPEN + 1, ({ snatPort }) => snatPort === port)
      t.equal(portOf(to(40_003)), port)
      t.equal(portOf(backwards(port)), 80)
      t.equal(portOf(further()), 0, 'the earlier flow is judged anew, and none is left')
      t.equal(portOf(further(40_003)), port, 'the new one is untouched')
    })

    if (protocol === TCP)
      t.test(
        `${name}: a port is kept while nothing follows the handshake, unless others run out`,
        async (t) => {
          const { to, further, portOf, backwards } = scene(narrow, family, protocol)
          const port = portOf(to())
          runUplink(narrow, backwards(port).tcp('syn', 'ack').bytes())
          t.equal(portOf(further()), port)
          narrow.age(3600)
          t.not(portOf(to(40_001)), port)
          t.not(portOf(to(40_002)), port)
          t.equal(portOf(further()), port, 'an hour later')
          t.equal(portOf(to(40_003)), 0, 'and in use again')
          narrow.age(abi.AbiConstant.FLOW_SNAT_REUSE)
          t.ok(portOf(to(40_003)), 'a flood of first packets uses ports up for seconds')
        },
      )

    t.test(`${name}: an entry without its port is void`, async (t) => {
      const { to, further, portOf } = scene(wide, family, protocol)
      portOf(to())
      wide.free(({ kind }) => kind === FLOW_SNAT_REPLY)
      wide.age(1)
      const again = portOf(further())
      t.ok(again)
      t.same(
        wide.flows().map(({ snatPort }) => snatPort),
        [again, again],
      )
    })

    if (protocol === TCP)
      t.test(`${name}: the port of a closed connection is the last resort`, async (t) => {
        const { to, portOf, further, backwards } = scene(narrow, family, protocol)
        const port = portOf(to())
        portOf(further().tcp('rst'))
        t.not(portOf(to(40_001)), port)
        t.not(portOf(to(40_002)), port)
        t.equal(portOf(to(40_003)), 0, 'not at once')
        narrow.age(abi.AbiConstant.FLOW_SNAT_REUSE, ({ snatPort }) => snatPort === port)
        t.equal(portOf(to(40_003)), port)
        t.equal(portOf(further()), 0, 'a late packet of the closed one does not use it')
        const { returnValue, dataOut } = runUplink(narrow, backwards(port).bytes())
        t.equal(returnValue, XDP.TX)
        t.equal(readFrame(dataOut).destinationPort, 40_003)
      })

    t.test(`${name}: without ports there is no masquerading`, async (t) => {
      const { to } = scene(off, family, protocol)
      const sent = to()
      checkCase(off, t, { name: 'refused', sent, verdict: XDP.DROP, reason: R.REASON_SNAT_EXHAUSTED })
      t.equal(off.flows().length, 0)
    })
  }
