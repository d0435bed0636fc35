// Living with what else is on a node: what the agent needs of the kernel, what somebody takes away, and what is left when Weir goes.

import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type Host, runAt, runIn } from '../../../src/sandbox/host.ts'
import { nodeBpffs } from '../../../src/sandbox/names.ts'
import { startAgent as startAgentOf } from '../../../src/sandbox/nodes.ts'
import { planFromDocument } from '../../../src/sandbox/plan-file.ts'
import { findProcess, signalProcess, startProcess, stopProcess } from '../../../src/sandbox/process.ts'
import { upRack } from '../../../src/sandbox/up.ts'
import { testRackName } from '../../../tools/test-names.ts'
import { Bed } from './bed.ts'
import { expectAnswerers } from './expect.ts'
import { HTTP_PORT, pod, service } from './manifests.ts'

t.setTimeout(300_000)
const NAME = 'confnei'
const NODES = 3
const WEIR = new URL('../../../tools/weir.mjs', import.meta.url).pathname
/** Sees pods as they are; client1 sees their nodes. */
const EXCEPTED = ['10.253.2.0/24', 'fd00:253:2::/64']
const agent = { masquerade: { enabled: true, except: EXCEPTED } }

// The bare fabric first: what a node looks like before it ever had an agent.
const bare = await upRack({
  name: testRackName(NAME),
  plan: planFromDocument({ nodes: NODES, agent }, 'the test'),
  fabricOnly: true,
})
const before = await describeNode(bare.host('node3'))
const bed = await Bed.up({ name: NAME, nodes: NODES, agent })
t.teardown(() => bed.down())

await bed.apply(
  pod('p1', { node: 'node1', labels: { app: 'p' } }),
  pod('p2', { node: 'node2', labels: { app: 'p' } }),
  service('web', {
    type: 'LoadBalancer',
    // Node ports differ from node to node; kernels are compared below.
    allocateLoadBalancerNodePorts: false,
    selector: { app: 'p' },
    ports: [{ port: 80, targetPort: HTTP_PORT }],
  }),
)
await bed.waitForPods('app=p')
const vips = await bed.vips('web')

interface Status {
  readonly uplinks: readonly { name: string; hook: string }[]
  readonly neighbours: readonly { kind: string; where: string; what: string; mend: string }[]
  readonly restored: Readonly<Record<string, number>>
  readonly sysctls: readonly { name: string; value: string; needed: string; former?: string }[]
}
const status = (node: string) => bed.agent<Status>(node, '/v1/status')

/** Everything of a node that Weir may touch, as the kernel's own tools tell it. */
async function describeNode(host: Host): Promise<Record<string, string>> {
  const run = async (...argv: string[]) => (await runIn(host, argv)).stdout
  const settings = `cd /proc/sys/net; for f in ipv4/ip_forward ipv[46]/conf/*/rp_filter ipv[46]/conf/*/forwarding \
    ipv6/conf/*/accept_ra ipv[46]/conf/*/ignore_routes_with_linkdown; do echo $f $(cat $f); done`
  const described = {
    programs: await run('bpftool', 'net'),
    cgroup: await run('bpftool', 'cgroup', 'show', host.cgroup),
    qdiscs: await run('tc', 'qdisc', 'show'),
    rules: await run('nft', 'list', 'ruleset'),
    settings: await run('sh', '-c', settings),
    addresses: await run('sh', '-c', 'ip -o address | sed "s/valid_lft.*//"'),
    routes: await run('sh', '-c', 'ip -4 route show table all; ip -6 route show table all'),
  }
  return Object.fromEntries(Object.entries(described).map(([what, text]) => [what, text.trim()]))
}

async function startAgent(name: string): Promise<void> {
  const node = bed.rack.plan.nodes.find((one) => one.name === name)
  if (!node) throw new Error(`the rack has no ${name}`)
  await startAgentOf(bed.rack, node)
}

async function expectServed(t: Test): Promise<void> {
  await expectAnswerers(bed, t, 'client1', vips, ['p1', 'p2'])
}

