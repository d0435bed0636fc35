// What lets a VIP out and what holds it back, as both routers see it: endpoints by policy, hold-down, `keep`, flapping, the label that takes a
// node out of load balancing, rules and their attributes, and the guard. Times are asserted from below alone: a busy machine makes
// everything later, and nothing earlier.

import { readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { parse, stringify } from 'yaml'
import { runIn } from '../../src/sandbox/host.ts'
import { routerCommand } from '../../src/sandbox/routers.ts'
import { Bed } from './conformance/bed.ts'
import { BROKEN, type PodPlace, pod, READY, service, slicesOf } from './conformance/manifests.ts'
import { nodesLedTo } from './led-to.ts'

t.setTimeout(300_000)
const TORS = ['tor1', 'tor2'] as const
/** Shorter than the grace of a Cluster VIP and the hold-down, which are 2 s. */
const WITHIN_MS = 1000
const OUTSIDE = '198.51.100.77'
const GOLD = { matchLabels: { tier: 'gold' } }

const bed = await Bed.up({
  name: 'gates',
  agent: {
    routing: {
      announce: [
        { kinds: ['podCIDR'] },
        { kinds: ['loadBalancerIP', 'externalIP'] },
        {
          kinds: ['loadBalancerIP'],
          services: GOLD,
          attributes: { communities: ['65101:77', '65101:1:2'], med: 50 },
        },
      ],
      gates: { damping: { withdrawalPenalty: 1000, suppressThreshold: 2500 } },
    },
  },
})
t.teardown(() => bed.down())

const NODES = bed.rack.plan.nodes.map(({ name }) => name)
const ALL = NODES.join()
const places = new Map<string, PodPlace>()
await bed.apply(...NODES.map((node, index) => pod(`p${index + 1}`, { node, labels: { app: 'p' } })))
await bed.waitForPods('app=p')
for (const [index, node] of NODES.entries())
  places.set(`p${index + 1}`, { addresses: await bed.podAddresses(`p${index + 1}`), node })

type States = Readonly<Record<string, typeof READY | typeof BROKEN>>

function endpoints(name: string, states: States) {
  const rows = Object.entries(states).map(([key, conditions]) => [key, { conditions }] as const)
  return slicesOf(name, places, Object.fromEntries(rows))
}

const nodesOf = (tor: string, prefix: string) => nodesLedTo(bed, tor, prefix)

const host = (vip: string) => `${vip}/${vip.includes(':') ? 128 : 32}`

async function seen(vips: readonly string[]): Promise<string> {
  const all = await Promise.all(TORS.flatMap((tor) => vips.map((vip) => nodesOf(tor, host(vip)))))
  return [...new Set(all)].join(' | ')
}

async function expectNodes(t: Test, what: string, vips: readonly string[], nodes: string): Promise<void> {
  let now = ''
  await bed
    .until(what, async () => {
      now = await seen(vips)
      return now === nodes
    })
    .catch(() => {})
  t.equal(now, nodes, what)
}

/** Nothing else is seen for so long. */
async function expectStays(
  t: Test,
  what: string,
  vips: readonly string[],
  nodes: string,
  ms: number,
): Promise<void> {
  const looks = new Set<string>()
  for (const end = Date.now() + ms; Date.now() < end; await sleep(50)) looks.add(await seen(vips))
  t.same([...looks], [nodes], what)
}

interface Why {
  readonly isAnnounced: boolean
  readonly summary: string
  readonly checks: readonly { readonly check: string; readonly isOpen: boolean }[]
}

function why(node: string, vip: string): Promise<Why> {
  return bed.agent<Why>(node, `/v1/why?prefix=${vip}`)
}

/** Reasons of the Events on a Service. */
async function eventsOf(name: string): Promise<string[]> {
  const selector = `involvedObject.kind=Service,involvedObject.name=${name}`
  const { items } = await bed.get<{ items: { reason: string; message: string }[] }>(
    'events',
    '--field-selector',
    selector,
  )
  return items.map(({ reason, message }) => `${reason}: ${message}`)
}

t.test('Local: only nodes with a ready endpoint; back after the hold-down', async (t) => {
  await bed.apply(
    service('local', { type: 'LoadBalancer', externalTrafficPolicy: 'Local' }),
    ...endpoints('local', { p1: READY, p2: READY, p3: BROKEN }),
  )
  const vips = await bed.vips('local')
  await expectNodes(t, 'two have one', vips, 'node1,node2')
  t.match(await why('node3', vips[0] ?? ''), {
    isAnnounced: false,
    summary: /no ready endpoint on this node/,
  })
  await bed.apply(...endpoints('local', { p1: READY, p2: BROKEN, p3: READY }))
  await expectNodes(t, 'another two: the first announcement waits for nothing', vips, 'node1,node3')
  await bed.apply(...endpoints('local', { p1: READY, p2: READY, p3: READY }))
  await expectStays(t, 'held down', vips, 'node1,node3', WITHIN_MS)
  await expectNodes(t, 'and back', vips, ALL)
})

t.test('Cluster: every node while there is an endpoint anywhere, and 2 s longer', async (t) => {
  await bed.apply(service('cluster', { type: 'LoadBalancer' }), ...endpoints('cluster', { p1: READY }))
  const vips = await bed.vips('cluster')
  await expectNodes(t, 'one endpoint is enough for all', vips, ALL)
  await bed.apply(...endpoints('cluster', { p1: BROKEN }))
  await expectStays(t, 'without any, for a while', vips, ALL, WITHIN_MS)
  await expectNodes(t, 'then nowhere', vips, '')
  t.match(await why('node1', vips[0] ?? ''), {
    isAnnounced: false,
    summary: /no usable endpoint on any node/,
  })
  await bed.apply(...endpoints('cluster', { p2: READY }))
  await expectNodes(t, 'and back', vips, ALL)
})

t.test('a Service may have its VIP kept; it is refused meanwhile', async (t) => {
  const annotations = { 'weir.network/bgp-without-endpoints': 'keep' }
  await bed.apply(
    service('kept', { type: 'LoadBalancer' }, { annotations }),
    ...endpoints('kept', { p1: READY }),
  )
  const vips = await bed.vips('kept')
  await expectNodes(t, 'announced', vips, ALL)
  await bed.apply(...endpoints('kept', { p1: BROKEN }))
  await expectStays(t, 'kept', vips, ALL, 4000)
  for (const vip of vips) t.equal(await bed.connect('client1', vip, 80), 'refused', vip)
})

t.test('a VIP that flaps is suppressed, and its Service is told', async (t) => {
  await bed.apply(
    service('flapping', { type: 'LoadBalancer', externalTrafficPolicy: 'Local' }),
    ...endpoints('flapping', { p1: READY, p2: READY }),
  )
  const vips = await bed.vips('flapping')
  for (let round = 0; round < 3; round += 1) {
    await expectNodes(t, `up ${round}`, vips, 'node1,node2')
    await bed.apply(...endpoints('flapping', { p1: READY, p2: BROKEN }))
    await expectNodes(t, `down ${round}`, vips, 'node1')
    await bed.apply(...endpoints('flapping', { p1: READY, p2: READY }))
  }
  await expectStays(t, 'no more, long after a hold-down', vips, 'node1', 5000)
  const { summary } = await why('node2', vips[0] ?? '')
  t.match(summary, /withdrawn too often: penalty \d+, suppressed above 2500/)
  const events = await eventsOf('flapping')
  t.ok(
    events.some((text) => text.startsWith('AnnouncementSuppressed')),
    events.join('\n'),
  )
})

t.test('a Node that is excluded keeps its own prefixes, and no VIP', async (t) => {
  const vips = await bed.vips('cluster')
  const label = 'node.kubernetes.io/exclude-from-external-load-balancers'
  const node = bed.rack.plan.nodes[2]
  const own = [...bed.nodeAddresses(3).map(host), String(node?.podCidr.ipv4), String(node?.podCidr.ipv6)]
  await bed.patch('node', 'node3', { metadata: { labels: { [label]: '' } } })
  await expectNodes(t, 'its VIPs leave', vips, 'node1,node2')
  for (const prefix of own)
    for (const tor of TORS) t.equal(await nodesOf(tor, prefix), 'node3', `${prefix} on ${tor}`)
  t.match(await why('node3', vips[0] ?? ''), { isAnnounced: false, summary: /exclude-from-external/ })
  await bed.patch('node', 'node3', { metadata: { labels: { [label]: null } } })
  await expectNodes(t, 'and come back', vips, ALL)
})

/** How FRR shows node1's path, the AS paths of all nodes' there, and BIRD's words about node1's. */
async function attributesOf(vip: string): Promise<{ frr: string; asPaths: string; bird: string }> {
  const ownAddresses = bed.rack.plan.nodes.map(({ uplinks }) => uplinks[0]?.local.ipv4 ?? '')
  const frrHost = bed.rack.host('tor1')
  const show = ['vtysh', '-c', `show bgp ipv4 unicast ${vip} json`]
  const { paths = [] } = JSON.parse((await runIn(frrHost, routerCommand(frrHost, show))).stdout) as {
    paths?: {
      peer: { peerId: string }
      metric?: number
      aspath?: { string: string }
      community?: { string: string }
      largeCommunity?: { string: string }
    }[]
  }
  const ofNode = (address: string) => paths.find(({ peer }) => peer.peerId === address)
  const path = ofNode(ownAddresses[0] ?? '')
  const birdHost = bed.rack.host('tor2')
  const text = await runIn(birdHost, routerCommand(birdHost, ['birdc', 'show', 'route', 'for', vip, 'all']))
  const ours = text.stdout.split('unicast [').find((part) => part.includes('on to-node1'))
  return {
    frr: `${path?.community?.string ?? ''} ${path?.largeCommunity?.string ?? ''} ${path?.metric ?? ''}`,
    asPaths: ownAddresses.map((address) => ofNode(address)?.aspath?.string).join(),
    bird: (ours ?? '').replace(/\s+/g, ' '),
  }
}

t.test('rules and annotations put attributes on a VIP', async (t) => {
  const annotations = { 'weir.network/bgp-communities': '65101:88', 'weir.network/bgp-med': '70' }
  await bed.apply(
    service('gold', { type: 'LoadBalancer' }, { labels: { tier: 'gold' }, annotations }),
    ...endpoints('gold', { p1: READY }),
  )
  const [vip = ''] = (await bed.vips('gold')).filter((one) => !one.includes(':'))
  await expectNodes(t, 'announced', [vip], ALL)
  let now = { frr: '', asPaths: '', bird: '' }
  await bed
    .until('its attributes', async () => {
      now = await attributesOf(vip)
      return now.frr === '65101:77 65101:88 65101:1:2 70' && now.bird.includes('BGP.med: 70')
    })
    .catch(() => {})
  t.equal(now.frr, '65101:77 65101:88 65101:1:2 70', 'FRR: communities joined, the last MED')
  t.equal(
    now.asPaths,
    bed.rack.plan.nodes.map(({ asn }) => asn).join(),
    'each node has an AS number of its own',
  )
  t.match(now.bird, /BGP\.community: \(65101,77\) \(65101,88\)/, 'BIRD')
  t.match(now.bird, /BGP\.large_community: \(65101, 1, 2\)/)
  await bed.apply(service('gold', { type: 'LoadBalancer' }, { labels: { tier: 'tin' } }))
  await bed
    .until('a plain route', async () => {
      now = await attributesOf(vip)
      return now.frr.trim() === ''
    })
    .catch(() => {})
  t.notMatch(now.bird, /community/, 'another label, and it is plain again')
})

t.test('a pool that shrinks while the agent runs: what is outside leaves, nothing else', async (t) => {
  // Not where addresses are given out, or they would be taken back.
  const statuses = await Promise.all(
    NODES.map((name) => bed.agent<{ node: string; allocatesAddresses: boolean }>(name, '/v1/status')),
  )
  const narrowed = statuses.find(({ allocatesAddresses }) => !allocatesAddresses)?.node ?? ''
  const others = NODES.filter((name) => name !== narrowed).join()
  const file = `${bed.rack.host(narrowed).directory}/agent.yaml`
  const before = readFileSync(file, 'utf8')
  const config = parse(before) as { pools: { name: string; prefixes: string[] }[] }
  const [kept = '', leaving = ''] = await bed.vips('cluster')
  config.pools = [{ name: 'default', prefixes: [host(kept)] }]
  writeFileSync(file, stringify(config))
  await expectNodes(t, 'outside of what is left', [leaving], others)
  await expectNodes(t, 'inside', [kept], ALL)
  for (const prefix of bed.nodeAddresses(NODES.indexOf(narrowed) + 1).map(host))
    t.equal(await nodesOf('tor1', prefix), narrowed, `${prefix} stays`)
  writeFileSync(file, before)
  await expectNodes(t, 'and wide again', [kept, leaving], ALL)
})

t.test('what lies outside the pools stays here, and its Service is told', async (t) => {
  await bed.apply(service('outside', { externalIPs: [OUTSIDE] }), ...endpoints('outside', { p1: READY }))
  await bed.until('an Event', async () =>
    (await eventsOf('outside')).some((text) => text.startsWith('AnnouncementRefused')),
  )
  const events = await eventsOf('outside')
  t.ok(
    events.some((text) => /outside every pool.*Mend: add its network to a pool/.test(text)),
    events.join('\n'),
  )
  t.equal(await seen([OUTSIDE]), '', 'no router has it')
  const conditionOf = async () => {
    const { status } = await bed.get<{ status: { conditions?: { type: string; reason: string }[] } }>(
      'service',
      'outside',
    )
    return status.conditions?.find(({ type }) => type === 'weir.network/AnnouncementRefused')?.reason
  }
  await bed.until('a condition', async () => (await conditionOf()) === 'OutsideAllowed')
  const answer = await why('node1', OUTSIDE)
  t.notOk(answer.isAnnounced)
  t.ok(answer.checks.some(({ check, isOpen }) => check === 'guard' && !isOpen))
  await bed.patch('service', 'outside', { spec: { externalIPs: null } })
  await bed.until('the condition to go', async () => (await conditionOf()) === undefined)
})

/** Prefixes of a family that a ToR's kernel has by a node. */
async function countOf(tor: string, node: string, family: '-4' | '-6'): Promise<number> {
  const { stdout } = await bed.run(tor, ['ip', family, '-j', 'route', 'show', 'proto', 'bgp'])
  const routes = JSON.parse(stdout.trim() || '[]') as { dev?: string; nexthops?: { dev: string }[] }[]
  const hops = ({ dev, nexthops }: (typeof routes)[number]) => nexthops?.map((hop) => hop.dev) ?? [dev]
  return routes.filter((route) => hops(route).includes(`to-${node}`)).length
}

t.test('more than routing.maxAnnouncements stays here, and its Service is told', async (t) => {
  const [node = ''] = NODES
  const others = NODES.filter((name) => name !== node).join()
  const counts = [await countOf('tor1', node, '-4'), await countOf('tor1', node, '-6')] as const
  const [most, index] = counts[0] >= counts[1] ? [counts[0], 0] : [counts[1], 1]
  t.ok(most >= 3, `it announces ${counts} prefixes`)
  const file = `${bed.rack.host(node).directory}/agent.yaml`
  const before = readFileSync(file, 'utf8')
  const config = parse(before) as { routing: Record<string, unknown> }
  config.routing['maxAnnouncements'] = most
  writeFileSync(file, stringify(config))
  await bed.apply(service('onemore', { type: 'LoadBalancer' }), ...endpoints('onemore', { p1: READY }))
  const vip = (await bed.vips('onemore'))[index] ?? ''
  await expectNodes(t, 'by the nodes that have room', [vip], others)
  await bed.until('an Event', async () =>
    (await eventsOf('onemore')).some((text) => /number \d+ of its family.*Mend: raise/.test(text)),
  )
  t.equal(await countOf('tor1', node, index === 0 ? '-4' : '-6'), most, 'nothing else went')
  writeFileSync(file, before)
  await expectNodes(t, 'with room again', [vip], ALL)
})

t.test(
  'what is more than routing.maxChangesPerSecond takes its turn; what cannot be served leaves at once',
  async (t) => {
    const [node = ''] = NODES
    const others = NODES.filter((name) => name !== node).join()
    const file = `${bed.rack.host(node).directory}/agent.yaml`
    const before = readFileSync(file, 'utf8')
    const config = parse(before) as { routing: Record<string, unknown> }
    config.routing['maxChangesPerSecond'] = 1
    const writtenMs = Date.now()
    writeFileSync(file, stringify(config))
    await bed.until('it to be taken', async () => {
      type Status = { configuration: { file: { takenAtMs: number } } }
      return (await bed.agent<Status>(node, '/v1/status')).configuration.file.takenAtMs >= writtenMs
    })
    // A burst may use up what ten seconds bring.
    const [burst, more] = [10, 3]
    const externalIPs = Array.from({ length: burst + more }, (_, index) => `203.0.113.${200 + index}`)
    /** Before this one was: what they tell arrives in no order. */
    let areOthersDone = false
    const ofNode = async () => {
      const nodes = await Promise.all(externalIPs.map((vip) => nodesOf('tor1', host(vip))))
      const count = nodes.filter((names) => names.includes(node)).length
      if (count < externalIPs.length && nodes.every((names) => names === ALL || names === others))
        areOthersDone = true
      return count
    }
    const startMs = Date.now()
    await bed.apply(service('many', { externalIPs }), ...endpoints('many', { p1: READY }))
    const early: string[] = []
    await bed.until('all of them', async () => {
      const count = await ofNode()
      const seconds = (Date.now() - startMs) / 1000
      if (count > burst + seconds) early.push(`${count} after ${seconds} s`)
      return count === externalIPs.length
    })
    t.same(early, [], 'no more than a burst and one a second')
    t.ok(areOthersDone, 'the other nodes go by their own rate')
    await bed.apply(...endpoints('many', { p1: BROKEN }))
    const left: number[] = []
    await bed.until('none of them', async () => {
      const count = await ofNode()
      if (count < externalIPs.length) left.push(Date.now())
      return count === 0
    })
    const took = (left.at(-1) ?? 0) - (left[0] ?? 0)
    t.ok(
      took < externalIPs.length * 500,
      `they left within ${took} ms, which by turns would take twice as long`,
    )
    writeFileSync(file, before)
  },
)
