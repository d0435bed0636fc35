// The pods' cgroup: closed to whom policy does not know yet. A test run's socket is of the namespace that it is made in.

import { execFileSync } from 'node:child_process'
import t from 'tap'
import { KnownNetns } from '../../src/datapath/known-netns.ts'
import { datapathTables } from '../../src/datapath/maps.ts'
import { type Address, address, FAMILIES } from '../../src/model/address.ts'
import { withNetworkNamespace } from '../../src/sys/libc/namespaces.ts'
import { networkNamespaceCookie } from '../../src/sys/libc/sockets.ts'
import { deleteOrphans } from './orphans.ts'
import { frame } from './packet.ts'
import { World } from './world.ts'

deleteOrphans('closed')
const name = `closed-${process.pid}-pod`
const path = `/run/netns/${name}`
execFileSync('ip', ['netns', 'add', name])
const world = new World('closed', false, { enforcesPolicy: true })
t.teardown(() => {
  execFileSync('ip', ['netns', 'delete', name])
  world.close()
})
const known = new KnownNetns(datapathTables((map) => world.map(map)).knownNetns)
const LINK = { destination: '02:00:00:00:00:01', source: '02:00:00:00:00:02' }
const LOOPBACK = { ipv4: address('127.0.0.2'), ipv6: address('::1') }

function passes(hook: 'ingress' | 'egress', from: Address, to: Address): boolean {
  const program = world.datapath.closed.find((one) => one.name === `weir_closed_${hook}`)
  const data = frame(LINK).from(from, 1000).to(to, 80).udp().payload(20).bytes()
  return program?.testRun({ data }).returnValue === 1
}

for (const family of FAMILIES)
  t.test(family, async (t) => {
    const { localClient: pod, pod: peer, node } = world.cast(family)
    const loopback = LOOPBACK[family]
    const both = (one: Address, other: Address) => [
      passes('egress', one, other),
      passes('ingress', other, one),
    ]
    const inPod = (one: Address, other: Address) => withNetworkNamespace(path, () => both(one, other))
    t.strictSame(inPod(pod, peer), [false, false], 'a pod that nobody knows')
    t.strictSame(inPod(node, peer), [false, false], 'whatever it says it is')
    t.strictSame(inPod(loopback, loopback), [true, true], 'to itself')
    t.strictSame(both(node, peer), [true, true], 'on the host’s network')
    t.strictSame(both(pod, peer), [true, true], 'whatever the address')
    known.set(new Map([[networkNamespaceCookie(path), 'judged']]))
    t.strictSame(inPod(pod, peer), [true, true], 'known: judged at its device')
    known.set(new Map([[networkNamespaceCookie(path) + 1n, 'judged']]))
    t.strictSame(inPod(pod, peer), [false, false], 'another is')
    known.set(new Map())
  })
