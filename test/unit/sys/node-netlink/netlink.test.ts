// The client against the real kernel, in namespaces of its own; iproute2 is the witness.

import { execFileSync } from 'node:child_process'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { Netlink } from '../../../../src/sys/node-netlink/netlink.ts'
import type { RouteSpec } from '../../../../src/sys/node-netlink/routes.ts'
import { makeNamespace, makeVeth } from './namespace.ts'

function ip(namespace: string, ...args: string[]): string {
  return execFileSync('ip', ['-n', namespace, ...args], { encoding: 'utf8' }).replaceAll(/ +/g, ' ')
}

/** The kernel tells of carriers from a work queue, up to a second later. */
async function eventually(isSo: () => Promise<boolean>): Promise<boolean> {
  for (let attempt = 0; attempt < 300; attempt++) {
    if (await isSo()) return true
    await setTimeout(10)
  }
  return false
}

t.test('links are created, changed, moved and deleted', async (t) => {
  const { netlink, name } = makeNamespace(t)
  const other = makeNamespace(t)
  await netlink.links.create({ kind: 'bridge', name: 'br0', isUp: true, mac: '02:00:00:00:00:01' })
  await netlink.links.create({
    kind: 'veth',
    name: 'here',
    mtu: 9000,
    isUp: true,
    peer: { name: 'there', mac: '02:00:00:00:00:02', namespacePath: other.path },
  })
  const bridge = await netlink.links.get('br0')
  t.match(bridge, { kind: 'bridge', isUp: true, mac: '02:00:00:00:00:01' })
  await netlink.links.change('here', { alias: 'default/web-0', master: bridge?.index ?? 0 })
  await other.netlink.links.change('there', { isUp: true })

  const isOperational = async () => (await netlink.links.get('here'))?.operationalState === 'up'
  t.ok(await eventually(isOperational))
  const here = await netlink.links.get('here')
  const there = await other.netlink.links.get('there')
  t.match(here, { kind: 'veth', alias: 'default/web-0', mtu: 9000, isUp: true, hasCarrier: true })
  t.match(here, { master: bridge?.index, peerIndex: there?.index })
  t.match(there, { mac: '02:00:00:00:00:02', peerIndex: here?.index, hasXdp: false })
  t.equal(await netlink.namespaceIds.of(other.path), here?.linkNamespaceId)
  t.match(ip(name, 'link', 'show', 'here'), 'alias default/web-0')

  await netlink.links.change('here', { alias: '', master: null, isUp: false })
  await netlink.links.change(here?.index ?? 0, { name: 'renamed', mac: '02:00:00:00:00:03' })
  const renamed = await netlink.links.get('renamed')
  t.match(renamed, { index: here?.index, isUp: false, hasCarrier: false, mac: '02:00:00:00:00:03' })
  t.equal(renamed?.alias, undefined)
  t.equal(renamed?.master, undefined)
  t.equal(await netlink.links.get('here'), undefined)

  await netlink.links.delete('renamed')
  t.equal(await other.netlink.links.get('there'), undefined, 'both ends are gone')
  t.same(
    (await netlink.links.list()).map((link) => link.name),
    ['lo', 'br0'],
  )
  t.equal((await netlink.links.get('lo'))?.linkNamespaceId, undefined)
})

t.test('a vxlan link takes its id, port and local address', async (t) => {
  const { netlink, name } = makeNamespace(t)
  const spec = { kind: 'vxlan', id: 42, port: 4789, isLearning: false } as const
  for (const [link, local] of Object.entries({ vx4: '10.0.0.1', vx6: 'fd00::1' })) {
    await netlink.links.create({ ...spec, name: link, local, port: link === 'vx4' ? 4789 : 4790 })
    t.match(await netlink.links.get(link), { kind: 'vxlan' })
    t.match(ip(name, '-d', 'link', 'show', link), new RegExp(`vxlan id 42 local ${local} .*nolearning`))
  }
})

t.test('a link moves to another namespace', async (t) => {
  const { netlink } = makeNamespace(t)
  const other = makeNamespace(t)
  await makeVeth(netlink)
  await netlink.links.change('far', { namespacePath: other.path })
  t.equal(await netlink.links.get('far'), undefined)
  t.match(await other.netlink.links.get('far'), { kind: 'veth' })
})

