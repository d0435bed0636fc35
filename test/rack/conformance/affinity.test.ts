// Which of the endpoints: affinity, topology hints, and what is left of a connection when they change. Pods stand one on each
// node; slices are made by hand where an endpoint must come and go exactly.

import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Bed } from './bed.ts'
import { expectAnswerers, expectConnect } from './expect.ts'
import { LEAVING, READY, service, slicesOf, TCP_AND_UDP, TCP_AND_UDP_OF_SLICE } from './manifests.ts'
import { podsByNode } from './pods.ts'

t.setTimeout(300_000)
const bed = await Bed.up({ name: 'confaff', agent: { services: { externalIPs: { enabled: false } } } })
t.teardown(() => bed.down())

const PODS = ['p1', 'p2', 'p3'] as const
const places = await podsByNode(bed, PODS)

const PROTOCOLS = ['tcp', 'udp'] as const
const AFFINE = { sessionAffinity: 'ClientIP' } as const
const OUTSIDE = ['client1', 'client2'] as const
const INSIDE = ['default/caller', 'node2'] as const

type Conditions = Readonly<Record<string, boolean>>

function serving(serviceName: string, states: Readonly<Record<string, Conditions>>) {
  const rows = Object.entries(states).map(([name, conditions]) => [name, { conditions }] as const)
  return slicesOf(serviceName, places, Object.fromEntries(rows), { ports: TCP_AND_UDP_OF_SLICE })
}

/** Each place's one answerer at each address; `several` when there is more than one. */
async function favourites(
  from: readonly string[],
  targets: readonly string[],
  options: { port?: number; protocol?: 'tcp' | 'udp'; times?: number } = {},
): Promise<Map<string, string>> {
  const { port = 80, protocol = 'tcp', times = 16 } = options
  const found = new Map<string, string>()
  await Promise.all(
    from.flatMap((source) =>
      targets.map(async (target) => {
        const ask = async () =>
          [...(await bed.answerers(source, target, port, times, protocol)).keys()].sort()
        let names = await ask()
        // Datagrams are lost on a busy machine; another answerer would come again.
        if (names.includes('(silent)')) names = await ask()
        found.set(`${source} → ${target}`, names.length === 1 ? (names[0] ?? '') : `several: ${names.join()}`)
      }),
    ),
  )
  return found
}

const isOne = (name: string) => /^p[123]$/.test(name)

t.test('AFF-001 one endpoint per client: ClusterIP, NodePort and VIP, TCP and UDP', async (t) => {
  await bed.apply(
    service('affine', { type: 'LoadBalancer', ports: TCP_AND_UDP, ...AFFINE }),
    ...serving('affine', { p1: READY, p2: READY, p3: READY }),
  )
  const { clusterIps, nodePorts } = await bed.serviceAddresses('affine')
  const vips = await bed.vips('affine')
  await expectConnect(bed, t, OUTSIDE, vips, 'open')
  for (const protocol of PROTOCOLS) {
    const port = nodePorts[`80/${protocol.toUpperCase()}`] ?? 0
    const all = [
      ...(await favourites(INSIDE, [...clusterIps, ...vips], { protocol })),
      ...(await favourites(OUTSIDE, vips, { protocol })),
      ...(await favourites([...OUTSIDE, ...INSIDE], bed.nodeAddresses(3), { protocol, port })),
    ]
    for (const [asked, name] of all) t.ok(isOne(name), `${protocol} ${asked}: ${name}`)
  }
  const [first, second] = [
    ...(await favourites(['default/caller'], [clusterIps[0] ?? '', vips[0] ?? ''])).values(),
  ]
  t.equal(first, second, 'the Service’s addresses share it')
})

t.test('AFF-003 switched off and on live', async (t) => {
  const { clusterIps } = await bed.serviceAddresses('affine')
  const vips = await bed.vips('affine')
  await bed.patch('service', 'affine', { spec: { sessionAffinity: 'None' } })
  await expectAnswerers(bed, t, [...INSIDE, 'client1'], vips, PODS)
  await bed.patch('service', 'affine', { spec: { sessionAffinity: 'ClientIP' } })
  await bed.until('one endpoint per client again', async () => {
    const names = [...(await favourites(INSIDE, clusterIps)), ...(await favourites(OUTSIDE, vips))]
    return names.every(([, name]) => isOne(name))
  })
  t.pass()
})

