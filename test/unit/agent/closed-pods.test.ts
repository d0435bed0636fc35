// Who may speak, and when: rows, programs, and the pod's own process behind its device.

import { mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ClosedPods } from '../../../src/agent/closed-pods.ts'
import type { KnownKind } from '../../../src/datapath/known-netns.ts'
import type { PodDevice } from '../../../src/datapath/nexthop-plan.ts'
import type { NotedNetns } from '../../../src/datapath/noted-netns.ts'
import { type Address, address } from '../../../src/model/address.ts'
import type { PolicyPod } from '../../../src/model/policy.ts'
import { equalRows } from '../../../src/tables/equal-rows.ts'
import { Table } from '../../../src/tables/table.ts'
import { pod as podRow } from '../policy/rows.ts'

const [A, B] = ['10.244.1.5', '10.244.1.6'] as const
const NODE = 'here'

const pod = (name: string, uid: string, ...addresses: string[]) =>
  podRow(`a/${name}`, { uid, addresses, node: NODE })

const uidOf = (digit: string) => `${digit.repeat(8)}-0000-0000-0000-000000000000`

function bed(t: Test, configured?: string, noUnseen?: string) {
  const mount = t.testdir({ kubepods: {} })
  const pods = new Table<PolicyPod>({
    name: 'pods',
    equals: equalRows,
    indexes: { node: ({ node }) => [node], address: ({ addresses }) => addresses },
  })
  const devices = new Map<Address, { ifindex: number; cookie: bigint | undefined }>()
  const judged = new Set<number>()
  const processes = new Map<number, bigint>()
  const open = new Set<string>()
  const state = {
    known: new Map<bigint, KnownKind>([[99n, 'judged']]),
    closed: undefined as readonly string[] | undefined,
    nowMs: 0,
    noted: [] as NotedNetns[],
    looks: 0,
    /** What was to be all of it, each time. */
    sets: [] as bigint[][],
  }
  /** By directory of a pod's cgroup. */
  const inside = new Map<string, bigint[]>()
  const events: string[] = []
  const log = {
    info: () => {},
    warn: () => {},
    error: (...all: unknown[]) => t.fail(String(all[1]), { all }),
  }
  const closedPods = new ClosedPods({
    ...{ nodeName: NODE, configured, mount, pods, log },
    devices: () =>
      [...devices].map(([one, { ifindex, cookie }]) => ({
        ...({ address: one, ifindex } as PodDevice),
        namespace: cookie === undefined ? undefined : { path: '', cookie },
      })),
    kernel: {
      noUnseen,
      takeNotedNetns: () => state.noted.splice(0),
      closePods: (cgroups) => {
        state.closed = cgroups
        return cgroups.filter((cgroup) => cgroup.endsWith('absent'))
      },
      judgedAt: (one) => {
        const ifindex = devices.get(one)?.ifindex
        return ifindex !== undefined && judged.has(ifindex) ? ifindex : undefined
      },
      isOpen: (one) => open.has(one),
      knownNetns: {
        add: (cookies) => {
          for (const [cookie, kind] of cookies) state.known.set(cookie, kind)
        },
        set: (cookies) => {
          state.sets.push([...cookies.keys()])
          state.known = new Map(cookies)
        },
      },
    },
    cookieOfProcess: (pid) => {
      const cookie = processes.get(pid)
      if (cookie === undefined) throw new Error('no such process')
      return cookie
    },
    lookInside: async ({ cgroup }) => {
      state.looks += 1
      const cookies = inside.get(cgroup) ?? []
      return { inner: new Set(cookies), closed: cookies.length === 2 ? ['its device'] : [], isLarge: false }
    },
    nowMs: () => state.nowMs,
    events: { record: (_object, _type, reason, message) => events.push(`${reason} ${message}`) },
  })
  t.teardown(() => closedPods.close())
  return {
    ...{ mount, pods, devices, judged, open, processes, inside, state, events, closedPods },
    /** A pod's device and process, as a starter makes them. */
    start: (uid: string, ip: string, ifindex: number) => {
      devices.set(address(ip), { ifindex, cookie: BigInt(ifindex) })
      mkdirSync(join(mount, 'kubepods', `pod${uid}`), { recursive: true })
      writeFileSync(join(mount, 'kubepods', `pod${uid}`, 'cgroup.procs'), `${ifindex}\n`)
      processes.set(ifindex, BigInt(ifindex))
    },
    settle: async () => {
      closedPods.policyTaken()()
      closedPods.networkWritten()
      await new Promise((resolve) => setTimeout(resolve, 10))
    },
    why: () => closedPods.status.waiting.map(({ why }) => why).join(),
  }
}

