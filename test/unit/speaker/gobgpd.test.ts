// The client and the speaker with a real gobgpd and no router: what gobgpd gets wrong by itself, and that the speaker does not.

import type { ChildProcess } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type GobgpClient, openGobgpClient } from '../../../bgp/client/gobgp-grpc-client.ts'
import type { NodeRouting } from '../../../src/model/routing.ts'
import { createSpeaker } from '../../../src/speaker/speaker.ts'
import { allowed, announcement, Bed, routing, until } from './bed.ts'

const quiet = { info: () => {}, warn: () => {} }

t.test('with gobgpd alone', async (t) => {
  const bed = new Bed()
  t.teardown(() => bed.close())
  const node = bed.addNamespace('alone')
  const client: GobgpClient = openGobgpClient({ target: bed.target })
  t.teardown(() => client.close())
  let daemon: ChildProcess | undefined
  const restart = async (...args: string[]) => {
    if (daemon) {
      const ended = new Promise((resolve) => daemon?.once('exit', resolve))
      daemon.kill('SIGKILL')
      await ended
      rmSync(bed.socket, { force: true })
    }
    daemon = bed.spawn(node, ['gobgpd', '--api-hosts', bed.target, '--pprof-disable', ...args], 'gobgpd.log')
    return client.waitUntilReady(AbortSignal.timeout(10_000))
  }
  const speak = (next: NodeRouting = routing, mayAnnounce = allowed) => {
    const speaker = createSpeaker({ gobgpSocket: bed.target, log: quiet })
    speaker.setRouting(next, mayAnnounce)
    t.teardown(() => speaker.close())
    return speaker
  }
  const ownPaths = async () =>
    [...(await client.listOwnPaths('ipv4')), ...(await client.listOwnPaths('ipv6'))]
      .map(({ prefix }) => prefix)
      .sort()

  await t.test('a gobgpd without configuration is closed before anything is sent', async (t) => {
    t.equal((await restart()).asn, 0)
    const speaker = speak()
    speaker.setDesired([announcement('203.0.113.7/32'), announcement('2001:db8:113::7/128')])
    await until('peers', async () => (await client.listPeers().catch(() => [])).length === 2)
    t.same(await ownPaths(), ['2001:db8:113::7/128', '203.0.113.7/32'])
    for (const direction of ['import', 'export'] as const) {
      const { defaultAction, policies } = await client.getAssignment(direction)
      t.same([defaultAction, policies.length], ['reject', 1], direction)
    }
    const [peer] = await client.listPeers()
    t.match(peer?.settings, {
      holdSeconds: 9,
      keepaliveSeconds: 3,
      connectRetrySeconds: 5,
      gracefulRestart: { restartSeconds: 60, deferralSeconds: 1, localRestarting: true },
    })
    await speaker.close()
  })

  await t.test('a second start is refused here, for gobgpd would empty its table', async (t) => {
    const before = await ownPaths()
    t.equal((await client.startIfIdle({ asn: 65101, routerId: '10.255.0.1' })).asn, 65101)
    t.same(await ownPaths(), before)
    t.rejects(client.startIfIdle({ asn: 0, routerId: 'x' }), { code: 'INVALID_DAEMON' })
  })

  await t.test('a restarted speaker sends only differences, and narrows what is allowed', async (t) => {
    const only4 = allowed.filter(({ family }) => family === 'ipv4')
    const speaker = speak({ ...routing, peers: routing.peers.slice(0, 1) }, only4)
    speaker.setDesired([
      announcement('203.0.113.8/32', ['65535:0', '65101:9']),
      announcement('2001:db8:113::7/128'),
    ])
    await until('one peer', async () => speaker.isInForce && (await client.listPeers()).length === 1)
    t.match(await client.listOwnPaths('ipv4'), [
      { prefix: '203.0.113.8/32', communities: ['65535:0', '65101:9'], largeCommunities: [/^4294967295:/] },
    ])
    t.same(await client.listOwnPaths('ipv6'), [])
    const sets = await client.listSets('prefix')
    t.same(sets.map(({ name, members }) => [name, members.length]).sort(), [
      ['weir-allowed-ipv4', 3],
      ['weir-allowed-ipv6', 0],
    ])
    t.match((await speaker.status()).refused, [{ code: 'outside-allowed' }])
    speaker.setDesired([])
    await until('nothing is left', async () => (await ownPaths()).length === 0)
    await speaker.close()
  })

  await t.test('a policy that says something else is replaced by one that is right', async (t) => {
    const boot = bed.writeBootFile()
    await restart('-t', 'toml', '-f', boot)
    const open = {
      name: 'weir-open',
      statements: [{ name: 'weir-open', conditions: {}, action: 'accept' as const }],
    }
    await client.addPolicy(open)
    await client.setAssignment({ direction: 'export', policies: ['weir-open'], defaultAction: 'accept' })
    const speaker = speak()
    speaker.setDesired([announcement('203.0.113.7/32')])
    await until(
      'announced',
      async () => (await speaker.status()).announcements[0]?.status.kind === 'announced',
    )
    const { policies, defaultAction } = await client.getAssignment('export')
    t.equal(defaultAction, 'reject')
    const inForce = (await client.listPolicies()).find(({ name }) => name === policies[0])
    const [outside4, outside6, ...others] = inForce?.statements ?? []
    t.equal(policies.length, 1)
    t.match(
      [outside4, outside6],
      [
        { conditions: { outsidePrefixSet: /ipv4/ }, action: 'reject' },
        { conditions: { outsidePrefixSet: /ipv6/ }, action: 'reject' },
      ],
    )
    t.ok(others.every(({ conditions }) => conditions.routeType === 'local' && conditions.largeCommunitySet))
    await speaker.close()
  })

  await t.test('a configuration with another AS number waits, and keeps no withdrawal waiting', async (t) => {
    await restart('-t', 'toml', '-f', bed.writeBootFile())
    const speaker = speak()
    speaker.setDesired(['203.0.113.7/32', '203.0.113.8/32'].map((prefix) => announcement(prefix)))
    await until('both', async () => (await ownPaths()).length === 2)
    const peerTexts = async () =>
      (await client.listPeers()).map(({ settings }) => JSON.stringify(settings)).sort()
    // Paths come before peers.
    await until('the peers', async () => (await peerTexts()).length === 2)
    const peers = await peerTexts()
    speaker.setRouting({ ...routing, asn: 65199 }, allowed)
    speaker.setDesired([announcement('203.0.113.8/32')])
    await until('one', async () => (await ownPaths()).length === 1)
    t.match((await speaker.status()).problems, [{ code: 'other-asn', text: /runs AS 65101.*says 65199/ }])
    t.equal((await client.probe()).asn, 65101)
    await speaker.close()
    const next = speak({ ...routing, asn: 65199 })
    next.setDesired([])
    await until('none, for the next agent too', async () => (await ownPaths()).length === 0)
    t.same(await peerTexts(), peers)
    await next.close()
  })

  await t.test("somebody else's gobgpd is left alone", async (t) => {
    const file = join(bed.directory, 'other.toml')
    writeFileSync(file, '[global.config]\n  as = 64999\n  router-id = "10.0.0.1"\n  port = -1\n')
    t.equal((await restart('-t', 'toml', '-f', file)).asn, 64999)
    const speaker = speak()
    speaker.setDesired([announcement('203.0.113.7/32')])
    await until('an error', async () => (await speaker.status()).error !== undefined)
    t.match((await speaker.status()).error, /runs AS 64999, not 65101\. Mend: /)
    t.match((await speaker.status()).announcements[0]?.status, { kind: 'error' })
    t.same([await ownPaths(), await client.listPeers()], [[], []])
    await speaker.close()
  })
})
