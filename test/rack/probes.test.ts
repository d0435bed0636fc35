// No allow window: forbidden probes at 1 kHz while agents are killed, restarted and upgraded and while policies and pods come and go,
// and from many pods in their first instructions. What got through is counted by the receivers' own kernels; connections that
// are permitted go on all the while.

import { readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { parse, stringify } from 'yaml'
import { podCgroups, processesIn } from '../../src/agent/kubepods.ts'
import { cgroupMount } from '../../src/sandbox/host.ts'
import { podsCgroup } from '../../src/sandbox/names.ts'
import { startAgent } from '../../src/sandbox/nodes.ts'
import { findProcess, stopProcess } from '../../src/sandbox/process.ts'
import { Bed, type Manifest } from './conformance/bed.ts'
import { HTTP_PORT, pod } from './conformance/manifests.ts'
import { countReceived, fromThese } from './probes/received.ts'
import { Sender } from './probes/send.ts'
import { FLOW_PORT, flowPod, flowService } from './traffic/manifests.ts'
import { Traffic } from './traffic/traffic.ts'
import { reportsOf, watchFlows } from './traffic/watch.ts'

t.setTimeout(300_000)
const NODES = ['node1', 'node2'] as const
const FORBIDDEN_PER_SECOND = 1000
const GUEST_PER_SECOND = 100
/** Of each protocol and friend. */
const FLOWS = 16
/** Half a minute for two hundred on two idle processors. */
const FRESH_PODS = Number(process.env['WEIR_FRESH_PODS'] ?? 200)
/** Who gets nothing for so long gets nothing. */
const QUIET_MS = 400
const ROUNDS_OF_CHURN = 3
const APPLIED_TOGETHER = 50

const bed = await Bed.up({ name: 'probes', nodes: 2, agent: { policy: { enforce: true } } })
const running: { close(): void }[] = []
t.teardown(async () => {
  for (const one of running) one.close()
  await bed.down()
})

function policy(name: string, spec: object): Manifest {
  return { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata: { name }, spec }
}

const onFlows = (name: string, ...from: readonly object[]) =>
  policy(name, { podSelector: { matchLabels: { app: 'flows' } }, ingress: [{ from }] })
const role = (name: string) => ({ podSelector: { matchLabels: { role: name } } })
const paused = (
  name: string,
  node: string,
  labels: Readonly<Record<string, string>>,
  namespace = 'default',
) =>
  pod(name, {
    ...{ namespace, node, labels },
    spec: { containers: [{ name: 'pause', image: 'pause', args: ['pause'] }] },
  })

const OTHER = (labels: object): Manifest => ({
  ...{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'other', labels } },
})
const FRIENDS = onFlows('friends', role('friend'))
const GUESTS = onFlows('guests', { namespaceSelector: { matchLabels: { team: 'guests' } } })

await bed.apply(
  OTHER({ team: 'guests' }),
  ...NODES.flatMap((node, index) => [
    flowPod(`flows${index + 1}`, node),
    paused(`friend${index + 1}`, node, { app: 'here', role: 'friend' }),
    paused(`sink${index + 1}`, node, { app: 'here' }),
  ]),
  paused('rogue', 'node1', { app: 'here', role: 'rogue' }),
  paused('guest', 'node2', { app: 'here' }, 'other'),
  flowService({ app: 'flows' }),
)
await Promise.all([
  bed.waitForPods('app=flows'),
  bed.waitForPods('app=here'),
  bed.waitForPods('app=here', 'other'),
])
const addressesOf = async (...names: readonly string[]) =>
  (await Promise.all(names.map((name) => bed.podAddresses(name)))).flat()
const flowsAddresses = await addressesOf('flows1', 'flows2')
const sinkAddresses = await addressesOf('sink1', 'sink2')
const rogueAddresses = await addressesOf('rogue')
const guestAddresses = await bed.podAddresses('guest', 'other')
const counters = await Promise.all(['flows1', 'flows2'].map((name) => countReceived(bed, `default/${name}`)))
const sinks = await Promise.all(['sink1', 'sink2'].map((name) => countReceived(bed, `default/${name}`)))