t.test('nothing changes before both policy and the network are written', async (t) => {
  const { closedPods, state, settle } = bed(t)
  closedPods.networkWritten()
  await new Promise((resolve) => setTimeout(resolve, 10))
  t.strictSame([state.closed, [...state.known.keys()]], [undefined, [99n]])
  await settle()
  t.match(state.closed, [/kubepods$/])
  t.strictSame([...state.known.keys()], [], 'what an earlier process knew, and nobody is')
})

t.test('a pod that comes while policy is written waits for the rows that know it', async (t) => {
  const { pods, start, judged, state, settle, closedPods } = bed(t)
  judged.add(7)
  start(uidOf('1'), A, 7)
  closedPods.networkWritten()
  const written = closedPods.policyTaken()
  pods.set('a/p', pod('p', uidOf('1'), A))
  written()
  await new Promise((resolve) => setTimeout(resolve, 10))
  t.notOk(state.known.has(7n))
  await settle()
  t.ok(state.known.has(7n))
})

t.test('a pod speaks when its device is judged, and its own process is behind it', async (t) => {
  const { pods, start, judged, state, settle, why, processes } = bed(t)
  pods.set('a/p', pod('p', uidOf('1'), A))
  await settle()
  t.match(why(), /no device of this node leads to 10\.244\.1\.5/)
  t.ok(state.known.has(99n), 'while somebody waits, what an earlier process knew stays')
  start(uidOf('1'), A, 7)
  await settle()
  t.match(why(), /carries no programs yet/)
  judged.add(7)
  processes.set(7, 8n)
  await settle()
  t.match(why(), /no process of it/)
  processes.set(7, 7n)
  await settle()
  t.strictSame([[...state.known.keys()], why()], [[7n], ''])
  processes.clear()
  await settle()
  t.strictSame([...state.known.keys()], [7n], 'between two containers it is known all the same')
})

t.test('an address that is another pod’s faster than the API tells', async (t) => {
  const { pods, start, judged, state, settle, why, mount, closedPods } = bed(t)
  judged.add(7).add(8)
  pods.set('a/p', pod('p', uidOf('1'), A))
  start(uidOf('1'), A, 7)
  await settle()
  t.strictSame([...state.known.keys()], [7n])
  start(uidOf('2'), A, 8)
  rmSync(join(mount, 'kubepods', `pod${uidOf('1')}`), { recursive: true })
  await settle()
  t.strictSame([[...state.known.keys()], why()], [[], 'it has no cgroup'])
  pods.set('a/q', pod('q', uidOf('2'), A))
  await settle()
  t.match(why(), /said to be another pod’s too/)
  pods.delete('a/p')
  await settle()
  t.strictSame([...state.known.keys()], [8n])
  t.match(closedPods.status, { known: 1, byAddress: 0 })
})

t.test('where nothing tells whose a cgroup is, the address does, and it is said', async (t) => {
  const { pods, start, judged, state, settle, mount, closedPods, events } = bed(t)
  judged.add(7).add(8)
  pods.set('a/p', pod('p', uidOf('1'), A))
  start(uidOf('1'), A, 7)
  writeFileSync(join(mount, 'kubepods', `pod${uidOf('1')}`, 'cgroup.procs'), '0\n')
  await settle()
  t.strictSame([[...state.known.keys()], closedPods.status.byAddress], [[7n], 1], 'processes that are hidden')
  rmSync(join(mount, 'kubepods', `pod${uidOf('1')}`), { recursive: true })
  await settle()
  t.strictSame([[...state.known.keys()], closedPods.status.byAddress], [[7n], 1], 'names without a uid')
  t.match(events, [/^PodsNotProven here: .* a\/p among them: .* Mend: hostPID: true for the agent/])
  t.equal(events.length, 1, 'once')
  start(uidOf('2'), B, 8)
  await settle()
  t.strictSame([...state.known.keys()], [], 'one name tells that all have theirs')
})

