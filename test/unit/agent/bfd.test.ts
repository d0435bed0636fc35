// What the agent makes of BFD: which sessions there are, who is spoken to, and what routing is told.

import t from 'tap'
import { Bfd, type BfdOptions, type BfdPeer } from '../../../src/agent/bfd.ts'
import type { BfdPlace } from '../../../src/agent/bfd-place.ts'
import {
  BFD_STATE_BYTES,
  BfdSessionState,
  type BfdState,
  decodeBfdState,
} from '../../../src/datapath/abi.gen.ts'
import { BfdSessions } from '../../../src/datapath/bfd-sessions.ts'
import type { BfdKey, BfdSessionValue } from '../../../src/datapath/bfd-tables.ts'
import type { Gateway } from '../../../src/datapath/nexthop-plan.ts'
import { type Address, address, familyOf } from '../../../src/model/address.ts'
import { decodeControl } from '../../bpf/bfd-control.ts'

const { BFD_ADMIN_DOWN, BFD_DOWN, BFD_UP } = BfdSessionState
const SECOND_NS = 1_000_000_000n
const LINKS = new Map([
  [7, 'up0'],
  [8, 'up1'],
])
const PEERS: Readonly<Record<string, BfdPlace>> = {
  '10.0.0.0': { peer: address('10.0.0.0'), ifindex: 7, local: address('10.0.0.1') },
  'fd00::': { peer: address('fd00::'), ifindex: 7, local: address('fd00::1') },
  '10.0.1.0': { peer: address('10.0.1.0'), ifindex: 8, local: address('10.0.1.1') },
}

function withoutBfd({ bfd: _, ...peer }: BfdPeer): BfdPeer {
  return peer
}

function peerOf(remote: string, change: Partial<BfdPeer> = {}): BfdPeer {
  return {
    name: remote,
    remote: { kind: 'address', address: address(remote) },
    timers: { holdSeconds: 9, keepaliveSeconds: 3, connectRetrySeconds: 5 },
    families: [familyOf(address(remote))],
    bfd: { intervalMs: 300, multiplier: 3 },
    ...change,
  }
}

function bed() {
  const states = new Map<number, BfdState>()
  const rows = new Map<string, readonly [BfdKey, BfdSessionValue]>()
  const textOf = ({ peer, ifindex }: BfdKey) => `${ifindex} ${peer}`
  const blank = { ...decodeBfdState(Buffer.alloc(BFD_STATE_BYTES)), state: BFD_DOWN }
  const sessions = () =>
    new BfdSessions(
      {
        sessions: {
          entries: () => rows.values(),
          set: (key, value) => void rows.set(textOf(key), [key, value]),
          delete: (key) => void rows.delete(textOf(key)),
        },
        states: {
          length: 8,
          read: (row) => states.get(row) ?? blank,
          reset: (row) => void states.set(row, blank),
          release: () => {},
        },
      },
      () => 1 + rows.size,
    )
  const world = {
    nowNs: 100n * SECOND_NS,
    sent: [] as (readonly [Address, ReturnType<typeof decodeControl>])[],
    changes: 0,
    released: 0,
    places: new Map(Object.entries(PEERS)),
    bgp: new Map<Address, boolean>(),
    links: LINKS as ReadonlyMap<number, string>,
    wanted: { peers: [] as readonly BfdPeer[], areAll: true },
  }
  const gateway = (text: string, ifindex: number): Gateway => ({
    family: familyOf(address(text)),
    ifindex,
    address: address(text),
    mac: new Uint8Array(6),
  })
  const options = (): BfdOptions => ({
    sessions: sessions(),
    findPlace: async ({ name }) => world.places.get(name),
    send: (packet, peer) => void world.sent.push([peer, decodeControl(packet.subarray(-24))]),
    gateways: () => [gateway('10.0.0.0', 7), gateway('fd00::', 7), gateway('10.0.1.0', 8)],
    linkNames: () => world.links,
    wanted: () => world.wanted,
    bgpSessions: () => world.bgp,
    onChange: () => {
      world.changes += 1
    },
    onReleased: () => {
      world.released += 1
    },
    log: { info: () => {}, warn: () => {}, debug: () => {} },
    nowNs: () => world.nowNs,
  })
  const rowOf = (peer: string) => [...rows.values()].find(([key]) => key.peer === peer)?.[1]
  const become = (peer: string, change: Partial<BfdState>) => {
    const row = rowOf(peer)?.row ?? -1
    const before = states.get(row) ?? blank
    states.set(row, {
      ...before,
      remoteState: BFD_UP,
      changedNs: world.nowNs,
      heardNs: world.nowNs,
      ...change,
    })
  }
  const want = (peers: readonly BfdPeer[], areAll: boolean) => {
    world.wanted = { peers, areAll }
  }
  return { world, want, options, rowOf, become, rows }
}

