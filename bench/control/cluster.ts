// A cluster of a given size as its API server holds it: nodes, namespaces, Services, those of type LoadBalancer with their addresses
// given, and EndpointSlices whose endpoints are spread over the nodes. Objects are as heavy as real ones (managed fields,
// conditions, images of nodes), for their weight is what a list costs.

import type { SnapshotContent } from '../../src/sandbox/apiserver/storage.ts'
import { ipv4, ipv4Text } from '../bed/ipv4.ts'
import { numberText } from '../frame/grid.ts'

export interface ClusterSize {
  readonly services: number
  /** Per Service. */
  readonly endpoints: number
  readonly nodes: number
  /** Percent of the Services that have a load-balancer address, and so a Maglev table; the others have a ClusterIP alone. */
  readonly external: number
  /** Undefined: Cluster. */
  readonly externalPolicy?: 'Cluster' | 'Local'
}

export type KubeObject = SnapshotContent['resources'][string][number]

export const endpointsOf = ({ services, endpoints }: ClusterSize) => services * endpoints

/** '10 000 Services × 10'; what is not the usual is said. */
export function sizeName({ services, endpoints, nodes, external }: ClusterSize): string {
  const nodesText = nodes >= NODES_WORTH_TELLING ? `, ${numberText(nodes)} nodes` : ''
  const externalText = external < 100 ? `, ${external} % external` : ''
  return `${numberText(services)} Services × ${endpoints}${nodesText}${externalText}`
}

export const SERVICE_PORT = 80
export const TARGET_PORT = 8080
export const VIP_POOL = '10.112.0.0/14'
/** The node whose agent is measured. */
export const OWN_NODE = 0

const NODES_WORTH_TELLING = 1000
const NAMESPACES = 100
const SLICE_ENDPOINTS_MAX = 100
const IMAGES_PER_NODE = 20
const CREATED = '2025-01-01T00:00:00Z'

const CLUSTER_IP_BASE = ipv4(10, 96, 0, 10)
const VIP_BASE = ipv4(10, 112, 0, 10)
const POD_BASE = ipv4(10, 128, 0, 0)
const NODE_BASE = ipv4(172, 16, 0, 10)

export const nodeName = (node: number) => `node-${String(node).padStart(5, '0')}`
export const nodeAddress = (node: number) => ipv4Text(NODE_BASE + node)
export const vipOf = (service: number) => ipv4Text(VIP_BASE + service)
export const clusterIpOf = (service: number) => ipv4Text(CLUSTER_IP_BASE + service)

export function serviceName(service: number): { namespace: string; name: string } {
  const name = `service-${String(service).padStart(5, '0')}`
  return { namespace: `team-${String(service % NAMESPACES).padStart(3, '0')}`, name }
}

export function isExternal(service: number, { external }: ClusterSize): boolean {
  return service % 100 < external
}

/** Where an endpoint is found: its slice, and its place in there. */
export function sliceOf(service: number, endpoint: number): { name: string; index: number } {
  const part = Math.floor(endpoint / SLICE_ENDPOINTS_MAX)
  return { name: `${serviceName(service).name}-${part}`, index: endpoint % SLICE_ENDPOINTS_MAX }
}

/** What the API server starts with. @param besides by resource: more of those that there are, or others */
export function clusterContent(
  size: ClusterSize,
  besides: Readonly<Record<string, readonly KubeObject[]>> = {},
): SnapshotContent {
  const make = (count: number, one: (index: number) => KubeObject) =>
    Array.from({ length: count }, (_, index) => numbered(one(index)))
  const podBits = Math.ceil(Math.log2((size.services * size.endpoints) / size.nodes + 4))
  const parts = Math.ceil(size.endpoints / SLICE_ENDPOINTS_MAX)
  const resources: Record<string, KubeObject[]> = {
    '/namespaces': make(NAMESPACES, namespaceObject),
    '/nodes': make(size.nodes, (index) => nodeObject(index, podBits)),
    '/services': make(size.services, (index) => serviceObject(index, isExternal(index, size), size)),
    'discovery.k8s.io/endpointslices': make(size.services * parts, (index) =>
      sliceObject(Math.floor(index / parts), index % parts, size, podBits),
    ),
  }
  for (const [resource, objects] of Object.entries(besides))
    resources[resource] = [...(resources[resource] ?? []), ...objects.map(numbered)]
  return { revision, resources }
}

let revision = 1

