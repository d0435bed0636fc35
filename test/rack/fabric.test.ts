// The fabric of a rack with real FRR and BIRD: routers, cables, hosts; no agents. Each rack made here has this process's
// id in its name and is removed at the end, whatever failed.

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { makeAddressPlan } from '../../src/sandbox/address-plan.ts'
import { downRack } from '../../src/sandbox/down.ts'
import { cgroupMount, deleteNamespace, listNamespaces, runAt, runIn } from '../../src/sandbox/host.ts'
import { blackholeLink, cutLink, findLink, healLink, linkStates } from '../../src/sandbox/links.ts'
import { rackBpffs, rackCgroup, rackDirectory, stateFile } from '../../src/sandbox/names.ts'
import { startGobgpd, writeAgentConfig } from '../../src/sandbox/nodes.ts'
import type { Rack } from '../../src/sandbox/rack.ts'
import { routerCommand, routerSessions } from '../../src/sandbox/routers.ts'
import { rackStatus } from '../../src/sandbox/status.ts'
import { upRack } from '../../src/sandbox/up.ts'
import { waitUntil } from '../../src/sandbox/wait.ts'
import { testRackName } from '../../tools/test-names.ts'

const WEIR = fileURLToPath(new URL('../../tools/weir.mjs', import.meta.url))
const NAME = testRackName('fabric')
const OTHER = `${NAME}b`
const VIP = '203.0.113.10'
const VIP6 = '2001:db8:113::10'
const FLOWS = 200

/** Runs the command itself, as a user does. */
function weir(...args: string[]) {
  return runAt({}, [process.execPath, WEIR, 'sandbox', ...args], { timeoutMs: 40_000 })
}

async function answersPing(rack: Rack, from: string, address: string): Promise<boolean> {
  const ping = await runIn(rack.host(from), ['ping', '-n', '-c', '1', '-W', '1', address])
  return ping.status === 0
}

/** Everything on this machine that belongs to a rack of this name. */
function leftovers(name: string): string[] {
  const paths = [rackDirectory(name), rackBpffs(name), rackCgroup(cgroupMount(), name)].filter(existsSync)
  const namespaces = listNamespaces().filter((namespace) => namespace.startsWith(`${name}-`))
  const processes = readdirSync('/proc').filter((pid) => {
    try {
      return (
        /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`${rackDirectory(name)}/`)
      )
    } catch {
      return false
    }
  })
  return [...paths, ...namespaces, ...processes.map((pid) => `process ${pid}`)]
}

let rack: Rack

t.before(async () => {
  rack = await upRack({ name: NAME, plan: makeAddressPlan(2), fabricOnly: true })
})
t.teardown(async () => {
  await downRack(NAME)
  await downRack(OTHER)
})

t.test('up: every link is up, every session among routers is established and carries prefixes', async (t) => {
  const status = await rackStatus(rack)
  t.same(
    status.links.filter((link) => link.state !== 'up'),
    [],
  )
  t.equal(status.sessions.length, 8, 'two families, two ToRs, both ends')
  for (const session of status.sessions) {
    t.equal(session.state, 'Established', `${session.router} with ${session.peer} over ${session.family}`)
    t.ok(session.prefixesAccepted > 0)
  }
})

t.test('the routers accept their whole configuration', async (t) => {
  for (const name of ['spine', 'tor1']) {
    const host = rack.host(name)
    // A line that bgpd or zebra does not take is logged so, with its number.
    for (const log of ['bgpd', 'zebra']) {
      t.notMatch(
        readFileSync(`${host.directory}/${log}.log`, 'utf8'),
        /config line|unknown command|ambiguous/i,
      )
    }
    const running = await runIn(host, routerCommand(host, ['vtysh', '-c', 'show running-config']))
    for (const line of [
      'route-map',
      'maximum-prefix',
      'maximum-paths 64',
      'graceful-restart-helper',
      'multipath-relax',
    ]) {
      t.match(running.stdout, line, `${name} keeps ${line}`)
    }
  }
  const bird = await runAt({}, ['/usr/sbin/bird', '-p', '-c', `${rack.host('tor2').directory}/bird.conf`])
  t.equal(bird.status, 0, bird.stderr)
  const sent = await spread(rack, 'node1', '10.253.1.10', () => uplinkPackets(rack, 'tx'))
  for (const uplink of ['node1:to-tor1', 'node1:to-tor2']) {
    t.ok((sent.get(uplink) ?? 0) >= 40, `${uplink} carried ${sent.get(uplink)} of ${FLOWS} flows of one node`)
  }
})

