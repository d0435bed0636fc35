// The allocator's writes, against an API server that refuses some of them.

import { pino } from 'pino'
import t from 'tap'
import { AddressAllocator } from '../../../src/agent/address-allocator.ts'
import type { KubeClient, ObjectPath } from '../../../src/kube/client.ts'
import { KubeError } from '../../../src/kube/errors.ts'
import type { Prefix } from '../../../src/model/address.ts'
import { objectKey, type Service } from '../../../src/model/service.ts'
import { Table } from '../../../src/tables/table.ts'
import { serviceRow } from '../model/rows.ts'

/** Grants the Lease to whoever asks, and takes status patches but of Services named `refused`. */
function clientThat(patched: (name: string) => void): KubeClient {
  const lease = async () => ({})
  return {
    get: async () => {
      throw new KubeError('not-found', 'no Lease yet')
    },
    create: lease,
    update: lease,
    patch: async (_: unknown, { name = '' }: ObjectPath) => {
      patched(name)
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
