// What commands for the node print.

import t from 'tap'
import { formatDrops, formatFlows } from '../../../src/cli/flow.ts'
import { formatService, formatServices } from '../../../src/cli/service.ts'
import { address } from '../../../src/model/address.ts'
import { objectKey } from '../../../src/model/service.ts'

const WEB = {
  service: objectKey('default', 'web'),
  held: ['10.96.0.7', '203.0.113.1'],
  ports: ['80:30080/TCP', '53/UDP'],
  usable: { anywhere: 2, here: 1 },
  problems: [],
}

t.test('Services: a row each, by name, with the first problem below', async (t) => {
  const full = {
    ...WEB,
    service: objectKey('a', 'full'),
    held: [],
    problems: ['the table of slots is full; raise datapath.capacities.slots', 'another'],
  }
  t.equal(
    formatServices([WEB, full]),
    [
      'SERVICE      ADDRESSES              PORTS                ENDPOINTS  HERE  PROBLEMS',
      'a/full       <none>                 80:30080/TCP 53/UDP  2          1     2',
      'default/web  10.96.0.7 203.0.113.1  80:30080/TCP 53/UDP  2          1',
      '',
      'a/full: the table of slots is full; raise datapath.capacities.slots; 1 more: weir service show a/full',
      '',
    ].join('\n'),
  )
  t.match(formatServices([]), /^No Services in this node's kernel\. .*weir status/)
})

t.test('one Service: its ports with frontends, endpoints, and who takes new flows', async (t) => {
  const endpoint = { address: '10.244.1.2', port: 8080, node: 'node1', state: 'active', weight: 1 }
  const text = formatService({
    ...WEB,
    ports: [
      {
        id: 'default/web 80/TCP ipv4',
        frontends: [{ address: '203.0.113.1', port: 80, protocol: 'TCP', kind: 'load-balancer' }],
        endpoints: [
          { ...endpoint, inCluster: true, inLocal: true },
          { ...endpoint, address: '10.244.2.2', state: 'terminating', inCluster: false, inLocal: false },
        ],
        forwarding: 'dsr',
        balancing: 'maglev',
        affinitySeconds: 10_800,
        externalTrafficPolicy: 'Cluster',
        internalTrafficPolicy: 'Cluster',
        sourceRanges: ['198.51.100.0/24'],
      },
    ],
  })
  t.match(text, /Endpoints {2}2 usable, 1 of them on this node/)
  t.match(text, /forwarding dsr, balancing maglev, .* affinity 10800s, source\s+ranges\s+198.51.100.0\/24/)
  t.match(text, /203.0.113.1 +80\/TCP +load-balancer/)
  t.match(text, /10.244.1.2 +8080 +node1 +active +1 +cluster, local/)
  t.match(text, /10.244.2.2 .* terminating +1 +no/)
})

const FLOW = {
  kind: 'TO_LOCAL',
  state: 'ESTABLISHED',
  protocol: 'TCP',
  client: '[2001:db8::7]:40000',
  frontend: '[2001:db8:113::1]:80',
  backend: undefined,
  service: 'shop/web',
  idleSeconds: 7300,
  snatPort: 61_000,
}

t.test('flows: a row each, and how many more there are', async (t) => {
  const text = formatFlows({ flows: [FLOW], more: 12 })
  t.match(text, /TCP +\[2001:db8::7\]:40000 +\[2001:db8:113::1\]:80 +<gone> +TO_LOCAL +ESTABLISHED +2h\n/)
  t.match(text, /\n12 more; --limit 0 for all/)
  t.notMatch(formatFlows({ flows: [FLOW], more: 0 }), /more/)
  const wide = formatFlows({ flows: [FLOW], more: 0 }, { isWide: true })
  t.match(wide, /IDLE +SERVICE +SNAT PORT\n.*2h +shop\/web +61000\n$/)
})

t.test('flows: none is said, and whether a filter is why', async (t) => {
  t.match(formatFlows({ flows: [], more: 0 }), /^No flows: no connection/)
  t.match(formatFlows({ flows: [], more: 0 }, { isFiltered: true }), /^No flow of this node is like that\./)
})

t.test('drops: none is said, with the time since when', async (t) => {
  const sinceMs = Date.UTC(2026, 0, 2, 3, 4, 5)
  t.equal(
    formatDrops({ drops: [], sinceMs, counted: 0 }),
    'No packets dropped or refused since 2026-01-02T03:04:05Z.\n',
  )
  t.match(
    formatDrops({ drops: [], sinceMs: undefined, counted: 0 }),
    /^No packets dropped or refused of late\.\n$/,
  )
  t.match(formatDrops({ drops: [], sinceMs, counted: 7 }), /05Z, and 7 before that: weir_packets_total/)
})

t.test('drops: when, why, who, and how many are not listed', async (t) => {
  const timeMs = Date.UTC(2026, 0, 2, 3, 4, 5)
  const answer = {
    drops: [
      {
        timeMs,
        reason: 'SOURCE_RANGE',
        source: address('198.51.100.7'),
        sourcePort: 40_000,
        destination: address('203.0.113.1'),
        destinationPort: 80,
        protocol: 'TCP',
        ifindex: 3,
        service: 'default/web',
      },
      {
        timeMs,
        reason: 'POLICY_INGRESS',
        source: address('198.51.100.7'),
        sourcePort: 40_000,
        destination: address('10.0.0.1'),
        destinationName: 'default/web',
        destinationPort: 80,
        protocol: 'TCP',
        ifindex: 3,
        service: undefined,
        rule: 'NetworkPolicy default/web isolates ingress',
      },
    ],
    sinceMs: 0,
    counted: 4,
  }
  const text = formatDrops(answer, { nowMs: timeMs + 7000 })
  t.match(text, /^AGE +REASON +PROTOCOL +SOURCE +DESTINATION +SERVICE OR RULE$/m)
  t.match(text, /^7s +SOURCE_RANGE +TCP +198.51.100.7:40000 +203.0.113.1:80 +default\/web$/m)
  t.match(text, /^7s +POLICY_INGRESS +TCP +198.51.100.7:40000 +default\/web:80 +\[1\]$/m)
  t.match(text, /^\[1\] NetworkPolicy default\/web isolates ingress$/m)
  t.match(text, /The newest 2 of 4;/)
  const wide = formatDrops(answer, { isWide: true })
  t.match(wide, /^2026-01-02T03:04:05.000Z +POLICY_INGRESS +TCP +198.51.100.7:40000 +10.0.0.1:80 +\[1\]$/m)
})
