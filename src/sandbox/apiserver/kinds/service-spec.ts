// What the Service files share: the fields they read and the questions they ask of them.

import type { KubeObject } from '../kind.ts'

export interface ServicePort {
  name?: string
  protocol?: string
  port: number
  targetPort?: number | string
  nodePort?: number
  appProtocol?: string
}

export interface ServiceSpec {
  type?: string
  ports?: ServicePort[]
  selector?: Record<string, string>
  clusterIP?: string
  clusterIPs?: string[]
  ipFamilies?: string[]
  ipFamilyPolicy?: string
  externalIPs?: string[]
  externalName?: string
  externalTrafficPolicy?: string
  internalTrafficPolicy?: string
  sessionAffinity?: string
  sessionAffinityConfig?: { clientIP?: { timeoutSeconds?: number } }
  healthCheckNodePort?: number
  allocateLoadBalancerNodePorts?: boolean
  loadBalancerClass?: string
  loadBalancerIP?: string
  loadBalancerSourceRanges?: string[]
  publishNotReadyAddresses?: boolean
  trafficDistribution?: string
}

export interface LoadBalancerIngress {
  ip?: string
  hostname?: string
  ipMode?: string
}

export const headless = 'None'

/** The object's own spec, made if it is missing, so admission may fill it. */
export function specOf(object: KubeObject): ServiceSpec {
  object['spec'] ??= {}
  return object['spec'] as ServiceSpec
}

export function ingressOf(object: KubeObject): LoadBalancerIngress[] {
  const status = object['status'] as { loadBalancer?: { ingress?: LoadBalancerIngress[] } } | undefined
  return status?.loadBalancer?.ingress ?? []
}

export function needsClusterIp(spec: ServiceSpec): boolean {
  return spec.type !== 'ExternalName'
}

export function isHeadless(spec: ServiceSpec): boolean {
  return spec.clusterIP === headless || spec.clusterIPs?.[0] === headless
}

export function isSelectorless(spec: ServiceSpec): boolean {
  return Object.keys(spec.selector ?? {}).length === 0
}

export function needsNodePorts(spec: ServiceSpec): boolean {
  return (
    spec.type === 'NodePort' || (spec.type === 'LoadBalancer' && spec.allocateLoadBalancerNodePorts !== false)
  )
}

/** Types whose ports may carry a nodePort at all. */
export function mayHaveNodePorts(spec: ServiceSpec): boolean {
  return spec.type === 'NodePort' || spec.type === 'LoadBalancer'
}

export function needsHealthCheckNodePort(spec: ServiceSpec): boolean {
  return spec.type === 'LoadBalancer' && spec.externalTrafficPolicy === 'Local'
}

export function isExternallyReachable(spec: ServiceSpec): boolean {
  return mayHaveNodePorts(spec) || (spec.type === 'ClusterIP' && (spec.externalIPs ?? []).length > 0)
}

export function protocolOf(port: ServicePort): string {
  return port.protocol ?? 'TCP'
}

/** Every node port a Service holds, the health check's included. */
export function nodePortsOf(spec: ServiceSpec): number[] {
  const ports = (spec.ports ?? []).map((port) => port.nodePort ?? 0)
  return [...ports, spec.healthCheckNodePort ?? 0].filter((port) => port !== 0)
}
