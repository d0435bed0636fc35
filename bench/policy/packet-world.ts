// Who there is and what policy says where single packets are measured. Pure; everything follows from the count.
//
//   measured   a hundred pods of this node, which 64 pods elsewhere call and are called by; what carries the fixed flows, the same beside
//              any number of others
//   others     N policies and N identities: each lets one pod elsewhere call one of a hundred other pods of this node, on a port of its own,
//              and be called by it. They are what merely exists, and what flows spread over all of them meet.
//
// So each of the N has an address, an identity, two rows and two classes in the kernel.

import { FAMILIES, type Family, type Prefix } from '../../src/model/address.ts'
import type { LabelSelector } from '../../src/model/label-selector.ts'
import {
  NAMESPACE_NAME_LABEL,
  type Policy,
  type PolicyPeer,
  type PolicyPod,
  type PolicyRule,
  type PolicyWorld,
  type PortMatch,
} from '../../src/model/policy.ts'
import { addressIn, clusterNode, PODS_HERE, SELF } from '../packet/cluster.ts'

export const CALLERS = 64
/** Pods elsewhere that policy does not tell apart: a role's. */
export const ROLES = 8
export const OTHERS_HERE = 100
export const PODS = PODS_HERE + OTHERS_HERE
/** What the measured pods, and the callers, may be called at; and a port at which they may not. */
export const OPEN_PORT = 443
export const CLOSED_PORT = 80
const FIRST_OTHER_PORT = 1024
const OTHER_PORTS = 60_000
const PING = { ipv4: 8, ipv6: 128 } as const
const CLIENTS: Readonly<Record<Family, Prefix>> = {
  ipv4: '100.64.0.0/10' as Prefix,
  ipv6: '2001:db8:c::/48' as Prefix,
}

export const NAMESPACE = { measured: 'measured', callers: 'callers', others: 'others' } as const

/** The one port at which the peer of policy `other` is let in. */
export function otherPort(other: number): number {
  return FIRST_OTHER_PORT + (other % OTHER_PORTS)
}
/** Places in the blocks `podHere` and `podElsewhere`. */
export const otherHere = (other: number) => PODS_HERE + (other % OTHERS_HERE)
export const otherElsewhere = (other: number) => CALLERS + other

const equals = (labels: Readonly<Record<string, string>>): LabelSelector => ({
  requirements: Object.entries(labels).map(([key, value]) => ({ key, operator: 'In', values: [value] })),
})

export function podsOf(namespace: string, labels: Readonly<Record<string, string>>) {
  const namespaces = equals({ [NAMESPACE_NAME_LABEL]: namespace })
  return { kind: 'pods', namespaces, pods: equals(labels) } as const
}

export const port = (number: number, protocol: 'tcp' | 'udp'): PortMatch => ({
  ...{ kind: 'ports', protocol },
  ...{ first: number, last: number },
})

export function allow(path: string, peers: readonly PolicyPeer[], ports: PolicyRule['ports']): PolicyRule {
  return { action: 'allow', peers, ports, path }
}

type Rules = Pick<Policy, 'key' | 'subject'> & {
  readonly ingress: readonly PolicyRule[] | undefined
  readonly egress: readonly PolicyRule[] | undefined
}

export function makePolicy({ key, subject, ingress, egress }: Rules): Policy {
  return {
    ...{ kind: 'NetworkPolicy', key, part: 0, uid: key, tier: 'normal', priority: 0, subject },
    ingress: ingress && { isolates: true, rules: ingress },
    egress: egress && { isolates: true, rules: egress },
    ...{ isAudit: false, existingConnections: undefined, faults: [] },
  }
}

/** A role's pods may call the measured and be called by them. */
export function rolePolicy(role: number): Policy {
  const peers = [podsOf(NAMESPACE.callers, { role: `role-${role}` })]
  const ports = [port(OPEN_PORT, 'tcp'), port(OPEN_PORT, 'udp')]
  return makePolicy({
    key: `${NAMESPACE.measured}/role-${role}`,
    subject: podsOf(NAMESPACE.measured, { app: 'measured' }),
    ingress: [allow('spec.ingress[0]', peers, ports)],
    egress: [allow('spec.egress[0]', peers, ports)],
  })
}

