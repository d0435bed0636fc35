// Hostile and broken routers beside honest ones. A node's real speaker and gobgpd peer with a BIRD, an FRR, and with speakers of our own
// that send what they should not: a default route, 100 000 prefixes, our own VIPs, malformed messages of every kind. The node's kernel
// must hold nothing beyond the import filter, and the honest routers must see nothing of it: their sessions stay up, their tables
// stay as they are.

import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { GobgpClient } from '../../bgp/client/gobgp-grpc-client.ts'
import type { Address, Prefix } from '../../src/model/address.ts'
import type { BgpPeer, ImportRules } from '../../src/model/routing.ts'
import { kernelRoutes, WEIR_ROUTE_PROTOCOL } from '../../src/speaker/kernel-routes.ts'
import type { Speaker } from '../../src/speaker/speaker.ts'
import { Netlink } from '../../src/sys/node-netlink/netlink.ts'
import { ip, link, NODE_ASN, until } from '../unit/bgp/bed.ts'
import { announcement, childOf, peerOf, routingOf } from '../unit/speaker/bed.ts'
import { allowed, BIRD, FRR, peer, TwoRouters, untilUp } from '../unit/speaker/two-routers.ts'
import {
  FATAL,
  goodUpdate,
  MALFORMED,
  type MalformedCase,
  type Outcome,
  type Place,
} from './hostile/malformed.ts'
import { asPath, nextHop, origin, update, updates } from './hostile/messages.ts'
import { RawSpeaker } from './hostile/raw-speaker.ts'

const HOSTILE = 3
const HOSTILE_ASN = 64_666
const NODE_ADDRESS = '10.66.255.1'
const VIP = '203.0.113.7/32'
const FLOOD = 100_000
const IMPORTS: ImportRules = {
  prefixes: [{ prefix: '10.200.0.0/16' as Prefix, family: 'ipv4', lengthMin: 16, lengthMax: 24 }],
  maxPrefixes: 5,
}
/** gobgpd reads a message within milliseconds; what it would install is there soon after. */
const SETTLE_MS = 1_500

t.setTimeout(300_000)

const bed = new TwoRouters(t)
const netlink = new Netlink({ namespacePath: `/run/netns/${bed.node}` })
t.teardown(() => netlink.close())
const supervisor = bed.startSupervisor(bed.node)
await bed.addRouter(BIRD, honestBird())
await bed.addFrr()
const tor = bed.addLink(HOSTILE)
ip('-n', bed.node, 'addr', 'add', `${NODE_ADDRESS}/16`, 'dev', link(HOSTILE).device)
const speaker: Speaker = bed.speak({ kernelRoutes: kernelRoutes(netlink) })
speaker.setDesired([announcement(VIP), announcement('10.255.0.1/32')])

function honestBird(): string {
  return `protocol bgp node4 from node { neighbor ${link(BIRD).node4} as ${NODE_ASN}; graceful restart on;
  ipv4 { import all; export none; }; }`
}

/** A speaker at an address of its own, and the node's peer for it. */
function hostile(t: Test, address: string, imports?: ImportRules): { raw: RawSpeaker; peer: BgpPeer } {
  ip('-n', tor, 'addr', 'add', `${address}/16`, 'dev', 'to-node')
  const raw = new RawSpeaker({ namespace: tor, address, asn: HOSTILE_ASN })
  t.teardown(() => raw.close())
  const change = { asn: HOSTILE_ASN, localAddress: NODE_ADDRESS as Address, ...(imports ? { imports } : {}) }
  return { raw, peer: peerOf(address, address, change) }
}

/** Nothing that the kernel put there itself, and nothing with our number. */
function kernel(protocol?: number): string[] {
  const rows = JSON.parse(ip('-n', bed.node, '-j', 'route')) as {
    dst: string
    gateway?: string
    protocol: string
  }[]
  return rows
    .filter((row) => protocol === undefined || row.protocol === `${protocol}`)
    .map((row) => `${row.dst} ${row.gateway ?? ''}`)
    .sort()
}

