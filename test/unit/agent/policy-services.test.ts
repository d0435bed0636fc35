// `weir policy explain` to a Service's address: it is followed to the endpoints as the datapath leads it.

import t from 'tap'
import { parseConfig } from '../../../src/agent/config.ts'
import { RequestError } from '../../../src/agent/local-api.ts'
import { policyServices } from '../../../src/agent/policy-services.ts'
import { formatExplanation } from '../../../src/cli/policy.ts'
import { toPolicyObject } from '../../../src/kube/policies/resources.ts'
import { address, parsePrefix } from '../../../src/model/address.ts'
import type { PolicyWorld } from '../../../src/model/policy.ts'
import {
  type EndpointSlice,
  type LocalPod,
  type Node,
  objectKey,
  type Service,
} from '../../../src/model/service.ts'
import { Table } from '../../../src/tables/table.ts'
import { endpointRow, nodeRow, podRow, serviceRow, sliceRow } from '../model/rows.ts'
import { node, pod, world } from '../policy/rows.ts'
import { explain, explainParts } from './explain-bed.ts'

const CONFIG = parseConfig(
  `
nodeName: n1
stateDirectory: /run/weir/n1
kubernetes: { servers: ["https://192.0.2.9:6443"] }
datapath: { bpffs: /sys/fs/bpf/weir, cgroup: /sys/fs/cgroup, uplinks: [up0] }
routing:
  gobgp: unix:///run/weir/gobgpd.sock
  asn: 65101
  routerId: 192.0.2.1
  loopbacks: [192.0.2.1/32]
  peers: [ { address: 10.254.1.0, asn: 65001, family: ipv4 } ]
pools: [ { name: default, prefixes: [203.0.113.0/24] } ]
services: { forwarding: snat }`,
  'agent.yaml',
)

const ONLY_CART_AND_CLIENTS = toPolicyObject('NetworkPolicy', {
  metadata: { namespace: 'shop', name: 'web' },
  ...{
    spec: {
      podSelector: { matchLabels: { app: 'web' } },
      ingress: [
        {
          from: [{ podSelector: { matchLabels: { app: 'cart' } } }, { ipBlock: { cidr: '198.51.100.0/24' } }],
          ports: [{ port: 8080 }],
        },
      ],
    },
  },
})

const WORLD: PolicyWorld = world({
  policies: ONLY_CART_AND_CLIENTS.policies,
  pods: [
    pod('shop/web-1', {
      ...{ labels: { app: 'web' }, addresses: ['10.0.1.1'], node: 'n1' },
      namedPorts: [{ name: 'http', protocol: 'tcp', port: 8080 }],
    }),
    pod('shop/web-2', { labels: { app: 'web' }, addresses: ['10.0.2.1'], node: 'n2' }),
    pod('shop/cart', { labels: { app: 'cart' }, addresses: ['10.0.1.2'], node: 'n1' }),
    pod('shop/other', { labels: { app: 'other' }, addresses: ['10.0.1.3'], node: 'n1' }),
  ],
  nodes: [node('n1', { addresses: ['192.0.2.1'] }), node('n2', { addresses: ['192.0.2.2'] })],
})

const ENDPOINTS = [endpointRow('10.0.1.1', { nodeName: 'n1' }), endpointRow('10.0.2.1', { nodeName: 'n2' })]

const SERVICE: Partial<Service> = {
  loadBalancerIps: [address('203.0.113.2')],
  ports: [{ name: 'http', protocol: 'TCP', port: 80, nodePort: 30_080 }],
}

function parts(change: Partial<Service> = {}, endpoints = ENDPOINTS) {
  const equals = () => false
  const tables = {
    services: new Table<Service>({ name: 'services', equals }),
    slices: new Table<EndpointSlice>({
      name: 'slices',
      equals,
      indexes: { service: (one) => [one.service] },
    }),
    nodes: new Table<Node>({ name: 'nodes', equals }),
    pods: new Table<LocalPod>({ name: 'pods', equals }),
  }
  const service = serviceRow({ ...SERVICE, ...change })
  tables.services.set(service.key, service)
  const slice = sliceRow('web-1', { endpoints })
  tables.slices.set(slice.key, slice)
  for (const [name, ip] of [
    ['n1', '192.0.2.1'],
    ['n2', '192.0.2.2'],
  ] as const)
    tables.nodes.set(name, nodeRow(name, { internalIps: { ipv4: address(ip) } }))
  const host = { protocol: 'TCP', hostPort: 9090, hostIp: undefined, containerPort: 8080 } as const
  const own = podRow('web-1', { addresses: [address('10.0.1.1')], hostPorts: [host] })
  tables.pods.set(objectKey('shop', 'web-1'), own)
  return explainParts(WORLD, { services: policyServices(CONFIG, tables, () => CONFIG.pools) })
}

const ask = (from: string, to: string, port: string, change: Partial<Service> = {}) =>
  explain([from, to, port], parts(change))