t.test('addresses of both families are added, listed and deleted', async (t) => {
  const { netlink } = makeNamespace(t)
  const index = await makeVeth(netlink)
  const isOurs = (text: string) => !text.startsWith('fe80')
  const listed = async (filter: object) =>
    (await netlink.addresses.list(filter)).map((row) => row.address).filter(isOurs)
  t.same(await listed({ index }), ['10.9.0.1/24', 'fd09::1/64'])
  t.same(await listed({ index, family: 'ipv6' }), ['fd09::1/64'])
  t.same(await listed({ family: 'ipv4' }), ['127.0.0.1/8', '10.9.0.1/24'])
  t.match(
    (await netlink.addresses.list({ index, family: 'ipv6' })).find((row) => isOurs(row.address)),
    {
      isTentative: false,
      isPermanent: true,
      scope: 0,
    },
  )
  for (const address of ['10.9.0.1/24', 'fd09::1/64']) {
    await t.rejects(netlink.addresses.add({ index, address }), { code: 'EEXIST' })
    await netlink.addresses.replace({ index, address })
    await netlink.addresses.delete({ index, address })
    await t.rejects(netlink.addresses.delete({ index, address }), { code: 'EADDRNOTAVAIL' })
  }
  t.same(await listed({ index }), [])
})

t.test('routes of every shape are read as they were written', async (t) => {
  const { netlink } = makeNamespace(t)
  const index = await makeVeth(netlink)
  const farIndex = (await netlink.links.get('far'))?.index ?? 0
  const { routes } = netlink
  const specs: RouteSpec[] = [
    { destination: '10.20.0.0/16', nextHops: [{ gateway: '10.9.0.2', index }] },
    { destination: 'fd20::/48', metric: 5, nextHops: [{ gateway: 'fd09::2', index }] },
    {
      destination: '0.0.0.0/0',
      metric: 9,
      source: '10.9.0.1',
      mtu: 1400,
      nextHops: [{ gateway: '10.9.0.2', index }],
    },
    { destination: '::/0', source: 'fd09::1', metric: 1024, nextHops: [{ gateway: 'fd09::2', index }] },
    { destination: '10.21.0.0/16', table: 1000, protocol: 99, nextHops: [{ index }] },
    { destination: 'fd21::/48', table: 1000, protocol: 99, nextHops: [{ index }] },
    { destination: '10.22.0.0/16', type: 'blackhole', nextHops: [] },
    { destination: 'fd22::/48', type: 'unreachable', nextHops: [] },
    { destination: '10.23.0.0/16', nextHops: [{ gateway: 'fd09::2', index }] },
    {
      destination: '10.24.0.0/16',
      nextHops: [
        { gateway: '10.9.0.2', index, weight: 3 },
        { gateway: 'fe80::9', index: farIndex },
      ],
    },
    {
      destination: 'fd24::/48',
      nextHops: [
        { gateway: 'fd09::2', index },
        { gateway: 'fe80::9', index: farIndex, weight: 2 },
      ],
    },
    { destination: '10.25.0.0/16', nextHops: [{ gateway: '192.0.2.1', index, isOnLink: true }] },
  ]
  for (const spec of specs) {
    await routes.add(spec)
    const found = (await routes.list({ table: spec.table ?? 254 })).find(
      (route) => route.destination === spec.destination && route.protocol === (spec.protocol ?? 4),
    )
    t.match(found, { protocol: 4, type: 'unicast', table: 254, ...spec }, `${spec.destination} is there`)
    t.equal(found?.nextHops.length, spec.nextHops?.length)
    await t.rejects(routes.add(spec), { code: 'EEXIST' })
  }
  t.same(
    (await routes.list({ protocol: 99 })).map((route) => route.destination),
    ['10.21.0.0/16', 'fd21::/48'],
    'the kernel filters by protocol',
  )
  t.same(await routes.list({ family: 'ipv4', table: 4242 }), [], 'a table that does not exist is empty')
  for (const spec of specs) await routes.delete(spec)
  for (const spec of specs) await t.rejects(routes.delete(spec), { code: 'ESRCH' })
})

