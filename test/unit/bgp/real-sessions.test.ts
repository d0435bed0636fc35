// Settings of peers against a real gobgpd and a real BIRD: that each does on the wire what it says, and that what gobgpd tells of its
// peers is read right.

import { execFileSync, spawnSync } from 'node:child_process'
import t from 'tap'
import type { PeerEvent, PeerSettings } from '../../../bgp/client/types.ts'
import {
  ip,
  link,
  NODE,
  oneSession,
  peer,
  RouterBed,
  routerAsn,
  twoSessions,
  until,
  untilEstablished,
} from './bed.ts'

const FULL: Partial<PeerSettings> = {
  password: 's3cret',
  description: 'tor one',
  ttlSecurityMin: 255,
  gracefulRestart: {
    restartSeconds: 60,
    deferralSeconds: 1,
    localRestarting: true,
    notification: true,
    longLivedSeconds: 3600,
  },
  prefixLimits: [{ family: 'ipv4', maximum: 100, warnPercent: 80 }],
}

t.test('one router, every setting', async (t) => {
  const bed = new RouterBed(t)
  const client = bed.openClient(t)
  await bed.startGobgpd(client)
  await client.startIfIdle({ ...NODE, listenPort: 179 })
  await bed.addRouter(
    1,
    twoSessions(1, 'password "s3cret"; ttl security on; long lived graceful restart on;'),
  )
  const remote = { kind: 'address', address: link(1).router4 } as const
  const status = async () => (await client.listPeers())[0]?.status
  const events: PeerEvent[] = []
  const stop = new AbortController()
  const watch = client.watchPeers((event) => events.push(event), stop.signal)
  t.teardown(() => stop.abort())

  await t.test('settings are read back as they were given', async (t) => {
    const settings = peer(1, 'ipv4', FULL)
    await client.addPeer(settings)
    t.same((await client.listPeers())[0]?.settings, settings)
    await untilEstablished(client, 1)
  })

  await t.test('the router saw the password, the TTL and the capabilities', async (t) => {
    const seen = bed.bird(1, 'show', 'protocols', 'all', 'node4')
    t.match(seen, /Long-lived graceful restart/)
    t.match(seen, /LL stale time: 3600/)
    t.match(seen, /Restart time: 60/)
    t.match(seen, /Enhanced refresh/)
  })

  await t.test('what gobgpd says of the session', async (t) => {
    await until('routes came in', async () => (await status())?.families[0]?.received === 2)
    const now = await status()
    t.match(now, {
      remote,
      address: link(1).router4,
      asn: routerAsn(1),
      routerId: '10.255.250.1',
      session: 'established',
      admin: 'up',
      holdSeconds: 9,
      families: [{ family: 'ipv4', received: 2, accepted: 2 }],
      flaps: 0,
    })
    t.ok((now?.sinceMs ?? 0) > Date.now() - 60_000 && (now?.sinceMs ?? 0) <= Date.now())
    t.ok((now?.messages.received.total ?? 0) >= 2 && (now?.messages.sent.open ?? 0) >= 1)
    t.match([...(now?.capabilities.remote ?? [])].sort(), [
      'enhanced-route-refresh',
      'four-octet-asn',
      'graceful-restart',
      'long-lived-graceful-restart',
      'multi-protocol ipv4',
      'route-refresh',
    ])
    t.ok(now?.capabilities.local.includes('fqdn'))
  })

  await t.test('a disabled peer is told why, and stays down until it is enabled', async (t) => {
    await client.disablePeer(remote, 'moving to rack 12')
    await until('it is down', async () => (await status())?.admin === 'down')
    await until('the router knows why', () => bed.read('bird1.messages').includes('moving to rack 12'))
    await client.enablePeer(remote)
    await untilEstablished(client, 1)
    t.equal((await status())?.admin, 'up')
  })

  await t.test('a changed peer bounces its own session alone', async (t) => {
    await client.addPeer(peer(1, 'ipv6', { password: 's3cret', ttlSecurityMin: 255 }))
    await untilEstablished(client, 2)
    const sinceOf = async (family: 'ipv4' | 'ipv6') =>
      (await client.listPeers()).find(({ settings }) => settings.families[0] === family)?.status.sinceMs
    const before = [await sinceOf('ipv4'), await sinceOf('ipv6')]
    await client.updatePeer(peer(1, 'ipv4', { ...FULL, holdSeconds: 12, keepaliveSeconds: 4 }))
    await until('it came back', async () => (await sinceOf('ipv4')) !== before[0])
    await untilEstablished(client, 2)
    t.equal(await sinceOf('ipv6'), before[1])
    t.match((await client.listPeers()).map(({ settings }) => settings.holdSeconds).sort(), [12, 9])
  })

  await t.test('a wrong password keeps it down without a word; the kernel alone counts', async (t) => {
    await client.deletePeer({ kind: 'address', address: link(1).router6 })
    await client.deletePeer(remote)
    await client.addPeer(peer(1, 'ipv4', { ...FULL, password: 'wrong' }))
    const failures = () =>
      execFileSync('nsenter', [`--net=/run/netns/${bed.node}`, 'cat', '/proc/net/netstat'], {
        encoding: 'utf8',
      })
    const counter = (name: string) => {
      const [names = '', values = ''] = failures()
        .split('\n')
        .filter((line) => line.startsWith('TcpExt:'))
      return Number(values.split(' ')[names.split(' ').indexOf(name)])
    }
    await until('the kernel counts', () => counter('TCPMD5Failure') > 0)
    t.not((await status())?.session, 'established')
    t.notMatch(bed.read('gobgpd.log'), /md5|password/i)
  })

  stop.abort()
  await t.rejects(watch, { code: 'CLOSED' })
  t.equal(events[0]?.session === 'established', false)
  t.ok(events.some(({ session, address }) => session === 'established' && address === link(1).router4))
})

