// The cluster of the upstream policy tests, and what a case of them is: namespaces x, y, z with pods a, b, c on two nodes, each of which
// serves ports 80 and 81 by TCP, UDP and SCTP, under names of their own. A case says in steps what is put into the API server and, for
// every pair of pods, port, protocol and family, what does not get through then. The same cases are held against the evaluator and, in a
// rack, against real connections.

import { PORT_PROTOCOLS, type PortProtocol } from '../../../src/model/policy.ts'

export const CASE_NAMESPACES = ['x', 'y', 'z'] as const
const NAMES = ['a', 'b', 'c'] as const
export const CASE_PORTS = [80, 81] as const
const FAMILIES = [4, 6] as const

export const CASE_NODES = ['node1', 'node2'] as const
export type CaseNode = (typeof CASE_NODES)[number]

export interface CasePod {
  /** `x/a`. */
  readonly key: string
  readonly namespace: string
  readonly name: string
  /** Neighbours of every kind: pods of one namespace, and of two, are on one node and on two. */
  readonly node: CaseNode
}

export const CASE_PODS: readonly CasePod[] = CASE_NAMESPACES.flatMap((namespace, row) =>
  NAMES.map((name, column) => ({
    key: `${namespace}/${name}`,
    namespace,
    name,
    node: (row + column) % 2 === 0 ? ('node1' as const) : ('node2' as const),
  })),
)

/** On the host's network, one on each node: they are their nodes. */
export const CASE_HOST_PODS = CASE_NODES.map((node) => ({ key: `x/${node}`, name: node, node }))

/** Of a pod's container. */
export const CASE_CONTAINER_PORTS = CASE_PORTS.flatMap((port) =>
  PORT_PROTOCOLS.map((protocol) => ({
    name: `serve-${port}-${protocol}`,
    containerPort: port,
    protocol: protocol.toUpperCase(),
  })),
)

export interface CaseProbe {
  readonly port: number
  readonly protocol: PortProtocol
  readonly family: 4 | 6
}

export const CASE_PROBES: readonly CaseProbe[] = FAMILIES.flatMap((family) =>
  CASE_PORTS.flatMap((port) => PORT_PROTOCOLS.map((protocol) => ({ port, protocol, family }))),
)

export function isAt(probe: CaseProbe, protocol: PortProtocol, port: number): boolean {
  return probe.protocol === protocol && probe.port === port
}

/** An object as it is applied, without its uid and the like. */
export interface CaseObject {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string }
  readonly spec: object
}

/** IPv4 and IPv6 of a pod, by its key. */
export type AddressOf = (key: string) => readonly [ipv4: string, ipv6: string]

/** Whether it does not get through. */
export type Table = (from: CasePod, to: CasePod, probe: CaseProbe) => boolean

export interface CaseStep {
  readonly what: string
  /** Everything that is in force. */
  readonly objects: (addressOf: AddressOf) => readonly CaseObject[]
  /** Labels beside `ns: x` of namespaces and `pod: a` of pods. */
  readonly labels?: Readonly<Record<string, Readonly<Record<string, string>>>>
  readonly isBlocked: Table
  /** For every pod and node, at the same ports; absent: nodes are not asked. */
  readonly isNodeBlocked?: (from: CasePod, node: CaseNode, probe: CaseProbe) => boolean
  /** Whether a pod that a Service leads back to itself is let through; what its own address is asked for always is. */
  readonly isHairpinBlocked?: (pod: CasePod, probe: CaseProbe) => boolean
}

export interface PolicyCase {
  /** Rows of CONFORMANCE.md that it shows, and its name upstream. */
  readonly name: string
  readonly steps: readonly CaseStep[]
}

export function step(
  what: string,
  objects: readonly CaseObject[] | CaseStep['objects'],
  isBlocked: Table,
): CaseStep {
  return { what, objects: typeof objects === 'function' ? objects : () => objects, isBlocked }
}

/** A case of one step. */
export function one(name: string, objects: Parameters<typeof step>[1], isBlocked: Table): PolicyCase {
  return { name, steps: [step('applied', objects, isBlocked)] }
}

export const open: Table = () => false

export function is(pod: CasePod, ...keys: string[]): boolean {
  return keys.includes(pod.key)
}
export function inX({ namespace }: CasePod): boolean {
  return namespace === 'x'
}
export function inY({ namespace }: CasePod): boolean {
  return namespace === 'y'
}

/** Selectors as objects have them. */
export const EVERYTHING = {}
export const podLabel = (name: string) => ({ matchLabels: { pod: name } })
export const ns = (name: string) => ({ matchLabels: { ns: name } })
export const namespaceNamed = (name: string) => ({ matchLabels: { 'kubernetes.io/metadata.name': name } })
export const expression = (key: string, operator: string, ...values: string[]) => ({
  matchExpressions: [{ key, operator, ...(values.length > 0 ? { values } : {}) }],
})

/** A NetworkPolicy of namespace x, or of the one that `name` begins with. */
export function networkPolicy(name: string, spec: object): CaseObject {
  const [namespace = '', plain] = name.includes('/') ? name.split('/') : ['x', name]
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace, name: plain ?? '' },
    spec,
  }
}

export const ingress = (podSelector: object, ...rules: object[]) => ({
  podSelector,
  policyTypes: ['Ingress'],
  ingress: rules,
})
export const egress = (podSelector: object, ...rules: object[]) => ({
  podSelector,
  policyTypes: ['Egress'],
  egress: rules,
})
