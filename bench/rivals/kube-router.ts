// The rules that kube-router's network policy controller writes, as text for `ipset restore` and `iptables-restore`.
//
// After pkg/controllers/netpol of kube-router 2.x (npc_iptables.go, policy.go, pod.go) and pkg/utils/ipset.go. A forwarded packet's way:
//
//   filter FORWARD → KUBE-ROUTER-FORWARD, four rules a pod of the node, in a row: its address as destination and as source, routed or bridged
//     → KUBE-POD-FW-…            of the sender, then of the receiver
//         → KUBE-NWPLCY-COMMON   what conntrack knows is accepted, for both at once
//         → KUBE-NWPLCY-…        a policy that selects the pod, one after the other: marks what it allows, by two sets of addresses
//         without the mark: logged and rejected
//   → accepted by a second mark
//
// A policy has a set for the pods it selects in each direction, and one for each rule's peers. Names of chains carry the sync's version, so
// a sync after any change writes everything anew. kube-router writes pods and policies in the order of a Go map, which is none; here they
// come in the given order, and who measures places those it uses in the middle.

import type { GuardedNode, GuardedPod, GuardedPolicy, GuardedRule, RestoreTexts } from './guarded.ts'
import { chainHash } from './hash.ts'

const HASH_LENGTH = 16
const SET_OPTIONS = 'hash:ip family inet hashsize 1024 maxelem 65536 timeout 0'
const TEMPORARY_SET = 'TMP-7O5XVWY2JRA4GJRS'
const MATCHED = '0x10000/0x10000'
const COMPLIES = '0x20000/0x20000'
const TOP_CHAINS = ['INPUT', 'FORWARD', 'OUTPUT'] as const

interface NamedSet {
  readonly name: string
  readonly addresses: readonly string[]
}

const hash = (text: string) => chainHash(text, HASH_LENGTH)
const policyChain = ({ namespace, name }: GuardedPolicy, version: string) =>
  `KUBE-NWPLCY-${hash(`${namespace}${name}${version}IPv4`)}`
const podChain = ({ namespace, name }: GuardedPod, version: string) =>
  `KUBE-POD-FW-${hash(`${namespace}${name}${version}`)}`
const comment = (text: string) => `-m comment --comment "${text}"`

/** The set of a policy's pods, as destination or source. */
const podsSet = ({ namespace, name }: GuardedPolicy, side: 'SRC' | 'DST') =>
  `KUBE-${side}-${hash(`${namespace}${name}IPv4`)}`

function peersSet({ namespace, name }: GuardedPolicy, direction: 'ingress' | 'egress', rule: number): string {
  const side = direction === 'ingress' ? 'SRC' : 'DST'
  return `KUBE-${side}-${hash(`${namespace}${name}${direction}rule${rule}IPv4pod`)}`
}

/** @param version of the sync; no two have the same */
export function kubeRouterTexts(node: GuardedNode, version: string): RestoreTexts {
  return { sets: setsText(node), rules: rulesText(node, version) }
}

/** For `ipset restore -exist`: each set is filled beside the one in use and takes its place. */
function setsText({ policies }: GuardedNode): string {
  return [
    `create ${TEMPORARY_SET} ${SET_OPTIONS}`,
    `flush ${TEMPORARY_SET}`,
    ...policies
      .flatMap(setsOf)
      .flatMap(({ name, addresses }) => [
        `create ${name} ${SET_OPTIONS}`,
        ...addresses.map((address) => `add ${TEMPORARY_SET} ${address} timeout 0`),
        `swap ${TEMPORARY_SET} ${name}`,
        `flush ${TEMPORARY_SET}`,
      ]),
    `destroy ${TEMPORARY_SET}`,
    '',
  ].join('\n')
}

function setsOf(policy: GuardedPolicy): NamedSet[] {
  const { addresses, ingress, egress } = policy
  const ofPeers = (direction: 'ingress' | 'egress', rules: readonly GuardedRule[]) =>
    rules.map(({ peers }, index) => ({
      name: peersSet(policy, direction, index),
      addresses: [...new Set(peers.flatMap((peer) => peer.addresses))],
    }))
  return [
    ...(ingress ? [{ name: podsSet(policy, 'DST'), addresses }, ...ofPeers('ingress', ingress)] : []),
    ...(egress ? [{ name: podsSet(policy, 'SRC'), addresses }, ...ofPeers('egress', egress)] : []),
  ]
}

/** For `iptables-restore`: the whole table. */
function rulesText({ pods, policies }: GuardedNode, version: string): string {
  const ofPod = new Map<string, GuardedPolicy[]>(pods.map(({ address }) => [address, []]))
  for (const policy of policies) for (const address of policy.addresses) ofPod.get(address)?.push(policy)
  const chains = [
    ...TOP_CHAINS.map((chain) => `KUBE-ROUTER-${chain}`),
    ...['KUBE-NWPLCY-COMMON', 'KUBE-NWPLCY-DEFAULT'],
    ...policies.map((policy) => policyChain(policy, version)),
    ...pods.map((pod) => podChain(pod, version)),
  ]
  return [
    '*filter',
    ...chains.map((chain) => `:${chain} - [0:0]`),
    ...TOP_CHAINS.map((chain) => `-A ${chain} ${comment('kube-router netpol')} -j KUBE-ROUTER-${chain}`),
    ...sharedRules(),
    ...policies.flatMap((policy) => policyRules(policy, policyChain(policy, version))),
    ...pods.flatMap((pod) => podRules(pod, ofPod.get(pod.address) ?? [], version)),
    ...TOP_CHAINS.map(
      (chain) =>
        `-A KUBE-ROUTER-${chain} ${comment('rule to explicitly ACCEPT traffic that comply to network policies')} -m mark --mark ${COMPLIES} -j ACCEPT`,
    ),
    'COMMIT',
    '',
  ].join('\n')
}

