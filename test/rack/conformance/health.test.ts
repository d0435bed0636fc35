// What a node says of itself: healthCheckNodePorts, /healthz and /livez, metrics; and that it tells lag, loss and death apart.

import { mkdirSync, rmdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { startControl, stopControl } from '../../../src/sandbox/control-process.ts'
import { nodeBpffs } from '../../../src/sandbox/names.ts'
import { startAgent } from '../../../src/sandbox/nodes.ts'
import { startProcess, stopProcess } from '../../../src/sandbox/process.ts'
import { Bed } from './bed.ts'
import { expectAnswerers, expectConnect } from './expect.ts'
import { HTTP_PORT, LEAVING, pod, READY, service, slice } from './manifests.ts'

/** A change that waits for twice this long is lag. */
const WATCH_BACK_MS = 45_000
const SYNC_SECONDS = 2
const HEALTH_PORT = 10_256
const METRICS_PORT = 10_249

t.setTimeout(300_000)
const bed = await Bed.up({ name: 'confhealth', agent: { health: { syncSeconds: SYNC_SECONDS } } })
t.teardown(() => bed.down())

const LOCAL = {
  type: 'LoadBalancer',
  externalTrafficPolicy: 'Local',
  selector: { app: 'local' },
  ports: [{ port: 80, targetPort: HTTP_PORT }],
}
await bed.apply(
  pod('local', { node: 'node1', graceSeconds: 60 }),
  pod('p2', { node: 'node2' }),
  service('local', LOCAL),
)
await bed.waitForPods('app in (local, p2)')
const vips = await bed.vips('local')
const { spec } = await bed.get<{ spec: { healthCheckNodePort: number } }>('service', 'local')
const checkPort = spec.healthCheckNodePort

const loopbacks = (node: number) => {
  const { ipv4, ipv6 } = bed.rack.plan.nodes[node - 1]?.loopback ?? { ipv4: '', ipv6: '' }
  return [ipv4, ipv6]
}

interface Answer {
  /** 0: none. */
  readonly code: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

async function ask(from: string, address: string, port: number, path = '/'): Promise<Answer> {
  const url = `http://${address.includes(':') ? `[${address}]` : address}:${port}${path}`
  const { stdout } = await bed.run(from, ['curl', '-s', '-g', '-i', '-m', '3', url])
  const [head = '', ...rest] = stdout.split('\r\n\r\n')
  const [status = '', ...lines] = head.split('\r\n')
  const headers = lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)])
  return {
    code: Number(status.split(' ')[1] ?? 0),
    headers: Object.fromEntries(headers),
    body: rest.join(''),
  }
}

const health = (node: number, path: '/healthz' | '/livez') =>
  ask('client1', loopbacks(node)[0] ?? '', HEALTH_PORT, path)

async function untilCheck(node: number, code: number, port = checkPort): Promise<void> {
  for (const address of loopbacks(node))
    await bed.until(
      `${code} at ${address} port ${port}`,
      async () => (await ask('client1', address, port)).code === code,
    )
}

async function metrics(node: number): Promise<string> {
  return (await ask(`node${node}`, '127.0.0.1', METRICS_PORT, '/metrics')).body
}

async function metric(node: number, series: string): Promise<number | undefined> {
  const line = (await metrics(node)).split('\n').find((text) => text.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.slice(series.length + 1))
}

t.test('EXT-013 a healthCheckNodePort says 200 where a ready endpoint is, 503 elsewhere', async (t) => {
  await untilCheck(1, 200)
  for (const node of [2, 3]) await untilCheck(node, 503)
  for (const [node, count] of [
    [1, 1],
    [2, 0],
  ] as const)
    for (const address of loopbacks(node)) {
      const { headers, body } = await ask('client2', address, checkPort, '/anything')
      t.match(headers, {
        'Content-Type': 'application/json',
        'X-Content-Type-Options': 'nosniff',
        'X-Load-Balancing-Endpoint-Weight': String(count),
      })
      t.equal(
        JSON.stringify(JSON.parse(body)),
        `{"service":{"namespace":"default","name":"local"},"localEndpoints":${count},"serviceProxyHealthy":true}`,
      )
    }
})

t.test('EXT-013 pods and nodes see the same as clients outside', async (t) => {
  for (const from of ['default/p2', 'node1', 'node3'])
    for (const [node, code] of [
      [1, 200],
      [2, 503],
    ] as const)
      for (const address of loopbacks(node))
        t.equal((await ask(from, address, checkPort)).code, code, `${address} from ${from}`)
})

