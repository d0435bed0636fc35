// Host ports: which pods have them, and on which of the node's addresses.

import t from 'tap'
import { address } from '../../../src/model/address.ts'
import type { HostPort, LocalPod } from '../../../src/model/service.ts'
import { planHostPorts } from '../../../src/services/plan-host-ports.ts'
import { podRow } from '../model/rows.ts'

const CONTEXT = {
  nodeName: 'a',
  servesHostPorts: true,
  nodeAddresses: () => [address('10.255.0.1'), address('fd00:255::1')],
}
const WEB: HostPort = { protocol: 'TCP', hostPort: 8080, hostIp: undefined, containerPort: 80 }

const pod = (hostPorts: HostPort[], overrides: Partial<LocalPod> = {}) =>
  podRow('web-0', { addresses: [address('10.244.1.2'), address('fd00:244:1::2')], hostPorts, ...overrides })

const frontends = (hostPorts: HostPort[], overrides: Partial<LocalPod> = {}) =>
  planHostPorts(pod(hostPorts, overrides), CONTEXT).map((port) =>
    port.frontends.map(
      ({ kind, address: ip, port: number, protocol }) => `${kind} ${ip} ${number}/${protocol}`,
    ),
  )

t.test('EXT-020 a pod’s host port is open on every address of its node', async (t) => {
  const planned = planHostPorts(pod([WEB]), CONTEXT)
  t.strictSame(frontends([WEB]), [
    ['host-port 10.255.0.1 8080/TCP', 'loopback 127.0.0.1 8080/TCP'],
    ['host-port fd00:255::1 8080/TCP', 'loopback ::1 8080/TCP'],
  ])
  t.strictSame(
    planned.map(({ id, service, backends, cluster }) => [id, service, backends, cluster]),
    [
      [
        'hostPort shop/web-0 8080/TCP ipv4',
        'hostPort shop/web-0',
        [
          {
            name: '10.244.1.2 80 TCP',
            address: '10.244.1.2',
            port: 80,
            protocol: 'TCP',
            nodeName: 'a',
            state: 'active',
            weight: 1,
          },
        ],
        [0],
      ],
      [
        'hostPort shop/web-0 8080/TCP ipv6',
        'hostPort shop/web-0',
        [
          {
            name: 'fd00:244:1::2 80 TCP',
            address: 'fd00:244:1::2',
            port: 80,
            protocol: 'TCP',
            nodeName: 'a',
            state: 'active',
            weight: 1,
          },
        ],
        [0],
      ],
    ],
  )
})

t.test('EXT-020 one number on several addresses and protocols, as hostIP says', async (t) => {
  const cases: [string, string[][]][] = [
    ['127.0.0.1', [['loopback 127.0.0.1 8080/TCP']]],
    ['10.255.0.1', [['host-port 10.255.0.1 8080/TCP']]],
    ['0.0.0.0', [['host-port 10.255.0.1 8080/TCP', 'loopback 127.0.0.1 8080/TCP']]],
    ['::', [['host-port fd00:255::1 8080/TCP', 'loopback ::1 8080/TCP']]],
    ['198.51.100.1', []],
  ]
  for (const [hostIp, expected] of cases)
    t.strictSame(frontends([{ ...WEB, hostIp: address(hostIp) }]), expected, hostIp)
  const both = planHostPorts(
    pod([
      { ...WEB, hostIp: address('127.0.0.1') },
      { ...WEB, hostIp: address('10.255.0.1') },
      { ...WEB, hostIp: address('10.255.0.1'), protocol: 'UDP' },
    ]),
    CONTEXT,
  )
  t.equal(new Set(both.map(({ id }) => id)).size, 3, 'ids differ')
})

t.test('pods that have none', async (t) => {
  t.strictSame(frontends([WEB], { isHostNetwork: true }), [], 'listens on the node by itself')
  t.strictSame(frontends([WEB], { isRunning: false }), [], 'has ended')
  t.strictSame(frontends([WEB], { addresses: [] }), [], 'has no address yet')
  t.strictSame(planHostPorts(pod([WEB]), { ...CONTEXT, servesHostPorts: false }), [], 'are a CNI plug-in’s')
})