t.test('AFF-004 an endpoint that is not usable any more loses its clients at once', async (t) => {
  const vips = await bed.vips('affine')
  for (const source of ['client1', 'default/caller']) {
    const before = [...(await favourites([source], vips.slice(0, 1))).values()][0] ?? ''
    const rest = PODS.filter((name) => name !== before)
    await bed.apply(...serving('affine', Object.fromEntries(rest.map((name) => [name, READY]))))
    await bed.until(`${source} to be led away from ${before}`, async () => {
      const [after] = [...(await favourites([source], vips.slice(0, 1))).values()]
      return isOne(after ?? '') && after !== before
    })
    await bed.apply(...serving('affine', { p1: READY, p2: READY, p3: READY }))
  }
  t.pass()
})

t.test(
  'AFF-002 after the timeout without a connection, and not before, a client may be led elsewhere',
  async (t) => {
    const timeoutSeconds = 3
    await bed.apply(
      service('brief', {
        type: 'LoadBalancer',
        ports: TCP_AND_UDP,
        ...AFFINE,
        sessionAffinityConfig: { clientIP: { timeoutSeconds } },
      }),
      ...serving('brief', { p1: READY }),
    )
    const vips = await bed.vips('brief')
    const everybody = [...OUTSIDE, ...INSIDE, 'node1', 'node3']
    await expectAnswerers(bed, t, everybody, vips, ['p1'])
    await bed.apply(...serving('brief', { p1: READY, p2: READY, p3: READY }))
    // Longer than the timeout in all, never as long without a connection.
    const until = Date.now() + timeoutSeconds * 2000
    const seen = new Set<string>()
    while (Date.now() < until) {
      // Each entry node remembers for itself, so each must be met again in time.
      for (const name of (await favourites(everybody, vips, { times: 16 })).values()) seen.add(name)
      await sleep(timeoutSeconds * 200)
    }
    t.strictSame([...seen], ['p1'], 'a client that goes on connecting stays')
    await sleep(timeoutSeconds * 1000 + 1500)
    const after = [...(await favourites(everybody, vips, { times: 1 })).values()]
    t.ok(
      after.some((name) => name !== 'p1'),
      `after idling: ${after.join(' ')}`,
    )
  },
)

t.test('AFF-005 under a Local policy only local endpoints', async (t) => {
  await bed.apply(
    service('nearby', {
      type: 'LoadBalancer',
      externalTrafficPolicy: 'Local',
      ports: TCP_AND_UDP,
      ...AFFINE,
    }),
    ...serving('nearby', { p1: READY, p2: READY, p3: READY }),
  )
  const { nodePorts } = await bed.serviceAddresses('nearby')
  for (const protocol of PROTOCOLS)
    for (const [index, name] of PODS.entries()) {
      const port = nodePorts[`80/${protocol.toUpperCase()}`] ?? 0
      await expectAnswerers(bed, t, OUTSIDE, bed.nodeAddresses(index + 1), [name], { protocol, port })
    }
})

t.test('EXT-006 externalIPs that are switched off are nobody’s', async (t) => {
  await bed.apply(
    service('off', { externalIPs: ['203.0.113.240', '2001:db8:113::f0'] }),
    ...serving('off', { p1: READY }),
  )
  const { clusterIps } = await bed.serviceAddresses('off')
  await expectConnect(bed, t, 'node1', clusterIps, 'refused', { port: 81 })
  for (const address of ['203.0.113.240', '2001:db8:113::f0'])
    t.not(await bed.connect('node1', address, 80), 'open', address)
})

const ZONE = 'topology.kubernetes.io/zone'

function hinted(serviceName: string, hints: Readonly<Record<string, Readonly<Record<string, unknown>>>>) {
  const rows = Object.entries(hints).map(([name, one]) => [name, { conditions: READY, hints: one }] as const)
  return slicesOf(serviceName, places, Object.fromEntries(rows))
}

const zones = (name: string) => ({ forZones: [{ name }] })
const IN_ZONES = { p1: zones('a'), p2: zones('b'), p3: zones('b') }