t.test('the kernel settings that the datapath needs are set, and what they were is remembered', async (t) => {
  for (const node of ['node1', 'node3']) {
    const { sysctls } = await status(node)
    const { stdout } = await bed.run(node, [
      'sysctl',
      '-n',
      'net.ipv4.ip_forward',
      'net.ipv6.conf.all.forwarding',
    ])
    t.equal(stdout, '1\n1\n', node)
    for (const { name, value, needed } of sysctls) t.equal(value, needed, `${node}: ${name}`)
    for (const tor of ['tor1', 'tor2'])
      t.match(
        sysctls.find(({ name }) => name === `net.ipv4.conf.to-${tor}.rp_filter`),
        { value: '2', former: '1' },
        'strict becomes loose',
      )
  }
  const { sysctls } = await status('node1')
  t.ok(
    sysctls.some(({ name }) => /^net\.ipv4\.conf\.pod\w+\.rp_filter$/.test(name)),
    'pods’ devices too',
  )
})

t.test('OPS-008 programs, links and pins that somebody takes away come back', async (t) => {
  await expectServed(t)
  const host = bed.rack.host('node1')
  const pins = nodeBpffs(bed.rack.name, 'node1')
  const held = async (how: string) => (await status('node1')).restored[how] ?? 0
  const takeAway = async (what: string, how: string, take: () => Promise<unknown>) => {
    const first = await held(how)
    await take()
    await bed.until(`${what} to be put back`, async () => (await held(how)) > first)
    await expectServed(t)
  }
  const links = readdirSync(`${pins}/links`)
  for (const name of ['xdp_to-tor1', 'connect4', ...links.filter((one) => one.startsWith('pod_'))]) {
    const pin = links.find((one) => one === name || one.endsWith(name))
    t.ok(pin, name)
    await takeAway(`link ${pin}`, 'detached', () =>
      runAt({}, ['bpftool', 'link', 'detach', 'pinned', `${pins}/links/${pin}`]),
    )
  }
  await takeAway('the pins', 'unpinned', async () => {
    rmSync(`${pins}/links`, { recursive: true })
    rmSync(`${pins}/maps`, { recursive: true })
  })
  t.strictSame(readdirSync(`${pins}/links`).sort(), links.sort(), 'all pins are back')
  const { stdout } = await runIn(host, ['bpftool', 'net'])
  t.match(stdout, /xdp:\s+to-tor1\S* driver id \d+\s+to-tor2\S* driver id \d+/, 'both uplinks')
  // Rows: a backend zeroed, a frontend deleted.
  const mapPin = (name: string) => readdirSync(`${pins}/maps`).find((one) => one.startsWith(`${name}_v`))
  const dump = async (name: string) => {
    const argv = ['bpftool', '-j', 'map', 'dump', 'pinned', `${pins}/maps/${mapPin(name)}`]
    return JSON.parse((await runAt({}, argv)).stdout) as { key: string[] }[]
  }
  const hex = (bytes: readonly string[]) => bytes.map((byte) => byte.replace('0x', ''))
  const all = await dump('frontends')
  await takeAway('the rows', 'overwritten', async () => {
    for (const { key } of all)
      await runAt({}, [
        'bpftool',
        'map',
        'delete',
        'pinned',
        `${pins}/maps/${mapPin('frontends')}`,
        'key',
        'hex',
        ...hex(key),
      ])
  })
  await bed.until('every row to be back', async () => (await dump('frontends')).length === all.length)
  await stopProcess(`${host.directory}/agent.pid`)
  await startAgent('node1')
  await expectServed(t)
  await sleep(7000)
  t.match(
    (await status('node1')).restored,
    { overwritten: 0, detached: 0, replaced: 0, unpinned: 0 },
    'nothing is found wrong for no reason',
  )
})

