// Peers with every setting, changed while they run, with a real gobgpd, BIRD and FRR: a change ends its own session and no other, and
// only where it must; what cannot work is said.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { Address } from '../../../src/model/address.ts'
import type { BgpPeer, PasswordSource } from '../../../src/model/routing.ts'
import { readTcpFacts } from '../../../src/speaker/authentication.ts'
import { type LinkView, NO_LINKS, readLinks, readNeighbourAges } from '../../../src/speaker/links.ts'
import type { Speaker } from '../../../src/speaker/speaker.ts'
import { Netlink } from '../../../src/sys/node-netlink/netlink.ts'
import { link, oneSession, routerAsn, until } from '../bgp/bed.ts'
import { announcement, routingOf } from './bed.ts'
import { allowed, BIRD, FRR, peer, TwoRouters, untilUp } from './two-routers.ts'

const VIP6 = '2001:db8:113::7/128'
const VIP = '203.0.113.7/32'

/** What gobgpd was told to do with peers since the last look. */
function peerLog(bed: TwoRouters) {
  let seen = 0
  return () => {
    const lines = bed
      .read('gobgpd.log')
      .split('\n')
      .filter((line) => /Add a peer|Delete a peer/.test(line))
    const fresh = lines.slice(seen)
    seen = lines.length
    return fresh.map(
      (line) => `${/Add/.test(line) ? '+' : '-'}${/(?:Key|Name)["=:]+([^\s",]+)/.exec(line)?.[1]}`,
    )
  }
}

/** A round later: a change of routing asks for a full one. */
async function settle(speaker: Speaker): Promise<void> {
  await sleep(400)
  await until('a round', async () => (await speaker.status()).error === undefined)
}

