// CNP-008 at the socket: a process whose Service leads it to itself, for its packets meet no other hook.

import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, rmdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import t from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import { FrontendFilter } from '../../src/datapath/frontend-filter.ts'
import { DEFAULT_SETTINGS, loadDatapath } from '../../src/datapath/load.ts'
import { policyTables } from '../../src/datapath/maps.ts'
import { PolicyMaps } from '../../src/datapath/policy-maps.ts'
import { address, addressToBytes } from '../../src/model/address.ts'
import { cgroupMount } from '../../src/sandbox/host.ts'
import { attachCgroup } from '../../src/sys/libbpf-ts/index.ts'
import { networkNamespaceCookie } from '../../src/sys/libc/sockets.ts'
import { TCP } from './packet.ts'
import { said, uniform } from './policy-rows.ts'

const CAST = {
  ipv4: { vip: address('203.0.113.21'), self: address('127.0.0.1'), other: address('192.0.2.1') },
  ipv6: { vip: address('2001:db8:113::21'), self: address('::1'), other: address('2001:db8:1::1') },
} as const
const PORT = 80
const NONE: abi.SlotRange = { base: 0, size: 0 }
const [DENY, ALLOW] = [1, 2]

const cgroup = `${cgroupMount()}/weir-test-socket-policy-${process.pid}`
const bpffs = `/sys/fs/bpf/weir-test-socket-policy-${process.pid}`
mkdirSync(cgroup)
const datapath = loadDatapath({
  bpffs,
  objects: undefined,
  redirectsOnly: false,
  settings: { ...DEFAULT_SETTINGS, enforcesPolicy: true },
  tunnelAddresses: { ipv4: undefined, ipv6: undefined },
})
const links = datapath.socket.map((program) => attachCgroup(program, cgroup))
const maps = new PolicyMaps(policyTables(datapath.map), () => 0)
const server = createServer((socket) => socket.end('hello')).listen(0, '::')

t.teardown(() => {
  server.close()
  for (const link of links) link.close()
  datapath.close()
  rmSync(bpffs, { recursive: true, force: true })
  rmdirSync(cgroup)
})

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

function writeService(family: keyof typeof CAST, id: number, port: number): void {
  const { vip, self } = CAST[family]
  const { FRONTEND_EXTERNAL, FRONTEND_ANY_ENDPOINT } = abi.FrontendFlags
  const backend = { address: addressToBytes(self), port, protocol: TCP, nodeId: 0, nexthopId: 0 }
  const state = abi.BackendState.BACKEND_ACTIVE
  const flags = abi.BackendFlags.BACKEND_LOCAL
  datapath.map('backends').update(u32(id), abi.encodeBackend({ ...backend, state, flags }))
  datapath.map('slots').update(u32(id), abi.encodeSlotPair({ backendId: [id, id] }))
  new FrontendFilter(new Uint32Array(datapath.map('frontend_filter').mmap())).hold(vip)
  datapath.map('frontends').update(
    abi.encodeFrontendKey({ address: addressToBytes(vip), port: PORT, protocol: TCP }),
    abi.encodeFrontend({
      ...{ frontendId: id, serviceId: id, affinityTicks: 0, portId: 0 },
      flags: FRONTEND_EXTERNAL | FRONTEND_ANY_ENDPOINT,
      ...{ cluster: { base: id * 2, size: 1 }, clusterBefore: NONE, local: NONE, localBefore: NONE },
    }),
  )
}

/** Where sockets of this test speak from. */
function speakFrom(who: 'self' | 'other'): void {
  const key = Buffer.alloc(8)
  key.writeBigUInt64LE(networkNamespaceCookie())
  const [ipv4, ipv6] = [addressToBytes(CAST.ipv4[who]), addressToBytes(CAST.ipv6[who])]
  datapath.map('netns_endpoints').update(key, abi.encodeNetnsEndpoint({ ipv4, ipv6 }))
}

function connects(to: string): boolean {
  const script = 'echo $$ > "$1/cgroup.procs" && exec timeout 2 bash -c "exec 3<>/dev/tcp/$2/$3"'
  const argv = ['-c', script, 'sh', cgroup, to, String(PORT)]
  return spawnSync('sh', argv, { stdio: 'ignore' }).status === 0
}

t.test('a Service that leads to its caller', async (t) => {
  if (!server.listening) await once(server, 'listening')
  const bound = server.address()
  const port = typeof bound === 'object' && bound ? bound.port : 0
  maps.apply([{ table: 'classes', put: [uniform(DENY, said(false)), uniform(ALLOW, said(true))] }])
  for (const [index, family] of (['ipv4', 'ipv6'] as const).entries()) {
    const { vip, self } = CAST[family]
    writeService(family, index + 1, port)
    const judge = (ingress: number, egress: number) =>
      maps.apply([
        {
          table: 'subjects',
          put: [{ kind: 'pod', address: self, set: 1, pod: 'a/b', hairpin: { ingress, egress } }],
        },
      ])
    speakFrom('self')
    t.notOk(connects(vip), `${family}: nothing is known of it`)
    const row = { kind: 'address', text: self } as const
    maps.apply([{ table: 'identities', put: [{ ...row, identity: 1, scope: 'node' }] }])
    t.ok(connects(vip), `${family}: the node that one of its own network serves is no pod`)
    maps.apply([{ table: 'identities', delete: [row] }])
    judge(ALLOW, ALLOW)
    t.ok(connects(vip), `${family}: both directions allow it`)
    judge(DENY, ALLOW)
    t.notOk(connects(vip), `${family}: it may not be reached`)
    judge(ALLOW, DENY)
    t.notOk(connects(vip), `${family}: it may not begin`)
    speakFrom('other')
    t.ok(connects(vip), `${family}: another’s packets are judged on their way`)
  }
})