t.test(
  'pods’ connections to outside the cluster carry their node’s address, where that is asked for',
  async (t) => {
    const [node1] = bed.rack.plan.nodes
    const p1 = await bed.get<{ status: { podIPs: { ip: string }[] } }>('pod', 'p1')
    const podIps = p1.status.podIPs.map(({ ip }) => ip)
    const nodeIps = [node1?.loopback.ipv4, node1?.loopback.ipv6]
    for (const { name, address } of bed.rack.plan.clients) {
      const host = bed.rack.host(name)
      const script = `require('node:http').createServer((q, s) => s.end(q.socket.remoteAddress.replace('::ffff:', '') + ' ' + q.socket.remotePort)).listen(8000, '::')`
      await startProcess({
        name: `a server on ${name}`,
        namespace: host.namespace,
        cgroup: host.cgroup,
        argv: [process.execPath, '-e', script],
        logFile: `${host.directory}/server.log`,
        pidFile: `${host.directory}/server.pid`,
      })
      for (const [index, target] of [address.ipv4, address.ipv6].entries()) {
        let from = ''
        let port = 0
        await bed.until(`an answer of ${target}`, async () => {
          const [seen = '', seenPort = ''] = (await bed.http('default/p1', target, '/', 8000)).split(' ')
          from = seen
          port = Number(seenPort)
          return seen !== ''
        })
        const isExcepted = name === 'client2'
        t.equal(from, isExcepted ? podIps[index] : nodeIps[index], `${target} sees`)
        if (!isExcepted) t.ok(port >= 32_768 && port < 61_000, `port ${port} is none of the datapath’s`)
      }
    }
    // Inside, pods are seen as they are.
    const p2 = await bed.get<{ status: { podIPs: { ip: string }[] } }>('pod', 'p2')
    for (const [index, { ip }] of p2.status.podIPs.entries())
      t.match(await bed.http('default/p1', ip, '/clientip', HTTP_PORT), podIps[index], `pod ${ip}`)
    const ping = await bed.run('default/p1', [
      'ping',
      '-c1',
      '-W2',
      bed.rack.plan.clients[0]?.address.ipv4 ?? '',
    ])
    t.equal(ping.status, 0, 'ping is translated and back')

    await bed.run('node1', ['nft', 'delete', 'table', 'inet', 'weir'])
    await bed.until(
      'the table to be back',
      async () => (await bed.run('node1', ['nft', 'list', 'table', 'inet', 'weir'])).status === 0,
      45_000,
    )
  },
)

t.test('a node whose Node is deleted attracts no clients and gets none, until it is back', async (t) => {
  const announced = async () => {
    const { announcements } = await bed.agent<{ announcements: { prefix: string }[] }>('node2', '/v1/routes')
    return announcements.map(({ prefix }) => prefix)
  }
  const isVip = (prefix: string) => vips.some((vip) => prefix.startsWith(`${vip}/`))
  await bed.until('node2 to announce', async () => (await announced()).some(isVip))
  await bed.kubectl('delete', 'node', 'node2')
  await bed.until('node2 to withdraw', async () => !(await announced()).some(isVip))
  t.ok((await announced()).length > 0, 'its own addresses and pods stay announced')
  await expectAnswerers(bed, t, 'client1', vips, ['p1'])
  await bed.until('node2 to announce again', async () => (await announced()).some(isVip), 30_000)
  await expectServed(t)
})

t.test('others on a node are named with a mend, told once, and left alone', async (t) => {
  const host = bed.rack.host('node2')
  const found = async (kind: string) =>
    (await status('node2')).neighbours.filter((finding) => finding.kind === kind)
  const [vip = ''] = vips
  await bed.run('node2', ['ip', 'address', 'add', `${vip}/32`, 'dev', 'lo'])
  await bed.run('node2', ['nft', 'add', 'table', 'ip', 'nat'])
  await bed.run('node2', ['nft', 'add', 'chain', 'ip', 'nat', 'KUBE-SERVICES'])
  await bed.until(
    'both to be found',
    async () => (await found('address-owner')).length > 0 && (await found('kube-proxy-rules')).length > 0,
    45_000,
  )
  t.match(await found('address-owner'), [
    {
      where: 'interface lo',
      what: /an address of Service default\/web/,
      mend: `ip address del ${vip}/32 dev lo, and stop who adds it`,
    },
  ])
  t.match(await found('kube-proxy-rules'), [{ where: 'iptables (nft)', mend: /kube-proxy --cleanup/ }])
  const events = await bed.get<{
    items: { reason: string; involvedObject: { kind: string; name: string } }[]
  }>('events')
  t.match(
    events.items.find(({ reason }) => reason === 'AddressHeldElsewhere'),
    { involvedObject: { kind: 'Service', name: 'web' } },
  )
  t.match(
    events.items.find(({ reason }) => reason === 'OtherServiceProxy'),
    { involvedObject: { kind: 'Node', name: 'node2' } },
  )
  await expectServed(t)
  t.equal(
    (await bed.run('node2', ['nft', 'list', 'chain', 'ip', 'nat', 'KUBE-SERVICES'])).status,
    0,
    'left alone',
  )
  for (const argv of [
    ['ip', 'address', 'del', `${vip}/32`, 'dev', 'lo'],
    ['nft', 'delete', 'table', 'ip', 'nat'],
  ])
    await runIn(host, argv)
  await bed.until('nothing to be left', async () => (await status('node2')).neighbours.length === 0, 45_000)
})