t.test('unnumbered, with whatever ASN, and our own by another name', async (t) => {
  const bed = new RouterBed(t)
  const client = bed.openClient(t)
  await bed.startGobgpd(client)
  await client.startIfIdle({ ...NODE, listenPort: 179 })
  const tor = await bed.addRouter(1, '')
  const address = bed.linkLocal(bed.node, link(1).device)
  bed.reconfigureBird(
    1,
    `protocol bgp unnumbered from node { neighbor ${address}%'to-node' as 64777;
      ipv4 { import all; export where source = RTS_STATIC; extended next hop on; };
      ipv6 { import all; export none; }; }`,
  )
  const remote = { kind: 'interface', interface: link(1).device } as const
  const settings: PeerSettings = {
    ...peer(1, 'ipv6'),
    remote,
    asn: 'any',
    localAsn: 64777,
    families: ['ipv4', 'ipv6'],
  }
  delete (settings as { localAddress?: string }).localAddress

  await t.test('a link-local neighbour that the kernel does not know is an error that says so', async (t) => {
    ip('-n', bed.node, 'neigh', 'flush', 'dev', link(1).device)
    await t.rejects(client.addPeer(settings), {
      code: 'REFUSED',
      message: /no ipv6 link-local neighbor found/,
    })
    await t.rejects(client.deletePeer(remote), {
      code: 'REFUSED',
      message: /no unnumbered peer on interface to-tor1/,
    })
  })

  await t.test('the session comes up and carries IPv4 over an IPv6 next hop', async (t) => {
    await until('the node knows the router', () => {
      // To answer it, the node has to look for the router.
      spawnSync('nsenter', [
        `--net=/run/netns/${tor}`,
        'ping',
        '-c',
        '1',
        '-W',
        '1',
        '-I',
        'to-node',
        'ff02::1',
      ])
      return ip('-n', bed.node, '-6', 'neigh', 'show', 'dev', link(1).device).includes('fe80')
    })
    await client.addPeer(settings)
    await untilEstablished(client, 1)
    const [there] = await client.listPeers()
    t.match(there?.status, { remote, asn: routerAsn(1), session: 'established' })
    t.match(there?.status.address, /^fe80::.*%to-tor1$/)
    t.match(there?.settings, { remote, asn: 'any', localAsn: 64777, families: ['ipv4', 'ipv6'] })
    await client.applyPaths({
      withdraw: [],
      announce: [{ prefix: '203.0.113.7/32' }, { prefix: '2001:db8:113::7/128' }],
    })
    await until('it is in the kernel of the router', () => bed.kernelRoute(1, '203.0.113.7/32') !== '')
    t.match(bed.kernelRoute(1, '203.0.113.7/32'), `via inet6 ${address} dev to-node`)
    await until('so is IPv6', () => bed.kernelRoute(1, '2001:db8:113::7/128') !== '')
    t.match(bed.birdRoute(1, '203.0.113.7/32'), /BGP.as_path: 64777\n/)
  })

  await t.test('its tables are asked for by its interface, and its routes name it', async (t) => {
    const routes = await client.listRoutes({ kind: 'adj-in', peer: remote }, 'ipv4')
    const found = bed.linkLocal(tor, 'to-node')
    t.match(
      routes.find(({ prefix }) => prefix === '192.0.2.0/24'),
      { nextHop: found, neighbor: found, sourceAsn: routerAsn(1), asPath: [routerAsn(1)] },
    )
    const out = await client.listRoutes({ kind: 'adj-out', peer: remote }, 'ipv6')
    t.ok(out.some(({ prefix }) => prefix === '2001:db8:113::7/128'))
  })

  await t.test('it is disabled, enabled, changed and deleted by its interface', async (t) => {
    await client.disablePeer(remote, '')
    await until('down', async () => (await client.listPeers())[0]?.status.admin === 'down')
    await client.enablePeer(remote)
    await untilEstablished(client, 1)
    // Now with the neighbour's address, as a caller gives it who knows it.
    const known = { ...settings, linkLocal: bed.linkLocal(tor, 'to-node'), description: 'changed' }
    await client.updatePeer(known)
    await untilEstablished(client, 1)
    t.same((await client.listPeers())[0]?.settings, known)
    t.match((await client.listPeers())[0]?.status, { remote, address: `${known.linkLocal}%to-tor1` })
    await client.deletePeer(remote)
    t.same(await client.listPeers(), [])
    await until('the router noticed', () => bed.kernelRoute(1, '203.0.113.7/32') === '')
  })
})

