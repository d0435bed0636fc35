// Links on a veth pair in a namespace of this process, and on a cgroup of its own.

import { execFileSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import t from 'tap'
import {
  attachCgroup,
  attachClsact,
  attachTcx,
  attachXdp,
  BpfLink,
  detachClsact,
  listLinks,
  queryClsact,
  queryXdp,
  supportsTcx,
} from '../../../../src/sys/libbpf-ts/index.ts'
import { enterOwnNetworkNamespace, leftovers, openCounter, pinDirectory, u32 } from './fixture.ts'

const ip = (...args: string[]) => execFileSync('ip', args, { encoding: 'utf8' })

enterOwnNetworkNamespace()
ip('link', 'set', 'lo', 'up')
ip('link', 'add', 'here', 'type', 'veth', 'peer', 'name', 'there')
ip('link', 'set', 'here', 'up')
ip('link', 'set', 'there', 'up')
const [{ ifindex }] = JSON.parse(ip('-j', 'link', 'show', 'here')) as [{ ifindex: number }]

const spec = openCounter()
spec.setConstant('magic', Buffer.from('ffffffffffff', 'hex'))
const object = spec.load()
const pins = pinDirectory('links')
t.teardown(() => {
  object.close()
  pins.remove()
})
const counted = (index: number) => object.map('counters').lookup(u32(index))?.readBigUInt64LE() ?? 0n

/** Puts one frame on the wire towards `here`. */
async function sendFrame(): Promise<void> {
  const socket = createSocket('udp6')
  const [{ ifindex: index }] = JSON.parse(ip('-j', 'link', 'show', 'there')) as [{ ifindex: number }]
  await new Promise((resolve) => socket.send('x', 9, `ff02::1%${index}`, resolve))
  socket.close()
}

async function until(what: string, condition: () => boolean, attempt: () => Promise<void>): Promise<void> {
  const deadline = Date.now() + 5000
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`never happened: ${what}`)
    await attempt()
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

t.test('XDP: attach, see packets, update, pin, reopen, detach', async (t) => {
  const link = attachXdp(object.program('count_xdp'), ifindex)
  const before = counted(0)
  await until('a counted frame', () => counted(0) > before, sendFrame)
  t.match(link.info(), { type: 'xdp', ifindex, programId: object.program('count_xdp').info().id })
  t.match(queryXdp(ifindex), { programName: 'count_xdp', mode: 'native', linkId: link.info().id })

  t.throws(() => attachXdp(object.program('drop_xdp'), ifindex), {
    code: 'busy',
    message: /program 'count_xdp' \(id \d+\) is attached there, by link \d+/,
  })
  t.equal(
    link.update(object.program('drop_xdp'), object.program('drop_xdp')),
    false,
    'another program is there',
  )
  t.equal(link.update(object.program('drop_xdp'), object.program('count_xdp')), true)
  t.equal(queryXdp(ifindex)?.programName, 'drop_xdp')

  const path = `${pins.path}/xdp`
  link.pin(path)
  const { id } = link.info()
  link.close()
  t.equal(queryXdp(ifindex)?.programName, 'drop_xdp', 'the pin holds the link')
  t.equal(BpfLink.openPinnedIfAny(`${pins.path}/absent`), undefined)
  const again = BpfLink.openPinned(path)
  t.equal(again.info().id, id)
  t.ok(listLinks().some((info) => info.id === id))
  again.update(object.program('count_xdp'))
  t.equal(queryXdp(ifindex)?.programName, 'count_xdp')
  again.detach()
  t.equal(queryXdp(ifindex), undefined)
  again.close()
})

t.test('XDP in generic mode says so; without a program nothing is found', (t) => {
  const link = attachXdp(object.program('count_xdp'), ifindex, 'generic')
  t.equal(queryXdp(ifindex)?.mode, 'generic')
  link.close()
  t.equal(queryXdp(ifindex), undefined, 'a link that nobody holds goes')
  t.throws(() => attachXdp(object.program('count_xdp'), 0x7fff_ffff), { code: /not-found|invalid/ })
  t.end()
})

const withoutTcx = supportsTcx() ? {} : { skip: 'this kernel has no tcx' }
t.test('tcx: attach beside each other, see packets, update', withoutTcx, async (t) => {
  const link = attachTcx(object.program('count_tc'), ifindex, 'ingress')
  const second = attachTcx(object.program('count_tc'), ifindex, 'egress')
  const before = counted(1)
  await until('a counted frame', () => counted(1) > before, sendFrame)
  t.match(link.info(), { type: 'tcx', ifindex, attachType: 'tcx_ingress' })
  t.match(second.info(), { type: 'tcx', ifindex, attachType: 'tcx_egress' })
  t.equal(link.update(object.program('count_tc')), true)
  link.close()
  second.close()
})

t.test('clsact stands in where tcx is missing', async (t) => {
  const place = { ifindex, direction: 'ingress', priority: 77, handle: 5 } as const
  t.equal(queryClsact(place), undefined)
  t.equal(detachClsact(place), false)
  attachClsact(object.program('count_tc'), place)
  attachClsact(object.program('count_tc'), place)
  t.equal(queryClsact(place), object.program('count_tc').info().id)
  const before = counted(1)
  await until('a counted frame', () => counted(1) > before, sendFrame)
  t.equal(detachClsact(place), true)
  t.equal(queryClsact(place), undefined)
})

function cgroupRoot(): string {
  const line = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .find((one) => one.split(' ')[2] === 'cgroup2')
  if (!line) throw new Error('no cgroup v2 is mounted')
  return line.split(' ')[1] ?? ''
}

const connectError = (port: number) =>
  new Promise<string | undefined>((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code))
    socket.on('connect', () => {
      socket.destroy()
      resolve(undefined)
    })
  })

t.test('a cgroup program judges the connects of its cgroup until the link goes', async (t) => {
  const root = cgroupRoot()
  const own = (readFileSync('/proc/self/cgroup', 'utf8').match(/^0::(.*)$/m)?.[1] ?? '/').trim()
  const path = `${root}/libbpf-ts-${process.pid}`
  for (const left of leftovers(root)) rmdirSync(left)
  mkdirSync(path)
  t.teardown(() => {
    writeFileSync(`${root}${own}/cgroup.procs`, String(process.pid))
    rmdirSync(path)
  })
  writeFileSync(`${path}/cgroup.procs`, String(process.pid))
  t.equal(await connectError(9), 'ECONNREFUSED')
  const link = attachCgroup(object.program('refuse_connect4'), path)
  t.match(link.info(), { type: 'cgroup', attachType: 'cgroup_inet4_connect' })
  t.equal(await connectError(9), 'EPERM')
  t.equal(await connectError(10), 'ECONNREFUSED')
  link.update(object.program('allow_connect4'))
  t.equal(await connectError(9), 'ECONNREFUSED')
  link.close()
})
