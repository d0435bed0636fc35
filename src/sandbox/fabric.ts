// The rack's wiring: namespaces, kernel settings, cables, addresses, offloads, static routes. Every step looks first
// and adds only what is missing, so building twice is building once, and a half-built fabric is completed.
// Done in few processes: one `ip -batch` for all namespaces, one for all cables, one per host for the rest.

import { createHash } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { type AddressPlan, hostNames, type LinkEnd } from './address-plan.ts'
import { killCgroup } from './cgroups.ts'
import { cgroupMount, createNamespaces, demand, type Host, ipBatch, namespaceExists } from './host.ts'
import { podsCgroup } from './names.ts'

/** Applies to IPv6 as well. */
const HASH_SEED = 'net.ipv4.fib_multipath_hash_seed'
/** Source and destination address (1, 2), protocol (4), source and destination port (16, 32). */
const HASH_FIELDS = 0x37
const HASH_FIELDS_WITHOUT_PROTOCOL = 0x33

/** Set before any interface exists, so that interfaces inherit the `default` values. */
const KERNEL_SETTINGS: Readonly<Record<string, string>> = {
  'net.ipv4.ip_forward': '1',
  'net.ipv6.conf.all.forwarding': '1',
  'net.ipv6.conf.default.forwarding': '1',
  // ECMP by ports too: one client must reach several nodes. Policy 3, these fields, is policy 1's hash of layer 4 made
  // from the packet; policy 1 itself trusts the hash that the sending socket left on the packet. Cables between machines
  // lose that hash, veths keep it, and every router would then decide by the same number (see hashLines).
  'net.ipv4.fib_multipath_hash_policy': '3',
  'net.ipv6.fib_multipath_hash_policy': '3',
  'net.ipv4.fib_multipath_hash_fields': String(HASH_FIELDS),
  'net.ipv6.fib_multipath_hash_fields': String(HASH_FIELDS),
  // Requests and answers take different ways on an ECMP fabric, and DSR answers come from elsewhere altogether.
  'net.ipv4.conf.all.rp_filter': '0',
  'net.ipv4.conf.default.rp_filter': '0',
  'net.ipv4.conf.all.send_redirects': '0',
  'net.ipv4.conf.default.send_redirects': '0',
  // A next hop without carrier leaves its ECMP group at once, and comes back with the carrier.
  'net.ipv4.conf.all.ignore_routes_with_linkdown': '1',
  'net.ipv4.conf.default.ignore_routes_with_linkdown': '1',
  'net.ipv6.conf.all.ignore_routes_with_linkdown': '1',
  'net.ipv6.conf.default.ignore_routes_with_linkdown': '1',
  'net.ipv6.conf.all.keep_addr_on_down': '1',
  'net.ipv6.conf.default.keep_addr_on_down': '1',
  // Addresses come from the plan: no autoconfiguration, and no second of waiting for duplicates.
  'net.ipv6.conf.default.accept_ra': '0',
  'net.ipv6.conf.default.accept_dad': '0',
  'net.ipv6.conf.default.dad_transmits': '0',
}

/**
 * Nodes are left as a distribution makes them, strict reverse path filter and all: what the datapath needs, the agent sets, and
 * must not set back when a standing rack is completed.
 */
const NODE_SETTINGS: Readonly<Record<string, string>> = {
  'net.ipv4.ip_forward': '0',
  'net.ipv6.conf.all.forwarding': '0',
  'net.ipv6.conf.default.forwarding': '0',
  'net.ipv4.conf.all.rp_filter': '0',
  'net.ipv4.conf.default.rp_filter': '1',
  'net.ipv4.conf.all.ignore_routes_with_linkdown': '0',
  'net.ipv4.conf.default.ignore_routes_with_linkdown': '0',
  'net.ipv6.conf.all.ignore_routes_with_linkdown': '0',
  'net.ipv6.conf.default.ignore_routes_with_linkdown': '0',
  'net.ipv6.conf.all.keep_addr_on_down': '0',
  'net.ipv6.conf.default.keep_addr_on_down': '0',
}

