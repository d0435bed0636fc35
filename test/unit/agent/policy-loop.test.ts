// Policy from tables to rows: whole before anything is attached, again after a failure, and by an agent that follows another.

import { appendFileSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { FailSafePortsNow } from '../../../src/agent/fail-safe-ports.ts'
import { PolicyLoop } from '../../../src/agent/policy-loop.ts'
import { POLICY_RULES_FILE, PolicyRulesFile } from '../../../src/agent/policy-rules-file.ts'
import type { PolicyWorldTables } from '../../../src/agent/policy-world.ts'
import { lookUpPolicy } from '../../../src/datapath/policy-lookup.ts'
import { PolicyMaps } from '../../../src/datapath/policy-maps.ts'
import { toPolicyObject } from '../../../src/kube/policies/resources.ts'
import { address } from '../../../src/model/address.ts'
import { PolicyCompiler } from '../../../src/policy/compile/compiler.ts'
import { until } from '../kube/fake-server.ts'
import { pod } from '../policy/rows.ts'
import { memoryTables } from './policy-reads.ts'
import { tables } from './policy-world-tables.ts'

const WAIT_MS = 5_000
const WEB = address('10.0.1.1')
const CART = address('10.0.2.2')
const OTHER = address('10.0.2.3')

function cluster() {
  const all = tables()
  const put = (key: string, app: string, at: string, node: string) =>
    all.policy.pods.set(key, pod(key, { labels: { app }, addresses: [at], node }))
  put('shop/web', 'web', WEB, 'n1')
  put('shop/cart', 'cart', CART, 'n2')
  put('shop/other', 'other', OTHER, 'n2')
  const allow = (app: string) =>
    all.policy.objects.NetworkPolicy.set(
      'shop/web',
      toPolicyObject('NetworkPolicy', {
        metadata: { namespace: 'shop', name: 'web' },
        ...{ spec: { podSelector: {}, ingress: [{ from: [{ podSelector: { matchLabels: { app } } }] }] } },
      }),
    )
  allow('cart')
  return { all, allow }
}

async function start(
  t: Test,
  all: PolicyWorldTables,
  memory: ReturnType<typeof memoryTables>,
  maps = new PolicyMaps(memory.tables, Date.now),
  ingressPorts: () => readonly number[] = () => [],
  stateDirectory = t.testdir(),
) {
  const errors: string[] = []
  const events: string[] = []
  const loop = new PolicyLoop({
    node: 'n1',
    tables: all,
    maps,
    limits: { sets: 4096, cells: 4096, classes: 4096 },
    existingConnections: 'recheck',
    events: { record: (_about, _type, reason, message) => void events.push(`${reason}: ${message}`) },
    failSafePorts: () => apiServersAt(ingressPorts()),
    rules: new PolicyRulesFile(stateDirectory, { warn: () => {} }),
    log: {
      info: () => {},
      warn: () => {},
      error: (_details: unknown, text?: string) => void errors.push(text ?? ''),
    },
  })
  t.teardown(() => loop.close())
  await loop.begun
  return { loop, errors, events }
}

const apiServersAt = (ports: readonly number[]): FailSafePortsNow => ({
  own: { ingress: [], egress: [] },
  live: { ingress: { sure: [], others: ports }, egress: { sure: [], others: [] } },
})

const who = ({ reads }: ReturnType<typeof memoryTables>) =>
  [CART, OTHER].map(
    (peer) =>
      lookUpPolicy(reads, {
        ...{ direction: 'ingress', subject: WEB, peer, protocol: 'tcp', port: 80, isFromHost: false },
      }).isAllowed,
  )

const rowCounts = ({ tables: { sets, peers, classes } }: ReturnType<typeof memoryTables>) =>
  [sets, peers, classes].map((table) => [...table.entries()].length)

t.test('whole when it is made, then as objects change', async (t) => {
  const { all, allow } = cluster()
  const memory = memoryTables()
  const { loop } = await start(t, all, memory)
  t.same(who(memory), [true, false])
  t.match(loop.status, { rounds: 1, size: { subjects: 1 }, shortage: { classes: 0 } })
  allow('other')
  await until('the change', () => who(memory).join() === 'false,true', WAIT_MS)
  all.policy.objects.NetworkPolicy.delete('shop/web')
  await until('all to be allowed', () => who(memory).join() === 'true,true', WAIT_MS)
})

t.test('an agent that follows: the same numbers, and what is gone goes', async (t) => {
  const { all } = cluster()
  const memory = memoryTables()
  await (await start(t, all, memory)).loop.close()
  const before = new Map(memory.tables.identities.entries())
  all.policy.pods.delete('shop/other')
  await start(t, all, memory)
  t.same(who(memory), [true, false])
  const after = new Map(memory.tables.identities.entries())
  t.notOk(after.has(OTHER))
  for (const [at, identity] of after) t.same(identity, before.get(at), `the identity of ${at}`)
})

t.test(
  'a rule has its number after restarts, also of killed agents, and of a compiler that failed',
  async (t) => {
    const { all } = cluster()
    const memory = memoryTables()
    const directory = t.testdir()
    const begin = async () => (await start(t, all, memory, undefined, undefined, directory)).loop
    const deniedBy = () =>
      lookUpPolicy(memory.reads, {
        ...{ direction: 'ingress', subject: WEB, peer: OTHER, protocol: 'tcp', port: 80, isFromHost: false },
      }).rule
    const lone = (name: string) =>
      all.policy.objects.NetworkPolicy.set(
        `shop/${name}`,
        toPolicyObject('NetworkPolicy', {
          metadata: { namespace: 'shop', name },
          ...{ spec: { podSelector: {} } },
        }),
      )
    const killed = await begin()
    const rule = deniedBy()
    t.match(killed.nameOf(rule), { key: 'shop/web', index: -1 })
    await killed.close()
    // It comes first in every order, and would take the numbers of the one that is followed.
    lone('a-first')
    all.policy.objects.NetworkPolicy.delete('shop/web')
    const without = await begin()
    const other = deniedBy()
    t.match(without.nameOf(other), { key: 'shop/a-first' })
    t.not(other, rule)
    t.match(without.nameOf(rule), { key: 'shop/web' }, 'of a policy that went while no agent ran')
    await without.close()
    all.policy.objects.NetworkPolicy.delete('shop/a-first')
    lone('web')
    const file = join(directory, POLICY_RULES_FILE)
    appendFileSync(file, '[99,"NetworkPoli')
    await (await begin()).close()
    t.equal(deniedBy(), rule, 'it is back')
    lone('b')
    const last = await begin()
    t.match(last.nameOf(other), { key: 'shop/a-first' })
    t.notMatch(readFileSync(file, 'utf8'), /NetworkPoli$/m, 'what a killed agent did not finish')
    await last.close()
    rmSync(file)
    const forgotten = await begin()
    t.match(forgotten.nameOf(deniedBy()), { key: 'shop/web' })
    t.ok(deniedBy() > rule, 'without the file no number means another rule')
    await forgotten.close()
    rmSync(file)
    const carried = { generations: new Set<number>(), rule: 70_000 }
    await start(t, all, memory, new PolicyMaps(memory.tables, Date.now, carried), undefined, directory)
    t.ok(deniedBy() > 70_000, 'nor one that flows alone carry')
  },
)

t.test('a kernel that refuses for a while', async (t) => {
  const { all } = cluster()
  const memory = memoryTables()
  const { sets } = memory.tables
  const { set } = sets
  let refusals = 2
  Object.assign(sets, {
    set: (...row: Parameters<typeof set>) => {
      refusals -= 1
      if (refusals >= 0) throw new Error('not now')
      set(...row)
    },
  })
  const { errors } = await start(t, all, memory)
  t.same(who(memory), [false, false], 'closed until then')
  await until('the rows', () => who(memory).join() === 'true,false', WAIT_MS)
  t.equal(errors.length, 2)
})

t.test('a compiler that fails: what changed is not lost, and what went goes', async (t) => {
  const { all, allow } = cluster()
  const memory = memoryTables()
  const { errors, loop } = await start(t, all, memory)
  t.same(who(memory), [true, false])
  const { steps } = PolicyCompiler.prototype
  t.teardown(() => Object.assign(PolicyCompiler.prototype, { steps }))
  let failures = 2
  Object.assign(PolicyCompiler.prototype, {
    *steps(this: PolicyCompiler, ...change: Parameters<typeof steps>) {
      // After its work: it takes the change for known.
      const rows = yield* steps.apply(this, change)
      failures -= 1
      if (failures >= 0) throw new Error('not today')
      return rows
    },
  })
  const numbers = new Map(memory.tables.identities.entries())
  all.policy.pods.delete('shop/cart')
  allow('other')
  await until('the first failure', () => errors.length > 0, WAIT_MS)
  t.same(who(memory), [false, false], 'what is in force stays, but who is gone is gone')
  await until('the change', () => who(memory).join() === 'false,true', WAIT_MS)
  t.equal(errors.length, 2)
  const after = new Map(memory.tables.identities.entries())
  t.notOk(after.has(CART), 'a row that nobody puts any more is settled')
  t.same(after.get(WEB), numbers.get(WEB), 'who stays keeps its number')
  const fresh = memoryTables()
  await start(t, all, fresh)
  t.same(rowCounts(memory), rowCounts(fresh), 'nothing of the compiler before is left')
  t.match(loop.status, { size: { subjects: 1 }, shortage: { classes: 0, peers: 0, lockedSets: 0 } })
  allow('cart')
  await until('a later change', () => who(memory).join() === 'false,false', WAIT_MS)
})

t.test('what finds no room is told by an Event on the Node, once', async (t) => {
  const { all, allow } = cluster()
  const memory = memoryTables()
  const maps = new PolicyMaps(memory.tables, Date.now)
  const shortage = { classes: 3, peers: 0, identities: 0, subjects: 0, lockedSets: 1 }
  Object.defineProperty(maps, 'shortage', { get: () => shortage })
  const { events } = await start(t, all, memory, maps)
  const told =
    /^PolicyNoRoom: .* no room .* for verdicts by port, all that some sets of pods say: what lacks them is closed\. Mend: /
  t.match(events, [told])
  allow('other')
  await until('the change', () => who(memory).join() === 'false,true', WAIT_MS)
  t.equal(events.length, 1)
})

t.test('a port of an API server that comes later is one at which the node stays in touch', async (t) => {
  const { all } = cluster()
  const [here, outside] = [address('192.0.2.1'), address('203.0.113.1')]
  all.nodes.set('n1', { name: 'n1', labels: {}, addresses: [here] } as never)
  all.policy.objects.CiliumClusterwideNetworkPolicy.set(
    'host',
    toPolicyObject('CiliumClusterwideNetworkPolicy', {
      metadata: { name: 'host' },
      ...{ spec: { nodeSelector: {}, ingress: [{}] } },
    }),
  )
  const memory = memoryTables()
  let ports = [6443]
  const many = Array.from({ length: 9 }, (_, index) => 9000 + index)
  const maps = new PolicyMaps(memory.tables, Date.now)
  const { loop, events } = await start(t, all, memory, maps, () => ports)
  const open = () =>
    [6443, 7443].filter(
      (port) =>
        lookUpPolicy(memory.reads, {
          ...{ direction: 'ingress', subject: here, peer: outside, protocol: 'tcp', port },
          ...{ isFromHost: false, isOfHost: true },
        }).isAllowed,
    )
  t.same(open(), [6443])
  ports = [7443]
  all.policy.namespaces.set('any', { change: 'is' })
  const wasReady: boolean[] = []
  const settle = maps.settle.bind(maps)
  maps.settle = () => {
    wasReady.push(loop.isSettled)
    settle()
  }
  await until('the new port', () => open().includes(7443) && wasReady.length > 0, WAIT_MS)
  t.same(wasReady, [true], 'what was written holds meanwhile')
  t.same(open(), [6443, 7443], 'the old one stays for a while')
  t.match(loop.world.failSafePorts?.ingress, [{ first: 6443 }, { first: 7443 }])
  t.same(events, [])
  const { events: told } = await start(t, cluster().all, memoryTables(), undefined, () => many)
  t.match(told, [/^PolicyApiPorts: .* more than 8 TCP ports .* Mend: /])
  t.same(who(memory), [true, false])
})
