// Who there is, and what policy says, where Weir is measured beside others' rule sets: packets of one pod of a node to two others of it. Pure;
// everything follows from the count. IPv4 and UDP are what is sent.
//
//   caller, callee   two of ten pods that nine policies select in both directions: eight let a role of pods elsewhere in and out at one
//                    port, one lets the ten in and out among themselves and to the others
//   chosen           one of a hundred other pods, which N policies select, in turn: each lets one pod elsewhere in at a port of its own. The
//                    one in the middle of the chosen pod's own lets the ten in instead
//
// So the callee's policies are the same nine however many there are, and of the chosen pod there are N / 100. The node has as many pods as a
// kubelet runs by default. Pods elsewhere: at least 5 000 that policy tells apart.

import type { Address } from '../../src/model/address.ts'
import type { Policy, PolicyPod, PolicyWorld } from '../../src/model/policy.ts'
import { addressIn, PODS_HERE, SELF } from '../packet/cluster.ts'
import { addressOf, type GuardedNode, type GuardedPod, guardedPolicy, PodFinder } from '../rivals/guarded.ts'
import { chainHash } from '../rivals/hash.ts'
import {
  allow,
  CALLERS,
  CLOSED_PORT,
  makePod,
  makePolicy,
  NAMESPACE,
  OPEN_PORT,
  OTHERS_HERE,
  otherElsewhere,
  otherHere,
  otherPort,
  podsOf,
  port,
  ROLES,
  rolePolicy,
  surroundings,
  times,
} from './packet-world.ts'

const MEASURED_HERE = 10
export const PODS_ON_NODE = MEASURED_HERE + OTHERS_HERE
const IDENTITIES = 5000
const MIDDLE_ROLE = (ROLES >> 1) - 1
const DEVICE_PREFIX_LETTERS = 10

/** The pods that have a link: places in the block `podHere`. */
export const PLACES = { caller: 0, callee: 1, chosen: otherHere(0) } as const
export type Linked = keyof typeof PLACES
export const LINKED = Object.keys(PLACES) as Linked[]
export const linkedAddress = (pod: Linked): Address => addressIn('ipv4', 'podHere', PLACES[pod])

/** Of the N, the one that lets the caller in to the chosen pod: in the middle of those that select it. */
export function chosenPolicy(others: number): number {
  const own = Math.ceil(others / OTHERS_HERE)
  return Math.floor(own / 2) * OTHERS_HERE
}

/** A packet of one pod to another, and whether both its ends' policies let it through. */
export interface Connection {
  readonly from: Linked
  readonly to: Linked
  readonly port: number
  readonly isAllowed: boolean
}

export function connections(others: number): Connection[] {
  const chosenPort = otherPort(chosenPolicy(others))
  return [
    { from: 'caller', to: 'callee', port: OPEN_PORT, isAllowed: true },
    { from: 'caller', to: 'callee', port: CLOSED_PORT, isAllowed: false },
    { from: 'callee', to: 'caller', port: OPEN_PORT, isAllowed: true },
    { from: 'callee', to: 'caller', port: CLOSED_PORT, isAllowed: false },
    { from: 'caller', to: 'chosen', port: chosenPort, isAllowed: true },
    { from: 'caller', to: 'chosen', port: CLOSED_PORT, isAllowed: false },
    { from: 'chosen', to: 'caller', port: CLOSED_PORT, isAllowed: false },
    // What the caller's own egress forbids nobody; the callee's ingress knows the chosen pod not.
    { from: 'chosen', to: 'callee', port: OPEN_PORT, isAllowed: false },
  ]
}

const measured = () => podsOf(NAMESPACE.measured, { app: 'measured' })

function ownPolicy(): Policy {
  const ports = [port(OPEN_PORT, 'tcp'), port(OPEN_PORT, 'udp')]
  return makePolicy({
    key: `${NAMESPACE.measured}/role-${MIDDLE_ROLE}-own`,
    subject: measured(),
    ingress: [allow('spec.ingress[0]', [measured()], ports)],
    egress: [
      allow('spec.egress[0]', [measured()], ports),
      allow('spec.egress[1]', [podsOf(NAMESPACE.others, { where: 'here' })], 'any'),
    ],
  })
}

export const otherName = (other: number) => `other-${String(other).padStart(5, '0')}`

/** @param at the port; undefined: its own */
export function otherPolicyOf(other: number, others: number, at = otherPort(other)): Policy {
  const isChosen = other === chosenPolicy(others)
  const peers = [isChosen ? measured() : podsOf(NAMESPACE.others, { who: `there-${other}` })]
  return makePolicy({
    key: `${NAMESPACE.others}/${otherName(other)}`,
    subject: podsOf(NAMESPACE.others, { who: `here-${other % OTHERS_HERE}` }),
    ingress: [allow('spec.ingress[0]', peers, [port(at, 'udp')])],
    egress: undefined,
  })
}

/** A pod elsewhere that policy tells apart; of the first N there is a policy each. */
export function elsewherePod(number: number, who = number): PolicyPod {
  const place = otherElsewhere(number)
  return makePod('podElsewhere', place, NAMESPACE.others, { who: `there-${who}`, where: 'elsewhere' })
}

export const elsewhereCount = (others: number) => Math.max(others, IDENTITIES)

export function pairWorld(others: number): PolicyWorld {
  return {
    policies: [
      // In the order of their names, by which Calico asks them. What lets the measured packets through is in the middle.
      ...times(ROLES, rolePolicy).toSpliced(MIDDLE_ROLE + 1, 0, ownPolicy()),
      ...times(others, (other) => otherPolicyOf(other, others)),
    ],
    pods: [
      ...podsHere(),
      ...times(CALLERS, (place) =>
        makePod('podElsewhere', place, NAMESPACE.callers, { role: `role-${place % ROLES}` }),
      ),
      ...times(elsewhereCount(others), (number) => elsewherePod(number)),
    ],
    ...surroundings(),
  }
}

function podsHere(): PolicyPod[] {
  return [
    ...times(MEASURED_HERE, (place) => makePod('podHere', place, NAMESPACE.measured, { app: 'measured' })),
    ...times(OTHERS_HERE, (place) =>
      makePod('podHere', PODS_HERE + place, NAMESPACE.others, { who: `here-${place}`, where: 'here' }),
    ),
  ]
}

/** @param devices of the pods that have a link; the others have names alone */
export function guardedNode(
  world: PolicyWorld,
  devices: Readonly<Record<Linked, string>>,
  prefix: string,
): GuardedNode {
  const finder = new PodFinder(world)
  const linked = new Map(LINKED.map((pod) => [linkedAddress(pod) as string, devices[pod]]))
  const pods = world.pods
    .filter(({ node }) => node === SELF)
    .map((pod): GuardedPod => {
      const address = addressOf(pod)
      const name = pod.key.slice(pod.namespace.length + 1)
      const device = linked.get(address) ?? prefix + chainHash(pod.key, DEVICE_PREFIX_LETTERS).toLowerCase()
      return { namespace: pod.namespace, name, address, device }
    })
  const isLinked = ({ address }: GuardedPod) => linked.has(address)
  const rest = pods.filter((pod) => !isLinked(pod))
  const middle = rest.length >> 1
  return {
    // Where rules are looked through in a row, those in the middle cost what pods cost on average.
    pods: [...rest.slice(0, middle), ...pods.filter(isLinked), ...rest.slice(middle)],
    policies: world.policies.map((policy) => guardedPolicy(policy, finder)),
  }
}
