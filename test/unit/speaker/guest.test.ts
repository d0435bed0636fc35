// A guest in kube-router's GoBGP. No kube-router runs here; a real gobgpd is set up as kube-router sets its own up (names of sets and
// policies, default export REJECT, an internal mesh and external peers), with BIRD and FRR as the external ones. Whatever the guest
// does, everything of the host's must read the same before, meanwhile and after.

import { execFileSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { PeerExport } from '../../../src/model/routing.ts'
import { exportsOf } from '../../../src/routing/exports.ts'
import { withdrawPaths } from '../../../src/speaker/withdraw.ts'
import { peer as clientPeer, link, oneSession, routerAsn, until, untilEstablished } from '../bgp/bed.ts'
import { announcement, attributes, exported, routingOf } from './bed.ts'
import { becomeKubeRouter, type KubeRouter, kubeRouterState } from './kube-router.ts'
import { allowed, BIRD, FRR, peer, TwoRouters } from './two-routers.ts'

const VIP = '203.0.113.7/32'
const HOST_VIP = '203.0.113.9/32'
const POD_CIDR = '10.244.1.0/24'
const ASN = 65101
/** A speaker that finds nobody tries again within two seconds. */
const LOOKED_MS = 3_000
/** Another node, a BIRD with our ASN. */
const MESH = 3

const kubeRouter: KubeRouter = {
  asn: ASN,
  routerId: '10.255.0.1',
  podCidr: POD_CIDR,
  vip: HOST_VIP,
  external: [BIRD, FRR].map((index) => clientPeer(index, 'ipv4')),
  internal: [{ ...clientPeer(MESH, 'ipv4'), asn: ASN }],
  // On a busy node we have looked by then, and found no peers.
  beforePeers: () => sleep(LOOKED_MS),
}
const hostState = (target: string) => kubeRouterState(target, kubeRouter)

t.test('as a guest of kube-router', async (t) => {
  const bed = new TwoRouters(t)
  await bed.addRouter(BIRD, oneSession(BIRD))
  await bed.addFrr()
  const internal = `protocol bgp node4 from node { local as ${ASN}; neighbor ${link(MESH).node4} as ${ASN};
    ipv4 { import all; export none; }; }`
  await bed.addRouter(MESH, internal)
  const client = bed.openClient(t)
  await bed.startGobgpd(client)
  const speaker = bed.speak({ host: 'kube-router' })
  const told = () => speaker.status()
  const routing = routingOf([peer(BIRD)], { asn: 65999 })
  speaker.setRouting(routing, allowed)
  const own = [announcement('10.255.0.1/32'), announcement(VIP)].map((row, index) =>
    index === 0 ? { ...row, source: 'loopback' as const } : row,
  )
  speaker.setDesired(own)

  await t.test('before kube-router has started BGP nothing is done', async (t) => {
    await until('waiting', async () => /kube-router has not started it/.test((await told()).error ?? ''))
    t.equal((await client.probe()).asn, 0)
  })

  await becomeKubeRouter(client, kubeRouter)
  const before = hostState(bed.target)
  const assignment = () => client.getAssignment('export')
  const atBoth = (prefix: string) => bed.birdRoute(BIRD, prefix) !== '' && bed.frrPath(prefix) !== undefined

  await t.test(
    'a Service reaches the external routers, without marker; all else is left as it is',
    async (t) => {
      await until('the VIP', () => atBoth(VIP))
      await until('the host VIP', () => atBoth(HOST_VIP))
      await untilEstablished(client, 3)
      t.notMatch(bed.birdRoute(BIRD, VIP), 'large_community')
      t.equal(bed.birdRoute(BIRD, '10.255.0.1/32'), '', 'node addresses are the host’s to announce')
      t.equal(hostState(bed.target), before)
      t.match(await assignment(), { policies: ['kube_router_export1', /^weir-/], defaultAction: 'reject' })
      t.same((await client.getAssignment('import')).policies, ['kube_router_import1'])
      t.match((await told()).sessions.map(({ name }) => name).sort(), [
        '10.254.2.0',
        link(MESH).router4,
        'tor1',
      ])
      await until('the mesh', () => bed.birdRoute(MESH, POD_CIDR) !== '')
      t.equal(bed.birdRoute(MESH, VIP), '', 'never to the mesh')
    },
  )

  await t.test('classes, drain and withdrawal work by our own policy alone', async (t) => {
    const onlyBird: PeerExport = { peers: ['tor1'], attributes: attributes({ communities: ['65101:5'] }) }
    speaker.setDesired([exported(VIP, [onlyBird])])
    await until('at BIRD alone', () => /\(65101,5\)/.test(bed.birdRoute(BIRD, VIP)) && !bed.frrPath(VIP))
    speaker.setDesired(own)
    await until('both again', () => atBoth(VIP))
    speaker.setDrain({ communities: ['65535:0'], prepend: 1 })
    await until('marked', () => /\(65535,0\)/.test(bed.birdRoute(BIRD, VIP)))
    t.notMatch(bed.birdRoute(BIRD, HOST_VIP), '65535', 'the host’s own is not ours to mark')
    t.equal(hostState(bed.target), before)
    speaker.setDrain(undefined)
    await until('unmarked', () => !/65535/.test(bed.birdRoute(BIRD, VIP)))
    t.match((await assignment()).policies, ['kube_router_export1', /^weir-/])
    t.equal((await assignment()).policies.length, 2)
  })

  await t.test(
    'without peers in the configuration, what the planner gives goes to all external ones',
    async (t) => {
      const rules = { ...routing, peers: [] }
      const subject = {
        kinds: ['load-balancer-ip' as const],
        family: 'ipv4' as const,
        pool: 'default',
        service: undefined,
      }
      speaker.setRouting(rules, allowed)
      speaker.setDesired([exported('203.0.113.11/32', exportsOf(rules, [subject]))])
      await until('at both', () => atBoth('203.0.113.11/32'))
      t.equal(bed.birdRoute(MESH, '203.0.113.11/32'), '', 'never to the mesh')
      speaker.setRouting(routing, allowed)
      speaker.setDesired(own)
      await until('as before', () => atBoth(VIP) && !atBoth('203.0.113.11/32'))
      t.equal(hostState(bed.target), before)
    },
  )

  await t.test('what the host announces itself is its own', async (t) => {
    speaker.setDesired([...own, announcement(HOST_VIP)])
    await until('said', async () => (await told()).problems.some(({ code }) => code === 'owned-by-host'))
    speaker.setDesired(own)
    await sleep(200)
    t.ok(atBoth(HOST_VIP))
    t.equal(hostState(bed.target), before)
  })

  await t.test('kube-router restarts: ours comes again, after its own', async (t) => {
    await bed.startGobgpd(client)
    await until('noticed', async () => (await told()).announcements[0]?.status.kind !== 'announced')
    await becomeKubeRouter(client, kubeRouter)
    await until('the VIP again', () => atBoth(VIP), 25_000)
    t.equal(hostState(bed.target), before)
    t.match((await assignment()).policies, ['kube_router_export1', /^weir-/])
  })

  await t.test('a policy that kube-router replaces by a newer one leaves ours in force', async (t) => {
    const statement = {
      name: 'kube_router_export2_stmt0',
      conditions: { prefixSet: 'podcidrdefinedset', neighborSet: 'iBGPpeerset' },
      action: 'accept' as const,
    }
    await client.addPolicy({ name: 'kube_router_export2', statements: [statement] })
    await client.appendAssignment('export', ['kube_router_export2'])
    await client.removeAssignment('export', ['kube_router_export1'])
    speaker.setDesired([...own, announcement('203.0.113.12/32')])
    await until('a new VIP', () => atBoth('203.0.113.12/32'))
    t.match((await assignment()).policies, [/^weir-/, 'kube_router_export2'])
  })

  await t.test('imports and unknown peers are refused, and said', async (t) => {
    const rules = { prefixes: [], maxPrefixes: 1 }
    speaker.setRouting({ ...routing, peers: [peer(BIRD, { imports: rules }), peer(5)] }, allowed)
    await until('said', async () => (await told()).problems.length === 2)
    t.ok((await told()).problems.every(({ code }) => code === 'not-for-guests'))
  })

  await t.test('leaving takes away all that is ours, and nothing else', async (t) => {
    await speaker.close()
    const options = { target: bed.target, host: 'kube-router' as const, chosen: () => true }
    t.same((await withdrawPaths({ ...options, isDryRun: true }))?.toSorted(), ['203.0.113.12/32', VIP])
    t.ok(atBoth(VIP))
    t.equal((await withdrawPaths({ ...options, isDryRun: false }))?.length, 2)
    await until('gone', () => bed.birdRoute(BIRD, VIP) === '' && !bed.frrPath(VIP))
    t.ok(atBoth(HOST_VIP))
    t.same((await assignment()).policies, ['kube_router_export2'])
    const all = execFileSync('gobgp', ['--target', bed.target, '-j', 'policy'], { encoding: 'utf8' })
    t.notMatch(all, 'weir-')
    for (const kind of ['prefix', 'neighbor', 'large-community'] as const)
      t.notOk((await client.listSets(kind)).some(({ name }) => name.startsWith('weir-')))
    t.equal(routerAsn(BIRD), 65001)
  })
})
