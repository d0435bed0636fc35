// Paths, policies, tables and collectors against a real gobgpd and real BIRDs: what a router is told is read from the router, and what
// routers tell arrives as they told it.

import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { BestRoutes, Path, PolicyChanges, PolicyConditions } from '../../../bgp/client/types.ts'
import {
  link,
  NODE,
  NODE_ASN,
  peer,
  RouterBed,
  routerAsn,
  twoSessions,
  until,
  untilEstablished,
} from './bed.ts'

const VIP = '203.0.113.7/32'
const FULL: Path = {
  prefix: VIP,
  communities: ['65101:100', '65535:0'],
  largeCommunities: ['4200000000:1:2'],
  med: 50,
  localPref: 200,
  asPath: [64512, 64513],
  origin: 'incomplete',
}

t.test('paths and policies, seen by a router', async (t) => {
  const bed = new RouterBed(t)
  const client = bed.openClient(t)
  await bed.startGobgpd(client)
  await client.startIfIdle({ ...NODE, listenPort: 179 })
  await bed.addRouter(1, twoSessions(1))
  await client.addPeer(peer(1, 'ipv4'))
  await client.addPeer(peer(1, 'ipv6'))
  await untilEstablished(client, 2)
  const announce = (...paths: Path[]) => client.applyPaths({ withdraw: [], announce: paths })
  const seen = (prefix: string, pattern: RegExp) =>
    until(`${prefix} ${pattern}`, () => pattern.test(bed.birdRoute(1, prefix)))

  await t.test('every attribute arrives, and is read back as it was given', async (t) => {
    const six = { ...FULL, prefix: '2001:db8:113::7/128', nextHop: link(1).node6 }
    await announce(FULL, six)
    t.same(await client.listOwnPaths('ipv4'), [FULL])
    t.same(await client.listOwnPaths('ipv6'), [six])
    for (const { prefix } of [FULL, six]) {
      await until(prefix, () => bed.birdRoute(1, prefix) !== '')
      const told = bed.birdRoute(1, prefix)
      t.match(told, `BGP.as_path: ${NODE_ASN} 64512 64513`)
      t.match(told, 'BGP.origin: Incomplete')
      t.match(told, 'BGP.med: 50')
      t.match(told, 'BGP.community: (65101,100) (65535,0)')
      t.match(told, 'BGP.large_community: (4200000000, 1, 2)')
      t.match(told, 'BGP.local_pref: 100', 'it is for internal peers alone')
    }
    await announce({ prefix: VIP })
    await seen(VIP, /BGP.origin: IGP/)
    t.same(await client.listOwnPaths('ipv4'), [{ prefix: VIP }])
  })

  await t.test('what a policy changes', async (t) => {
    await announce(FULL)
    const rows: [string, PolicyChanges, RegExp][] = [
      [
        'add',
        { communities: { kind: 'add', communities: ['65101:1'] } },
        /community:.*\(65101,1\).*\(65101,100\)|\(65101,100\).*\(65101,1\)/,
      ],
      [
        'remove',
        { communities: { kind: 'remove', communities: ['65101:100'] } },
        /BGP.community: \(65535,0\)\n/,
      ],
      [
        'replace',
        { communities: { kind: 'replace', communities: ['65101:3'] } },
        /BGP.community: \(65101,3\)\n/,
      ],
      ['large-add', { largeCommunities: { kind: 'add', communities: ['1:2:3'] } }, /\(1, 2, 3\)/],
      [
        'large-remove',
        { largeCommunities: { kind: 'remove', communities: ['4200000000:1:2'] } },
        /med: 50\n(?!.*BGP.large)/,
      ],
      [
        'large-replace',
        { largeCommunities: { kind: 'replace', communities: ['1:2:4'] } },
        /large_community: \(1, 2, 4\)\n/,
      ],
      ['med-set', { med: { kind: 'set', value: 4000 } }, /BGP.med: 4000\n/],
      ['med-add', { med: { kind: 'add', value: -7 } }, /BGP.med: 43\n/],
      ['prepend', { prepend: { asn: NODE_ASN, repeat: 2 } }, /as_path: 65101 65101 65101 64512 64513\n/],
      ['next-hop', { nextHop: { address: link(1).node4 } }, new RegExp(`next_hop: ${link(1).node4}\n`)],
      ['next-hop-self', { nextHop: 'self' }, new RegExp(`next_hop: ${link(1).node4}\n`)],
    ]
    for (const [name, changes, pattern] of rows) {
      const policy = {
        name,
        statements: [
          { name, conditions: { routeType: 'local' as const }, changes, action: 'accept' as const },
        ],
      }
      await client.addPolicy(policy)
      await client.setAssignment({ direction: 'export', policies: [name], defaultAction: 'reject' })
      t.same(
        (await client.listPolicies()).find((row) => row.name === name),
        policy,
        `${name} is read back as it was given`,
      )
      await client.resetPeer(
        { kind: 'address', address: link(1).router4 },
        { kind: 'soft', direction: 'out' },
      )
      await seen(VIP, pattern)
    }
    t.pass('the router saw each')
    await client.setAssignment({ direction: 'export', policies: [], defaultAction: 'accept' })
    for (const { name } of await client.listPolicies()) await client.deletePolicy(name)
    t.same(await client.listPolicies(), [])
  })

  await t.test('what a policy looks at', async (t) => {
    await client.addSetMembers({
      kind: 'prefix',
      name: 'vips',
      members: [{ prefix: '203.0.113.0/24', lengthMin: 32, lengthMax: 32 }],
    })
    await client.addSetMembers({
      kind: 'prefix',
      name: 'others',
      members: [{ prefix: '198.51.100.0/24', lengthMin: 24, lengthMax: 32 }],
    })
    await client.addSetMembers({ kind: 'community', name: 'marked', members: ['65101:100', '65101:101'] })
    await client.addSetMembers({ kind: 'large-community', name: 'large', members: ['4200000000:1:2'] })
    await client.addSetMembers({
      kind: 'neighbor',
      name: 'router',
      members: [link(1).router4, 'fd00:254:1::/127'],
    })
    t.same(await client.listSets('neighbor'), [
      { kind: 'neighbor', name: 'router', members: [`${link(1).router4}/32`, 'fd00:254:1::/127'] },
    ])
    t.same((await client.listSets('community'))[0]?.members, ['65101:100', '65101:101'])
    t.same((await client.listSets('large-community'))[0]?.members, ['4200000000:1:2'])
    const rows: [string, PolicyConditions, boolean][] = [
      ['prefix', { prefixSet: 'vips' }, true],
      ['outside', { outsidePrefixSet: 'vips' }, false],
      ['outside-of-others', { outsidePrefixSet: 'others' }, true],
      ['any-community', { communitySet: { name: 'marked', match: 'any' } }, true],
      ['all-communities', { communitySet: { name: 'marked', match: 'all' } }, false],
      ['no-community', { communitySet: { name: 'marked', match: 'none' } }, false],
      ['large', { largeCommunitySet: { name: 'large', match: 'all' } }, true],
      ['neighbor', { neighborSet: 'router' }, true],
      ['local', { routeType: 'local' }, true],
      ['external', { routeType: 'external' }, false],
      ['ipv4', { families: ['ipv4'] }, true],
      ['ipv6', { families: ['ipv6'] }, false],
      [
        'all-of-them',
        { prefixSet: 'vips', neighborSet: 'router', routeType: 'local', families: ['ipv4', 'ipv6'] },
        true,
      ],
    ]
    for (const [name, conditions, matches] of rows) {
      const policy = { name, statements: [{ name, conditions, action: 'accept' as const }] }
      await client.addPolicy(policy)
      await client.setAssignment({ direction: 'export', policies: [name], defaultAction: 'reject' })
      t.same(
        (await client.listPolicies()).find((row) => row.name === name),
        policy,
        `${name} is read back as it was given`,
      )
      await client.applyPaths({ withdraw: [VIP], announce: [FULL] })
      const out = await client.listRoutes(
        { kind: 'adj-out', peer: { kind: 'address', address: link(1).router4 } },
        'ipv4',
      )
      t.equal(
        out.some(({ prefix }) => prefix === VIP),
        matches,
        name,
      )
      if (matches) await until(name, () => bed.birdRoute(1, VIP) !== '')
      else await until(name, () => bed.birdRoute(1, VIP) === '')
    }
  })

  await t.test('sets lose members, and go when nothing uses them', async (t) => {
    await client.deleteSetMembers({ kind: 'community', name: 'marked', members: ['65101:101'] })
    t.same((await client.listSets('community'))[0]?.members, ['65101:100'])
    await t.rejects(client.deleteSet('prefix', 'vips'), { code: 'REFUSED', message: /in use/ })
    await client.setAssignment({ direction: 'export', policies: [], defaultAction: 'accept' })
    for (const { name } of await client.listPolicies()) await client.deletePolicy(name)
    for (const kind of ['prefix', 'neighbor', 'community', 'large-community'] as const)
      for (const { name } of await client.listSets(kind)) await client.deleteSet(kind, name)
    t.same([...(await client.listSets('prefix')), ...(await client.listSets('neighbor'))], [])
  })

  await t.test('policies are appended to those of somebody else, and taken away again', async (t) => {
    const policy = (name: string) => ({
      name,
      statements: [{ name, conditions: { routeType: 'local' as const }, action: 'accept' as const }],
    })
    for (const name of ['theirs', 'ours']) await client.addPolicy(policy(name))
    await client.setAssignment({ direction: 'export', policies: ['theirs'], defaultAction: 'reject' })
    await client.appendAssignment('export', ['ours'])
    t.same(await client.getAssignment('export'), {
      direction: 'export',
      policies: ['theirs', 'ours'],
      defaultAction: 'reject',
    })
    await t.rejects(client.appendAssignment('export', ['ours']), { code: 'REFUSED', message: /duplicated/ })
    await client.removeAssignment('export', ['ours'])
    t.same(await client.getAssignment('export'), {
      direction: 'export',
      policies: ['theirs'],
      defaultAction: 'reject',
    })
    await t.rejects(client.addPolicy(policy('ours')), { code: 'REFUSED', message: /already defined/ })
  })
})

