// Changes of the cluster as their users make them, each with a question to the kernel that must be answered otherwise afterwards. Pure.

import type { PolicyQuestion } from '../../src/datapath/policy-lookup.ts'
import type { Address } from '../../src/model/address.ts'
import type { ObjectRequest } from '../control/api-process.ts'
import {
  CLUSTER_POLICIES,
  CLUSTER_POLICIES_PATH,
  callersPod,
  clusterPolicyObject,
  isOfPods,
  NAMESPACES,
  namespaceName,
  namespaceObject,
  networkPoliciesPath,
  networkPolicyObject,
  type PolicyClusterSize,
  podAddress,
  podObject,
  podsPath,
  TEAMS,
} from './objects.ts'

/** What ends the wait: verdicts that change, or an address that gets or loses its identity. */
export type Awaited = 'verdicts' | { readonly address: Address; readonly isThere: boolean }

export interface Change {
  /** What it begins with, and is not measured: a pod has no address when it is made. */
  readonly prepare?: ObjectRequest
  readonly request: ObjectRequest
  readonly question: PolicyQuestion
  readonly awaited: Awaited
}

export interface ChangeKind {
  readonly name: string
  /** Of a round, besides those that only warm it up. */
  readonly count: number
  /** Change number `index` of its kind; they must be made in order. */
  make(index: number): Change
}

const replace = (path: string, part: string, value: unknown): ObjectRequest => ({
  ...{ method: 'PATCH', path },
  body: [{ op: 'replace', path: part, value }],
})
const addressOf = (index: number) => podAddress(index) as Address
const VARIANTS = 7

function ask(subject: number, peer: number, port: number): PolicyQuestion {
  return {
    ...{ direction: 'ingress', protocol: 'tcp', port, isFromHost: false },
    ...{ subject: addressOf(subject), peer: addressOf(peer) },
  }
}

/** Of the node that is looked at, so that there is something to write for each. */
function policiesHere({ policies, podsPerNode }: PolicyClusterSize): number[] {
  return Array.from({ length: policies - CLUSTER_POLICIES }, (_, index) => index).filter((index) =>
    isOfPods(index, podsPerNode),
  )
}

/** Its ingress lets the pods of one app in, at a port that no other policy names. */
function aboutPolicy(index: number, variant: number): PolicyQuestion {
  return ask(index % NAMESPACES, callersPod(index), 8000 + variant)
}

function ports(size: PolicyClusterSize, count: number): ChangeKind {
  const here = policiesHere(size)
  return {
    name: 'a port of a NetworkPolicy',
    count,
    make: (index) => {
      const policy = here[index % here.length] ?? 0
      const variant = 1 + (Math.floor(index / here.length) % VARIANTS)
      const { metadata, spec } = networkPolicyObject(policy, variant) as unknown as Parts
      const path = `${networkPoliciesPath(namespaceName(policy))}/${metadata.name}`
      return {
        ...{ request: replace(path, '/spec', spec), awaited: 'verdicts' },
        question: aboutPolicy(policy, variant),
      }
    },
  }
}

interface Parts {
  readonly metadata: { readonly name: string; readonly labels?: object }
  readonly spec: object
}

/** The variant is one that `ports` does not come to, so nothing depends on what was before. */
function comings(size: PolicyClusterSize, count: number): ChangeKind {
  const here = policiesHere(size)
  return {
    name: 'a NetworkPolicy made, or deleted',
    count,
    make: (index) => {
      const policy = here[Math.floor(index / 2) % here.length] ?? 0
      const collection = networkPoliciesPath(namespaceName(policy))
      const object = networkPolicyObject(policy, VARIANTS + 1)
      const name = `second-${policy}`
      const metadata = { ...object.metadata, name }
      const request: ObjectRequest =
        index % 2 === 0
          ? { method: 'POST', path: collection, body: { ...object, metadata } }
          : { method: 'DELETE', path: `${collection}/${name}` }
      return { request, question: aboutPolicy(policy, VARIANTS + 1), awaited: 'verdicts' }
    },
  }
}

/** Over every pod of the cluster: all sets of the node change, and the rows of a third of a team's pods in each. */
function clusterWide(count: number): ChangeKind {
  return {
    name: 'a port of a ClusterNetworkPolicy over all pods',
    count,
    make: (index) => {
      const policy = index % CLUSTER_POLICIES
      const variant = (turn: number) => 1 + (turn % VARIANTS)
      const turn = Math.floor(index / CLUSTER_POLICIES)
      const { metadata, spec } = clusterPolicyObject(policy, variant(turn)) as unknown as Parts
      const before = turn === 0 ? 0 : variant(turn - 1)
      // Of the team's namespace that has its number, an app of the tier that it speaks of.
      const peer = 5 * NAMESPACES + policy
      return {
        ...{
          request: replace(`${CLUSTER_POLICIES_PATH}/${metadata.name}`, '/spec', spec),
          awaited: 'verdicts',
        },
        question: ask(0, peer, 23 + Math.max(before, variant(turn))),
      }
    },
  }
}

function podsElsewhere(size: PolicyClusterSize, count: number): ChangeKind {
  return {
    name: 'a pod of another node started, or gone',
    count,
    make: (index) => {
      const pod = size.identities + 1 + Math.floor(index / 2)
      const object = podObject(pod, size, 1)
      const path = podsPath(namespaceName(pod))
      const isThere = index % 2 === 0
      const own = `${path}/${object.metadata.name}`
      const awaited = { address: addressOf(pod), isThere }
      const question = ask(pod % NAMESPACES, pod, 80)
      if (!isThere)
        return { request: { method: 'DELETE', path: `${own}?gracePeriodSeconds=0` }, question, awaited }
      const prepare: ObjectRequest = { method: 'POST', path, body: object }
      return { prepare, request: replace(`${own}/status`, '/status', object['status']), question, awaited }
    },
  }
}

function namespaceLabels(count: number): ChangeKind {
  return {
    name: 'labels of a namespace of 100 pods',
    count,
    make: (index) => {
      const namespace = index % NAMESPACES
      const team = (namespace + 1 + Math.floor(index / NAMESPACES)) % TEAMS
      const { metadata } = namespaceObject(namespace, team) as unknown as Parts
      return {
        request: replace(`/api/v1/namespaces/${metadata.name}`, '/metadata/labels', metadata.labels),
        question: ask(0, 5 * NAMESPACES + namespace, 22),
        awaited: 'verdicts',
      }
    },
  }
}

/** In this order: the last one moves the namespaces to other teams, of which those before speak. */
export function changeKinds(size: PolicyClusterSize, count: number): ChangeKind[] {
  return [
    ports(size, count * 2),
    comings(size, count),
    clusterWide(count),
    podsElsewhere(size, count),
    namespaceLabels(count),
  ]
}
