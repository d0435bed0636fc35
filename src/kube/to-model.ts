// Kubernetes objects → our model. Foreign types stop here: defaults are filled, what we must not act on is left out, and
// what cannot be parsed is skipped, as one bad address in a hand-written slice must not take the others down.

import { type Address, type Family, familyOf, parseAddress, parsePrefix } from '../model/address.ts'
import { type Endpoint, type EndpointSlice, type Node, objectKey, type Service } from '../model/service.ts'
import type * as api from './objects.ts'

/** Another proxy's Services and slices, and what belongs to headless ones, by label, whatever its value. */
const LABELS_NOT_OURS = ['service.kubernetes.io/service-proxy-name', 'service.kubernetes.io/headless']
const LABEL_SERVICE_NAME = 'kubernetes.io/service-name'
const DEFAULT_AFFINITY_SECONDS = 10_800

function isNotOurs(object: api.ApiObject): boolean {
  return LABELS_NOT_OURS.some((label) => object.metadata.labels?.[label] !== undefined)
}

function parseAll(texts: readonly (string | undefined)[]): Address[] {
  return texts.flatMap((text) => (text === undefined ? [] : (parseAddress(text) ?? [])))
}

/**
 * A Service as the planner needs it; undefined when it is not for us: headless, ExternalName, or another proxy's.
 */
export function toService(object: api.Service): Service | undefined {
  const { spec, metadata } = object
  if (isNotOurs(object) || spec.type === 'ExternalName') return undefined
  const clusterIps = spec.clusterIPs?.length ? spec.clusterIPs : [spec.clusterIP]
  if (!clusterIps[0] || clusterIps[0] === 'None') return undefined
  const ingress = object.status?.loadBalancer?.ingress ?? []
  const served = spec.type === 'LoadBalancer' ? ingress.filter((entry) => entry.ipMode !== 'Proxy') : []
  return {
    key: objectKey(metadata.namespace ?? '', metadata.name ?? ''),
    clusterIps: parseAll(clusterIps),
    externalIps: parseAll(spec.externalIPs ?? []),
    loadBalancerIps: parseAll(served.map((entry) => entry.ip)),
    statusIps: parseAll(ingress.map((entry) => entry.ip)),
    ports: (spec.ports ?? []).map((port) => ({
      name: port.name ?? '',
      protocol: port.protocol ?? 'TCP',
      port: port.port,
    })),
    externalTrafficPolicy: spec.externalTrafficPolicy ?? 'Cluster',
    internalTrafficPolicy: spec.internalTrafficPolicy ?? 'Cluster',
    affinitySeconds:
      spec.sessionAffinity === 'ClientIP'
        ? (spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? DEFAULT_AFFINITY_SECONDS)
        : 0,
    loadBalancerFamilies: wantsLoadBalancer(spec) ? familiesOf(spec, parseAll(clusterIps)) : [],
    isForeignBalancer: (spec.loadBalancerClass ?? '') !== '',
    createdMs: Date.parse(metadata.creationTimestamp ?? '') || 0,
  }
}

/** A default load-balancer implementation leaves Services of a class to that class. */
function wantsLoadBalancer(spec: api.Service['spec']): boolean {
  return spec.type === 'LoadBalancer' && (spec.loadBalancerClass ?? '') === ''
}

function familiesOf(spec: api.Service['spec'], clusterIps: readonly Address[]): Family[] {
  if (spec.ipFamilies?.length) return spec.ipFamilies.map((family) => (family === 'IPv6' ? 'ipv6' : 'ipv4'))
  return clusterIps.map(familyOf)
}

/** undefined when the slice is nobody's, another proxy's, or holds names instead of addresses. */
export function toEndpointSlice(object: api.EndpointSlice): EndpointSlice | undefined {
  const serviceName = object.metadata.labels?.[LABEL_SERVICE_NAME]
  if (isNotOurs(object) || !serviceName || object.addressType === 'FQDN') return undefined
  const family = object.addressType === 'IPv6' ? 'ipv6' : 'ipv4'
  const namespace = object.metadata.namespace ?? ''
  return {
    key: objectKey(namespace, object.metadata.name ?? ''),
    service: objectKey(namespace, serviceName),
    family,
    ports: (object.ports ?? []).flatMap((port) =>
      port.port ? [{ name: port.name ?? '', protocol: port.protocol ?? 'TCP', port: port.port }] : [],
    ),
    endpoints: (object.endpoints ?? []).flatMap((endpoint) => toEndpoint(endpoint, family)),
  }
}

/** Only the first address of an endpoint counts; absent conditions mean ready, serving and not terminating. */
function toEndpoint(endpoint: api.Endpoint, family: Family): Endpoint[] {
  const parsed = parseAddress(endpoint.addresses[0] ?? '')
  if (parsed === undefined || familyOf(parsed) !== family) return []
  const { ready, serving, terminating } = endpoint.conditions ?? {}
  return [
    {
      address: parsed,
      nodeName: endpoint.nodeName,
      ready: ready ?? true,
      serving: serving ?? ready ?? true,
      terminating: terminating ?? false,
    },
  ]
}

export function toNode(object: api.Node): Node {
  const internal = parseAll(
    (object.status?.addresses ?? [])
      .filter((entry) => entry.type === 'InternalIP')
      .map((entry) => entry.address),
  )
  const internalIps: Partial<Record<Family, Address>> = {}
  for (const entry of internal) internalIps[familyOf(entry)] ??= entry
  const podCidrs = object.spec?.podCIDRs ?? [object.spec?.podCIDR ?? '']
  return {
    name: object.metadata.name ?? '',
    internalIps,
    podCidrs: podCidrs.flatMap((text) => parsePrefix(text) ?? []),
  }
}
