// What the compiler shares, numbers and leaves alone.

import t from 'tap'
import type { Policy } from '../../../../src/model/policy.ts'
import { PolicyCompiler } from '../../../../src/policy/compile/compiler.ts'
import {
  IDENTITY_HOST,
  IDENTITY_KUBE_APISERVER,
  IDENTITY_REMOTE_NODE,
  IDENTITY_WORLD_IPV4,
  IDENTITY_WORLD_IPV6,
} from '../../../../src/policy/compile/identity-numbers.ts'
import { RULE_NO_ROOM } from '../../../../src/policy/compile/rows.ts'
import { EVERYTHING, labels } from '../rows.ts'
import { allow, Bed, bedOptions, network, pod, pods, policy, putPods, putPolicies, rows } from './bed.ts'

const web = (name: string, address: string, more = {}) => pod(name, address, { app: 'web', hash: name }, more)

t.test('identities are what rules refer to', async (t) => {
  const bed = new Bed()
  bed.apply(putPods(web('a', '10.0.0.1'), web('b', '10.0.0.2'), pod('c', '10.0.0.3', { app: 'db' })))
  t.equal(bed.identity('10.0.0.1'), bed.identity('10.0.0.3'), 'no rule refers to anything')
  bed.apply(putPolicies(policy('p', { app: 'web' }, [allow([pods({ app: 'db' })])])))
  t.equal(bed.identity('10.0.0.1'), bed.identity('10.0.0.2'), 'same app')
  t.not(bed.identity('10.0.0.1'), bed.identity('10.0.0.3'), 'a rule refers to app')
  const before = bed.identity('10.0.0.1')
  const change = bed.apply(putPolicies(policy('q', { app: 'db' }, [allow([pods({ app: 'web' })])])))
  t.equal(rows(change, 'identities'), 0, 'another policy on a known key renumbers nobody')
  t.equal(bed.identity('10.0.0.1'), before)
  bed.apply(putPolicies(policy('r', { app: 'db' }, [allow([pods({ hash: 'a' })])])))
  t.not(bed.identity('10.0.0.1'), bed.identity('10.0.0.2'), 'now hash tells them apart')
})

t.test('what no rule refers to any more tells apart for a while longer', async (t) => {
  const bed = new Bed({ limits: { idleReferenceMs: 1000 } })
  const keyed = policy('p', { app: 'web' }, [allow([pods({ hash: 'a' })])])
  bed.apply({ ...putPods(web('a', '10.0.0.1'), web('b', '10.0.0.2')), ...putPolicies(keyed) })
  const before = bed.identity('10.0.0.1')
  bed.apply({ policies: new Map([['NetworkPolicy shop/p 0', undefined]]) })
  t.equal(bed.identity('10.0.0.1'), before)
  bed.now = 1000
  bed.apply({})
  t.equal(bed.identity('10.0.0.1'), bed.identity('10.0.0.2'))
})

t.test(
  'configured keys tell apart from the start, and excluded ones only where a rule refers to them',
  async (t) => {
    const bed = new Bed({ labels: { include: [/./], exclude: [/^hash$/] } })
    bed.apply(putPods(web('a', '10.0.0.1'), web('b', '10.0.0.2'), pod('c', '10.0.0.3', { app: 'db' })))
    t.equal(bed.identity('10.0.0.1'), bed.identity('10.0.0.2'))
    t.not(bed.identity('10.0.0.1'), bed.identity('10.0.0.3'))
    bed.apply(putPolicies(policy('p', { app: 'web' }, [allow([pods({ hash: 'a' })])])))
    t.equal(bed.decide('10.0.0.2', '10.0.0.1')?.isAllowed, false)
  },
)

t.test('reserved numbers are as in Cilium, and prefixes have bit 24', async (t) => {
  const bed = new Bed()
  const nodes = new Map([['there', { name: 'there', labels: {}, addresses: ['192.0.2.2'] }]])
  bed.apply({ nodes, apiServers: ['198.51.100.1'] })
  t.equal(bed.identity('192.0.2.1'), IDENTITY_HOST)
  t.equal(bed.identity('192.0.2.2'), IDENTITY_REMOTE_NODE)
  t.equal(bed.identity('198.51.100.1'), IDENTITY_KUBE_APISERVER)
  t.equal(bed.identity('203.0.113.1'), IDENTITY_WORLD_IPV4)
  t.equal(bed.identity('2001:db8::1'), IDENTITY_WORLD_IPV6)
  bed.apply({
    ...putPods(web('a', '10.0.0.1')),
    ...putPolicies(policy('p', { app: 'web' }, [allow([network('203.0.113.0/24', ['203.0.113.8/29'])])])),
  })
  t.equal(bed.identity('203.0.113.1') >>> 24, 1)
  t.equal(bed.identity('203.0.113.9') >>> 24, 1)
  t.not(bed.identity('203.0.113.1'), bed.identity('203.0.113.9'))
  t.ok(bed.identity('10.0.0.1') >= 256 && bed.identity('10.0.0.1') < 65_536)
})