/**
 * Builds or completes the wiring of all hosts. Resolves to the hosts whose network namespace had to be made: what ran
 * there before, in a namespace that is gone, has been ended.
 */
export async function buildFabric(
  plan: AddressPlan,
  host: (name: string) => Host,
  hasAgents: boolean,
): Promise<string[]> {
  const hosts = hostNames(plan).map(host)
  makeCgroups(plan, hosts)
  const missing = hosts.filter((one) => !namespaceExists(one.namespace))
  await Promise.all(missing.map((one) => killCgroup(one.cgroup)))
  await createNamespaces(missing.map((one) => one.namespace))
  await Promise.all(hosts.map((one) => applySettings(plan, one, missing.includes(one))))
  await addCables(plan, host)
  await Promise.all(hosts.map((one) => configureHost(plan, one, hasAgents)))
  return missing.map((one) => one.name)
}

/** Each host has a cgroup, so that `down` finds its processes whatever became of their records. */
function makeCgroups(plan: AddressPlan, hosts: readonly Host[]): void {
  for (const host of hosts) {
    mkdirSync(host.directory, { recursive: true })
    mkdirSync(host.systemCgroup, { recursive: true })
  }
  const nodes = new Set(plan.nodes.map((node) => node.name))
  for (const { rack, name } of hosts)
    if (nodes.has(name)) mkdirSync(podsCgroup(cgroupMount(), rack, name), { recursive: true })
}

async function applySettings(plan: AddressPlan, host: Host, isNew: boolean): Promise<void> {
  const isNode = plan.nodes.some((node) => node.name === host.name)
  const lines = Object.entries({ ...KERNEL_SETTINGS, ...(isNode ? NODE_SETTINGS : {}) })
    .filter(([key]) => isNew || !isNode || !(key in NODE_SETTINGS))
    .map(([key, value]) => writeSetting(key, value))
  const script = [...lines, ...hashLines(plan, host.name)].join('\n')
  await demand({ namespace: host.namespace }, ['/bin/sh', '-ec', script])
}

/**
 * Routers in a row must not hash alike: all flows that the spine gave to tor1 would then choose the same next hop there
 * (polarisation), and half of the nodes would never be asked. Real routers differ by a seed of their own; so do these,
 * from Linux 6.11 on. Before, the ToRs hash other fields than the spine: addresses and ports without the protocol.
 */
function hashLines(plan: AddressPlan, name: string): string[] {
  const seed = createHash('sha256').update(name).digest().readUInt32BE() || 1
  const isTor = plan.tors.some((tor) => tor.name === name)
  const otherFields = ['ipv4', 'ipv6'].map((family) =>
    writeSetting(`net.${family}.fib_multipath_hash_fields`, String(HASH_FIELDS_WITHOUT_PROTOCOL)),
  )
  return [
    `if [ -e ${settingPath(HASH_SEED)} ]; then ${writeSetting(HASH_SEED, String(seed))}`,
    ...(isTor ? ['else', ...otherFields] : []),
    'fi',
  ]
}

function writeSetting(key: string, value: string): string {
  return `echo ${value} >${settingPath(key)}`
}

function settingPath(key: string): string {
  return `/proc/sys/${key.replaceAll('.', '/')}`
}

