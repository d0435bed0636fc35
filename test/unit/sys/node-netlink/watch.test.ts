// Events from the real kernel.

import { execFileSync } from 'node:child_process'
import { setTimeout } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import type { NetlinkEvent, Watch } from '../../../../src/sys/node-netlink/watch.ts'
import { makeNamespace, makeVeth } from './namespace.ts'

/** The next event that `isWanted`; the kernel tells much besides. */
async function next(
  events: AsyncIterator<NetlinkEvent>,
  isWanted: (event: NetlinkEvent) => boolean,
): Promise<NetlinkEvent> {
  for (;;) {
    const { value, done } = await events.next()
    if (done) throw new Error('the watch ended early')
    if (isWanted(value)) return value
  }
}

t.test('each group tells of its changes', async (t) => {
  const { netlink, name } = makeNamespace(t)
  const watch = netlink.watch({ groups: ['links', 'queues', 'addresses', 'routes', 'neighbours', 'rules'] })
  t.teardown(() => watch.close())
  const events = watch[Symbol.asyncIterator]()
  const index = await makeVeth(netlink)
  t.match(await next(events, (event) => event.kind === 'link' && event.link.name === 'near'), {
    isDeleted: false,
    link: { kind: 'veth', index },
  })
  t.match(
    await next(events, (event) => event.kind === 'address' && event.address.address === '10.9.0.1/24'),
    { isDeleted: false, address: { index } },
  )
  for (const [destination, gateway] of [
    ['10.50.0.0/16', '10.9.0.2'],
    ['fd50::/48', 'fd09::2'],
  ] as const) {
    const spec = { destination, nextHops: [{ gateway, index }] }
    await netlink.routes.add(spec)
    await netlink.routes.delete(spec)
    const isIt = (event: NetlinkEvent) => event.kind === 'route' && event.route.destination === destination
    t.match(await next(events, isIt), { isDeleted: false, route: { nextHops: [{ gateway, index }] } })
    t.match(await next(events, isIt), { isDeleted: true })
  }
  await netlink.neighbours.add({ index, address: '10.9.0.7', mac: '02:00:00:00:00:07' })
  t.match(
    await next(events, (event) => event.kind === 'neighbour' && event.neighbour.address === '10.9.0.7'),
    { isDeleted: false, neighbour: { mac: '02:00:00:00:00:07' } },
  )
  await netlink.rules.add({ family: 'ipv6', priority: 50, table: 9 })
  t.match(await next(events, (event) => event.kind === 'rule'), { rule: { priority: 50, table: 9 } })
  execFileSync('tc', ['-n', name, 'qdisc', 'add', 'dev', 'near', 'root', 'pfifo'])
  t.match(await next(events, (event) => event.kind === 'queue'), { index })
  t.match(await netlink.links.get('near'), { queueing: 'pfifo' })
  await netlink.links.delete('far')
  t.match(await next(events, (event) => event.kind === 'link' && event.isDeleted), { link: { kind: 'veth' } })
})

t.test('a port that leaves its bridge is no deleted link', async (t) => {
  const { netlink } = makeNamespace(t)
  await makeVeth(netlink)
  await netlink.links.create({ kind: 'bridge', name: 'br0' })
  const master = (await netlink.links.get('br0'))?.index ?? 0
  await netlink.links.change('near', { master })
  const watch = netlink.watch({ groups: ['links'] })
  t.teardown(() => watch.close())
  await netlink.links.change('near', { master: null })
  await netlink.links.change('near', { alias: 'the end' })
  const events = watch[Symbol.asyncIterator]()
  await next(events, (event) => {
    t.notOk(event.kind === 'link' && event.isDeleted, 'nothing is reported as deleted')
    return event.kind === 'link' && event.link.alias === 'the end'
  })
})