async function gotFrom(senders: readonly string[], receivers = counters): Promise<number> {
  const all = await Promise.all(receivers.map((received) => received()))
  return all.reduce((sum, received) => sum + fromThese(received, senders), 0)
}

/** Waits until nothing more comes from them. @returns how much came in all */
async function untilQuiet(what: string, senders: readonly string[]): Promise<number> {
  let got = -1
  await bed.until(what, async () => {
    const before = await gotFrom(senders)
    await sleep(QUIET_MS)
    got = await gotFrom(senders)
    return got === before
  })
  return got
}

async function send(from: string, perSecond: number): Promise<Sender> {
  const sender = new Sender(await bed.host(from), FLOW_PORT, perSecond, flowsAddresses)
  running.push(sender)
  return sender
}

const rogue = await send('default/rogue', FORBIDDEN_PER_SECOND)
const guest = await send('other/guest', GUEST_PER_SECOND)
await bed.until('everything to come through without policies', async () => {
  const all = await Promise.all(counters.map((received) => received()))
  return all.every((received) => rogueAddresses.every((one) => (received.get(one) ?? 0) > 1))
})
await bed.apply(FRIENDS, GUESTS)
const rogueBefore = await untilQuiet('the rogue to be denied', rogueAddresses)
const { clusterIps } = await bed.serviceAddresses('flows')
for (const [index, straight] of [flowsAddresses, flowsAddresses].entries()) {
  const host = await bed.host(`default/friend${index + 1}`)
  running.push(new Traffic(host, straight, FLOW_PORT, FLOWS), new Traffic(host, clusterIps, 80, FLOWS))
}
const friends = running.filter((one) => one instanceof Traffic)
await bed.until('every permitted flow to be answered', async () => {
  const flows = await reportsOf(friends)
  return flows.length === friends.length * FLOWS * 2 && flows.every(({ answered }) => answered > 0)
})

t.test('the closed default hangs on the pods of each node, and every pod is known', async (t) => {
  type Status = { closedPods: { cgroups: string[]; waiting: unknown[]; byAddress: number } }
  for (const node of NODES) {
    const { closedPods } = await bed.agent<Status>(node, '/v1/status')
    t.strictSame(closedPods.cgroups, [podsCgroup(cgroupMount(), bed.rack.name, node)])
    t.strictSame([closedPods.waiting, closedPods.byAddress], [[], 0])
  }
})

/** Everything permitted goes on, and nothing else came. */
async function expectClosed(t: Test, what: string): Promise<void> {
  const { flows, isAnsweredSince } = await watchFlows(bed, friends, { withinMs: 15_000 })
  t.equal(flows.length, friends.length * FLOWS * 2)
  t.strictSame(
    flows.filter((flow) => flow.failures.length > 0 || !isAnsweredSince(flow)),
    [],
    `${what}: permitted connections go on`,
  )
  t.equal(await gotFrom(rogueAddresses), rogueBefore, `${what}: nothing forbidden got through`)
}

async function untilSynced(node: string): Promise<void> {
  await bed.until(
    `the agent of ${node}`,
    async () => (await bed.agent<{ synced: boolean }>(node, '/v1/status')).synced,
  )
}

/** @param whileDown between the one that ends and the next */
async function replaceAgents(
  kill: boolean,
  whileDown: (file: string) => Promise<void> | void,
): Promise<void> {
  await Promise.all(
    NODES.map(async (name) => {
      const { directory } = bed.rack.host(name)
      const pidFile = `${directory}/agent.pid`
      if (kill) process.kill(findProcess(pidFile)?.pid ?? 0, 'SIGKILL')
      await stopProcess(pidFile)
      await whileDown(`${directory}/agent.yaml`)
      await startAgent(bed.rack, bed.rack.node(name))
      await untilSynced(name)
    }),
  )
}