t.test(
  'a foreign XDP program on an uplink is named and never replaced; tc stands in until it goes',
  async (t) => {
    const host = bed.rack.host('node2')
    const uplink = 'to-tor1'
    const programId = async () => {
      const { stdout } = await runIn(host, ['ip', '-d', '-j', 'link', 'show', uplink])
      return (JSON.parse(stdout) as { xdp?: { prog?: { id: number } } }[])[0]?.xdp?.prog?.id
    }
    await stopProcess(`${host.directory}/agent.pid`)
    // Somebody else's program, in place of ours, while nobody looks.
    const pins = nodeBpffs(bed.rack.name, 'node2')
    const foreign = `${pins}/foreign`
    await runAt({}, ['bpftool', 'link', 'detach', 'pinned', `${pins}/links/xdp_${uplink}`])
    rmSync(`${pins}/links/xdp_${uplink}`)
    const object = new URL('../../../build/bpf/weir_xdp.bpf.o', import.meta.url).pathname
    await runIn(host, ['bpftool', 'prog', 'load', object, foreign, 'type', 'xdp'])
    await runIn(host, ['bpftool', 'net', 'attach', 'xdp', 'pinned', foreign, 'dev', uplink])
    const before = await programId()
    t.ok(before, 'their program is there')
    await startAgent('node2')
    await bed.until('it to be named', async () =>
      (await status('node2')).neighbours.some(({ kind }) => kind === 'xdp-program'),
    )
    const finding = (await status('node2')).neighbours.find(({ kind }) => kind === 'xdp-program')
    t.match(finding, {
      where: `uplink ${uplink}`,
      what: new RegExp(`\\(id ${before}, native\\)`),
      mend: `ip link set dev ${uplink} xdp off, if nothing needs it`,
    })
    t.equal(await programId(), before, 'never replaced')
    const hook = async () => (await status('node2')).uplinks.find(({ name }) => name === uplink)?.hook
    t.equal(await hook(), 'tc')
    await expectServed(t)
    await runIn(host, ['bpftool', 'net', 'detach', 'xdp', 'dev', uplink])
    rmSync(foreign)
    await bed.until('ours to come back', async () => (await hook()) === 'xdp', 45_000)
    t.ok(await programId(), 'at XDP')
    await bed.until('nobody to be left', async () => (await status('node2')).neighbours.length === 0, 45_000)
    await expectServed(t)
  },
)

interface Event {
  readonly reason: string
  readonly message: string
  readonly involvedObject: { readonly kind: string; readonly name: string }
}

t.test(
  'SVC-028 what cannot be served of an object is skipped with an Event, and the rest is served',
  async (t) => {
    const told = async (kind: string, name: string) =>
      (await bed.get<{ items: Event[] }>('events')).items.filter(
        ({ involvedObject }) => involvedObject.kind === kind && involvedObject.name === name,
      )
    const { ipv4: stolen = '' } = bed.rack.plan.nodes[1]?.loopback ?? {}
    const free = '203.0.113.77'
    await bed.apply(
      service(
        'half',
        { selector: { app: 'p' }, externalIPs: [stolen, free] },
        { annotations: { 'weir.network/balancing': 'sometimes' } },
      ),
      service('single', {
        ipFamilyPolicy: 'SingleStack',
        ipFamilies: ['IPv4'],
        externalIPs: ['2001:db8::9'],
      }),
    )
    const says = async (name: string, reason: string, text: string) => {
      const events = await told('Service', name)
      return events.some((event) => event.reason === reason && event.message.includes(text))
    }
    const refusal = `spec.externalIPs '${stolen}' is not served: it belongs to node node2 or its pods`
    await bed.until('an Event of the refusal', () => says('half', 'ExternalIPRefused', refusal))
    await bed.until('an Event of the annotation', () =>
      says('half', 'InvalidValue', "annotation weir.network/balancing 'sometimes'"),
    )
    await bed.until('an Event of the family', () =>
      says('single', 'KubeProxyIncorrectIPVersion', "spec.externalIPs '2001:db8::9'"),
    )
    const { clusterIps } = await bed.serviceAddresses('half')
    await expectAnswerers(bed, t, ['client1', 'node3', 'default/p1'], free, ['p1', 'p2'])
    await expectAnswerers(bed, t, 'default/p1', clusterIps, ['p1', 'p2'])
    t.equal(await bed.connect('client1', stolen, 80), 'refused', 'the node’s address stays the node’s')
    await bed.kubectl('delete', 'service', 'half', 'single')
  },
)