t.test('TOP-001, TOP-003 zone hints, while all have one and this node has a zone', async (t) => {
  for (const [index, zone] of ['a', 'b', 'c'].entries())
    await bed.kubectl('label', '--overwrite', 'node', `node${index + 1}`, `${ZONE}=${zone}`)
  await bed.apply(service('zoned', { type: 'LoadBalancer' }), ...hinted('zoned', IN_ZONES))
  const { clusterIps } = await bed.serviceAddresses('zoned')
  await expectAnswerers(bed, t, ['node1', 'default/caller'], clusterIps, ['p1'])
  await expectAnswerers(bed, t, 'node2', clusterIps, ['p2', 'p3'])
  await expectAnswerers(bed, t, 'node3', clusterIps, PODS)
  await bed.kubectl('label', '--overwrite', 'node', 'node1', `${ZONE}=b`)
  await expectAnswerers(bed, t, 'node1', clusterIps, ['p2', 'p3'])
  await bed.kubectl('label', 'node', 'node1', `${ZONE}-`)
  await expectAnswerers(bed, t, 'node1', clusterIps, PODS)
  await bed.kubectl('label', 'node', 'node1', `${ZONE}=a`)
  await bed.apply(...hinted('zoned', { ...IN_ZONES, p3: {} }))
  await expectAnswerers(bed, t, ['node1', 'node2'], clusterIps, PODS)
  await bed.apply(...hinted('zoned', IN_ZONES))
})

t.test('TOP-002 node hints come first', async (t) => {
  const both = (node: string, zone: string) => ({ forNodes: [{ name: node }], ...zones(zone) })
  await bed.apply(
    service('noded'),
    ...hinted('noded', { p1: both('node2', 'a'), p2: both('node1', 'b'), p3: both('node1', 'a') }),
  )
  const { clusterIps } = await bed.serviceAddresses('noded')
  await expectAnswerers(bed, t, 'node1', clusterIps, ['p2', 'p3'])
  await expectAnswerers(bed, t, 'node2', clusterIps, ['p1'])
  await expectAnswerers(bed, t, 'node3', clusterIps, PODS)
})

t.test('TOP-004 the Local set knows no hints', async (t) => {
  await bed.apply(
    service('elsewhere', { type: 'LoadBalancer', externalTrafficPolicy: 'Local' }),
    ...hinted('elsewhere', { p1: zones('b'), p2: zones('a') }),
  )
  const { clusterIps, nodePorts } = await bed.serviceAddresses('elsewhere')
  const port = nodePorts['80/TCP'] ?? 0
  await expectAnswerers(bed, t, 'client1', bed.nodeAddresses(1), ['p1'], { port })
  await expectAnswerers(bed, t, 'client1', await bed.vips('elsewhere'), ['p1', 'p2'])
  await expectAnswerers(bed, t, 'node1', clusterIps, ['p2'])
})

/** What a socket that stays is told, once. */
async function say(from: string, key: string, text: string): Promise<string> {
  const { outcome, text: answer } = await bed.order(from, { kind: 'ask', key, text, timeoutMs: 700 })
  return outcome === 'answered' ? answer : outcome
}

t.test('CT-001, CT-002, CT-003, CT-007 UDP flows from a fixed port follow their endpoints', async (t) => {
  await bed.apply(service('flows', { type: 'LoadBalancer', ports: TCP_AND_UDP }), ...serving('flows', {}))
  const { clusterIps } = await bed.serviceAddresses('flows')
  const vips = await bed.vips('flows')
  const flows = [
    ...['default/caller', 'node2'].flatMap((from) => clusterIps.map((address) => ({ from, address }))),
    ...['client1', 'default/caller'].flatMap((from) => vips.map((address) => ({ from, address }))),
  ].map((flow, index) => ({ ...flow, key: `flow${index}`, sourcePort: 45_000 + index }))
  type Flow = (typeof flows)[number]
  const open = ({ from, key, address, sourcePort }: Flow) =>
    bed.order(from, {
      kind: 'open',
      protocol: 'udp',
      key,
      address,
      port: 80,
      sourcePort,
      timeoutMs: 1000,
    })
  const ask = async ({ from, key }: Flow) => await say(from, key, 'hostname')
  /** What every flow is told; one that is told an error opens again from the same port, as a program does. */
  const askOrOpen = () =>
    Promise.all(
      flows.map(async (flow) => {
        const name = await ask(flow)
        if (!isOne(name)) await open(flow)
        return name
      }),
    )
  await Promise.all(flows.map(open))
  for (const flow of flows)
    t.ok(/refused|silent|unreachable/.test(await ask(flow)), `nobody yet for ${flow.from}`)

  await Promise.all(flows.map(open))
  await bed.apply(...serving('flows', { p1: READY }))
  let seen: string[] = []
  const all = async (wanted: string) => {
    const names = await askOrOpen()
    seen = flows.map(({ from, address }, index) => `${from} → ${address}: ${names[index]}`)
    return names.every((name) => name === wanted)
  }
  await bed.until('every flow to have found the first endpoint', () => all('p1')).catch(() => {})
  for (const line of seen) t.match(line, /p1$/, line)

  await bed.apply(...serving('flows', { p1: LEAVING, p2: READY }))
  await expectAnswerers(bed, t, ['client1', 'node2'], vips, ['p2'], { protocol: 'udp' })
  for (const flow of flows)
    t.equal(await ask(flow), 'p1', `${flow.from} → ${flow.address} stays while it serves`)

  await bed.apply(...serving('flows', { p2: READY }))
  await bed.until('no flow to be held at the endpoint that went', () => all('p2')).catch(() => {})
  for (const line of seen) t.match(line, /p2$/, line)
})

