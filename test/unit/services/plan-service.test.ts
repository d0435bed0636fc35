// The service planner: which endpoints, which frontends, for every policy and condition.

import t from 'tap'
import { address } from '../../../src/model/address.ts'
import type { Endpoint, EndpointSlice } from '../../../src/model/service.ts'
import { type PlanContext, planService } from '../../../src/services/plan-service.ts'
import { type Candidate, selectEndpoints } from '../../../src/services/select-endpoints.ts'
import { endpointRow, serviceRow, sliceRow } from '../model/rows.ts'

const READY = { ready: true, serving: true, terminating: false }
const LEAVING = { ready: false, serving: true, terminating: true }
const BROKEN = { ready: false, serving: false, terminating: false }
const GONE = { ready: false, serving: false, terminating: true }

const candidate = (last: number, nodeName: string, conditions: typeof READY): Candidate => ({
  address: address(`10.244.0.${last}`),
  port: 8080,
  nodeName,
  ...conditions,
})

t.test('selection of endpoints', async (t) => {
  const cases: {
    name: string
    endpoints: Candidate[]
    cluster: number[]
    local: number[]
    any: boolean
  }[] = [
    { name: 'nothing at all', endpoints: [], cluster: [], local: [], any: false },
    {
      name: 'ready ones only, wherever they are; the Local set is this node',
      endpoints: [candidate(1, 'a', READY), candidate(2, 'b', READY), candidate(3, 'a', BROKEN)],
      cluster: [1, 2],
      local: [1],
      any: true,
    },
    {
      name: 'a terminating endpoint that still serves is left out while a ready one is there',
      endpoints: [candidate(1, 'b', READY), candidate(2, 'b', LEAVING)],
      cluster: [1],
      local: [],
      any: true,
    },
    {
      name: 'the two fall-backs are independent: Cluster has ready ones, Local falls back',
      endpoints: [candidate(1, 'b', READY), candidate(2, 'a', LEAVING)],
      cluster: [1],
      local: [2],
      any: true,
    },
    {
      name: 'with no ready endpoint anywhere both fall back',
      endpoints: [candidate(1, 'a', LEAVING), candidate(2, 'b', LEAVING), candidate(3, 'a', GONE)],
      cluster: [1, 2],
      local: [1],
      any: true,
    },
    {
      name: 'terminating and not serving is unusable',
      endpoints: [candidate(1, 'a', GONE), candidate(2, 'a', BROKEN)],
      cluster: [],
      local: [],
      any: false,
    },
    {
      name: 'ready while terminating (publishNotReadyAddresses) counts as ready',
      endpoints: [candidate(1, 'a', { ready: true, serving: true, terminating: true })],
      cluster: [1],
      local: [1],
      any: true,
    },
  ]
  for (const { name, endpoints, cluster, local, any } of cases) {
    const selection = selectEndpoints(endpoints, 'a')
    const last = (list: readonly Candidate[]) => list.map((entry) => Number(entry.address.split('.')[3]))
    t.strictSame([last(selection.cluster), last(selection.local), selection.any], [cluster, local, any], name)
  }
})

const service = serviceRow

const slice = (name: string, endpoints: Endpoint[], overrides: Partial<EndpointSlice> = {}) =>
  sliceRow(name, { endpoints, ...overrides })

const CONTEXT: PlanContext = {
  nodeName: 'a',
  isVip: (candidate) => candidate.startsWith('203.0.113.'),
  nodeOf: (candidate) => (candidate.startsWith('10.244.7.') ? 'seven' : undefined),
  isForbidden: (candidate) => candidate === '10.255.0.9',
}

const endpoint = (text: string, nodeName: string, conditions = READY): Endpoint =>
  endpointRow(text, { nodeName, ...conditions })

t.test(
  'a ClusterIP is a list; a VIP makes the port a Maglev table and refuses undefined ports',
  async (t) => {
    const slices = [slice('web-1', [endpoint('10.244.1.2', 'a')])]
    const internal = planService(service(), slices, CONTEXT)
    t.equal(internal.length, 1)
    t.equal(internal[0]?.balancing, 'list')
    const external = planService(service({ loadBalancerIps: [address('203.0.113.7')] }), slices, CONTEXT)
    t.strictSame(
      external.map(({ id, balancing }) => [id, balancing]),
      [
        ['shop/web 80/TCP ipv4', 'maglev'],
        ['shop/web undefined-ports 203.0.113.7', 'list'],
      ],
    )
    t.strictSame(
      external[0]?.frontends.map((frontend) => [frontend.address, frontend.external]),
      [
        ['10.96.0.10', false],
        ['203.0.113.7', true],
      ],
    )
  },
)