t.test('what two routers tell', async (t) => {
  const bed = new RouterBed(t)
  const client = bed.openClient(t)
  await bed.startGobgpd(client)
  await client.startIfIdle({ ...NODE, listenPort: 179, useMultiplePaths: true })
  for (const index of [1, 2]) {
    await bed.addRouter(index, twoSessions(index))
    await client.addPeer(peer(index, 'ipv4'))
  }
  const table = new Map<string, BestRoutes>()
  const stop = new AbortController()
  const watch = client.watchRoutes((changes) => {
    for (const change of changes) table.set(change.prefix, change)
  }, stop.signal)
  t.teardown(() => stop.abort())
  const nextHops = (prefix: string) => (table.get(prefix)?.routes ?? []).map(({ nextHop }) => nextHop).sort()
  const both = [link(1).router4, link(2).router4]

  await t.test('best paths are told as they come and go, all of a prefix at once', async (t) => {
    await until('both', () => nextHops('192.0.2.0/24').length === 2)
    t.same(nextHops('192.0.2.0/24'), both)
    t.match(table.get('192.0.2.0/24')?.routes[0], { isBest: true, isStale: false, origin: undefined })
    bed.bird(2, 'disable', 'node4')
    await until('one', () => nextHops('192.0.2.0/24').length === 1)
    t.same(nextHops('192.0.2.0/24'), [link(1).router4])
    bed.bird(1, 'disable', 'node4')
    await until('none', () => nextHops('192.0.2.0/24').length === 0)
    t.match(table.get('192.0.2.0/24'), { family: 'ipv4', routes: [] })
    for (const index of [1, 2]) bed.bird(index, 'enable', 'node4')
    await until('both again', () => nextHops('192.0.2.0/24').length === 2)
  })

  await t.test('a watch that starts later is told what is there, own paths among it', async (t) => {
    await client.applyPaths({ withdraw: [], announce: [FULL] })
    const late = new Map<string, BestRoutes>()
    const lateStop = new AbortController()
    t.teardown(() => lateStop.abort())
    const lateWatch = client.watchRoutes((changes) => {
      for (const change of changes) late.set(change.prefix, change)
    }, lateStop.signal)
    await until('all three', () => late.size === 3)
    t.equal(late.get('192.0.2.0/24')?.routes.length, 2)
    const [own] = late.get(VIP)?.routes ?? []
    t.match(own, { ...FULL, family: 'ipv4', sourceId: '' })
    t.equal(own?.neighbor, undefined)
    lateStop.abort()
    await t.rejects(lateWatch, { code: 'CLOSED' })
  })

  await t.test('adj-in is what one router sent, the global table what was taken of both', async (t) => {
    const remote = { kind: 'address', address: link(2).router4 } as const
    const came = await client.listRoutes({ kind: 'adj-in', peer: remote }, 'ipv4')
    t.same(came.map(({ prefix }) => prefix).sort(), ['192.0.2.0/24', '198.51.100.0/24'])
    t.match(came[0], {
      neighbor: remote.address,
      sourceAsn: routerAsn(2),
      sourceId: '10.255.250.2',
      asPath: [routerAsn(2)],
    })
    const global = await client.listRoutes({ kind: 'global' }, 'ipv4')
    t.equal(global.length, 5)
    t.equal(global.filter(({ isBest }) => isBest).length, 3)
    const age = Date.now() - (global[0]?.sinceMs ?? 0)
    t.ok(age >= 0 && age < 60_000)
    await t.rejects(
      client.listRoutes({ kind: 'adj-in', peer: { kind: 'address', address: '10.9.9.9' } }, 'ipv4'),
      { code: 'REFUSED' },
    )
    t.same(await client.listRoutes({ kind: 'global' }, 'ipv6'), [])
  })

  stop.abort()
  await t.rejects(watch, { code: 'CLOSED' })
})

