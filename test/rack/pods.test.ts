// Real pods: namespaces with veths, container processes in their cgroups, driven by the real API server through the real
// controllers. One node without routers is enough: what is proved here ends at the node.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, existsSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { createKubeClient, type KubeClient } from '../../src/kube/client.ts'
import { isKubeError } from '../../src/kube/errors.ts'
import {
  ENDPOINT_SLICES,
  EVENTS,
  NODES,
  PODS,
  type Pod,
  type PodSpec,
  SERVICE_ACCOUNTS,
  SERVICES,
} from '../../src/kube/objects.ts'
import { DEPLOYMENTS, type Deployment } from '../../src/kube/workloads.ts'
import { makeAddressPlan } from '../../src/sandbox/address-plan.ts'
import type { KubeObject } from '../../src/sandbox/apiserver/kind.ts'
import { downRack } from '../../src/sandbox/down.ts'
import { createNamespace, ipBatch, listNamespaces } from '../../src/sandbox/host.ts'
import { apiCaFile, hostDirectory, namespaceName, podNamespaceName } from '../../src/sandbox/names.ts'
import { podLogProvider } from '../../src/sandbox/pod-logs.ts'
import { identify } from '../../src/sandbox/process.ts'
import { chooseApiPort, makeRack, saveRack } from '../../src/sandbox/rack.ts'
import { testRackName } from '../../tools/test-names.ts'

const CONTROL = new URL('../../src/sandbox/control.ts', import.meta.url).pathname
const NAMESPACE = 'default'
const RACK = testRackName('pods')
const IMAGE = 'agnhost:2.56'

const rack = makeRack(RACK, makeAddressPlan(1), await chooseApiPort(RACK), false)
let control: ChildProcess
let client: KubeClient

async function startControl(): Promise<void> {
  const log = openSync(`${rack.directory}/control.log`, 'a')
  control = spawn(process.execPath, [CONTROL, '--rack', RACK], { stdio: ['ignore', log, log] })
  await until('the API server', async () => existsSync(`${hostDirectory(RACK, 'control')}/ready`))
}

async function stopControl(signal: NodeJS.Signals): Promise<void> {
  const ended = once(control, 'exit')
  control.kill(signal)
  await ended
  rmSync(`${hostDirectory(RACK, 'control')}/ready`, { force: true })
}

async function until<T>(
  what: string,
  look: () => Promise<T | undefined | false>,
  timeoutMs = 8000,
): Promise<T> {
  const deadline = Date.now() + timeoutMs
  for (;;) {
    const found = await look()
    if (found !== undefined && found !== false) return found
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

function deployment(name: string, replicas: number): Deployment {
  const labels = { app: name }
  const container = {
    name: 'web',
    image: IMAGE,
    args: ['netexec', '--http-port=8080', '--udp-port=8081'],
    ports: [{ name: 'http', containerPort: 8080 }],
    readinessProbe: { httpGet: { path: '/healthz', port: 'http' }, periodSeconds: 1 },
  }
  return {
    metadata: { name, namespace: NAMESPACE },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { terminationGracePeriodSeconds: 2, containers: [container] } },
    },
  }
}

function pod(name: string, spec: PodSpec): Pod {
  return { metadata: { name, namespace: NAMESPACE, labels: { app: name } }, spec }
}

async function createService(name: string): Promise<void> {
  const ports = [{ name: 'http', port: 80, targetPort: 8080 }]
  await client.create(SERVICES, {
    metadata: { name, namespace: NAMESPACE },
    spec: { selector: { app: name }, ports },
  })
}

async function podsOf(app: string): Promise<Pod[]> {
  return (await client.list(PODS, { namespace: NAMESPACE, labelSelector: `app=${app}` })).items
}

async function endpointsOf(service: string) {
  const labelSelector = `kubernetes.io/service-name=${service}`
  const { items } = await client.list(ENDPOINT_SLICES, { namespace: NAMESPACE, labelSelector })
  return items.filter(({ addressType }) => addressType === 'IPv4').flatMap(({ endpoints }) => endpoints ?? [])
}

