// Routes learned from real routers into a real kernel: what the filter names and no more, ECMP, the limit, nothing that is ours, and
// nothing left behind.

import { execFileSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { Prefix } from '../../../src/model/address.ts'
import type { ImportRules } from '../../../src/model/routing.ts'
import { kernelRoutes, removeLearnedRoutes, WEIR_ROUTE_PROTOCOL } from '../../../src/speaker/kernel-routes.ts'
import { Netlink } from '../../../src/sys/node-netlink/netlink.ts'
import { ip, link, NODE_ASN, until } from '../bgp/bed.ts'
import { announcement, childOf, routingOf } from './bed.ts'
import { allowed, BIRD, FRR, peer, TwoRouters, untilUp } from './two-routers.ts'

const rule = (prefix: string, lengthMin: number, lengthMax: number) => ({
  prefix: prefix as Prefix,
  family: prefix.includes(':') ? ('ipv6' as const) : ('ipv4' as const),
  lengthMin,
  lengthMax,
})
const RULES: ImportRules = {
  prefixes: [rule('10.200.0.0/16', 16, 24), rule('10.200.7.0/24', 24, 32)],
  maxPrefixes: 5,
}
const birdPeers = (routes: readonly string[]) => `
protocol static more { ipv4; ${routes.map((one) => `route ${one} blackhole;`).join(' ')} }
protocol bgp node4 from node { neighbor ${link(BIRD).node4} as ${NODE_ASN}; graceful restart on;
  ipv4 { import all; export where source = RTS_STATIC; }; }
`

t.test('imports', async (t) => {
  const bed = new TwoRouters(t)
  // The default route, our own pool and VIP, and what lies outside the filter are all told, and must not be taken.
  const unwanted = ['0.0.0.0/0', '203.0.113.0/24', '203.0.113.7/32', '10.201.0.0/16', '10.200.1.128/25']
  const first = [...unwanted, '10.200.1.0/24', '10.200.2.0/24', '10.200.7.9/32']
  await bed.addRouter(BIRD, birdPeers(first))
  await bed.addFrr(
    [],
    [
      'address-family ipv4 unicast',
      ' network 10.200.2.0/24',
      ' network 10.200.3.0/24',
      'exit-address-family',
    ],
  )
  const tor2 = bed.router(FRR)
  for (const prefix of ['10.200.2.0/24', '10.200.3.0/24']) ip('-n', tor2, 'route', 'add', 'blackhole', prefix)
  const supervisor = bed.startSupervisor(bed.node)
  const netlink = new Netlink({ namespacePath: `/run/netns/${bed.node}` })
  t.teardown(() => netlink.close())
  const start = () => bed.speak({ kernelRoutes: kernelRoutes(netlink) })
  let speaker = start()
  const importing = routingOf([peer(BIRD, { imports: RULES }), peer(FRR, { imports: RULES })])
  const kernel = () => {
    const text = ip('-n', bed.node, '-j', 'route', 'show', 'proto', `${WEIR_ROUTE_PROTOCOL}`)
    const rows = JSON.parse(text) as { dst: string; gateway?: string; nexthops?: { gateway: string }[] }[]
    return rows
      .map(
        ({ dst, gateway, nexthops }) =>
          `${dst} ${(nexthops ?? [{ gateway }]).map((hop) => hop.gateway).sort()}`,
      )
      .sort()
  }
  const via1 = link(BIRD).router4
  const via2 = link(FRR).router4
  const ALL = [
    `10.200.1.0/24 ${via1}`,
    `10.200.2.0/24 ${via1},${via2}`,
    `10.200.3.0/24 ${via2}`,
    `10.200.7.9 ${via1}`,
  ]
  const holds = (what: string, rows: readonly string[], withinMs?: number) =>
    until(what, () => kernel().join() === [...rows].sort().join(), withinMs)

  await t.test('without rules nothing is taken', async (t) => {
    speaker.setRouting(routingOf([peer(BIRD), peer(FRR)]), allowed)
    speaker.setDesired([announcement('203.0.113.7/32'), announcement('10.255.0.1/32')])
    await untilUp(speaker, 2)
    await sleep(500)
    t.same(kernel(), [])
  })

  await t.test(
    'with rules what they name, several next hops where routers agree; nothing of ours',
    async (t) => {
      const before = (await speaker.status()).sessions.map(({ sinceMs }) => sinceMs)
      speaker.setRouting(importing, allowed)
      await holds('learned', ALL)
      t.same(
        (await speaker.status()).sessions.map(({ sinceMs }) => sinceMs),
        before,
        'no session ended for it',
      )
      t.same(
        (await speaker.status()).sessions.map(({ taken }) => taken),
        [3, 2],
      )
      t.notOk(bed.frrPath('10.200.1.0/24'), 'not told on to the other router')
    },
  )

  await t.test('changes follow', async () => {
    ip('-n', tor2, 'route', 'del', 'blackhole', '10.200.2.0/24')
    await holds(
      'one next hop',
      ALL.map((row) => row.replace(`,${via2}`, '')),
    )
    ip('-n', tor2, 'route', 'add', 'blackhole', '10.200.2.0/24')
    await holds('two again', ALL)
  })

  await t.test("gobgpd killed, agent restarted: the kernel's routes stay", async (t) => {
    const monitor = bed.spawn(bed.node, ['ip', 'monitor', 'route'], 'node-monitor.log')
    const victim = childOf(supervisor.pid)
    process.kill(victim ?? 0, 'SIGKILL')
    await until('another gobgpd', () => ![undefined, victim].includes(childOf(supervisor.pid)))
    await untilUp(speaker, 2)
    await sleep(7_000)
    await speaker.close()
    speaker = start()
    speaker.setRouting(importing, allowed)
    speaker.setDesired([announcement('203.0.113.7/32'), announcement('10.255.0.1/32')])
    await until('a round', async () => (await speaker.status()).sessions[0]?.taken === 3)
    await sleep(300)
    monitor.kill()
    t.equal(bed.read('node-monitor.log'), '')
    t.same(kernel(), [...ALL].sort())
  })

  await t.test(
    'beyond the maximum nothing more is taken, and it is said; the other session goes on',
    async (t) => {
      const more = Array.from({ length: 20 }, (_, index) => `10.200.${index + 20}.0/24`)
      bed.reconfigureBird(BIRD, birdPeers([...first, ...more]))
      await until('said', async () =>
        (await speaker.status()).problems.some(({ code }) => code === 'imports-limit'),
      )
      const taken = kernel().filter((row) => row.includes(via1))
      t.equal(taken.length, 5)
      for (const row of ALL) t.ok(kernel().includes(row), `kept: ${row}`)
      t.equal((await speaker.status()).sessions.filter(({ session }) => session === 'established').length, 2)
      bed.reconfigureBird(BIRD, birdPeers(first))
      await holds('as before', ALL)
    },
  )

  await t.test('what another program put there is not touched', async (t) => {
    ip('-n', bed.node, 'route', 'add', '10.200.30.0/24', 'via', via2, 'metric', '200', 'proto', 'static')
    bed.reconfigureBird(BIRD, birdPeers([...first, '10.200.30.0/24']))
    await until('said', async () =>
      (await speaker.status()).problems.some(({ code }) => code === 'route-not-installed'),
    )
    t.match(ip('-n', bed.node, 'route', 'show', '10.200.30.0/24'), `via ${via2} dev to-tor2 proto static`)
    bed.reconfigureBird(BIRD, birdPeers(first))
    await sleep(300)
    t.match(ip('-n', bed.node, 'route', 'show', '10.200.30.0/24'), 'proto static')
  })

  await t.test('a session that ends takes its routes along', async () => {
    bed.bird(BIRD, 'disable', 'node4')
    await holds('without BIRD', [`10.200.2.0/24 ${via2}`, `10.200.3.0/24 ${via2}`])
    bed.bird(BIRD, 'enable', 'node4')
    await holds('again', ALL, 25_000)
  })

  await t.test('without rules again, or without us, nothing is left', async (t) => {
    speaker.setRouting(routingOf([peer(BIRD), peer(FRR, { imports: RULES })]), allowed)
    await holds('FRR alone', [`10.200.2.0/24 ${via2}`, `10.200.3.0/24 ${via2}`])
    t.same(await removeLearnedRoutes(netlink, true), ['10.200.2.0/24', '10.200.3.0/24'])
    t.equal(kernel().length, 2)
    speaker.setRouting(routingOf([peer(BIRD), peer(FRR)]), allowed)
    await holds('none', [])
    t.match(execFileSync('ip', ['-n', bed.node, 'route'], { encoding: 'utf8' }), '10.200.30.0/24')
  })
})