t.test(
  'packets: clients reach both ends of every node uplink, nodes reach clients over both uplinks',
  async (t) => {
    for (const node of rack.plan.nodes) {
      for (const address of node.uplinks.flatMap((uplink) => [
        uplink.local.ipv4,
        uplink.local.ipv6,
        uplink.peer.ipv6,
      ])) {
        t.ok(await answersPing(rack, 'client1', address), `client1 → ${address}`)
      }
    }
  },
)

t.test(
  'a VIP of two nodes is balanced by ports at the ToRs, and only allowed prefixes get that far',
  async (t) => {
    await Promise.all(rack.plan.nodes.map((node) => announce(rack, node.name)))
    await waitUntil('the sessions with nodes', 25_000, async () => {
      const seen = (await Promise.all(['tor1', 'tor2'].map((tor) => routerSessions(rack, tor)))).flat()
      const nodes = seen.filter((session) => session.peer.startsWith('node'))
      return nodes.length === 8 && nodes.every((session) => session.prefixesAccepted === 2)
    })
    for (const router of ['tor1', 'tor2', 'spine']) {
      for (const address of [VIP, VIP6]) {
        await waitUntil(
          `${address} in ${router}`,
          5000,
          async () => (await hops(rack, router, address)) === 2,
        )
        t.equal(await hops(rack, router, address), 2, `${router} balances ${address} over two next hops`)
      }
      t.equal(await hops(rack, router, '192.0.2.1'), 0, `${router} has no route outside the pools`)
    }
    for (const node of rack.plan.nodes) {
      t.ok(await answersPing(rack, 'client2', node.loopback.ipv4), `client2 → ${node.name}`)
      t.ok(await answersPing(rack, 'client2', node.loopback.ipv6), `client2 → ${node.name} over IPv6`)
    }
    t.ok(
      await answersPing(rack, 'node1', '10.253.1.10'),
      'node1, speaking from its loopback, reaches a client',
    )
    const received = await spread(rack, 'client1', VIP, () => uplinkPackets(rack, 'rx'))
    for (const [uplink, count] of received) {
      t.ok(count >= 20, `${uplink} carried ${count} of ${FLOWS} flows of one client`)
    }
  },
)

t.test('a cut cable: the way round is found; healed, all is as before', async (t) => {
  const link = findLink(rack.plan, 'node1:to-tor1')
  const [node] = rack.plan.nodes
  if (!node) throw new Error('a rack has nodes')
  // What an agent sets on its node, and there is none here: a route over a dead link is not taken.
  for (const family of ['ipv4', 'ipv6'])
    await runIn(rack.host(node.name), [
      'sysctl',
      '-qw',
      `net.${family}.conf.to-tor1.ignore_routes_with_linkdown=1`,
    ])
  const before = await linkFacts(rack)
  await cutLink(link, rack.host)
  t.equal((await linkStates(rack.plan, rack.host)).find((one) => one.link === link)?.state, 'broken')
  await waitUntil('the way round', 5000, () => answersPing(rack, 'tor1', node.loopback.ipv4))
  t.ok(await answersPing(rack, 'tor1', node.loopback.ipv4), 'tor1 reaches node1 through the spine and tor2')
  // IPv6 has sessions of its own, which find the way round in their own time.
  await waitUntil('the way round for IPv6', 5000, () => answersPing(rack, 'client1', node.loopback.ipv6))
  t.ok(await answersPing(rack, 'client1', node.loopback.ipv6))
  const routes = await runIn(rack.host('node1'), ['ip', 'route', 'show', 'default'])
  t.match(routes.stdout, /to-tor1 weight 1 dead linkdown/, 'the node leaves the dead uplink at once')
  await healLink(link, rack.host)
  await waitUntil('the carrier', 2000, async () => (await linkFacts(rack)) === before)
  t.equal(await linkFacts(rack), before, 'addresses, routes and offloads are back')
})

t.test('a blackhole loses frames in both directions, silently, and keeps the carrier', async (t) => {
  const link = findLink(rack.plan, 'tor2:to-node2')
  const [, node] = rack.plan.nodes
  const uplink = node?.uplinks[1]
  if (!uplink) throw new Error('two nodes, two uplinks')
  await blackholeLink(link, rack.host)
  t.equal((await linkStates(rack.plan, rack.host)).find((one) => one.link === link)?.state, 'blackholed')
  const ping = await runIn(rack.host('tor2'), ['ping', '-n', '-c', '1', '-W', '1', uplink.local.ipv4])
  t.equal(ping.status, 1)
  t.notMatch(ping.stderr, /No buffer space/, 'the sender is told nothing')
  t.notOk(await answersPing(rack, 'node2', uplink.peer.ipv6))
  await healLink(link, rack.host)
  t.ok(await answersPing(rack, 'node2', uplink.peer.ipv4))
})

