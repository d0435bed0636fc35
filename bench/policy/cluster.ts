// A cluster for the figures of policy: pods that policy tells apart every one, and policies as teams write them. Everything follows from
// the counts; nothing is drawn by chance.

import type { Prefix } from '../../src/model/address.ts'
import type { LabelSelector } from '../../src/model/label-selector.ts'
import {
  NAMESPACE_NAME_LABEL,
  type Policy,
  type PolicyPeer,
  type PolicyPod,
  type PolicyRule,
  type PolicyWorld,
} from '../../src/model/policy.ts'

export interface PolicyClusterSize {
  /** Pods, each an identity of its own. */
  readonly identities: number
  readonly policies: number
  /** Pods of the node that is looked at. */
  readonly podsPerNode: number
}

export const BENCH_NODE = 'node-0'
const NAMESPACES = 50
const TEAMS = 8

const equals = (labels: Readonly<Record<string, string>>): LabelSelector => ({
  requirements: Object.entries(labels).map(([key, value]) => ({ key, operator: 'In', values: [value] })),
})

export function namespaceName(index: number): string {
  return `team-${index % NAMESPACES}`
}

/** Pods go round the namespaces, and the first of them are the node's. */
export function benchPod(index: number, { podsPerNode }: PolicyClusterSize): PolicyPod {
  const namespace = namespaceName(index)
  const app = Math.floor(index / NAMESPACES)
  return {
    key: `${namespace}/app-${app}-0`,
    namespace,
    labels: {
      app: `app-${app}`,
      tier: app % 3 === 0 ? 'web' : app % 3 === 1 ? 'api' : 'data',
      'pod-template-hash': `${(index * 7919).toString(16)}`,
    },
    serviceAccount: 'default',
    addresses: [`10.${64 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`],
    node: `node-${Math.floor(index / podsPerNode)}`,
    isHostNetwork: false,
    isFinished: false,
    namedPorts: [{ name: 'http', protocol: 'tcp', port: 8000 + (app % 10) }],
  }
}

const inNamespace = (namespace: string) => equals({ [NAMESPACE_NAME_LABEL]: namespace })

function rule(
  index: number,
  direction: string,
  peers: readonly PolicyPeer[],
  ports: PolicyRule['ports'],
): PolicyRule {
  return { action: 'allow', path: `spec.${direction}[${index}]`, peers, ports }
}

/** A NetworkPolicy of a team: who may call an app, and whom it may call. `variant` changes one of its ports. */
export function benchPolicy(index: number, variant = 0): Policy {
  const namespace = namespaceName(index)
  const other = namespaceName(index * 13 + 7)
  const app = Math.floor(index / NAMESPACES) * 5
  const here = inNamespace(namespace)
  const tcp = (port: number) => [
    { kind: 'ports' as const, protocol: 'tcp' as const, first: port, last: port },
  ]
  const network: PolicyPeer = {
    kind: 'networks',
    prefix: `172.${16 + (index % 16)}.0.0/16` as Prefix,
    except: [`172.${16 + (index % 16)}.${index % 256}.0/24` as Prefix],
    covers: 'everything',
  }
  return {
    kind: 'NetworkPolicy',
    key: `${namespace}/policy-${index}`,
    part: 0,
    uid: `uid-${index}`,
    tier: 'normal',
    priority: 0,
    subject: {
      kind: 'pods',
      namespaces: here,
      pods: index % 10 === 0 ? equals({}) : equals({ app: `app-${app % 100}` }),
    },
    ingress: {
      isolates: true,
      rules: [
        rule(
          0,
          'ingress',
          [{ kind: 'pods', namespaces: here, pods: equals({ app: `app-${(app + 1) % 100}` }) }],
          tcp(8000 + variant),
        ),
        rule(
          1,
          'ingress',
          [{ kind: 'pods', namespaces: inNamespace(other), pods: equals({}) }],
          [{ kind: 'named', protocol: 'tcp', name: 'http' }],
        ),
        rule(
          2,
          'ingress',
          [
            {
              kind: 'pods',
              namespaces: equals({ team: `t${index % TEAMS}` }),
              pods: equals({ tier: 'api' }),
            },
          ],
          tcp(9000),
        ),
      ],
    },
    egress: {
      isolates: true,
      rules: [
        rule(0, 'egress', [{ kind: 'pods', namespaces: here, pods: equals({}) }], 'any'),
        rule(1, 'egress', [network], tcp(443)),
        // Some reach far: a third of all pods.
        rule(
          2,
          'egress',
          [
            {
              kind: 'pods',
              namespaces: index % 20 === 0 ? equals({}) : inNamespace(other),
              pods: equals({ tier: 'data' }),
            },
          ],
          tcp(5432 + variant),
        ),
      ],
    },
    isAudit: false,
    existingConnections: undefined,
    faults: [],
  }
}

/** What an administrator puts over all teams. `variant` changes one of its ports. */
export function benchClusterPolicy(index: number, variant = 0): Policy {
  const all = equals({})
  return {
    ...benchPolicy(0),
    kind: 'ClusterNetworkPolicy',
    key: `guard-${index}`,
    uid: `uid-guard-${index}`,
    tier: 'admin',
    priority: index,
    subject: { kind: 'pods', namespaces: all, pods: all },
    ingress: {
      isolates: false,
      rules: [
        {
          action: 'deny',
          path: 'spec.ingress[0]',
          peers: [
            {
              kind: 'pods',
              namespaces: equals({ team: `t${index % TEAMS}` }),
              pods: equals({ tier: 'data' }),
            },
          ],
          ports: [{ kind: 'ports', protocol: 'tcp', first: 22, last: 23 + variant }],
        },
      ],
    },
    egress: undefined,
  }
}

export const CLUSTER_POLICIES = 5

export function benchWorld(size: PolicyClusterSize): PolicyWorld {
  const nodes = Math.ceil(size.identities / size.podsPerNode)
  return {
    policies: [
      ...Array.from({ length: CLUSTER_POLICIES }, (_, index) => benchClusterPolicy(index)),
      ...Array.from({ length: size.policies - CLUSTER_POLICIES }, (_, index) => benchPolicy(index)),
    ],
    pods: Array.from({ length: size.identities }, (_, index) => benchPod(index, size)),
    namespaces: new Map(
      Array.from({ length: NAMESPACES }, (_, index) => [
        namespaceName(index),
        { [NAMESPACE_NAME_LABEL]: namespaceName(index), team: `t${index % TEAMS}` },
      ]),
    ),
    nodes: Array.from({ length: nodes }, (_, index) => ({
      name: `node-${index}`,
      labels: { role: 'worker' },
      addresses: [`192.168.${index >> 8}.${index & 255}`],
    })),
    networkGroups: [],
    services: [],
    apiServers: ['192.168.255.1'],
  }
}
