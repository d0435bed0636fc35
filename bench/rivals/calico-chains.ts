// The chains that Calico's Felix writes for the pods of a node, apart from how they are told to the kernel: calico-iptables.ts and
// calico-nftables.ts write them down.
//
// After felix/rules of Calico 3.30 (static.go: StaticFilterForwardChains; dispatch.go; endpoints.go: endpointIptablesChain,
// PolicyGroupToIptablesChains; policy.go) and the expectations of its tests. A forwarded packet's way:
//
//   FORWARD → cali-FORWARD
//     → from-wl-dispatch → cali-fw-…   of the sender's device: what conntrack knows is accepted, for both at once
//         → cali-po-…, or by way of cali-go-… where several policies select the same pods: the first that allows marks the packet
//         without the mark: dropped
//     → to-wl-dispatch → cali-tw-…     the same of the receiver's device, by cali-pi-… and cali-gi-…
//   → accepted by the mark
//
// There is a set of addresses for each selector of peers, shared by all rules that use it. Left out, though Felix writes them: its rules in
// the tables raw, mangle and nat, and what concerns the host's own traffic.

import { createHash } from 'node:crypto'
import type { GuardedNode, GuardedPeer, GuardedPod, GuardedPolicy, GuardedRule } from './guarded.ts'

export const MARK = { accept: 0x10000, pass: 0x20000, all: 0xf0000 } as const

/** What a packet must be; all of it. */
export interface Match {
  readonly state?: 'established' | 'invalid'
  readonly inDevice?: string
  readonly outDevice?: string
  readonly protocol?: 'tcp' | 'udp' | 'ipencap'
  readonly ports?: readonly number[]
  readonly sourceSet?: string
  readonly destinationSet?: string
  /** Bits of the mark: all clear, all set, not all clear. */
  readonly clear?: number
  readonly set?: number
  readonly some?: number
}

export type Action =
  | 'accept'
  | 'drop'
  | 'return'
  | { readonly jump: string }
  | { readonly goto: string }
  | { readonly setMark: number }
  | { readonly clearMark: number }

export interface Rule {
  readonly match: Match
  readonly action: Action
  readonly comment?: string
}

export interface Chain {
  readonly name: string
  readonly rules: readonly Rule[]
}

export type Way = 'from' | 'to'
const WAYS: readonly Way[] = ['from', 'to']
const DIRECTIONS = { from: 'egress', to: 'ingress' } as const
const LETTERS = {
  from: { endpoint: 'fw', policy: 'po', group: 'go', profile: 'pro' },
  to: { endpoint: 'tw', policy: 'pi', group: 'gi', profile: 'pri' },
} as const
/** In a group, after so many jumps it is looked whether one has decided. */
const RETURN_STRIDE = 5
const VXLAN_PORT = 4789

const hash = (text: string, length: number) =>
  createHash('sha256').update(text).digest('base64url').slice(0, length)

export const setName = ({ selector }: GuardedPeer) => `cali40s:${hash(selector, 22)}`
/** What Felix puts in a rule's comment, by which it knows its rules again. */
export const ruleHash = (chain: string, place: number) => `cali:${hash(`${chain} ${place}`, 16)}`

export const endpointChain = (way: Way, { device }: GuardedPod) => `cali-${LETTERS[way].endpoint}-${device}`
/** `_`: shortened to 28 characters, as names of several parts always are. */
const policyChain = (way: Way, { namespace, name }: GuardedPolicy) =>
  `cali-${LETTERS[way].policy}-_${hash(`knp.default.${namespace}/${name}`, 18)}`
export const dispatchChain = (way: Way) => `cali-${way}-wl-dispatch`

/** The sets of addresses that any rule asks for, each once. */
export function addressSets(policies: Iterable<GuardedPolicy>): Map<string, readonly string[]> {
  const sets = new Map<string, readonly string[]>()
  for (const { ingress = [], egress = [] } of policies)
    for (const { peers } of [...ingress, ...egress])
      for (const peer of peers) sets.set(setName(peer), peer.addresses)
  return sets
}