t.test('the way to an address', async (t) => {
  const { netlink } = makeNamespace(t)
  const index = await makeVeth(netlink)
  const { routes } = netlink
  t.equal(await routes.resolve('192.0.2.1'), undefined, 'there is none')
  t.match(await routes.resolve('10.9.0.2'), {
    type: 'unicast',
    source: '10.9.0.1',
    nextHops: [{ index, gateway: undefined }],
  })
  t.match(await routes.resolve('fd09::2'), { source: 'fd09::1', nextHops: [{ index, gateway: undefined }] })
  await routes.add({ destination: '0.0.0.0/0', nextHops: [{ gateway: '10.9.0.2', index }] })
  t.match(await routes.resolve('192.0.2.1'), { nextHops: [{ index, gateway: '10.9.0.2' }] })
})

t.test('replace changes the next hops in place', async (t) => {
  const { netlink } = makeNamespace(t)
  const index = await makeVeth(netlink)
  for (const [destination, first, second] of [
    ['10.30.0.0/16', '10.9.0.2', '10.9.0.3'],
    ['fd30::/48', 'fd09::2', 'fd09::3'],
  ] as const) {
    const two = [
      { gateway: first, index },
      { gateway: second, index },
    ]
    for (const nextHops of [two.slice(0, 1), two, two.slice(1)]) {
      await netlink.routes.replace({ destination, metric: 3, nextHops })
      const found = (await netlink.routes.list()).filter((route) => route.destination === destination)
      t.equal(found.length, 1)
      t.match(found[0]?.nextHops, nextHops)
      t.equal(found[0]?.nextHops.length, nextHops.length)
    }
  }
})

t.test('next hops are dead while the link has no carrier', async (t) => {
  const { netlink } = makeNamespace(t)
  const index = await makeVeth(netlink)
  await netlink.routes.add({ destination: '10.31.0.0/16', nextHops: [{ gateway: '10.9.0.2', index }] })
  const isDead = async () =>
    (await netlink.routes.list()).find((route) => route.destination === '10.31.0.0/16')?.nextHops[0]?.isDead
  t.equal(await isDead(), false)
  await netlink.links.change('far', { isUp: false })
  t.ok(await eventually(async () => (await isDead()) === true))
})

t.test('neighbours are written, looked at and deleted', async (t) => {
  const { netlink } = makeNamespace(t)
  const index = await makeVeth(netlink)
  for (const address of ['10.9.0.7', 'fd09::7']) {
    const key = { index, address }
    t.equal(await netlink.neighbours.get(key), undefined)
    await netlink.neighbours.add({ ...key, mac: '02:00:00:00:00:07' })
    t.match(await netlink.neighbours.get(key), { ...key, mac: '02:00:00:00:00:07', state: 'permanent' })
    await t.rejects(netlink.neighbours.add({ ...key, mac: '02:00:00:00:00:08' }), { code: 'EEXIST' })
    await netlink.neighbours.replace({ ...key, mac: '02:00:00:00:00:08', state: 'reachable' })
    const listed = await netlink.neighbours.list({ index })
    t.match(
      listed.find((row) => row.address === address),
      { mac: '02:00:00:00:00:08', state: 'reachable' },
    )
    await netlink.neighbours.delete(key)
    await netlink.neighbours.resolve(key)
    t.match(await netlink.neighbours.get(key), { mac: undefined, state: 'incomplete' })
  }
})

t.test('rules of both families are added, listed and deleted', async (t) => {
  const { netlink } = makeNamespace(t)
  const specs = [
    { family: 'ipv4', priority: 100, table: 1000, from: '10.1.0.0/16', mark: 0x10, mask: 0xf0 },
    { family: 'ipv6', priority: 100, table: 7, to: 'fd01::/48', inputInterface: 'lo', protocol: 99 },
    { family: 'ipv4', priority: 101, action: 'unreachable', outputInterface: 'lo' },
  ] as const
  for (const spec of specs) {
    await netlink.rules.add(spec)
    t.match(
      (await netlink.rules.list(spec.family)).find((rule) => rule.priority === spec.priority),
      { action: 'table', ...spec },
    )
    await t.rejects(netlink.rules.add(spec), { code: 'EEXIST' })
    await netlink.rules.delete(spec)
    await t.rejects(netlink.rules.delete(spec), { code: 'ENOENT' })
  }
  t.same(
    (await netlink.rules.list()).map((rule) => `${rule.family} ${rule.priority} ${rule.table}`),
    ['ipv4 0 255', 'ipv4 32766 254', 'ipv4 32767 253', 'ipv6 0 255', 'ipv6 32766 254'],
  )
})