function numbered(object: KubeObject): KubeObject {
  revision += 1
  const uid = `00000000-0000-4000-8000-${revision.toString(16).padStart(12, '0')}`
  Object.assign(object.metadata, { uid, resourceVersion: String(revision), creationTimestamp: CREATED })
  return object
}

export function managedFields(manager: string, fields: object): object[] {
  const entry = { manager, operation: 'Update', time: CREATED, fieldsType: 'FieldsV1', fieldsV1: fields }
  return [{ ...entry, apiVersion: 'v1' }]
}

function namespaceObject(index: number): KubeObject {
  const name = `team-${String(index).padStart(3, '0')}`
  const spec = { finalizers: ['kubernetes'] }
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name }, spec, status: { phase: 'Active' } }
}

function nodeObject(node: number, podBits: number): KubeObject {
  const name = nodeName(node)
  const podCidr = `${ipv4Text(POD_BASE + (node << podBits))}/${32 - podBits}`
  const condition = (type: string) => ({
    type,
    status: type === 'Ready' ? 'True' : 'False',
    lastHeartbeatTime: CREATED,
    lastTransitionTime: CREATED,
    reason: 'KubeletHasSufficient',
    message: `kubelet of ${name} is well`,
  })
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      labels: { 'kubernetes.io/hostname': name, 'topology.kubernetes.io/zone': `zone-${node % 3}` },
      managedFields: managedFields('kubelet', { 'f:status': { 'f:conditions': {}, 'f:images': {} } }),
    },
    spec: { podCIDR: podCidr, podCIDRs: [podCidr] },
    status: {
      addresses: [
        { type: 'InternalIP', address: nodeAddress(node) },
        { type: 'Hostname', address: name },
      ],
      conditions: ['Ready', 'MemoryPressure', 'DiskPressure', 'PIDPressure'].map(condition),
      images: Array.from({ length: IMAGES_PER_NODE }, (_, image) => ({
        names: [`registry.example/team/image-${image}@sha256:${String(image).repeat(64).slice(0, 64)}`],
        sizeBytes: 100_000_000 + image,
      })),
    },
  }
}

function serviceObject(
  service: number,
  hasVip: boolean,
  { externalPolicy = 'Cluster' }: ClusterSize,
): KubeObject {
  const { namespace, name } = serviceName(service)
  const clusterIp = clusterIpOf(service)
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      namespace,
      name,
      labels: { app: name },
      managedFields: managedFields('kubectl-client-side-apply', {
        'f:metadata': { 'f:labels': { '.': {}, 'f:app': {} } },
        'f:spec': { 'f:ports': { '.': {}, 'k:{"port":80,"protocol":"TCP"}': { 'f:name': {} } } },
      }),
    },
    spec: {
      type: hasVip ? 'LoadBalancer' : 'ClusterIP',
      clusterIP: clusterIp,
      clusterIPs: [clusterIp],
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      internalTrafficPolicy: 'Cluster',
      ...(hasVip ? { externalTrafficPolicy: externalPolicy, allocateLoadBalancerNodePorts: false } : {}),
      sessionAffinity: 'None',
      selector: { app: name },
      ports: [{ name: 'http', protocol: 'TCP', port: SERVICE_PORT, targetPort: TARGET_PORT }],
    },
    status: { loadBalancer: hasVip ? { ingress: [{ ip: vipOf(service), ipMode: 'VIP' }] } : {} },
  }
}

function sliceObject(service: number, part: number, size: ClusterSize, podBits: number): KubeObject {
  const { namespace, name } = serviceName(service)
  const first = part * SLICE_ENDPOINTS_MAX
  const count = Math.min(SLICE_ENDPOINTS_MAX, size.endpoints - first)
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      namespace,
      name: `${name}-${part}`,
      labels: {
        'kubernetes.io/service-name': name,
        'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
      },
      managedFields: managedFields('kube-controller-manager', {
        'f:addressType': {},
        'f:endpoints': {},
        'f:ports': {},
      }),
    },
    addressType: 'IPv4',
    ports: [{ name: 'http', protocol: 'TCP', port: TARGET_PORT }],
    endpoints: Array.from({ length: count }, (_, index) => {
      const pod = service * size.endpoints + first + index
      const node = pod % size.nodes
      return {
        addresses: [ipv4Text(POD_BASE + (node << podBits) + Math.floor(pod / size.nodes) + 2)],
        conditions: { ready: true, serving: true, terminating: false },
        nodeName: nodeName(node),
        targetRef: { kind: 'Pod', namespace, name: `${name}-${first + index}`, uid: `${pod}` },
        zone: `zone-${node % 3}`,
      }
    }),
  }
}