t.test('several hops, and a peer that is waited for', async (t) => {
  const bed = new RouterBed(t)
  const client = bed.openClient(t)
  await bed.startGobgpd(client)
  await client.startIfIdle({ ...NODE, listenPort: 179 })
  // The addresses of two loopbacks are a hop away from the link.
  await bed.addRouter(
    1,
    `protocol static { ipv4; route 10.255.0.1/32 via ${link(1).node4}; }
    protocol bgp node4 { local 10.255.250.1 as ${routerAsn(1)}; neighbor 10.255.0.1 as ${NODE.asn}; multihop 3;
      connect delay time 1; connect retry time 1; ipv4 { import all; export none; }; }`,
  )
  await bed.addRouter(2, oneSession(2))
  ip('-n', bed.node, 'addr', 'add', '10.255.0.1/32', 'dev', 'lo')
  ip('-n', bed.node, 'route', 'add', '10.255.250.1', 'via', link(1).router4)
  ip('-n', bed.router(1), 'addr', 'add', '10.255.250.1/32', 'dev', 'lo')
  ip('-n', bed.router(1), 'route', 'add', '10.255.0.1', 'via', link(1).node4)
  const far = { remote: { kind: 'address', address: '10.255.250.1' }, localAddress: '10.255.0.1' } as const
  await client.addPeer(peer(1, 'ipv4', { ...far, multihopTtl: 3 }))
  await client.addPeer(peer(2, 'ipv4', { passive: true, bindInterface: link(2).device }))
  await untilEstablished(client, 2)
  const settings = (await client.listPeers()).map((row) => row.settings)
  t.match(
    settings.find(({ multihopTtl }) => multihopTtl === 3),
    far,
  )
  t.match(
    settings.find(({ passive }) => passive),
    { bindInterface: link(2).device },
  )
})
