// The allocator's writes, against an API server that refuses some of them.

import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import t from 'tap'
import { AddressAllocator } from '../../../src/agent/address-allocator.ts'
import type { KubeClient, ObjectPath } from '../../../src/kube/client.ts'
import { KubeError } from '../../../src/kube/errors.ts'
import { ALLOCATED } from '../../../src/kube/service-addressing.ts'
import { address, type Prefix } from '../../../src/model/address.ts'
import { type AddressWish, objectKey, type Service } from '../../../src/model/service.ts'
import type { AddressPool } from '../../../src/routing/address-pools.ts'
import { Table } from '../../../src/tables/table.ts'
import { until } from '../kube/fake-server.ts'
import { serviceRow } from '../model/rows.ts'

const settle = () => sleep(150)
const wish = (change: Partial<AddressWish>): AddressWish => ({
  ...{ addresses: [], pool: undefined, sharing: undefined, invalid: undefined },
  ...change,
})

/** Grants the Lease to whoever asks, and takes status patches but of Services named `refused`. */
function clientThat(patched: (name: string, patch?: unknown) => void): KubeClient {
  const lease = async () => ({})
  return {
    get: async () => {
      throw new KubeError('not-found', 'no Lease yet')
    },
    create: lease,
    update: lease,
    patch: async (_: unknown, { name = '' }: ObjectPath, patch: unknown) => {
      patched(name, patch)
      if (name === 'refused') throw new KubeError('forbidden', `an admission policy minds ${name}`)
    },
  } as unknown as KubeClient
}

const pools = [{ name: 'default', prefixes: ['203.0.113.0/24' as Prefix] }]

t.test('a Service whose status is refused keeps no other from its address, and is tried again', async (t) => {
  const services = new Table<Service>({ name: 'services' })
  for (const name of ['refused', 'web', 'shop'])
    services.set(
      objectKey('default', name),
      serviceRow({
        key: objectKey('default', name),
        loadBalancerFamilies: ['ipv4'],
        loadBalancerIps: [],
        statusIps: [],
      }),
    )
  const tried: string[] = []
  const twice = Promise.withResolvers<void>()
  const allocator = new AddressAllocator({
    client: clientThat((name) => {
      tried.push(name)
      if (tried.filter((other) => other === 'refused').length === 2) twice.resolve()
    }),
    nodeName: 'node1',
    pools: () => pools,
    services,
    events: { record: () => {} } as never,
    log: pino({ level: 'silent' }),
  })
  await twice.promise
  await allocator.close()
  t.strictSame(tried, ['refused', 'shop', 'web', 'refused'])
})

t.test('while pools cannot be read, what lies in none of the others is left alone', async (t) => {
  const services = new Table<Service>({ name: 'services' })
  const add = (name: string, change: Partial<Service>) =>
    services.set(
      objectKey('default', name),
      serviceRow({
        key: objectKey('default', name),
        loadBalancerFamilies: ['ipv4'],
        addressCondition: ALLOCATED,
        ...change,
      }),
    )
  add('theirs', { statusIps: [address('198.51.100.7')] })
  add('asks', { statusIps: [address('198.51.100.8')], addressWish: wish({ pool: 'blue' }) })
  add('ours', { statusIps: [address('203.0.113.7')] })
  add('new', { addressCondition: undefined })
  const state = { pools: pools as readonly AddressPool[], areAllKnown: false }
  const patches: string[] = []
  const allocator = new AddressAllocator({
    client: clientThat((name, patch) => patches.push(`${name} ${JSON.stringify(patch)}`)),
    nodeName: 'node1',
    pools: () => state.pools,
    areAllPoolsKnown: () => state.areAllKnown,
    services,
    events: { record: () => {} } as never,
    log: pino({ level: 'silent' }),
  })
  t.teardown(() => allocator.close())
  await until('the new one', () => patches.length > 0)
  await settle()
  t.match(patches, [/^new .*203.0.113.1/])
  add('new', { statusIps: [address('203.0.113.1')] })

  // Another file meanwhile.
  state.pools = [...pools, { name: 'more', prefixes: ['192.0.2.0/24' as Prefix] }]
  allocator.poolsChanged()
  await settle()
  t.equal(patches.length, 1)

  state.pools = [...pools, { name: 'blue', prefixes: ['198.51.100.0/24' as Prefix] }]
  state.areAllKnown = true
  allocator.poolsChanged()
  await settle()
  t.equal(patches.length, 1, 'read at last: everybody has what is theirs')

  state.pools = pools
  allocator.poolsChanged()
  await until('both', () => patches.length === 3)
  t.match(
    patches.slice(1).sort(),
    [/^asks .*UnknownPool/, /^theirs .*203.0.113.2/],
    'a pool that is known to have gone',
  )
})