t.test('families are planned apart, from slices of their own', async (t) => {
  const dual = service({ clusterIps: [address('10.96.0.10'), address('fd00:96::a')] })
  const planned = planService(
    dual,
    [
      slice('web-4', [endpoint('10.244.1.2', 'a')]),
      slice('web-6', [endpoint('fd00:244:1::2', 'a')], { family: 'ipv6' }),
    ],
    CONTEXT,
  )
  t.strictSame(
    planned.map((port) => [port.family, port.backends.map((backend) => backend.address)]),
    [
      ['ipv4', ['10.244.1.2']],
      ['ipv6', ['fd00:244:1::2']],
    ],
  )
})

t.test(
  'several slices are one set; an endpoint that is moving between slices counts once, ready wins',
  async (t) => {
    const planned = planService(
      service(),
      [
        slice('web-1', [endpoint('10.244.1.2', 'a', BROKEN), endpoint('10.244.2.2', 'b')]),
        slice('web-2', [endpoint('10.244.1.2', 'a')]),
      ],
      CONTEXT,
    )
    t.strictSame(
      planned[0]?.backends.map((backend) => backend.address),
      ['10.244.1.2', '10.244.2.2'],
    )
    t.strictSame(planned[0]?.cluster, [0, 1])
    t.strictSame(planned[0]?.local, [0])
  },
)

t.test('ports are matched by name and protocol; the rest of a slice is not ours', async (t) => {
  const planned = planService(
    service({
      ports: [
        { name: 'dns', protocol: 'UDP', port: 53, nodePort: 0 },
        { name: 'dns-tcp', protocol: 'TCP', port: 53, nodePort: 0 },
      ],
    }),
    [
      slice('web-1', [endpoint('10.244.1.2', 'a')], {
        ports: [
          { name: 'dns', protocol: 'UDP', port: 5353 },
          { name: 'dns-tcp', protocol: 'TCP', port: 5354 },
          { name: 'metrics', protocol: 'TCP', port: 9153 },
        ],
      }),
    ],
    CONTEXT,
  )
  t.strictSame(
    planned.map((port) => port.backends.map((backend) => `${backend.port}/${backend.protocol}`)),
    [['5353/UDP'], ['5354/TCP']],
  )
})

t.test('an unusable endpoint stays a backend, so that its flows live on, but is in no set', async (t) => {
  const planned = planService(
    service(),
    [slice('web-1', [endpoint('10.244.1.2', 'a', LEAVING), endpoint('10.244.1.3', 'a')])],
    CONTEXT,
  )
  t.strictSame(
    planned[0]?.backends.map((backend) => backend.state),
    ['terminating', 'active'],
  )
  t.strictSame(planned[0]?.cluster, [1])
})

t.test('the plan does not depend on the order of slices or endpoints', async (t) => {
  const one = slice('web-1', [endpoint('10.244.1.2', 'a'), endpoint('10.244.1.9', 'a')])
  const two = slice('web-2', [endpoint('10.244.3.1', 'c')])
  const turned = slice('web-1', [...one.endpoints].reverse())
  t.strictSame(planService(service(), [one, two], CONTEXT), planService(service(), [two, turned], CONTEXT))
})

t.test(
  "an external address outside the pools may be a node's own: its other ports are not ours to refuse",
  async (t) => {
    const planned = planService(service({ externalIps: [address('10.255.0.1')] }), [], CONTEXT)
    t.strictSame(
      planned.map(({ id }) => id),
      ['shop/web 80/TCP ipv4'],
    )
  },
)

t.test('endpoints without a node name: the one that claims the address, or only for sockets', async (t) => {
  const slices = [slice('web-1', [endpointRow('10.244.7.1'), endpointRow('192.0.2.1')])]
  const internal = planService(service(), slices, CONTEXT)[0]
  t.strictSame(
    internal?.backends.map((backend) => [backend.address, backend.nodeName]),
    [
      ['10.244.7.1', 'seven'],
      ['192.0.2.1', undefined],
    ],
  )
  const external = planService(service({ loadBalancerIps: [address('203.0.113.7')] }), slices, CONTEXT)[0]
  t.strictSame(
    external?.backends.map((backend) => backend.address),
    ['10.244.7.1'],
  )
})

t.test("externalIPs never take nodes' or routers' addresses", async (t) => {
  const planned = planService(
    service({ externalIps: [address('10.255.0.9'), address('198.51.100.9')] }),
    [],
    CONTEXT,
  )
  t.strictSame(
    planned[0]?.frontends.map((frontend) => frontend.address),
    ['10.96.0.10', '198.51.100.9'],
  )
})
