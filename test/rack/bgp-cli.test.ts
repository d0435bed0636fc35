// `weir bgp` on a node of a rack, held against what its routers say: sessions and counts, routes, each router's table, why a VIP is and is
// no longer announced, a password that differs, or that the router alone has, a cut and a silent cable, the routers' side as the agent gives
// it, and the metrics of all that.

import { readFileSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { parse, stringify } from 'yaml'
import type { PeersView } from '../../src/agent/bgp-peers-view.ts'
import type { AdvertisedView, ReceivedRow, RoutesView } from '../../src/agent/bgp-routes-view.ts'
import { blackholeLink, cutLink, findLink, healLink } from '../../src/sandbox/links.ts'
import { agentSocket, WEIR } from '../../src/sandbox/nodes.ts'
import { routerCommand } from '../../src/sandbox/routers.ts'
import { Bed } from './conformance/bed.ts'
import { pod, service } from './conformance/manifests.ts'

t.setTimeout(300_000)
const FRR = 'tor1'
const BIRD = 'tor2'
const METRICS = '127.0.0.1:10249'

const bed = await Bed.up({ name: 'bgpcli', nodes: 1, agent: { metrics: { address: METRICS } } })
t.teardown(() => bed.down())
const node = bed.rack.plan.nodes[0]
if (node === undefined) throw new Error('a rack has nodes')
const host = bed.rack.host(node.name)
const [toFrr, toBird] = node.uplinks
const frr = toFrr?.peer.ipv4 ?? ''
const own = { frr: toFrr?.local.ipv4 ?? '', bird: toBird?.local.ipv4 ?? '' }

await bed.apply(
  pod('web', { node: node.name, labels: { app: 'web' } }),
  service('web', { type: 'LoadBalancer', selector: { app: 'web' } }),
)
await bed.waitForPods('app=web')
const vips = await bed.vips('web')
const vip = vips.find((one) => !one.includes(':')) ?? ''

async function weir(...args: readonly string[]) {
  return bed.run(node?.name ?? '', [process.execPath, WEIR, 'bgp', ...args, '--socket', agentSocket(host)])
}

async function json<T>(...args: readonly string[]): Promise<T> {
  const { stdout, stderr } = await weir(...args, '-o', 'json')
  if (stdout === '') throw new Error(stderr)
  return JSON.parse(stdout) as T
}

async function vtysh(command: string): Promise<string> {
  return (await bed.run(FRR, routerCommand(bed.rack.host(FRR), ['vtysh', '-c', command]))).stdout
}

async function birdc(...command: readonly string[]): Promise<string> {
  return (await bed.run(BIRD, routerCommand(bed.rack.host(BIRD), ['birdc', ...command]))).stdout
}

/** Prefixes that FRR has from the node, in its IPv4 session. */
async function frrTable(): Promise<string[]> {
  const { routes = {} } = JSON.parse(
    (await vtysh(`show bgp ipv4 unicast neighbors ${own.frr} routes json`)) || '{}',
  )
  return Object.keys(routes).sort()
}

const peers = () => json<PeersView>('peers')

t.test('sessions, and as many prefixes as routers count', async (t) => {
  await bed.until('every session, told everything', async () =>
    (await peers()).peers.every(
      ({ state, families, bfd }) =>
        state === 'established' &&
        bfd?.state === 'up' &&
        families.every(({ advertised, wanted }) => advertised === wanted && wanted >= 3),
    ),
  )
  const view = await peers()
  t.equal(view.peers.length, 4)
  t.equal(view.asn, node.asn)
  const ofFrr = view.peers.find(({ address }) => address === frr)
  t.equal(ofFrr?.families[0]?.advertised, (await frrTable()).length, 'FRR counts the same')
  const ofBird = view.peers.find(({ address }) => address === toBird?.peer.ipv4)
  const protocol = (await birdc('show', 'protocols', 'all'))
    .split(/\n\n/)
    .find((text) => text.includes(`Neighbor address: ${own.bird}`))
  t.equal(
    ofBird?.families[0]?.advertised,
    Number(/Routes:\s+(\d+) imported/.exec(protocol ?? '')?.[1]),
    'BIRD counts the same',
  )
  const table = await weir('peers')
  t.match(table.stdout, /^Node node1, AS \d+, router id .*; 4 of 4 sessions established\n/)
  t.equal(table.stdout.split('\n').filter((line) => line.includes(' established ')).length, 4)
  t.match((await weir('peers', FRR, '-o', 'wide')).stdout, /graceful-restart/)
})

t.test('routes, and what each router is told', async (t) => {
  const { routes } = await json<RoutesView>('routes')
  t.match(
    routes.find(({ prefix }) => prefix === `${vip}/32`),
    { status: 'announced', source: 'service', why: /default\/web/ },
  )
  const { routes: told, isReckoned } = await json<AdvertisedView>('advertised', FRR)
  t.equal(isReckoned, true, 'it is version 3')
  t.strictSame(told.map(({ prefix }) => prefix).sort(), await frrTable(), 'as FRR has it')
  t.ok(told.every(({ status, nextHop }) => status === 'advertised' && nextHop === own.frr))
  t.match((await weir('advertised', frr)).stdout, /keeps no record of what it sent/)
  const heard = await json<readonly ReceivedRow[]>('received')
  t.ok(heard.every(({ verdict }) => verdict === 'no-rules'))
  const mistake = await weir('advertised', `${frr}0`)
  t.equal(mistake.status, 1)
  t.match(mistake.stderr, new RegExp(`no session '${frr}0'. Mend: did you mean .*${frr}`))
})

t.test('the routers’ side, as the agent gives it', async (t) => {
  const { stdout } = await weir('router-config', '--dialect', 'frr', '--peer', FRR)
  t.match(
    stdout,
    `neighbor ${own.frr} remote-as ${node.asn}`,
    "the node's address on that link, found by the agent",
  )
  t.match(stdout, `permit ${node.podCidr.ipv4}\n`)
  t.match(stdout, `neighbor nodes-${node.name}-ipv4 bfd profile nodes-${node.name}`)
  t.match((await weir('router-config', '--dialect', 'frrr')).stderr, /did you mean frr/)
})

async function metric(name: string, labels: string): Promise<number> {
  const { stdout } = await bed.run(node?.name ?? '', ['curl', '-s', `http://${METRICS}/metrics`])
  const line = stdout.split('\n').find((one) => one.startsWith(`${name}{`) && one.includes(labels))
  return Number(line?.split(' ').at(-1))
}

t.test('metrics', async (t) => {
  const labels = `address="${frr}"`
  t.equal(await metric('weir_bgp_peer_up', labels), 1)
  t.ok((await metric('weir_bgp_peer_uptime_seconds', labels)) > 0)
  t.equal(await metric('weir_bgp_prefixes_advertised', labels), (await frrTable()).length)
  t.equal(await metric('weir_bgp_announcements', 'state="announced",kind="service"'), vips.length)
  t.equal(await metric('weir_drain_state', 'phase="active"'), 1)
})

t.test('why a VIP is announced, and why it is not any more', async (t) => {
  const yes = await weir('why', vip)
  t.equal(yes.status, 0, yes.stdout)
  t.match(yes.stdout, new RegExp(`^${vip}/32 is announced: .*default/web`))
  await bed.delete(pod('web', { node: node.name, labels: { app: 'web' } }))
  await bed.until('FRR to have lost it', async () => !(await frrTable()).includes(`${vip}/32`))
  const no = await weir('why', vip)
  t.equal(no.status, 1, no.stdout)
  t.match(no.stdout, /is not announced: .*\n/)
  t.match(no.stdout, /\nNO +gate of default\/web +.*\n +Mend: /)
  t.match(
    no.stdout,
    new RegExp(`\n${FRR} +no .* would be told as soon as nothing holds it back\n`),
    'and no rule is blamed',
  )
  const network = node.podCidr.ipv4
  const inside = await weir('why', network.replace(/0\/\d+$/, '77'))
  t.equal(inside.status, 0, inside.stdout)
  t.match(inside.stdout, `is in ${network}. ${network} is announced: it is of the node itself`)
  t.equal((await weir('why', '8.8.8.8')).status, 1)
  t.match((await weir('why', 'nonsense')).stderr, /neither an address nor a prefix/)
})

t.test('a password that differs is said where routers say nothing', async (t) => {
  const file = `${host.directory}/agent.yaml`
  const config = parse(readFileSync(file, 'utf8')) as { routing: { peers: { address: string }[] } }
  const password = `${host.directory}/password`
  writeFileSync(password, 'not-the-routers\n', { mode: 0o600 })
  for (const peer of config.routing.peers)
    if (peer.address === frr) Object.assign(peer, { password: { file: password } })
  writeFileSync(file, stringify(config))
  const session = async () => (await peers()).peers.find(({ address }) => address === frr)
  await bed.until('it is said', async () => /password/.test((await session())?.lastError ?? ''), 60_000)
  const shown = await session()
  t.not(shown?.state, 'established')
  t.equal(shown?.settings?.hasPassword, true)
  t.notMatch(JSON.stringify(await peers()), /not-the-routers/)
  t.equal(await metric('weir_bgp_peer_up', `address="${frr}"`), 0)
  t.equal((await peers()).peers.filter(({ state }) => state === 'established').length, 3, 'the others stay')
})

/** What `weir status` says of the sessions that are down. */
async function whyDown(): Promise<string[]> {
  const argv = [process.execPath, WEIR, 'status', '-o', 'json', '--socket', agentSocket(host)]
  const { stdout } = await bed.run(node?.name ?? '', argv)
  const { sessions } = JSON.parse(stdout) as { sessions: { peer: string; why?: string }[] }
  return sessions.flatMap(({ peer, why }) => (why === undefined ? [] : [`${peer}: ${why}`]))
}

t.test('a password that the router alone has is told as likely', async (t) => {
  const file = `${host.directory}/agent.yaml`
  const config = parse(readFileSync(file, 'utf8')) as { routing: { peers: object[] } }
  for (const peer of config.routing.peers) Reflect.deleteProperty(peer, 'password')
  const neighbour = [
    'configure terminal',
    `router bgp ${toFrr?.torAsn}`,
    `neighbor ${own.frr} password its-own`,
  ]
  const argv = ['vtysh', ...neighbour.flatMap((command) => ['-c', command])]
  await bed.run(FRR, routerCommand(bed.rack.host(FRR), argv))
  writeFileSync(file, stringify(config))
  const why = async () => (await peers()).peers.find(({ address }) => address === frr)?.lastError ?? ''
  await bed.until('it is said', async () => /our SYN: .*it wants a password/.test(await why()), 60_000)
  t.match(await why(), /Mend: /)
  t.match(await whyDown(), [new RegExp(`^${FRR}: .*it wants a password, and this peer has none`)])
})

t.test('a cut cable, and a silent one, are told as that', async (t) => {
  const cable = findLink(bed.rack.plan, `${node.name}:to-tor1`)
  const v6 = async () => (await peers()).peers.find(({ address }) => address === toFrr?.peer.ipv6)
  const isUp = async () => {
    const { state, bfd, cause } = (await v6()) ?? {}
    return state === 'established' && bfd?.state === 'up' && cause === undefined
  }
  await bed.until('a session', isUp)
  await cutLink(cable, bed.rack.host)
  await bed.until('the cut', async () => /^no carrier on to-tor1/.test((await v6())?.cause ?? ''))
  t.match((await weir('peers')).stdout, /no carrier on to-tor1\. Mend: look at the cable/)
  await healLink(cable, bed.rack.host)
  await bed.until('the session again', isUp, 60_000)
  await blackholeLink(cable, bed.rack.host)
  await bed.until('BFD', async () =>
    /^BFD is down since \S+Z: nothing was heard/.test((await v6())?.cause ?? ''),
  )
  await bed.until('the end of the session', async () => (await v6())?.state !== 'established', 30_000)
  t.ok((await whyDown()).some((text) => /BFD is down since \S+Z: nothing was heard/.test(text)))
  await healLink(cable, bed.rack.host)
  await bed.until('the session again', isUp, 60_000)
})