/** A policy's own: what is written anew when its rules change. */
export function policyChains(policy: GuardedPolicy): Chain[] {
  return WAYS.flatMap((way) => {
    const rules = policy[DIRECTIONS[way]]
    return rules
      ? [
          {
            name: policyChain(way, policy),
            rules: withoutLastReturn(rules.flatMap((rule) => allow(rule, way))),
          },
        ]
      : []
  })
}

/** One for each peer and protocol, in two steps: the mark, and back. */
function allow({ peers, ports }: GuardedRule, way: Way): Rule[] {
  const protocols = [...new Set(ports.map(({ protocol }) => protocol))]
  const kinds: Match[] =
    ports.length === 0
      ? [{}]
      : protocols.map((protocol) => ({
          protocol,
          ports: ports.filter((port) => port.protocol === protocol).map(({ port }) => port),
        }))
  return kinds.flatMap((kind) =>
    peers.flatMap((peer): Rule[] => {
      const set = way === 'to' ? { sourceSet: setName(peer) } : { destinationSet: setName(peer) }
      return [
        { match: { ...kind, ...set }, action: { setMark: MARK.accept } },
        { match: { set: MARK.accept }, action: 'return' },
      ]
    }),
  )
}

function withoutLastReturn(rules: readonly Rule[]): readonly Rule[] {
  return rules.at(-1)?.action === 'return' ? rules.slice(0, -1) : rules
}

/** Policies one after the other that select pods by the same words. */
interface Group {
  readonly selector: string
  readonly policies: GuardedPolicy[]
}

function groupsOf(policies: readonly GuardedPolicy[], way: Way): Group[] {
  const groups: Group[] = []
  for (const policy of policies) {
    if (!policy[DIRECTIONS[way]]) continue
    const last = groups.at(-1)
    if (last?.selector === policy.selector) last.policies.push(policy)
    else groups.push({ selector: policy.selector, policies: [policy] })
  }
  return groups
}

/** One policy needs no chain in between. */
function groupTarget({ selector, policies }: Group, way: Way): string {
  const [only] = policies
  if (only && policies.length === 1) return policyChain(way, only)
  const names = policies.map(({ namespace, name }) => `${namespace}/${name}`)
  return `cali-${LETTERS[way].group}-${hash(`${selector} ${names.join(' ')}`, 16)}`
}

function groupChain(group: Group, way: Way): Chain {
  const decided = MARK.accept | MARK.pass
  const rules = group.policies.flatMap((policy, index): Rule[] => {
    const isFirst = index % RETURN_STRIDE === 0
    const jump: Rule = {
      match: isFirst ? {} : { clear: decided },
      action: { jump: policyChain(way, policy) },
    }
    if (index === 0 || !isFirst) return [jump]
    return [{ match: { some: decided }, action: 'return', comment: 'Return on verdict' }, jump]
  })
  return { name: groupTarget(group, way), rules }
}

const conntrackRules: readonly Rule[] = [
  { match: { state: 'established' }, action: 'accept' },
  { match: { state: 'invalid' }, action: 'drop' },
]

function endpoint(pod: GuardedPod, groups: readonly Group[], way: Way): Chain {
  const isAccepted: Rule = {
    match: { set: MARK.accept },
    action: 'return',
    comment: 'Return if policy accepted',
  }
  const tunnels: Rule[] = [
    {
      match: { protocol: 'udp', ports: [VXLAN_PORT] },
      action: 'drop',
      comment: 'Drop VXLAN encapped packets originating in workloads',
    },
    {
      match: { protocol: 'ipencap' },
      action: 'drop',
      comment: 'Drop IPinIP encapped packets originating in workloads',
    },
  ]
  const tier: Rule[] = [
    { match: {}, action: { clearMark: MARK.pass }, comment: 'Start of tier default' },
    ...groups.flatMap((group) => [
      { match: { clear: MARK.pass }, action: { jump: groupTarget(group, way) } },
      isAccepted,
    ]),
    {
      match: { clear: MARK.pass },
      action: 'drop',
      comment: 'End of tier default. Drop if no policies passed packet',
    },
  ]
  const profile = { jump: profileChain(way, pod) }
  return {
    name: endpointChain(way, pod),
    rules: [
      ...conntrackRules,
      { match: {}, action: { clearMark: MARK.accept | MARK.pass } },
      ...(way === 'from' ? tunnels : []),
      ...(groups.length > 0 ? tier : []),
      { match: {}, action: profile },
      { ...isAccepted, comment: 'Return if profile accepted' },
      { match: {}, action: 'drop', comment: 'Drop if no profiles matched' },
    ],
  }
}

