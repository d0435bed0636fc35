// Services as the local API shows them: what the plan says now, beside what the kernel holds.

import type { ObjectKey, ServicePort } from '../model/service.ts'
import type { DesiredBackend, DesiredPort } from '../services/desired.ts'
import type { ServedService } from './service-loop.ts'

export interface ServiceSummary {
  readonly service: ObjectKey
  /** Addresses that the kernel holds now. */
  readonly held: readonly string[]
  /** As `kubectl get services` writes them: `80/TCP`, `80:30080/TCP`. */
  readonly ports: readonly string[]
  readonly usable: { readonly anywhere: number; readonly here: number }
  /** One sentence each with its mend; empty when all is as it should be. */
  readonly problems: readonly string[]
}

export interface FrontendView {
  readonly address: string
  /** 0: the ports that no Service defines, which are refused. */
  readonly port: number
  readonly protocol: string
  /** cluster-ip, node-port, external-ip, load-balancer, host-port, loopback */
  readonly kind: string
}

export interface EndpointView {
  readonly address: string
  readonly port: number
  readonly node: string | undefined
  /** active, terminating, gone */
  readonly state: string
  readonly weight: number
  /** Whether new flows may come here: by Cluster policy, by Local policy. */
  readonly inCluster: boolean
  readonly inLocal: boolean
}

export interface PortView {
  /** `namespace/name port/protocol family`. */
  readonly id: string
  readonly frontends: readonly FrontendView[]
  readonly endpoints: readonly EndpointView[]
  readonly forwarding: string
  /** maglev, list or random */
  readonly balancing: string
  readonly affinitySeconds: number
  readonly externalTrafficPolicy: string
  readonly internalTrafficPolicy: string
  readonly sourceRanges: readonly string[]
}

export interface ServiceDetail extends Omit<ServiceSummary, 'ports'> {
  readonly ports: readonly PortView[]
}

export function summarizeService({ service, held, usable, problems }: ServedService): ServiceSummary {
  return { service: service.key, held, ports: service.ports.map(portText), usable, problems }
}

function portText({ port, nodePort, protocol }: ServicePort): string {
  return nodePort === 0 ? `${port}/${protocol}` : `${port}:${nodePort}/${protocol}`
}

/** @param desired the plan of this Service as of now */
export function describeService(served: ServedService, desired: readonly DesiredPort[]): ServiceDetail {
  return { ...summarizeService(served), ports: desired.map(portView) }
}

function portView(port: DesiredPort): PortView {
  const cluster = new Set(port.cluster)
  const local = new Set(port.local)
  return {
    id: port.id,
    frontends: port.frontends.map(({ address, port: number, protocol, kind }) => ({
      address,
      port: number,
      protocol,
      kind,
    })),
    endpoints: port.backends.map((backend, index) => ({
      ...endpointView(backend),
      inCluster: cluster.has(index),
      inLocal: local.has(index),
    })),
    forwarding: port.forwarding,
    balancing: port.isRandom ? 'random' : port.balancing,
    affinitySeconds: port.affinitySeconds,
    externalTrafficPolicy: port.externalLocal ? 'Local' : 'Cluster',
    internalTrafficPolicy: port.internalLocal ? 'Local' : 'Cluster',
    sourceRanges: port.sourceRanges,
  }
}

function endpointView({ address, port, nodeName, state, weight }: DesiredBackend) {
  return { address, port, node: nodeName, state, weight }
}