/** Addresses and ports that a node's kernel takes for Services. */
async function frontends(node: string): Promise<string[]> {
  const maps = `${nodeBpffs(bed.rack.name, node)}/maps`
  const pin = readdirSync(maps).find((name) => /^frontends_v/.test(name))
  const { stdout } = await runAt({}, ['bpftool', '-j', 'map', 'dump', 'pinned', `${maps}/${pin}`])
  const rows = JSON.parse(stdout) as { key: string[] }[]
  return rows.map(({ key }) => key.join('')).sort()
}

t.test(
  'OPS-007 an agent killed at any moment leaves no half Service, and what went meanwhile is gone',
  async (t) => {
    const host = bed.rack.host('node1')
    const names = (round: number) => Array.from({ length: 12 }, (_, index) => `kill${round}x${index}`)
    const many = (round: number) => names(round).map((name) => service(name, { selector: { app: 'p' } }))
    const isEqual = async () => (await frontends('node1')).join() === (await frontends('node3')).join()
    await bed.until('the kernels to agree', isEqual)
    for (let round = 0; round < 4; round += 1) {
      const agentProcess = findProcess(`${host.directory}/agent.pid`)
      const changes = (async () => {
        await bed.apply(...many(round))
        if (round > 0) await bed.kubectl('delete', 'service', ...names(round - 1))
      })()
      // Each time at another moment of the writing.
      await sleep(150 * round)
      if (agentProcess) signalProcess(agentProcess, 'SIGKILL')
      await changes
      t.match(
        [...(await bed.answerers('client1', vips[0] ?? '', 80, 20)).keys()].sort(),
        ['p1', 'p2'],
        'served meanwhile',
      )
      await startAgent('node1')
      await bed.until(`the kernels to agree again, round ${round}`, isEqual)
    }
    const { clusterIps } = await bed.serviceAddresses('kill3x11')
    await expectAnswerers(bed, t, ['node1', 'default/p1'], clusterIps, ['p1', 'p2'])
    await bed.kubectl('delete', 'service', ...names(3))
    await bed.until('nothing of them to be left', isEqual)
  },
)

t.test('OPS-009 uninstall refuses while the agent runs, and leaves the node as it was', async (t) => {
  const host = bed.rack.host('node3')
  const uninstall = (...args: string[]) =>
    runIn(host, [process.execPath, WEIR, 'uninstall', '--config', `${host.directory}/agent.yaml`, ...args])
  // What belongs to others stays.
  await runIn(host, ['nft', 'add', 'table', 'ip', 'theirs'])
  t.teardown(() => runIn(host, ['nft', 'delete', 'table', 'ip', 'theirs']))
  const preview = await uninstall('--dry-run')
  t.equal(preview.status, 0, 'what would go can be seen while the agent runs')
  t.match(preview.stdout, /Would remove/)
  const refused = await uninstall()
  t.equal(refused.status, 1)
  t.match(refused.stderr, /the agent runs.*stop it first/)

  await stopProcess(`${host.directory}/agent.pid`)
  const served = await describeNode(host)
  t.match(served['programs'], /to-tor1/, 'the kernel outlives the agent')
  const dry = await uninstall('--dry-run')
  t.match(dry.stdout, /^Would remove or put back:\n {2}announcement of /)
  t.strictSame(await describeNode(host), served, 'a dry run changes nothing')

  const done = await uninstall()
  t.equal(done.status, 0, done.stderr)
  t.equal(done.stdout.replace('Removed', 'Would remove'), dry.stdout)
  const { rules, ...after } = await describeNode(host)
  t.strictSame({ ...after, rules: (rules ?? '').replace(/table ip theirs \{\n\}/, '').trim() }, before)
  t.throws(() => readdirSync(nodeBpffs(bed.rack.name, 'node3')), { code: 'ENOENT' }, 'no pin is left')
  t.throws(() => readFileSync(`${host.directory}/sysctls.json`), { code: 'ENOENT' })
  t.match((await uninstall()).stdout, /Nothing of Weir is left/)
  await expectServed(t)

  await startAgent('node3')
  await bed.until('the node to announce again', async () => {
    const { announcements } = await bed.agent<{ announcements: { prefix: string }[] }>('node3', '/v1/routes')
    return announcements.some(({ prefix }) => prefix.startsWith(`${vips[0]}/`))
  })
  await expectServed(t)
})