function sharedRules(): string[] {
  const common = (text: string, rest: string) => `-A KUBE-NWPLCY-COMMON ${comment(text)} ${rest}`
  return [
    common('rule to drop invalid state for pod', '-m conntrack --ctstate INVALID -j DROP'),
    common('rule for stateful firewall for pod', '-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT'),
    ...['echo-request', 'destination-unreachable', 'time-exceeded'].map((type) =>
      common(`allow icmp ${type} messages`, `-p icmp --icmp-type ${type} -j ACCEPT`),
    ),
    `-A KUBE-NWPLCY-DEFAULT ${comment('rule to mark traffic matching a network policy')} -j MARK --set-xmark ${MATCHED}`,
  ]
}

function policyRules(policy: GuardedPolicy, chain: string): string[] {
  const { namespace, name, ingress = [], egress = [] } = policy
  const text = `rule to ACCEPT traffic from source pods to dest pods selected by policy name ${name} namespace ${namespace}`
  const rules = (from: string, to: string, { ports }: GuardedRule) => {
    const sets = `-m set --match-set ${from} src -m set --match-set ${to} dst`
    const matches =
      ports.length === 0
        ? [sets]
        : ports.map(({ protocol, port }) => `${sets} -p ${protocol} -m ${protocol} --dport ${port}`)
    return matches.flatMap((match) => [
      `-A ${chain} ${comment(text)} ${match} -j MARK --set-xmark ${MATCHED}`,
      `-A ${chain} ${comment(text)} ${match} -m mark --mark ${MATCHED} -j RETURN`,
    ])
  }
  return [
    ...ingress.flatMap((rule, index) =>
      rules(peersSet(policy, 'ingress', index), podsSet(policy, 'DST'), rule),
    ),
    ...egress.flatMap((rule, index) =>
      rules(podsSet(policy, 'SRC'), peersSet(policy, 'egress', index), rule),
    ),
  ]
}

function podRules(pod: GuardedPod, policies: readonly GuardedPolicy[], version: string): string[] {
  const { namespace, name, address } = pod
  const chain = podChain(pod, version)
  const rule = (text: string, rest: string) => `-A ${chain} ${comment(text)} ${rest}`
  const isOpen = (direction: 'ingress' | 'egress') => policies.every((policy) => !policy[direction])
  const of = `POD name:${name} namespace: ${namespace}`
  return [
    rule('rule to apply common network policies', '-j KUBE-NWPLCY-COMMON'),
    rule(
      "rule to permit the traffic traffic to pods when source is the pod's local node",
      `-m addrtype --src-type LOCAL -d ${address} -j ACCEPT`,
    ),
    ...(isOpen('egress')
      ? [rule('run through default egress network policy chain', `-s ${address} -j KUBE-NWPLCY-DEFAULT`)]
      : []),
    ...(isOpen('ingress')
      ? [rule('run through default ingress network policy chain', `-d ${address} -j KUBE-NWPLCY-DEFAULT`)]
      : []),
    ...policies.map((policy) => {
      const only = policy.egress ? '' : `-d ${address} `
      const side = policy.ingress ? only : `-s ${address} `
      return rule(`run through nw policy ${policy.name}`, `${side}-j ${policyChain(policy, version)}`)
    }),
    rule(
      `rule to log dropped traffic ${of}`,
      `-m mark ! --mark ${MATCHED} -m limit --limit 10/minute --limit-burst 10 -j NFLOG --nflog-group 100`,
    ),
    rule(`rule to REJECT traffic destined for ${of}`, `-m mark ! --mark ${MATCHED} -j REJECT`),
    `-A ${chain} -j MARK --set-mark 0/0x10000`,
    rule('set mark to ACCEPT traffic that comply to network policies', `-j MARK --set-mark ${COMPLIES}`),
    ...jumpsTo(chain, of, address),
  ]
}

function jumpsTo(chain: string, of: string, address: string): string[] {
  const to = comment(`rule to jump traffic destined to ${of} to chain ${chain}`)
  const from = comment(`rule to jump traffic from ${of} to chain ${chain}`)
  const bridged = '-m physdev --physdev-is-bridged'
  return [
    `-A KUBE-ROUTER-FORWARD ${to} -d ${address} -j ${chain}`,
    `-A KUBE-ROUTER-OUTPUT ${to} -d ${address} -j ${chain}`,
    `-A KUBE-ROUTER-FORWARD ${bridged} ${to} -d ${address} -j ${chain}`,
    ...TOP_CHAINS.map((top) => `-A KUBE-ROUTER-${top} ${from} -s ${address} -j ${chain}`),
    `-A KUBE-ROUTER-FORWARD ${bridged} ${from} -s ${address} -j ${chain}`,
  ]
}
