// What the planners are told of nodes and configuration, and which Services a change makes them plan anew.

import t from 'tap'
import { parseConfig } from '../../../src/agent/config.ts'
import { DirtyKeys } from '../../../src/agent/dirty-keys.ts'
import { planContext } from '../../../src/agent/plan-context.ts'
import { reportService, reportSlice } from '../../../src/agent/report-problems.ts'
import type { InvolvedObject } from '../../../src/kube/events.ts'
import { address, parsePrefix } from '../../../src/model/address.ts'
import {
  type EndpointSlice,
  type LocalPod,
  type Node,
  objectKey,
  type Service,
  type ServiceCidr,
} from '../../../src/model/service.ts'
import { Table } from '../../../src/tables/table.ts'
import { endpointRow, nodeRow, podRow, serviceRow, sliceRow } from '../model/rows.ts'

const configured = (services = '') =>
  parseConfig(
    `
nodeName: node1
stateDirectory: /run/weir/node1
kubernetes: { servers: ["https://192.0.2.1:6443"] }
datapath: { bpffs: /sys/fs/bpf/weir, cgroup: /sys/fs/cgroup, uplinks: [up0] }
routing:
  gobgp: unix:///run/weir/gobgpd.sock
  asn: 65101
  routerId: 10.255.0.1
  loopbacks: [10.255.0.1/32]
  peers: [ { address: 10.254.1.0, asn: 65001, family: ipv4 } ]
pools: [ { name: default, prefixes: [203.0.113.0/24] } ]
${services}`,
    'agent.yaml',
  )

const cidr = (text: string) => {
  const prefix = parsePrefix(text)
  if (prefix === undefined) throw new TypeError(text)
  return prefix
}

const NODE1 = nodeRow('node1', {
  internalIps: { ipv4: address('10.255.0.1'), ipv6: address('fd00:255::1') },
  addresses: [address('10.255.0.1'), address('fd00:255::1'), address('10.1.1.1'), address('198.51.100.1')],
  podCidrs: [cidr('10.244.1.0/24')],
  zone: 'east',
})
const NODE2 = nodeRow('node2', {
  internalIps: { ipv4: address('10.255.0.2') },
  podCidrs: [cidr('10.244.2.0/24'), cidr('fd00:244:2::/64'), cidr('10.245.0.0/20')],
})

function tables() {
  const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b)
  return {
    services: new Table<Service>({ name: 'services', equals: same }),
    slices: new Table<EndpointSlice>({
      name: 'slices',
      equals: same,
      indexes: { service: (slice) => [slice.service] },
    }),
    nodes: new Table<Node>({ name: 'nodes', equals: same }),
    pods: new Table<LocalPod>({ name: 'pods', equals: same }),
    serviceCidrs: new Table<ServiceCidr>({ name: 'service CIDRs', equals: same }),
  }
}

t.test('who owns an address', async (t) => {
  const { nodes } = tables()
  const { nodeOf } = planContext(configured(), nodes)
  t.equal(nodeOf(address('10.244.2.9')), undefined, 'no node yet')
  nodes.set('node2', NODE2)
  const cases: [string, string | undefined][] = [
    ['10.255.0.2', 'node2'],
    ['10.244.2.9', 'node2'],
    ['10.245.15.1', 'node2'],
    ['10.245.16.1', undefined],
    ['fd00:244:2::9', 'node2'],
    ['fd00:244:3::9', undefined],
  ]
  for (const [text, expected] of cases) t.equal(nodeOf(address(text)), expected, text)
  nodes.delete('node2')
  t.equal(nodeOf(address('10.244.2.9')), undefined, 'gone again')
})

t.test('EXT-002 node ports: primary addresses, or those of the networks that are named', async (t) => {
  const { nodes } = tables()
  const addresses = (services: string) => planContext(configured(services), nodes).nodePortAddresses()
  t.strictSame(addresses(''), [], 'an unknown node has none')
  nodes.set('node1', NODE1)
  t.strictSame(addresses(''), ['10.255.0.1', 'fd00:255::1'])
  const cases: [string, string[]][] = [
    ['10.255.0.0/16', ['10.255.0.1']],
    ['10.0.0.0/8, 127.0.0.0/8', ['10.255.0.1', '10.1.1.1', '127.0.0.1']],
    ['"::1/128"', ['::1']],
    ['192.168.0.0/16', []],
  ]
  for (const [list, expected] of cases)
    t.strictSame(addresses(`services: { nodePortAddresses: [${list}] }`), expected, list)
  nodes.set('node1', { ...NODE1, internalIps: {}, addresses: [address('198.51.100.1')] })
  t.strictSame(addresses(''), ['198.51.100.1'], 'without InternalIPs an ExternalIP is the primary one')
})