t.test('settings of gobgpd alone', async (t) => {
  const bed = new TwoRouters(t)
  bed.startSupervisor(bed.node)
  const speaker = bed.speak()
  const told = peerLog(bed)
  const all: readonly BgpPeer[] = [
    peer(1),
    peer(2, { localAsn: 65200, ttlSecurityMin: 255, families: ['ipv4'] }),
    peer(3, {
      multihopTtl: 4,
      port: 1179,
      asn: 'external',
      gracefulRestart: { restartSeconds: 20, longLivedSeconds: 3600 },
    }),
    peer(4, { asn: 'internal', reflectorClient: { clusterId: '10.255.0.1' } }),
    peer(5, {
      password: { kind: 'inline', text: 'secret' },
      timers: { holdSeconds: 90, keepaliveSeconds: 30, connectRetrySeconds: 1 },
    }),
    {
      ...peer(6),
      remote: { kind: 'address', address: 'fd00:254:6::' as Address },
      localAddress: 'fd00:254:6::1' as Address,
      families: ['ipv4', 'ipv6'],
    },
  ]
  const { gracefulRestart: _, ...plain } = peer(7)
  speaker.setRouting(routingOf([...all, plain]), allowed)
  speaker.setDesired([announcement(VIP)])
  await until('peers', async () => (await speaker.status()).sessions.length === 7)
  t.equal(told().length, 7)

  await t.test('what is right is left alone, however it was set', async (t) => {
    speaker.setRouting(routingOf([...all, plain]), allowed)
    await settle(speaker)
    t.same(told(), [])
    const renamed = [...all, plain].map((one) => ({
      ...one,
      name: `${one.name} renamed`,
      source: 'elsewhere',
    }))
    speaker.setRouting(routingOf(renamed), allowed)
    await settle(speaker)
    t.same(told(), [], 'names and sources are ours alone')
    t.match((await speaker.status()).sessions[0], { name: 'tor1 renamed', source: 'elsewhere' })
  })

  await t.test('only what changed is put in anew', async (t) => {
    const timers = { holdSeconds: 30, keepaliveSeconds: 10, connectRetrySeconds: 5 }
    const changed = all.map((one) => (one.name === 'tor2' ? { ...one, timers } : one))
    speaker.setRouting(routingOf([...changed, plain]), allowed)
    await settle(speaker)
    t.same(told().sort(), ['+10.254.2.0', '-10.254.2.0'].sort())
    speaker.setRouting(routingOf(changed), allowed)
    await settle(speaker)
    t.same(told(), ['-10.254.7.0'])
  })

  await t.test('one that cannot be does not keep the others waiting', async (t) => {
    const bad = peer(8, { multihopTtl: 4, ttlSecurityMin: 255 })
    const odd = { ...peer(9), remote: { kind: 'interface', interface: 'nowhere' } as const }
    speaker.setRouting(routingOf([bad, odd, peer(1), peer(10)]), allowed)
    await until('the good one', async () => (await speaker.status()).sessions.length === 2)
    await settle(speaker)
    t.same((await speaker.status()).problems.map(({ code, object }) => [code, object]).sort(), [
      ['peer-refused', 'routing.peers tor8'],
      ['peer-unresolved', 'routing.peers tor9'],
    ])
  })

  await t.test('a password that cannot be read leaves its peer as it is', async (t) => {
    const file = join(bed.directory, 'password')
    const password: PasswordSource = { kind: 'file', path: file }
    const secret: PasswordSource = { kind: 'secret', namespace: 'a', name: 'b', key: 'c' }
    writeFileSync(file, 'one\n')
    told()
    const routing = routingOf([peer(1, { password }), peer(2, { password: secret })])
    speaker.setRouting(routing, allowed)
    await until('bounced', async () => (await speaker.status()).sessions.length === 1)
    t.match((await speaker.status()).problems, [
      { code: 'password-unreadable', text: /key c of Secret a\/b/ },
    ])
    told()
    writeFileSync(file, '')
    speaker.setRouting(routing, allowed)
    await settle(speaker)
    t.same(told(), [])
    writeFileSync(file, 'two')
    speaker.setRouting(routing, allowed)
    await settle(speaker)
    t.same(told().sort(), ['+10.254.1.0', '-10.254.1.0'].sort())
    t.notMatch(JSON.stringify((await speaker.status()).sessions), 'two')
  })
})

