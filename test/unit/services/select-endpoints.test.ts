// Which endpoints count: conditions and their fall-backs, and hints of topology.

import t from 'tap'
import type { Endpoint, EndpointSlice } from '../../../src/model/service.ts'
import { type Candidate, gatherCandidates, slicesOf } from '../../../src/services/candidates.ts'
import { selectEndpoints } from '../../../src/services/select-endpoints.ts'
import { endpointRow, sliceRow } from '../model/rows.ts'

const READY = {}
const LEAVING = { ready: false, serving: true, terminating: true }
const BROKEN = { ready: false, serving: false }
const GONE = { ready: false, serving: false, terminating: true }
const PORT = { name: 'http', protocol: 'TCP', port: 80, nodePort: 0 } as const
const HERE = { nodeName: 'a', zone: 'east' }

const endpoint = (last: number, nodeName: string, more: Partial<Endpoint> = {}): Endpoint =>
  endpointRow(`10.244.0.${last}`, { nodeName, ...more })

const gather = (...slices: EndpointSlice[]): Candidate[] =>
  gatherCandidates(slicesOf(slices, 'ipv4'), PORT, 'a', () => undefined)

const chosen = (candidates: readonly Candidate[], indexes: readonly number[]): number[] =>
  indexes.map((index) => Number(candidates[index]?.address.split('.')[3]))

t.test('conditions and fall-backs', async (t) => {
  const cases: { name: string; endpoints: Endpoint[]; cluster: number[]; local: number[] }[] = [
    { name: 'nothing at all', endpoints: [], cluster: [], local: [] },
    {
      name: 'SVC-011 ready ones only, wherever they are; the Local set is this node',
      endpoints: [endpoint(1, 'a', READY), endpoint(2, 'b', READY), endpoint(3, 'a', BROKEN)],
      cluster: [1, 2],
      local: [1],
    },
    {
      name: 'SVC-012 a terminating endpoint that serves is left out while a ready one is anywhere',
      endpoints: [endpoint(1, 'b', READY), endpoint(2, 'b', LEAVING)],
      cluster: [1],
      local: [],
    },
    {
      name: 'SVC-013 the fall-backs are independent: Cluster has ready ones, Local falls back',
      endpoints: [endpoint(1, 'b', READY), endpoint(2, 'a', LEAVING)],
      cluster: [1],
      local: [2],
    },
    {
      name: 'SVC-013 a ready one here keeps the terminating one here out',
      endpoints: [endpoint(1, 'a', READY), endpoint(2, 'a', LEAVING)],
      cluster: [1],
      local: [1],
    },
    {
      name: 'SVC-012 with no ready endpoint anywhere both fall back',
      endpoints: [endpoint(1, 'a', LEAVING), endpoint(2, 'b', LEAVING), endpoint(3, 'a', GONE)],
      cluster: [1, 2],
      local: [1],
    },
    {
      name: 'SVC-014 terminating and not serving is unusable, as is what never was ready',
      endpoints: [endpoint(1, 'a', GONE), endpoint(2, 'b', BROKEN)],
      cluster: [],
      local: [],
    },
    {
      name: 'SVC-025 ready while terminating (publishNotReadyAddresses) is ready',
      endpoints: [endpoint(1, 'a', { terminating: true })],
      cluster: [1],
      local: [1],
    },
  ]
  for (const { name, endpoints, cluster, local } of cases) {
    const candidates = gather(sliceRow('web-1', { endpoints }))
    const selection = selectEndpoints(candidates, HERE)
    t.strictSame(
      [chosen(candidates, selection.cluster), chosen(candidates, selection.local)],
      [cluster, local],
      name,
    )
  }
})

