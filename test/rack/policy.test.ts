// Policy enforced by real agents, with real kubectl and real connections: both families, pods of one node and of two, straight and by a
// Service. Each policy is one that its users write, and every change of it is seen in who gets an answer. The pods of the first node are
// ports of a bridge, as the bridge plug-in makes them: web and its neighbour reach each other past the node's routing. The others are routed.

import { readFileSync, writeFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { POLICY_CRDS } from '../../bench/control/open-crds.ts'
import { BRIDGE } from '../../src/sandbox/controllers/pod-network.ts'
import { runIn } from '../../src/sandbox/host.ts'
import { agentSocket, startAgent, WEIR } from '../../src/sandbox/nodes.ts'
import { findProcess, stopProcess } from '../../src/sandbox/process.ts'
import { Bed, type Manifest } from './conformance/bed.ts'
import { HTTP_PORT, pod, service } from './conformance/manifests.ts'

t.setTimeout(300_000)
const bed = await Bed.up({ name: 'policy', nodes: 2, agent: { policy: { enforce: true } } })
t.teardown(() => bed.down())
await bed.run('node1', ['ip', 'link', 'add', BRIDGE, 'address', '0a:58:0a:f4:01:01', 'type', 'bridge'])
await bed.run('node1', ['ip', 'link', 'set', BRIDGE, 'up'])

const in2 = (manifest: Manifest, namespace: string): Manifest => {
  const object = manifest as { metadata: object }
  return { ...object, metadata: { ...object.metadata, namespace } }
}

await bed.apply(
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'other', labels: { team: 'other' } } },
  pod('web', { node: 'node1', labels: { app: 'web' } }),
  pod('near', { node: 'node1', labels: { app: 'client', role: 'near' } }),
  pod('far', { node: 'node2', labels: { app: 'client', role: 'far' } }),
  in2(pod('guest', { node: 'node2', labels: { app: 'client' } }), 'other'),
  service('web', { type: 'LoadBalancer', selector: { app: 'web' } }),
)
await Promise.all([
  bed.waitForPods('app=web'),
  bed.waitForPods('app=client'),
  bed.waitForPods('app=client', 'other'),
])
// Agents that have begun without these kinds find them while other tests run.
await bed.apply(...POLICY_CRDS)
const web = await bed.podAddresses('web')
const addressesOf = new Map([
  ['default/near', await bed.podAddresses('near')],
  ['default/far', await bed.podAddresses('far')],
  ['other/guest', await bed.podAddresses('guest', 'other')],
])
const { clusterIps } = await bed.serviceAddresses('web')
const vips = await bed.vips('web')
const PODS = [...addressesOf.keys()]

type Who = Readonly<Record<string, boolean>>

/** Silence is what lasts this long; who may is given time. */
const SILENCE_S = '0.7'
const ANSWER_S = '4'
const hosts = new Map(await Promise.all(PODS.map(async (name) => [name, await bed.host(name)] as const)))

/** What answers; empty when nothing does. */
async function curl(from: string, address: string, port: number, isWanted = true): Promise<string> {
  const host = hosts.get(from) ?? (await bed.host(from))
  const url = `http://${address.includes(':') ? `[${address}]` : address}:${port}/hostname`
  return (await runIn(host, ['curl', '-s', '-g', '-m', isWanted ? ANSWER_S : SILENCE_S, url])).stdout
}

/** Whether each of them gets an answer from web, in both families. */
async function reach(addresses: readonly string[], port: number, wanted: Who): Promise<Who> {
  const asked = await Promise.all(
    PODS.map(async (from) => {
      const got = await Promise.all(
        addresses.map(async (address) => (await curl(from, address, port, wanted[from])) === 'web'),
      )
      if (new Set(got).size > 1)
        throw new Error(`${from} to ${addresses.join(' and ')}: ${got.join(' and ')}`)
      return [from, got[0] === true] as const
    }),
  )
  return Object.fromEntries(asked)
}

const ALL: Who = { 'default/near': true, 'default/far': true, 'other/guest': true }
const NONE: Who = { 'default/near': false, 'default/far': false, 'other/guest': false }

/** Straight to the pod, by ClusterIP and by VIP: a Service makes no difference. */
async function expect(t: Test, what: string, wanted: Who, straightOnly = false): Promise<void> {
  await bed.until(
    what,
    async () => JSON.stringify(await reach(web, HTTP_PORT, wanted)) === JSON.stringify(wanted),
  )
  t.pass(`${what}: straight`)
  if (straightOnly) return
  t.strictSame(await reach(clusterIps, 80, wanted), wanted, `${what}: by ClusterIP`)
}

function policy(name: string, spec: object, namespace = 'default'): Manifest {
  return { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata: { name, namespace }, spec }
}

