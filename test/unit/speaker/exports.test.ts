// Announcements that differ from router to router, with a real gobgpd, BIRD and FRR: who gets what, and that nobody ever has more than
// they may.

import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { PeerExport } from '../../../src/model/routing.ts'
import { link, NODE_ASN, oneSession, until } from '../bgp/bed.ts'
import { announcement, attributes, childOf, exported } from './bed.ts'
import { allowed, BIRD, bothRouters, FRR, peer, TwoRouters, untilUp } from './two-routers.ts'

const VIP = '203.0.113.7/32'
const SECOND = '203.0.113.8/32'
const MESH = 3
const to = (peers: string, change: Parameters<typeof attributes>[0] = {}): PeerExport => ({
  peers: peers.split(' '),
  attributes: attributes(change),
})

t.test('exports to BIRD and FRR', async (t) => {
  const bed = new TwoRouters(t)
  await bed.addRouter(BIRD, oneSession(BIRD, 'graceful restart on;'))
  await bed.addFrr()
  // Another node, with our ASN.
  await bed.addRouter(
    MESH,
    `protocol bgp node4 from node { local as ${NODE_ASN}; neighbor ${link(MESH).node4} as ${NODE_ASN}; passive on;
      ipv4 { import all; export none; }; }`,
  )
  const supervisor = bed.startSupervisor(bed.node)
  const speaker = bed.speak()
  speaker.setRouting(bothRouters(), allowed)
  speaker.setDesired([announcement('10.255.0.1/32')])
  await untilUp(speaker, 2)
  const bird = (prefix: string) => bed.birdRoute(BIRD, prefix)
  const arrived = (prefix: string) =>
    until(`${prefix} at both`, () => bird(prefix) !== '' && bed.frrPath(prefix) !== undefined)
  const own = announcement('10.255.0.1/32')

  await t.test('without exports both get it, and no marker', async (t) => {
    await arrived(own.prefix)
    t.notMatch(bird(own.prefix), 'large_community')
    t.equal(bed.frrPath(own.prefix)?.largeCommunity, undefined)
  })

  await t.test('each router gets its own attributes', async (t) => {
    speaker.setDesired([
      own,
      exported(VIP, [
        to('tor1', {
          communities: ['65101:1', '65101:2'],
          largeCommunities: ['65101:7:8'],
          med: 50,
          prepend: 2,
        }),
        to('tor2', { communities: ['65101:1', '65535:65281'] }),
      ]),
    ])
    await arrived(VIP)
    const text = bird(VIP)
    t.match(text, 'BGP.as_path: 65101 65101 65101')
    t.match(text, 'BGP.community: (65101,1) (65101,2)')
    t.match(text, 'BGP.large_community: (65101, 7, 8)')
    t.match(text, 'BGP.med: 50')
    const path = bed.frrPath(VIP)
    t.equal(path?.aspath?.string, '65101')
    t.equal(path?.community?.string, '65101:1 no-export')
    t.same([path?.largeCommunity, path?.metric ?? 0], [undefined, 0])
  })

  await t.test('a prefix that loses a router is withdrawn there, and there alone', async (t) => {
    const monitor = bed.spawn(bed.router(FRR), ['ip', 'monitor', 'route'], 'frr-monitor.log')
    speaker.setDesired([own, exported(VIP, [to('tor2')]), exported(SECOND, [to('tor1')])])
    await until('gone at BIRD', () => bird(VIP) === '')
    await until('the second at BIRD', () => bird(SECOND) !== '')
    t.ok(bed.frrPath(VIP))
    await sleep(300)
    t.equal(bed.frrPath(SECOND), undefined)
    t.notMatch(bed.read('frr-monitor.log'), '203.0.113.8', 'not for a moment')
    monitor.kill()
    speaker.setDesired([own, exported(VIP, [to('tor1')]), exported(SECOND, [to('tor1 tor2')])])
    await until('moved', () => bird(VIP) !== '' && bed.frrPath(VIP) === undefined)
    await until('wider', () => bed.frrPath(SECOND) !== undefined)
  })

  await t.test(
    'an internal peer: local preference, and no prepending that would look like a loop',
    async (t) => {
      const inside = peer(MESH, { asn: 'internal' })
      speaker.setRouting({ ...bothRouters(), peers: [...bothRouters().peers, inside] }, allowed)
      speaker.setDesired([
        own,
        exported(VIP, [to('tor1', { localPref: 90 }), to('tor3', { localPref: 300, prepend: 2 })]),
      ])
      await until('there', () => bed.birdRoute(MESH, VIP) !== '', 25_000)
      t.match(bed.birdRoute(MESH, VIP), 'BGP.local_pref: 300')
      t.match(bed.birdRoute(MESH, VIP), /BGP\.as_path: ?\n/)
      await until('elsewhere', () => bird(VIP) !== '')
      t.match(bird(VIP), 'BGP.local_pref: 100', 'BIRD’s own: none was sent')
      speaker.setDrain({ communities: ['65535:0'], prepend: 0 })
      await until('the last choice', () => bed.birdRoute(MESH, VIP).includes('BGP.local_pref: 1\n'))
      speaker.setDrain(undefined)
      await until('as before', () => bed.birdRoute(MESH, VIP).includes('BGP.local_pref: 300'))
      speaker.setRouting(bothRouters(), allowed)
      await until('it is gone', async () => (await speaker.status()).sessions.length === 2)
    },
  )

  await t.test(
    'the drain mark reaches both on everything, survives gobgpd, and goes without a trace',
    async (t) => {
      const marked = (prefix: string) =>
        /\(65535,0\)/.test(bird(prefix)) && bed.frrPath(prefix)?.community?.string === 'graceful-shutdown'
      speaker.setDesired([own, exported(SECOND, [to('tor1 tor2')])])
      speaker.setDrain({ communities: ['65535:0'], med: 4000, prepend: 2 })
      await until('marked', () => marked(own.prefix) && marked(SECOND))
      t.match(bird(SECOND), 'BGP.as_path: 65101 65101 65101')
      t.match(bird(SECOND), 'BGP.med: 4000')
      t.equal(bed.frrPath(SECOND)?.locPrf, 0, 'RFC 8326: FRR does it by itself')
      const victim = childOf(supervisor.pid)
      process.kill(victim ?? 0, 'SIGKILL')
      await until('another gobgpd', () => ![undefined, victim].includes(childOf(supervisor.pid)))
      await untilUp(speaker, 2)
      await sleep(1_000)
      t.ok(marked(SECOND), 'never without the mark again')
      speaker.setDrain(undefined)
      await until('unmarked', () => !/65535/.test(bird(SECOND)) && !bed.frrPath(SECOND)?.community)
      t.notMatch(bird(SECOND), 'BGP.med')
      t.match(bird(SECOND), /BGP\.as_path: 65101\n/)
    },
  )

  await t.test('more combinations than there are classes: said, and the others go out', async (t) => {
    const many = Array.from({ length: 130 }, (_, index) =>
      exported(`203.0.113.${index + 100}/32`, [to('tor1'), to('tor2', { med: index + 1 })]),
    )
    speaker.setDesired([own, ...many])
    await until('the first', () => bed.frrPath('203.0.113.100/32')?.metric === 1)
    const { announcements, problems } = await speaker.status()
    const kept = announcements.filter(({ status }) => status.kind === 'error')
    t.equal(kept.length, 3, '128 classes, one of them for the loopback')
    t.ok(problems.every(({ code }) => code === 'too-many-classes'))
    speaker.setDesired([own])
    await until('gone', () => bed.frrPath('203.0.113.100/32') === undefined)
  })
})
