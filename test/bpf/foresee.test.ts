// Datagrams to a destination whose last ones were all first ones of their flows, so that the programs choose a backend before they
// look for the flow (bpf/lib/foresee.h): nothing comes out otherwise than it would.

import t from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import { checkCase, runUplink } from './check.ts'
import { type Frame, UDP } from './packet.ts'
import { BACKEND, TARGET_PORT, TO_POD, World, XDP } from './world.ts'

const world = new World('foresee', false, { capacities: { flows: 4096 } })
t.teardown(() => world.close())
const R = abi.VerdictReason
const F = abi.FrontendFlags
const K = abi.FlowKind
const EXTERNAL = F.FRONTEND_EXTERNAL | F.FRONTEND_DSR | F.FRONTEND_ANY_ENDPOINT
/** Enough for the guesses of every processor that this test may run on. */
const FIRST_ONES = 64

for (const family of ['ipv4', 'ipv6'] as const) {
  const { client, pod, vip } = world.cast(family)
  const to = (port: number, clientPort = 40_000) => world.request(family, UDP, port).from(client, clientPort)
  const id = (backend: number) => world.backendId(family, UDP, backend)
  const change = (port: number, row: Partial<abi.Frontend>) => world.changeFrontend(family, UDP, port, row)
  const delivered = (sent: Frame) => sent.to(pod, TARGET_PORT).ttl(63).link(TO_POD)
  const toPod = { verdict: XDP.REDIRECT, reason: R.REASON_TO_LOCAL }
  const run = (sent: Frame) => runUplink(world, sent.bytes()).returnValue
  /** Each of another client's port, none twice. */
  const ask = (port: number) => {
    for (let other = 1; other <= FIRST_ONES; other += 1) run(to(port, 50_000 + other))
  }
  const entries = () =>
    world
      .flows()
      .map(({ kind, index }) => [kind, index])
      .sort()

  t.test(`${family}: first datagrams begin what they would`, async (t) => {
    ask(81)
    ask(80)
    ask(84)
    world.forgetFlows()
    checkCase(world, t, { ...toPod, name: 'to a pod', sent: to(81), out: delivered(to(81)) })
    t.same(entries(), [
      [K.FLOW_TO_LOCAL, id(BACKEND.local)],
      [K.FLOW_REPLY, world.frontendId(family, UDP, 81)],
    ])
    world.forgetFlows()
    t.equal(run(to(80)), XDP.TX)
    t.same(entries(), [[K.FLOW_TO_REMOTE, id(BACKEND.remote)]])
    world.forgetFlows()
    t.equal(run(to(84)), XDP.TX)
    t.same(
      entries().map(([kind]) => kind),
      [K.FLOW_TO_REMOTE_SNAT, K.FLOW_SNAT_REPLY],
    )
    const forged = { sent: to(81).from(vip, 81), verdict: XDP.DROP, reason: R.REASON_FORGED_SOURCE }
    checkCase(world, t, { name: 'a Service asks nobody', ...forged })
  })

  t.test(`${family}: a flow that is known stays where it is`, async (t) => {
    world.forgetFlows()
    run(to(81))
    ask(81)
    world.pointPort(family, UDP, 81, BACKEND.byStack)
    checkCase(world, t, { ...toPod, name: 'further', sent: to(81), out: delivered(to(81)) })
    t.equal(run(to(81, 40_001)), XDP.PASS, 'new ones go to the new backend')
    ask(81)
    world.setBackendState(family, UDP, BACKEND.local, abi.BackendState.BACKEND_GONE)
    t.equal(run(to(81)), XDP.PASS, 'with the backend gone it goes to the new one too')
    world.setBackendState(family, UDP, BACKEND.local, abi.BackendState.BACKEND_ACTIVE)
    t.equal(run(to(81)), XDP.PASS, 'and stays there')
    world.pointPort(family, UDP, 81, BACKEND.local)
    t.equal(run(to(81)), XDP.PASS)
  })

  t.test(`${family}: source ranges are for new flows`, async (t) => {
    world.forgetFlows()
    run(to(81))
    ask(81)
    change(81, { flags: EXTERNAL | F.FRONTEND_SOURCE_RANGES })
    checkCase(world, t, { ...toPod, name: 'known', sent: to(81), out: delivered(to(81)) })
    const refused = { sent: to(81, 40_001), verdict: XDP.DROP, reason: R.REASON_SOURCE_RANGE }
    checkCase(world, t, { name: 'new', ...refused })
    change(81, { flags: EXTERNAL })
  })

  t.test(`${family}: affinity and lots are kept`, async (t) => {
    const table = world.writeTable(family, UDP, 20_000, [BACKEND.remote, BACKEND.second])
    const backends = () =>
      new Set(
        Array.from({ length: 32 }, (_, index) => {
          world.forgetFlows()
          run(to(81, 41_000 + index))
          return world.flows()[0]?.index
        }),
      )
    ask(81)
    change(81, { flags: EXTERNAL, cluster: table })
    t.equal(backends().size, 2, 'by its hash')
    change(81, { affinityTicks: 100, portId: 4711 })
    t.equal(backends().size, 1, 'one client, one backend')
    change(81, { affinityTicks: 0, flags: EXTERNAL | F.FRONTEND_RANDOM })
    t.equal(backends().size, 2, 'by lot')
  })
}