async function weir(...args: readonly string[]) {
  const argv = [process.execPath, WEIR, ...args, '--socket', agentSocket(bed.rack.host('node1'))]
  return await bed.run('node1', argv)
}

const flat = (text: string) => text.replaceAll(/\s+/g, ' ')

/** Each line of YAML that is named is the line that kubectl prints. */
async function linesAreKubectls(t: Test, text: string): Promise<void> {
  const named = [...flat(text).matchAll(/line (\d+), '([^']+)', of kubectl ([^(]+) \(/g)]
  t.ok(named.length > 0, 'lines are named')
  for (const [, line, said, command = ''] of named) {
    const printed = (await bed.kubectl(...command.split(' '))).split('\n')
    t.equal(printed[Number(line) - 1]?.trim(), said, `line ${line} of kubectl ${command}`)
  }
}

const DEFAULT_DENY = policy('default-deny', { podSelector: {}, policyTypes: ['Ingress'] })
const onWeb = (name: string, rule: object) =>
  policy(name, { podSelector: { matchLabels: { app: 'web' } }, ingress: [rule] })

t.test('without policies everybody gets an answer', async (t) => {
  await expect(t, 'open', ALL)
  for (const vip of vips) t.equal(await curl('client1', vip, 80), 'web', 'from outside')
})