t.test('refusals carry the words of the kernel and leave the other requests alone', async (t) => {
  const { netlink } = makeNamespace(t)
  const index = await makeVeth(netlink)
  const outcomes = await Promise.allSettled([
    netlink.routes.add({ destination: '10.40.0.0/16', nextHops: [{ gateway: '10.9.0.2', index }] }),
    netlink.routes.add({ destination: '10.41.0.0/16', nextHops: [{ gateway: '192.0.2.1' }] }),
    netlink.links.change('absent', { isUp: true }),
    netlink.routes.add({ destination: '10.42.0.0/16', nextHops: [{ gateway: '10.9.0.2', index }] }),
  ])
  t.same(
    outcomes.map((outcome) => outcome.status),
    ['fulfilled', 'rejected', 'rejected', 'fulfilled'],
  )
  t.match(outcomes[1], {
    reason: { code: 'ENETUNREACH', message: /^add route 10.41.0.0\/16: .*Nexthop has invalid gateway/ },
  })
  t.match(outcomes[2], { reason: { code: 'ENODEV', action: 'change link absent' } })
  await t.rejects(netlink.links.change('near', { mtu: 10 }), { code: 'EINVAL', message: /mtu/ })
  await t.rejects(netlink.links.get('a name too long for one'), { code: 'INVALID_INPUT' })
})

t.test('thousands of requests and dumps are under way at once', async (t) => {
  const { netlink } = makeNamespace(t)
  const index = await makeVeth(netlink)
  const specs = Array.from({ length: 3000 }, (_, i) => ({
    destination: `10.${100 + (i >> 8)}.${i & 255}.0/24`,
    protocol: 99,
    nextHops: [{ gateway: '10.9.0.2', index }],
  }))
  let turns = 0
  const timer = setInterval(() => turns++, 1)
  const writes = specs.map((spec) => netlink.routes.add(spec))
  const dumps = [1, 2, 3].map(() => netlink.routes.list({ protocol: 99 }))
  await Promise.all([...writes, ...dumps])
  clearInterval(timer)
  t.ok(turns > 3, `the event loop went round in between (${turns} times)`)
  t.equal((await netlink.routes.list({ protocol: 99 })).length, specs.length)
  await Promise.all(specs.map((spec) => netlink.routes.delete(spec)))
  t.equal((await netlink.routes.list({ protocol: 99 })).length, 0)
})

t.test('a request can be aborted, and a closed connection says so', async (t) => {
  const { netlink, path } = makeNamespace(t)
  await t.rejects(netlink.links.list(AbortSignal.abort()), { name: 'AbortError' })
  const abort = new AbortController()
  const listing = netlink.links.list(abort.signal)
  abort.abort()
  await t.rejects(listing, { name: 'AbortError' })
  t.equal((await netlink.links.list()).length, 1, 'the connection goes on')
  const early = new AbortController()
  const creating = netlink.links.create({ kind: 'bridge', name: 'br0' }, early.signal)
  early.abort()
  await t.rejects(creating, { name: 'AbortError' })
  t.equal(await netlink.links.get('br0'), undefined, 'what was aborted in time was never sent')

  const closing = new Netlink({ namespacePath: path })
  const pending = closing.links.list()
  closing.close()
  closing.close()
  await t.rejects(pending, { code: 'CLOSED', message: /^list links/ })
  await t.rejects(closing.links.list(), { code: 'CLOSED' })
  t.throws(() => new Netlink({ namespacePath: '/run/netns/nowhere' }), { code: 'ENOENT' })
})

t.test('a listing ends when its caller has enough', async (t) => {
  const tired = new Netlink()
  t.teardown(() => tired.close())
  const seen: string[] = []
  const listing = tired.links.list(undefined, ({ name }) => {
    seen.push(name)
    throw new RangeError('enough')
  })
  await t.rejects(listing, { name: 'RangeError', message: 'enough' })
  t.equal(seen.length, 1)
})

t.test('an idle connection does not keep the process running', async (t) => {
  const entry = new URL('../../../../src/sys/node-netlink/netlink.ts', import.meta.url).href
  const program = `
    const { Netlink } = await import('${entry}')
    const links = await new Netlink().links.list()
    console.log(links.some((link) => link.name === 'lo'))`
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', program], {
    timeout: 5000,
    encoding: 'utf8',
  })
  t.equal(output.trim(), 'true')
})