t.test('up again mends what is broken or dead, and leaves the rest alone', async (t) => {
  const before = await pids(rack)
  await cutLink(findLink(rack.plan, 'node2:to-tor2'), rack.host)
  const victim = before.get('tor2 bird') ?? 0
  process.kill(victim, 'SIGKILL')
  await deleteNamespace(`${NAME}-node1`)
  await upRack({ name: NAME, fabricOnly: true })
  const after = await pids(rack)
  t.same(
    (await linkStates(rack.plan, rack.host)).filter((one) => one.state !== 'up'),
    [],
  )
  t.not(after.get('tor2 bird'), victim)
  t.ok(await answersPing(rack, 'node1', '10.254.2.0'), 'a host whose namespace was gone is wired again')
  for (const name of ['spine zebra', 'spine bgpd', 'tor1 zebra', 'tor1 bgpd']) {
    t.equal(after.get(name), before.get(name), `${name} was not touched`)
  }
})

t.test('the command: exec, errors with their mend, status as JSON', async (t) => {
  const summary = await weir('exec', 'tor2', '--name', NAME, '--', 'birdc', 'show', 'status')
  t.match(summary.stdout, /Daemon is up and running/)
  t.equal((await weir('exec', 'node1', '--name', NAME, '--', 'sh', '-c', 'exit 7')).status, 7)
  const shell = await weir(
    'exec',
    'node1',
    '--name',
    NAME,
    'sh',
    '-c',
    'cat /proc/self/cgroup; ls -d /sys/fs/bpf',
  )
  t.match(shell.stdout, `/weir-racks/${NAME}/node1/system`)
  const cases = [
    [['exec', 'nod1', '--name', NAME, '--', 'true'], /no host 'nod1'.*Mend: did you mean node1/],
    [['break', 'node1:tor1', '--name', NAME], /no link.*did you mean node1:to-tor1/],
    [['status', '--name', 'nosuchrack'], /'nosuchrack' is not up.*weir sandbox up --name nosuchrack/],
    [['up', '--name', NAME, '--nodes', '5'], /up with another plan \(2 nodes/],
    [['up', '--nodez', '5'], /no such option '--nodez'.*--nodes/, 2],
    [['stauts'], /no such action 'stauts'.*status/],
    [['up', '--name', 'Not-A-Name'], /cannot name a rack/],
    [['status', '--plan', 'x'], /'status' takes no --plan/],
  ] as const
  const results = await Promise.all(
    cases.map(async ([args, message, status = 1]) => ({
      args,
      message,
      status,
      result: await weir(...args),
    })),
  )
  for (const { args, message, status, result } of results) {
    t.equal(result.status, status, args.join(' '))
    t.match(result.stderr, message)
  }
  const status = JSON.parse((await weir('status', '--name', NAME, '-o', 'json')).stdout) as { rack: string }
  t.equal(status.rack, NAME)
})

t.test('two racks stand side by side, and one goes without the other', async (t) => {
  const up = await weir('up', '--name', OTHER, '--nodes', '1', '--node-asn', 'shared', '--fabric-only')
  t.equal(up.status, 0, up.stderr)
  t.ok(listNamespaces().includes(`${OTHER}-node1`))
  const before = await pids(rack)
  t.equal((await weir('down', '--name', OTHER)).status, 0)
  t.same(leftovers(OTHER), [])
  t.same(await pids(rack), before, 'the first rack was not touched')
})

t.test('down leaves nothing, wherever up was killed', async (t) => {
  // From "namespaces half made" to "routers running"; the first two find Node itself still starting now and then.
  for (const afterMs of [150, 250, 350, 500, 800]) {
    const child = spawn(process.execPath, [WEIR, 'sandbox', 'up', '--name', OTHER, '--fabric-only'], {
      stdio: 'ignore',
    })
    await sleep(afterMs)
    child.kill('SIGKILL')
    await ended(child)
    // A state file may be missing, or never written: down must not need it.
    rmSync(stateFile(OTHER), { force: true })
    await downRack(OTHER)
    t.same(leftovers(OTHER), [], `killed after ${afterMs} ms`)
  }
  await downRack(OTHER)
  t.pass('down of nothing is fine')
})

t.test('down leaves nothing of a rack in use', async (t) => {
  await downRack(NAME)
  t.same(leftovers(NAME), [])
})

function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve()
    else child.once('exit', () => resolve())
  })
}