/** What the honest routers see of the node, as they tell it themselves. */
interface Honest {
  readonly sessions: string
  readonly routes: readonly string[]
}

function honest(): Honest {
  const since = /^node4\s+BGP\s+\S+\s+(\S+)\s+(\S+)\s+(\S+)/m.exec(bed.bird(BIRD, 'show', 'protocols'))
  const neighbours = JSON.parse(bed.frr('show bgp neighbors json')) as Record<
    string,
    { bgpState: string; connectionsDropped: number; connectionsEstablished: number }
  >
  const frr = neighbours[link(FRR).node4]
  return {
    sessions: `${since?.slice(1).join(' ')}; ${frr?.bgpState} ${frr?.connectionsEstablished} ${frr?.connectionsDropped}`,
    routes: [BIRD, FRR].flatMap((index) =>
      ip('-n', bed.router(index), '-4', 'route', 'show', 'proto', index === BIRD ? 'bird' : 'bgp')
        .trim()
        .split('\n')
        .map((line) => line.trim()),
    ),
  }
}

/** Runs `work`, and holds what the honest routers' kernels saw against nothing at all. */
async function unseen(t: Test, work: () => Promise<void>): Promise<void> {
  const before = honest()
  monitors += 1
  const logs = [BIRD, FRR].map((index) => `monitor-${monitors}-${index}.log`)
  const children = [BIRD, FRR].map((index, at) =>
    bed.spawn(bed.router(index), ['ip', 'monitor', 'route'], logs[at]),
  )
  await work()
  for (const child of children) child.kill()
  for (const log of logs) t.equal(bed.read(log), '', "nothing happened in an honest router's kernel table")
  t.strictSame(honest().routes, before.routes)
}

let monitors = 0

/** The same, and not even the honest sessions noticed. */
async function unharmed(t: Test, work: () => Promise<void>): Promise<void> {
  const before = honest()
  const gobgpd = childOf(supervisor.pid)
  await unseen(t, work)
  t.strictSame(honest(), before, 'honest sessions are the same')
  t.equal(childOf(supervisor.pid), gobgpd, 'gobgpd is the same process')
}

const floodPrefixes = () =>
  Array.from(
    { length: FLOOD },
    (_, index) => `${20 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}.0/24`,
  )
const path = (address: string) => [...origin, ...asPath(HOSTILE_ASN), ...nextHop(address)]
/** Ours: the VIP alone, the pool around it, the loopback; and what would take all traffic. */
const STOLEN = [VIP, '203.0.113.0/24', '203.0.113.128/25', '10.255.0.1/32', '0.0.0.0/0', '0.0.0.0/1']
const INSIDE = Array.from({ length: 250 }, (_, index) => `10.200.${index}.0/24`)
const NEARBY = ['10.200.0.0/15', '10.200.3.128/25', '10.201.0.0/24']

async function problems() {
  return (await speaker.status()).problems
}

async function received(address: string): Promise<number> {
  const session = (await speaker.status()).sessions.find((one) => one.address === address)
  return (session?.families ?? []).reduce((sum, { received }) => sum + received, 0)
}

t.test('honest sessions', async (t) => {
  speaker.setRouting(routingOf([peer(BIRD), peer(FRR)]), allowed)
  await untilUp(speaker, 2)
  await until('the VIP at both', () => [BIRD, FRR].every((index) => bed.kernelRoute(index, VIP) !== ''))
  t.equal(honest().routes.length, 4)
})

