// The pods' cgroup: closed to whom policy does not know yet.

import { fileURLToPath } from 'node:url'
import t from 'tap'
import { policyTables } from '../../src/datapath/maps.ts'
import { PolicyMaps } from '../../src/datapath/policy-maps.ts'
import { address } from '../../src/model/address.ts'
import { openObject } from '../../src/sys/libbpf-ts/index.ts'
import { frame } from './packet.ts'

const object = openObject(fileURLToPath(new URL('../../build/bpf/weir_closed.bpf.o', import.meta.url))).load()
t.teardown(() => object.close())
const maps = new PolicyMaps(
  policyTables((name) => object.map(name)),
  () => 0,
)
const LINK = { destination: '02:00:00:00:00:01', source: '02:00:00:00:00:02' }
const CAST = {
  ipv4: {
    pod: address('10.244.1.5'),
    peer: address('10.244.1.6'),
    node: address('10.255.0.1'),
    loopback: address('127.0.0.2'),
    group: address('224.0.0.251'),
    none: address('0.0.0.0'),
  },
  ipv6: {
    pod: address('fd00:244:1::5'),
    peer: address('fd00:244:1::6'),
    node: address('fd00:255::1'),
    loopback: address('::1'),
    group: address('ff02::fb'),
    none: address('fe80::1'),
  },
} as const

for (const family of ['ipv4', 'ipv6'] as const)
  t.test(family, async (t) => {
    const { pod, peer, node, loopback, group, none } = CAST[family]
    const pass = (hook: 'ingress' | 'egress', from: typeof pod, to: typeof pod) =>
      object
        .program(`weir_closed_${hook}`)
        .testRun({ data: frame(LINK).from(from, 1000).to(to, 80).udp().payload(20).bytes() }).returnValue ===
      1
    t.notOk(pass('egress', pod, peer), 'a pod that nobody knows')
    t.notOk(pass('ingress', peer, pod))
    t.notOk(pass('egress', none, peer))
    t.ok(pass('egress', loopback, loopback), 'to itself')
    t.ok(pass('ingress', loopback, loopback))
    t.notOk(pass('egress', pod, group))
    maps.apply([
      { table: 'identities', put: [{ kind: 'address', text: node, identity: 1, scope: 'node' }] },
      {
        table: 'subjects',
        put: [{ kind: 'pod', address: pod, set: 1, pod: 'a/b', hairpin: { ingress: 0, egress: 0 } }],
      },
    ])
    t.ok(pass('egress', pod, peer), 'known: judged at its device')
    t.ok(pass('ingress', peer, pod))
    t.ok(pass('egress', pod, group))
    t.ok(pass('ingress', peer, group), 'its sender was known')
    t.notOk(pass('ingress', pod, peer), 'the other is not')
    t.ok(pass('egress', node, peer), 'on the host’s network')
    t.ok(pass('ingress', peer, node))
    maps.apply([{ table: 'subjects', delete: [{ kind: 'pod', address: pod }] }])
    t.notOk(pass('egress', pod, peer))
  })
