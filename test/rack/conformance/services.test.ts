// Services as objects: which of them are served, and by which endpoints. One pod stands on each node; slices are made by hand
// where a condition must be exact. Asked from a pod, a node and an outside client, in both families.

import t from 'tap'
import { Bed } from './bed.ts'
import { expectAnswerers, expectConnect } from './expect.ts'
import {
  BROKEN,
  HTTP_PORT,
  LEAVING,
  type PodPlace,
  pod,
  READY,
  type SliceEndpoint,
  service,
  slicesOf,
  TCP_AND_UDP,
  TCP_AND_UDP_OF_SLICE,
  UDP_PORT,
} from './manifests.ts'
import type { Outcome } from './prober.ts'

t.setTimeout(300_000)
const bed = await Bed.up({ name: 'confsvc' })
t.teardown(() => bed.down())

const NODES = ['node1', 'node2', 'node3'] as const
const PODS = ['p1', 'p2', 'p3'] as const
await bed.apply(
  ...NODES.map((node, index) => pod(`p${index + 1}`, { node, labels: { app: 'p', which: `p${index + 1}` } })),
  pod('caller', { node: 'node1' }),
)
await bed.waitForPods('app in (p, caller)')

const places = new Map<string, PodPlace>()
for (const name of PODS)
  places.set(name, { addresses: await bed.podAddresses(name), node: `node${name.slice(1)}` })

/** Slices of both families with these pods in these conditions. */
function slices(
  serviceName: string,
  states: Readonly<Record<string, SliceEndpoint['conditions']>>,
  options: Parameters<typeof slicesOf>[3] = {},
) {
  const rows = Object.entries(states).map(
    ([name, conditions]) => [name, conditions ? { conditions } : {}] as const,
  )
  return slicesOf(serviceName, places, Object.fromEntries(rows), options)
}

const INSIDE = ['default/caller', 'node2'] as const

t.test(
  'SVC-001, SVC-007 every endpoint of a ClusterIP gets TCP and UDP, from a pod and from a node',
  async (t) => {
    await bed.apply(
      service('first', { ports: TCP_AND_UDP }),
      ...slices('first', { p1: READY, p2: READY, p3: READY }, { ports: TCP_AND_UDP_OF_SLICE }),
    )
    const { clusterIps } = await bed.serviceAddresses('first')
    t.equal(clusterIps.length, 2)
    for (const protocol of ['tcp', 'udp'] as const)
      await expectAnswerers(bed, t, INSIDE, clusterIps, PODS, { protocol })
    t.match((await bed.curl('node1', clusterIps[0] ?? '')).stdout, /^p[123]$/, 'by curl')
  },
)

t.test('SVC-002, SVC-026 the number comes from the slice, also where pods differ in it', async (t) => {
  await bed.apply(
    pod('odd', { node: 'node2', httpPort: 9090, labels: { app: 'named' } }),
    pod('even', { node: 'node3', labels: { app: 'named' } }),
    service('named', { selector: { app: 'named' }, ports: [{ port: 80, targetPort: 'http' }] }),
  )
  await bed.waitForPods('app=named')
  await expectAnswerers(bed, t, 'default/caller', (await bed.serviceAddresses('named')).clusterIps, [
    'even',
    'odd',
  ])
})

t.test('SVC-003 TCP and UDP on one number are two ports', async (t) => {
  await bed.apply(
    service('two', { ports: TCP_AND_UDP }),
    ...slices('two', { p1: READY }, { name: 'two-tcp', ports: [{ name: 'tcp', port: HTTP_PORT }] }),
    ...slices(
      'two',
      { p2: READY },
      { name: 'two-udp', ports: [{ name: 'udp', port: UDP_PORT, protocol: 'UDP' }] },
    ),
  )
  const { clusterIps } = await bed.serviceAddresses('two')
  await expectAnswerers(bed, t, 'node1', clusterIps, ['p1'])
  await expectAnswerers(bed, t, 'node1', clusterIps, ['p2'], { protocol: 'udp' })
})