t.test(
  'floods, a default route and our own VIPs: nothing beyond filter and limit, and it is said',
  async (t) => {
    const before = kernel()
    const refused = hostile(t, '10.66.1.1')
    const limited = hostile(t, '10.66.1.2', IMPORTS)
    const both = [refused, limited]
    await unharmed(t, async () => {
      speaker.setRouting(routingOf([peer(BIRD), peer(FRR), ...both.map((one) => one.peer)]), allowed)
      await until('the hostile sessions, told of the VIP', () =>
        both.every(({ raw }) => raw.updatesHeard > 0),
      )
      for (const { raw } of both) {
        const attributes = path(raw.options.address)
        raw.send(update(attributes, ...STOLEN))
        raw.send(updates(attributes, floodPrefixes()))
        raw.send(updates(attributes, [...NEARBY, ...INSIDE]))
      }
      const hasHeard = async ({ raw }: (typeof both)[number]) => (await received(raw.options.address)) > FLOOD
      await until(
        'everything was heard',
        async () => (await Promise.all(both.map(hasHeard))).every(Boolean),
        30_000,
      )
      await until('it is said', async () => (await problems()).some(({ code }) => code === 'imports-limit'))
      await sleep(SETTLE_MS)
      const learned = kernel(WEIR_ROUTE_PROTOCOL)
      t.equal(learned.length, IMPORTS.maxPrefixes)
      for (const route of learned) t.match(route, /^10\.200\.\d+\.0\/24 10\.66\.1\.2$/)
      t.strictSame(
        kernel().filter((route) => !learned.includes(route)),
        before,
      )
      t.ok(both.every(({ raw }) => raw.isUp && raw.sessions === 1))
      const told = (await problems()).filter(
        ({ code }) => code === 'imports-limit' || code === 'told-too-much',
      )
      t.match(told.map(({ code, object }) => `${code} ${object}`).sort(), [
        /imports-limit routing.peers 10.66.1.2/,
        /told-too-much routing.peers 10.66.1.1/,
        /told-too-much routing.peers 10.66.1.2/,
      ])
    })
  },
)

interface Running {
  readonly what: MalformedCase
  readonly raw: RawSpeaker
  readonly place: Place
  /** Announced in good order afterwards: does the session still work? */
  readonly later: string
  readonly imports: ImportRules | undefined
}

type IsHeld = (prefix: string, place: Place) => boolean

/** What came of a case. @param isHeld whether gobgpd holds a prefix as told by that router */
function outcomeOf({ raw, place, later }: Running, isHeld: IsHeld): Outcome | 'up, and deaf' {
  const [notification] = raw.notifications
  if (notification !== undefined) return notification as Outcome
  if (!raw.isUp || raw.sessions > 1) return 'closed'
  if (!isHeld(later, place)) return 'up, and deaf'
  return isHeld(place.prefix, place) ? 'kept' : 'withdrawn'
}

t.test('malformed messages, with imports off and on', async (t) => {
  const cases = [undefined, IMPORTS].flatMap((imports, network) =>
    MALFORMED.map((what, index) => {
      const address = `10.66.${network + 2}.${index + 1}`
      const place = { asn: HOSTILE_ASN, address, prefix: `10.200.${index + 100}.0/24` }
      return { what, place, later: `10.200.${index + 1}.0/24`, imports, ...hostile(t, address, imports) }
    }),
  )
  speaker.setRouting(routingOf([peer(BIRD), peer(FRR), ...cases.map((one) => one.peer)]), allowed)
  await until('every session', () => cases.every(({ raw }) => raw.isUp), 30_000)
  const before = kernel()
  const client = bed.openClient(t)
  const routesOf = (prefixOf: (one: Running) => string | false) =>
    cases
      .flatMap((one) => (one.imports && prefixOf(one) ? [`${prefixOf(one)} ${one.place.address}`] : []))
      .sort()
  await unharmed(t, async () => {
    for (const { raw, place } of cases) raw.send(goodUpdate(place))
    const orderly = routesOf(({ place }) => place.prefix)
    await until('what is in order is installed', () => kernel(WEIR_ROUTE_PROTOCOL).join() === orderly.join())
    for (const { raw, what, place } of cases) {
      raw.send(what.bytes(place))
      if (what.hangsUp) raw.hangUp()
    }
    // Not at once: a message that gobgpd leaves unread makes its close a reset, which may overtake the NOTIFICATION.
    await sleep(SETTLE_MS)
    for (const { raw, place, later } of cases) if (raw.isUp) raw.send(goodUpdate({ ...place, prefix: later }))
    await sleep(SETTLE_MS)
    const table = await adjIn(client, cases)
    const isHeld: IsHeld = (prefix, { address }) => table.get(address)?.has(prefix) === true
    for (const one of cases)
      t.equal(
        outcomeOf(one, isHeld),
        one.what.outcome,
        `${one.what.what}, imports ${one.imports ? 'on' : 'off'}`,
      )
    const ended = (outcome: Outcome) => !['kept', 'withdrawn'].includes(outcome)
    const after = [
      ...routesOf(({ what, place }) => what.outcome === 'kept' && place.prefix),
      ...routesOf(({ what, later }) => !ended(what.outcome) && later),
    ]
    t.strictSame(kernel(), [...before, ...after].sort(), 'of what ended, or was withdrawn, nothing is left')
    const { sessions } = await speaker.status()
    const untold = cases.filter(
      ({ what, place }) =>
        ended(what.outcome) && !sessions.find(({ address }) => address === place.address)?.lastError,
    )
    t.strictSame(
      untold.map(({ what }) => what.what),
      [],
      'why a session ended is told',
    )
  })
})

