// Containers in a pod's container: real namespaces and cgroups, the closed default on them, and what the agent finds there.

import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { LIMITS } from '../../src/agent/inner-limits.ts'
import { lookInside } from '../../src/agent/inner-look.ts'
import { Attachments } from '../../src/datapath/attach.ts'
import { ClosedCgroups } from '../../src/datapath/closed-cgroups.ts'
import { KnownNetns } from '../../src/datapath/known-netns.ts'
import { datapathTables } from '../../src/datapath/maps.ts'
import { takeNotedNetns } from '../../src/datapath/noted-netns.ts'
import { cgroupMount } from '../../src/sandbox/host.ts'
import { closeDescriptor, listenTcpIn, networkNamespaceCookie } from '../../src/sys/libc/sockets.ts'
import { deleteOrphans } from './orphans.ts'
import { World } from './world.ts'

const PORT = 80

deleteOrphans('inner')
const ip = (...words: string[]) => execFileSync('ip', words, { stdio: ['ignore', 'pipe', 'pipe'] }).toString()
const POD = `weir-t${process.pid}-inner-pod`
/** As the host is to the pod: where its device leads. */
const HOST = `weir-t${process.pid}-inner-host`
const pathOf = (name: string) => `/run/netns/${name}`
const pods = `${cgroupMount()}/weir-test-inner-${process.pid}`
const [own, other] = [`${pods}/besteffort/pod1`, `${pods}/besteffort/pod2`]
const bpffs = `/sys/fs/bpf/weir-test-inner-links-${process.pid}`
const running: ChildProcess[] = []
const world = new World('inner', false, { enforcesPolicy: true })
const attachments = new Attachments(bpffs)
for (const name of [POD, HOST]) ip('netns', 'add', name)
for (const cgroup of [own, other]) mkdirSync(cgroup, { recursive: true })
t.teardown(async () => {
  attachments.close()
  rmSync(bpffs, { recursive: true, force: true })
  for (const child of running) child.kill('SIGKILL')
  await Promise.all(running.map((child) => new Promise((resolve) => child.once('close', resolve))))
  for (const cgroup of [own, other, `${pods}/besteffort`, pods]) await removeCgroup(cgroup)
  for (const name of [POD, HOST]) ip('netns', 'delete', name)
  world.close()
})

async function removeCgroup(cgroup: string): Promise<void> {
  for (;;)
    try {
      return rmdirSync(cgroup)
    } catch {
      await sleep(10)
    }
}

