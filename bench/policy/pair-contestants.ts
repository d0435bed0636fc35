// What stands in the node of a pair bed: Weir, the rule sets of kube-router and of Calico's two netfilter dataplanes, and forwarding alone. Each
// is made of the same objects, and tells how long its kernel took for all of them and for one change.

import type { Policy, PolicyPod } from '../../src/model/policy.ts'
import { policyId } from '../../src/policy/compile/objects.ts'
import { forgetConnections } from '../bed/conntrack.ts'
import { prepareConntrack, timedLong } from '../bed/contestants.ts'
import { type Bed, DEVICES } from '../bed/topology.ts'
import { setName } from '../rivals/calico-chains.ts'
import { calicoIpsetChange, calicoIptablesChange, calicoIptablesFull } from '../rivals/calico-iptables.ts'
import { calicoNftablesChange, calicoNftablesFull, calicoNftSetChange } from '../rivals/calico-nftables.ts'
import {
  addressOf,
  type GuardedNode,
  type GuardedPolicy,
  guardedPolicy,
  PodFinder,
} from '../rivals/guarded.ts'
import { kubeRouterTexts } from '../rivals/kube-router.ts'
import { type Command, NodeShell, type Taken } from './node-shell.ts'
import { DEVICE_PREFIX } from './pair-bed.ts'
import { PairWeir } from './pair-weir.ts'
import { guardedNode, otherName, otherPolicyOf, pairWorld } from './pair-world.ts'

/** One of the objects, as it is from now on. */
export type PairChange =
  /** In place of the one of that name. */
  | { readonly kind: 'policy'; readonly policy: Policy; readonly other: number }
  /** A pod elsewhere with the labels of the peer of policy `other`. */
  | { readonly kind: 'pod'; readonly pod: PolicyPod; readonly isThere: boolean; readonly other: number }

export interface PairContestant {
  readonly title: string
  readonly isPeer: boolean
  readonly bed: Bed
  /** undefined: it knows no policy and lets everything through. */
  readonly others: number | undefined
  /** How long the kernel took to take all there is. */
  readonly loadMs: number
  /** Forgets every connection. */
  forget(): void
  change(change: PairChange): Promise<Taken>
  close(): void | Promise<void>
}

export const WEIR = 'Weir'
export const PLAIN = 'no policy: forwarding alone'
const DEVICE_NAMES = { caller: DEVICES.n0.name, callee: DEVICES.n1.name, chosen: DEVICES.n2.name } as const

export function pairWeir(bed: Bed, others: number): PairContestant {
  const weir = new PairWeir(bed, others)
  return {
    ...{ title: WEIR, isPeer: false, bed, others, loadMs: weir.loadMs },
    forget: () => weir.forget(),
    change: async (change) =>
      weir.change(
        change.kind === 'policy'
          ? { policies: new Map([[policyId(change.policy), change.policy]]) }
          : { pods: new Map([[change.pod.key, change.isThere ? change.pod : undefined]]) },
      ),
    close: () => weir.close(),
  }
}

export function pairPlain(bed: Bed): PairContestant {
  return {
    ...{ title: PLAIN, isPeer: true, bed, others: undefined, loadMs: 0 },
    forget: () => {},
    change: async () => ({ wallMs: 0, cpuMs: 0 }),
    close: () => {},
  }
}

interface Rival {
  readonly title: string
  /** Into empty tables. */
  readonly full: (node: GuardedNode) => Command[]
  /** @param node as it is after the change */
  readonly change: (change: RivalChange, node: GuardedNode) => Command[]
}

type RivalChange =
  | { readonly kind: 'policy'; readonly policy: GuardedPolicy }
  | { readonly kind: 'pod'; readonly set: string; readonly address: string; readonly isThere: boolean }

let syncs = 0
const IPSET_RESTORE = ['ipset', 'restore', '-exist'] as const

