// Two nodes of Weir that watch each other over a veth, with real packets: neither router nor daemon. The programs only answer, so of two
// such neighbours one must be awake; and what the agent itself sends is seen here to be believed.

import { execFileSync, spawnSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Bfd, type BfdPeer } from '../../src/agent/bfd.ts'
import { findBfdPlace } from '../../src/agent/bfd-place.ts'
import { BfdSender } from '../../src/agent/bfd-sender.ts'
import { BfdSessions } from '../../src/datapath/bfd-sessions.ts'
import { datapathTables } from '../../src/datapath/maps.ts'
import { address, type Family } from '../../src/model/address.ts'
import { attachXdp } from '../../src/sys/libbpf-ts/index.ts'
import { withNetworkNamespace } from '../../src/sys/libc/namespaces.ts'
import { Netlink } from '../../src/sys/node-netlink/netlink.ts'
import { deleteOrphans } from './orphans.ts'
import { World } from './world.ts'

const INTERVAL_MS = 300
/** One and a half seconds: a busy machine must not look like a silent neighbour. */
const MULTIPLIER = 5
const SOON_MS = 15_000

t.setTimeout(300_000)

deleteOrphans('bfdpair')

const ip = (...args: string[]) => execFileSync('ip', args, { encoding: 'utf8' })

type Kind = Family | 'unnumbered'

const ADDRESSES: Readonly<Record<Family, readonly [string, string]>> = {
  ipv4: ['10.9.9.0/31', '10.9.9.1/31'],
  ipv6: ['fd09::/127', 'fd09::1/127'],
}

/** One end: its programs on the link, and what an agent does. */
class End {
  readonly sessions: BfdSessions
  readonly log: string[] = []
  readonly #namespace: string
  readonly #world: World
  readonly #netlink: Netlink
  readonly #sender = new BfdSender()
  readonly #link: { close(): void }
  #bfd: Bfd | undefined
  #peers: readonly BfdPeer[] = []

  constructor(namespace: string, world: World, netlink: Netlink, ifindex: number) {
    this.#namespace = `/run/netns/${namespace}`
    this.#world = world
    this.#netlink = netlink
    this.#link = this.#inside(() => attachXdp(world.datapath.uplink.xdp, ifindex, 'native'))
    let number = ifindex * 1000
    this.sessions = new BfdSessions(datapathTables((name) => world.map(name)).bfd, () => ++number)
  }

  want(peers: readonly BfdPeer[]): void {
    this.#peers = peers
  }

  wake(): void {
    const say = (details: object, message: string) =>
      void this.log.push(`${message} ${JSON.stringify(details)}`)
    this.#bfd = new Bfd({
      sessions: this.sessions,
      findPlace: (peer) => findBfdPlace(this.#netlink, peer),
      send: (packet, peer, ifindex) => this.#inside(() => this.#sender.send(packet, peer, ifindex)),
      gateways: () => [],
      linkNames: () => new Map([2, 3, 4, 5].map((index) => [index, 'up0'])),
      wanted: () => ({ peers: this.#peers, areAll: true }),
      bgpSessions: () => new Map(),
      onChange: () => {},
      onReleased: () => {},
      log: { info: say, warn: say, debug: say } as never,
      nowNs: () => process.hrtime.bigint(),
    })
  }

  async sleep(): Promise<void> {
    await this.#bfd?.close()
  }

  states(): string[] {
    return this.sessions.entries.map(
      (entry) => ['admin-down', 'down', 'init', 'up'][this.sessions.state(entry).state] ?? '',
    )
  }

  get downs(): number {
    return this.sessions.entries.reduce((sum, entry) => sum + this.sessions.state(entry).downs, 0)
  }

  async close(): Promise<void> {
    await this.sleep()
    this.#sender.close()
    this.#link.close()
    this.#netlink.close()
    this.#world.close()
  }

  #inside<T>(act: () => T): T {
    return withNetworkNamespace(this.#namespace, act)
  }
}

async function makePair(t: Test): Promise<readonly [End, End]> {
  const names = ['a', 'b'].map((end) => `weir-t${process.pid}-bfdpair-${end}`) as [string, string]
  for (const name of names) {
    ip('netns', 'add', name)
    t.teardown(() => ip('netns', 'delete', name))
  }
  const [a, b] = names
  ip('-n', a, 'link', 'add', 'up0', 'type', 'veth', 'peer', 'up0', 'netns', b)
  const ends = await Promise.all(
    names.map(async (name, index) => {
      for (const prefixes of Object.values(ADDRESSES))
        ip(
          '-n',
          name,
          'address',
          'add',
          prefixes[index] ?? '',
          'dev',
          'up0',
          ...(prefixes[0].includes(':') ? ['nodad'] : []),
        )
      ip('-n', name, 'link', 'set', 'up0', 'up')
      const netlink = new Netlink({ namespacePath: `/run/netns/${name}` })
      const link = await netlink.links.get('up0')
      return new End(name, new World(`bfdpair-${index}`, true), netlink, link?.index ?? 0)
    }),
  )
  for (const end of ends) t.teardown(() => end.close())
  for (const name of names)
    spawnSync('nsenter', [`--net=/run/netns/${name}`, 'ping', '-n', '-c', '2', '-W', '1', 'ff02::1%up0'])
  return ends as unknown as readonly [End, End]
}

function peerOf(kind: Kind, end: number): BfdPeer {
  const family = kind === 'unnumbered' ? 'ipv6' : kind
  const remote =
    kind === 'unnumbered'
      ? ({ kind: 'interface', interface: 'up0' } as const)
      : ({
          kind: 'address',
          address: address((ADDRESSES[family][1 - end] ?? '').split('/')[0] ?? ''),
        } as const)
  return {
    name: kind,
    remote,
    families: [family],
    timers: { holdSeconds: 9, keepaliveSeconds: 3, connectRetrySeconds: 5 },
    bfd: { intervalMs: INTERVAL_MS, multiplier: MULTIPLIER },
  }
}

async function until(t: Test, what: string, holds: () => boolean, ends: readonly End[]): Promise<void> {
  const end = Date.now() + SOON_MS
  while (!holds() && Date.now() < end) await sleep(20)
  t.ok(holds(), what, { states: ends.map((one) => one.states()), log: ends.map(({ log }) => log) })
}

t.test('two nodes watch each other', async (t) => {
  const ends = await makePair(t)
  const [a, b] = ends
  const kinds: readonly Kind[] = ['ipv4', 'ipv6', 'unnumbered']
  for (const [index, end] of ends.entries()) end.want(kinds.map((kind) => peerOf(kind, index)))
  const are = (end: End, state: string) =>
    end.states().length === kinds.length && end.states().every((one) => one === state)
  a.wake()
  b.wake()
  await until(t, 'all sessions are up', () => are(a, 'up') && are(b, 'up'), ends)
  const downs = a.downs + b.downs
  await sleep(2000)
  t.equal(a.downs + b.downs, downs, 'and stay so')
  await a.sleep()
  await sleep(3000)
  t.ok(are(a, 'up') && are(b, 'up'), 'also while one of them sleeps')
  t.equal(a.downs + b.downs, downs)
  await b.sleep()
  await until(t, 'with nobody awake there is silence', () => are(a, 'down') && are(b, 'down'), ends)
  a.wake()
  await until(t, 'one of them wakes', () => are(a, 'up') && are(b, 'up'), ends)
  a.want([])
  await until(
    t,
    'what is no longer wanted is switched off and forgotten',
    () => a.states().length === 0,
    ends,
  )
  t.ok(are(b, 'down'), 'and the neighbour has heard')
})
