// An agent whose roles lack a rule: what it does without, and that it says which rule is missing until it is there. The roles are those of
// manifests/, at an API server that enforces them.

import { pino } from 'pino'
import t from 'tap'
import { SecretStore } from '../../../src/agent/secrets.ts'
import { followSources } from '../../../src/agent/sources.ts'
import { type Access, isRefusedByRoles, LackingRules, ruleFor } from '../../../src/kube/access.ts'
import { LEASES, NODES, SECRETS, SERVICES } from '../../../src/kube/objects.ts'
import { builtinKinds } from '../../../src/sandbox/apiserver/kinds/index.ts'
import { until } from '../kube/fake-server.ts'
import { removeCertificates } from '../sandbox/apiserver/test-server.ts'
import { agentAt } from './agent-at.ts'

const WAIT_MS = 10_000
const log = pino({ level: 'silent' })

t.teardown(removeCertificates)

t.test('what must be followed and may not is told with the rule, and followed once it may', async (t) => {
  const { client, takeAway, giveBack } = await agentAt(t, builtinKinds)
  await takeAway('nodes')
  const sources = followSources({ client, nodeName: 'node1', log, startDelayMs: 0 })
  t.teardown(() => sources.close())
  const nodes = () => sources.describe()['nodes']
  await until('the refusal', () => nodes()?.lastError?.includes('/api/v1/nodes') ?? false, WAIT_MS)
  t.match(
    nodes()?.lastError,
    /403 Forbidden nodes is forbidden: User "system:serviceaccount:kube-system:weir" cannot (list|watch) resource "nodes" in API group "" at the cluster scope; its roles lack the rule \{ apiGroups: \[""\], resources: \[nodes\], verbs: \[(list|watch)\] \}$/,
  )
  t.ok(client.lacking().length > 0)
  for (const { rule, where } of client.lacking())
    t.match(
      [rule, where],
      [/^\{ apiGroups: \[""\], resources: \[nodes\], verbs: \[(list|watch)\] \}$/, 'ClusterRole'],
    )
  await giveBack()
  await sources.synced
  await until('nothing to be lacking', () => client.lacking().length === 0, WAIT_MS)
})

t.test(
  'a write that is refused is told, and forgotten when it is granted, also without an object',
  async (t) => {
    const { client, takeAway, giveBack } = await agentAt(t, builtinKinds)
    await takeAway('services/status')
    const write = () =>
      client.patch(
        SERVICES,
        { namespace: 'default', name: 'web', subresource: 'status' },
        {},
        { kind: 'merge' },
      )
    await t.rejects(write(), {
      code: 'forbidden',
      message: /lack the rule \{ apiGroups: \[""\], resources: \[services\/status\], verbs: \[patch\] \}$/,
    })
    t.match(client.lacking(), [{ where: 'ClusterRole', message: /services "web" is forbidden/ }])
    await giveBack()
    await t.rejects(write(), { code: 'not-found' })
    t.same(client.lacking(), [])
  },
)

t.test('a Secret that no role names is asked for by its name alone', async (t) => {
  const { client } = await agentAt(t, builtinKinds)
  const secrets = new SecretStore({ client, log, onChange: () => {} })
  t.teardown(() => secrets.close())
  await t.rejects(secrets.read('kube-system', 'other', 'password'), /name it in the Role weir-bgp-passwords/)
  t.match(client.lacking()[0], {
    rule: /^\{ apiGroups: \[""\], resources: \[secrets\], resourceNames: \[other\], verbs: \[(list|watch)\] \}$/,
    where: 'Role in kube-system',
  })
  await t.rejects(secrets.read('kube-system', 'weir-bgp', 'password'), /no such Secret/)
})

t.test('rules as roles have them', async (t) => {
  const cases: readonly (readonly [Access, string])[] = [
    [
      { verb: 'patch', resource: NODES, name: 'node1', subresource: 'status' },
      '{ apiGroups: [""], resources: [nodes/status], verbs: [patch] }',
    ],
    [
      { verb: 'update', resource: LEASES, namespace: 'kube-system', name: 'one' },
      '{ apiGroups: [coordination.k8s.io], resources: [leases], resourceNames: [one], verbs: [update] }',
    ],
    [
      { verb: 'create', resource: LEASES, namespace: 'kube-system', name: 'one' },
      '{ apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create] }',
    ],
  ]
  for (const [access, text] of cases) t.equal(ruleFor(access), text)
})

t.test('other refusals are none of the roles', async (t) => {
  t.ok(isRefusedByRoles('pods is forbidden: User "a b" cannot list resource "pods" in API group ""'))
  t.notOk(isRefusedByRoles('pods "x" is forbidden: exceeded quota: small'))
  t.notOk(isRefusedByRoles('events "x" is forbidden: unable to create new content in namespace a'))
})

t.test('as many are remembered as there can be', async (t) => {
  const rules = new LackingRules()
  for (let index = 0; index < 1000; index += 1)
    rules.refused({ verb: 'list', resource: SECRETS, namespace: 'a', name: `s${index}` }, 'no')
  t.equal(rules.list().length, 100)
})