t.test('EXT-006 which addresses externalIPs may take', async (t) => {
  const { nodes } = tables()
  nodes.set('node1', NODE1)
  nodes.set('node2', NODE2)
  const may = (services: string, text: string) =>
    planContext(configured(services), nodes).mayBeExternal(address(text))
  const cases: [string, string, boolean][] = [
    ['', '198.51.100.99', true],
    ['', '10.255.0.2', false],
    ['', '10.244.2.9', false],
    ['', '10.254.1.0', false],
    ['', '192.0.2.1', false],
    ['services: { externalIPs: { enabled: false } }', '198.51.100.99', false],
    ['services: { externalIPs: { allow: [198.51.100.0/24] } }', '198.51.100.99', true],
    ['services: { externalIPs: { allow: [198.51.100.0/24] } }', '203.0.113.9', false],
    ['services: { externalIPs: { allow: [10.255.0.0/16] } }', '10.255.0.2', true],
  ]
  for (const [services, text, expected] of cases)
    t.equal(may(services, text), expected, `${text} ${services || 'by default'}`)
})

function setUp() {
  const sources = {
    ...tables(),
    synced: Promise.resolve(),
    describe: () => ({}),
    close: () => {},
  }
  const plan = planContext(configured(), sources.nodes)
  const dirty = new DirtyKeys(sources, plan, () => {})
  const take = () => [...dirty.take().keys].sort()
  /** As the service loop does for every key it is given. */
  const planAll = () => {
    for (const key of take()) {
      const service = sources.services.get(key)
      if (service) dirty.notePlanned(service, sources.slices.find('service', key))
    }
  }
  return { sources, dirty, take, planAll }
}

const OTHER = objectKey('shop', 'other')

t.test('a slice makes its Service dirty, and the one that lost it', async (t) => {
  const { sources, take } = setUp()
  sources.slices.set('shop/web-1', sliceRow('web-1'))
  t.strictSame(take(), ['shop/web'])
  sources.slices.set('shop/web-1', sliceRow('web-1', { service: OTHER }))
  t.strictSame(take(), ['shop/other', 'shop/web'])
  sources.slices.delete('shop/web-1')
  t.strictSame(take(), ['shop/other'])
})

t.test('SVC-030 what nobody reads makes nothing dirty', async (t) => {
  const { sources, planAll, take } = setUp()
  sources.services.set('shop/web', serviceRow())
  sources.nodes.set('node1', NODE1)
  planAll()
  sources.services.set('shop/web', serviceRow())
  sources.nodes.set('node2', NODE2)
  sources.nodes.set('node1', { ...NODE1, isLeaving: true })
  t.strictSame(take(), [])
})

t.test('endpoints are planned again when their node comes or goes, or may be a new one’s', async (t) => {
  const { sources, planAll, take } = setUp()
  sources.services.set('shop/web', serviceRow())
  sources.services.set('shop/other', serviceRow({ key: OTHER }))
  sources.slices.set('shop/web-1', sliceRow('web-1', { endpoints: [endpointRow('10.244.2.9')] }))
  sources.slices.set(
    'shop/other-1',
    sliceRow('other-1', { service: OTHER, endpoints: [endpointRow('10.244.2.9', { nodeName: 'node2' })] }),
  )
  planAll()
  sources.nodes.set('node2', NODE2)
  t.strictSame(take(), ['shop/other', 'shop/web'])
  sources.nodes.set('node2', { ...NODE2, zone: 'west' })
  t.strictSame(take(), ['shop/web'], 'a node that only changes')
  sources.nodes.delete('node2')
  t.strictSame(take(), ['shop/other', 'shop/web'])
})

t.test('TOP-003 a change of this node’s zone or addresses is everybody’s', async (t) => {
  const { sources, planAll, take } = setUp()
  sources.services.set('shop/web', serviceRow())
  sources.pods.set('shop/web-0', podRow('web-0'))
  sources.nodes.set('node1', NODE1)
  planAll()
  sources.nodes.set('node1', { ...NODE1, zone: 'west' })
  t.strictSame(take(), ['hostPort shop/web-0', 'shop/web'])
  sources.nodes.set('node1', { ...NODE1, zone: 'west', addresses: [address('10.255.0.1')] })
  t.strictSame(take(), ['hostPort shop/web-0', 'shop/web'])
})

t.test(
  'SVC-028 what is wrong becomes an Event on the object, a wrong family one on the Service',
  async (t) => {
    const said: string[] = []
    const uids: (string | undefined)[] = []
    const reporter = {
      events: {
        record: ({ kind, name, uid }: InvolvedObject, type: string, reason: string, message: string) => {
          said.push(`${kind} ${name} ${type} ${reason}: ${message}`)
          uids.push(uid)
        },
      },
      log: { warn: () => {} },
    }
    const problem = { reason: 'InvalidValue', what: "spec.x 'y'", why: 'is not z' } as const
    reportService(serviceRow({ problems: [problem] }), reporter)
    reportSlice(
      sliceRow('web-1', { problems: [problem, { ...problem, reason: 'KubeProxyIncorrectIPVersion' }] }),
      serviceRow(),
      reporter,
    )
    t.strictSame(uids, ['uid-web', 'uid-web-1', 'uid-web'], 'by which kubectl describe finds them')
    t.strictSame(said, [
      "Service web Warning InvalidValue: spec.x 'y' is not z",
      "EndpointSlice web-1 Warning InvalidValue: spec.x 'y' is not z",
      "Service web Warning KubeProxyIncorrectIPVersion: EndpointSlice shop/web-1: spec.x 'y' is not z",
    ])
  },
)