async function adjIn(client: GobgpClient, cases: readonly Running[]): Promise<Map<string, Set<string>>> {
  const rows = cases.map(async ({ place: { address } }) => {
    const table = { kind: 'adj-in', peer: { kind: 'address', address } } as const
    const routes = await client.listRoutes(table, 'ipv4').catch(() => [])
    return [address, new Set(routes.map(({ prefix }) => prefix))] as const
  })
  return new Map(await Promise.all(rows))
}

t.test('what kills gobgpd takes no route from honest routers, and is said when it goes on', async (t) => {
  for (const [index, { what, bytes }] of [...FATAL, ...FATAL.slice(0, 1)].entries()) {
    const address = `10.66.4.${index + 1}`
    const { raw, peer: bad } = hostile(t, address)
    const gobgpd = childOf(supervisor.pid)
    await unseen(t, async () => {
      speaker.setRouting(routingOf([peer(BIRD), peer(FRR), bad]), allowed)
      await until('the hostile session', () => raw.isUp)
      raw.send(bytes({ asn: HOSTILE_ASN, address, prefix: '10.200.1.0/24' }))
      await until(`${what}: another gobgpd`, () => ![undefined, gobgpd].includes(childOf(supervisor.pid)))
      speaker.setRouting(routingOf([peer(BIRD), peer(FRR)]), allowed)
      await untilUp(speaker, 2)
      await sleep(SETTLE_MS)
    })
  }
  const dies = (await problems()).filter(({ code }) => code === 'gobgpd-dies')
  t.match(dies, [{ object: 'routing.gobgp', text: /more than 2 times/ }])
})

t.test('the router that kills it each time it is back is named', async (t) => {
  const address = '10.66.4.9'
  const { raw, peer: bad } = hostile(t, address)
  speaker.setRouting(routingOf([peer(BIRD), peer(FRR), bad]), allowed)
  for (let times = 0; times < 3; times += 1) {
    await until('the hostile session', () => raw.isUp, 30_000)
    const gobgpd = childOf(supervisor.pid)
    raw.send(FATAL[0]?.bytes({ asn: HOSTILE_ASN, address, prefix: '10.200.1.0/24' }) ?? Buffer.alloc(0))
    await until('another gobgpd', () => ![undefined, gobgpd].includes(childOf(supervisor.pid)), 20_000)
  }
  await until('it is said', async () =>
    (await problems()).some(({ code, object }) => code === 'gobgpd-dies' && object === bad.source),
  )
  const dies = (await problems()).filter(({ code }) => code === 'gobgpd-dies')
  t.match(dies, [{ object: bad.source, text: /had come up: it probably sends.*Mend: take it out/ }])
  speaker.setRouting(routingOf([peer(BIRD), peer(FRR)]), allowed)
  await untilUp(speaker, 2)
})