t.test('EXT-014 it closes and opens with the policy and the type', async (t) => {
  const refused = async () => {
    for (const node of [1, 2])
      await expectConnect(bed, t, 'client1', loopbacks(node), 'refused', { port: checkPort })
  }
  await bed.patch('service', 'local', { spec: { externalTrafficPolicy: 'Cluster' } })
  await refused()
  await bed.patch('service', 'local', {
    spec: { externalTrafficPolicy: 'Local', healthCheckNodePort: checkPort },
  })
  await untilCheck(1, 200)
  await untilCheck(2, 503)
  await bed.kubectl('delete', 'service', 'local')
  await refused()
  await bed.apply(service('local', { ...LOCAL, healthCheckNodePort: checkPort }))
  await untilCheck(1, 200)
})

t.test('EXT-014 a port that is taken is an Event on the Service, which is served all the same', async (t) => {
  const port = checkPort === 32_500 ? 32_501 : 32_500
  const host = bed.rack.host('node1')
  const pidFile = `${host.directory}/squatter.pid`
  await startProcess({
    name: 'a squatter',
    namespace: host.namespace,
    cgroup: host.cgroup,
    argv: [process.execPath, '-e', `require('node:net').createServer().listen(${port})`],
    logFile: `${host.directory}/squatter.log`,
    pidFile,
  })
  await expectConnect(bed, t, 'client1', loopbacks(1), 'open', { port })
  await bed.apply(service('squatted', { ...LOCAL, healthCheckNodePort: port }))
  await untilCheck(2, 503, port)
  await bed.until('the Event', async () => {
    const events = await bed.kubectl('get', 'events', '-o', 'json')
    return /FailedToStartServiceHealthcheck/.test(events) && events.includes(`on port ${port}: `)
  })
  await expectAnswerers(bed, t, 'client1', await bed.vips('squatted'), ['local'])
  await stopProcess(pidFile)
  await untilCheck(1, 200, port)
  await bed.kubectl('delete', 'service', 'squatted')
})

t.test('OPS-001 /healthz and /livez, in both families', async (t) => {
  for (const node of [1, 2, 3])
    for (const address of loopbacks(node))
      for (const path of ['/healthz', '/livez']) {
        const { code, headers, body } = await ask('client1', address, HEALTH_PORT, path)
        t.equal(code, 200, `${path} of ${address}`)
        t.match(headers, { 'Content-Type': 'application/json', 'X-Content-Type-Options': 'nosniff' })
        const expected = ['lastUpdated', 'currentTime', ...(path === '/healthz' ? ['nodeEligible'] : [])]
        t.strictSame(Object.keys(JSON.parse(body)), [...expected, 'healthy', 'status'])
        t.match(JSON.parse(body), {
          healthy: true,
          status: { IPv4: { healthy: true }, IPv6: { healthy: true } },
        })
      }
  t.equal((await ask('client1', loopbacks(1)[0] ?? '', HEALTH_PORT, '/metrics')).code, 404)
})

