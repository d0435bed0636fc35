// `weir bgp router-config`, given to the real FRR and BIRD as it is printed: their parsers take it, the sessions come up with password and
// GTSM, and each lets in exactly what the node may announce; applied once more, or over an earlier print, it is taken again, and ends no
// session. What is asserted is read from the routers.

import { execFileSync, spawnSync } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { PASSWORD_PLACEHOLDER } from '../../../src/cli/bgp-router-side.ts'
import type { Address } from '../../../src/model/address.ts'
import type { BgpPeer } from '../../../src/model/routing.ts'
import { allowedPrefixes } from '../../../src/routing/allowed.ts'
import { frrCommand, frrOwner, isFrrReady } from '../../../src/sandbox/frr.ts'
import { readLinks } from '../../../src/speaker/links.ts'
import { createSpeaker } from '../../../src/speaker/speaker.ts'
import { Netlink } from '../../../src/sys/node-netlink/netlink.ts'
import { link, NODE_ASN, RouterBed, until } from '../bgp/bed.ts'
import { announcement, cidr, peerOf, routingOf } from '../speaker/bed.ts'

const WEIR = join(import.meta.dirname, '../../../tools/weir.mjs')
const PASSWORD = 'a-secret'
const INDEX = 1
const ROUTER_ASN = 65001

const { router4, router6, node4, node6 } = link(INDEX)

const CONFIG = `
nodeName: node1
stateDirectory: /nowhere
kubernetes: { servers: ['https://192.0.2.1:6443'], caFile: /nowhere, tokenFile: /nowhere }
datapath: { bpffs: /nowhere, cgroup: /nowhere, uplinks: [to-tor1] }
pools: [{ name: default, prefixes: [203.0.113.0/24, '2001:db8:113::/112'] }]
routing:
  gobgp: unix:///nowhere
  asn: ${NODE_ASN}
  loopbacks: [10.255.0.1/32, 'fd00:255::1/128']
  podCidrs: [10.244.1.0/24, 'fd00:244:1::/64']
  peers:
    - { name: tor-v4, address: ${router4}, asn: ${ROUTER_ASN}, localAddress: ${node4}, password: { file: /nowhere }, ttlSecurity: 1,
        timers: { holdSeconds: 9, keepaliveSeconds: 3 }, bfd: { intervalMs: 300, multiplier: 3 } }
    - { name: tor-v6, address: '${router6}', asn: ${ROUTER_ASN}, localAddress: '${node6}', timers: { holdSeconds: 9, keepaliveSeconds: 3 } }
`

/** What the node announces; the last is its own mistake, which the router must not take. */
const TAKEN = {
  ipv4: ['10.244.1.0/24', '10.255.0.1/32', '203.0.113.7/32'],
  ipv6: ['2001:db8:113::7/128', 'fd00:244:1::/64', 'fd00:255::1/128'],
}
const REFUSED = ['198.51.100.9/32', '203.0.113.64/26', '2001:db8:bad::1/128']

function routerConfig(dialect: string, ...options: string[]): string {
  return configFor(CONFIG, dialect, ...options)
}

function configFor(config: string, dialect: string, ...options: string[]): string {
  const directory = mkdtempSync('/tmp/weir-router-config-')
  const file = join(directory, 'agent.yaml')
  writeFileSync(file, config)
  const args = [WEIR, 'bgp', 'router-config', '--dialect', dialect, '--config', file, ...options]
  const { stdout, stderr, status } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '' },
  })
  rmSync(directory, { recursive: true })
  if (status !== 0) throw new Error(stderr)
  if (stdout.includes(PASSWORD)) throw new Error('the password was printed')
  return stdout.replaceAll(PASSWORD_PLACEHOLDER, PASSWORD)
}

interface FrrNeighbour {
  readonly bgpState: string
  readonly connectionsEstablished: number
  readonly connectionsDropped: number
  readonly gracefulRestartInfo?: { readonly localGrMode?: string }
}

/** Longer than a session that was ended would go unnoticed. */
const SETTLE_MS = 3_000