t.test('with BIRD and FRR', async (t) => {
  const bed = new TwoRouters(t)
  await bed.addRouter(BIRD, oneSession(BIRD, 'graceful restart on; password "right";'))
  const { node4 } = link(FRR)
  await bed.addFrr([], ['address-family ipv6 unicast', ` neighbor ${node4} activate`, 'exit-address-family'])
  const supervisor = bed.startSupervisor(bed.node)
  const netlink = new Netlink({ namespacePath: `/run/netns/${bed.node}` })
  t.teardown(() => netlink.close())
  const events: string[] = []
  let links: () => Promise<LinkView> = () => readLinks(netlink)
  const speaker = bed.speak({
    readLinks: () => links(),
    // The processes' namespace is not the test's.
    readTcp: () => readTcpFacts(`/proc/${supervisor.pid}`),
    readNeighbours: () => readNeighbourAges(netlink),
    onProblems: (problems) => events.push(...problems.map(({ code }) => code)),
  })
  const password = (text: string) => ({ password: { kind: 'inline', text } as const })
  const both = { families: ['ipv4', 'ipv6'] as const }
  speaker.setRouting(routingOf([peer(BIRD, { ...password('right'), ...both }), peer(FRR, both)]), allowed)
  speaker.setDesired([announcement(VIP), announcement(VIP6)])
  await untilUp(speaker, 2)
  const since = async (name: string) =>
    (await speaker.status()).sessions.find((session) => session.name === name)?.sinceMs

  await t.test("IPv6 over IPv4 sessions leaves with the node's address on each link", async () => {
    await until('BIRD', () => bed.kernelRoute(BIRD, VIP6).includes(`via ${link(BIRD).node6} `))
    await until('FRR', () => bed.kernelRoute(FRR, VIP6).includes(`via ${link(FRR).node6} `))
  })

  await t.test('without such an address the family is left out, and said', async (t) => {
    links = async () => NO_LINKS
    speaker.setRouting(routingOf([peer(BIRD, { ...password('right'), ...both }), peer(FRR)]), allowed)
    await until('gone at BIRD', () => bed.kernelRoute(BIRD, VIP6) === '')
    await until('IPv4 again', () => bed.kernelRoute(BIRD, VIP) !== '')
    t.match((await speaker.status()).problems, [{ code: 'no-next-hop', object: 'routing.peers tor1' }])
    links = () => readLinks(netlink)
  })

  await t.test('a changed password ends that session alone, and the mismatch is told', async (t) => {
    await untilUp(speaker, 2)
    const before = await since('tor2')
    speaker.setRouting(routingOf([peer(BIRD, password('wrong')), peer(FRR)]), allowed)
    const told = async () =>
      (await speaker.status()).problems.find(({ code }) => code === 'authentication-failing')
    await until('told', async () => (await told()) !== undefined, 25_000)
    t.match(await told(), { object: 'routing.peers tor1', text: /another password/ })
    t.match(
      (await speaker.status()).sessions.find(({ name }) => name === 'tor1')?.lastError,
      /another password/,
    )
    t.equal(await since('tor2'), before)
    t.ok(events.includes('authentication-failing'))
    events.length = 0
    speaker.setRouting(routingOf([peer(BIRD, password('right')), peer(FRR)]), allowed)
    await untilUp(speaker, 2)
    t.equal(await told(), undefined)
    t.equal(await since('tor2'), before)
    await sleep(3_000)
    t.same(events, [], 'and nothing more is said of the password that is no more')
  })

  await t.test('a router that wants a password where this peer has none', async (t) => {
    const before = await since('tor2')
    speaker.setRouting(routingOf([peer(BIRD), peer(FRR)]), allowed)
    const why = async () => (await speaker.status()).sessions.find(({ name }) => name === 'tor1')?.lastError
    await until('it is told', async () => /wants a password/.test((await why()) ?? ''), 25_000)
    t.match(await why(), /does not answer our SYN: .*it wants a password, and this peer has none.*Mend: /)
    t.match((await speaker.status()).problems, [{ code: 'peer-silent', object: 'routing.peers tor1' }])
    t.equal(await since('tor2'), before)
    speaker.setRouting(routingOf([peer(BIRD, password('right')), peer(FRR)]), allowed)
    await untilUp(speaker, 2)
  })

  await t.test('counts of what is wanted and what is out agree', async (t) => {
    await until('counted', async () =>
      (await speaker.status()).sessions.every(
        ({ families, wanted }) =>
          families.find(({ family }) => family === 'ipv4')?.advertised === wanted.ipv4,
      ),
    )
    t.same(
      (await speaker.status()).sessions.map(({ wanted }) => wanted),
      [
        { ipv4: 1, ipv6: 0 },
        { ipv4: 1, ipv6: 0 },
      ],
    )
    t.match((await speaker.status()).sessions[0], { asn: routerAsn(BIRD), session: 'established' })
  })

  await t.test('a path that somebody took away behind our back is missed, and put back', async (t) => {
    const client = bed.openClient(t)
    await client.applyPaths({ withdraw: [VIP], announce: [] })
    await until('gone', () => bed.kernelRoute(BIRD, VIP) === '')
    const missed = async () =>
      (await speaker.status()).problems.some(({ code }) => code === 'advertised-differs')
    await until('missed', missed)
    speaker.setRouting(routingOf([peer(BIRD, password('right')), peer(FRR)]), allowed)
    await until('back', () => bed.kernelRoute(BIRD, VIP) !== '')
    await until('not missed', async () => !(await missed()))
  })
})