async function readyCount(service: string): Promise<number> {
  return (await endpointsOf(service)).filter(({ conditions }) => conditions?.ready).length
}

function enter(pod: Pod, ...command: string[]): string {
  const name = { namespace: pod.metadata.namespace ?? '', name: pod.metadata.name ?? '' }
  const [program = '', ...args] = [`--net=/run/netns/${podNamespaceName(RACK, name)}`, '--', ...command]
  return execFileSync('nsenter', [program, ...args], { encoding: 'utf8' })
}

function pidOf(pod: Pod): number {
  return Number(pod.status?.containerStatuses?.[0]?.containerID?.slice('weir://'.length))
}

async function gone(name: string): Promise<boolean> {
  try {
    await client.get(PODS, { namespace: NAMESPACE, name })
    return false
  } catch (error) {
    if (isKubeError(error, 'not-found')) return true
    throw error
  }
}

t.before(async () => {
  saveRack(rack)
  const node = namespaceName(RACK, 'node1')
  await createNamespace(node)
  const { ipv4, ipv6 } = rack.plan.nodes[0]?.loopback ?? { ipv4: '', ipv6: '' }
  await ipBatch(node, [`address add ${ipv4}/32 dev lo`, `address add ${ipv6}/128 dev lo nodad`])
  await startControl()
  client = createKubeClient({
    servers: [`https://127.0.0.1:${rack.apiPort}`],
    caFile: apiCaFile(RACK),
    tokenFile: `${hostDirectory(RACK, 'control')}/admin-token`,
  })
})

t.teardown(async () => {
  client?.close()
  control?.kill('SIGKILL')
  await downRack(RACK)
})

t.test('the node is registered, and namespaces have their service account', async (t) => {
  const node = await client.get(NODES, { name: 'node1' })
  t.match(node, {
    spec: { podCIDRs: ['10.244.1.0/24', 'fd00:244:1::/64'] },
    status: {
      addresses: [
        { type: 'InternalIP', address: '10.255.0.1' },
        { type: 'InternalIP', address: 'fd00:255::1' },
        {},
      ],
    },
  })
  await until(
    'the service account',
    async () => (await client.list(SERVICE_ACCOUNTS, { namespace: NAMESPACE })).items[0],
  )
})

t.test(
  'a Deployment becomes pods with two addresses, reachable from each other, each in its cgroup',
  async (t) => {
    await client.create(DEPLOYMENTS, deployment('web', 3))
    await createService('web')
    await until('three ready endpoints', async () => (await readyCount('web')) === 3)
    const pods = await podsOf('web')
    const [first, second] = pods as [Pod, Pod]
    const addresses = pods.flatMap(({ status }) => status?.podIPs?.map(({ ip }) => ip) ?? [])
    t.equal(new Set(addresses).size, 6, addresses.join(' '))
    for (const { ip } of second.status?.podIPs ?? []) {
      const host = ip.includes(':') ? `[${ip}]` : ip
      t.equal(enter(first, 'curl', '-s', '-m', '2', `http://${host}:8080/hostname`), second.metadata.name)
      t.match(
        enter(first, 'curl', '-s', '-m', '2', `http://${host}:8080/clientip`),
        first.status?.podIPs?.[ip.includes(':') ? 1 : 0]?.ip,
      )
    }
    const cgroup = readFileSync(`/proc/${pidOf(first)}/cgroup`, 'utf8')
    t.match(cgroup, `/weir-racks/${RACK}/node1/kubepods/besteffort/pod${first.metadata.uid}`)
    const features = enter(first, 'ethtool', '-k', 'eth0')
    t.match(features, /generic-receive-offload: on/)
    t.match(features, /tx-checksumming: off/)
    t.match(features, /tcp-segmentation-offload: off/)
    const status = (await client.get(DEPLOYMENTS, { namespace: NAMESPACE, name: 'web' })).status
    t.match(status, { replicas: 3, updatedReplicas: 3 })
  },
)