class Bed extends RouterBed {
  readonly #frr = mkdtempSync('/tmp/weir-router-config-frr-')
  readonly tor: string
  readonly #t: Test

  constructor(t: Test) {
    super(t)
    this.#t = t
    t.teardown(() => rmSync(this.#frr, { recursive: true, force: true }))
    this.tor = this.addLink(INDEX)
  }

  async startBird(text: string): Promise<void> {
    const [file, part] = ['router.conf', 'node1.conf'].map((name) => join(this.directory, name))
    if (file === undefined || part === undefined) return
    writeFileSync(part, text)
    // What the text says that the including file needs.
    const needed = text.split('\n').flatMap((line) => /^# {3}(.*)$/.exec(line)?.[1] ?? [])
    writeFileSync(file, `${needed.join('\n')}\ninclude "${part}";\n`)
    execFileSync('bird', ['-p', '-c', file])
    const control = join(this.directory, 'bird1.ctl')
    this.spawn(this.tor, ['bird', '-f', '-c', file, '-s', control], 'bird.log')
    await until('BIRD is up', () => existsSync(control))
  }

  /** The daemons start with nothing; the text comes by vtysh, as to a router that runs. */
  async startFrr(text: string): Promise<void> {
    const { uid, gid } = frrOwner()
    const own = (file: string) => chownSync(file, uid, gid)
    own(this.#frr)
    writeFileSync(join(this.#frr, 'vtysh.conf'), 'no service integrated-vtysh-config\n')
    for (const daemon of ['zebra', 'bgpd', 'bfdd'] as const) {
      const file = join(this.#frr, `${daemon}.conf`)
      writeFileSync(file, '')
      own(file)
      this.spawn(this.tor, frrCommand(daemon, this.#frr), `${daemon}.log`)
      await until(`${daemon} is up`, () => isFrrReady(daemon, this.#frr))
    }
    this.applyFrr(text)
    this.vtysh('-C', '-f', join(this.#frr, 'router.conf'))
  }

  /** @param text undefined: the last one again. Fails where FRR refuses a line */
  applyFrr(text?: string): void {
    if (text !== undefined) writeFileSync(join(this.#frr, 'router.conf'), text, { mode: 0o644 })
    this.#t.notMatch(
      this.vtysh('-f', join(this.#frr, 'router.conf')),
      /%|unknown|error/i,
      'FRR takes every line',
    )
  }

  /** By neighbour: how often its session came up, how often it fell, and what FRR is to a peer that restarts. */
  frrSessions(): Record<string, string> {
    const rows = JSON.parse(this.vtysh('-c', 'show bgp neighbors json')) as Record<string, FrrNeighbour>
    return Object.fromEntries(
      Object.entries(rows).map(([name, row]) => {
        const { connectionsEstablished: up, connectionsDropped: down, bgpState } = row
        return [name, `${bgpState}, ${up} up, ${down} down, ${row.gracefulRestartInfo?.localGrMode ?? '?'}`]
      }),
    )
  }

  vtysh(...args: string[]): string {
    const all = ['--vty_socket', this.#frr, '--config_dir', this.#frr, ...args]
    const { stdout, stderr, status } = spawnSync('vtysh', all, { encoding: 'utf8' })
    if (status !== 0) throw new Error(`vtysh ${args.join(' ')}: ${stdout}${stderr}`)
    return `${stdout}${stderr}`
  }

  frrPaths(prefix: string): number {
    const family = prefix.includes(':') ? 'ipv6' : 'ipv4'
    const answer = this.vtysh('-c', `show bgp ${family} unicast ${prefix} json`)
    return (JSON.parse(answer) as { paths?: object[] }).paths?.length ?? 0
  }

  /** The node, with its mistakes allowed by its own guard. */
  async startNode(password?: string): Promise<ReturnType<typeof createSpeaker>> {
    await this.startGobgpd(this.openClient(this.#t))
    const peer = (name: string, address: string, local: string, change: Partial<BgpPeer>) =>
      peerOf(name, address, { asn: ROUTER_ASN, localAddress: local as Address, ...change })
    const routing = routingOf([
      peer('tor-v4', router4, node4, {
        ttlSecurityMin: 255,
        ...(password === undefined ? {} : { password: { kind: 'inline', text: password } }),
      }),
      peer('tor-v6', router6, node6, {}),
    ])
    const speaker = createSpeaker({ gobgpSocket: this.target, log: { info: () => {}, warn: () => {} } })
    this.#t.teardown(() => speaker.close())
    const all = [...TAKEN.ipv4, ...TAKEN.ipv6, ...REFUSED]
    const ownWidths = allowedPrefixes({ loopbacks: [], podCidrs: all.map(cidr), pools: [] })
    speaker.setRouting(routing, ownWidths)
    speaker.setDesired(all.map((text) => announcement(text)))
    await until(
      'both sessions',
      async () =>
        (await speaker.status()).sessions.filter(({ session }) => session === 'established').length === 2,
      30_000,
    )
    return speaker
  }
}

t.setTimeout(300_000)

t.test('BIRD, as printed', async (t) => {
  const bed = new Bed(t)
  await bed.startBird(routerConfig('bird'))
  const speaker = await bed.startNode(PASSWORD)
  const taken = () =>
    ['ipv4', 'ipv6'].map((family) =>
      bed
        .bird(INDEX, 'show', 'route', 'table', family === 'ipv4' ? 'master4' : 'master6')
        .split('\n')
        .flatMap((line) => /^(\S+\/\d+)\s/.exec(line)?.[1] ?? [])
        .sort(),
    )
  await until('its routes', () => taken().flat().length === 6).catch(() => {})
  t.strictSame(taken(), [TAKEN.ipv4, TAKEN.ipv6], 'exactly what the node may announce')
  t.match(
    bed.bird(INDEX, 'show', 'route', 'filtered', 'all'),
    /198\.51\.100\.9\/32/,
    'the mistake is seen, and filtered',
  )
  const protocols = () =>
    bed
      .bird(INDEX, 'show', 'protocols')
      .split('\n')
      .filter((line) => /\sBGP\s/.test(line))
  const before = protocols()
  t.equal(before.length, 2)
  for (const _ of [1, 2]) t.match(bed.bird(INDEX, 'configure'), /Reconfigured|Reconfiguration in progress/)
  await sleep(SETTLE_MS)
  t.same(protocols(), before, 'configured again, each session is up since then')
  speaker.setDrain({ communities: ['65535:0'], prepend: 0 })
  await until('graceful shutdown', () => /local_pref: 0/.test(bed.birdRoute(INDEX, '203.0.113.7/32')))
  t.equal(bed.kernelRoute(INDEX, '203.0.113.7/32').split(' ')[2], node4, 'and in its kernel, by the node')
})

t.test('FRR, as printed', async (t) => {
  const bed = new Bed(t)
  await bed.startFrr(routerConfig('frr'))
  const speaker = await bed.startNode(PASSWORD)
  const taken = () =>
    ['ipv4', 'ipv6'].map((family) => {
      const answer = JSON.parse(bed.vtysh('-c', `show bgp ${family} unicast json`)) as { routes?: object }
      return Object.keys(answer.routes ?? {}).sort()
    })
  await until('its routes', () => taken().flat().length === 6).catch(() => {})
  t.strictSame(taken(), [TAKEN.ipv4, TAKEN.ipv6], 'exactly what the node may announce')
  const received = bed.vtysh('-c', `show bgp ipv4 unicast neighbors ${node4} received-routes json`)
  t.match(received, /198\.51\.100\.9\/32/, 'the mistake is seen, and filtered')
  const before = bed.frrSessions()
  t.match(before, {
    [node4]: /^Established, 1 up, 0 down, Helper/,
    [node6]: /^Established, 1 up, 0 down, Helper/,
  })
  for (const _ of [1, 2]) bed.applyFrr()
  await sleep(SETTLE_MS)
  t.same(bed.frrSessions(), before, 'applied again, no session was ended')
  t.equal(taken().flat().length, 6)
  const [mistake = ''] = REFUSED
  bed.applyFrr(configFor(CONFIG.replace('[203.0.113.0/24', '[198.51.100.0/24, 203.0.113.0/24'), 'frr'))
  await until('a pool more', () => bed.frrPaths(mistake) === 1).catch(() => {})
  t.strictSame(taken(), [[...TAKEN.ipv4, mistake].sort(), TAKEN.ipv6], 'one ahead of the others, which stay')
  bed.applyFrr(configFor(CONFIG.replace('203.0.113.0/24', '198.51.100.0/24'), 'frr'))
  t.notMatch(bed.vtysh('-c', 'show running-config'), /203\.0\.113\./, 'nothing is left of a pool that went')
  await until('what is a pool now', () => bed.frrPaths(mistake) === 1 && bed.frrPaths('203.0.113.7/32') === 0)
  bed.applyFrr(routerConfig('frr'))
  await until(
    'what is a pool again',
    () => bed.frrPaths(mistake) === 0 && bed.frrPaths('203.0.113.7/32') === 1,
  )
  t.same(bed.frrSessions(), before, 'nor by other pools')
  speaker.setDrain({ communities: ['65535:0'], prepend: 0 })
  await until('graceful shutdown', () =>
    /"locPrf":0/.test(bed.vtysh('-c', 'show bgp ipv4 unicast 203.0.113.7/32 json').replaceAll(/\s/g, '')),
  )
  await until('its kernel', () => bed.kernelRoute(INDEX, '203.0.113.7/32').includes(`via ${node4} `))
  t.match(bed.vtysh('-c', 'show bfd peers'), new RegExp(node4.replaceAll('.', '\\.')), 'BFD watches the node')
  await bed.killGobgpd()
  await until('FRR to see it', () => /, 1 down/.test(bed.frrSessions()[node6] ?? ''))
  await sleep(SETTLE_MS)
  t.equal(taken().flat().length, 6, 'it keeps the routes of a node that restarts')
})

t.test('a password with a blank: gobgpd and BIRD take it', async (t) => {
  const bed = new Bed(t)
  await bed.startBird(routerConfig('bird').replaceAll(PASSWORD, 'a secret'))
  await bed.startNode('a secret')
  const sessions = bed.bird(INDEX, 'show', 'protocols').match(/BGP .* Established/g)
  t.equal(sessions?.length, 2)
})

t.test('a password with a blank: FRR cannot be given it, and who reads the text is told', async (t) => {
  const bed = new Bed(t)
  const text = routerConfig('frr')
  t.match(text, /^! FRR takes a password of one word/m)
  await bed.startFrr(text)
  const line = text.split('\n').find((one) => one.includes(` password ${PASSWORD}`)) ?? ''
  const config = ['-c', 'configure terminal', '-c', `router bgp ${ROUTER_ASN}`, '-c']
  bed.vtysh(...config, line.trim())
  t.throws(() => bed.vtysh(...config, line.trim().replace(PASSWORD, 'a secret')), /Unknown command/)

  // A router that has the node already, as somebody wrote it.
  const byHand = `router bgp ${ROUTER_ASN}
    no neighbor ${node4}
    neighbor servers peer-group
    neighbor servers remote-as external
    neighbor ${node4} peer-group servers
    neighbor ${node4} ebgp-multihop 3
    neighbor ${node6} weight 7`
  bed.applyFrr(byHand)
  t.throws(() => bed.applyFrr(text), /Cannot change the peer-group/)
  bed.applyFrr(routerConfig('frr', '--replace'))
  const running = bed.vtysh('-c', 'show running-config')
  t.match(running, `neighbor ${node4} peer-group nodes-node1-ipv4`)
  t.notMatch(running, /peer-group servers|ebgp-multihop|weight/)
  // Another print of the node has fewer settings: none of the earlier ones is left.
  const plain = CONFIG.replace(/ password: .*\n.*bfd: .*\}/, ' }').replace(
    `'${node6}'`,
    `'${node6}', ttlSecurity: 1`,
  )
  bed.applyFrr(configFor(plain, 'frr'))
  t.notMatch(bed.vtysh('-c', 'show running-config'), /neighbor nodes-node1-ipv4 (password|ttl-security|bfd)/)
})

t.test('all nodes by one range, as printed', async (t) => {
  for (const dialect of ['bird', 'frr'] as const)
    await t.test(dialect, async (t) => {
      const bed = new Bed(t)
      const text = routerConfig(dialect, '--listen-range', '10.254.0.0/16', '--listen-range', 'fd00:254::/32')
      t.notMatch(text, new RegExp(`${node4.replaceAll('.', '\\.')}\\b`), 'no node is named')
      // Only TCP's MD5 for a range needs the kernel's help that not every kernel gives.
      const plain = text.replaceAll(/^.*a-secret.*\n/gm, '')
      if (dialect === 'bird') await bed.startBird(plain)
      else await bed.startFrr(plain)
      await bed.startNode()
      const refusing = (prefix: string) =>
        dialect === 'bird' ? bed.birdRoute(INDEX, prefix) === '' : bed.frrPaths(prefix) === 0
      await until('its routes', () => !refusing('203.0.113.7/32') && !refusing('fd00:255::1/128'))
      for (const prefix of REFUSED) t.ok(refusing(prefix), prefix)
      if (dialect === 'frr') bed.applyFrr()
    })
})

t.test('an unnumbered session carries both families, as printed', async (t) => {
  const config = CONFIG.replace(
    / {2}peers:.*$/s,
    '  peers: [{ name: tor, interface: to-tor1, asn: external, families: [ipv4, ipv6] }]\n',
  )
  const unnumbered = (bed: Bed, dialect: string) =>
    configFor(
      config,
      dialect,
      ...['--asn', String(ROUTER_ASN), '--interface', 'to-node'],
      ...['--node-address', `tor=${bed.linkLocal(bed.node, 'to-tor1')}`],
    )
  const bed = new Bed(t)
  await bed.startBird(unnumbered(bed, 'bird'))
  await bed.startGobgpd(bed.openClient(t))
  const netlink = new Netlink({ namespacePath: `/run/netns/${bed.node}` })
  t.teardown(() => netlink.close())
  const log = { info: () => {}, warn: () => {} }
  const speaker = createSpeaker({ gobgpSocket: bed.target, log, readLinks: () => readLinks(netlink) })
  t.teardown(() => speaker.close())
  const peer = peerOf('tor', router4, { asn: 'external', families: ['ipv4', 'ipv6'] })
  const all = [...TAKEN.ipv4, ...TAKEN.ipv6, ...REFUSED]
  speaker.setDesired(all.map((text) => announcement(text)))
  await until(
    'its routes',
    () => {
      // The router looks for the node, whereupon the node knows the router.
      spawnSync('nsenter', [`--net=/run/netns/${bed.tor}`, 'ping', '-c1', '-W1', '-Ito-node', 'ff02::1'])
      speaker.setRouting(
        routingOf([{ ...peer, remote: { kind: 'interface', interface: 'to-tor1' } }]),
        allowedPrefixes({ loopbacks: [], podCidrs: all.map(cidr), pools: [] }),
      )
      return [...TAKEN.ipv4, ...TAKEN.ipv6].every((prefix) => bed.birdRoute(INDEX, prefix) !== '')
    },
    40_000,
  )
  for (const prefix of REFUSED) t.equal(bed.birdRoute(INDEX, prefix), '', prefix)
  t.match(bed.kernelRoute(INDEX, '203.0.113.7/32'), /via inet6 fe80::.* dev to-node/)
  // FRR waits for the node's router advertisements, which its agent sends: here its parser alone judges.
  await bed.startFrr(unnumbered(bed, 'frr'))
  t.match(bed.vtysh('-c', 'show running-config'), /neighbor to-node interface v6only/)
  bed.applyFrr()
})