t.test('default deny, and what is allowed by label, namespace, network and named port', async (t) => {
  await bed.apply(DEFAULT_DENY)
  await expect(t, 'default deny', NONE)
  for (const vip of vips) t.equal(await curl('client1', vip, 80, false), '', 'from outside too')
  t.match(
    await bed.kubectl('get', 'pod', 'web', '-o', 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'),
    'True',
    'its own node asks its readiness all the same',
  )

  const byLabel = onWeb('rule', { from: [{ podSelector: { matchLabels: { role: 'near' } } }] })
  await bed.apply(byLabel)
  await expect(t, 'allowed by label', { ...NONE, 'default/near': true })
  await bed.kubectl('label', 'pod', 'far', '--overwrite', 'role=near')
  await expect(t, 'a label that comes', { ...NONE, 'default/near': true, 'default/far': true }, true)
  await bed.kubectl('label', 'pod', 'far', '--overwrite', 'role=far')
  await expect(t, 'a label that goes', { ...NONE, 'default/near': true }, true)

  const byNamespace = onWeb('rule', {
    from: [{ namespaceSelector: { matchLabels: { team: 'other' } } }],
    ports: [{ port: 'http' }],
  })
  await bed.apply(byNamespace)
  await expect(t, 'allowed by namespace, at a named port', { ...NONE, 'other/guest': true })
  await t.test('as it is told', async (t) => {
    const explain = (from: string) =>
      weir('policy', 'explain', '--from', from, '--to', 'default/web', '--port', `${HTTP_PORT}/tcp`)
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
      (await weir('policy', 'list')).stdout,
      /^NetworkPolicy +default\/rule +normal +ingress +enforce +1 *$/m,
    )
    const drops = await weir('flow', 'drops')
    t.match(drops.stdout, /POLICY_INGRESS .* NetworkPolicy\s+default\/default-deny\s+isolates ingress/)
    await linesAreKubectls(t, allowed.stdout)
    await linesAreKubectls(t, drops.stdout)
    const [, number = ''] =
      /allowed: NetworkPolicy default\/rule.*\(rule (\d+)/.exec(flat(allowed.stdout)) ?? []
    t.match(
      flat((await weir('policy', 'explain', number)).stdout),
      /^Rule \d+: NetworkPolicy default\/rule, spec\.ingress\[0\] policy NetworkPolicy default\/rule, rule 0 of ingress written line/,
    )
  })

  const [far4 = '', far6 = ''] = addressesOf.get('default/far') ?? []
  const byNetwork = onWeb('rule', {
    from: [{ ipBlock: { cidr: `${far4}/32` } }, { ipBlock: { cidr: `${far6}/128` } }],
    ports: [{ port: HTTP_PORT }],
  })
  await bed.apply(byNetwork)
  await expect(t, 'allowed by ipBlock', { ...NONE, 'default/far': true })

  const wrongPort = onWeb('rule', { ports: [{ port: HTTP_PORT + 1 }] })
  await bed.apply(wrongPort)
  await expect(t, 'allowed at another port', NONE, true)
  await bed.delete(wrongPort, DEFAULT_DENY)
  await expect(t, 'policies gone', ALL)
})

t.test('egress: denied at the source, allowed to a pod by its own port behind a Service', async (t) => {
  const closed = policy('closed', { podSelector: { matchLabels: { role: 'near' } }, policyTypes: ['Egress'] })
  await bed.apply(closed)
  await expect(t, 'egress denied', { ...ALL, 'default/near': false })
  const [near = ''] = addressesOf.get('default/near') ?? []
  t.equal(await curl('default/far', near, HTTP_PORT), 'near', 'its answers pass')
  const toWeb = policy('to-web', {
    podSelector: { matchLabels: { role: 'near' } },
    policyTypes: ['Egress'],
    egress: [{ to: [{ podSelector: { matchLabels: { app: 'web' } } }], ports: [{ port: HTTP_PORT }] }],
  })
  await bed.apply(toWeb)
  await expect(t, 'egress allowed', ALL)
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
    const listed = async () => flat((await weir('policy', 'list')).stdout)
    await bed.until('it to be followed', async () =>
      /default\/watch normal ingress audit 1/.test(await listed()),
    )
    await expect(t, 'audited', ALL)
    const audit = async () => flat((await weir('policy', 'audit', '--policy', 'default/watch')).stdout)
    const rowOf = (source: string) =>
      new RegExp(
        `would drop ingress ${source} default/web ${HTTP_PORT}/tcp \\d+ \\d+s \\d+s NetworkPolicy default/watch`,
      )
    for (const source of ['default/far', 'other/guest'])
      await bed.until(`what ${source} does`, async () => rowOf(source).test(await audit()))
    t.notMatch(await audit(), rowOf('default/near'), 'who is allowed')
    t.match(await listed(), /default\/watch normal ingress audit 1 \d+ would drop/)
    const events = () => bed.kubectl('get', 'events', '--field-selector', 'involvedObject.name=watch')
    await bed.until('an Event about the key', async () => /did you mean/.test(await events()))
    t.match(await events(), /existing-connection'\].*did you mean 'weir\.network\/existing-connections'/)

    const simulated = await weir('policy', 'simulate', '-f', file)
    t.equal(simulated.status, 1, simulated.stderr)
    t.match(flat(simulated.stdout), /^NetworkPolicy default\/watch: changed SOURCE/)
    t.match(flat(simulated.stdout), /Would change: \d+ rows, of default\/web\./)
    const { stdout } = await weir('policy', 'simulate', '-f', file, '-o', 'json')
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
    await expect(t, 'as simulated', { ...NONE, 'default/near': true }, true)
    t.equal((await weir('policy', 'simulate', '-f', file)).status, 0, 'nothing more would change')
    const without = await weir('policy', 'simulate', '--delete', 'NetworkPolicy/default/watch')
    t.equal(without.status, 1)
    t.match(flat(without.stdout), /default\/far default\/web .* dropped.* denied allowed/)
    const unread = await weir('policy', 'simulate', '--delete', 'NetworkPolicy/default/wtach')
    t.strictSame([unread.status, /did you mean default\/watch/.test(unread.stderr)], [2, true])
    await bed.delete(audited)
    await expect(t, 'deleted', ALL, true)
  },
)

t.test('NP-016 an agent that is killed, and the next one, let nothing through that is denied', async (t) => {
  const allowed = onWeb('only-near', { from: [{ podSelector: { matchLabels: { role: 'near' } } }] })
  await bed.apply(allowed)
  const wanted = { ...NONE, 'default/near': true }
  await expect(t, 'only one of them', wanted)
  const node = bed.rack.node('node1')
  const pidFile = `${bed.rack.host(node.name).directory}/agent.pid`
  process.kill(findProcess(pidFile)?.pid ?? 0, 'SIGKILL')
  await bed.until('it to be gone', async () => findProcess(pidFile) === undefined)
  t.strictSame(await reach(web, HTTP_PORT, wanted), wanted, 'without an agent')
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
  do t.strictSame(await reach(web, HTTP_PORT, wanted), wanted, 'while it starts')
  while (!isSynced)
  await synced
  t.strictSame(await reach(clusterIps, 80, wanted), wanted, 'with the next agent')
  await bed.delete(allowed)
  await expect(t, 'policy deleted', ALL)
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
  await expect(t, 'denied by the admin tier', { ...ALL, 'other/guest': false })
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
  await expect(t, 'denied by Cilium', { ...NONE, 'default/near': true })
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
  await expect(t, 'both gone', ALL)
})

t.test('a node that nodeSelector selects, and where it stays in touch all the same', async (t) => {
  const [SSH, SHUT] = [22, 9000]
  const node = bed.nodeAddresses(1)
  const client = Object.values(bed.rack.plan.clients[0]?.address ?? {})
  for (const port of [SSH, SHUT]) {
    await bed.order('node1', { kind: 'listen', port })
    await bed.order('client1', { kind: 'listen', port })
  }
  const lasting = {
    ssh: [node, SSH, 'client1'],
    shut: [node, SHUT, 'client1'],
    own: [client, SSH, 'node1'],
  } as const
  for (const [key, [[address = ''], port, from]] of Object.entries(lasting))
    await bed.order(from, { kind: 'open', key, protocol: 'tcp', address, port, timeoutMs: 2000 })
  const ask = async (key: keyof typeof lasting) =>
    (await bed.order(lasting[key][2], { kind: 'ask', key, text: '/', timeoutMs: 1000 })).outcome
  /** One that is begun in each family: how it ends. */
  const ways = async (from: string, addresses: readonly string[], port: number) => {
    const ends = await Promise.all(addresses.map((address) => bed.connect(from, address, port)))
    return [...new Set(ends)].join(' and ')
  }
  const all = async () => {
    const asked = {
      ssh: ways('client1', node, SSH),
      shut: ways('client1', node, SHUT),
      'shut to its own pod': ways('default/near', node, SHUT),
      "shut to another's pod": ways('default/far', node, SHUT),
      'its own to SSH': ways('node1', client, SSH),
      'its own to a shut port': ways('node1', client, SHUT),
      'its own to its pod': ways('node1', web, HTTP_PORT),
      "its pod's to the outside": ways('default/near', client, SHUT),
      'another to its pod': ways('default/far', web, HTTP_PORT),
    }
    const ends = await Promise.all(
      Object.entries(asked).map(async ([what, end]) => [what, await end] as const),
    )
    return Object.fromEntries(ends)
  }
  const sessions = async () => {
    const { peers } = await bed.agent<{
      peers: { sinceMs: number; state: string; bfd: { state: string } }[]
    }>('node1', '/v1/bgp/peers')
    return peers.map(({ sinceMs, state, bfd }) => `${state} since ${sinceMs}, BFD ${bfd.state}`)
  }
  const before = await sessions()
  t.ok(before.length > 0 && before.every((text) => /^established .* up$/.test(text)), before.join(', '))
  const OPEN = Object.fromEntries(Object.keys(await all()).map((what) => [what, 'open']))
  t.strictSame(await all(), OPEN)

  const host = (name: string, spec: object) => ({
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumClusterwideNetworkPolicy',
    metadata: { name },
    spec: { nodeSelector: { matchLabels: { 'kubernetes.io/hostname': 'node1' } }, ...spec },
  })
  const toSsh = { toPorts: [{ ports: [{ port: String(SSH), protocol: 'TCP' }] }] }
  // Its own sessions to SSH alone, and nothing comes in.
  const shut = host('shut', { ingress: [{}], egress: [toSsh] })
  await bed.apply(shut)
  const SHUT_ALL = {
    ...OPEN,
    shut: 'silent',
    'shut to its own pod': 'silent',
    "shut to another's pod": 'silent',
    'its own to a shut port': 'silent',
  }
  await bed.until('the node to be shut', async () => (await ways('client1', node, SHUT)) === 'silent')
  t.strictSame(await all(), SHUT_ALL, 'but SSH, its own, its pods and what is theirs')
  t.strictSame(
    [await ask('shut'), await ask('ssh'), await ask('own')],
    ['silent', 'answered', 'answered'],
    'connections of before: cut, and left alone',
  )
  for (const vip of vips) t.equal(await curl('client1', vip, 80), 'web', 'a Service’s traffic is its pods’')

  t.strictSame(await sessions(), before, 'BGP and BFD')
  const explained = await weir(
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
    (await weir('policy', 'list')).stdout,
    /^CiliumClusterwideNetworkPolicy +shut .* the node +\d+ dropped *$/m,
  )
  const kind = 'ciliumclusterwidenetworkpolicies.cilium.io'
  const condition = '-o=jsonpath={.status.conditions[?(@.type=="Valid")].status}'
  await bed.until('its condition', async () => (await bed.kubectl('get', kind, 'shut', condition)) === 'True')

  const deny = host('no-ssh', { enableDefaultDeny: { ingress: false }, ingressDeny: [toSsh] })
  await bed.apply(deny)
  await bed.until('SSH to be shut', async () => (await ways('client1', node, SSH)) === 'silent')
  t.equal(await ask('ssh'), 'silent', 'told in so many words')
  await bed.delete(deny, shut)
  await bed.until('the node to be open', async () => (await ways('client1', node, SHUT)) === 'open')
  t.strictSame(await all(), OPEN)
})

t.test('turned off on a node: its pods are open again', async (t) => {
  await bed.apply(DEFAULT_DENY)
  await expect(t, 'default deny', NONE, true)
  const node = bed.rack.node('node1')
  const { directory } = bed.rack.host(node.name)
  const file = `${directory}/agent.yaml`
  writeFileSync(file, readFileSync(file, 'utf8').replace('enforce: true', 'enforce: false'))
  await stopProcess(`${directory}/agent.pid`)
  await startAgent(bed.rack, node)
  await expect(t, 'not enforced', ALL)
  const { stderr } = await weir('policy', 'list')
  t.match(stderr, /policy is not enforced on this node\. Mend: policy\.enforce: true/)
  await bed.delete(DEFAULT_DENY)
})
