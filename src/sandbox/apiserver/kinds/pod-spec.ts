// What the Pod files and the workload kinds share: the parts of a pod that the server itself reads.

export interface ContainerPort {
  name?: string
  containerPort: number
  hostPort?: number
  protocol?: string
}

export interface Container {
  name: string
  image?: string
  imagePullPolicy?: string
  ports?: ContainerPort[]
  env?: { name: string; value?: string; valueFrom?: object }[]
  volumeMounts?: { name: string; mountPath: string }[]
  resources?: { requests?: Record<string, string | number>; limits?: Record<string, string | number> }
  restartPolicy?: string
  livenessProbe?: Probe
  readinessProbe?: Probe
  startupProbe?: Probe
  [field: string]: unknown
}

interface Probe {
  successThreshold?: number
  exec?: object
  httpGet?: { port: number | string }
  tcpSocket?: { port: number | string }
  grpc?: { port: number }
  [field: string]: unknown
}

export interface PodSpec {
  containers?: Container[]
  initContainers?: Container[]
  ephemeralContainers?: Container[]
  volumes?: { name: string; [source: string]: unknown }[]
  nodeName?: string
  nodeSelector?: Record<string, string>
  hostNetwork?: boolean
  restartPolicy?: string
  dnsPolicy?: string
  terminationGracePeriodSeconds?: number
  activeDeadlineSeconds?: number
  tolerations?: {
    key?: string
    operator?: string
    value?: string
    effect?: string
    tolerationSeconds?: number
  }[]
  serviceAccountName?: string
  serviceAccount?: string
  enableServiceLinks?: boolean
  priority?: number
  preemptionPolicy?: string
  hostname?: string
  subdomain?: string
  schedulingGates?: { name: string }[]
  readinessGates?: { conditionType: string }[]
  [field: string]: unknown
}

export interface PodTemplate {
  metadata?: { labels?: Record<string, string>; annotations?: Record<string, string> }
  spec?: PodSpec
}

/** Without a tag, or with the tag latest, an image is pulled each time. */
function defaultPullPolicy(image: string): string {
  if (image.includes('@')) return 'IfNotPresent'
  const tag = /:([^/:]+)$/.exec(image)?.[1]
  return tag === undefined || tag === 'latest' ? 'Always' : 'IfNotPresent'
}

/** Defaults of a pod, or of a workload's pod template, that one field draws from another. */
export function fillPodSpec(spec: PodSpec): void {
  const containers = [
    ...(spec.initContainers ?? []),
    ...(spec.containers ?? []),
    ...(spec.ephemeralContainers ?? []),
  ]
  for (const container of containers) {
    container.imagePullPolicy ||= defaultPullPolicy(container.image ?? '')
    fillRequests(container)
    if (spec.hostNetwork === true)
      for (const port of container.ports ?? []) if (!port.hostPort) port.hostPort = port.containerPort
  }
  if (spec.serviceAccountName) spec.serviceAccount = spec.serviceAccountName
  else if (spec.serviceAccount) spec.serviceAccountName = spec.serviceAccount
  for (const volume of spec.volumes ?? []) if (Object.keys(volume).length === 1) volume['emptyDir'] = {}
}

/** A limit without a request asks for just as much. */
function fillRequests(container: Container): void {
  const { limits } = container.resources ?? {}
  if (limits === undefined || container.resources === undefined) return
  container.resources.requests = { ...limits, ...container.resources.requests }
}

const qosResources = ['cpu', 'memory']

/** Guaranteed: every container's limits equal its requests; BestEffort: none has any; else Burstable. */
export function qosClassOf(spec: PodSpec): string {
  const containers = [...(spec.initContainers ?? []), ...(spec.containers ?? [])]
  const amounts = containers.flatMap((container) =>
    qosResources.map((name) => ({
      request: container.resources?.requests?.[name],
      limit: container.resources?.limits?.[name],
    })),
  )
  const isSet = (amount: string | number | undefined): boolean =>
    amount !== undefined && String(amount) !== '0'
  if (!amounts.some(({ request, limit }) => isSet(request) || isSet(limit))) return 'BestEffort'
  const isGuaranteed = amounts.every(
    ({ request, limit }) => isSet(limit) && String(request ?? limit) === String(limit),
  )
  return isGuaranteed ? 'Guaranteed' : 'Burstable'
}
