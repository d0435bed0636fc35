// A cluster for the figures of policy as its API server holds it: pods that policy tells apart every one, and policies as teams and
// administrators write them. Everything follows from the numbers; nothing is drawn by chance. Objects are as heavy as real ones.

import { NAMESPACE_NAME_LABEL } from '../../src/model/policy.ts'
import { ipv4, ipv4Text } from '../bed/ipv4.ts'
import { type KubeObject, managedFields, nodeName } from '../control/cluster.ts'

export interface PolicyClusterSize {
  /** Pods, each an identity of its own. */
  readonly identities: number
  readonly policies: number
  /** Pods of the node that is looked at. */
  readonly podsPerNode: number
}

/** So many of the policies are an administrator's, over all pods. */
export const CLUSTER_POLICIES = 5
export const NAMESPACES = 50
export const TEAMS = 8
/** Apps that policies are written about; a cluster may have more. */
const APPS = 100
const POD_BASE = ipv4(10, 64, 0, 0)
const FIRST_PORT = 8000

export const CLUSTER_POLICY_VERSION = 'v1beta1'
export const CLUSTER_POLICIES_PATH = `/apis/policy.networking.k8s.io/${CLUSTER_POLICY_VERSION}/clusternetworkpolicies`
export const networkPoliciesPath = (namespace: string) =>
  `/apis/networking.k8s.io/v1/namespaces/${namespace}/networkpolicies`
export const podsPath = (namespace: string) => `/api/v1/namespaces/${namespace}/pods`

export function namespaceName(index: number): string {
  return `team-${index % NAMESPACES}`
}

const appOf = (index: number) => Math.floor(index / NAMESPACES)

/** @param team undefined: its own */
export function namespaceObject(index: number, team = index % TEAMS): KubeObject {
  const name = namespaceName(index)
  return {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name, labels: { [NAMESPACE_NAME_LABEL]: name, team: `t${team}` } },
    spec: { finalizers: ['kubernetes'] },
    status: { phase: 'Active' },
  }
}

export const podAddress = (index: number) => ipv4Text(POD_BASE + index)

/** Pods go round the namespaces, and the first of them are the node's. */
export function podObject(
  index: number,
  { podsPerNode }: Pick<PolicyClusterSize, 'podsPerNode'>,
  node = Math.floor(index / podsPerNode),
): KubeObject {
  const app = appOf(index)
  const ip = podAddress(index)
  const ports = [{ name: 'http', containerPort: FIRST_PORT + (app % 10), protocol: 'TCP' }]
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      namespace: namespaceName(index),
      name: `app-${app}-0`,
      labels: {
        app: `app-${app}`,
        tier: (['web', 'api', 'data'] as const)[app % 3] ?? 'web',
        'pod-template-hash': (index * 7919).toString(16),
      },
      managedFields: [
        ...managedFields('kube-controller-manager', {
          'f:metadata': { 'f:labels': { '.': {}, 'f:app': {}, 'f:tier': {}, 'f:pod-template-hash': {} } },
          'f:spec': { 'f:containers': { 'k:{"name":"app"}': { '.': {}, 'f:image': {}, 'f:ports': {} } } },
        }),
        ...managedFields('kubelet', { 'f:status': { 'f:conditions': {}, 'f:podIPs': {} } }),
      ],
    },
    spec: {
      nodeName: nodeName(node),
      serviceAccountName: 'default',
      containers: [
        {
          name: 'app',
          image: `registry.example/team/app-${app}:1.0`,
          ports,
          resources: { requests: { cpu: '100m', memory: '128Mi' } },
        },
      ],
      restartPolicy: 'Always',
    },
    status: {
      phase: 'Running',
      podIP: ip,
      podIPs: [{ ip }],
      hostIP: '172.16.0.10',
      conditions: ['PodScheduled', 'Initialized', 'ContainersReady', 'Ready'].map((type) => ({
        ...{ type, status: 'True', lastTransitionTime: '2025-01-01T00:00:00Z' },
      })),
    },
  }
}