async function addCables(plan: AddressPlan, host: (name: string) => Host): Promise<void> {
  const names = hostNames(plan)
  const present = new Map(
    await Promise.all(names.map(async (name) => [name, await interfaceNames(host(name))] as const)),
  )
  const isThere = (end: LinkEnd): boolean => present.get(end.host)?.has(end.interface) ?? false
  const lines = plan.links
    .filter((link) => !isThere(link.upper) || !isThere(link.lower))
    .flatMap(({ upper, lower, mtu }) => {
      // One end without the other: its peer sits in a namespace that has lost its name.
      const halves = [upper, lower].filter(isThere)
      const end = (side: LinkEnd): string => `${side.interface} mtu ${mtu} netns ${host(side.host).namespace}`
      return [
        ...halves.map((half) => ({
          namespace: host(half.host).namespace,
          text: `link del ${half.interface}`,
        })),
        { namespace: undefined, text: `link add ${end(upper)} type veth peer name ${end(lower)}` },
      ]
    })
  for (const { namespace, text } of lines.filter((line) => line.namespace)) await ipBatch(namespace, [text])
  await ipBatch(
    undefined,
    lines.filter((line) => !line.namespace).map((line) => line.text),
  )
}

async function interfaceNames(host: Host): Promise<Set<string>> {
  const text = await demand({}, ['ip', '-n', host.namespace, '-j', 'link', 'show'])
  return new Set((JSON.parse(text) as { ifname: string }[]).map((row) => row.ifname))
}

async function configureHost(plan: AddressPlan, host: Host, hasAgents: boolean): Promise<void> {
  const ends = plan.links.flatMap((link) =>
    [link.upper, link.lower]
      .filter((end) => end.host === host.name)
      .map((end) => ({
        ...end,
        families: link.families,
        mtu: link.mtu,
        isTorEnd: link.kind === 'node-tor' && end === link.upper,
      })),
  )
  await ipBatch(host.namespace, [
    'link set lo up',
    ...ends.flatMap((end) => [
      // Before it is up: the link-local address is made then.
      ...(end.mac === undefined ? [] : [`link set ${end.interface} address ${end.mac}`]),
      ...end.families.map((family) => addressLine(end.address[family], end.interface)),
      `link set ${end.interface} mtu ${end.mtu} up`,
    ]),
    ...nodeLines(plan, host.name, hasAgents),
    ...clientLines(plan, host.name),
  ])
  // Frames that XDP redirects or sends back lose a checksum left to the device and are not segmented: finish both here.
  // A veth takes XDP frames only if its own end runs NAPI, which GRO switches on; nodes' ends get it from XDP itself.
  const lines = ends.map(
    (end) => `ethtool -K ${end.interface} tx off tso off gso off ${end.isTorEnd ? 'gro on' : ''} >/dev/null`,
  )
  await demand({ namespace: host.namespace }, ['/bin/sh', '-ec', lines.join('\n')])
}

/** Behind the agent's, when a fabric is completed. */
const FALLBACK_METRIC = 1024

/** A node: loopback addresses. Without an agent that holds it: a default route over all uplinks that speaks from the loopback. */
function nodeLines(plan: AddressPlan, name: string, hasAgents: boolean): string[] {
  const node = plan.nodes.find((one) => one.name === name)
  if (!node) return []
  const hops = (family: 'ipv4' | 'ipv6'): string =>
    node.uplinks.map((uplink) => `nexthop via ${uplink.peer[family]} dev ${uplink.interface}`).join(' ')
  return node.families.flatMap((family) => {
    const { bits, all } = family === 'ipv4' ? { bits: 32, all: '0.0.0.0/0' } : { bits: 128, all: '::/0' }
    const loopback = node.loopback[family]
    const route = `route replace ${all} src ${loopback} metric ${FALLBACK_METRIC} ${hops(family)}`
    return [addressLine(`${loopback}/${bits}`, 'lo'), ...(hasAgents ? [] : [route])]
  })
}

/** IPv6 addresses come from the plan, so nobody looks for duplicates of them. */
function addressLine(address: string, device: string): string {
  return `address replace ${address} dev ${device}${address.includes(':') ? ' nodad' : ''}`
}

function clientLines(plan: AddressPlan, name: string): string[] {
  const client = plan.clients.find((one) => one.name === name)
  if (!client) return []
  return [`route replace default via ${client.gateway.ipv4}`, `route replace ::/0 via ${client.gateway.ipv6}`]
}
