// An agent that finds a gobgpd at work, of its own kind or of the version before, which knew neither classes nor markers: it takes over,
// and neither BIRD nor FRR sees a route change or a session end.

import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { isMarker } from '../../../src/speaker/export-classes.ts'
import { peer as clientPeer, oneSession, until, untilEstablished } from '../bgp/bed.ts'
import { announcement, routingOf } from './bed.ts'
import { allowed, BIRD, bothRouters, FRR, peer, TwoRouters } from './two-routers.ts'

const OWN = ['10.255.0.1/32', '10.244.1.0/24', '203.0.113.7/32', '203.0.113.8/32']

t.test('taking over', async (t) => {
  const bed = new TwoRouters(t)
  await bed.addRouter(BIRD, oneSession(BIRD, 'graceful restart on;'))
  await bed.addFrr()
  bed.startSupervisor(bed.node)
  const client = bed.openClient(t)
  await client.waitUntilReady(AbortSignal.timeout(10_000))
  // The boot file's policy lets what this node originates inside the allowed prefixes out to everybody: that was all there was.
  await client.applyPaths({
    withdraw: [],
    announce: OWN.map((prefix) => ({ prefix, ...(prefix === OWN[3] ? { communities: ['65101:5'] } : {}) })),
  })
  const gracefulRestart = { restartSeconds: 60, deferralSeconds: 1, localRestarting: true }
  for (const index of [BIRD, FRR]) await client.addPeer({ ...clientPeer(index, 'ipv4'), gracefulRestart })
  await untilEstablished(client, 2)
  const there = (prefix: string) =>
    bed.kernelRoute(BIRD, prefix) !== '' && bed.kernelRoute(FRR, prefix) !== ''
  await until('all routes', () => OWN.every(there))
  await sleep(500)
  for (const index of [BIRD, FRR])
    bed.spawn(bed.router(index), ['ip', 'monitor', 'route'], `monitor${index}.log`)
  const since = async () => (await client.listPeers()).map(({ status }) => status.sinceMs).sort()
  const before = await since()
  const desired = OWN.map((prefix) => announcement(prefix, prefix === OWN[3] ? ['65101:5'] : undefined))
  const seen = () => [BIRD, FRR].map((index) => bed.read(`monitor${index}.log`)).join('')

  await t.test('from the version before', async (t) => {
    const speaker = bed.speak()
    speaker.setRouting(bothRouters(), allowed)
    speaker.setDesired(desired)
    await until('marked', async () =>
      (await client.listOwnPaths('ipv4')).every(({ largeCommunities }) => largeCommunities?.some(isMarker)),
    )
    await sleep(1_000)
    t.equal(seen(), '')
    t.same(await since(), before)
    t.equal((await client.listOwnPaths('ipv4')).length, OWN.length)
    await speaker.close()
  })

  await t.test('from one of its own kind', async (t) => {
    // gobgpd lists its peers in the order of a hash table.
    const updates = async () =>
      (await client.listPeers())
        .map(({ status }) => `${status.address} ${status.messages.sent.update}`)
        .sort()
    const sent = await updates()
    const speaker = bed.speak()
    // Which address it calls a router from may be left to the kernel, and gobgpd tells it all the same.
    const { localAddress: _, ...plain } = peer(FRR)
    speaker.setRouting(routingOf([peer(BIRD), plain]), allowed)
    speaker.setDesired(desired)
    await until('a round', async () => (await speaker.status()).announcements[0]?.status.kind === 'announced')
    await sleep(500)
    t.equal(seen(), '')
    t.same(await since(), before)
    t.same(await updates(), sent, 'not one message to a router')
    speaker.setDesired(desired.slice(1))
    await until('what goes is gone', () => !there(OWN[0] ?? ''))
  })
})
