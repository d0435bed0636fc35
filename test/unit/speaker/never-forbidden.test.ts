// A property: whatever configuration follows which, no router is ever told what the rules in force forbid it. Peers take each other's names
// and addresses, come back, and are given less; changes take their turn. From rules to gobgpd, which is a model with its faults.

import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Routing } from '../../../src/agent/routing.ts'
import type { ServedService } from '../../../src/agent/service-loop.ts'
import { type Address, address, FAMILIES } from '../../../src/model/address.ts'
import type { AnnounceRule, BgpPeer, NodeRouting } from '../../../src/model/routing.ts'
import { objectKey } from '../../../src/model/service.ts'
import { exportsOf } from '../../../src/routing/exports.ts'
import { createSpeaker } from '../../../src/speaker/speaker.ts'
import { serviceRow } from '../model/rows.ts'
import { rule } from '../routing/beds.ts'
import { attributes, cidr, peerOf, routingOf } from './bed.ts'
import { type Dice, dice } from './dice.ts'
import { describe, GobgpdModel } from './gobgpd-model.ts'

const RUNS = 60
const STEPS = 10
const NAMES = ['a', 'b', 'c']
/** More than names, so that some are out of use. */
const ADDRESSES = ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4']
const TIERS = ['gold', 'silver', 'lead']
const POOL = { name: 'default', prefixes: [cidr('203.0.113.0/24')] }
const LOOPBACK = cidr('10.255.0.1/32')
const TWO = { anywhere: 2, here: 1 }

const SERVED: readonly ServedService[] = TIERS.map((tier, index) => {
  const vip = address(`203.0.113.${index + 1}`)
  const service = serviceRow({
    key: objectKey('shop', tier),
    labels: { tier },
    clusterIps: [address(`10.96.0.${index + 1}`)],
    loadBalancerIps: [vip],
  })
  return {
    service,
    held: [vip],
    usable: TWO,
    servable: { ipv4: TWO, ipv6: TWO },
    problems: [],
    foundRoom: true,
  }
})

function randomPeers({ below, chance }: Dice): BgpPeer[] {
  const free = [...ADDRESSES]
  return NAMES.filter(() => chance(0.8)).map((name) => {
    const [at = ''] = free.splice(below(free.length), 1)
    return peerOf(name, at as Address, { asn: 65001 + below(2) })
  })
}

function randomRule({ below, chance }: Dice): AnnounceRule {
  const values = TIERS.filter(() => chance(0.6))
  return rule({
    kinds: chance(0.3) ? ['loopback', 'load-balancer-ip'] : ['load-balancer-ip'],
    ...(chance(0.8) ? { peers: NAMES.filter(() => chance(0.5)) } : {}),
    services: { requirements: [{ key: 'tier', operator: 'In', values }] },
    attributes: attributes({
      communities: chance(0.5) ? [`65101:${below(3)}`] : [],
      ...(chance(0.3) ? { med: below(3) } : {}),
    }),
  })
}

function randomRouting(random: Dice, changesPerSecond: number): NodeRouting {
  const rules = Array.from({ length: 1 + random.below(3) }, () => randomRule(random))
  return routingOf(randomPeers(random), {
    loopbacks: [LOOPBACK],
    rules,
    limits: { announcementsMax: 100, changesPerSecond },
  })
}

/** What the rules give to each address: address → prefix → text. */
function given(routing: NodeRouting): Map<string, Map<string, string>> {
  const all = new Map<string, Map<string, string>>(
    routing.peers.map(({ remote }) => [remote.kind === 'address' ? remote.address : '', new Map()]),
  )
  const subjects = [
    { prefix: LOOPBACK, kinds: ['loopback' as const], pool: undefined, service: undefined },
    ...SERVED.map(({ service }) => ({
      prefix: cidr(`${service.loadBalancerIps[0]}/32`),
      kinds: ['load-balancer-ip' as const],
      pool: POOL.name,
      service,
    })),
  ]
  for (const { prefix, ...subject } of subjects)
    for (const { peers, attributes: set } of exportsOf(routing, [{ ...subject, family: 'ipv4' }]))
      for (const { name, remote } of routing.peers)
        if (peers.includes(name) && remote.kind === 'address')
          all.get(remote.address)?.set(prefix, describe({ ...set, med: set.med }))
  return all
}

type Sent = ReadonlyMap<string, ReadonlyMap<string, string>>

const copyOf = (sent: Sent) => new Map([...sent].map(([at, sees]) => [at, new Map(sees)]))
const asText = (all: Sent) => [...all].map(([at, sees]) => `${at}: ${[...sees].sort().join('; ')}`).sort()

async function run(seed: number, changesPerSecond: number): Promise<string | undefined> {
  const random = dice(seed)
  const model = new GobgpdModel()
  let nowMs = 0
  const log = { info: () => {}, warn: () => {}, error: () => {} }
  const routing = new Routing({
    speaker: createSpeaker({
      gobgpSocket: 'model',
      openClient: () => model.client(),
      log,
      nowMs: () => nowMs,
    }),
    log,
    events: { record: () => {} },
    served: () => new Set(FAMILIES),
    node: () => undefined,
    nowMs: () => nowMs,
  })
  const settled = async () => {
    while (!routing.isInForce) await sleep(1)
  }
  try {
    await routing.update(new Map(SERVED.map((one) => [one.service.key, one])))
    let wanted = given(randomRouting(random, changesPerSecond))
    for (let step = 0; step < STEPS; step += 1) {
      const next = randomRouting(random, changesPerSecond)
      const before = copyOf(model.sent)
      wanted = given(next)
      let wrong: string | undefined
      model.onStep = (call) => {
        for (const [at, sees] of model.sent)
          for (const [prefix, text] of sees)
            if (before.get(at)?.get(prefix) !== text && wanted.get(at)?.get(prefix) !== text)
              wrong ??= `seed ${seed} step ${step} after ${call}: ${at} has ${prefix} ${text}`
      }
      routing.setRouting(next, [POOL])
      await settled()
      if (wrong !== undefined) return wrong
      for (const [at, sees] of model.sent)
        for (const prefix of sees.keys())
          if (!wanted.get(at)?.has(prefix))
            return `seed ${seed} step ${step}: ${at} still has ${prefix}, which is not for it any more`
      nowMs += random.chance(0.5) ? 500 : 5_000
    }
    // Time for everybody's turn.
    for (let turns = 0; turns < 20; turns += 1) {
      nowMs += 1_000
      await routing.update(new Map())
    }
    await settled()
    const [is, should] = [asText(model.sent), asText(wanted)]
    return is.join() === should.join()
      ? undefined
      : `seed ${seed}: ${is.join(' / ')} where ${should.join(' / ')} should be`
  } finally {
    await routing.close()
  }
}

for (const changesPerSecond of [1_000, 1])
  t.test(`${changesPerSecond} changes a second`, async (t) => {
    const failures: string[] = []
    for (let seed = 1; seed <= RUNS; seed += 1) {
      const failure = await run(seed, changesPerSecond)
      if (failure !== undefined) failures.push(failure)
    }
    t.strictSame(failures.slice(0, 3), [])
  })
