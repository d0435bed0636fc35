// What an implementation of NetworkPolicy knows when it writes a node's rule sets: the node's pods, and the policies with their selectors
// resolved to addresses. Read from the same objects that Weir compiles. IPv4.

import { type LabelSelector, selectorMatches } from '../../src/model/label-selector.ts'
import type { DirectionRules, Policy, PolicyPeer, PolicyPod, PolicyWorld } from '../../src/model/policy.ts'

export interface GuardedPod {
  readonly namespace: string
  readonly name: string
  readonly address: string
  /** The node's end of its link. */
  readonly device: string
}

/** Pods that one item of a rule's `from` or `to` selects. */
export interface GuardedPeer {
  /** Equal for equal selectors: they may share a set of addresses. */
  readonly selector: string
  readonly addresses: readonly string[]
}

export interface GuardedPort {
  readonly protocol: 'tcp' | 'udp'
  readonly port: number
}

export interface GuardedRule {
  readonly peers: readonly GuardedPeer[]
  /** Empty: every protocol and port. */
  readonly ports: readonly GuardedPort[]
}

export interface GuardedPolicy {
  readonly namespace: string
  readonly name: string
  /** Equal for policies that select the same pods by the same words. */
  readonly selector: string
  /** The pods it selects. */
  readonly addresses: readonly string[]
  /** undefined: it says nothing about that direction. */
  readonly ingress: readonly GuardedRule[] | undefined
  readonly egress: readonly GuardedRule[] | undefined
}

export interface GuardedNode {
  /** In the order in which rules are written for them. */
  readonly pods: readonly GuardedPod[]
  readonly policies: readonly GuardedPolicy[]
}

/** What the texts hand over: `ipset restore`'s, and that of `iptables-restore`. */
export interface RestoreTexts {
  readonly sets: string
  readonly rules: string
}

type PodPeer = Extract<PolicyPeer, { kind: 'pods' }>

/** Finds pods by selectors as they are usual, which ask for a label's value: without a look at every pod. */
export class PodFinder {
  readonly #world: PolicyWorld
  readonly #byLabel = new Map<string, PolicyPod[]>()

  constructor(world: PolicyWorld) {
    this.#world = world
    for (const pod of world.pods)
      for (const [key, value] of Object.entries(pod.labels)) {
        const name = `${key}=${value}`
        const known = this.#byLabel.get(name)
        if (known) known.push(pod)
        else this.#byLabel.set(name, [pod])
      }
  }

  find({ namespaces, pods }: Pick<PodPeer, 'namespaces' | 'pods'>): PolicyPod[] {
    return this.#candidates(pods).filter(
      (pod) =>
        selectorMatches(pods, pod.labels) &&
        selectorMatches(namespaces, this.#world.namespaces.get(pod.namespace) ?? {}),
    )
  }

  #candidates({ requirements }: LabelSelector): readonly PolicyPod[] {
    const asked = requirements.find(({ operator, values }) => operator === 'In' && values.length === 1)
    return asked ? (this.#byLabel.get(`${asked.key}=${asked.values[0]}`) ?? []) : this.#world.pods
  }
}

/** @throws for what only Weir is asked to do here */
export function guardedPolicy(policy: Policy, finder: PodFinder): GuardedPolicy {
  const { key, subject } = policy
  const [namespace = '', name = ''] = key.split('/')
  if (subject.kind !== 'pods' || policy.tier !== 'normal') throw new Error(`${key} is no NetworkPolicy`)
  return {
    ...{ namespace, name, selector: selectorText(subject) },
    addresses: finder.find(subject).map(addressOf),
    ingress: policy.ingress && guardedRules(policy.ingress, finder, key),
    egress: policy.egress && guardedRules(policy.egress, finder, key),
  }
}

function guardedRules({ rules }: DirectionRules, finder: PodFinder, key: string): GuardedRule[] {
  return rules.map(({ action, peers, ports, path }) => {
    const unknown = () => new Error(`${key}, ${path}: rule sets are written for pods and single ports alone`)
    if (action !== 'allow' || peers === 'any') throw unknown()
    return {
      peers: peers.map((peer) => {
        if (peer.kind !== 'pods') throw unknown()
        return { selector: selectorText(peer), addresses: finder.find(peer).map(addressOf) }
      }),
      ports:
        ports === 'any'
          ? []
          : ports.map((port) => {
              if (port.kind !== 'ports' || port.first !== port.last || port.protocol === 'sctp')
                throw unknown()
              return { protocol: port.protocol, port: port.first }
            }),
    }
  })
}

/** The first IPv4 one. */
export function addressOf({ key, addresses }: PolicyPod): string {
  const found = addresses.find((address) => !address.includes(':'))
  if (found === undefined) throw new Error(`${key} has no IPv4 address`)
  return found
}

function selectorText({ namespaces, pods }: Pick<PodPeer, 'namespaces' | 'pods'>): string {
  return JSON.stringify([namespaces.requirements, pods.requirements])
}
