// The speaker with a real gobgpd under its supervisor and a real BIRD as the router: what arrives in the router's kernel table, and
// that restarts of either side are invisible there.

import { execFileSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { openGobgpClient } from '../../../bgp/client/gobgp-grpc-client.ts'
import { ExportClassifier } from '../../../src/speaker/export-classes.ts'
import { createSpeaker, type Speaker } from '../../../src/speaker/speaker.ts'
import { allowed, announcement, Bed, birdRoutes, childOf, routing, until } from './bed.ts'

const quiet = { info: () => {}, warn: () => {} }
const OWN = [
  announcement('10.255.0.1/32'),
  announcement('10.244.1.0/24'),
  announcement('fd00:255::1/128'),
  announcement('203.0.113.7/32', ['65101:100']),
  announcement('2001:db8:113::7/128'),
]
const IN_KERNEL = ['10.255.0.1', '10.244.1.0/24', 'fd00:255::1', '203.0.113.7', '2001:db8:113::7'].sort()

t.test('with BIRD as the router', async (t) => {
  const bed = new Bed()
  t.teardown(() => bed.close())
  const { node, tor } = await bed.buildRouter()
  const supervisor = bed.startSupervisor(node)
  const speak = (): Speaker => {
    const made = createSpeaker({ gobgpSocket: bed.target, log: quiet })
    made.setRouting(routing, allowed)
    return made
  }
  let speaker = speak()
  t.teardown(() => speaker.close())
  const established = async () =>
    (await speaker.status()).sessions.filter(({ session }) => session === 'established').length === 2

  const arrived = (prefixes: readonly string[]) => () =>
    birdRoutes(tor).sort().join() === [...prefixes].sort().join()

  await t.test('no session is opened before the first desired set', async (t) => {
    await until('gobgpd answers', async () => (await speaker.status()).connected)
    t.same((await speaker.status()).sessions, [])
  })

  await t.test('announced prefixes reach the kernel of the router, others are refused', async (t) => {
    speaker.setDesired([...OWN, announcement('198.51.100.1/32'), announcement('203.0.113.0/24')])
    await until('all routes', arrived(IN_KERNEL))
    const { refused, announcements } = await speaker.status()
    t.same(
      refused.map(({ code, announcement: { prefix } }) => `${prefix} ${code}`),
      ['198.51.100.1/32 outside-allowed', '203.0.113.0/24 wrong-length'],
    )
    t.ok(announcements.every(({ status }) => status.kind === 'announced'))
  })

  await t.test(
    'what may no longer leave is withdrawn before the policy narrows, and comes back',
    async () => {
      const isInPool = (prefix: string) => prefix.startsWith('203.0.113.')
      speaker.setRouting(
        routing,
        allowed.filter(({ prefix }) => !isInPool(prefix)),
      )
      await until('its withdrawal', arrived(IN_KERNEL.filter((prefix) => !isInPool(prefix))))
      speaker.setRouting(routing, allowed)
      await until('all routes', arrived(IN_KERNEL))
    },
  )

  await t.test("gobgpd's own policy stops what would slip past the guard", async (t) => {
    const client = openGobgpClient({ target: bed.target })
    t.teardown(() => client.close())
    const strays = ['198.51.100.1/32', '203.0.113.0/24', '10.244.1.7/32', '2001:db8:113::/112']
    const marked = new ExportClassifier(new Map(), true).classify(announcement('203.0.113.200/32'))
    if (!marked) throw new Error('no class')
    await client.applyPaths({ withdraw: [], announce: strays.map((prefix) => ({ ...marked.path, prefix })) })
    await client.applyPaths({ withdraw: [], announce: [{ prefix: '203.0.113.201/32' }, marked.path] })
    await until('the allowed one', () => birdRoutes(tor).includes('203.0.113.200'))
    t.same(birdRoutes(tor).sort(), [...IN_KERNEL, '203.0.113.200'].sort())
    await client.applyPaths({ withdraw: [...strays, '203.0.113.200/32', '203.0.113.201/32'], announce: [] })
    await until('it is gone', arrived(IN_KERNEL))
  })

  await t.test('what the router announces is not taken', async (t) => {
    const client = openGobgpClient({ target: bed.target })
    t.teardown(() => client.close())
    const received = async () =>
      (await client.listPeers()).flatMap(({ status }) => status.families.map((row) => row.received))
    await until('the static route was received', async () => (await received()).includes(1))
    const table = execFileSync('gobgp', ['--target', bed.target, 'global', 'rib'], { encoding: 'utf8' })
    t.match(table, '203.0.113.7/32')
    t.notMatch(table, '192.0.2.0/24')
  })

  const monitor = bed.spawn(tor, ['ip', 'monitor', 'route'], 'monitor.log')
  await until('both sessions', established)

  await t.test('a speaker that restarts changes nothing and adopts the sessions', async (t) => {
    const before = (await speaker.status()).sessions.map(({ address, sinceMs }) => [address, sinceMs])
    await speaker.close()
    speaker = speak()
    speaker.setDesired(OWN)
    await until('a round', async () => (await speaker.status()).announcements[0]?.status.kind === 'announced')
    t.same(
      (await speaker.status()).sessions.map(({ address, sinceMs }) => [address, sinceMs]),
      before,
    )
    t.equal(bed.read('monitor.log'), '')
  })

  await t.test('gobgpd killed: it is replayed, and the router sees not one withdrawal', async (t) => {
    const victim = childOf(supervisor.pid)
    process.kill(victim ?? 0, 'SIGKILL')
    await until('another gobgpd', () => {
      const now = childOf(supervisor.pid)
      return now !== undefined && now !== victim
    })
    await until('both sessions again', established)
    await sleep(1_500)
    t.equal(bed.read('monitor.log'), '', 'no route event at all')
    t.same(birdRoutes(tor).sort(), IN_KERNEL)
  })

  await t.test('a withdrawal arrives', async (t) => {
    speaker.setDesired(OWN.filter(({ prefix }) => prefix !== '203.0.113.7/32'))
    await until('it is gone', () => !birdRoutes(tor).includes('203.0.113.7'))
    await until('the monitor saw it', () => bed.read('monitor.log') !== '')
    t.match(bed.read('monitor.log'), /^Deleted 203\.0\.113\.7 /)
    monitor.kill()
  })

  await t.test('closing the speaker leaves the routes', async (t) => {
    await speaker.close()
    await sleep(300)
    t.equal(birdRoutes(tor).length, IN_KERNEL.length - 1)
    t.match(
      execFileSync('ip', ['-n', tor, 'route', 'get', '10.255.0.1'], { encoding: 'utf8' }),
      /10\.254\.1\.1/,
    )
  })
})