const tcp = (port: number | string) => [{ protocol: 'TCP', port }]
const inNamespace = (name: string) => ({ matchLabels: { [NAMESPACE_NAME_LABEL]: name } })
const labelled = (labels: Readonly<Record<string, string>>) => ({ matchLabels: labels })

const isOfNamespace = (index: number) => index % 10 === 0
const subjectApp = (index: number) => (appOf(index) * 5) % APPS
const callersApp = (index: number) => (subjectApp(index) + 1) % APPS

/** Whom it selects: an app, or, every tenth of them, a whole namespace. */
function subjectOf(index: number) {
  return isOfNamespace(index) ? {} : labelled({ app: `app-${subjectApp(index)}` })
}

/** Whether the policy selects the first pod of its namespace, which is among the first `podsPerNode` pods. */
export function isOfPods(index: number, podsPerNode: number): boolean {
  return index % NAMESPACES < podsPerNode && (isOfNamespace(index) || subjectApp(index) === 0)
}

/** Of the app that the policy lets in. */
export const callersPod = (index: number) => callersApp(index) * NAMESPACES + (index % NAMESPACES)

/** A team's: who may call an app, and whom it may call. @param variant changes one port of its ingress, and one of its egress */
export function networkPolicyObject(index: number, variant = 0): KubeObject {
  const namespace = namespaceName(index)
  const other = namespaceName(index * 13 + 7)
  const caller = `app-${callersApp(index)}`
  const network = 16 + (index % 16)
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace, name: `policy-${index}` },
    spec: {
      podSelector: subjectOf(index),
      policyTypes: ['Ingress', 'Egress'],
      ingress: [
        { from: [{ podSelector: labelled({ app: caller }) }], ports: tcp(FIRST_PORT + variant) },
        { from: [{ namespaceSelector: inNamespace(other) }], ports: tcp('http') },
        {
          from: [
            {
              namespaceSelector: labelled({ team: `t${index % TEAMS}` }),
              podSelector: labelled({ tier: 'api' }),
            },
          ],
          ports: tcp(9000),
        },
      ],
      egress: [
        { to: [{ podSelector: {} }] },
        {
          to: [
            { ipBlock: { cidr: `172.${network}.0.0/16`, except: [`172.${network}.${index % 256}.0/24`] } },
          ],
          ports: tcp(443),
        },
        // Some reach far: a third of all pods.
        {
          to: [
            {
              namespaceSelector: index % 20 === 0 ? {} : inNamespace(other),
              podSelector: labelled({ tier: 'data' }),
            },
          ],
          ports: tcp(5432 + variant),
        },
      ],
    },
  }
}

/** What an administrator puts over all teams. @param variant changes one of its ports */
export function clusterPolicyObject(index: number, variant = 0): KubeObject {
  const team = labelled({ team: `t${index % TEAMS}` })
  const destinationPort = { range: { start: 22, end: 23 + variant } }
  return {
    apiVersion: `policy.networking.k8s.io/${CLUSTER_POLICY_VERSION}`,
    kind: 'ClusterNetworkPolicy',
    metadata: { name: `guard-${index}` },
    spec: {
      tier: 'Admin',
      priority: index,
      subject: { namespaces: {} },
      ingress: [
        {
          action: 'Deny',
          from: [{ pods: { namespaceSelector: team, podSelector: labelled({ tier: 'data' }) } }],
          protocols: [{ tcp: { destinationPort } }],
        },
      ],
    },
  }
}

/** By resource, but for what an administrator put: kinds of others' come when the API server runs. */
export function policyObjects(size: PolicyClusterSize): Record<string, KubeObject[]> {
  const make = (count: number, one: (index: number) => KubeObject) =>
    Array.from({ length: count }, (_, index) => one(index))
  return {
    '/namespaces': make(NAMESPACES, (index) => namespaceObject(index)),
    '/pods': make(size.identities, (index) => podObject(index, size)),
    'networking.k8s.io/networkpolicies': make(size.policies - CLUSTER_POLICIES, (index) =>
      networkPolicyObject(index),
    ),
  }
}
