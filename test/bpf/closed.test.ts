// The pods' cgroup: closed to whom policy does not know yet. A test run's socket is of the namespace that it is made in.

import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Attachments } from '../../src/datapath/attach.ts'
import { ClosedCgroups } from '../../src/datapath/closed-cgroups.ts'
import { KnownNetns } from '../../src/datapath/known-netns.ts'
import { datapathTables } from '../../src/datapath/maps.ts'
import { removeAttachments } from '../../src/datapath/removal.ts'
import { type Address, address, FAMILIES } from '../../src/model/address.ts'
import { cgroupMount } from '../../src/sandbox/host.ts'
import { withNetworkNamespace } from '../../src/sys/libc/namespaces.ts'
import {
  closeDescriptor,
  networkNamespaceCookie,
  openSocket,
  SOCK_DGRAM,
  SOCK_RAW,
} from '../../src/sys/libc/sockets.ts'
import { deleteOrphans } from './orphans.ts'
import { frame } from './packet.ts'
import { World } from './world.ts'

deleteOrphans('closed')
const name = `weir-t${process.pid}-closed-pod`
const path = `/run/netns/${name}`
execFileSync('ip', ['netns', 'add', name])
const world = new World('closed', false, { enforcesPolicy: true })
t.teardown(() => {
  execFileSync('ip', ['netns', 'delete', name])
  world.close()
})
const { knownNetns, closedCgroups } = datapathTables((map) => world.map(map))
const known = new KnownNetns(knownNetns)
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

const AF = { unix: 1, inet: 2, inet6: 10, netlink: 16, packet: 17, rds: 21, xdp: 44 } as const

/** Families of which this process makes no socket now, for it may not. */
function refused(): string[] {
  return Object.entries(AF).flatMap(([name, family]) => {
    try {
      closeDescriptor(openSocket(family, name === 'packet' || name === 'xdp' ? SOCK_RAW : SOCK_DGRAM))
      return []
    } catch (error) {
      // Others the kernel may lack, or have in another type.
      return /EPERM/.test(String(error)) ? [name] : []
    }
  })
}

t.test('packet sockets, and what the kernel sends for', async (t) => {
  const { unseen, noUnseen } = world.datapath
  // kernel_sockets.h does it in kernels that take the program.
  if (!unseen) return void t.match(noUnseen, /weir_closed_create/, 'this kernel refuses the program')
  const bpffs = `/sys/fs/bpf/weir-test-closed-links-${process.pid}`
  const pods = `${cgroupMount()}/weir-test-closed-${process.pid}`
  const home = `${cgroupMount()}${/^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1]}`
  const enter = (cgroup: string) => writeFileSync(`${cgroup}/cgroup.procs`, `${process.pid}`)
  const inPod = () => withNetworkNamespace(path, refused)
  const cookie = networkNamespaceCookie(path)
  mkdirSync(`${pods}/pod`, { recursive: true })
  t.teardown(() => {
    enter(home)
    for (const cgroup of [`${pods}/pod`, pods]) rmdirSync(cgroup)
    rmSync(bpffs, { recursive: true, force: true })
  })
  const attachments = new Attachments(bpffs)
  attachments.attachFunction(unseen)
  new ClosedCgroups(closedCgroups).set([pods, `${pods}/absent`])
  t.strictSame(inPod(), [], 'outside of pods nobody asks')
  enter(`${pods}/pod`)
  t.strictSame(inPod(), ['packet', 'rds', 'xdp'], 'a pod that nobody knows')
  t.strictSame(refused(), [], 'on the host’s network')
  known.set(new Map([[cookie, 'unjudged']]))
  t.strictSame(inPod(), ['packet', 'rds', 'xdp'], 'what they send could not be stopped later')
  known.set(new Map([[cookie, 'judged']]))
  t.strictSame(inPod(), [], 'known: judged at its device')
  known.set(new Map())
  const { datapath } = new World('closed', false, { enforcesPolicy: true })
  const next = new Attachments(bpffs)
  if (datapath.unseen) next.attachFunction(datapath.unseen)
  attachments.close()
  rmSync(`${bpffs}/links/weir_closed_create`)
  t.match(next.verify(new Set()), [{ what: 'link weir_closed_create', how: 'unpinned' }])
  next.close()
  datapath.close()
  t.strictSame(readdirSync(`${bpffs}/links`), ['weir_closed_create'])
  t.strictSame(inPod(), ['packet', 'rds', 'xdp'], 'while no agent runs')
  t.match(removeAttachments(bpffs, false), [
    'program on the making of sockets (modify_return): link weir_closed_create',
  ])
  while (inPod().length > 0) await sleep(10)
  t.pass('the program has gone')
})