t.test('a prefix in a prefix knows both', async (t) => {
  const bed = new Bed()
  bed.apply({
    ...putPods(web('a', '10.0.0.1')),
    ...putPolicies(
      policy('wide', { app: 'web' }, [allow([network('203.0.0.0/16')], 80)]),
      policy('narrow', { app: 'web' }, [allow([network('203.0.113.0/24')], 443)]),
    ),
  })
  const ports = (from: string) => [80, 443].map((port) => bed.decide(from, '10.0.0.1', port)?.isAllowed)
  t.strictSame(ports('203.0.1.1'), [true, false])
  t.strictSame(ports('203.0.113.1'), [true, true])
  t.strictSame(ports('204.0.0.1'), [false, false])
})

t.test(
  'pods that no policy distinguishes share a set; rows grow with identities, not with pods',
  async (t) => {
    const bed = new Bed()
    const many = Array.from({ length: 40 }, (_, index) => web(`w${index}`, `10.0.1.${index}`))
    bed.apply({
      ...putPods(...many, pod('db', '10.0.0.9', { app: 'db' })),
      ...putPolicies(policy('p', { app: 'web' }, [allow([pods({ app: 'db' })])])),
    })
    const { sets, rows: count } = bed.compiler.size()
    t.equal(sets, 2, 'one for web, one for who has no policy')
    bed.apply(putPods(...Array.from({ length: 40 }, (_, index) => web(`x${index}`, `10.0.2.${index}`))))
    t.strictSame([bed.compiler.size().sets, bed.compiler.size().rows], [sets, count])
  },
)

t.test('a peer whose class is the default gets no row, and everyone of a scope is a default', async (t) => {
  const bed = new Bed()
  const others = Array.from({ length: 30 }, (_, index) =>
    pod(`o${index}`, `10.0.3.${index}`, { app: `o${index}` }),
  )
  const everyPod = { kind: 'pods', namespaces: EVERYTHING, pods: EVERYTHING } as const
  bed.apply({
    ...putPods(web('a', '10.0.0.1'), ...others),
    ...putPolicies(
      policy('all', { app: 'web' }, [allow([everyPod], 80)]),
      policy('one', { app: 'web' }, [allow([pods({ app: 'o1' })], 443)]),
    ),
  })
  t.equal(bed.compiler.size().rows, 3, 'o1; and the own node for both sets')
  t.equal(bed.decide('10.0.3.7', '10.0.0.1', 80)?.isAllowed, true)
  t.equal(bed.decide('10.0.3.1', '10.0.0.1', 443)?.isAllowed, true)
  t.equal(bed.decide('203.0.113.1', '10.0.0.1', 80)?.isAllowed, false, 'the outside is no pod')
})

t.test('an epoch moves only if something of that set changed', async (t) => {
  const bed = new Bed()
  bed.apply({
    ...putPods(
      web('a', '10.0.0.1'),
      pod('db', '10.0.0.2', { app: 'db' }),
      pod('c', '10.0.0.3', { app: 'client' }),
    ),
    ...putPolicies(
      policy('web', { app: 'web' }, [allow([pods({ app: 'client' })])]),
      policy('db', { app: 'db' }, [allow([pods({ app: 'web' })])]),
    ),
  })
  const epochs = () => ['10.0.0.1', '10.0.0.2', '10.0.0.3'].map((address) => bed.tables.epochOf(address) ?? 0)
  const [webBefore = 0, dbBefore, clientBefore] = epochs()
  bed.apply(putPolicies(policy('web', { app: 'web' }, [allow([pods({ app: 'client' })], 80)])))
  const [webAfter = 0, dbAfter, clientAfter] = epochs()
  t.ok(webAfter > webBefore)
  t.strictSame([dbAfter, clientAfter], [dbBefore, clientBefore])
  bed.apply(
    putPolicies(policy('web', { app: 'web' }, [allow([pods({ app: 'client' })], 80)], { uid: 'other' })),
  )
  t.equal(epochs()[0], webAfter, 'the same again')
})

