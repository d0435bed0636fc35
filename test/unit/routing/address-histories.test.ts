// Random histories of Services and pools: whatever comes in whatever order, nothing is given twice but to those who may share it, nobody
// gets another address than asked for, and a leader that begins anew with what is held changes nothing.

import fc from 'fast-check'
import t from 'tap'
import { type Address, address, type Family, familyOf, type Prefix } from '../../../src/model/address.ts'
import { toSelector } from '../../../src/model/label-selector.ts'
import { type ObjectKey, objectKey } from '../../../src/model/service.ts'
import { type AddressPool, isPoolAddress, poolAccepts } from '../../../src/routing/address-pools.ts'
import { whyNotShared } from '../../../src/routing/address-sharing.ts'
import {
  type AddressClaim,
  type AddressGrant,
  AddressLedger,
} from '../../../src/routing/allocate-addresses.ts'

const BASE: AddressPool = {
  name: 'default',
  prefixes: ['203.0.113.0/30' as Prefix, '2001:db8:113::/126' as Prefix],
}
const GOLD: AddressPool = {
  name: 'gold',
  prefixes: ['198.51.100.0/30' as Prefix],
  services: toSelector({ matchLabels: { tier: 'gold' } }),
  priority: 1,
}
const SETS: readonly (readonly AddressPool[])[] = [
  [BASE, GOLD],
  [{ ...BASE, closed: 'it is disabled' }, GOLD],
  [
    { ...BASE, isOnRequest: true },
    { ...GOLD, services: undefined },
  ],
  [
    { ...BASE, prefixes: ['203.0.113.0/29' as Prefix] },
    { ...GOLD, namespaces: ['bank'] },
  ],
  [GOLD],
]
const ADDRESSES = [
  '203.0.113.1',
  '203.0.113.2',
  '203.0.113.5',
  '198.51.100.1',
  '2001:db8:113::1',
  '192.0.2.1',
]

/** Mostly the first. */
const mostly = <Value>(usual: Value, ...others: Value[]) =>
  fc.oneof({ weight: 4, arbitrary: fc.constant(usual) }, fc.constantFrom(usual, ...others))

const anyClaim = fc.record({
  index: fc.nat(6),
  isGone: mostly(false, true),
  isForeign: mostly(false, true),
  families: mostly<readonly Family[]>(['ipv4'], ['ipv4', 'ipv6'], ['ipv6'], []),
  held: fc.subarray(ADDRESSES),
  /** Most statuses say what was granted. */
  hasForgotten: mostly(false, true),
  asks: mostly<readonly string[]>([], ...ADDRESSES.map((one) => [one])),
  pool: mostly<string | undefined>(undefined, 'gold', 'default'),
  isInvalid: mostly(false, true),
  key: fc.constantFrom(undefined, undefined, 'k', 'k', 'l'),
  isOpen: fc.boolean(),
  isGold: mostly(false, true),
  port: fc.integer({ min: 80, max: 82 }),
  trafficPolicy: mostly<'Cluster' | 'Local'>('Cluster', 'Local'),
})

const anyStep = fc.record({
  claim: anyClaim,
  pools: fc.oneof({ weight: 8, arbitrary: fc.constant(undefined) }, fc.constantFrom(...SETS.keys())),
  decides: fc.boolean(),
})

type AnyClaim = typeof anyClaim extends fc.Arbitrary<infer One> ? One : never

function claimFrom(one: AnyClaim, granted: readonly Address[]): AddressClaim {
  const sharing =
    one.key === undefined
      ? undefined
      : { key: one.key, namespaces: one.isOpen ? ('all' as const) : [], pods: 'app=web' }
  return {
    service: keyOf(one),
    labels: one.isGold ? { tier: 'gold' } : {},
    families: one.isForeign ? [] : one.families,
    held: one.hasForgotten || one.isForeign ? one.held.map(address) : granted,
    wish: {
      addresses: one.isInvalid ? [] : one.asks.map(address),
      pool: one.pool,
      sharing,
      invalid: one.isInvalid ? 'no address' : undefined,
    },
    sharing,
    ports: [{ protocol: 'TCP', port: one.port }],
    trafficPolicy: one.trafficPolicy,
    isForeign: one.isForeign,
    createdMs: one.index % 3,
  }
}

