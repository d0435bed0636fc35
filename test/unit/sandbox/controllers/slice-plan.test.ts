import t from 'tap'
import type { EndpointSlice, Node, Pod, Service } from '../../../../src/kube/objects.ts'
import { ENDPOINTS_MAX, planSlices } from '../../../../src/sandbox/controllers/slice-plan.ts'
import { node, pod, service } from './objects.ts'

const NODES: ReadonlyMap<string, Node> = new Map([['node1', node('node1')]])

/** What the planner would leave in the cluster. */
function apply(existing: readonly EndpointSlice[], service: Service, pods: readonly Pod[]): EndpointSlice[] {
  const changes = planSlices(service, pods, NODES, existing)
  const kept = existing.filter((slice) => !changes.delete.includes(slice))
  const updated = kept.map(
    (slice) => changes.update.find(({ metadata }) => metadata.name === slice.metadata.name) ?? slice,
  )
  const created = changes.create.map((slice, index) => ({
    ...slice,
    metadata: {
      ...slice.metadata,
      name: `web-${existing.length + index}`,
      uid: `s${existing.length + index}`,
    },
  }))
  return [...updated, ...created]
}

t.test('conditions', async (t) => {
  const cases: [string, Pod, boolean, boolean[]][] = [
    // name, pod, publishNotReadyAddresses, [ready, serving, terminating]
    ['ready', pod('p'), false, [true, true, false]],
    ['not ready', pod('p', { ready: false }), false, [false, false, false]],
    ['terminating but serving', pod('p', { terminating: true }), false, [false, true, true]],
    [
      'terminating and no longer serving',
      pod('p', { terminating: true, ready: false }),
      false,
      [false, false, true],
    ],
    ['published though not ready', pod('p', { ready: false }), true, [true, true, false]],
    ['published though terminating', pod('p', { terminating: true }), true, [true, true, true]],
  ]
  for (const [name, object, publishNotReadyAddresses, [ready, serving, terminating]] of cases) {
    const [slice] = apply([], service({ publishNotReadyAddresses }), [object])
    t.same(slice?.endpoints?.[0]?.conditions, { ready, serving, terminating }, name)
  }
})

t.test('an endpoint tells node, zone and pod; a slice tells Service, manager and owner', async (t) => {
  const [slice] = apply([], service(), [pod('p')])
  t.match(slice, {
    addressType: 'IPv4',
    metadata: {
      generateName: 'web-',
      namespace: 'default',
      labels: {
        'kubernetes.io/service-name': 'web',
        'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
      },
      ownerReferences: [{ kind: 'Service', name: 'web', uid: 'svc-1', controller: true }],
    },
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
    endpoints: [
      {
        addresses: ['10.244.1.2'],
        nodeName: 'node1',
        zone: 'zone-a',
        targetRef: { kind: 'Pod', namespace: 'default', name: 'p', uid: 'uid-p' },
      },
    ],
  })
})

t.test('who is an endpoint', async (t) => {
  const cases: [string, Pod, number][] = [
    ['a matching pod', pod('p'), 1],
    ['another label', pod('p', { labels: { app: 'db' } }), 0],
    ['no address yet', pod('p', { ips: [] }), 0],
    ['no address of the family', pod('p', { ips: ['fd00:244:1::2'] }), 0],
    ['succeeded', pod('p', { phase: 'Succeeded' }), 0],
    ['failed (evicted)', pod('p', { phase: 'Failed' }), 0],
    ['none of the named ports', pod('p', { ports: [{ name: 'other', containerPort: 1 }] }), 0],
    [
      'the name under another protocol',
      pod('p', { ports: [{ name: 'http', containerPort: 1, protocol: 'UDP' }] }),
      0,
    ],
  ]
  for (const [name, object, count] of cases) {
    const slices = apply([], service(), [object])
    t.equal(slices.flatMap(({ endpoints }) => endpoints ?? []).length, count, name)
    t.equal(slices.length, 1, `${name}: one slice, empty or not`)
  }
})