t.test(
  'SVC-004 a Service that becomes ExternalName is left alone, and served when it comes back',
  async (t) => {
    await bed.apply(
      service('changing', { clusterIP: '10.96.200.4', ipFamilyPolicy: 'SingleStack', ipFamilies: ['IPv4'] }),
      ...slices('changing', { p1: READY }).slice(0, 1),
    )
    await expectConnect(bed, t, 'node1', ['10.96.200.4'], 'open')
    await bed.kubectl(
      'patch',
      'service',
      'changing',
      '--type=json',
      '-p',
      JSON.stringify([
        { op: 'replace', path: '/spec/type', value: 'ExternalName' },
        { op: 'add', path: '/spec/externalName', value: 'example.org' },
        { op: 'remove', path: '/spec/clusterIP' },
        { op: 'remove', path: '/spec/clusterIPs' },
        { op: 'remove', path: '/spec/ipFamilies' },
        { op: 'remove', path: '/spec/ipFamilyPolicy' },
      ]),
    )
    let after: Outcome = 'open'
    await bed.until('the old ClusterIP to be served no more', async () => {
      after = await bed.connect('node1', '10.96.200.4', 80)
      return after !== 'open'
    })
    t.not(after, 'open')
    await bed.kubectl(
      'patch',
      'service',
      'changing',
      '--type=merge',
      '-p',
      JSON.stringify({ spec: { type: 'ClusterIP', externalName: null, clusterIP: '10.96.200.4' } }),
    )
    await expectConnect(bed, t, 'node1', ['10.96.200.4'], 'open')
  },
)

t.test('SVC-005, SVC-006 the two labels take Service and slice away, live, and give them back', async (t) => {
  await bed.apply(service('labelled'), ...slices('labelled', { p1: READY }))
  const { clusterIps } = await bed.serviceAddresses('labelled')
  const isOpen = async () => (await bed.connect('node1', clusterIps[0] ?? '', 80)) === 'open'
  await bed.until('it to be served', isOpen)
  await bed.kubectl('label', 'service', 'labelled', 'service.kubernetes.io/service-proxy-name=other')
  await bed.until('the labelled Service to be left alone', async () => !(await isOpen()))
  await bed.kubectl('label', 'service', 'labelled', 'service.kubernetes.io/service-proxy-name-')
  await bed.until('it to be ours again', isOpen)
  await bed.kubectl('label', 'endpointslice', 'labelled-ipv4', 'service.kubernetes.io/headless=')
  await expectConnect(bed, t, 'node1', clusterIps.slice(0, 1), 'refused')
  await expectConnect(bed, t, 'node1', clusterIps.slice(1), 'open')
  await bed.kubectl('label', 'endpointslice', 'labelled-ipv4', 'service.kubernetes.io/headless-')
  await expectConnect(bed, t, 'node1', clusterIps, 'open')
})

t.test('SVC-008, SVC-010 slices add up, and an endpoint in two of them counts once', async (t) => {
  await bed.apply(
    service('parts'),
    ...slices('parts', { p1: READY, p2: READY }, { name: 'parts-a' }),
    ...slices('parts', { p2: READY, p3: READY }, { name: 'parts-b' }),
  )
  await expectAnswerers(bed, t, 'node1', (await bed.serviceAddresses('parts')).clusterIps, PODS)
})

t.test(
  'SVC-011, SVC-012 only ready endpoints serve; without one, terminating ones that still serve',
  async (t) => {
    await bed.apply(service('states'), ...slices('states', { p1: undefined, p2: LEAVING, p3: BROKEN }))
    const { clusterIps } = await bed.serviceAddresses('states')
    await expectAnswerers(bed, t, 'default/caller', clusterIps, ['p1'])
    await bed.apply(...slices('states', { p1: BROKEN, p2: LEAVING, p3: BROKEN }))
    await expectAnswerers(bed, t, 'default/caller', clusterIps, ['p2'])
  },
)

t.test(
  'SVC-013, SVC-018 the Local set falls back by itself; each policy touches its own addresses',
  async (t) => {
    await bed.apply(
      service('locals', { type: 'LoadBalancer', externalTrafficPolicy: 'Local' }),
      ...slices('locals', { p1: READY, p2: LEAVING }),
      service('inner', { type: 'LoadBalancer', internalTrafficPolicy: 'Local' }),
      ...slices('inner', { p1: READY, p2: READY }),
    )
    // The node that has only the terminating one is no longer announced while another has a ready one, but serves on.
    await expectAnswerers(bed, t, 'client1', await bed.vips('locals'), ['p1'])
    const port = (await bed.serviceAddresses('locals')).nodePorts['80/TCP'] ?? 0
    await expectAnswerers(bed, t, 'client1', bed.nodeAddresses(2), ['p2'], { port })
    await expectAnswerers(bed, t, 'node2', (await bed.serviceAddresses('locals')).clusterIps, ['p1'])
    await expectAnswerers(bed, t, 'client1', await bed.vips('inner'), ['p1', 'p2'])
    await expectAnswerers(bed, t, 'node2', (await bed.serviceAddresses('inner')).clusterIps, ['p2'])
  },
)