const keyOf = ({ index }: AnyClaim) => objectKey(index < 4 ? 'shop' : 'bank', `s${index}`)

interface World {
  pools: readonly AddressPool[]
  readonly claims: Map<ObjectKey, AddressClaim>
  readonly grants: Map<ObjectKey, AddressGrant>
}

function play(
  steps: readonly { claim: AnyClaim; pools: number | undefined; decides: boolean }[],
  check: (world: World) => void,
) {
  const world: World = { pools: SETS[0] ?? [], claims: new Map(), grants: new Map() }
  const ledger = new AddressLedger(world.pools)
  const decide = () => {
    for (const grant of ledger.decide()) world.grants.set(grant.service, grant)
    check(world)
  }
  for (const { claim: one, pools, decides } of steps) {
    const key = keyOf(one)
    if (pools !== undefined) {
      world.pools = SETS[pools] ?? []
      ledger.setPools(world.pools)
    }
    const next = one.isGone ? undefined : claimFrom(one, world.grants.get(key)?.addresses ?? [])
    ledger.set(key, next)
    if (next) world.claims.set(key, next)
    else world.claims.delete(key)
    if (!next || next.isForeign) world.grants.delete(key)
    if (decides) decide()
  }
  decide()
}

function checkRights({ pools, claims, grants }: World): void {
  for (const { service, addresses } of grants.values()) {
    const claim = claims.get(service) as AddressClaim
    for (const one of addresses) {
      if (
        !isPoolAddress(
          pools.filter((pool) => poolAccepts(pool, claim)),
          one,
        )
      )
        throw new Error(`${one} of ${service} is from no pool for it`)
      if (!claim.families.includes(familyOf(one))) throw new Error(`${service} wanted no ${one}`)
      const asked = claim.wish?.addresses.find((other) => familyOf(other) === familyOf(one))
      if (asked !== undefined && asked !== one) throw new Error(`${service} got ${one} for ${asked}`)
      if (claim.wish?.invalid !== undefined) throw new Error(`${service} got ${one} for what cannot be read`)
      for (const other of grants.values()) {
        if (other.service === service || !other.addresses.includes(one)) continue
        const why = whyNotShared(claim, claims.get(other.service) as AddressClaim)
        if (why !== undefined) throw new Error(`${one} is both ${service}'s and ${other.service}'s: ${why}`)
      }
    }
    const wanting = claim.families.filter((family) => !addresses.some((one) => familyOf(one) === family))
    if (wanting.length > 0 && grants.get(service)?.problems.length === 0)
      throw new Error(`${service} lacks ${wanting} and is not told why`)
  }
}

/** What a new leader would decide that finds everything in status. */
function checkRestart({ pools, claims, grants }: World): void {
  const ledger = new AddressLedger(pools)
  for (const claim of claims.values())
    ledger.set(claim.service, {
      ...claim,
      held: claim.isForeign ? claim.held : (grants.get(claim.service)?.addresses ?? []),
    })
  const text = ({ service, addresses, problems }: AddressGrant) =>
    `${service} ${addresses} ${problems.map(({ reason }) => reason)}`
  const anew = ledger.decide().map(text).sort()
  const before = [...grants.values()].map(text).sort()
  if (anew.join('\n') !== before.join('\n'))
    throw new Error(`${before.join('\n')}\nbecame\n${anew.join('\n')}`)
}

t.test('however Services and pools come and go, nobody has what is not theirs', async (t) => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 40 }), (steps) => play(steps, checkRights)),
    { numRuns: 1500 },
  )
  t.pass('held for all histories tried')
})

t.test('… and whoever begins anew with what is held decides the same', async (t) => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 30 }), (steps) => play(steps, checkRestart)),
    { numRuns: 1500 },
  )
  t.pass('held for all histories tried')
})
