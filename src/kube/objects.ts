// Kubernetes objects as far as we read or write them: plain JSON, hand-written and narrow. A field absent here is a field
// we do not use. Optional means what the API means by it: absent has the documented default. Everything beyond `kube/` and
// the rack's controllers works on our own model, not on these.

export interface ObjectMeta {
  name?: string | undefined
  generateName?: string | undefined
  namespace?: string | undefined
  uid?: string | undefined
  resourceVersion?: string | undefined
  generation?: number | undefined
  creationTimestamp?: string | undefined
  deletionTimestamp?: string | undefined
  deletionGracePeriodSeconds?: number | undefined
  labels?: Record<string, string> | undefined
  annotations?: Record<string, string> | undefined
  finalizers?: string[] | undefined
  ownerReferences?: OwnerReference[] | undefined
}

export interface OwnerReference {
  apiVersion: string
  kind: string
  name: string
  uid: string
  controller?: boolean
  blockOwnerDeletion?: boolean
}

export interface ApiObject {
  apiVersion?: string
  kind?: string
  metadata: ObjectMeta
}

export interface ApiList<T> {
  metadata: { resourceVersion?: string; continue?: string; remainingItemCount?: number }
  items: T[]
}

/** Where the objects of a kind live. `T` is the object's type and exists for the checker only. */
export interface Resource<T extends ApiObject = ApiObject> {
  readonly group: string
  readonly version: string
  readonly plural: string
  readonly kind: string
  readonly namespaced: boolean
  /** All versions that are read here, the best first; absent: `version` alone. */
  readonly versions?: readonly string[]
  /** Never set; carries the type. */
  readonly objectType?: T
}

export interface DeleteOptions {
  gracePeriodSeconds?: number
  propagationPolicy?: 'Orphan' | 'Background' | 'Foreground'
  preconditions?: { uid?: string; resourceVersion?: string }
}

export interface Condition {
  type: string
  status: 'True' | 'False' | 'Unknown'
  reason?: string | undefined
  message?: string | undefined
  lastTransitionTime?: string | undefined
  lastUpdateTime?: string | undefined
  lastHeartbeatTime?: string | undefined
  lastProbeTime?: string | null | undefined
  observedGeneration?: number | undefined
}

export interface LabelSelector {
  matchLabels?: Record<string, string>
  matchExpressions?: {
    key: string
    operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist'
    values?: string[]
  }[]
}

export type Protocol = 'TCP' | 'UDP' | 'SCTP'
export type IpFamily = 'IPv4' | 'IPv6'

export interface ServicePort {
  name?: string
  protocol?: Protocol
  port: number
  targetPort?: number | string
  nodePort?: number
  appProtocol?: string
}

export interface LoadBalancerIngress {
  ip?: string
  hostname?: string
  ipMode?: 'VIP' | 'Proxy'
  ports?: { port: number; protocol: Protocol; error?: string }[]
}

export interface Service extends ApiObject {
  spec: {
    type?: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName'
    selector?: Record<string, string>
    ports?: ServicePort[]
    clusterIP?: string
    clusterIPs?: string[]
    ipFamilies?: IpFamily[]
    ipFamilyPolicy?: 'SingleStack' | 'PreferDualStack' | 'RequireDualStack'
    externalIPs?: string[]
    externalTrafficPolicy?: 'Cluster' | 'Local'
    internalTrafficPolicy?: 'Cluster' | 'Local'
    healthCheckNodePort?: number
    loadBalancerClass?: string
    loadBalancerIP?: string
    loadBalancerSourceRanges?: string[]
    allocateLoadBalancerNodePorts?: boolean
    sessionAffinity?: 'None' | 'ClientIP'
    sessionAffinityConfig?: { clientIP?: { timeoutSeconds?: number } }
    publishNotReadyAddresses?: boolean
    trafficDistribution?: string
  }
  status?: { loadBalancer?: { ingress?: LoadBalancerIngress[] }; conditions?: Condition[] }
}

export interface Endpoint {
  addresses: string[]
  conditions?: {
    ready?: boolean | undefined
    serving?: boolean | undefined
    terminating?: boolean | undefined
  }
  hostname?: string | undefined
  nodeName?: string | undefined
  zone?: string | undefined
  targetRef?:
    | { kind: string; namespace?: string | undefined; name: string; uid?: string | undefined }
    | undefined
  hints?: { forZones?: { name: string }[]; forNodes?: { name: string }[] }
}

export interface EndpointPort {
  name?: string | undefined
  protocol?: Protocol | undefined
  port?: number | undefined
  appProtocol?: string | undefined
}

export interface EndpointSlice extends ApiObject {
  addressType: IpFamily | 'FQDN'
  endpoints: Endpoint[] | null
  ports?: EndpointPort[] | null
}

export interface Node extends ApiObject {
  spec?: {
    podCIDR?: string
    podCIDRs?: string[]
    unschedulable?: boolean
    taints?: { key: string; value?: string; effect: string }[]
  }
  status?: {
    addresses?: { type: string; address: string }[]
    conditions?: Condition[]
    capacity?: Record<string, string>
    allocatable?: Record<string, string>
    nodeInfo?: Record<string, string>
  }
}

export interface ContainerPort {
  name?: string
  containerPort: number
  protocol?: Protocol
  hostPort?: number
  hostIP?: string
}

export interface EnvironmentVariable {
  name: string
  value?: string
  valueFrom?: { fieldRef?: { fieldPath: string } }
}

export interface HttpGetAction {
  path?: string
  port: number | string
  host?: string
  scheme?: 'HTTP' | 'HTTPS'
  httpHeaders?: { name: string; value: string }[]
}