const tables = datapathTables((map) => world.map(map))
const known = new KnownNetns(tables.knownNetns)
new ClosedCgroups(tables.closedCgroups).set([pods])
attachments.attachCgroups(world.datapath.closed, ['weir_closed_egress', 'weir_closed_ingress'], [pods])
const podCookie = networkNamespaceCookie(pathOf(POD))
known.set(new Map([[podCookie, 'judged']]))
ip('-n', HOST, 'link', 'add', 'to-pod', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', POD)
ip('-n', POD, 'link', 'set', 'eth0', 'up')

const IN_CGROUP = 'echo $$ >"$0/cgroup.procs" && exec "$@"'

/** A container's process in a namespace of its own. */
async function container(cgroup: string): Promise<number> {
  const child = spawn('/bin/sh', ['-c', IN_CGROUP, cgroup, 'unshare', '--net', 'sleep', '100'])
  running.push(child)
  const pid = child.pid ?? 0
  while (spawnSync('grep', ['-q', 'sleep', `/proc/${pid}/comm`]).status !== 0) await sleep(5)
  return pid
}

const namespaceOf = (pid: number) => `/proc/${pid}/ns/net`
const inside = (pid: number, ...argv: string[]) =>
  execFileSync('nsenter', [`--net=${namespaceOf(pid)}`, ...argv], { stdio: 'pipe' })
const look = (cgroup: string) => lookInside({ cgroup, own: new Set([podCookie]) })
const found = async (cgroup = own) => [...(await look(cgroup)).inner]

// The pod's own process, by which its own namespace is known.
running.push(spawn('/bin/sh', ['-c', IN_CGROUP, own, 'nsenter', `--net=${pathOf(POD)}`, 'sleep', '100']))

t.test('a container in a container: closed, noted, found, open', async (t) => {
  const pid = await container(own)
  const cookie = networkNamespaceCookie(namespaceOf(pid))
  t.strictSame(await found(), [], 'the host may be about to give it a device')
  ip('-n', POD, 'link', 'add', 'inner', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', `${pid}`)
  const configure = (run: (...words: string[]) => void, device: string, address: string) => {
    run('addr', 'add', address, 'dev', device)
    run('link', 'set', device, 'up')
  }
  configure((...words) => ip('-n', POD, ...words), 'inner', '10.9.0.1/24')
  configure((...words) => inside(pid, 'ip', ...words), 'eth0', '10.9.0.2/24')
  const listener = listenTcpIn(pathOf(POD), '10.9.0.1', PORT)
  t.teardown(() => closeDescriptor(listener))
  const connects = () =>
    spawnSync('/bin/sh', [
      ...['-c', IN_CGROUP, own, 'nsenter', `--net=${namespaceOf(pid)}`],
      ...['timeout', '0.5', 'bash', '-c', `exec 3<>/dev/tcp/10.9.0.1/${PORT}`],
    ]).status === 0
  takeNotedNetns(tables.notedNetns)
  t.notOk(connects(), 'it is closed')
  const [noted, ...more] = takeNotedNetns(tables.notedNetns)
  t.strictSame([noted?.cookie, more], [cookie, []])
  t.ok(noted?.cgroups.includes(statSync(own, { bigint: true }).ino), 'and whose it is')
  t.strictSame(takeNotedNetns(tables.notedNetns), [], 'taken out')
  t.strictSame(await found(), [cookie])
  known.set(new Map([podCookie, cookie].map((one) => [one, 'judged'])))
  t.ok(connects(), 'it is open')
  t.strictSame(takeNotedNetns(tables.notedNetns), [])

  const behind = await container(own)
  const behindCookie = networkNamespaceCookie(namespaceOf(behind))
  inside(pid, 'ip', 'link', 'add', 'inner', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', `${behind}`)
  t.strictSame((await found()).sort(), [cookie, behindCookie].sort(), 'one behind another')
  inside(pid, 'ip', 'link', 'add', 'port', 'type', 'bridge')
  ip('-n', HOST, 'link', 'add', 'to-inner', 'type', 'veth', 'peer', 'name', 'net1', 'netns', `${pid}`)
  t.strictSame(await found(), [], 'neither, when one has a device that leads to the host')
  t.strictSame((await look(own)).closed, ['a device leads to where no process of the pod is'])
  ip('-n', HOST, 'link', 'delete', 'to-inner')
  t.equal((await found()).length, 2)
})

const DEVICES: readonly (readonly [what: string, isInner: boolean, add: (pid: string) => void])[] = [
  [
    'a device over the pod’s own',
    true,
    (pid) => ip('-n', POD, ...'link add v4 link eth0 netns'.split(' '), pid, 'type', 'macvlan'),
  ],
  [
    'a device over the host’s',
    false,
    (pid) => ip('-n', HOST, ...'link add v4 link to-pod netns'.split(' '), pid, 'type', 'macvlan'),
  ],
  [
    'a tunnel whose packets are the host’s',
    false,
    (pid) => {
      ip('-n', HOST, ...'link add vx type vxlan id 7 dstport 4789'.split(' '))
      ip('-n', HOST, 'link', 'set', 'vx', 'netns', pid)
    },
  ],
  [
    'a tap, whose process speaks for it',
    true,
    (pid) => inside(Number(pid), ...'ip tuntap add tap0 mode tap'.split(' ')),
  ],
  ['the pod’s own device', false, (pid) => ip('-n', POD, 'link', 'set', 'eth0', 'netns', pid)],
]

for (const [what, isInner, add] of DEVICES)
  t.test(what, async (t) => {
    const before = new Set(await found())
    const pid = await container(own)
    add(`${pid}`)
    const cookie = networkNamespaceCookie(namespaceOf(pid))
    t.strictSame(
      (await found()).filter((one) => !before.has(one)),
      isInner ? [cookie] : [],
    )
    t.strictSame(await found(other), [], 'nor is it another pod’s')
  })

t.test('one with more devices than are read, and one with more than all may have', async (t) => {
  const before = new Set(await found())
  const pid = await container(own)
  ip('-n', POD, ...'link add many type veth peer name eth0 netns'.split(' '), `${pid}`)
  for (const name of ['w1', 'w2', 'w3', 'w4'])
    inside(pid, ...`ip link add ${name} type veth peer name ${name}p`.split(' '))
  const count = inside(pid, 'ip', '-o', 'link').toString().trim().split('\n').length
  const cookie = networkNamespaceCookie(namespaceOf(pid))
  const lookWith = (limits: Partial<typeof LIMITS>) =>
    lookInside({ cgroup: own, own: new Set([podCookie]) }, { ...LIMITS, ...limits })
  t.ok((await lookWith({ links: count })).inner.has(cookie))
  const closed = await lookWith({ links: count - 1 })
  t.strictSame(closed.inner, before, 'it is closed, and others as they were')
  t.match(closed.closed.at(-1), /more than \d+ devices/)
  const all = await lookWith({ linksOfPod: count })
  t.ok(all.inner.size < before.size)
  t.match(all.closed.at(-1), /more than \d+ devices together/)
  t.equal((await lookWith({ asks: 0 })).inner.has(cookie), false)
})

t.test('a fresh pod, though a process of another has come in', async (t) => {
  const before = await found()
  const pid = await container(other)
  ip('-n', HOST, 'link', 'add', 'to-fresh', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', `${pid}`)
  writeFileSync(`${own}/cgroup.procs`, `${pid}`)
  t.strictSame(await found(), before)
  t.strictSame(await found(`${own}/absent`), [])
  t.ok(existsSync(namespaceOf(pid)))
})
