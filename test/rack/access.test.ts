// Agents are their ServiceAccount, with the roles of manifests/ and no more, at an API server that enforces them: what they do they may,
// what they need not do they may not, and a rule that is taken away is told by `weir status` until it is back.

import { fileURLToPath } from 'node:url'
import t from 'tap'
import { agentSocket, startAgent, WEIR } from '../../src/sandbox/nodes.ts'
import { stopProcess } from '../../src/sandbox/process.ts'
import { Bed } from './conformance/bed.ts'
import { HTTP_PORT, pod, service } from './conformance/manifests.ts'

t.setTimeout(300_000)
const RBAC = fileURLToPath(new URL('../../manifests/base/rbac.yaml', import.meta.url))
const AGENT = '--as=system:serviceaccount:kube-system:weir'

const bed = await Bed.up({ name: 'access', nodes: 1 })
t.teardown(() => bed.down())
const host = bed.rack.host('node1')

async function weir(...args: readonly string[]): Promise<string> {
  const argv = [process.execPath, WEIR, ...args, '--socket', agentSocket(host)]
  const { status, stdout, stderr } = await bed.run('node1', argv)
  if (status !== 0) throw new Error(stderr)
  return stdout
}

interface ClusterRole {
  readonly rules: readonly { readonly resources: readonly string[] }[]
}

async function takeAway(resource: string): Promise<void> {
  const role = await bed.get<ClusterRole>('clusterrole', 'weir')
  await bed.apply({ ...role, rules: role.rules.filter(({ resources }) => !resources.includes(resource)) })
}

const lacking = async () =>
  (await bed.agent<{ lackingRules: { rule: string }[] }>('node1', '/v1/status')).lackingRules.map(
    ({ rule }) => rule,
  )

t.test('what agents may, by the API server itself', async (t) => {
  const may = (...what: string[]) => bed.kubectl('auth', 'can-i', ...what, AGENT)
  t.equal((await may('watch', 'services')).trim(), 'yes')
  t.equal((await may('patch', 'services', '--subresource=status')).trim(), 'yes')
  t.equal((await may('watch', 'secrets/weir-bgp', '-n', 'kube-system')).trim(), 'yes')
  for (const what of [
    ['watch', 'secrets', '-n', 'kube-system'],
    ['delete', 'nodes'],
    ['update', 'services'],
    ['create', 'pods'],
  ])
    await t.rejects(may(...what), `not ${what.join(' ')}`)
  await t.rejects(bed.kubectl('get', 'configmaps', '-A', AGENT), {
    message:
      /configmaps is forbidden: User "system:serviceaccount:kube-system:weir" cannot list resource "configmaps" in API group "" at the cluster scope/,
  })
  await bed.kubectl('get', 'configmaps', '-A')
})

t.test('an agent does all its work with them', async (t) => {
  await bed.apply(
    pod('web', { node: 'node1', labels: { app: 'web' } }),
    service('web', { type: 'LoadBalancer', selector: { app: 'web' } }),
  )
  await bed.waitForPods('app=web')
  t.equal((await bed.vips('web')).length, 2, 'gives addresses out, holding the Lease')
  await bed.until('an Event about them', async () => {
    const { items } = await bed.get<{ items: { involvedObject: { name: string }; reason: string }[] }>(
      'events',
    )
    return items.some(
      ({ involvedObject, reason }) => involvedObject.name === 'web' && reason === 'AddressAllocated',
    )
  })
  await weir('drain', 'node1')
  const { spec, status } = await bed.get<{
    spec: { unschedulable?: boolean }
    status: { conditions: { type: string }[] }
  }>('node', 'node1')
  t.equal(spec.unschedulable, true, 'cordons the node')
  t.ok(
    status.conditions.some(({ type }) => type === 'weir.network/Drained'),
    'and writes its condition',
  )
  await weir('undrain', 'node1')
  t.same(await lacking(), [])
  t.notMatch(await weir('status'), /ROLES LACK/)
})

t.test('a rule that is missing is told, and told no more when it is back', async (t) => {
  await takeAway('services/status')
  await bed.apply(service('late', { type: 'LoadBalancer', selector: { app: 'web' } }))
  const rule = '{ apiGroups: [""], resources: [services/status], verbs: [patch] }'
  await bed.until('the refusal', async () => (await lacking()).includes(rule))
  const shown = await weir('status')
  t.match(shown, /^ROLES LACK THE RULE +WHERE +REFUSED SINCE$/m)
  t.ok(shown.includes(rule))
  t.match(shown, /^.* ClusterRole +20\S+Z$/m)
  t.match(shown, /Mend: add them to the agent's roles; manifests\/base\/rbac\.yaml has all that are needed/)
  t.same((await bed.serviceAddresses('late')).vips, [])
  await bed.kubectl('apply', '-f', RBAC)
  t.equal((await bed.vips('late')).length, 2)
  t.same(await lacking(), [])
})

t.test('an agent that starts without the right to a kind of policy', async (t) => {
  /** Its status, and what it says. */
  const ready = async () => {
    const url = 'http://127.0.0.1:10256/readyz'
    const { stdout } = await bed.run('node1', ['curl', '-s', '-m', '2', '-w', ' %{http_code}', url])
    return stdout.replaceAll('\n', '')
  }
  t.equal(await ready(), '{"ready":true,"waitsFor":[]} 200')
  await takeAway('networkpolicies')
  await stopProcess(`${host.directory}/agent.pid`)
  await startAgent(bed.rack, bed.rack.node('node1'))
  await bed.until(
    'the next agent',
    async () => (await bed.agent<{ synced: boolean }>('node1', '/v1/status')).synced,
  )
  await bed.apply(
    pod('fresh', { node: 'node1', labels: { app: 'fresh' } }),
    service('begun', { type: 'LoadBalancer', selector: { app: 'web' } }),
  )
  const [vip = ''] = await bed.vips('begun')
  await bed.until('a Service that is new, and routed', async () => (await bed.http('client1', vip)) === 'web')
  await bed.waitForPods('app=fresh')
  const [fresh = ''] = await bed.podAddresses('fresh')
  const speaks = async () => (await bed.connect('node1', fresh, HTTP_PORT)) === 'open'
  t.notOk(await speaks(), 'a pod that is new is closed, even to its node')
  t.match(await ready(), /"ready":false.*networkpolicies\.networking\.k8s\.io.* 503$/)
  const { items } = await bed.get<{ items: { reason: string; message: string }[] }>('events', '-A')
  t.match(
    items.filter(({ reason }) => reason === 'PolicyNotReadable').map(({ message }) => message),
    [/list and watch of networkpolicies\.networking\.k8s\.io: .* Mend: apply the manifests' ClusterRole/],
  )
  await bed.kubectl('apply', '-f', RBAC)
  await bed.until('policy, once it is granted', speaks)
  t.equal(await ready(), '{"ready":true,"waitsFor":[]} 200')
})