/** Looks, with the search for neighbours in between, until a change of peers counts. */
async function look(bfd: Bfd, world: { nowNs: bigint }): Promise<void> {
  bfd.look()
  await bfd.settled()
  world.nowNs += 3n * SECOND_NS
  bfd.look()
  await bfd.settled()
  bfd.look()
}

t.test('sessions with peers that want them and are on a link', async (t) => {
  const { world, want, options, rowOf, rows } = bed()
  const bfd = new Bfd(options())
  t.teardown(() => bfd.close())
  want(
    [
      peerOf('10.0.0.0'),
      peerOf('10.0.1.0', { bfd: { intervalMs: 100, multiplier: 5 } }),
      withoutBfd(peerOf('fd00::')),
      peerOf('192.0.2.9', { multihopTtl: 3 }),
      peerOf('192.0.2.8'),
    ],
    true,
  )
  await look(bfd, world)
  t.equal(rows.size, 2)
  t.match(rowOf('10.0.0.0'), { intervalUs: 300_000, local: '10.0.0.1', governs: ['ipv4', 'ipv6'] })
  t.match(rowOf('10.0.1.0'), { intervalUs: 100_000, multiplier: 5, governs: ['ipv4'] })
  t.match(bfd.describe().at(-1), { peer: '192.0.2.8', state: 'unplaced', problem: /on no link/ })

  want([peerOf('10.0.0.0'), peerOf('fd00::')], true)
  await look(bfd, world)
  t.match(rowOf('10.0.0.0')?.governs, ['ipv4'], 'each family by its own session')
  t.match(rowOf('fd00::')?.governs, ['ipv6'])
  t.match(rowOf('10.0.1.0'), { isAdminDown: true })
  world.nowNs += 10n * SECOND_NS
  await look(bfd, world)
  t.equal(rowOf('10.0.1.0'), undefined)
  t.equal(world.released, 1)
})

t.test('a neighbour whose link is down stays where it was, after a restart too', async (t) => {
  const { world, want, options, rowOf } = bed()
  const first = new Bfd(options())
  want([peerOf('10.0.0.0')], true)
  await look(first, world)
  world.places.clear()
  first.networkChanged()
  await look(first, world)
  t.match(rowOf('10.0.0.0'), { isAdminDown: false })
  await first.close()
  const next = new Bfd(options())
  t.teardown(() => next.close())
  want([], false)
  await look(next, world)
  t.match(rowOf('10.0.0.0'), { isAdminDown: false }, 'nor is it forgotten before every source has been heard')
  want([peerOf('10.0.0.0')], true)
  await look(next, world)
  t.match(rowOf('10.0.0.0'), { isAdminDown: false, local: '10.0.0.1' })
  world.links = new Map()
  next.networkChanged()
  await look(next, world)
  t.match(rowOf('10.0.0.0'), { isAdminDown: true }, 'until the link itself is gone')
})

t.test('nothing is remembered of a session that is no more', async (t) => {
  const { world, want, options, become } = bed()
  const bfd = new Bfd(options())
  for (const remote of ['10.0.0.0', '10.0.1.0']) {
    want([peerOf(remote)], true)
    await look(bfd, world)
    become(remote, { state: BFD_UP, ups: 1 })
    bfd.look()
    t.equal(bfd.remembered, 1)
    want([], true)
    await look(bfd, world)
    for (let rests = 0; rests < 3; rests += 1) {
      world.nowNs += 60n * SECOND_NS
      bfd.look()
    }
    t.equal(bfd.remembered, 0)
  }
  await bfd.close()
})

