// What the service loop's rounds leave in kubeproxy_* metrics.

import t from 'tap'
import { exposition } from '../../../../src/agent/metrics/exposition.ts'
import { SyncMetrics } from '../../../../src/agent/metrics/sync-metrics.ts'
import { address } from '../../../../src/model/address.ts'
import { type EndpointSlice, objectKey, type Service } from '../../../../src/model/service.ts'
import { type PlanContext, planService } from '../../../../src/services/plan-service.ts'
import { Table } from '../../../../src/tables/table.ts'
import { endpointRow, serviceRow, sliceRow } from '../../model/rows.ts'

const BORN_MS = 1_000_000_000_000
const WEB = objectKey('shop', 'web')

const PLAN: PlanContext = {
  nodeName: 'node1',
  zone: () => undefined,
  forwarding: 'snat',
  isVip: () => false,
  nodeOf: () => undefined,
  isNode: () => true,
  nodeAddresses: () => [address('10.255.0.1')],
  nodePortAddresses: () => [address('10.255.0.1')],
  mayBeExternal: () => true,
}

function bed() {
  const clock = { nowMs: BORN_MS }
  const services = new Table<Service>({ name: 'services' })
  const slices = new Table<EndpointSlice>({ name: 'slices' })
  const metrics = new SyncMetrics({ services, slices, nowMs: () => clock.nowMs })
  const lines = () =>
    exposition(metrics.metrics, (name, error) => {
      throw new Error(name, { cause: error })
    }).split('\n')
  const value = (series: string) => {
    const line = lines().find((text) => text.startsWith(`${series} `))
    return line === undefined ? undefined : Number(line.slice(series.length + 1))
  }
  const round = (...applied: readonly (readonly [Service, readonly EndpointSlice[]])[]) => {
    metrics.started()
    for (const [service, of] of applied)
      metrics.applied(service.key, { service, slices: of, desired: planService(service, of, PLAN) })
    metrics.finished(new Map())
  }
  return { clock, services, slices, metrics, lines, value, round }
}

t.test('OPS-004 names, types, labels and buckets', async (t) => {
  const { lines, round } = bed()
  round()
  const text = lines().join('\n')
  const bounds = (name: string) =>
    [...text.matchAll(new RegExp(`^${name}_bucket{ip_family="IPv4",le="([^"]+)"}`, 'gm'))].map(([, le]) => le)
  const seconds = Array.from({ length: 15 }, (_, n) => String(0.001 * 2 ** n))
  for (const name of ['sync_proxy_rules', 'sync_full_proxy_rules', 'sync_partial_proxy_rules']) {
    t.match(text, `# TYPE kubeproxy_${name}_duration_seconds histogram`)
    t.strictSame(bounds(`kubeproxy_${name}_duration_seconds`), [...seconds, '+Inf'], name)
  }
  const programming = bounds('kubeproxy_network_programming_duration_seconds')
  t.strictSame(programming.slice(0, 5), ['0', '0.25', '0.5', '1', '2'])
  t.strictSame(programming.slice(60, 66), ['58', '59', '60', '65', '70', '75'])
  t.strictSame(programming.slice(-8), ['120', '150', '180', '210', '240', '270', '300', '+Inf'])
  for (const [name, type] of [
    ['sync_proxy_rules_last_timestamp_seconds', 'gauge'],
    ['sync_proxy_rules_last_queued_timestamp_seconds', 'gauge'],
    ['sync_proxy_rules_endpoint_changes_pending', 'gauge'],
    ['sync_proxy_rules_endpoint_changes_total', 'counter'],
    ['sync_proxy_rules_service_changes_pending', 'gauge'],
    ['sync_proxy_rules_service_changes_total', 'counter'],
    ['sync_proxy_rules_no_local_endpoints_total', 'gauge'],
  ])
    t.match(text, `# TYPE kubeproxy_${name} ${type}`)
})

t.test('OPS-004 what waits, what came, when it was written', async (t) => {
  const { clock, services, slices, metrics, value, round } = bed()
  services.set(WEB, serviceRow())
  services.set(WEB, serviceRow({ affinitySeconds: 5 }))
  slices.set('shop/a', sliceRow('a'))
  slices.set('shop/b', sliceRow('b'))
  metrics.queued()
  t.equal(value('kubeproxy_sync_proxy_rules_service_changes_total'), 2)
  t.equal(value('kubeproxy_sync_proxy_rules_service_changes_pending'), 1)
  t.equal(value('kubeproxy_sync_proxy_rules_endpoint_changes_pending'), 2)
  metrics.started()
  metrics.failed()
  t.equal(value('kubeproxy_sync_proxy_rules_endpoint_changes_pending'), 2, 'a failed round leaves them')
  t.equal(value('weir_sync_failures_total'), 1)
  t.equal(value('kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds{ip_family="IPv6"}'), BORN_MS / 1000)
  clock.nowMs += 2000
  round([serviceRow(), []])
  t.equal(value('kubeproxy_sync_proxy_rules_service_changes_pending'), 0)
  t.equal(value('kubeproxy_sync_proxy_rules_endpoint_changes_pending'), 0)
  t.equal(value('kubeproxy_sync_proxy_rules_endpoint_changes_total'), 2)
  t.equal(value('kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family="IPv4"}'), BORN_MS / 1000 + 2)
})