t.test('hints narrow what is near', async (t) => {
  const cases: { name: string; endpoints: Endpoint[]; place?: typeof HERE; nearby: number[] }[] = [
    {
      name: 'TOP-001 every endpoint has a zone, one has ours',
      endpoints: [endpoint(1, 'b', { forZones: ['east'] }), endpoint(2, 'b', { forZones: ['west'] })],
      nearby: [1],
    },
    {
      name: 'TOP-001 an endpoint for several zones counts in each',
      endpoints: [endpoint(1, 'b', { forZones: ['west', 'east'] }), endpoint(2, 'b', { forZones: ['west'] })],
      nearby: [1],
    },
    {
      name: 'TOP-001 no endpoint for our zone: all',
      endpoints: [endpoint(1, 'b', { forZones: ['west'] }), endpoint(2, 'b', { forZones: ['north'] })],
      nearby: [1, 2],
    },
    {
      name: 'TOP-002 node hints before zone hints',
      endpoints: [
        endpoint(1, 'a', { forNodes: ['a'], forZones: ['west'] }),
        endpoint(2, 'b', { forNodes: ['b'], forZones: ['east'] }),
      ],
      nearby: [1],
    },
    {
      name: 'TOP-002 no node hint for us: the zone decides',
      endpoints: [
        endpoint(1, 'c', { forNodes: ['c'], forZones: ['west'] }),
        endpoint(2, 'b', { forNodes: ['b'], forZones: ['east'] }),
      ],
      nearby: [2],
    },
    {
      name: 'TOP-002 one endpoint without a node hint: the zone decides',
      endpoints: [
        endpoint(1, 'a', { forNodes: ['a'], forZones: ['west'] }),
        endpoint(2, 'b', { forZones: ['east'] }),
      ],
      nearby: [2],
    },
    {
      name: 'TOP-003 one ready endpoint without a hint turns hints off',
      endpoints: [endpoint(1, 'b', { forZones: ['east'] }), endpoint(2, 'b')],
      nearby: [1, 2],
    },
    {
      name: 'TOP-003 an unusable endpoint without a hint does not',
      endpoints: [
        endpoint(1, 'b', { forZones: ['east'] }),
        endpoint(2, 'b', BROKEN),
        endpoint(3, 'b', { forZones: ['west'] }),
      ],
      nearby: [1],
    },
    {
      name: 'TOP-003 a node without a zone gets all',
      endpoints: [endpoint(1, 'b', { forZones: ['east'] }), endpoint(2, 'b', { forZones: ['west'] })],
      place: { nodeName: 'a', zone: undefined as never },
      nearby: [1, 2],
    },
    {
      name: 'TOP-001 the fall-back to terminating endpoints ignores hints',
      endpoints: [
        endpoint(1, 'b', { ...LEAVING, forZones: ['east'] }),
        endpoint(2, 'b', { ...LEAVING, forZones: ['west'] }),
      ],
      nearby: [1, 2],
    },
  ]
  for (const { name, endpoints, place, nearby } of cases) {
    const candidates = gather(sliceRow('web-1', { endpoints }))
    t.strictSame(chosen(candidates, selectEndpoints(candidates, place ?? HERE).nearby), nearby, name)
  }
})

t.test('TOP-004 the Local set ignores hints', async (t) => {
  const candidates = gather(
    sliceRow('web-1', {
      endpoints: [endpoint(1, 'a', { forZones: ['west'] }), endpoint(2, 'b', { forZones: ['east'] })],
    }),
  )
  const selection = selectEndpoints(candidates, HERE)
  t.strictSame(chosen(candidates, selection.nearby), [2])
  t.strictSame(chosen(candidates, selection.local), [1])
})

t.test('hints that name every endpoint narrow nothing, and say so', async (t) => {
  const endpoints = [endpoint(1, 'a', { forZones: ['east'] }), endpoint(2, 'b', { forZones: ['east'] })]
  const selection = selectEndpoints(gather(sliceRow('web-1', { endpoints })), HERE)
  t.equal(selection.nearby, selection.cluster, 'the same array')
})

t.test('SVC-010 an endpoint in two slices counts once: here first, then ready, then serving', async (t) => {
  const cases: [string, Endpoint, Endpoint, Partial<Candidate>][] = [
    [
      'the copy on this node wins',
      endpoint(1, 'b'),
      endpoint(1, 'a', BROKEN),
      { nodeName: 'a', ready: false },
    ],
    ['then the ready one', endpoint(1, 'b', BROKEN), endpoint(1, 'b'), { ready: true }],
    ['then the serving one', endpoint(1, 'b', GONE), endpoint(1, 'b', LEAVING), { serving: true }],
  ]
  for (const [name, one, two, expected] of cases) {
    for (const [first, second] of [
      [one, two],
      [two, one],
    ] as const) {
      const candidates = gather(
        sliceRow('web-1', { endpoints: [first] }),
        sliceRow('web-2', { endpoints: [second] }),
      )
      t.equal(candidates.length, 1)
      t.match(candidates[0], expected, name)
    }
  }
})
