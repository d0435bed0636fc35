// The drain of a node around its state machine: what it tells routing, leaves on disk and says, with an agent killed in every state; and
// where the wish for it is written.

import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { DrainFiles } from '../../../src/agent/drain-files.ts'
import { DrainRequests, writeDrainCondition } from '../../../src/agent/drain-requests.ts'
import { type DrainCondition, NodeDrain } from '../../../src/agent/node-drain.ts'
import { KubeError } from '../../../src/kube/errors.ts'
import type { Node as ApiNode } from '../../../src/kube/objects.ts'
import { toNode } from '../../../src/kube/to-node-model.ts'
import type { DrainMark } from '../../../src/model/routing.ts'

/** A node, its routers' view of it, and agents on it that come and go. */
class Bed {
  readonly directory: string
  readonly files: DrainFiles
  object: ApiNode = { metadata: { name: 'node1' }, spec: {} }
  mark: DrainMark | undefined
  isDrained = false
  isInForce = true
  packets = 0
  nodePortPackets = 0
  nowMs = 1_000_000
  readonly events: string[] = []
  readonly conditions: DrainCondition[] = []
  /** VIPs as gobgpd has them. */
  vips = 2
  agent: NodeDrain

  constructor(t: Test) {
    this.directory = mkdtempSync(join(tmpdir(), 'drain-'))
    t.teardown(() => {
      this.agent.close()
      rmSync(this.directory, { recursive: true, force: true })
    })
    this.files = new DrainFiles(this.directory)
    this.agent = this.#start()
    this.agent.look()
  }

  #start(): NodeDrain {
    const bed = this
    return new NodeDrain({
      nodeName: 'node1',
      files: this.files,
      settings: () => ({ prepend: 0, quietMs: 2000, timeoutMs: 60_000 }),
      node: () => toNode(this.object),
      clientPackets: () => ({ announced: this.packets, nodePorts: this.nodePortPackets }),
      routing: {
        setDrain: (mark) => {
          this.mark = mark
        },
        setDrained: (isDrained) => {
          this.isDrained = isDrained
        },
        get isInForce() {
          return bed.isInForce
        },
        get vipCount() {
          return bed.isDrained ? 0 : bed.vips
        },
      },
      writeCondition: async (condition) => void this.conditions.push(condition),
      events: { record: (_object, _type, reason) => void this.events.push(reason) },
      log: { info: () => {}, warn: () => {} },
      nowMs: () => this.nowMs,
    })
  }

  /** Killed, and another one started; before it has heard of the Node, if told so. */
  restart(hasHeard = true): void {
    this.agent.close()
    this.agent = this.#start()
    if (hasHeard) this.agent.look()
  }

  /** Time passes, with so many packets of clients a second. */
  pass(ms: number, packetsPerSecond = 0): void {
    for (let left = ms; left > 0; left -= 500) {
      this.nowMs += 500
      this.packets += packetsPerSecond / 2
      this.agent.look()
    }
  }

  ask(): void {
    this.object = {
      metadata: { name: 'node1', labels: { 'weir.network/drain': '' } },
      spec: { unschedulable: true },
    }
    this.agent.look()
  }

  takeBack(): void {
    this.object = { metadata: { name: 'node1' }, spec: {} }
    this.agent.look()
  }

  get marker(): boolean {
    return existsSync(join(this.directory, 'drain'))
  }

  get phase(): string {
    return this.agent.view().phase
  }
}

/** How to come to each state. */
const WAYS: Readonly<Record<string, (bed: Bed) => void>> = {
  marking: (bed) => {
    bed.isInForce = false
    bed.ask()
  },
  waiting: (bed) => bed.ask(),
  withdrawn: (bed) => {
    bed.ask()
    bed.pass(2500)
    bed.isInForce = false
    bed.pass(1000)
  },
  drained: (bed) => {
    bed.ask()
    bed.pass(4000)
  },
}

t.test('a cordon alone, or a label alone, is no drain', async (t) => {
  const bed = new Bed(t)
  bed.object = { metadata: { name: 'node1', labels: { 'weir.network/drain': '' } }, spec: {} }
  bed.pass(5000)
  bed.object = { metadata: { name: 'node1' }, spec: { unschedulable: true } }
  bed.pass(5000)
  t.same([bed.phase, bed.mark, bed.marker, bed.events], ['active', undefined, false, []])
  bed.object = {
    metadata: { name: 'node1' },
    spec: { unschedulable: true, taints: [{ key: 'weir.network/drain', effect: 'NoSchedule' }] },
  }
  bed.agent.look()
  t.equal(bed.phase, 'waiting', 'with a taint it is')
})

