// Pods, nodes, namespaces and the rest, as policy sees them.

import t from 'tap'
import {
  toNamespaceLabels,
  toNetworkGroup,
  toPolicyNode,
  toPolicyPod,
  toPolicyService,
} from '../../../../src/kube/policies/world.ts'

t.test('a pod', async (t) => {
  const port = (name: string, containerPort: number) => ({ name, containerPort })
  t.strictSame(
    toPolicyPod({
      metadata: { namespace: 'shop', name: 'web-1', uid: '4f2', labels: { app: 'web' } },
      spec: {
        nodeName: 'node1',
        containers: [{ name: 'a', ports: [port('http', 80), { containerPort: 81 }] }],
        initContainers: [
          { name: 'sidecar', restartPolicy: 'Always', ports: [{ ...port('dns', 53), protocol: 'UDP' }] },
          { name: 'once', ports: [port('gone', 1)] },
        ],
      },
      status: { phase: 'Running', podIPs: [{ ip: '10.244.1.2' }, { ip: '2001:DB8::1' }] },
    }),
    {
      key: 'shop/web-1',
      uid: '4f2',
      namespace: 'shop',
      labels: { app: 'web' },
      serviceAccount: 'default',
      addresses: ['10.244.1.2', '2001:db8::1'],
      node: 'node1',
      isHostNetwork: false,
      isFinished: false,
      namedPorts: [
        { name: 'http', protocol: 'tcp', port: 80 },
        { name: 'dns', protocol: 'udp', port: 53 },
      ],
    },
  )
  const finished = toPolicyPod({
    metadata: { name: 'x' },
    spec: { containers: [], hostNetwork: true },
    status: { phase: 'Failed' },
  })
  t.match(finished, { isFinished: true, isHostNetwork: true, addresses: [] })
})

t.test('the others', async (t) => {
  t.strictSame(toNamespaceLabels({ metadata: { name: 'shop', labels: { team: 'a' } } }), {
    team: 'a',
    'kubernetes.io/metadata.name': 'shop',
  })
  t.strictSame(
    toPolicyNode({
      metadata: { name: 'node1' },
      status: {
        addresses: [
          { type: 'InternalIP', address: '10.255.0.1' },
          { type: 'Hostname', address: 'node1' },
        ],
      },
    }).addresses,
    ['10.255.0.1'],
  )
  t.strictSame(
    toPolicyService({ metadata: { namespace: 'shop', name: 'db' }, spec: {} }, [
      {
        metadata: {},
        addressType: 'IPv4',
        endpoints: [
          { addresses: ['10.244.1.3'] },
          { addresses: ['10.244.1.2'], conditions: { ready: false } },
        ],
      },
      { metadata: {}, addressType: 'IPv4', endpoints: null },
    ]).endpoints,
    ['10.244.1.2', '10.244.1.3'],
  )
  t.strictSame(
    toNetworkGroup({ metadata: { name: 'g' }, spec: { externalCIDRs: ['10.0.0.0/8', 'x'] } }),
    { name: 'g', labels: {}, prefixes: ['10.0.0.0/8'], isBroken: true },
    'it says that it holds more',
  )
  t.strictSame(toNetworkGroup({ metadata: { name: 'g' }, spec: { externalCIDRs: [] } }), {
    name: 'g',
    labels: {},
    prefixes: [],
  })
  t.equal(toNetworkGroup({ metadata: { name: 'g' } }).isBroken, true, 'no list at all')
})
