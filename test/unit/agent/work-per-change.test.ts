// What one change costs among few Services and among many: from the tables through every planner to the writes of the kernel's maps
// and to the announcements, counted and not timed.

import t from 'tap'
import { parseConfig } from '../../../src/agent/config.ts'
import { DirtyKeys } from '../../../src/agent/dirty-keys.ts'
import { planContext } from '../../../src/agent/plan-context.ts'
import { vipFacts } from '../../../src/agent/vip-facts.ts'
import { ServiceMaps } from '../../../src/datapath/service-maps.ts'
import { address } from '../../../src/model/address.ts'
import {
  type EndpointSlice,
  type LocalPod,
  type Node,
  objectKey,
  type Service,
  type ServiceCidr,
} from '../../../src/model/service.ts'
import { claimOf } from '../../../src/routing/address-claims.ts'
import { AddressLedger } from '../../../src/routing/allocate-addresses.ts'
import { VipPlans } from '../../../src/routing/vip-plans.ts'
import { countServable } from '../../../src/services/count-endpoints.ts'
import { planService } from '../../../src/services/plan-service.ts'
import { Table } from '../../../src/tables/table.ts'
import { memoryTables } from '../datapath/memory-tables.ts'
import { endpointRow, serviceRow, sliceRow } from '../model/rows.ts'
import { vipContext } from '../routing/beds.ts'

const POOL = { name: 'default', prefixes: ['203.0.0.0/16' as never] }
const CONFIG = parseConfig(
  `
nodeName: node1
stateDirectory: /run/weir/node1
kubernetes: { servers: ["https://192.0.2.1:6443"] }
datapath: { bpffs: /sys/fs/bpf/weir, cgroup: /sys/fs/cgroup, uplinks: [up0] }
routing: { gobgp: "unix:///run/weir/gobgpd.sock", asn: 65101, routerId: 10.255.0.1 }
pools: [ { name: default, prefixes: [203.0.0.0/16] } ]
`,
  'agent.yaml',
)

const keyOf = (index: number) => objectKey('shop', `s${index}`)
const vipOf = (index: number) => address(`203.0.${index >> 8}.${index & 255}`)

function serviceOf(index: number): Service {
  return serviceRow({
    key: keyOf(index),
    clusterIps: [address(`10.96.${index >> 8}.${index & 255}`)],
    loadBalancerIps: [vipOf(index)],
    statusIps: [vipOf(index)],
    loadBalancerFamilies: ['ipv4'],
  })
}

function sliceOf(index: number, ready: boolean): EndpointSlice {
  const endpoint = (part: number, isReady: boolean) =>
    endpointRow(`10.${part}.${index >> 8}.${index & 255}`, { nodeName: `node${part % 3}`, ready: isReady })
  return sliceRow(`s${index}-a`, {
    service: keyOf(index),
    endpoints: [endpoint(128, true), endpoint(129, true), endpoint(130, ready)],
  })
}

/** Everything between the API server's objects and the kernel, at a size. */
function cluster(size: number) {
  const sources = {
    services: new Table<Service>({ name: 'services' }),
    slices: new Table<EndpointSlice>({
      name: 'slices',
      indexes: { service: (slice) => [slice.service] },
    }),
    nodes: new Table<Node>({ name: 'nodes' }),
    pods: new Table<LocalPod>({ name: 'pods' }),
    serviceCidrs: new Table<ServiceCidr>({ name: 'service CIDRs' }),
    synced: Promise.resolve(),
    describe: () => ({}),
    close: () => {},
  }
  const context = planContext(CONFIG, sources.nodes)
  const dirty = new DirtyKeys(sources, context, () => {})
  const tables = memoryTables(size * 2048 + (1 << 15), 1 << 15)
  const place = () => ({ isLocal: false, nexthopId: 16, nodeId: 1 })
  const maps = new ServiceMaps({ tables, nowMs: () => 0, tickSeconds: 1, place })
  const vips = new VipPlans(vipContext({ poolOf: () => POOL.name }))
  const ledger = new AddressLedger([POOL])
  /** One round: what was planned, written, and told. */
  const round = () => {
    const slotsBefore = tables.slots.slice()
    tables.journal.length = 0
    const { keys } = dirty.take()
    for (const key of keys) {
      const service = sources.services.get(key)
      if (!service) continue
      const desired = planService(service, sources.slices.find('service', key), context)
      const { held } = maps.apply(key, desired)
      const servable = { ipv4: countServable(desired, 'ipv4'), ipv6: countServable(desired, 'ipv6') }
      const served = { service, held, servable, usable: servable.ipv4, problems: [], foundRoom: true }
      vips.setService(key, vipFacts(served, new Set(['load-balancer-ip'])))
      ledger.set(key, claimOf(service))
    }
    return {
      planned: keys.size,
      writes: [...tables.journal],
      slots: tables.slots.reduce((count, id, index) => count + Number(id !== slotsBefore[index]), 0),
      announcements: vips.plan(0).changed.size,
      decided: ledger.decide().length,
    }
  }
  for (let index = 0; index < size; index += 1) {
    sources.services.set(keyOf(index), serviceOf(index))
    sources.slices.set(`shop/s${index}-a`, sliceOf(index, true))
  }
  return { sources, round }
}

t.test('OPS-010 one endpoint changes: the same work among 10 Services and among 5 000', async (t) => {
  const sizes = [10, 5000]
  const [few, many] = sizes.map((size) => {
    const { sources, round } = cluster(size)
    t.equal(round().planned, size, 'at first, everything')
    sources.slices.set('shop/s7-a', sliceOf(7, false))
    return round()
  })
  t.same(many?.writes, few?.writes)
  t.ok((many?.writes.length ?? 0) <= 8, `${many?.writes.join(', ')}`)
  t.equal(many?.slots, few?.slots)
  t.same(
    [few, many].map((work) => [work?.planned, work?.announcements, work?.decided]),
    [
      [1, 1, 1],
      [1, 1, 1],
    ],
  )
})

t.test('OPS-010 a Service that comes or goes costs its own work alone', async (t) => {
  const works = [10, 3000].map((size) => {
    const { sources, round } = cluster(size)
    round()
    sources.services.set(keyOf(size), serviceOf(size))
    sources.slices.set(`shop/s${size}-a`, sliceOf(size, true))
    const came = round()
    sources.slices.delete(`shop/s${size}-a`)
    return [came, round()].map(({ planned, writes, announcements }) => ({ planned, writes, announcements }))
  })
  t.same(works[0], works[1])
  t.match(works[1], [{ planned: 1 }, { planned: 1 }])
})