t.test('namespaces within a pod speak as it does, from when the kernel notes one', async (t) => {
  const { pods, start, judged, state, settle, inside, mount, closedPods } = bed(t)
  const cgroup = join(mount, 'kubepods', `pod${uidOf('1')}`)
  const cgroups = () => [statSync(cgroup, { bigint: true }).ino]
  const known = () => [...state.known.keys()]
  judged.add(7)
  pods.set('a/p', pod('p', uidOf('1'), A))
  start(uidOf('1'), A, 7)
  inside.set(cgroup, [70n])
  await settle()
  t.ok(state.sets.every((set) => set.includes(70n)))
  t.strictSame(
    [known(), closedPods.status.inner],
    [[7n, 70n], 1],
    'looked at before what was known is forgotten',
  )
  inside.set(cgroup, [70n, 71n])
  state.nowMs += 100
  state.noted.push({ cookie: 71n, cgroups: cgroups() })
  await new Promise((resolve) => setTimeout(resolve, 100))
  t.strictSame(known(), [7n, 70n, 71n])
  t.strictSame(closedPods.status.innerClosed, [{ pod: 'a/p', why: 'its device' }])
  const { looks } = state
  state.noted.push({ cookie: 72n, cgroups: [1n] })
  await new Promise((resolve) => setTimeout(resolve, 100))
  t.equal(state.looks, looks, 'of no pod that is known')
  inside.delete(cgroup)
  state.nowMs += 2000
  await new Promise((resolve) => setTimeout(resolve, 150))
  t.strictSame(known(), [7n], 'closed again when they go')
  inside.set(cgroup, [70n])
  state.nowMs += 100
  state.noted.push({ cookie: 73n, cgroups: cgroups() })
  await new Promise((resolve) => setTimeout(resolve, 150))
  t.strictSame(known(), [7n, 70n])
  judged.delete(7)
  await settle()
  t.strictSame([known(), closedPods.status.inner], [[], 0], 'and no longer than it does')
})

t.test('another pod of the same name waits for its rows', async (t) => {
  const { pods, start, judged, state, closedPods, settle, why } = bed(t)
  judged.add(7)
  pods.set('a/p', pod('p', uidOf('1'), A))
  start(uidOf('1'), A, 7)
  await settle()
  pods.set('a/p', pod('p', uidOf('2'), A))
  closedPods.networkWritten()
  await new Promise((resolve) => setTimeout(resolve, 10))
  t.strictSame([[...state.known.keys()], why()], [[], 'it is another now'])
})

t.test('a kernel without programs on its functions is told of, once', async (t) => {
  const { events, settle } = bed(t, undefined, 'it refuses them')
  await settle()
  await settle()
  t.match(events, [/^PacketSocketsOpen here: .*CAP_NET_RAW.* Mend: /])
  t.equal(events.length, 1)
})

t.test('a cgroup that is not there is said once, with the mend', async (t) => {
  const { events, closedPods, settle } = bed(t, '/absent')
  await settle()
  await settle()
  t.match(events, [/^PodsNotClosed here: \/absent is not there: .* Mend: policy\.podsCgroup/])
  t.equal(events.length, 1)
  t.match(closedPods.status, { cgroups: [], problem: /Mend/ })
})

t.test(
  'pods that stay closed are told of, once, when they have waited for longer than a start takes',
  async (t) => {
    const { pods, events, state, settle, start, judged } = bed(t)
    const pass = async (ms: number) => {
      state.nowMs += ms
      await settle()
    }
    pods.set('a/p', pod('p', uidOf('1'), A))
    await pass(0)
    await pass(29_000)
    pods.set('a/q', pod('q', uidOf('2'), B))
    t.strictSame(events, [])
    await pass(1000)
    await pass(60_000)
    t.match(events, [/^PodsClosed here: pods stay closed, a\/p because no device .* Mend: .*policy\.enforce/])
    t.equal(events.length, 1)
    judged.add(7).add(8)
    start(uidOf('1'), A, 7)
    start(uidOf('2'), B, 8)
    await pass(0)
    judged.delete(7)
    await pass(0)
    t.equal(events.length, 1, 'another has just begun to wait')
    await pass(30_000)
    t.equal(events.length, 2)
  },
)

t.test(
  'a pod that no device leads to speaks while no policy says anything of it, and it is told',
  async (t) => {
    const { pods, start, devices, open, state, closedPods, events, settle, why } = bed(t)
    pods.set('a/p', pod('p', uidOf('1'), A, B))
    start(uidOf('1'), A, 7)
    devices.clear()
    open.add(A).add(B)
    await settle()
    t.match(why(), /no device of this node leads to 10\.244\.1\.5/, 'it may come yet')
    state.nowMs = 4000
    await settle()
    t.strictSame(
      [[...state.known], closedPods.status.unjudged, why()],
      [[[7n, 'unjudged']], ['a/p'], ''],
      'without packet sockets, which nothing could close',
    )
    t.match(events, [/^PodsNotJudged here: a\/p: .* Mend: /])
    open.delete(B)
    await settle()
    t.strictSame([[...state.known.keys()], closedPods.status.unjudged], [[], []])
    t.match(why(), /a policy selects it/)
    t.equal(events.length, 1)
  },
)