/** Starts the node's real gobgpd and has it announce its loopbacks, the VIP, and something that is not its to announce. */
async function announce(rack: Rack, name: string): Promise<void> {
  const node = rack.node(name)
  writeAgentConfig(rack, node)
  await startGobgpd(rack, node)
  // Without a datapath, packets for the VIP would go back to the routers by the default route, round and round.
  await runIn(rack.host(name), ['ip', 'address', 'add', `${VIP}/32`, 'dev', 'lo'])
  const target = ['gobgp', '--target', `unix://${rack.host(name).directory}/gobgpd.sock`]
  const paths = [
    ['-a', 'ipv4', `${node.loopback.ipv4}/32`],
    ['-a', 'ipv4', `${VIP}/32`],
    ['-a', 'ipv4', '192.0.2.0/24'],
    ['-a', 'ipv6', `${node.loopback.ipv6}/128`],
    ['-a', 'ipv6', `${VIP6}/128`],
  ]
  for (const [flag = '', family = '', prefix = ''] of paths) {
    const added = await runIn(rack.host(name), [...target, 'global', 'rib', 'add', flag, family, prefix])
    if (added.status !== 0) throw new Error(`${prefix}: ${added.stdout}${added.stderr}`)
  }
  for (const uplink of node.uplinks) {
    for (const address of [uplink.peer.ipv4, uplink.peer.ipv6]) {
      const added = await runIn(rack.host(name), [
        ...target,
        'neighbor',
        'add',
        address,
        'as',
        `${uplink.torAsn}`,
      ])
      if (added.status !== 0) throw new Error(`${address}: ${added.stdout}${added.stderr}`)
    }
  }
}

/** Number of next hops in the kernel's table for a host route; 0 when there is none. */
async function hops(rack: Rack, router: string, address: string): Promise<number> {
  const family = address.includes(':') ? ['-6'] : []
  const shown = await runIn(rack.host(router), ['ip', ...family, '-j', 'route', 'show', address])
  const [route] = JSON.parse(shown.stdout || '[]') as { nexthops?: unknown[] }[]
  if (!route) return 0
  return route.nexthops?.length ?? 1
}

/** Sends one datagram for each of FLOWS ports to an address; resolves to how much each counter rose. */
async function spread(
  rack: Rack,
  from: string,
  address: string,
  count: () => Promise<Map<string, number>>,
): Promise<Map<string, number>> {
  const before = await count()
  const script = `for port in $(seq ${FLOWS}); do echo x >/dev/udp/${address}/$((20000 + port)); done`
  await runIn(rack.host(from), ['bash', '-c', script])
  await sleep(100)
  const after = await count()
  return new Map([...after].map(([key, value]) => [key, value - (before.get(key) ?? 0)]))
}

/** Packets counted on every uplink of every node. */
async function uplinkPackets(rack: Rack, direction: 'rx' | 'tx'): Promise<Map<string, number>> {
  const counts = new Map<string, number>()
  for (const node of rack.plan.nodes) {
    const shown = await runIn(rack.host(node.name), ['ip', '-j', '-s', 'link', 'show'])
    const rows = JSON.parse(shown.stdout) as {
      ifname: string
      stats64: Record<'rx' | 'tx', { packets: number }>
    }[]
    for (const row of rows.filter((one) => one.ifname.startsWith('to-'))) {
      counts.set(`${node.name}:${row.ifname}`, row.stats64[direction].packets)
    }
  }
  return counts
}

/** Addresses, the node's routes and the offloads at both ends of node1's first cable, as one text. */
async function linkFacts(rack: Rack): Promise<string> {
  const ask = async (host: string, command: string): Promise<string> =>
    (await runIn(rack.host(host), ['sh', '-c', command])).stdout
  return [
    await ask('tor1', 'ip -o address show dev to-node1 | grep -v fe80'),
    await ask('tor1', 'ethtool -k to-node1 | grep -E "^(tx-checksumming|generic-receive|tcp-segm)"'),
    await ask('node1', 'ip route; ip -6 route | grep -v fe80; ip -o address show dev to-tor1 | grep -v fe80'),
  ].join('\n')
}

async function pids(rack: Rack): Promise<Map<string, number>> {
  const status = await rackStatus(rack)
  return new Map(
    status.hosts.flatMap((host) => host.processes.map((one) => [`${host.name} ${one.name}`, one.pid ?? 0])),
  )
}