export interface Probe {
  httpGet?: HttpGetAction
  tcpSocket?: { port: number | string; host?: string }
  exec?: { command?: string[] }
  initialDelaySeconds?: number
  periodSeconds?: number
  timeoutSeconds?: number
  failureThreshold?: number
  successThreshold?: number
}

export interface Container {
  name: string
  image?: string
  command?: string[]
  args?: string[]
  workingDir?: string
  env?: EnvironmentVariable[]
  ports?: ContainerPort[]
  readinessProbe?: Probe
  livenessProbe?: Probe
  startupProbe?: Probe
  restartPolicy?: 'Always'
  lifecycle?: { preStop?: { exec?: { command?: string[] }; sleep?: { seconds: number } } }
}

export interface PodSpec {
  containers: Container[]
  initContainers?: Container[]
  nodeName?: string
  nodeSelector?: Record<string, string>
  hostNetwork?: boolean
  serviceAccountName?: string
  hostname?: string
  subdomain?: string
  restartPolicy?: 'Always' | 'OnFailure' | 'Never'
  terminationGracePeriodSeconds?: number
  schedulerName?: string
  readinessGates?: { conditionType: string }[]
  tolerations?: { key?: string; operator?: string; value?: string; effect?: string }[]
}

export interface ContainerState {
  waiting?: { reason?: string; message?: string }
  running?: { startedAt?: string }
  terminated?: { exitCode: number; signal?: number; reason?: string; startedAt?: string; finishedAt?: string }
}

export interface ContainerStatus {
  name: string
  image: string
  imageID: string
  containerID?: string | undefined
  ready: boolean
  started?: boolean
  restartCount: number
  state: ContainerState
  lastState?: ContainerState
}

export interface PodStatus {
  phase?: 'Pending' | 'Running' | 'Succeeded' | 'Failed' | 'Unknown' | undefined
  conditions?: Condition[]
  podIP?: string | undefined
  podIPs?: { ip: string }[] | undefined
  hostIP?: string | undefined
  hostIPs?: { ip: string }[] | undefined
  startTime?: string | undefined
  qosClass?: string
  reason?: string | undefined
  message?: string | undefined
  containerStatuses?: ContainerStatus[] | undefined
  initContainerStatuses?: ContainerStatus[] | undefined
}

export interface Pod extends ApiObject {
  spec: PodSpec
  status?: PodStatus
}

export interface PodTemplate {
  metadata?: ObjectMeta
  spec: PodSpec
}

export interface Lease extends ApiObject {
  spec?: {
    holderIdentity?: string | undefined
    leaseDurationSeconds?: number
    acquireTime?: string
    renewTime?: string
    leaseTransitions?: number
  }
}

export interface Secret extends ApiObject {
  /** Base64. */
  data?: Record<string, string>
}

/** networking.k8s.io/v1: the ranges that ClusterIPs come from. */
export interface ServiceCidr extends ApiObject {
  spec?: { cidrs?: string[] }
}

export interface Namespace extends ApiObject {
  spec?: { finalizers?: string[] }
  status?: { phase?: 'Active' | 'Terminating' }
}

/** What `kubectl describe` lists under Events; one object per (involved object, reason). */
export interface Event extends ApiObject {
  involvedObject: { kind: string; namespace?: string; name: string; uid?: string; apiVersion?: string }
  reason: string
  message: string
  type: 'Normal' | 'Warning'
  source?: { component?: string; host?: string }
  reportingComponent?: string
  firstTimestamp?: string
  lastTimestamp?: string
  count?: number
}

const core = (plural: string, kind: string, namespaced = true) => ({
  group: '',
  version: 'v1',
  plural,
  kind,
  namespaced,
})

export const SERVICES: Resource<Service> = core('services', 'Service')
export const NODES: Resource<Node> = core('nodes', 'Node', false)
export const PODS: Resource<Pod> = core('pods', 'Pod')
export const NAMESPACES: Resource<Namespace> = core('namespaces', 'Namespace', false)
export const SERVICE_ACCOUNTS: Resource = core('serviceaccounts', 'ServiceAccount')
export const EVENTS: Resource<Event> = core('events', 'Event')
export const SECRETS: Resource<Secret> = core('secrets', 'Secret')
export const ENDPOINT_SLICES: Resource<EndpointSlice> = {
  group: 'discovery.k8s.io',
  version: 'v1',
  plural: 'endpointslices',
  kind: 'EndpointSlice',
  namespaced: true,
}
export const SERVICE_CIDRS: Resource<ServiceCidr> = {
  group: 'networking.k8s.io',
  version: 'v1',
  plural: 'servicecidrs',
  kind: 'ServiceCIDR',
  namespaced: false,
}
export const LEASES: Resource<Lease> = {
  group: 'coordination.k8s.io',
  version: 'v1',
  plural: 'leases',
  kind: 'Lease',
  namespaced: true,
}
export function apiVersionOf(resource: Resource): string {
  return resource.group === '' ? resource.version : `${resource.group}/${resource.version}`
}

/** Of a kind, whichever of its versions is asked for: `clusternetworkpolicies.policy.networking.k8s.io`. */
export function groupResourceOf({ group, plural }: Resource): string {
  return group === '' ? plural : `${plural}.${group}`
}

/** `namespace/name`, or the name alone for kinds without namespaces. */
export function keyOf(object: ApiObject): string {
  const { namespace, name } = object.metadata
  return namespace === undefined || namespace === '' ? (name ?? '') : `${namespace}/${name ?? ''}`
}