t.test('an address that another pod gets carries nothing of the one before', async (t) => {
  const bed = new Bed()
  bed.apply({
    ...putPods(web('a', '10.0.0.1'), pod('c', '10.0.0.3', { app: 'client' }, { node: 'there' })),
    ...putPolicies(policy('web', { app: 'web' }, [allow([pods({ app: 'client' })])])),
  })
  t.equal(bed.decide('10.0.0.3', '10.0.0.1')?.isAllowed, true)
  const before = bed.decide('10.0.0.3', '10.0.0.1')?.epoch ?? 0
  bed.apply(
    putPods(
      pod('c', '10.0.0.3', { app: 'client' }, { node: 'there', isFinished: true }),
      pod('d', '10.0.0.3', { app: 'stranger' }, { node: 'there' }),
    ),
  )
  const after = bed.decide('10.0.0.3', '10.0.0.1')
  t.equal(after?.isAllowed, false)
  t.ok((after?.epoch ?? 0) > before, 'flows are judged again')
})

t.test('a masqueraded packet is the world, whatever its address', async (t) => {
  const bed = new Bed()
  const nodes = { kind: 'nodes', labels: EVERYTHING } as const
  bed.apply({
    ...putPods(web('a', '10.0.0.1')),
    ...putPolicies(policy('web', { app: 'web' }, [allow([nodes])])),
    nodes: new Map([['there', { name: 'there', labels: {}, addresses: ['192.0.2.2'] }]]),
  })
  t.equal(bed.decide('192.0.2.2', '10.0.0.1')?.isAllowed, true)
  t.equal(bed.decide('192.0.2.2', '10.0.0.1', 80, { isMasqueraded: true })?.isAllowed, false)
})

t.test('numbers that ran out close, and open nothing', async (t) => {
  const bed = new Bed({ limits: { sets: 2, classes: 3 } })
  bed.apply({
    ...putPods(web('a', '10.0.0.1'), pod('db', '10.0.0.2', { app: 'db' })),
    ...putPolicies(policy('web', { app: 'web' }, [allow([pods({ app: 'db' })], 80)])),
  })
  const decisions = ['10.0.0.1', '10.0.0.2'].map((to) => bed.decide('203.0.113.1', to))
  t.ok(decisions.some((decision) => decision?.rule === RULE_NO_ROOM && !decision.isAllowed))
  t.notOk(bed.decide('203.0.113.1', '10.0.0.1')?.isAllowed)
})

t.test('an audited policy lets pass and tells what it would have done', async (t) => {
  const bed = new Bed()
  bed.apply({
    ...putPods(web('a', '10.0.0.1')),
    ...putPolicies(
      policy('web', { app: 'web' }, [allow([network('203.0.113.0/24')], 80)], { isAudit: true }),
    ),
  })
  const passed = bed.decide('203.0.113.1', '10.0.0.1', 443)
  t.equal(passed?.isAllowed, true)
  t.match(bed.compiler.nameOf(passed?.wouldBeRule ?? 0), { key: 'shop/web', index: -1 })
  t.equal(bed.decide('203.0.113.1', '10.0.0.1', 80)?.wouldBeRule, 0)
})

t.test('who denies says whether connections go on; of several that isolate all must', async (t) => {
  const keep = { existingConnections: 'keep' } as const
  const kept = (...policies: readonly Policy[]) => {
    const bed = new Bed()
    bed.apply({ ...putPods(web('a', '10.0.0.1')), ...putPolicies(...policies) })
    return bed.decide('203.0.113.1', '10.0.0.1')?.keepsExisting
  }
  t.equal(kept(policy('p', { app: 'web' }, [])), false, 'as the cluster has it')
  t.equal(kept(policy('p', { app: 'web' }, [], keep)), true)
  t.equal(kept(policy('p', { app: 'web' }, [], keep), policy('q', { app: 'web' }, [])), false)
})