/** Everybody of the callers may ping and be pinged, and clients outside may call what Services lead them to. */
function commonPolicies(): Policy[] {
  const subject = podsOf(NAMESPACE.measured, { app: 'measured' })
  const callers = [podsOf(NAMESPACE.callers, {})]
  const pings = FAMILIES.map((family): PortMatch => ({ kind: 'icmp', family, type: PING[family] }))
  const clients = FAMILIES.map(
    (family): PolicyPeer => ({
      ...{ kind: 'networks', prefix: CLIENTS[family], except: [], covers: 'everything' },
    }),
  )
  return [
    makePolicy({
      ...{ key: `${NAMESPACE.measured}/pings`, subject },
      ingress: [allow('spec.ingress[0]', callers, pings)],
      egress: [allow('spec.egress[0]', callers, pings)],
    }),
    makePolicy({
      ...{ key: `${NAMESPACE.measured}/clients`, subject },
      ingress: [allow('spec.ingress[0]', clients, 'any')],
      egress: undefined,
    }),
  ]
}

function otherPolicy(other: number): Policy {
  const peers = [podsOf(NAMESPACE.others, { who: `there-${other}` })]
  return makePolicy({
    key: `${NAMESPACE.others}/other-${other}`,
    subject: podsOf(NAMESPACE.others, { who: `here-${other % OTHERS_HERE}` }),
    ingress: [allow('spec.ingress[0]', peers, [port(otherPort(other), 'tcp')])],
    egress: [allow('spec.egress[0]', peers, 'any')],
  })
}

export function makePod(
  block: 'podHere' | 'podElsewhere',
  place: number,
  namespace: string,
  labels: Readonly<Record<string, string>>,
): PolicyPod {
  return {
    key: `${namespace}/${block}-${place}`,
    namespace,
    labels,
    serviceAccount: 'default',
    addresses: FAMILIES.map((family) => addressIn(family, block, place)),
    node: block === 'podHere' ? SELF : 'node-1',
    isHostNetwork: false,
    isFinished: false,
    namedPorts: [],
  }
}

export const times = <Item>(count: number, make: (index: number) => Item) =>
  Array.from({ length: count }, (_, index) => make(index))

/** @param others policies, and identities, besides the fixed ones; undefined: no policy at all, and nobody is kept from anything */
export function packetWorld(others: number | undefined): PolicyWorld {
  const count = others ?? 0
  const policies =
    others === undefined
      ? []
      : [...times(ROLES, rolePolicy), ...commonPolicies(), ...times(others, otherPolicy)]
  return {
    policies,
    pods: [
      ...times(PODS_HERE, (place) => makePod('podHere', place, NAMESPACE.measured, { app: 'measured' })),
      ...times(OTHERS_HERE, (place) =>
        makePod('podHere', otherHere(place), NAMESPACE.others, { who: `here-${place}` }),
      ),
      ...times(CALLERS, (place) =>
        makePod('podElsewhere', place, NAMESPACE.callers, { role: `role-${place % ROLES}` }),
      ),
      ...times(count, (other) =>
        makePod('podElsewhere', otherElsewhere(other), NAMESPACE.others, { who: `there-${other}` }),
      ),
    ],
    ...surroundings(),
  }
}

/** What else a world has, the same whoever is in it. */
export function surroundings(): Omit<PolicyWorld, 'policies' | 'pods'> {
  return {
    namespaces: new Map(
      Object.values(NAMESPACE).map((name) => [name, { [NAMESPACE_NAME_LABEL]: name }] as const),
    ),
    nodes: [0, 1].map((number) => {
      const { name, addresses } = clusterNode(number)
      return { name, labels: {}, addresses }
    }),
    networkGroups: [],
    services: [],
    apiServers: [],
  }
}
