// The cases that racks show with real connections, held against the evaluator: objects read as an agent reads them, and every pair of
// pods. That each of them can fail is shown too.

import t from 'tap'
import { toPolicyObject } from '../../../src/kube/policies/resources.ts'
import { NAMESPACE_NAME_LABEL, type PolicyKind, type PolicyWorld } from '../../../src/model/policy.ts'
import { judge } from '../../../src/policy/evaluate.ts'
import {
  CASE_CONTAINER_PORTS,
  CASE_HOST_PODS,
  CASE_NAMESPACES,
  CASE_NODES,
  CASE_PODS,
  CASE_PROBES,
  type CaseObject,
  type CasePod,
  type CaseProbe,
  type CaseStep,
} from '../../policy/cases/cluster.ts'
import { CLUSTER_POLICY_CASES } from '../../policy/cases/cluster-policies.ts'
import { NETPOL_PEER_CASES } from '../../policy/cases/netpol-peers.ts'
import { NETPOL_PORT_CASES } from '../../policy/cases/netpol-ports.ts'
import { node, packet, pod, world } from './rows.ts'

const CASES = [...NETPOL_PEER_CASES, ...NETPOL_PORT_CASES, ...CLUSTER_POLICY_CASES]

/** As a rack gives them: the networks of pods are their nodes'. */
function addressOf(key: string): readonly [string, string] {
  if (key.startsWith('node')) return [`10.255.0.${key.slice(-1)}`, `fd00:255::${key.slice(-1)}`]
  const index = CASE_PODS.findIndex((one) => one.key === key)
  const network = CASE_PODS[index]?.node.slice(-1)
  return [`10.244.${network}.${index + 2}`, `fd00:244:${network}::${index + 2}`]
}

function worldOf(objects: readonly CaseObject[], labels: CaseStep['labels'] = {}): PolicyWorld {
  return world({
    policies: objects.flatMap((object) => {
      const metadata = { ...object.metadata, uid: object.metadata.name }
      return toPolicyObject(object.kind as PolicyKind, { ...object, metadata }).policies
    }),
    pods: [
      ...CASE_PODS.map(({ key, name, node }) =>
        pod(key, {
          labels: { pod: name, ...labels[key] },
          addresses: addressOf(key),
          namedPorts: CASE_CONTAINER_PORTS.map(({ name, containerPort }) => ({
            name,
            protocol: name.split('-')[2] as CaseProbe['protocol'],
            port: containerPort,
          })),
          node,
        }),
      ),
      ...CASE_HOST_PODS.map(({ key, name, node }) =>
        pod(key, { labels: { pod: name }, addresses: addressOf(node), node, isHostNetwork: true }),
      ),
    ],
    namespaces: new Map(
      CASE_NAMESPACES.map((name) => [name, { ns: name, [NAMESPACE_NAME_LABEL]: name, ...labels[name] }]),
    ),
    nodes: CASE_NODES.map((name) =>
      node(name, {
        addresses: addressOf(name),
        labels: { 'kubernetes.io/hostname': name, 'kubernetes.io/os': 'linux' },
      }),
    ),
  })
}

type End = Pick<CasePod, 'key' | 'node'>

function isAllowed(
  base: PolicyWorld,
  [from, to]: readonly [End, End],
  { port, protocol, family }: CaseProbe,
  isHairpin = false,
): boolean {
  const index = family === 4 ? 0 : 1
  return (['egress', 'ingress'] as const).every((direction) => {
    const judging = direction === 'egress' ? from : to
    const asked = packet(addressOf(from.key)[index], addressOf(to.key)[index], {
      ...{ port, protocol, isHairpin },
      node: judging.node,
    })
    return judge(base, asked, direction).verdict === 'allow'
  })
}

/** Pairs and probes that are not as the table says. */
function differences(base: PolicyWorld, { isBlocked, isHairpinBlocked, isNodeBlocked }: CaseStep): string[] {
  const found: string[] = []
  const note = (what: string, wasAllowed: boolean, wanted: boolean) => {
    if (wasAllowed !== wanted) found.push(`${what}: ${wasAllowed ? 'allowed' : 'denied'}`)
  }
  for (const from of CASE_PODS)
    for (const probe of CASE_PROBES) {
      const at = `${probe.port}/${probe.protocol} IPv${probe.family}`
      for (const to of CASE_PODS)
        note(
          `${from.key} → ${to.key} ${at}`,
          isAllowed(base, [from, to], probe),
          from === to || !isBlocked(from, to, probe),
        )
      for (const node of isNodeBlocked ? CASE_NODES : [])
        note(
          `${from.key} → ${node} ${at}`,
          isAllowed(base, [from, { key: node, node }], probe),
          !isNodeBlocked?.(from, node, probe),
        )
      const isOpen = !(isHairpinBlocked?.(from, probe) ?? false)
      note(`${from.key} by its Service ${at}`, isAllowed(base, [from, from], probe, true), isOpen)
    }
  return found
}

for (const { name, steps } of CASES)
  t.test(name.replace(/^([A-Z]+-\d+,? )+/, ''), async (t) => {
    let before: readonly CaseObject[] = []
    let labelsBefore: CaseStep['labels']
    for (const step of steps) {
      const objects = step.objects(addressOf)
      t.same(differences(worldOf(objects, step.labels), step), [], step.what)
      t.not(
        differences(worldOf(before, labelsBefore), step).length,
        0,
        `${step.what}: seen to differ from what was before`,
      )
      before = objects
      labelsBefore = step.labels
    }
    t.not(differences(worldOf([]), steps[0] as CaseStep).length, 0)
  })
