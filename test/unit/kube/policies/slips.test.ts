// Random slips in policies of every kind: reading never fails, and with faults nothing is let through that a slip could have opened.

import t from 'tap'
import { parse } from 'yaml'
import { isOfRule } from '../../../../src/kube/policies/cluster-network-policy.ts'
import { toPolicyObject } from '../../../../src/kube/policies/resources.ts'
import {
  POLICY_DIRECTIONS,
  type Policy,
  type PolicyKind,
  type PolicyRule,
} from '../../../../src/model/policy.ts'
import { Random } from '../../../policy/random.ts'
import { object } from './read.ts'

const SLIPS = 3000
const SELECTOR = '{matchLabels: {a: b}, matchExpressions: [{key: c, operator: In, values: [d]}]}'
const CILIUM = `{endpointSelector: ${SELECTOR}, enableDefaultDeny: {ingress: true},
  ingress: [{fromEndpoints: [${SELECTOR}], toPorts: [{ports: [{port: "80", endPort: 90, protocol: TCP}]}]},
    {fromCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}, {cidrGroupRef: x}]}, {fromEntities: [world]}, {icmps: [{fields: [{type: 8}]}]}],
  egressDeny: [{toServices: [{k8sService: {serviceName: a, namespace: b}}, {k8sServiceSelector: {selector: ${SELECTOR}}}]}], egress: [{toNodes: [{}]}]}`
const SPECS: readonly (readonly [PolicyKind, string])[] = [
  [
    'NetworkPolicy',
    `{podSelector: ${SELECTOR}, policyTypes: [Ingress, Egress], egress: [{}], ingress: [{
      from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}, {podSelector: {}, namespaceSelector: ${SELECTOR}}],
      ports: [{port: 80, endPort: 90, protocol: TCP}, {port: http}]}]}`,
  ],
  [
    'ClusterNetworkPolicy',
    `{tier: Admin, priority: 1, subject: {pods: {namespaceSelector: ${SELECTOR}, podSelector: {}}},
      ingress: [{name: n, action: Accept, from: [{namespaces: ${SELECTOR}}],
        protocols: [{tcp: {destinationPort: {number: 80}}}, {udp: {destinationPort: {range: {start: 1, end: 2}}}}]},
        {action: Pass, from: [{pods: {podSelector: {}}}]}],
      egress: [{action: Deny, to: [{networks: [10.0.0.0/8]}, {nodes: {}}], protocols: [{destinationNamedPort: h}]},
        {action: Pass, to: [{namespaces: {}}]}, {action: Accept, to: [{networks: [0.0.0.0/0]}]}]}`,
  ],
  ['CiliumNetworkPolicy', CILIUM],
  ['CiliumClusterwideNetworkPolicy', CILIUM],
]
const JUNK = [null, 0, -1, 1.5, 99_999, '', 'x', 'Deny', '0.0.0.0/0', true, [], [null], [{}], {}, { a: 1 }]

type Node = Record<string, unknown>

/** Every field and item below, with what holds it. */
function placesIn(node: unknown): { readonly holder: Node; readonly name: string }[] {
  if (typeof node !== 'object' || node === null) return []
  const holder = node as Node
  return Object.keys(holder).flatMap((name) => [{ holder, name }, ...placesIn(holder[name])])
}

/** Another value, none, or a field that nobody knows. */
function slip(spec: unknown, random: Random): void {
  const place = random.pick(placesIn(spec))
  if (place === undefined) return
  const { holder, name } = place
  const kind = random.below(5)
  if (kind > 1) holder[name] = structuredClone(random.pick(JUNK))
  else if (kind === 1 && !Array.isArray(holder)) holder['unknown'] = structuredClone(random.pick(JUNK))
  else if (Array.isArray(holder)) holder.splice(Number(name), 1)
  else delete holder[name]
}

/** What a faulty policy still lets through; undefined: nothing that it should not. */
function leakOf({ kind, faults, ...said }: Policy): string | undefined {
  for (const direction of POLICY_DIRECTIONS) {
    const rules = said[direction]
    if (rules === undefined) continue
    if (kind !== 'ClusterNetworkPolicy') {
      const isSound = ({ action, path }: PolicyRule) =>
        action === 'deny' && !faults.some((fault) => fault.path.startsWith(path))
      if (!rules.isolates || !rules.rules.every(isSound)) return `${direction} is not closed`
      continue
    }
    for (const { action, peers, path } of rules.rules) {
      const isFaulty = faults.some((fault) => fault.path.startsWith(path))
      if (!isFaulty && faults.every(isOfRule)) continue
      if (action === 'pass') return `${path} passes`
      if (action === 'allow' && peers.length > 0) return `${path} allows`
      if (action === 'deny' && isFaulty && peers !== 'any') return `${path} denies some alone`
    }
  }
  return undefined
}

t.test('whatever the slip', async (t) => {
  const random = new Random(7)
  const specs = SPECS.map(([kind, text]) => [kind, parse(text) as object] as const)
  let faulty = 0
  for (let round = 0; round < SLIPS; round += 1) {
    const [kind, written] = specs[round % specs.length] as (typeof specs)[number]
    const spec: unknown = structuredClone(written)
    for (let slips = 1 + random.below(2); slips > 0; slips -= 1) slip(spec, random)
    const namespace = kind.startsWith('Cluster') || kind.includes('wide') ? undefined : 'shop'
    const read = toPolicyObject(kind, { ...object('{}', { namespace }), ...{ spec } })
    if (read.faults.length === 0) continue
    faulty += 1
    for (const policy of read.policies) {
      const leak = leakOf(policy)
      if (leak !== undefined) t.fail(`${kind} ${JSON.stringify(spec)}: ${leak}`)
    }
    for (const direction of ['ingress', 'egress'])
      if ((spec as Node)[direction] && !read.policies.every((policy) => policy[direction as 'ingress']))
        t.ok(kind !== 'ClusterNetworkPolicy', `${JSON.stringify(spec)}: it says nothing of ${direction}`)
  }
  t.ok(faulty > SLIPS / 2, `${faulty} of ${SLIPS} have faults`)
})