t.test('scaling up and down', async (t) => {
  const scale = (replicas: number) =>
    client.patch(
      DEPLOYMENTS,
      { namespace: NAMESPACE, name: 'web' },
      { spec: { replicas } },
      { kind: 'merge' },
    )
  await scale(5)
  await until('five ready endpoints', async () => (await readyCount('web')) === 5)
  await scale(2)
  const leaving = await until('terminating endpoints', async () => {
    const endpoints = (await endpointsOf('web')).filter(({ conditions }) => conditions?.terminating)
    return endpoints.length === 3 && endpoints
  })
  t.match(leaving[0]?.conditions, { ready: false, serving: true, terminating: true }, 'they still serve')
  const [stays] = (await podsOf('web')).filter(
    ({ metadata }) => metadata.deletionTimestamp === undefined,
  ) as [Pod]
  const answer = enter(stays, 'curl', '-s', '-m', '2', `http://${leaving[0]?.addresses[0]}:8080/hostname`)
  t.equal(answer, leaving[0]?.targetRef?.name, 'a terminating pod answers through its grace period')
  await until('two pods', async () => (await podsOf('web')).length === 2)
  t.equal((await endpointsOf('web')).length, 2)
  const namespaces = listNamespaces().filter((name) => name.startsWith(`${RACK}-pod-`))
  t.equal(namespaces.length, 2, 'their namespaces are gone')
})

t.test('readiness flips the slice both ways; liveness restarts the container', async (t) => {
  const [ready, alive] = [`${rack.directory}/is-ready`, `${rack.directory}/is-alive`]
  for (const file of [ready, alive]) writeFileSync(file, '')
  const probe = (file: string) => ({
    exec: { command: ['test', '-e', file] },
    periodSeconds: 1,
    failureThreshold: 1,
  })
  const container = {
    name: 'c',
    image: 'none',
    command: ['sleep', '1000'],
    readinessProbe: probe(ready),
    livenessProbe: probe(alive),
  }
  await client.create(PODS, pod('flip', { terminationGracePeriodSeconds: 1, containers: [container] }))
  await createService('flip')
  await until('ready', async () => (await readyCount('flip')) === 1)
  rmSync(ready)
  await until(
    'not ready',
    async () => (await readyCount('flip')) === 0 && (await endpointsOf('flip')).length === 1,
  )
  writeFileSync(ready, '')
  await until('ready again', async () => (await readyCount('flip')) === 1)
  rmSync(alive)
  await until(
    'a restart',
    async () => ((await podsOf('flip'))[0]?.status?.containerStatuses?.[0]?.restartCount ?? 0) > 0,
  )
  writeFileSync(alive, '')
  t.pass()
})

t.test('init containers, environment, output, and an end for good', async (t) => {
  const file = `${rack.directory}/from-init`
  const init = {
    name: 'init',
    image: 'none',
    command: ['sh', '-c', `sleep 0.1; echo $IP >${file}`],
    env: [{ name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } }],
  }
  const main = { name: 'main', image: 'none', command: ['sh', '-c', `cat ${file}; hostname; exit 3`] }
  await client.create(
    PODS,
    pod('once', { restartPolicy: 'Never', initContainers: [init], containers: [main] }),
  )
  const done = await until('its end', async () =>
    (await podsOf('once')).find(({ status }) => status?.phase === 'Failed'),
  )
  t.match(done.status?.containerStatuses?.[0]?.state?.terminated, { exitCode: 3, reason: 'Error' })
  const logs = (query: string) =>
    podLogProvider(RACK)(done as unknown as KubeObject, new URLSearchParams(query))
  t.equal(await logs(''), `${done.status?.podIP}\nonce\n`)
  t.equal(await logs('container=main&tailLines=1'), 'once\n')
  const stream = await logs('follow=true&tailLines=1')
  let followed = ''
  const write = (text: string) => {
    followed += text
    return true
  }
  const stop = typeof stream === 'string' ? undefined : stream({ write, end: () => {} })
  appendFileSync(`${hostDirectory(RACK, 'node1')}/pods/default.once/main.log`, 'more\n')
  await until('what comes', async () => followed === 'once\nmore\n')
  stop?.()
})

