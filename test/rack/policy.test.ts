// Policy enforced by real agents, with real kubectl and real connections: both families, pods of one node and of two, straight and by a
// Service. Each policy is one that its users write, and every change of it is seen in who gets an answer. Web and its neighbour reach each
// other past the node's routing, as ports of a bridge; the others are routed.

import { readFileSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { startAgent } from '../../src/sandbox/nodes.ts'
import { findProcess, stopProcess } from '../../src/sandbox/process.ts'
import { Bed } from './conformance/bed.ts'
import { HTTP_PORT } from './conformance/manifests.ts'
import { InnerContainer } from './inner-container.ts'
import { ALL, flat, NONE, PolicyBed, policy } from './policy-bed.ts'
import { NodeWays, onNode, SHUT, SSH } from './policy-of-node.ts'

t.setTimeout(300_000)
const bed = await Bed.up({ name: 'policy', nodes: 2, agent: { policy: { enforce: true } } })
t.teardown(() => bed.down())
const pods = await PolicyBed.on(bed)
const { web, clusterIps, vips } = pods

const DEFAULT_DENY = policy('default-deny', { podSelector: {}, policyTypes: ['Ingress'] })
const onWeb = (name: string, rule: object) =>
  policy(name, { podSelector: { matchLabels: { app: 'web' } }, ingress: [rule] })

t.test('without policies everybody gets an answer', async (t) => {
  await pods.expect(t, 'open', ALL)
  for (const vip of vips) t.equal(await pods.curl('client1', vip, 80), 'web', 'from outside')
})

t.test('default deny, and what is allowed by label, namespace, network and named port', async (t) => {
  await bed.apply(DEFAULT_DENY)
  await pods.expect(t, 'default deny', NONE)
  for (const vip of vips) t.equal(await pods.curl('client1', vip, 80, false), '', 'from outside too')
  t.match(
    await bed.kubectl('get', 'pod', 'web', '-o', 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'),
    'True',
    'its own node asks its readiness all the same',
  )

  const byLabel = onWeb('rule', { from: [{ podSelector: { matchLabels: { role: 'near' } } }] })
  await bed.apply(byLabel)
  await pods.expect(t, 'allowed by label', { ...NONE, 'default/near': true })
  await bed.kubectl('label', 'pod', 'far', '--overwrite', 'role=near')
  await pods.expect(t, 'a label that comes', { ...NONE, 'default/near': true, 'default/far': true }, true)
  await bed.kubectl('label', 'pod', 'far', '--overwrite', 'role=far')
  await pods.expect(t, 'a label that goes', { ...NONE, 'default/near': true }, true)

  const byNamespace = onWeb('rule', {
    from: [{ namespaceSelector: { matchLabels: { team: 'other' } } }],
    ports: [{ port: 'http' }],
  })
  await bed.apply(byNamespace)
  await pods.expect(t, 'allowed by namespace, at a named port', { ...NONE, 'other/guest': true })
  await t.test('as it is told', async (t) => {
    const explain = (from: string) =>
      pods.weir('policy', 'explain', '--from', from, '--to', 'default/web', '--port', `${HTTP_PORT}/tcp`)
    const denied = await explain('default/near')
    t.equal(denied.status, 1)
    t.match(denied.stdout, /egress +allowed: no policy decides it/)
    t.match(
      denied.stdout,
      /ingress +denied: NetworkPolicy default\/default-deny and NetworkPolicy default\/rule isolate ingress/,
    )
    t.match(denied.stdout, /kernel +agrees, denied: NetworkPolicy default\/.* isolates ingress/)
    const allowed = await explain('other/guest')
    t.equal(allowed.status, 0, allowed.stdout)
    t.match(allowed.stdout, /kernel +agrees, allowed: NetworkPolicy default\/rule, spec\.ingress\[0\]/)
    t.match(
      (await pods.weir('policy', 'list')).stdout,
      /^NetworkPolicy +default\/rule +normal +ingress +enforce +1 *$/m,
    )
    const drops = await pods.weir('flow', 'drops')
    t.match(drops.stdout, /^\d+s +POLICY_INGRESS .* default\/web:\d+ +\[\d+\]$/m)
    t.match(flat(drops.stdout), /\[\d+\] NetworkPolicy default\/default-deny isolates ingress/)
    for (const vip of [...clusterIps, ...vips])
      for (const [from, status] of [
        ['default/near', 1],
        ['other/guest', 0],
      ] as const) {
        const told = await pods.weir('policy', 'explain', '--from', from, '--to', vip, '--port', '80/tcp')
        t.equal(told.status, status, `${from} to ${vip}`)
        t.match(told.stdout, /, Service default\/web: (allowed|denied)\n +endpoints +default\/web /)
        t.match(told.stdout, /\n +ingress +(allowed|denied)[\s\S]* kernel +agrees/)
      }
    await pods.linesAreKubectls(t, allowed.stdout)
    await pods.linesAreKubectls(t, drops.stdout)
    const [, number = ''] =
      /allowed: NetworkPolicy default\/rule.*\(rule (\d+)/.exec(flat(allowed.stdout)) ?? []
    t.match(
      flat((await pods.weir('policy', 'explain', number)).stdout),
      /^Rule \d+: NetworkPolicy default\/rule, spec\.ingress\[0\] policy NetworkPolicy default\/rule, rule 0 of ingress written line/,
    )
  })

  const [far4 = '', far6 = ''] = await bed.podAddresses('far')
  const byNetwork = onWeb('rule', {
    from: [{ ipBlock: { cidr: `${far4}/32` } }, { ipBlock: { cidr: `${far6}/128` } }],
    ports: [{ port: HTTP_PORT }],
  })
  await bed.apply(byNetwork)
  await pods.expect(t, 'allowed by ipBlock', { ...NONE, 'default/far': true })

  const wrongPort = onWeb('rule', { ports: [{ port: HTTP_PORT + 1 }] })
  await bed.apply(wrongPort)
  await pods.expect(t, 'allowed at another port', NONE, true)
  await bed.delete(wrongPort, DEFAULT_DENY)
  await pods.expect(t, 'policies gone', ALL)
})

t.test('egress: denied at the source, allowed to a pod by its own port behind a Service', async (t) => {
  const closed = policy('closed', { podSelector: { matchLabels: { role: 'near' } }, policyTypes: ['Egress'] })
  const inner = await InnerContainer.in(await bed.host('default/near'))
  const [straight = ''] = web
  t.equal(await inner.curl(straight, HTTP_PORT, true), 'web', 'from a container in its container')
  await bed.apply(closed)
  await pods.expect(t, 'egress denied', { ...ALL, 'default/near': false })
  t.equal(await inner.curl(straight, HTTP_PORT, false), '', 'to that one too')
  const [near = ''] = await bed.podAddresses('near')
  t.equal(await pods.curl('default/far', near, HTTP_PORT), 'near', 'its answers pass')
  const toWeb = policy('to-web', {
    podSelector: { matchLabels: { role: 'near' } },
    policyTypes: ['Egress'],
    egress: [{ to: [{ podSelector: { matchLabels: { app: 'web' } } }], ports: [{ port: HTTP_PORT }] }],
  })
  await bed.apply(toWeb)
  await pods.expect(t, 'egress allowed', ALL)
  const [far = ''] = await bed.podAddresses('far')
  const [clusterIp = ''] = clusterIps
  t.strictSame(
    await Promise.all([inner.curl(clusterIp, 80, true), inner.curl(far, HTTP_PORT, false)]),
    ['web', ''],
    'what its pod may, and no more',
  )
  await bed.delete(closed, toWeb)
})

t.test(
  'observe before enforce: an audit records what it would drop, and a change is simulated',
  async (t) => {
    const { metadata, ...rest } = onWeb('watch', {
      from: [{ podSelector: { matchLabels: { role: 'near' } } }],
    }) as {
      metadata: object
    }
    const annotations = { 'weir.network/policy-mode': 'audit', 'weir.network/existing-connection': 'keep' }
    const audited = { ...rest, metadata: { ...metadata, annotations } }
    const file = `${bed.rack.host('node1').directory}/watch.json`
    writeFileSync(file, JSON.stringify({ ...rest, metadata }))

    await bed.apply(audited)
    const listed = async () => flat((await pods.weir('policy', 'list')).stdout)
    await bed.until('it to be followed', async () =>
      /default\/watch normal ingress audit 1/.test(await listed()),
    )
    await pods.expect(t, 'audited', ALL)
    const audit = async () => flat((await pods.weir('policy', 'audit', '--policy', 'default/watch')).stdout)
    const rowOf = (source: string) =>
      new RegExp(`would drop ingress ${source} default/web ${HTTP_PORT}/tcp \\d+ \\d+s \\d+s \\[\\d+\\]`)
    for (const source of ['default/far', 'other/guest'])
      await bed.until(`what ${source} does`, async () => rowOf(source).test(await audit()))
    t.notMatch(await audit(), rowOf('default/near'), 'who is allowed')
    t.match(await listed(), /default\/watch normal ingress audit 1 \d+ would drop/)
    const events = () => bed.kubectl('get', 'events', '--field-selector', 'involvedObject.name=watch')
    await bed.until('an Event about the key', async () => /did you mean/.test(await events()))
    t.match(await events(), /existing-connection'\].*did you mean 'weir\.network\/existing-connections'/)

    const simulated = await pods.weir('policy', 'simulate', '-f', file)
    t.equal(simulated.status, 1, simulated.stderr)
    t.match(flat(simulated.stdout), /^NetworkPolicy default\/watch: changed SOURCE/)
    t.match(flat(simulated.stdout), /Would change: \d+ rows, of default\/web\./)
    const { stdout } = await pods.weir('policy', 'simulate', '-f', file, '-o', 'json')
    const { changes } = JSON.parse(stdout) as { changes: readonly { source: string; port: number }[] }
    for (const source of ['default/far', 'other/guest'])
      t.match(
        changes.find((change) => change.source === source && change.port === HTTP_PORT),
        {
          ...{ destination: 'default/web', direction: 'ingress' },
          seen: { flow: Number, audit: Number },
          before: { verdict: 'allow', wouldBe: 'deny' },
          after: { verdict: 'deny', cause: /NetworkPolicy default\/watch isolates ingress/ },
        },
        source,
      )
    t.notOk(
      changes.some(({ source }) => source === 'default/near'),
      'who is allowed',
    )

    await bed.apply({ ...rest, metadata: { ...metadata, annotations: null } })
    await pods.expect(t, 'as simulated', { ...NONE, 'default/near': true }, true)
    t.equal((await pods.weir('policy', 'simulate', '-f', file)).status, 0, 'nothing more would change')
    const without = await pods.weir('policy', 'simulate', '--delete', 'NetworkPolicy/default/watch')
    t.equal(without.status, 1)
    t.match(flat(without.stdout), /default\/far default\/web .* dropped.* denied allowed/)
    const unread = await pods.weir('policy', 'simulate', '--delete', 'NetworkPolicy/default/wtach')
    t.strictSame([unread.status, /did you mean default\/watch/.test(unread.stderr)], [2, true])
    await bed.delete(audited)
    await pods.expect(t, 'deleted', ALL, true)
  },
)

t.test('NP-016 an agent that is killed, and the next one, let nothing through that is denied', async (t) => {
  const allowed = onWeb('only-near', { from: [{ podSelector: { matchLabels: { role: 'near' } } }] })
  await bed.apply(allowed)
  const wanted = { ...NONE, 'default/near': true }
  await pods.expect(t, 'only one of them', wanted)
  const drops = async () => flat((await pods.weir('flow', 'drops')).stdout)
  const explain = ['policy', 'explain', '--from', 'default/far', '--to', 'default/web', '--port']
  const rule = async () => {
    const { stdout } = await pods.weir(...explain, `${HTTP_PORT}/tcp`)
    return /denied: NetworkPolicy default\/only-near isolates ingress \(rule \d+/.exec(flat(stdout))?.[0]
  }
  const before = await rule()
  t.ok(before)
  const node = bed.rack.node('node1')
  const pidFile = `${bed.rack.host(node.name).directory}/agent.pid`
  process.kill(findProcess(pidFile)?.pid ?? 0, 'SIGKILL')
  await bed.until('it to be gone', async () => findProcess(pidFile) === undefined)
  t.strictSame(await pods.reach(web, HTTP_PORT, wanted), wanted, 'without an agent')
  await stopProcess(pidFile)
  await startAgent(bed.rack, node)
  let isSynced = false
  const synced = bed
    .until(
      'the next agent',
      async () => (await bed.agent<{ synced: boolean }>(node.name, '/v1/status')).synced,
    )
    .then(() => {
      isSynced = true
    })
  do t.strictSame(await pods.reach(web, HTTP_PORT, wanted), wanted, 'while it starts')
  while (!isSynced)
  await synced
  t.strictSame(await pods.reach(clusterIps, 80, wanted), wanted, 'with the next agent')
  t.equal(await rule(), before, 'a rule has the number that it had')
  await bed.until('what was dropped meanwhile, and by which rule', async () =>
    /POLICY_INGRESS .* NetworkPolicy default\/only-near isolates ingress/.test(await drops()),
  )
  t.notMatch(await drops(), /that is gone/)
  await bed.delete(allowed)
  await pods.expect(t, 'policy deleted', ALL)
})

t.test('kinds that come later: tiers of ClusterNetworkPolicy, and a deny of Cilium', async (t) => {
  const guard = {
    apiVersion: 'policy.networking.k8s.io/v1alpha2',
    kind: 'ClusterNetworkPolicy',
    metadata: { name: 'guard' },
    spec: {
      tier: 'Admin',
      priority: 10,
      subject: { pods: { podSelector: { matchLabels: { app: 'web' } } } },
      ingress: [{ action: 'Deny', from: [{ namespaces: { matchLabels: { team: 'other' } } }] }],
    },
  }
  await bed.until('the kind to be served', async () => {
    await bed.apply(guard)
    return true
  })
  await pods.expect(t, 'denied by the admin tier', { ...ALL, 'other/guest': false })
  const cilium = {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNetworkPolicy',
    metadata: { name: 'no-far' },
    spec: {
      endpointSelector: { matchLabels: { app: 'web' } },
      enableDefaultDeny: { ingress: false },
      ingressDeny: [{ fromEndpoints: [{ matchLabels: { role: 'far' } }] }],
    },
  }
  await bed.apply(cilium)
  await pods.expect(t, 'denied by Cilium', { ...NONE, 'default/near': true })
  await bed.apply({
    ...cilium,
    metadata: { name: 'l7' },
    spec: { endpointSelector: { matchLabels: { app: 'none' } }, egress: [{ toFQDNs: [{}] }] },
  })
  const kind = 'ciliumnetworkpolicies.cilium.io'
  const conditionOf = (name: string) =>
    bed.kubectl('get', kind, name, '-o', 'jsonpath={.status.conditions[?(@.type=="Valid")].status}')
  await bed.until('conditions', async () => (await conditionOf('l7')) === 'False')
  t.equal(await conditionOf('no-far'), 'True')
  await bed.until('an Event that names the field', async () =>
    /PolicyNotFollowed.*spec\.egress\[0\]\.toFQDNs/.test(await bed.kubectl('get', 'events')),
  )
  await bed.delete(guard, cilium)
  await pods.expect(t, 'both gone', ALL)
})

t.test('a node that nodeSelector selects, and where it stays in touch all the same', async (t) => {
  const ways = await NodeWays.open(pods)
  const { node, client } = ways
  const before = await ways.sessions()
  t.ok(before.length > 0 && before.every((text) => /^established .* up$/.test(text)), before.join(', '))
  const OPEN = Object.fromEntries(Object.keys(await ways.all()).map((what) => [what, 'open']))
  t.strictSame(await ways.all(), OPEN)

  const toSsh = { toPorts: [{ ports: [{ port: String(SSH), protocol: 'TCP' }] }] }
  // Its own sessions to SSH alone, and nothing comes in.
  const shut = onNode('shut', { ingress: [{}], egress: [toSsh] })
  await bed.apply(shut)
  const SHUT_ALL = {
    ...OPEN,
    shut: 'silent',
    'shut to its own pod': 'silent',
    "shut to another's pod": 'silent',
    'its own to a shut port': 'silent',
  }
  await bed.until('the node to be shut', async () => (await ways.begin('client1', node, SHUT)) === 'silent')
  t.strictSame(await ways.all(), SHUT_ALL, 'but SSH, its own, its pods and what is theirs')
  t.strictSame(
    [await ways.ask('shut'), await ways.ask('ssh'), await ways.ask('own')],
    ['silent', 'answered', 'answered'],
    'connections of before: cut, and left alone',
  )
  for (const vip of vips)
    t.equal(await pods.curl('client1', vip, 80), 'web', 'a Service’s traffic is its pods’')

  t.strictSame(await ways.sessions(), before, 'BGP and BFD')
  const explained = await pods.weir(
    'policy',
    'explain',
    '--from',
    client[0] ?? '',
    '--to',
    'node1',
    '--port',
    '9000',
  )
  t.match(explained.stdout, /ingress +denied: CiliumClusterwideNetworkPolicy shut isolates ingress/)
  t.match(explained.stdout, /kernel +agrees, denied: CiliumClusterwideNetworkPolicy shut isolates ingress/)
  t.match(
    (await pods.weir('policy', 'list')).stdout,
    /^CiliumClusterwideNetworkPolicy +shut .* the node +\d+ dropped *$/m,
  )
  const kind = 'ciliumclusterwidenetworkpolicies.cilium.io'
  const condition = '-o=jsonpath={.status.conditions[?(@.type=="Valid")].status}'
  await bed.until('its condition', async () => (await bed.kubectl('get', kind, 'shut', condition)) === 'True')

  const deny = onNode('no-ssh', { enableDefaultDeny: { ingress: false }, ingressDeny: [toSsh] })
  await bed.apply(deny)
  await bed.until('SSH to be shut', async () => (await ways.begin('client1', node, SSH)) === 'silent')
  t.equal(await ways.ask('ssh'), 'silent', 'told in so many words')
  await bed.delete(deny, shut)
  await bed.until('the node to be open', async () => (await ways.begin('client1', node, SHUT)) === 'open')
  t.strictSame(await ways.all(), OPEN)
})

t.test('turned off on a node: its pods are open again', async (t) => {
  await bed.apply(DEFAULT_DENY)
  await pods.expect(t, 'default deny', NONE, true)
  const node = bed.rack.node('node1')
  const { directory } = bed.rack.host(node.name)
  const file = `${directory}/agent.yaml`
  writeFileSync(file, readFileSync(file, 'utf8').replace('enforce: true', 'enforce: false'))
  await stopProcess(`${directory}/agent.pid`)
  await startAgent(bed.rack, node)
  await pods.expect(t, 'not enforced', ALL)
  const { stderr } = await pods.weir('policy', 'list')
  t.match(stderr, /policy is not enforced on this node\. Mend: policy\.enforce: true/)
  await bed.delete(DEFAULT_DENY)
})