t.test('SVC-014 without a usable endpoint everybody is refused at once', async (t) => {
  await bed.apply(service('empty', { type: 'LoadBalancer', ports: TCP_AND_UDP }))
  const { clusterIps, nodePorts } = await bed.serviceAddresses('empty')
  const vips = await bed.vips('empty')
  for (const protocol of ['tcp', 'udp'] as const)
    await expectConnect(bed, t, INSIDE, [...clusterIps, ...vips], 'refused', { protocol })
  const node = bed.rack.plan.nodes[1]?.loopback
  for (const protocol of ['tcp', 'udp'] as const)
    await expectConnect(bed, t, ['client1', ...INSIDE], [node?.ipv4 ?? '', node?.ipv6 ?? ''], 'refused', {
      port: nodePorts[`80/${protocol.toUpperCase()}`] ?? 0,
      protocol,
    })
})

t.test('SVC-015 internalTrafficPolicy Local without an endpoint here never connects', async (t) => {
  await bed.apply(service('here', { internalTrafficPolicy: 'Local' }), ...slices('here', { p2: READY }))
  const { clusterIps } = await bed.serviceAddresses('here')
  await expectConnect(bed, t, 'node2', clusterIps, 'open')
  await expectConnect(bed, t, 'default/caller', clusterIps, 'unreachable')
})

t.test('SVC-017 externalTrafficPolicy Local from inside means the whole cluster', async (t) => {
  await bed.apply(
    service('short', { type: 'LoadBalancer', externalTrafficPolicy: 'Local' }),
    ...slices('short', { p2: READY, p3: READY }),
  )
  const vips = await bed.vips('short')
  await expectAnswerers(bed, t, ['default/caller', 'node1'], vips, ['p2', 'p3'])
})

t.test('SVC-019 a port that a live ClusterIP lacks is refused', async (t) => {
  await bed.apply(service('lacking'), ...slices('lacking', { p1: READY }))
  const { clusterIps } = await bed.serviceAddresses('lacking')
  await expectConnect(bed, t, 'node2', clusterIps, 'open')
  await expectConnect(bed, t, INSIDE, clusterIps, 'refused', { port: 81 })
  await expectConnect(bed, t, INSIDE, clusterIps, 'refused', { protocol: 'udp' })
})

t.test('SVC-020 an address of a ServiceCIDR that is nobody’s gets nothing', async (t) => {
  for (const from of INSIDE) t.not(await bed.connect(from, '10.96.250.250', 80), 'open', from)
  await bed.until('it to be counted', async () => {
    const metrics = await bed.agent<Record<string, { packets: number }>>('node2', '/v1/metrics')
    return (metrics['UNALLOCATED_ADDRESS']?.packets ?? 0) > 0
  })
})

t.test('SVC-022, SVC-023 a Service made again works; ports come and go', async (t) => {
  const spec = { clusterIP: '10.96.200.22', ipFamilyPolicy: 'SingleStack', ipFamilies: ['IPv4'] }
  const at = ['10.96.200.22']
  const [only] = slices('again', { p1: READY })
  await bed.apply(service('again', spec), only ?? '')
  await expectConnect(bed, t, 'node1', at, 'open')
  await bed.kubectl('delete', 'service', 'again')
  await bed.until('it to be gone', async () => (await bed.connect('node1', '10.96.200.22', 80)) !== 'open')
  await bed.apply(service('again', spec), only ?? '')
  await expectConnect(bed, t, 'node1', at, 'open')
  await bed.apply(service('again', { ...spec, ports: [{ name: '', port: 81, targetPort: HTTP_PORT }] }))
  await expectConnect(bed, t, 'node1', at, 'open', { port: 81 })
  await expectConnect(bed, t, 'node1', at, 'refused')
})

t.test('SVC-025 publishNotReadyAddresses reaches a pod that is not ready', async (t) => {
  await bed.apply(
    pod('unready', {
      node: 'node2',
      spec: {
        containers: [
          {
            name: 'netexec',
            image: 'agnhost',
            args: ['netexec', '--hostname=unready', `--http-port=${HTTP_PORT}`],
            readinessProbe: { httpGet: { path: '/none', port: HTTP_PORT } },
          },
        ],
      },
    }),
    service('eager', { selector: { app: 'unready' } }),
  )
  const { clusterIps } = await bed.serviceAddresses('eager')
  await expectConnect(bed, t, 'node1', clusterIps, 'refused')
  await bed.patch('service', 'eager', { spec: { publishNotReadyAddresses: true } })
  await expectAnswerers(bed, t, 'node1', clusterIps, ['unready'])
  await bed.patch('service', 'eager', { spec: { publishNotReadyAddresses: false } })
  await expectConnect(bed, t, 'node1', clusterIps, 'refused')
})