t.test('ports', async (t) => {
  const cases: [string, object, number[]][] = [
    ['a number', { port: 80, targetPort: 9000 }, [9000]],
    ['none: the port itself', { port: 80 }, [80]],
    ['a name', { port: 80, targetPort: 'http' }, [8080]],
  ]
  for (const [name, port, numbers] of cases) {
    const [slice] = apply([], service({ ports: [port as never] }), [pod('p')])
    t.same(
      slice?.ports?.map((entry) => entry.port),
      numbers,
      name,
    )
  }
  const sidecar = pod('p', {
    ports: [],
    spec: {
      initContainers: [
        { name: 'side', restartPolicy: 'Always', ports: [{ name: 'http', containerPort: 7 }] },
      ],
    },
  })
  t.equal(apply([], service(), [sidecar])[0]?.ports?.[0]?.port, 7, 'a port of a restartable init container')
})

t.test('a named port with different numbers in different pods makes slices of their own', async (t) => {
  const pods = [
    pod('a', { ips: ['10.244.1.2'] }),
    pod('b', { ips: ['10.244.1.3'], ports: [{ name: 'http', containerPort: 9090 }] }),
  ]
  const slices = apply([], service(), pods)
  t.same(slices.map(({ ports }) => ports?.[0]?.port).sort(), [8080, 9090])
  t.ok(slices.every(({ endpoints }) => endpoints?.length === 1))
})

t.test('each family has its slices', async (t) => {
  const slices = apply([], service({ ipFamilies: ['IPv6', 'IPv4'] }), [pod('p')])
  t.same(
    slices.map(({ addressType, endpoints }) => [addressType, endpoints?.[0]?.addresses[0]]),
    [
      ['IPv6', 'fd00:244:1::2'],
      ['IPv4', '10.244.1.2'],
    ],
  )
  t.equal(apply([], service({ ipFamilies: [], clusterIP: 'fd00:96::1' }), [pod('p')])[0]?.addressType, 'IPv6')
})

t.test('nothing changes when nothing changed', async (t) => {
  const pods = [pod('a', { ips: ['10.244.1.2'] }), pod('b', { ips: ['10.244.1.3'] })]
  const slices = apply([], service(), pods)
  t.same(planSlices(service(), [...pods].reverse(), NODES, slices), { create: [], update: [], delete: [] })
})

t.test('slices hold at most a hundred endpoints, keep theirs, fill gaps, and go when empty', async (t) => {
  const many = Array.from({ length: 2 * ENDPOINTS_MAX + 50 }, (_, index) =>
    pod(`p${index}`, { ips: [`10.1.${index >> 8}.${index & 255}`] }),
  )
  const full = apply([], service(), many)
  t.same(
    full.map(({ endpoints }) => endpoints?.length),
    [100, 100, 50],
  )

  const firstLess = many.slice(10)
  const changes = planSlices(service(), firstLess, NODES, full)
  t.equal(changes.update.length, 1, 'only the slice that lost endpoints is written')
  t.same([changes.create.length, changes.delete.length], [0, 0])

  const gaps = apply(full, service(), firstLess)
  const joined = planSlices(service(), [...firstLess, pod('new', { ips: ['10.9.9.9'] })], NODES, gaps)
  t.equal(joined.update.length, 1, 'a newcomer takes a gap')
  t.equal(joined.create.length, 0)

  const lastGone = apply(full, service(), many.slice(0, 200))
  t.same(
    lastGone.map(({ endpoints }) => endpoints?.length),
    [100, 100],
  )
  const none = apply(full, service(), [])
  t.equal(none.flatMap(({ endpoints }) => endpoints ?? []).length, 0)
})

t.test('labels of the Service are carried, and headless is said', async (t) => {
  const headless = service({ clusterIP: 'None' })
  headless.metadata.labels = { team: 'x' }
  const [slice] = apply([], headless, [pod('p')])
  t.match(slice?.metadata.labels, { team: 'x', 'service.kubernetes.io/headless': '' })
})