t.test('a burst during a stall of the event loop arrives whole', async (t) => {
  const { netlink } = makeNamespace(t)
  const index = await makeVeth(netlink)
  const watch = netlink.watch({ groups: ['routes'] })
  t.teardown(() => watch.close())
  const count = 4000
  await writeRoutes(netlink, index, count)
  let seen = 0
  const isLast = () => ++seen === count
  const events = watch[Symbol.asyncIterator]()
  await next(events, (event) => event.kind === 'route' && event.route.protocol === 99 && isLast())
  t.equal(seen, count)
})

t.test('a reader that falls behind is told to list again', async (t) => {
  const { netlink } = makeNamespace(t)
  const index = await makeVeth(netlink)
  const watch = netlink.watch({ groups: ['routes'], eventsMax: 100 })
  t.teardown(() => watch.close())
  await writeRoutes(netlink, index, 500)
  const events = watch[Symbol.asyncIterator]()
  t.match(await next(events, (event) => event.kind === 'overrun'), { kind: 'overrun' })
  await netlink.routes.add({ destination: '10.250.0.0/16', nextHops: [{ index }] })
  const event = await next(events, (one) => one.kind === 'route' && one.route.destination === '10.250.0.0/16')
  t.match(event, { isDeleted: false }, 'events go on afterwards')
})

t.test('events lost in the kernel are told as an overrun', async (t) => {
  const { netlink } = makeNamespace(t)
  const index = await makeVeth(netlink)
  const watch = netlink.watch({ groups: ['routes'], receiveQueueBytes: 16 << 10 })
  t.teardown(() => watch.close())
  await writeRoutes(netlink, index, 2000)
  const events = watch[Symbol.asyncIterator]()
  t.match(await next(events, (event) => event.kind === 'overrun'), { kind: 'overrun' })
  await netlink.routes.add({ destination: '10.250.0.0/16', nextHops: [{ index }] })
  await next(events, (event) => event.kind === 'route' && event.route.destination === '10.250.0.0/16')
})

t.test('a watch that only its iterator holds survives garbage collection', async (t) => {
  const { netlink } = makeNamespace(t)
  const events = netlink.watch({ groups: ['links'] })[Symbol.asyncIterator]()
  const event = events.next()
  setFlagsFromString('--expose_gc')
  const collectGarbage = runInNewContext('gc')
  for (let i = 0; i < 5; i++) {
    collectGarbage()
    await setTimeout(5)
  }
  await netlink.links.create({ kind: 'bridge', name: 'br0' })
  t.match(await event, { value: { kind: 'link' } })
  await events.return?.(undefined)
})

t.test('a watch ends by close, by abort and by break', async (t) => {
  const { netlink } = makeNamespace(t)
  const collect = async (watch: Watch) => {
    const kinds: string[] = []
    for await (const event of watch) kinds.push(event.kind)
    return kinds
  }
  const closed = netlink.watch({ groups: ['links'] })
  await netlink.links.create({ kind: 'bridge', name: 'br0' })
  const seen: string[] = []
  for await (const event of closed) {
    seen.push(event.kind)
    closed.close()
  }
  t.ok(seen.length > 0 && seen.every((kind) => kind === 'link'))

  const abort = new AbortController()
  const aborted = collect(netlink.watch({ groups: ['links'], signal: abort.signal }))
  abort.abort()
  t.same(await aborted, [])
  t.same(await collect(netlink.watch({ groups: ['links'], signal: AbortSignal.abort() })), [])

  const broken = netlink.watch({ groups: ['links'] })
  await netlink.links.create({ kind: 'bridge', name: 'br1' })
  for await (const event of broken) {
    t.equal(event.kind, 'link')
    break
  }
  t.same(await collect(broken), [], 'a break closes it')
})

async function writeRoutes(
  netlink: ReturnType<typeof makeNamespace>['netlink'],
  index: number,
  count: number,
): Promise<void> {
  const write = (_: unknown, i: number) =>
    netlink.routes.add({
      destination: `10.${100 + (i >> 8)}.${i & 255}.0/24`,
      protocol: 99,
      nextHops: [{ gateway: '10.9.0.2', index }],
    })
  await Promise.all(Array.from({ length: count }, write))
}
