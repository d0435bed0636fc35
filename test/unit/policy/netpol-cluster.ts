// The cluster of the upstream NetworkPolicy tests: namespaces x, y, z with pods a, b, c, each of which serves ports 80 and 81 by TCP,
// UDP and SCTP under names of their own; and truth tables over all 81 pairs.

import {
  NAMESPACE_NAME_LABEL,
  type Policy,
  type PolicyPod,
  type PolicyWorld,
  type PortProtocol,
} from '../../../src/model/policy.ts'
import { judge } from '../../../src/policy/evaluate.ts'
import { node, packet, pod, world } from './rows.ts'

const NAMESPACES = ['x', 'y', 'z'] as const
const PODS = ['a', 'b', 'c'] as const

/** Of `x/a`, `x/b`, `y/a` and `z/a`. */
export const XA = '10.0.1.1'
export const XB = '10.0.1.2'
export const YA = '10.0.2.1'
export const ZA = '10.0.3.1'
export const OUTSIDE = '203.0.113.7'
export const NODE = '192.168.0.1'
export const OTHER_NODE = '192.168.0.2'

/** The one that all pods are on, and another. */
export const twoNodes = [
  node('n1', { addresses: [NODE, 'fd01::1'], labels: { role: 'control' } }),
  node('n2', { addresses: [OTHER_NODE, 'fd01::2'], labels: { role: 'worker' } }),
]

const NAMED_PORTS = [80, 81].flatMap((port) =>
  (['tcp', 'udp', 'sctp'] as const).map((protocol) => ({
    name: `serve-${port}-${protocol}`,
    protocol,
    port,
  })),
)

/** `10.0.NAMESPACE.POD` and `fd00::NAMESPACE:POD`, both counted from 1. */
function netpolPod(namespace: (typeof NAMESPACES)[number], name: (typeof PODS)[number]): PolicyPod {
  const [third, fourth] = [NAMESPACES.indexOf(namespace) + 1, PODS.indexOf(name) + 1]
  return pod(`${namespace}/${name}`, {
    labels: { pod: name },
    addresses: [`10.0.${third}.${fourth}`, `fd00::${third}:${fourth}`],
    namedPorts: NAMED_PORTS,
  })
}

export function netpolWorld(policies: readonly Policy[], overrides: Partial<PolicyWorld> = {}): PolicyWorld {
  return world({
    policies,
    pods: NAMESPACES.flatMap((namespace) => PODS.map((name) => netpolPod(namespace, name))),
    namespaces: new Map(NAMESPACES.map((name) => [name, { ns: name, [NAMESPACE_NAME_LABEL]: name }])),
    nodes: [node('n1', { addresses: [NODE, 'fd01::1'] })],
    ...overrides,
  })
}

/** With `world.pods[…]` changed. */
export function withPod(base: PolicyWorld, key: string, overrides: Partial<PolicyPod>): PolicyWorld {
  return { ...base, pods: base.pods.map((each) => (each.key === key ? { ...each, ...overrides } : each)) }
}

export interface Probe {
  readonly port?: number
  readonly protocol?: PortProtocol
}

/** The pairs, as `x/a → y/b`, whose connection one of the ends refuses; of both families, which must agree. */
export function blockedPairs(
  base: PolicyWorld,
  { port = 80, protocol = 'tcp' }: Probe = {},
): readonly string[] {
  const blocked: string[] = []
  for (const from of base.pods)
    for (const to of base.pods) {
      const isAllowed = from.addresses.map((source, family) => {
        const asked = packet(source, to.addresses[family] ?? '', { port, protocol })
        return (['egress', 'ingress'] as const).every(
          (direction) => judge(base, asked, direction).verdict === 'allow',
        )
      })
      if (isAllowed.includes(false)) blocked.push(`${from.key} → ${to.key}`)
      if (new Set(isAllowed).size > 1) throw new Error(`${from.key} → ${to.key}: the families differ`)
    }
  return blocked
}

/** What `blockedPairs` should say; a pod always reaches itself. */
export function pairsWhere(
  base: PolicyWorld,
  isBlocked: (from: PolicyPod, to: PolicyPod) => boolean,
): readonly string[] {
  return base.pods.flatMap((from) =>
    base.pods
      .filter((to) => from.key !== to.key && isBlocked(from, to))
      .map((to) => `${from.key} → ${to.key}`),
  )
}
