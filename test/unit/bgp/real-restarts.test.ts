// How gobgpd 3.10 may end and begin without routers noticing, and how it may not; and the next hop that FRR believes. Real BIRD, real FRR.

import { rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { GobgpClient } from '../../../bgp/client/gobgp-grpc-client.ts'
import { FRR, TwoRouters } from '../speaker/two-routers.ts'
import { link, NODE, oneSession, peer, until, untilEstablished } from './bed.ts'

const VIP = '203.0.113.7/32'
const VIP6 = '2001:db8:113::7/128'
const BIRD = 1

t.setTimeout(300_000)

const restarting = (localRestarting: boolean) =>
  peer(BIRD, 'ipv4', {
    gracefulRestart: { restartSeconds: 60, deferralSeconds: 1, localRestarting },
  })

t.test('the end and the beginning of gobgpd, seen by BIRD', async (t) => {
  const bed = new TwoRouters(t)
  const client = bed.openClient(t)
  await bed.addRouter(BIRD, oneSession(BIRD, 'graceful restart on;'))
  let daemon = await start(bed, client)
  const announce = () => client.applyPaths({ withdraw: [], announce: [{ prefix: VIP }] })
  const has = () => bed.kernelRoute(BIRD, VIP) !== ''
  const isRestarting = () =>
    bed.bird(BIRD, 'show', 'protocols', 'all', 'node4').includes('Neighbor graceful restart active')
  const end = async (signal: 'SIGTERM' | 'SIGINT' | 'SIGKILL') => {
    const ended = new Promise((resolve) => daemon.once('exit', resolve))
    daemon.kill(signal)
    await ended
  }
  const begin = async () => {
    daemon = await start(bed, client)
  }
  await announce()
  await client.addPeer(restarting(false))
  await until('the route', has, 20_000)

  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    await t.test(`${signal} takes the routes away at once, graceful restart or not`, async (t) => {
      await untilEstablished(client, 1)
      await end(signal)
      await until('the route is gone', () => !has(), 3_000)
      t.notOk(has())
      await begin()
      await announce()
      await client.addPeer(restarting(false))
      await until('the route', has, 20_000)
    })

  await t.test('SIGKILL keeps them, and the next one that has its paths before its peers', async (t) => {
    await untilEstablished(client, 1)
    const monitor = bed.spawn(bed.router(BIRD), ['ip', 'monitor', 'route'], 'kept.log')
    await end('SIGKILL')
    await begin()
    await announce()
    await client.addPeer(restarting(true))
    await untilEstablished(client, 1)
    await sleep(1_500)
    monitor.kill()
    t.equal(bed.read('kept.log'), '')
  })

  await t.test(
    'with its peers before its paths the routes are flushed at the first end-of-RIB',
    async (t) => {
      // BIRD lets go of everything when a session ends while it still waits for the end-of-RIB of the restart before.
      await until('the restart before is over', () => !isRestarting())
      await end('SIGKILL')
      t.ok(has())
      await begin()
      await client.addPeer(restarting(true))
      await until('the route is gone', () => !has(), 20_000)
      await announce()
      await until('it is back', has)
    },
  )
})

/** Not under a supervisor: what signals do to gobgpd itself is looked at. */
async function start(bed: TwoRouters, client: GobgpClient) {
  rmSync(bed.socket, { force: true })
  const daemon = bed.spawn(bed.node, ['gobgpd', '--api-hosts', bed.target, '--pprof-disable'], 'gobgpd.log')
  await client.waitUntilReady(AbortSignal.timeout(10_000))
  await client.startIfIdle(NODE)
  return daemon
}

t.test(
  'an IPv6 path in an IPv4 session: FRR believes the mapped next hop, and installs nothing',
  async (t) => {
    const bed = new TwoRouters(t)
    const client = bed.openClient(t)
    const families = [
      'address-family ipv6 unicast',
      ` neighbor ${link(FRR).node4} activate`,
      'exit-address-family',
    ]
    await bed.addFrr([], families)
    await start(bed, client)
    await client.applyPaths({ withdraw: [], announce: [{ prefix: VIP }, { prefix: VIP6 }] })
    await client.addPeer(peer(FRR, 'ipv4', { families: ['ipv4', 'ipv6'] }))
    await until('FRR was told of it', () => bed.frrPath(VIP6) !== undefined, 20_000)
    await until('IPv4 is installed', () => bed.kernelRoute(FRR, VIP) !== '')
    const told = bed.frrPath(VIP6)
    t.ok(told?.valid, 'valid, says FRR')
    t.match(
      told?.nexthops?.map(({ ip }) => ip),
      [/^::ffff:/],
    )
    await sleep(500)
    t.equal(bed.kernelRoute(FRR, VIP6), '', 'a blackhole')
  },
)

t.test('an empty set of prefixes matches nothing', async (t) => {
  const bed = new TwoRouters(t)
  const client = bed.openClient(t)
  await start(bed, client)
  await client.addSetMembers({
    kind: 'prefix',
    name: 'emptied',
    members: [{ prefix: '203.0.113.0/24', lengthMin: 32, lengthMax: 32 }],
  })
  const conditions = { prefixSet: 'emptied' }
  await client.addPolicy({ name: 'of-set', statements: [{ name: 'of-set', conditions, action: 'accept' }] })
  await client.setAssignment({ direction: 'import', policies: ['of-set'], defaultAction: 'reject' })
  await client.applyPaths({ withdraw: [], announce: [{ prefix: VIP }] })
  const prefixes = async () => (await client.listOwnPaths('ipv4')).map(({ prefix }) => prefix)
  t.same(await prefixes(), [VIP])
  await client.applyPaths({ withdraw: [VIP], announce: [] })
  await client.deleteSetMembers({
    kind: 'prefix',
    name: 'emptied',
    members: [{ prefix: '203.0.113.0/24', lengthMin: 32, lengthMax: 32 }],
  })
  await client.applyPaths({ withdraw: [], announce: [{ prefix: VIP }] })
  t.same(await prefixes(), [])
})
