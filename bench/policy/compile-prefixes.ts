// What many prefixes cost the compiler: all of them at once, and one more. Processor time, the collector's threads in it.
//
//   node bench/policy/compile-prefixes.ts [--prefixes 24000] [--changes 20]

import { parseArgs } from 'node:util'
import { addressFromNumber, type Prefix, parsePrefix } from '../../src/model/address.ts'
import type { Policy, PolicyPeer } from '../../src/model/policy.ts'
import { policyId, type WorldChange, wholeWorld } from '../../src/policy/compile/objects.ts'
import { percentiles } from '../control/percentiles.ts'
import { BENCH_NODE, benchCompiler, benchPolicy, benchWorld } from './cluster.ts'

const { values } = parseArgs({
  options: { prefixes: { type: 'string', default: '24000' }, changes: { type: 'string', default: '20' } },
})
const count = Number(values.prefixes)
const PEERS_OF_POLICY = 4
/** Small, for these are not what is looked at. */
const SIZE = { identities: 500, policies: 50, podsPerNode: 110 }
const FIRST = 0x64_40_00_00n

/** Blocks of four addresses, side by side. */
const prefixes = Array.from({ length: count + 1 }, (_, index) => prefixAt(FIRST + BigInt(index) * 4n))

function prefixAt(first: bigint): Prefix {
  const prefix = parsePrefix(`${addressFromNumber('ipv4', first)}/30`)
  if (prefix === undefined) throw new Error(`no block begins at ${first}`)
  return prefix
}

const network = (prefix: Prefix, except: readonly Prefix[] = []): PolicyPeer => ({
  kind: 'networks',
  ...{ prefix, except, covers: 'outside' },
})

function policyOf(key: string, peers: readonly PolicyPeer[]): Policy {
  const rule = { action: 'allow' as const, path: 'spec.ingress[0]', peers, ports: 'any' as const }
  return {
    ...benchPolicy(0),
    key: `team-0/${key}`,
    ingress: { isolates: true, rules: [rule] },
    egress: undefined,
  }
}

const put = (...policies: readonly Policy[]): WorldChange => ({
  policies: new Map(policies.map((policy) => [policyId(policy), policy])),
})
const groupOf = (held: readonly Prefix[]): WorldChange => ({
  networkGroups: new Map([['many', { name: 'many', labels: {}, prefixes: held }]]),
})
const grouped: PolicyPeer = {
  kind: 'network-groups',
  ...{ groups: { name: 'many' }, except: [], covers: 'outside' },
}

/** How so many of the prefixes are put. */
const KINDS: Readonly<Record<string, (held: readonly Prefix[], isFirst: boolean) => WorldChange>> = {
  'in one rule': (held) =>
    put(
      policyOf(
        'many',
        held.map((prefix) => network(prefix)),
      ),
    ),
  'in one group': (held, isFirst) => ({
    ...groupOf(held),
    ...(isFirst ? put(policyOf('many', [grouped])) : {}),
  }),
  'except them': (held) => put(policyOf('many', [network('0.0.0.0/0' as Prefix, held)])),
  [`by ${PEERS_OF_POLICY} in policies`]: (held, isFirst) => {
    const policies: Policy[] = []
    for (let first = isFirst ? 0 : held.length - 1; first < held.length; first += PEERS_OF_POLICY) {
      const own = held.slice(first, first + PEERS_OF_POLICY)
      policies.push(
        policyOf(
          `many-${first}`,
          own.map((prefix) => network(prefix)),
        ),
      )
    }
    return put(...policies)
  },
}

for (const [kind, make] of Object.entries(KINDS)) {
  const compiler = benchCompiler(BENCH_NODE)
  let clock = 0
  const millisecondsOf = (change: WorldChange): number => {
    clock += 1000
    const from = process.cpuUsage()
    compiler.apply(change, clock)
    const { user, system } = process.cpuUsage(from)
    return (user + system) / 1000
  }
  millisecondsOf(wholeWorld(benchWorld(SIZE)))
  const all = millisecondsOf(make(prefixes.slice(0, count), true))
  const more = Array.from({ length: Number(values.changes) }, (_, index) =>
    millisecondsOf(make(prefixes.slice(0, count + ((index + 1) % 2)), false)),
  )
  const { p50, max } = percentiles(more)
  process.stdout.write(
    `${count} prefixes ${kind}: ${all.toFixed(0)} ms; one more, or less: p50 ${p50.toFixed(1)}, most ${max.toFixed(1)} ms; ${JSON.stringify(compiler.size())}\n`,
  )
}