const UDP_EVERY = (targets: readonly string[], seconds: string) =>
  `while :; do for one in ${targets.join(' ')}; do echo probe >/dev/udp/$one/${FLOW_PORT}; done 2>/dev/null; sleep ${seconds}; done`

t.test('NP-016 the agent is killed, and the next is an upgrade', async (t) => {
  await expectClosed(t, 'before')
  const late = pod('late', {
    node: 'node1',
    labels: { role: 'friend' },
    spec: {
      containers: [
        {
          name: 'probe',
          image: 'none',
          command: ['bash', '-c', UDP_EVERY([...flowsAddresses, ...sinkAddresses], '0.05')],
        },
      ],
    },
  })
  let lateAddresses: string[] = []
  let isThere: Promise<void> | undefined
  await replaceAgents(true, async () => {
    isThere ??= (async () => {
      await bed.apply(late)
      await bed.waitForPods('role=friend')
      lateAddresses = await addressesOf('late')
      await sleep(QUIET_MS)
      // The sinks take whatever comes, and the pod's device carries no program: nothing but its cgroup keeps it from them.
      t.equal(
        (await gotFrom(lateAddresses)) + (await gotFrom(lateAddresses, sinks)),
        0,
        'a pod that starts while no agent runs is closed, allowed or not',
      )
    })()
    await isThere
  })
  for (const receivers of [counters, sinks])
    await bed.until('it to be known', async () => (await gotFrom(lateAddresses, receivers)) > 0)
  await expectClosed(t, 'killed')
  await replaceAgents(false, (file) => {
    const document = parse(readFileSync(file, 'utf8')) as { datapath: Record<string, unknown> }
    document.datapath['capacities'] = { flows: 1 << 15, frontends: 4096, backends: 4096, slots: 1 << 18 }
    writeFileSync(file, stringify(document))
  })
  await expectClosed(t, 'upgraded')
})

t.test('policies, labels and pods come and go', async (t) => {
  for (let round = 0; round < ROUNDS_OF_CHURN; round += 1) {
    const others = [
      onFlows(`extra${round}`, role('nobody'), role('friend')),
      policy(`all${round}`, { podSelector: {}, policyTypes: ['Ingress'] }),
      policy(`here${round}`, {
        podSelector: { matchLabels: { app: 'here' } },
        egress: [{}],
        policyTypes: ['Egress'],
      }),
      ...NODES.map((node) =>
        paused(`passing${round}-${node}`, node, { role: round % 2 === 0 ? 'friend' : 'x' }),
      ),
    ]
    await bed.apply(...others, OTHER({ team: 'guests', round: String(round) }))
    await bed.delete(...others)
  }
  await expectClosed(t, 'churn')
})

t.test('what allows is deleted: a namespace’s label, and the policy', async (t) => {
  const before = await gotFrom(guestAddresses)
  await bed.until('the guest to come through', async () => (await gotFrom(guestAddresses)) > before)
  await bed.kubectl('label', 'namespace', 'other', 'team-')
  await untilQuiet('the guest to be denied with its label', guestAddresses)
  await bed.kubectl('label', 'namespace', 'other', 'team=guests')
  const between = await gotFrom(guestAddresses)
  await bed.until('the guest to come through again', async () => (await gotFrom(guestAddresses)) > between)
  await bed.delete(GUESTS)
  const last = await untilQuiet('the guest to be denied without its policy', guestAddresses)
  await expectClosed(t, 'deleted')
  t.equal(await gotFrom(guestAddresses), last)
  const sent = await guest.sent()
  t.ok(sent.tcp > 0 && sent.udp > 0)
})

/** A neighbour is the next address of the node, which is another's that starts now. */
const FIRST_WORDS = `
own=\${OWN%%,*}
for one in ${sinkAddresses.join(' ')} \${own%.*}.$((\${own##*.} + 1)) \${own%.*}.$((\${own##*.} - 1)); do
  echo probe >/dev/udp/$one/${HTTP_PORT}
  { exec 3<>/dev/tcp/$one/${HTTP_PORT}; } &
done 2>/dev/null
sleep 3; kill $(jobs -p); exec sleep infinity`