/** After whatever changed, everything is read and everything is written. */
export const KUBE_ROUTER: Rival = {
  title: 'kube-router (iptables, ipset)',
  full: (node) => {
    const { sets, rules } = kubeRouterTexts(node, String(syncs++))
    return [
      [IPSET_RESTORE, sets],
      [['iptables-restore'], rules],
    ]
  },
  change: (_change, node) => {
    const { sets, rules } = kubeRouterTexts(node, String(syncs++))
    return [
      [['iptables-save', '--table', 'filter']],
      [['ipset', 'save']],
      [IPSET_RESTORE, sets],
      [['iptables-restore', '--wait', '--table', 'filter'], rules],
    ]
  },
}

export const CALICO_IPTABLES: Rival = {
  title: 'Calico (iptables, ipset)',
  full: (node) => {
    const { sets, rules } = calicoIptablesFull(node, DEVICE_PREFIX)
    return [
      [['ipset', 'restore'], sets],
      [['iptables-restore'], rules],
    ]
  },
  change: (change) =>
    change.kind === 'policy'
      ? [[['iptables-restore', '--noflush', '--wait'], calicoIptablesChange(change.policy)]]
      : [[['ipset', 'restore'], calicoIpsetChange(change.set, change.address, change.isThere)]],
}

export const CALICO_NFTABLES: Rival = {
  title: 'Calico (nftables)',
  full: (node) => [[['nft', '-f', '-'], calicoNftablesFull(node, DEVICE_PREFIX)]],
  change: (change) => [
    [
      ['nft', '-f', '-'],
      change.kind === 'policy'
        ? calicoNftablesChange(change.policy)
        : calicoNftSetChange(change.set, change.address, change.isThere),
    ],
  ],
}

export const RIVALS: readonly Rival[] = [KUBE_ROUTER, CALICO_IPTABLES, CALICO_NFTABLES]

/** Making text is not timed: neither are the rivals' own planners here. */
export async function pairRival(rival: Rival, bed: Bed, others: number): Promise<PairContestant> {
  const world = pairWorld(others)
  const finder = new PodFinder(world)
  let node = guardedNode(world, DEVICE_NAMES, DEVICE_PREFIX)
  let loadMs = 0
  for (const [argv, input = ''] of rival.full(node))
    loadMs += await timedLong(() => bed.runLong('node', argv, input))
  prepareConntrack(bed)
  const shell = new NodeShell(bed)
  return {
    ...{ title: rival.title, isPeer: true, bed, others, loadMs },
    forget: () => forgetConnections(bed),
    change: async (change) => {
      const told =
        change.kind === 'policy'
          ? { kind: change.kind, policy: guardedPolicy(change.policy, finder) }
          : podTold(change, others, finder)
      node = changed(node, change, told)
      const commands = rival.change(told, node)
      return await shell.run(commands)
    },
    close: () => shell.close(),
  }
}

function podTold(
  { pod, isThere, other }: Extract<PairChange, { kind: 'pod' }>,
  others: number,
  finder: PodFinder,
): RivalChange {
  const [rule] = guardedPolicy(otherPolicyOf(other, others), finder).ingress ?? []
  const [peer] = rule?.peers ?? []
  if (!peer) throw new Error(`policy ${other} lets nobody in`)
  return { kind: 'pod', set: setName(peer), address: addressOf(pod), isThere }
}

/** What kube-router's sets are written from. */
function changed(node: GuardedNode, change: PairChange, told: RivalChange): GuardedNode {
  const place = node.policies.findIndex(({ name }) => name === otherName(change.other))
  const before = node.policies[place]
  if (!before) throw new Error(`no policy ${change.other}`)
  const after = told.kind === 'policy' ? told.policy : withPeer(before, told)
  return { ...node, policies: node.policies.with(place, after) }
}

function withPeer(
  policy: GuardedPolicy,
  { address, isThere }: Extract<RivalChange, { kind: 'pod' }>,
): GuardedPolicy {
  const ingress = policy.ingress?.map((rule) => ({
    ...rule,
    peers: rule.peers.map((peer) => ({
      ...peer,
      addresses: isThere ? [...peer.addresses, address] : peer.addresses.filter((other) => other !== address),
    })),
  }))
  return { ...policy, ingress }
}