/** A namespace's profile allows everything: it counts for pods that no policy selects. */
const profileChain = (way: Way, { namespace }: Pick<GuardedPod, 'namespace'>) =>
  `cali-${LETTERS[way].profile}-kns.${namespace}`

/** Endpoints, groups, policies, profiles. */
export function podChains({ pods, policies }: GuardedNode): Chain[] {
  const ofPod = new Map<string, GuardedPolicy[]>(pods.map(({ address }) => [address, []]))
  for (const policy of policies) for (const address of policy.addresses) ofPod.get(address)?.push(policy)
  const chains = new Map<string, Chain>()
  const add = (chain: Chain) => chains.set(chain.name, chain)
  for (const policy of policies) policyChains(policy).forEach(add)
  for (const pod of pods)
    for (const way of WAYS) {
      const groups = groupsOf(ofPod.get(pod.address) ?? [], way)
      for (const group of groups) if (group.policies.length > 1) add(groupChain(group, way))
      add(endpoint(pod, groups, way))
      add({ name: profileChain(way, pod), rules: [{ match: {}, action: { setMark: MARK.accept } }] })
    }
  return [...chains.values()]
}

/** @param prefix that all pods' devices have, and no others (Felix's InterfacePrefix) */
export function forwardChains(prefix: string): Chain[] {
  const empty = ['cali-from-hep-forward', 'cali-to-hep-forward', 'cali-cidr-block']
  return [
    {
      name: 'cali-FORWARD',
      rules: [
        { match: {}, action: { clearMark: MARK.all & ~MARK.accept } },
        { match: { clear: MARK.accept }, action: { jump: 'cali-from-hep-forward' } },
        { match: { inDevice: `${prefix}*` }, action: { jump: dispatchChain('from') } },
        { match: { outDevice: `${prefix}*` }, action: { jump: dispatchChain('to') } },
        { match: {}, action: { jump: 'cali-to-hep-forward' } },
        { match: {}, action: { jump: 'cali-cidr-block' } },
      ],
    },
    ...empty.map((name) => ({ name, rules: [] })),
  ]
}

/** Of the chain FORWARD itself. */
export const FORWARD_RULES: readonly Rule[] = [
  { match: {}, action: { jump: 'cali-FORWARD' } },
  { match: { set: MARK.accept }, action: 'accept', comment: 'Policy explicitly accepted packet.' },
  { match: {}, action: { setMark: MARK.accept } },
]

/** How a packet finds its device's chain by rules: in two steps, by the first letter behind what all names begin with. */
export function dispatchChains(pods: readonly GuardedPod[], way: Way, prefix: string): Chain[] {
  const byLetter = new Map<string, GuardedPod[]>()
  for (const pod of [...pods].sort((a, b) => (a.device < b.device ? -1 : 1))) {
    const start = pod.device.slice(0, prefix.length + 1)
    byLetter.set(start, [...(byLetter.get(start) ?? []), pod])
  }
  const device = (name: string): Match => (way === 'from' ? { inDevice: name } : { outDevice: name })
  const unknown: Rule = { match: {}, action: 'drop', comment: 'Unknown interface' }
  const lead = (pod: GuardedPod): Rule => ({
    match: device(pod.device),
    action: { goto: endpointChain(way, pod) },
  })
  const children: Chain[] = []
  const root = [...byLetter].map(([start, members]): Rule => {
    const [only] = members
    if (only && members.length === 1) return lead(only)
    const name = `${dispatchChain(way)}-${start.slice(prefix.length)}`
    children.push({ name, rules: [...members.map(lead), unknown] })
    return { match: device(`${start}*`), action: { goto: name } }
  })
  return [...children, { name: dispatchChain(way), rules: [...root, unknown] }]
}

export const hex = (value: number) => `0x${value.toString(16)}`

export const lines = (list: readonly string[]) => `${list.join('\n')}\n`