function talkative(name: string, node: string, app: string): Manifest {
  const env = [{ name: 'OWN', valueFrom: { fieldRef: { fieldPath: 'status.podIPs' } } }]
  const containers = [{ name: 'probe', image: 'none', command: ['bash', '-c', FIRST_WORDS], env }]
  return pod(name, { node, labels: { app }, spec: { containers } })
}

/** What the kernel of a pod has got: all IPv4 packets, and all that was for a socket. */
function gotByProcess(pid: number): number {
  const table = readFileSync(`/proc/${pid}/net/snmp`, 'utf8').split('\n')
  const read = (protocol: string, field: string) => {
    const [names = '', values = ''] = table.filter((line) => line.startsWith(`${protocol}: `))
    return Number(values.split(' ')[names.split(' ').indexOf(field)])
  }
  return read('Ip', 'InReceives') + read('Tcp', 'InSegs')
}

t.test(`NP-016 ${FRESH_PODS} pods that start at once and speak first of all`, async (t) => {
  await bed.apply(
    policy('fresh', { podSelector: { matchLabels: { app: 'fresh' } }, policyTypes: ['Ingress', 'Egress'] }),
  )
  const egress = async () => {
    const all = await Promise.all(
      NODES.map((node) => bed.agent<Record<string, { packets: number } | undefined>>(node, '/v1/metrics')),
    )
    return all.reduce((sum, metrics) => sum + (metrics['POLICY_EGRESS']?.packets ?? 0), 0)
  }
  const before = await egress()
  const names = Array.from({ length: FRESH_PODS }, (_, index) => `fresh${index}`)
  const fresh = names.map((name, index) => talkative(name, NODES[index % 2] ?? '', 'fresh'))
  // What one kubectl takes a minute for, several do at once.
  await Promise.all(
    Array.from({ length: Math.ceil(fresh.length / APPLIED_TOGETHER) }, (_, batch) =>
      bed.apply(...fresh.slice(batch * APPLIED_TOGETHER, (batch + 1) * APPLIED_TOGETHER)),
    ),
  )
  await bed.until(
    'every fresh pod',
    async () => {
      const phases = await bed.kubectl(
        'get',
        'pods',
        '-l',
        'app=fresh',
        '-o',
        'jsonpath={.items[*].status.phase}',
      )
      return phases.split(' ').filter((phase) => phase === 'Running').length === FRESH_PODS
    },
    150_000,
  )
  await sleep(QUIET_MS)
  const { items } = await bed.get<{
    items: { metadata: { uid: string }; status: { podIPs: { ip: string }[] } }[]
  }>('pods', '-l', 'app=fresh')
  t.equal(items.length, FRESH_PODS)
  const addresses = items.flatMap(({ status }) => status.podIPs.map(({ ip }) => ip))
  t.equal(await gotFrom(addresses, sinks), 0, 'none of it came to a pod of their node, or of the other')
  const places = podCgroups(NODES.map((node) => podsCgroup(cgroupMount(), bed.rack.name, node)))
  const got = items.map(({ metadata: { uid } }) => gotByProcess(processesIn(places.get(uid) ?? '')[0] ?? 0))
  t.equal(
    got.reduce((sum, packets) => sum + packets, 0),
    0,
    'nor to one another',
  )
  t.ok((await egress()) - before >= FRESH_PODS * sinkAddresses.length * 2, 'all of it was sent')
  await bed.apply(...NODES.map((node) => talkative(`open-${node}`, node, 'open')))
  await bed.waitForPods('app=open')
  const open = await addressesOf(...NODES.map((node) => `open-${node}`))
  await bed.until('the same words of others', async () => (await gotFrom(open, sinks)) > 0)
  await expectClosed(t, 'pods started')
  const sent = await rogue.sent()
  t.comment(`forbidden probes sent: ${sent.tcp} connections, ${sent.udp} datagrams`)
  t.ok(sent.tcp + sent.udp > FORBIDDEN_PER_SECOND)
})
