// Faults on cables: cut (carrier lost at both ends) or blackholed (frames vanish, carrier stays), and back.
//
// Both are done at the upper end, the router's: a node's own interface carries the agent's XDP program and static
// routes, which a fault on a cable must not touch. A router's connected routes come back with the link by themselves,
// IPv6 addresses too (keep_addr_on_down).
//
// A blackhole is a tc filter on that end in both directions. It also stops frames that a node's XDP program sends:
// they arrive at the router's end like any other. It swallows ("stolen") rather than drops, because a drop at egress
// is reported to the sending socket, and a broken fibre reports nothing.

import { nearMatches } from '../model/near-matches.ts'
import type { AddressPlan, LinkEnd, LinkPlan } from './address-plan.ts'
import { demand, type Host, ipBatch, runAt } from './host.ts'
import { RackError } from './rack-error.ts'

export type LinkState = 'up' | 'broken' | 'blackholed' | 'missing'

/** Classic BPF, one instruction: return TC_ACT_STOLEN. Needs no action module, unlike `matchall action drop`. */
const SWALLOW = '1,6 0 0 4'

/** A link's names: `node2:to-tor1` from its lower end, `tor1:to-node2` from its upper. */
export function linkName(end: LinkEnd): string {
  return `${end.host}:${end.interface}`
}

/** Finds a link by either of its names. */
export function findLink(plan: AddressPlan, name: string): LinkPlan {
  const found = plan.links.find((link) => name === linkName(link.lower) || name === linkName(link.upper))
  if (found) return found
  const names = plan.links.flatMap((link) => [linkName(link.lower), linkName(link.upper)])
  const near = nearMatches(name, names)
  const mend = near.length > 0 ? `did you mean ${near.join(' or ')}?` : `one of ${names.join(', ')}`
  throw new RackError('unknown-link', `the rack has no link '${name}'`, mend.replace(/\?$/, ''))
}

/** A link, or all of a host's: a whole router. */
export function findLinks(plan: AddressPlan, name: string): readonly LinkPlan[] {
  const ofHost = plan.links.filter(({ upper, lower }) => upper.host === name || lower.host === name)
  return ofHost.length > 0 ? ofHost : [findLink(plan, name)]
}

export async function cutLink(link: LinkPlan, host: (name: string) => Host): Promise<void> {
  await healLink(link, host)
  await ipBatch(host(link.upper.host).namespace, [`link set ${link.upper.interface} down`])
}

export async function blackholeLink(link: LinkPlan, host: (name: string) => Host): Promise<void> {
  await healLink(link, host)
  const namespace = host(link.upper.host).namespace
  const device = link.upper.interface
  const filters = ['ingress', 'egress'].map(
    (direction) => `filter add dev ${device} ${direction} bpf bytecode "${SWALLOW}" da`,
  )
  // In one process: both directions die within a millisecond.
  await tcBatch(namespace, [`qdisc add dev ${device} clsact`, ...filters])
}

/** Undoes both faults; fine on a sound link. */
export async function healLink(link: LinkPlan, host: (name: string) => Host): Promise<void> {
  const namespace = host(link.upper.host).namespace
  // Fails when there is no such qdisc, which is what is wanted.
  await runAt({}, ['tc', '-n', namespace, 'qdisc', 'del', 'dev', link.upper.interface, 'clsact'])
  await ipBatch(namespace, [`link set ${link.upper.interface} up`])
}

async function tcBatch(namespace: string, lines: readonly string[]): Promise<void> {
  await demand({}, ['tc', '-n', namespace, '-batch', '-'], { input: `${lines.join('\n')}\n` })
}

/** The state of every link as the kernel has it, in the plan's order. */
export async function linkStates(
  plan: AddressPlan,
  host: (name: string) => Host,
): Promise<{ link: LinkPlan; state: LinkState }[]> {
  const hosts = [...new Set(plan.links.map((link) => link.upper.host))]
  const seen = new Map(
    await Promise.all(hosts.map(async (name) => [name, await endStates(host(name))] as const)),
  )
  return plan.links.map((link) => ({
    link,
    state: seen.get(link.upper.host)?.get(link.upper.interface) ?? 'missing',
  }))
}

async function endStates(host: Host): Promise<Map<string, LinkState>> {
  const [links, qdiscs] = await Promise.all([
    runAt({}, ['ip', '-n', host.namespace, '-j', 'link', 'show']),
    runAt({}, ['tc', '-n', host.namespace, '-j', 'qdisc', 'show']),
  ])
  if (links.status !== 0 || qdiscs.status !== 0) return new Map()
  const swallowed = new Set(
    (JSON.parse(qdiscs.stdout) as { kind: string; dev: string }[])
      .filter((row) => row.kind === 'clsact')
      .map((row) => row.dev),
  )
  const rows = JSON.parse(links.stdout) as { ifname: string; flags: string[] }[]
  return new Map(
    rows.map((row): [string, LinkState] => {
      if (!row.flags.includes('UP') || !row.flags.includes('LOWER_UP')) return [row.ifname, 'broken']
      return [row.ifname, swallowed.has(row.ifname) ? 'blackholed' : 'up']
    }),
  )
}