t.test('OPS-004 a round counts for the families it wrote; the first is a full one', async (t) => {
  const { value, round } = bed()
  const count = (name: string, family: string) =>
    value(`kubeproxy_${name}_duration_seconds_count{ip_family="${family}"}`)
  const of = (name: string) => [count(name, 'IPv4'), count(name, 'IPv6')]
  round()
  round([serviceRow(), []])
  round([serviceRow({ clusterIps: [address('fd00:96::1')] }), []])
  t.strictSame(of('sync_proxy_rules'), [2, 2])
  t.strictSame(of('sync_full_proxy_rules'), [1, 1])
  t.strictSame(of('sync_partial_proxy_rules'), [1, 1])
  t.equal(value('weir_services_planned_total'), 2)
})

t.test('OPS-005 from the trigger time to the end of the round', async (t) => {
  const { clock, slices, metrics, value, round } = bed()
  const series = (part: string, family = 'IPv4') =>
    value(`kubeproxy_network_programming_duration_seconds_${part}{ip_family="${family}"}`)
  slices.set('shop/old', sliceRow('old', { triggeredAtMs: BORN_MS - 1 }))
  slices.set('shop/silent', sliceRow('silent'))
  slices.set('shop/gone', sliceRow('gone', { triggeredAtMs: BORN_MS + 10 }))
  slices.delete('shop/gone')
  slices.set('shop/new', sliceRow('new', { triggeredAtMs: BORN_MS + 500 }))
  slices.set('shop/six', sliceRow('six', { family: 'ipv6', triggeredAtMs: BORN_MS + 1000 }))
  metrics.started()
  metrics.failed()
  t.equal(series('count'), 0, 'not before a round succeeds')
  clock.nowMs += 2000
  round()
  t.strictSame([series('count'), series('sum')], [1, 1.5])
  t.strictSame([series('count', 'IPv6'), series('sum', 'IPv6')], [1, 1])
  round()
  t.equal(series('count'), 1, 'each change once')
  slices.set('shop/new', sliceRow('new', { triggeredAtMs: BORN_MS + 1500 }))
  metrics.started()
  metrics.finished(new Map([[WEB, {}]]))
  t.equal(series('count'), 1, 'not while its Service cannot be written')
  t.equal(value('weir_objects_failing'), 1)
  t.equal(value('kubeproxy_sync_proxy_rules_endpoint_changes_pending'), 1)
  round()
  t.equal(series('count'), 2)
})

t.test('OPS-006 Service ports with a Local policy and nobody here', async (t) => {
  const { metrics, value, round } = bed()
  const gauges = () =>
    ['internal', 'external'].map((policy) =>
      value(
        `kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family="IPv4",traffic_policy="${policy}"}`,
      ),
    )
  const local = serviceRow({
    internalTrafficPolicy: 'Local',
    externalTrafficPolicy: 'Local',
    loadBalancerIps: [address('203.0.113.1')],
  })
  const there = sliceRow('a', { endpoints: [endpointRow('10.244.2.1', { nodeName: 'node2' })] })
  const here = sliceRow('b', { endpoints: [endpointRow('10.244.1.1', { nodeName: 'node1' })] })
  round([local, [there]])
  t.strictSame(gauges(), [1, 1])
  round([{ ...local, internalTrafficPolicy: 'Cluster' }, [there]])
  t.strictSame(gauges(), [0, 1])
  round([{ ...local, loadBalancerIps: [] }, [there]])
  t.strictSame(gauges(), [1, 0], 'no external address: nobody asks from outside')
  round([local, [there, here]])
  t.strictSame(gauges(), [0, 0], 'an endpoint here')
  round([local, []])
  t.strictSame(gauges(), [0, 0], 'no endpoint anywhere is another thing')
  round([local, [there]])
  metrics.applied(WEB, undefined)
  t.strictSame(gauges(), [0, 0], 'gone')
})