t.test('who hears nothing is spoken to', async (t) => {
  const { world, want, options, become } = bed()
  const bfd = new Bfd(options())
  t.teardown(() => bfd.close())
  want([peerOf('10.0.0.0')], true)
  await look(bfd, world)
  bfd.look()
  t.match(world.sent, [['10.0.0.0', { state: 'down', yours: 0 }]], 'once a second')
  world.sent.length = 0
  become('10.0.0.0', { state: BFD_UP, ups: 1 })
  bfd.look()
  t.same(world.sent, [], 'not when it is up')
  become('10.0.0.0', { state: BFD_UP, toldDesiredUs: 300_000, heardNs: world.nowNs - SECOND_NS / 2n })
  bfd.look()
  t.match(
    world.sent,
    [['10.0.0.0', { state: 'up', desiredUs: 300_000 }]],
    'unless it waits for us as we do for it',
  )
  world.sent.length = 0
  become('10.0.0.0', { state: BFD_DOWN, diagnostic: 1, downs: 1, heardNs: world.nowNs - SECOND_NS * 2n })
  bfd.look()
  t.match(world.sent, [['10.0.0.0', { state: 'down', diagnostic: 1 }]], 'at once when it is lost')
  world.sent.length = 0
  want([], true)
  await look(bfd, world)
  t.match(world.sent.at(-1), ['10.0.0.0', { state: 'admin-down' }], 'and when it is no longer wanted')
})

t.test('what routing is told', async (t) => {
  const { world, want, options, become } = bed()
  const bfd = new Bfd(options())
  t.teardown(() => bfd.close())
  want([peerOf('10.0.0.0')], true)
  await look(bfd, world)
  const told = () => {
    bfd.look()
    return bfd.neighbours.get(address('10.0.0.0'))
  }
  t.equal(told(), undefined, 'never up: the router may not speak BFD')
  const before = world.changes
  become('10.0.0.0', { state: BFD_UP, ups: 1, remoteState: BFD_UP })
  t.equal(told(), true)
  t.equal(world.changes, before + 1)
  t.equal(told(), true)
  t.equal(world.changes, before + 1, 'told once')
  t.equal(bfd.isGatewayUp({ address: address('10.0.0.0'), ifindex: 7 }), true)
  t.equal(bfd.isGatewayUp({ address: address('10.0.0.0'), ifindex: 8 }), undefined)
  become('10.0.0.0', { state: BFD_DOWN, downs: 1, diagnostic: 1, remoteState: BFD_UP })
  t.equal(told(), false, 'silent')
  become('10.0.0.0', { state: BFD_DOWN, diagnostic: 3, remoteState: BFD_DOWN, remoteDiagnostic: 1 })
  t.equal(told(), false, 'it does not hear us')
  become('10.0.0.0', { state: BFD_DOWN, diagnostic: 3, remoteState: BFD_DOWN, remoteDiagnostic: 0 })
  t.equal(told(), undefined, 'it begins anew')
  become('10.0.0.0', { state: BFD_DOWN, diagnostic: 3, remoteState: BFD_DOWN, remoteDiagnostic: 7 })
  t.equal(told(), undefined, 'so it says too')
  become('10.0.0.0', { state: BFD_DOWN, diagnostic: 3, remoteState: BFD_ADMIN_DOWN, remoteDiagnostic: 7 })
  t.equal(told(), undefined, 'it was switched off there')
  become('10.0.0.0', { state: BFD_DOWN, diagnostic: 1, remoteState: BFD_UP })
  world.bgp.set(address('10.0.0.0'), true)
  t.equal(told(), false, 'BGP does not know yet')
  world.nowNs += 20n * SECOND_NS
  t.equal(told(), undefined, 'BGP lives on without it')
})
