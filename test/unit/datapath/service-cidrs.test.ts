// Which networks the filter admits for a ServiceCIDR, and that the rows follow the objects.

import t from 'tap'
import { filterNetworks, ServiceCidrs } from '../../../src/datapath/service-cidrs.ts'
import { type Address, type Prefix, parseNetwork } from '../../../src/model/address.ts'
import { MemoryHash } from './memory-tables.ts'

const prefix = (text: string): Prefix => parseNetwork(text) ?? ('' as Prefix)

class Holders {
  readonly held = new Map<Address, number>()
  holdNetwork(address: Address): void {
    this.held.set(address, (this.held.get(address) ?? 0) + 1)
  }
  releaseNetwork(address: Address): void {
    const left = (this.held.get(address) ?? 0) - 1
    if (left === 0) this.held.delete(address)
    else this.held.set(address, left)
  }
}

t.test('networks of the filter’s length', async (t) => {
  t.same(filterNetworks(prefix('10.96.0.0/16')), ['10.96.0.0'])
  t.same(filterNetworks(prefix('10.96.77.0/24')), ['10.96.0.0'])
  t.same(filterNetworks(prefix('10.96.0.0/14')), ['10.96.0.0', '10.97.0.0', '10.98.0.0', '10.99.0.0'])
  t.equal(filterNetworks(prefix('10.96.0.0/12'))?.length, 16)
  t.equal(filterNetworks(prefix('0.0.0.0/4')), undefined)
  t.same(filterNetworks(prefix('fd00:96::/112')), ['fd00:96::'])
  t.same(filterNetworks(prefix('fd00:96::1:0/112')), ['fd00:96::'])
  t.same(filterNetworks(prefix('fd00:96::/63')), ['fd00:96::', 'fd00:96:0:1::'])
  t.equal(filterNetworks(prefix('fd00::/32')), undefined)
})

t.test('SVC-020 rows and filter follow the ServiceCIDRs, also one that is added', async (t) => {
  const rows = new MemoryHash<Prefix, number>('service_cidrs', [])
  const filter = new Holders()
  const cidrs = new ServiceCidrs(rows, filter)
  t.same(cidrs.set(new Set([prefix('10.96.0.0/24'), prefix('fd00::/32')])), ['fd00::/32'])
  t.same([...filter.held], [['10.96.0.0', 1]])
  cidrs.set(new Set([prefix('10.96.0.0/24'), prefix('10.96.1.0/24')]))
  t.same([...filter.held], [['10.96.0.0', 2]])
  const next = new Holders()
  const adopting = new ServiceCidrs(rows, next)
  t.same([...next.held], [['10.96.0.0', 2]], 'a restart holds what is there')
  adopting.set(new Set([prefix('10.96.1.0/24')]))
  t.same([...next.held], [['10.96.0.0', 1]])
  t.same(
    [...rows.entries()].map(([key]) => key),
    ['10.96.1.0/24'],
  )
})
