// How many endpoints a healthCheckNodePort tells of.

import t from 'tap'
import { address } from '../../../src/model/address.ts'
import type { Endpoint, EndpointSlice } from '../../../src/model/service.ts'
import { planHealthCheck } from '../../../src/services/plan-health-check.ts'
import { endpointRow, serviceRow, sliceRow } from '../model/rows.ts'

const HERE = { nodeName: 'node1', nodeOf: () => undefined }
const V4 = '10.96.0.1'
const V6 = 'fd00:96::1'
const checked = (clusterIps: readonly string[]) =>
  serviceRow({ clusterIps: clusterIps.map(address), healthCheckNodePort: 30500 })
const on = (ip: string, nodeName: string | undefined, conditions: object = {}) =>
  endpointRow(ip, { nodeName, ...conditions })

const slice = (name: string, endpoints: readonly Endpoint[], overrides: Partial<EndpointSlice> = {}) =>
  sliceRow(name, { endpoints, ...overrides })

const LEAVING = { ready: false, serving: true, terminating: true }

t.test('a Service without the port has no health check', async (t) => {
  t.equal(planHealthCheck(serviceRow(), [], HERE), undefined)
})

t.test('ready endpoints of this node count, each address once', async (t) => {
  const slices = [
    slice('web-a', [on('10.244.1.1', 'node1'), on('10.244.1.2', 'node1'), on('10.244.2.1', 'node2')]),
    slice('web-b', [on('10.244.1.1', 'node1'), on('10.244.1.3', 'node1', LEAVING)]),
  ]
  const expected = { port: 30500, localEndpoints: { ipv4: 2 } }
  t.strictSame(planHealthCheck(checked([V4]), slices, HERE), expected)
})

t.test('terminating endpoints never count, even where the Local set falls back to them', async (t) => {
  const slices = [slice('web-a', [on('10.244.1.1', 'node1', LEAVING)])]
  t.strictSame(planHealthCheck(checked([V4]), slices, HERE)?.localEndpoints, { ipv4: 0 })
})

t.test('each family counts its own, and only families of the Service are answered in', async (t) => {
  const slices = [
    slice('web-a', [on('10.244.1.1', 'node1')]),
    slice('web-b', [on('fd00:244:1::1', 'node1'), on('fd00:244:1::2', 'node1')], {
      family: 'ipv6',
    }),
  ]
  t.strictSame(planHealthCheck(checked([V4, V6]), slices, HERE)?.localEndpoints, { ipv4: 1, ipv6: 2 })
  t.strictSame(planHealthCheck(checked([V6]), slices, HERE)?.localEndpoints, { ipv6: 2 })
})

t.test('an endpoint that does not name its node is where its address is', async (t) => {
  const slices = [slice('web-a', [on('10.244.1.1', undefined)])]
  const nodeOf = () => 'node1'
  t.strictSame(planHealthCheck(checked([V4]), slices, { ...HERE, nodeOf })?.localEndpoints, { ipv4: 1 })
})