t.test('OPS-004 metrics by the names of kube-proxy', async (t) => {
  const text = await metrics(1)
  for (const [name, type] of [
    ['sync_proxy_rules_duration_seconds', 'histogram'],
    ['sync_full_proxy_rules_duration_seconds', 'histogram'],
    ['sync_partial_proxy_rules_duration_seconds', 'histogram'],
    ['network_programming_duration_seconds', 'histogram'],
    ['sync_proxy_rules_last_timestamp_seconds', 'gauge'],
    ['sync_proxy_rules_last_queued_timestamp_seconds', 'gauge'],
    ['sync_proxy_rules_service_changes_pending', 'gauge'],
    ['sync_proxy_rules_service_changes_total', 'counter'],
    ['sync_proxy_rules_endpoint_changes_pending', 'gauge'],
    ['sync_proxy_rules_endpoint_changes_total', 'counter'],
    ['sync_proxy_rules_no_local_endpoints_total', 'gauge'],
    ['proxy_healthz_total', 'counter'],
    ['proxy_livez_total', 'counter'],
  ] as const)
    t.match(text, `# TYPE kubeproxy_${name} ${type}\nkubeproxy_${name}`, name)
  for (const family of ['IPv4', 'IPv6'])
    t.match(text, new RegExp(`sync_partial_proxy_rules_duration_seconds_count{ip_family="${family}"} [1-9]`))
  t.match(text, /^kubeproxy_proxy_livez_total{code="200"} [1-9]/m)
  t.match(text, /^weir_packets_total{reason="to_local",verdict="forwarded"} [1-9]/m)
  t.match(text, /^weir_bgp_session_up{peer="[^"]+"} 1$/m)
  t.match(text, /^weir_uplink_attached{uplink="to-tor1",hook="xdp"} 1$/m)
  t.match(text, /^weir_api_watching{resource="services"} 1$/m)
  t.equal((await ask('node1', '127.0.0.1', METRICS_PORT, '/proxyMode')).body, 'weir')
  await expectConnect(bed, t, 'client1', loopbacks(1), 'refused', { port: METRICS_PORT })
})

t.test('OPS-005 network_programming_duration counts from what the slice says', async (t) => {
  const count = () =>
    metric(3, 'kubeproxy_network_programming_duration_seconds_count{ip_family="IPv4"}').then((n) => n ?? 0)
  const sum = () =>
    metric(3, 'kubeproxy_network_programming_duration_seconds_sum{ip_family="IPv4"}').then((n) => n ?? 0)
  const [countBefore, sumBefore] = [await count(), await sum()]
  const changed = (seconds: number) => ({
    annotations: {
      'endpoints.kubernetes.io/last-change-trigger-time': new Date(Date.now() - seconds * 1000).toISOString(),
    },
  })
  await bed.apply(
    service('timed'),
    slice('timed', [{ address: '10.244.9.1', node: 'node2', conditions: READY }], {
      name: 'long-ago',
      ...changed(7 * 24 * 3600),
    }),
    slice('timed', [{ address: '10.244.9.2', node: 'node2', conditions: READY }], {
      name: 'now',
      ...changed(5),
    }),
  )
  await bed.until('the sample', async () => (await count()) > countBefore)
  t.equal(await count(), countBefore + 1, 'what happened before the agent started does not count')
  const seconds = (await sum()) - sumBefore
  t.ok(seconds >= 5 && seconds < 20, `${seconds} s`)
})

t.test('OPS-006 Service ports with a Local policy and no endpoint on the node', async (t) => {
  const gauge = (node: number, policy: string) =>
    metric(
      node,
      `kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family="IPv4",traffic_policy="${policy}"}`,
    )
  await bed.apply(
    service('inner', {
      internalTrafficPolicy: 'Local',
      selector: { app: 'p2' },
      ports: [{ port: 80, targetPort: HTTP_PORT }],
    }),
  )
  const seen = async () =>
    Promise.all([1, 2, 3].flatMap((node) => [gauge(node, 'external'), gauge(node, 'internal')]))
  // `local` has its endpoint on node1, `inner` on node2.
  await bed.until('the gauges', async () => (await seen()).join() === '0,1,1,0,1,1')
  t.pass()
})

t.test('OPS-010 a change is planned for its own Service alone', async (t) => {
  const names = Array.from({ length: 40 }, (_, index) => `beside${index}`)
  await bed.apply(...names.map((name) => service(name, { selector: { app: 'p2' } })))
  await bed.until('the Services', async () => ((await metric(2, 'weir_services')) ?? 0) >= names.length)
  await bed.until('quiet', async () => {
    const before = await metric(2, 'weir_services_planned_total')
    await sleep(1500)
    return before === (await metric(2, 'weir_services_planned_total'))
  })
  const planned = async () => (await metric(2, 'weir_services_planned_total')) ?? 0
  const before = await planned()
  await bed.kubectl('annotate', 'service', 'beside7', 'example.org/note=nothing-we-read')
  await bed.kubectl(
    'label',
    'endpointslices',
    '-l',
    'kubernetes.io/service-name=beside8',
    'note=nothing-we-read',
  )
  await bed.patch('service', 'beside9', { spec: { sessionAffinity: 'ClientIP' } })
  await bed.until('the change', async () => (await planned()) > before)
  t.equal(await planned(), before + 1)
})

t.test('EXT-015 lag: healthCheckNodePort, /livez and /healthz say so, and when it is over', async (t) => {
  // A pin that cannot be taken away breaks every round that looks at pods.
  const obstacle = `${nodeBpffs(bed.rack.name, 'node1')}/links/pod_9999999`
  mkdirSync(obstacle)
  try {
    await bed.apply(pod('newcomer', { node: 'node1' }))
    await untilCheck(1, 503)
    t.match(JSON.parse((await ask('client1', loopbacks(1)[0] ?? '', checkPort)).body), {
      localEndpoints: 1,
      serviceProxyHealthy: false,
    })
    const livez = await health(1, '/livez')
    t.equal(livez.code, 503)
    t.match(JSON.parse(livez.body), { healthy: false, status: { IPv4: { healthy: false } } })
    t.equal((await health(1, '/healthz')).code, 503)
    t.ok(((await metric(1, 'weir_sync_failures_total')) ?? 0) > 0)
    t.equal((await health(2, '/livez')).code, 200, 'other nodes do not mind')
    await expectAnswerers(bed, t, 'client1', vips, ['local'])
  } finally {
    rmdirSync(obstacle)
  }
  await untilCheck(1, 200)
  t.equal((await health(1, '/livez')).code, 200)
})

t.test('OPS-002 a node about to be deleted, or deleted, fails /healthz alone', async (t) => {
  const codes = async (node: number) =>
    (await Promise.all([health(node, '/healthz'), health(node, '/livez')])).map(({ code }) => code).join()
  await bed.kubectl('taint', 'nodes', 'node2', 'ToBeDeletedByClusterAutoscaler=1:NoSchedule')
  await bed.until('node2 to say so', async () => (await codes(2)) === '503,200')
  t.match(JSON.parse((await health(2, '/healthz')).body), { nodeEligible: false, healthy: false })
  await bed.kubectl('taint', 'nodes', 'node2', 'ToBeDeletedByClusterAutoscaler-')
  await bed.until('node2 to take it back', async () => (await codes(2)) === '200,200')
  await bed.kubectl('delete', 'node', 'node3')
  await bed.until('node3 to say so', async () => (await codes(3)) === '503,200')
  t.ok(((await metric(3, 'kubeproxy_proxy_healthz_total{code="503"}')) ?? 0) > 0)
})

t.test('OPS-003 the API server away: state is kept, and /livez stays healthy', async (t) => {
  await stopControl(bed.rack)
  await bed.until(
    'the watch to be known as broken',
    async () => (await metric(1, 'weir_api_watching{resource="services"}')) === 0,
  )
  await sleep(2 * SYNC_SECONDS * 1000 + 1000)
  for (const node of [1, 2, 3]) t.equal((await health(node, '/livez')).code, 200, `node${node}`)
  t.equal((await health(1, '/healthz')).code, 200)
  t.equal((await ask('client1', loopbacks(1)[0] ?? '', checkPort)).code, 200)
  await expectAnswerers(bed, t, 'client1', vips, ['local'])
  const node2 = bed.rack.plan.nodes[1]
  if (!node2) throw new Error('the rack has no node2')
  await stopProcess(`${bed.rack.host('node2').directory}/agent.pid`)
  await startAgent(bed.rack, node2)
  t.equal((await health(2, '/livez')).code, 200, 'an agent that has never seen the API server is starting')
  t.match(await health(2, '/healthz'), { code: 503, body: /"nodeEligible":false/ })
  await startControl(bed.rack)
  await bed.until('node2 to know itself', async () => (await health(2, '/healthz')).code === 200)
  await bed.until(
    'the watch to be back',
    async () => (await metric(1, 'weir_api_watching{resource="services"}')) === 1,
    // Tries are up to 15 s apart by then, and a list comes first.
    WATCH_BACK_MS,
  )
  await bed.until(
    'node3, registered again, to be eligible',
    async () => (await health(3, '/healthz')).code === 200,
  )
  t.pass()
})

t.test('EXT-013 terminating endpoints do not count, though they serve on', async (t) => {
  await untilCheck(1, 200)
  await bed.kubectl('delete', 'pod', 'local', '--wait=false')
  await untilCheck(1, 503)
  const { nodePorts } = await bed.serviceAddresses('local')
  await expectAnswerers(bed, t, 'client1', loopbacks(1), ['local'], { port: nodePorts['80/TCP'] ?? 0 })
})

t.test('EXT-013 the same, as slices say it', async (t) => {
  const manual = { ...LOCAL, selector: undefined }
  await bed.apply(service('manual', manual))
  const made = await bed.get<{ spec: { healthCheckNodePort: number } }>('service', 'manual')
  const port = made.spec.healthCheckNodePort
  const endpoints = (address: string, conditions: Readonly<Record<string, boolean>>) =>
    slice('manual', [{ address, node: 'node2', conditions }])
  const [v4 = '', v6 = ''] = ['10.244.2.200', 'fd00:244:2::200']
  await bed.apply(endpoints(v4, READY), endpoints(v6, READY))
  await untilCheck(2, 200, port)
  await bed.apply(endpoints(v4, LEAVING))
  const [node4 = '', node6 = ''] = loopbacks(2)
  await bed.until('503 in one family', async () => (await ask('client1', node4, port)).code === 503)
  t.equal((await ask('client1', node6, port)).code, 200, 'families are counted apart')
})