t.test('a killed control process leaves pods alone; the next one adopts them', async (t) => {
  const before = await podsOf('web')
  const [kept, killed] = before as [Pod, Pod]
  // What the snapshot has not seen yet would be lost, as with any database that is not synced at each write.
  await new Promise((resolve) => setTimeout(resolve, 1200))
  await stopControl('SIGKILL')
  process.kill(pidOf(killed), 'SIGKILL')
  t.equal(
    enter(kept, 'curl', '-s', '-m', '2', 'http://127.0.0.1:8080/hostname'),
    kept.metadata.name,
    'serves meanwhile',
  )
  await startControl()
  await until('the killed one to be restarted', async () => {
    const now = (await podsOf('web')).find(({ metadata }) => metadata.uid === killed.metadata.uid)
    return now?.status?.containerStatuses?.[0]?.restartCount === 1 && pidOf(now) !== pidOf(killed)
  })
  const now = (await podsOf('web')).find(({ metadata }) => metadata.uid === kept.metadata.uid) as Pod
  t.equal(pidOf(now), pidOf(kept), 'the other runs on as the same process')
  t.equal(now.status?.containerStatuses?.[0]?.restartCount, 0)
  await until('both ready', async () => (await readyCount('web')) === 2)
  const [once] = (await podsOf('once')) as [Pod]
  t.match(
    once.status,
    { phase: 'Failed', containerStatuses: [{ restartCount: 0 }] },
    'what had ended for good is not run again',
  )
})

t.test('a graceful stop of control leaves pods alone too; deletion works on adopted pods', async (t) => {
  const [first] = (await podsOf('web')) as [Pod]
  await stopControl('SIGTERM')
  await startControl()
  await client.delete(DEPLOYMENTS, { namespace: NAMESPACE, name: 'web' })
  await until('all to go', async () => (await podsOf('web')).length === 0)
  t.equal(identify(pidOf(first)), undefined, 'its process has ended')
})

t.test(
  'forced deletion ends a pod without grace, and a successor under its name is another pod',
  async (t) => {
    const stubborn = {
      name: 'c',
      image: 'none',
      command: ['sh', '-c', 'trap "" TERM; while :; do sleep 1; done'],
    }
    const spec = { terminationGracePeriodSeconds: 60, containers: [stubborn] }
    await client.create(PODS, pod('stubborn', spec))
    const running = async () => (await podsOf('stubborn')).find(({ status }) => status?.phase === 'Running')
    const first = await until('it to run', running)
    await client.delete(PODS, first.metadata, { gracePeriodSeconds: 0 })
    t.ok(await gone('stubborn'))
    await client.create(PODS, pod('stubborn', spec))
    const second = await until('its successor', running)
    t.not(second.metadata.uid, first.metadata.uid)
    t.equal(identify(pidOf(first)), undefined, 'its process has ended')
    await client.delete(PODS, second.metadata, { gracePeriodSeconds: 1 })
    await until('its end by SIGKILL after one second', () => gone('stubborn'), 4000)
  },
)

t.test('a host-network pod has the addresses of its node; a pod that fits nowhere says why', async (t) => {
  const sleep = { name: 'c', image: 'none', command: ['sleep', '1000'] }
  await client.create(PODS, pod('host', { hostNetwork: true, containers: [sleep] }))
  const host = await until('it to run', async () =>
    (await podsOf('host')).find(({ status }) => status?.phase === 'Running'),
  )
  t.same(host.status?.podIPs, [{ ip: '10.255.0.1' }, { ip: 'fd00:255::1' }])
  await client.create(PODS, pod('nowhere', { nodeSelector: { no: 'such' }, containers: [sleep] }))
  const condition = await until('the condition', async () =>
    (await podsOf('nowhere'))[0]?.status?.conditions?.find(({ type }) => type === 'PodScheduled'),
  )
  t.match(condition, { status: 'False', reason: 'Unschedulable', message: /node selector/ })
  await until('the event', async () => {
    const { items } = await client.list(EVENTS, { namespace: NAMESPACE })
    return items.find(
      ({ involvedObject, reason }) => involvedObject.name === 'nowhere' && reason === 'FailedScheduling',
    )
  })
})