t.test('CT-004, CT-009 TCP flows see the Service’s address, and outlive every change of it', async (t) => {
  await bed.apply(
    service('long', { type: 'LoadBalancer', ports: TCP_AND_UDP }),
    ...serving('long', { p1: READY, p2: READY, p3: READY }),
  )
  const { clusterIps, nodePorts } = await bed.serviceAddresses('long')
  const vips = await bed.vips('long')
  const targets = [
    ...INSIDE.flatMap((from) => [...clusterIps, ...vips].map((address) => ({ from, address, port: 80 }))),
    ...OUTSIDE.flatMap((from) => [
      ...vips.map((address) => ({ from, address, port: 80 })),
      ...bed.nodeAddresses(2).map((address) => ({ from, address, port: nodePorts['80/TCP'] ?? 0 })),
    ]),
  ].flatMap((target) => [1, 2, 3].map((index) => ({ ...target, key: `long ${target.address} ${index}` })))
  await expectAnswerers(bed, t, 'client1', [...vips], PODS)
  for (const { from, key, address, port } of targets) {
    const opened = await bed.order(from, {
      kind: 'open',
      protocol: 'tcp',
      key,
      address,
      port,
      timeoutMs: 3000,
    })
    t.match(opened, { outcome: 'open', from: address }, `${from} → ${address}`)
  }
  const speakers = async () => await Promise.all(targets.map(({ from, key }) => say(from, key, '/hostname')))
  const before = await speakers()
  t.ok(before.every(isOne), before.join())
  const changes: readonly (readonly [string, () => Promise<void>])[] = [
    ['endpoints leave the slices', () => bed.apply(...serving('long', { p1: READY }))],
    ['other endpoints come', () => bed.apply(...serving('long', { p1: READY, p2: READY, p3: READY }))],
    [
      'the port is another',
      () => bed.patch('service', 'long', { spec: { ports: [{ name: 'tcp', port: 81 }] } }),
    ],
  ]
  for (const [what, change] of changes) {
    await change()
    await sleep(300)
    t.strictSame(await speakers(), before, what)
  }
  await bed.kubectl('delete', 'service', 'long')
  await sleep(300)
  // No router leads a client to the VIP any more; everything else is as it was.
  const isLed = ({ from, address }: { from: string; address: string }) =>
    !from.startsWith('client') || !vips.includes(address)
  const after = await speakers()
  t.strictSame(
    after.filter((_, index) => isLed(targets[index] ?? { from: '', address: '' })),
    before.filter((_, index) => isLed(targets[index] ?? { from: '', address: '' })),
    'the Service is gone',
  )
})

t.test('CT-009 getpeername and recvfrom name the Service, inside and outside', async (t) => {
  const { clusterIps } = await bed.serviceAddresses('flows')
  const vips = await bed.vips('flows')
  for (const from of [...INSIDE, 'client1'])
    for (const address of from === 'client1' ? vips : [...clusterIps, ...vips]) {
      const tcp = await bed.order(from, {
        kind: 'tcp',
        address,
        port: 80,
        path: '/hostname',
        timeoutMs: 2000,
      })
      t.match(tcp, { outcome: 'answered', from: address }, `TCP ${from} → ${address}`)
      for (const connected of [true, false])
        t.match(
          await bed.udp(from, address, 80, { connected }),
          { outcome: 'answered', from: address },
          `UDP ${from}`,
        )
    }
})