t.test('the time of day is set back between two agents: the drain still ends in time', async (t) => {
  const bed = new Bed(t)
  bed.ask()
  bed.pass(5000, 50)
  bed.nowMs -= 3_600_000
  bed.restart()
  bed.pass(59_000, 50)
  t.equal(bed.phase, 'waiting')
  bed.pass(2000, 50)
  t.equal(bed.phase, 'drained')
})

t.test('what comes to node ports is told, and keeps no VIP here', async (t) => {
  const bed = new Bed(t)
  bed.ask()
  for (let times = 0; times < 4; times += 1) {
    bed.nodePortPackets += 100
    bed.pass(500, 50)
  }
  t.equal(bed.phase, 'waiting')
  const { message, packetsPerSecond, nodePortPacketsPerSecond } = bed.agent.view()
  t.same([packetsPerSecond, nodePortPacketsPerSecond], [50, 200])
  t.match(
    message,
    /^50 packets a second of clients still come to VIPs here; 200 packets a second come to node ports, which no drain moves; /,
  )
  for (let times = 0; times < 10; times += 1) {
    bed.nodePortPackets += 100
    bed.pass(500)
  }
  t.equal(bed.phase, 'drained')
  t.match(bed.agent.view().message, /clients' traffic has gone;.* 200 packets a second come to node ports/)
  bed.takeBack()
  t.equal(bed.agent.view().nodePortPacketsPerSecond, undefined)
})

t.test('marked while traffic flows, withdrawn when it has gone, and back', async (t) => {
  const bed = new Bed(t)
  bed.ask()
  t.same(bed.mark, { communities: ['65535:0'], prepend: 0 })
  t.same([bed.phase, bed.isDrained, bed.marker], ['waiting', false, true])
  bed.pass(10_000, 400)
  t.same([bed.phase, bed.isDrained], ['waiting', false], 'clients are still here')
  t.match(bed.agent.view(), { packetsPerSecond: 400, wantedBy: 'node', vips: 2 })
  bed.pass(1000)
  t.equal(bed.phase, 'waiting', 'it has just ceased')
  bed.pass(3000)
  t.same([bed.phase, bed.isDrained, bed.marker], ['drained', true, true])
  t.ok(bed.mark, 'what stays announced stays marked')
  bed.takeBack()
  t.same([bed.phase, bed.isDrained, bed.mark, bed.marker], ['active', false, undefined, false])
  t.same(bed.events, ['DrainMarking', 'DrainWaiting', 'DrainWithdrawing', 'Drained', 'Undrained'])
  await sleep(10)
  t.same(
    bed.conditions.map(({ phase, isDrained }) => [phase, isDrained]).at(-1),
    ['active', false],
    'the condition ends where the drain does',
  )
})

t.test('traffic that does not go away', async (t) => {
  const bed = new Bed(t)
  bed.ask()
  bed.pass(59_000, 400)
  t.equal(bed.phase, 'waiting')
  bed.pass(2000, 400)
  t.equal(bed.phase, 'drained')
  t.match(bed.agent.view().message, /did not go away in time/)
})

for (const [phase, comeThere] of Object.entries(WAYS)) {
  t.test(`killed while ${phase}: the next agent goes on from there`, async (t) => {
    const bed = new Bed(t)
    comeThere(bed)
    t.equal(bed.phase, phase)
    const before = [bed.mark, bed.isDrained, bed.marker]
    bed.mark = undefined
    bed.isDrained = false
    bed.restart(false)
    t.same(
      [bed.phase, bed.mark, bed.isDrained, bed.marker],
      [phase, ...before],
      'before it has heard of its Node',
    )
    bed.isInForce = true
    bed.agent.look()
    bed.pass(6000)
    t.equal(bed.phase, 'drained', 'to the end')
    t.equal(bed.events.filter((reason) => reason === 'Drained').length, 1)
  })

  t.test(`taken back while ${phase}, also when the agent was away meanwhile`, async (t) => {
    for (const isAway of [false, true]) {
      const bed = new Bed(t)
      comeThere(bed)
      bed.isInForce = true
      if (isAway) {
        bed.object = { metadata: { name: 'node1' }, spec: {} }
        bed.restart()
      } else bed.takeBack()
      t.same([bed.phase, bed.mark, bed.isDrained, bed.marker], ['active', undefined, false, false])
    }
  })
}

t.test('a disk that takes nothing keeps no node from draining', async (t) => {
  const bed = new Bed(t)
  rmSync(bed.directory, { recursive: true })
  bed.ask()
  t.match(bed.mark, { communities: ['65535:0'] })
  bed.pass(6000)
  t.equal(bed.phase, 'drained')
  t.ok(bed.isDrained)
  bed.takeBack()
  t.equal(bed.phase, 'active')
})

t.test('damaged files are none', async (t) => {
  const bed = new Bed(t)
  bed.ask()
  writeFileSync(join(bed.directory, 'drain.json'), '{"phase":')
  bed.takeBack()
  bed.agent.close()
  writeFileSync(join(bed.directory, 'drain.json'), '{"phase":')
  bed.restart()
  t.equal(bed.phase, 'active')
})

/** Knows one Node, and merges as the API does as far as these patches need it. */
function fakeClient(bed: Bed, isAway = false) {
  const merge = (into: Record<string, unknown>, patch: Record<string, unknown>) => {
    const merged: Record<string, unknown> = { ...into }
    for (const [key, value] of Object.entries(patch)) {
      if (value === null) delete merged[key]
      else if (typeof value === 'object' && !Array.isArray(value))
        merged[key] = merge((merged[key] ?? {}) as Record<string, unknown>, value as Record<string, unknown>)
      else merged[key] = value
    }
    return merged
  }
  const patches: unknown[] = []
  const check = (name: string | undefined) => {
    if (isAway) throw new KubeError('unreachable', 'nobody is there')
    if (name !== 'node1') throw new KubeError('not-found', `no ${name}`)
  }
  return {
    patches,
    get: async (_resource: unknown, { name }: { name?: string | undefined }) => {
      check(name)
      return bed.object as never
    },
    patch: async (_resource: unknown, { name }: { name?: string | undefined }, patch: unknown) => {
      check(name)
      patches.push(patch)
      bed.object = merge(bed.object as never, patch as never) as never
      bed.agent.look()
      return bed.object as never
    },
  }
}

t.test('weir drain writes the wish on the Node, and weir undrain takes it back', async (t) => {
  const bed = new Bed(t)
  const requests = () => new DrainRequests({ client: fakeClient(bed), nodeName: 'node1', drain: bed.agent })
  t.match(await requests().drain('node1'), { phase: 'waiting', wantedBy: 'node', caveat: undefined })
  t.match(toNode(bed.object), { isCordoned: true, asksToDrain: true })
  t.match(await requests().undrain('node1'), { phase: 'active' })
  t.match(toNode(bed.object), { isCordoned: false, asksToDrain: false })
  bed.object = { metadata: { name: 'node1' }, spec: { unschedulable: true } }
  await requests().drain('node1')
  await requests().undrain('node1')
  t.match(toNode(bed.object), { isCordoned: true, asksToDrain: false }, "somebody else's cordon stays")
  bed.object = {
    metadata: { name: 'node1' },
    spec: {
      unschedulable: true,
      taints: [
        { key: 'weir.network/drain', effect: 'NoSchedule' },
        { key: 'other', effect: 'NoExecute' },
      ],
    },
  }
  bed.agent.look()
  t.equal(bed.phase, 'waiting')
  await requests().undrain('node1')
  t.same(bed.object.spec?.taints, [{ key: 'other', effect: 'NoExecute' }])
  t.equal(bed.phase, 'active')
  await t.rejects(requests().drain('node9'), { status: 404, message: /no Node 'node9'/ })
})

t.test('without an API server the agent of the node remembers it, over restarts', async (t) => {
  const bed = new Bed(t)
  const requests = () =>
    new DrainRequests({ client: fakeClient(bed, true), nodeName: 'node1', drain: bed.agent })
  t.match(await requests().drain('node1'), {
    phase: 'waiting',
    wantedBy: 'agent',
    caveat: /nobody is there.*remembers/,
  })
  bed.restart()
  t.equal(bed.phase, 'waiting')
  bed.pass(5000)
  t.equal(bed.phase, 'drained')
  t.match(await requests().undrain('node1'), { phase: 'active', caveat: /forgot/ })
  bed.restart()
  t.equal(bed.phase, 'active')
  await t.rejects(requests().drain('node2'), { status: 503, message: /ask the agent on node2 itself/ })
})

t.test('another node is seen by the condition that its agent writes', async (t) => {
  const bed = new Bed(t)
  const client = fakeClient(bed)
  const condition = { isDrained: false, phase: 'waiting', message: 'wait', sinceMs: 5000 } as const
  await writeDrainCondition(client, 'node1', condition)
  const requests = new DrainRequests({ client, nodeName: 'node2', drain: bed.agent })
  t.match(await requests.show('node1'), { node: 'node1', phase: 'waiting', message: 'wait', sinceMs: 5000 })
  t.match(await requests.drain('node1'), { node: 'node1', wantedBy: 'node' })
})
