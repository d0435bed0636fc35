// The chains of calico-chains.ts as a transaction for `nft -f`, as Felix's nftables dataplane writes them (felix/nftables of Calico 3.30:
// renderer.go, match_builder.go, maps.go): sets of addresses and verdict maps by device in the table itself, a counter in each rule.

import {
  type Action,
  addressSets,
  type Chain,
  dispatchChain,
  endpointChain,
  FORWARD_RULES,
  forwardChains,
  hex,
  lines,
  type Match,
  podChains,
  policyChains,
  type Rule,
  ruleHash,
  type Way,
} from './calico-chains.ts'
import type { GuardedNode, GuardedPolicy } from './guarded.ts'

const TABLE = 'ip calico'
const PROTOCOLS = { tcp: 'tcp', udp: 'udp', ipencap: '4' } as const
/** Chains of all tables of iptables live in one here. */
const layered = (name: string) => `filter-${name}`
const setText = (name: string) => name.replace(':', '-')

/** Everything, in one transaction. */
export function calicoNftablesFull(node: GuardedNode, prefix: string): string {
  const chains = [...podChains(node), ...forwardChains(prefix), ...(['from', 'to'] as const).map(dispatch)]
  return lines([
    `add table ${TABLE}`,
    `add chain ${TABLE} filter-FORWARD { type filter hook forward priority 0 ; policy accept ; }`,
    ...[...addressSets(node.policies)].flatMap(([name, addresses]) => [
      `add set ${TABLE} ${setText(name)} { type ipv4_addr ; flags interval ; }`,
      ...(addresses.length > 0 ? [`add element ${TABLE} ${setText(name)} { ${addresses.join(' , ')} }`] : []),
    ]),
    ...chains.map(({ name }) => `add chain ${TABLE} ${layered(name)}`),
    ...(['from', 'to'] as const).flatMap((way) => [
      `add map ${TABLE} ${layered(dispatchChain(way))} { type ifname : verdict ; }`,
      ...node.pods.map(
        (pod) =>
          `add element ${TABLE} ${layered(dispatchChain(way))} { "${pod.device}" : goto ${layered(endpointChain(way, pod))} }`,
      ),
    ]),
    ...[{ name: 'FORWARD', rules: FORWARD_RULES }, ...chains].flatMap(rulesOf),
  ])
}

/** The chains of a policy whose rules changed. */
export function calicoNftablesChange(policy: GuardedPolicy): string {
  const chains = policyChains(policy)
  return lines([
    ...chains.map(({ name }) => `flush chain ${TABLE} ${layered(name)}`),
    ...chains.flatMap(rulesOf),
  ])
}

/** An address that a selector selects now, or no more. */
export function calicoNftSetChange(set: string, address: string, isThere: boolean): string {
  return lines([`${isThere ? 'add' : 'delete'} element ${TABLE} ${setText(set)} { ${address} }`])
}

/** By one look-up instead of rules; what the map does not know is dropped. */
function dispatch(way: Way): Chain {
  return { name: dispatchChain(way), rules: [{ match: {}, action: 'drop', comment: 'Unknown interface' }] }
}

function rulesOf({ name, rules }: Chain): string[] {
  const chain = `${TABLE} ${layered(name)}`
  const way = (['from', 'to'] as const).find((one) => dispatchChain(one) === name)
  const lead = way && `${way === 'from' ? 'iifname' : 'oifname'} vmap @${layered(name)}`
  return [
    ...(lead === undefined ? [] : [`add rule ${chain} ${lead}`]),
    ...rules.map((rule, place) => `add rule ${chain} ${ruleText(rule, ruleHash(name, place))}`),
  ]
}

function ruleText({ match, action, comment }: Rule, hash: string): string {
  const note = comment === undefined ? `${hash};` : `${hash}; ${comment}`
  return [...matchTexts(match), 'counter', actionText(action), `comment "${note}"`].join(' ')
}

function matchTexts(match: Match): string[] {
  const { state, inDevice, outDevice, protocol, ports, sourceSet, destinationSet, clear, set, some } = match
  return [
    ...(inDevice === undefined ? [] : [`iifname "${inDevice}"`]),
    ...(outDevice === undefined ? [] : [`oifname "${outDevice}"`]),
    ...(state === 'established' ? ['ct state established,related'] : []),
    ...(state === 'invalid' ? ['ct state invalid'] : []),
    ...(clear === undefined ? [] : [`meta mark & ${hex(clear)} == 0`]),
    ...(set === undefined ? [] : [`meta mark & ${hex(set)} == ${hex(set)}`]),
    ...(some === undefined ? [] : [`meta mark & ${hex(some)} != 0`]),
    ...(protocol === undefined ? [] : [`meta l4proto ${PROTOCOLS[protocol]}`]),
    ...(sourceSet === undefined ? [] : [`ip saddr @${setText(sourceSet)}`]),
    ...(destinationSet === undefined ? [] : [`ip daddr @${setText(destinationSet)}`]),
    ...(ports === undefined ? [] : [`th dport { ${ports.join(' , ')} }`]),
  ]
}

function actionText(action: Action): string {
  if (typeof action === 'string') return action
  if ('jump' in action) return `jump ${layered(action.jump)}`
  if ('goto' in action) return `goto ${layered(action.goto)}`
  if ('setMark' in action) return `meta mark set mark or ${hex(action.setMark)}`
  return `meta mark set mark and ${hex((0xffff_ffff & ~action.clearMark) >>> 0)}`
}