t.test('from a pod: the endpoints themselves, with its own address', async (t) => {
  for (const [to, port] of [
    ['10.96.0.10', '80/tcp'],
    ['203.0.113.2', '80/tcp'],
    ['192.0.2.1', '30080/tcp'],
  ] as const) {
    const [allowed, ...others] = await ask('shop/cart', to, port)
    t.strictSame(others, [], 'of both endpoints the same is said')
    t.match(allowed, {
      isAllowed: true,
      service: {
        name: 'Service shop/web',
        endpoints: ['shop/web-1 10.0.1.1:8080', 'shop/web-2 10.0.2.1:8080'],
        lent: [],
      },
      ingress: { cause: /from\[0\], ports\[0\]$/, kernel: { agrees: true, verdict: 'allow' } },
    })
    t.match(await ask('shop/other', to, port), [{ isAllowed: false, ingress: { kernel: { agrees: true } } }])
  }
  const text = formatExplanation(await ask('shop/cart', '10.96.0.10', '80'))
  t.match(
    text,
    /^10\.0\.1\.2 to 10\.96\.0\.10, tcp 80, Service shop\/web: allowed\n {2}endpoints +shop\/web-1 10/,
  )
})

t.test('from outside: a pod of the node that it enters at, and another by that node’s address', async (t) => {
  const answers = await ask('198.51.100.7', '203.0.113.2', '80/tcp')
  t.equal(answers.length, 2)
  t.match(answers, [
    {
      isAllowed: true,
      service: { lent: [] },
      ingress: { cause: /from\[1\], ports\[0\]$/, kernel: { agrees: true } },
    },
    {
      isAllowed: false,
      service: { lent: ['192.0.2.1 (node n1)', '192.0.2.2 (node n2)'] },
      ingress: { verdict: 'deny', kernel: { agrees: true } },
    },
  ])
  t.match(formatExplanation(answers), /^ {2}source +192\.0\.2\.1 \(node n1\), 192\.0\.2\.2 \(node n2\)$/m)
  t.match(await ask('198.51.100.7', '203.0.113.2', '80', { forwarding: 'dsr' }), [{ isAllowed: true }])
  t.match(await ask('198.51.100.7', '203.0.113.2', '80', { externalTrafficPolicy: 'Local' }), [
    { isAllowed: true, service: { endpoints: { length: 2 }, lent: [] } },
  ])
  for (const forwarding of ['snat', 'dsr'] as const)
    t.match(await ask('198.51.100.7', '192.0.2.1', '30080', { forwarding }), [
      { isAllowed: true, service: { endpoints: ['shop/web-1 10.0.1.1:8080'] } },
      {
        isAllowed: false,
        service: { endpoints: ['shop/web-2 10.0.2.1:8080'], lent: ['192.0.2.1 (node n1)'] },
      },
    ])
})

t.test('to another node’s port: that node is who it goes to, and leads it on', async (t) => {
  t.match(await ask('shop/cart', '192.0.2.2', '30080'), [
    {
      isAllowed: false,
      service: { endpoints: ['shop/web-1 10.0.1.1:8080'], lent: ['192.0.2.2 (node n2)'] },
      ingress: { kernel: { agrees: true } },
    },
    { isAllowed: true, service: { endpoints: ['shop/web-2 10.0.2.1:8080'], lent: [] } },
  ])
})

t.test('host ports, source ranges, and what leads nowhere', async (t) => {
  t.match(await ask('198.51.100.7', '192.0.2.1', '9090'), [
    { isAllowed: true, service: { name: 'host port of pod shop/web-1' } },
  ])
  const sourceRanges = [parsePrefix('198.51.100.0/28')].filter((one) => one !== undefined)
  const [refused] = await ask('198.51.100.77', '203.0.113.2', '80', { sourceRanges })
  t.match(refused, { isAllowed: false, refusal: /loadBalancerSourceRanges are 198\.51\.100\.0\/28/ })
  await t.rejects(ask('shop/cart', '10.96.0.10', '81'), {
    constructor: RequestError,
    message: /no Service has port 81\/tcp at 10\.96\.0\.10: Service shop\/web has 80\/tcp/,
  })
  await t.rejects(ask('shop/cart', '10.96.0.10', '8/icmp'), { message: /no endpoint gets ICMP/ })
  await t.rejects(explain(['shop/cart', '10.96.0.10', '80'], parts({}, [])), /has no endpoint/)
  t.match(await ask('shop/cart', 'shop/web-1', 'http'), [{ port: 8080, isAllowed: true }])
  t.match(await ask('shop/cart', '192.0.2.2', '22'), [{ isAllowed: true }])
})

t.test('from another node: what hides behind its address is told beside it', async (t) => {
  const [answer] = await ask('192.0.2.2', 'shop/web-1', '8080')
  t.match(answer, {
    isAllowed: false,
    masqueraded: { verdict: 'deny', kernel: { agrees: true } },
  })
  t.match(
    formatExplanation([answer].filter((one) => one !== undefined)),
    /^ {2}masqueraded +traffic with source NAT to 192\.0\.2\.2/m,
  )
  t.equal((await ask('192.0.2.1', 'shop/web-1', '8080'))[0]?.masqueraded, undefined, 'its own node')
})
