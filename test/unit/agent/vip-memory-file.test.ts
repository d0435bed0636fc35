// What is remembered of flapping VIPs outlives the agent: through Routing itself, killed and followed by another, on clocks of the test.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { VipMemoryFile } from '../../../src/agent/vip-memory-file.ts'
import { DAMPING_DEFAULT } from '../../../src/model/routing.ts'
import { objectKey } from '../../../src/model/service.ts'
import { MEMORIES_MAX } from '../../../src/routing/vip-memory.ts'
import { VipPlans } from '../../../src/routing/vip-plans.ts'
import { vipContext, vipFact } from '../routing/beds.ts'

const KEY = objectKey('shop', 'web')
const HERE = vipFact({ policy: 'Local' })
const GONE = vipFact({ policy: 'Local', usableLocal: 0 })
const GATES = { withoutEndpoints: 'withdraw', holdDownMs: 2_000, damping: DAMPING_DEFAULT } as const

/** A node: its date can be set, the time since its boot goes on. */
class Node {
  readonly directory = mkdtempSync(join(tmpdir(), 'memory-'))
  readonly warnings: string[] = []
  sinceBootMs = 5_000
  dateMs = 1_000_000
  bootId = 'first'

  constructor(t: Test) {
    t.teardown(() => rmSync(this.directory, { recursive: true, force: true }))
  }

  pass(ms: number): void {
    this.sinceBootMs += ms
    this.dateMs += ms
  }

  file(): VipMemoryFile {
    return new VipMemoryFile({
      stateDirectory: this.directory,
      log: { warn: (_: object, message: string) => void this.warnings.push(message) } as never,
      nowMs: () => this.dateMs,
      clock: { bootId: () => this.bootId, nowMs: () => this.sinceBootMs },
    })
  }

  plans(): VipPlans {
    return new VipPlans(vipContext({ gates: GATES }), this.file().read())
  }

  /** As a killed agent would have left it. */
  write(plans: VipPlans): void {
    const file = this.file()
    file.keep(() => plans.memories(this.dateMs))
    file.close()
  }
}

/** @returns what holds the VIP back; undefined: it is announced */
function look(plans: VipPlans, fact: typeof HERE, atMs: number) {
  plans.setService(KEY, [fact])
  plans.plan(atMs)
  const view = plans.view(HERE.vip)
  return view?.announcement ? undefined : view?.shut.map(({ gate }) => gate).join()
}

t.test('who has used up its budget has none with the next agent, until the same moment', async (t) => {
  const node = new Node(t)
  const plans = node.plans()
  for (let times = 0; times < 6; times += 1) {
    look(plans, HERE, node.dateMs)
    node.pass(2_000)
    t.equal(look(plans, HERE, node.dateMs), undefined)
    look(plans, GONE, node.dateMs)
    node.pass(100)
  }
  t.equal(look(plans, HERE, node.dateMs), 'hold-down,suppressed')
  const { nextDueMs = 0 } = plans.plan(node.dateMs)
  node.write(plans)
  const next = node.plans()
  t.equal(look(next, HERE, node.dateMs), 'hold-down,suppressed')
  t.equal(next.plan(node.dateMs).nextDueMs, nextDueMs)
  const leftMs = nextDueMs - node.dateMs
  node.write(next)
  // Somebody sets the date back by an hour.
  node.dateMs -= 3_600_000
  node.pass(leftMs - 1)
  t.equal(look(node.plans(), HERE, node.dateMs), 'suppressed')
  node.pass(1)
  t.equal(look(node.plans(), HERE, node.dateMs), undefined)
})

t.test('a hold-down and a grace period go on', async (t) => {
  const node = new Node(t)
  const plans = node.plans()
  look(plans, HERE, node.dateMs)
  look(plans, GONE, node.dateMs)
  node.pass(500)
  look(plans, HERE, node.dateMs)
  node.pass(500)
  node.write(plans)
  const next = node.plans()
  t.equal(look(next, HERE, node.dateMs), 'hold-down')
  t.equal(next.plan(node.dateMs).nextDueMs, node.dateMs + 1_500)

  const other = new Node(t)
  const cluster = other.plans()
  const lost = vipFact({ usableAnywhere: 0 })
  look(cluster, vipFact(), other.dateMs)
  look(cluster, lost, other.dateMs)
  other.pass(1_000)
  other.write(cluster)
  const after = other.plans()
  t.equal(look(after, lost, other.dateMs), undefined, 'not withdrawn for the restart')
  other.pass(1_000)
  t.equal(look(after, lost, other.dateMs), 'no-endpoint')
})

t.test('nothing is kept of VIPs that are well, and nothing written for them', async (t) => {
  const node = new Node(t)
  const plans = node.plans()
  const { memoryEdition } = plans
  look(plans, HERE, node.dateMs)
  t.equal(plans.memoryEdition, memoryEdition)
  t.equal(plans.memories(node.dateMs).size, 0)
  look(plans, GONE, node.dateMs)
  t.not(plans.memoryEdition, memoryEdition)
  t.equal(plans.memories(node.dateMs).size, 1)
  look(plans, HERE, node.dateMs)
  node.pass(2_000)
  look(plans, HERE, node.dateMs)
  t.equal(plans.memories(node.dateMs).size, 1, 'its penalty counts')
  node.pass(3_600_000)
  t.equal(plans.memories(node.dateMs).size, 0)
})

t.test('another boot, damage, and what is no memory', async (t) => {
  const node = new Node(t)
  const plans = node.plans()
  look(plans, HERE, node.dateMs)
  look(plans, GONE, node.dateMs)
  node.write(plans)
  node.bootId = 'second'
  t.equal(node.file().read().size, 0)
  node.bootId = 'first'
  t.equal(node.file().read().size, 1)
  const path = join(node.directory, 'vip-memory.json')
  const text = readFileSync(path, 'utf8')
  t.same(node.warnings, [])
  writeFileSync(path, text.slice(0, -10))
  t.equal(node.file().read().size, 0)
  t.equal(node.warnings.length, 1)
  writeFileSync(path, text.replace('203.0.113.7', 'nobody'))
  t.equal(node.file().read().size, 0)
  writeFileSync(path, text.replace(/"penalty":\d+/, '"penalty":"much"'))
  t.equal(node.file().read().size, 0)
})

t.test('written once for many changes, and with an end', async (t) => {
  const node = new Node(t)
  const file = node.file()
  t.teardown(() => file.close())
  let asked = 0
  const many = () => {
    asked += 1
    const flaps = { penalty: 1_000, atMs: 0, suppressedMs: undefined }
    const one = { endpointsLostMs: new Map(), isAnnounced: true, wasLost: false, servableSinceMs: undefined }
    const vip = (index: number) => `10.0.${index >> 8}.${index & 255}` as typeof HERE.vip
    return new Map(
      Array.from({ length: MEMORIES_MAX + 5 }, (_, index) => [
        vip(index),
        { ...one, flaps: { ...flaps, penalty: flaps.penalty + index } },
      ]),
    )
  }
  for (let times = 0; times < 50; times += 1) file.keep(many)
  await sleep(1_200)
  t.equal(asked, 1)
  const { size } = file.read()
  t.equal(size, MEMORIES_MAX)
  t.notOk(file.read().has('10.0.0.4' as typeof HERE.vip), 'the least penalised are left out')
})