t.test('one policy of many touches what it must', async (t) => {
  const bed = new Bed()
  const apps = Array.from({ length: 50 }, (_, index) => `app-${index}`)
  bed.apply({
    ...putPods(...apps.map((app, index) => pod(app, `10.0.4.${index}`, { app }))),
    ...putPolicies(
      ...apps.map((app, index) => policy(app, { app }, [allow([pods({ app: apps[index - 1] ?? '' })], 80)])),
    ),
  })
  const change = bed.apply(
    putPolicies(policy('app-7', { app: 'app-7' }, [allow([pods({ app: 'app-6' })], 81)])),
  )
  const touched = (['classes', 'cells', 'peers', 'sets', 'identities', 'subjects'] as const).map((table) =>
    rows(change, table),
  )
  t.strictSame(touched, [2, 1, 0, 1, 0, 0], 'a class for another, one cell, one epoch')
  t.match(labels({}), EVERYTHING)
})

t.test('whom a rule means no more is never judged by what else it says now', async (t) => {
  const bed = new Bed()
  const roles = ['stays', 'goes', 'comes']
  const rule = (left: readonly string[], port: number) =>
    policy('p', { app: 'web' }, [
      allow(
        left.map((role) => pods({ role })),
        port,
      ),
    ])
  bed.apply({
    ...putPods(web('a', '10.0.0.1'), ...roles.map((role, index) => pod(role, `10.0.1.${index}`, { role }))),
    ...putPolicies(rule(['stays', 'goes'], 80)),
  })
  const seen = new Set<string>()
  const look = () => {
    for (const [index, role] of roles.entries()) {
      const open = [80, 90].filter((port) => bed.decide(`10.0.1.${index}`, '10.0.0.1', port)?.isAllowed)
      seen.add(`${role} ${open.join()}`)
    }
  }
  for (const write of bed.compiler.apply(putPolicies(rule(['stays', 'comes'], 90)), 1)) {
    bed.tables.apply(write)
    look()
  }
  t.strictSame(
    [...seen].sort(),
    ['comes ', 'comes 90', 'goes ', 'goes 80', 'stays 80', 'stays 90'],
    'before or after, at every write',
  )
})

t.test('an agent that follows another keeps the numbers of identities, and mixes up none', async (t) => {
  const world = {
    ...putPods(web('a', '10.0.0.1'), web('b', '10.0.0.2'), pod('db', '10.0.0.3', { app: 'db' })),
    ...putPolicies(policy('p', { app: 'web' }, [allow([pods({ app: 'db' }), network('203.0.113.0/24')])])),
    nodes: new Map([['here', { name: 'here', labels: {}, addresses: ['192.0.2.1'] }]]),
  }
  const first = new Bed()
  first.apply(world)
  const addresses = ['10.0.0.1', '10.0.0.3', '203.0.113.7', '192.0.2.1']
  const numbers = addresses.map((address) => first.identity(address))
  const earlier = first.tables.asEarlier(50)
  const compiler = new PolicyCompiler(bedOptions({ earlier }))
  const change = compiler.apply(world, 0)
  const sets = change.flatMap((write) => (write.table === 'sets' && 'put' in write ? write.put : []))
  const classes = change.flatMap((write) => (write.table === 'classes' && 'put' in write ? write.put : []))
  t.notOk(sets.some(({ set }) => [...earlier.sets].includes(set)))
  t.notOk(classes.some((row) => [...earlier.classes].includes(row.class)))
  for (const write of change) first.tables.apply(write)
  first.tables.settle()
  t.strictSame(
    addresses.map((address) => first.identity(address)),
    numbers,
  )
  t.equal(compiler.nameOf(first.decide('203.0.113.7', '10.0.0.1')?.rule ?? 0) !== undefined, true)
  t.ok((first.decide('203.0.113.7', '10.0.0.1')?.rule ?? 0) > 50)
})

t.test('a set whose policies are audited alone says so, and no longer with one in force', async (t) => {
  const bed = new Bed()
  const saidBy = (...policies: readonly Policy[]) =>
    bed
      .apply(putPolicies(...policies))
      .flatMap((write) => ('put' in write && write.table === 'sets' ? write.put : []))
      .map(({ ingress, egress }) => [ingress.isAudited === true, egress.isAudited === true])
      .at(-1)
  bed.apply(putPods(web('a', '10.0.0.1')))
  const audited = policy('p', { app: 'web' }, [], { isAudit: true })
  t.strictSame(saidBy(audited), [true, false])
  t.strictSame(saidBy(policy('q', { app: 'web' }, [allow('any')])), [false, false])
  t.strictSame(saidBy(policy('q', { app: 'web' }, [allow('any')], { isAudit: true })), [true, false])
  t.strictSame(saidBy({ ...audited, isAudit: false }), [false, false])
})
