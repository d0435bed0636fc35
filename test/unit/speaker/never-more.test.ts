// A property: whatever changes, in whatever order, no peer ever has a prefix, or attributes of it, that neither what was wanted before nor
// what is wanted now gives it; and in the end each has exactly what is wanted. Against a model of gobgpd with its faults.

import t from 'tap'
import type { Address, Prefix } from '../../../src/model/address.ts'
import type { Announcement } from '../../../src/model/announcement.ts'
import type { DrainMark, NodeRouting, PeerExport } from '../../../src/model/routing.ts'
import { DaemonMirror, type Wanted } from '../../../src/speaker/daemon-mirror.ts'
import { NO_LINKS } from '../../../src/speaker/links.ts'
import { attributes, exported, peerOf, routingOf } from './bed.ts'
import { type Dice, dice } from './dice.ts'
import { describe, GobgpdModel } from './gobgpd-model.ts'

const RUNS = 100
const STEPS = 12
const NAMES = ['a', 'b', 'c', 'd']
const PREFIXES = ['203.0.113.1/32', '203.0.113.2/32', '203.0.113.3/32', '2001:db8:113::1/128']
const ALLOWED = [
  { prefix: '203.0.113.0/24' as Prefix, family: 'ipv4' as const, lengthMin: 32, lengthMax: 32 },
  { prefix: '2001:db8:113::/112' as Prefix, family: 'ipv6' as const, lengthMin: 128, lengthMax: 128 },
]

function randomRouting({ below, chance }: Dice): NodeRouting {
  const names = NAMES.filter(() => chance(0.7))
  // Now and then a name moves to another address.
  const offset = chance(0.2) ? 10 : 0
  return routingOf(
    names.map((name) =>
      peerOf(name, `10.0.0.${NAMES.indexOf(name) + 1 + (name === 'a' ? offset : 0)}` as Address, {
        families: ['ipv4', 'ipv6'],
        asn: name === 'd' ? 65101 : 65001 + below(2),
      }),
    ),
  )
}

function randomAnnouncements({ below, chance }: Dice): Announcement[] {
  return PREFIXES.filter(() => chance(0.7)).map((prefix) => {
    if (chance(0.15)) return exported(prefix, [])
    const groups: string[][] = [[], [], []]
    for (const name of NAMES) groups[below(3)]?.push(name)
    const some = () => ['65101:1', '65101:2', '65101:3'].filter(() => chance(0.4))
    const exports: PeerExport[] = groups.slice(1).map((peers) => ({
      peers,
      attributes: attributes({
        communities: some(),
        largeCommunities: chance(0.3) ? ['65101:7:7'] : [],
        ...(chance(0.4) ? { med: below(3) } : {}),
        prepend: below(2),
      }),
    }))
    return exported(prefix, exports)
  })
}

/** What each address should see: address → prefix → text. */
function expected({ routing, drain, accepted }: Wanted): Map<string, Map<string, string>> {
  const all = new Map<string, Map<string, string>>()
  for (const { name, remote, asn } of routing.peers) {
    const sees = new Map<string, string>()
    for (const { prefix, exports = [] } of accepted.values()) {
      const mine = exports.find(({ peers }) => peers.includes(name))?.attributes
      if (!mine) continue
      const isInternal = asn === routing.asn
      const text = describe({
        communities: [...mine.communities, ...(drain?.communities ?? [])],
        largeCommunities: mine.largeCommunities,
        med: drain?.med ?? mine.med,
        prepend: isInternal ? 0 : mine.prepend + (drain?.prepend ?? 0),
      })
      sees.set(prefix, text)
    }
    all.set(remote.kind === 'address' ? remote.address : '', sees)
  }
  return all
}

const asText = (all: ReadonlyMap<string, ReadonlyMap<string, string>>) =>
  [...all].map(([address, sees]) => `${address}: ${[...sees].sort().join('; ')}`).sort()

async function run(seed: number): Promise<string | undefined> {
  const random = dice(seed)
  const model = new GobgpdModel()
  const open = () =>
    new DaemonMirror({
      client: model.client(),
      target: 'model',
      host: 'own',
      readPassword: async () => '',
      // IPv6 over the IPv4 sessions has a next hop.
      readLinks: async () => ({ ...NO_LINKS, ownAddress: () => 'fd00::1' as Address }),
      nowMs: () => 0,
    })
  let mirror = open()
  let before = new Map<string, Map<string, string>>()
  let wanted: Wanted = {
    routing: randomRouting(random),
    allowed: ALLOWED,
    drain: undefined,
    accepted: new Map(),
  }
  const log: string[] = []
  for (let step = 0; step < STEPS; step += 1) {
    const accepted = new Map(randomAnnouncements(random).map((row) => [row.prefix, row]))
    const isNewRouting = random.chance(0.3)
    const drain: DrainMark | undefined = random.chance(0.3)
      ? { communities: ['65535:0'], prepend: 1, ...(random.chance(0.5) ? { med: 99 } : {}) }
      : undefined
    const isNewDrain = JSON.stringify(drain) !== JSON.stringify(wanted.drain)
    const last = wanted
    wanted = { ...last, accepted, drain, routing: isNewRouting ? randomRouting(random) : last.routing }
    const after = expected(wanted)
    const between = [
      { ...last, drain },
      { ...wanted, drain: last.drain },
    ].map(expected)
    let wrong: string | undefined
    model.onStep = (call) => {
      log.push(call)
      for (const [address, sees] of model.sent)
        for (const [prefix, text] of sees) {
          const may = [before, after, ...between].map((all) => all.get(address)?.get(prefix))
          if (!may.includes(text))
            wrong ??= `seed ${seed} step ${step} after ${call}: ${address} has ${prefix} ${text}`
        }
    }
    const changed = new Set<Prefix>([...last.accepted.keys(), ...accepted.keys()])
    if (random.chance(0.2)) mirror = open()
    const mayTrust = random.chance(0.5)
    if (isNewRouting || !mirror.installed)
      await mirror.bringAll(wanted, { onDaemon: () => {}, mayTrust, changed })
    else {
      if (isNewDrain) await mirror.bringPolicy(wanted)
      await mirror.bringPaths(changed, wanted)
    }
    if (wrong !== undefined) return wrong
    const [is, should] = [asText(model.sent), asText(after)]
    if (is.join() !== should.join())
      return `seed ${seed} step ${step}: ${is.join(' / ')} where ${should.join(' / ')} should be\n${log.join(' ')}`
    before = after
  }
  await mirror.bringAll(wanted, { onDaemon: () => {}, mayTrust: false, changed: new Set() })
  if (model.policyCount > 2) return `seed ${seed}: ${model.policyCount} policies are left`
  return undefined
}

t.test('never more than what was, or is, wanted; in the end exactly that', async (t) => {
  const failures: string[] = []
  for (let seed = 1; seed <= RUNS; seed += 1) {
    const failure = await run(seed)
    if (failure !== undefined) failures.push(failure)
  }
  t.strictSame(failures.slice(0, 3), [])
})
