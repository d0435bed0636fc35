// What routers lead to announced addresses is counted apart from what comes to the node's own address: a drain moves the one and waits
// for nobody of the other. And a backend that the host's routing finds is a client's destination like any other.

import t from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import { countedSince, runUplink } from './check.ts'
import { type Frame, TCP, UDP } from './packet.ts'
import { arriving } from './tunnel.ts'
import { World } from './world.ts'

const world = new World('node-ports')
t.teardown(() => world.close())
const R = abi.VerdictReason
const F = abi.FrontendFlags
const EXTERNAL = F.FRONTEND_EXTERNAL | F.FRONTEND_ANY_ENDPOINT

/** The one reason that a packet is counted under. */
function reasonOf(sent: Frame): string | undefined {
  const before = world.metrics()
  runUplink(world, sent.bytes())
  return Object.keys(countedSince(world, before))
    .map((reason) => abi.VERDICT_REASON_NAMES.get(Number(reason)) ?? '')
    .join()
}

/** To a pod of this node, to one on another by way of this node's address, and to what the host's routing finds. */
const PORTS = [
  [81, R.REASON_TO_LOCAL],
  [84, R.REASON_TO_REMOTE_SNAT],
  [82, R.REASON_TO_HOST],
] as const
const nameOf = (reason: number) => abi.VERDICT_REASON_NAMES.get(reason)

for (const family of ['ipv4', 'ipv6'] as const)
  for (const protocol of [TCP, UDP])
    t.test(`${family} ${protocol === TCP ? 'TCP' : 'UDP'}`, async (t) => {
      const to = (port: number) => world.request(family, protocol, port)
      const further = (port: number) => (protocol === TCP ? to(port).tcp('ack') : to(port))
      for (const [port, announced] of PORTS)
        for (const [flags, expected] of [
          [EXTERNAL, nameOf(announced)],
          [EXTERNAL | F.FRONTEND_OF_NODE, 'REASON_OF_NODE'],
        ] as const) {
          world.forgetFlows()
          world.changeFrontend(family, protocol, port, { flags })
          // The third datagram is foreseen.
          for (const [index, sent] of [
            to(port),
            further(port),
            to(port).from(world.cast(family).client, 40_001),
          ].entries())
            t.equal(reasonOf(sent), expected, `port ${port}, packet ${index}`)
          const kept = world.flows().filter(({ flags: of }) => of & abi.FlowFlags.FLOW_OF_NODE)
          t.equal(kept.length > 0, expected === 'REASON_OF_NODE', 'the flow remembers')
          t.equal(reasonOf(further(port)), expected, 'and goes on so')
        }
    })

for (const family of ['ipv4', 'ipv6'] as const)
  t.test(`${family}: what another node sends here comes not by what is announced here`, async (t) => {
    world.forgetFlows()
    t.equal(reasonOf(arriving(world, world.request(family, TCP, 81), family)), 'REASON_FROM_TUNNEL')
  })