t.test('a collector of RFC 7854', async (t) => {
  const bed = new RouterBed(t)
  const client = bed.openClient(t)
  await bed.startGobgpd(client)
  await client.startIfIdle(NODE)
  await client.applyPaths({ withdraw: [], announce: [FULL] })
  // gobgpd is in a namespace of its own: the collector has to be in the same.
  const collector = bed.spawn(bed.node, [process.execPath, '--eval', COLLECTOR, '11019'], 'collector.log')
  t.teardown(() => collector.kill())
  const station = { address: '127.0.0.1', port: 11019 }
  await client.addBmp({ ...station, policy: 'local-rib', systemName: 'node-1', systemDescription: 'a node' })
  await until('the collector was told', () => bed.read('collector.log').includes('type 4'))
  await until('and of the table', () => bed.read('collector.log').includes('type 0'))
  t.match(bed.read('collector.log'), 'node-1')
  t.match(await client.listBmp(), [{ ...station, upSinceMs: Number }])
  // gobgpd counts in seconds: down within the second of coming up would look like up.
  await sleep(1_100)
  collector.kill()
  for (const index of [1, 2]) {
    await client.applyPaths({ withdraw: [], announce: [{ prefix: `203.0.113.${index}/32` }] })
    await sleep(100)
  }
  await until('it is down', async () => (await client.listBmp())[0]?.upSinceMs === undefined)
  await client.deleteBmp(station)
  t.same(await client.listBmp(), [])
})

/** Prints the type of each BMP message (RFC 7854 §4.1), and the text of the first. */
const COLLECTOR = `
require('node:net').createServer((socket) => {
  let rest = Buffer.alloc(0)
  socket.on('data', (data) => {
    rest = Buffer.concat([rest, data])
    while (rest.length >= 6 && rest.length >= rest.readUInt32BE(1)) {
      const length = rest.readUInt32BE(1)
      console.log('type ' + rest[5] + ' ' + rest.toString('latin1', 6, length).replace(/[^ -~]/g, '.'))
      rest = rest.subarray(length)
    }
  })
}).listen(Number(process.argv[1]), '127.0.0.1')
`
