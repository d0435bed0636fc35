// Services and EndpointSlices → our model. Foreign types stop here: defaults are filled, and what we must not act on is left
// out. What cannot be read is skipped and told of. See to-node-model.ts for nodes and pods.

import { type Address, FAMILIES, type Family, familyOf, parseAddress } from '../model/address.ts'
import { fitted } from '../model/fitted.ts'
import { SERVICE_KEYS, SLICE_KEYS } from '../model/own-keys.ts'
import {
  type Endpoint,
  type EndpointSlice,
  type Forwarding,
  objectKey,
  type Problem,
  type Service,
  type ServicePort,
  type SlicePort,
  type TrafficPolicy,
  type UnservedService,
  type UnservedSlice,
} from '../model/service.ts'
import type * as api from './objects.ts'
import {
  isInFamilies,
  isPort,
  notAnAddress,
  problemAt,
  readAddresses,
  readChoice,
  readNetworks,
  readProtocol,
} from './parts.ts'
import { isForeignClass, readAddressCondition, readAddressWish } from './service-addressing.ts'
import { isServiceLocal, readAnnouncing, readRefusalCondition } from './service-announcing.ts'

/** Another proxy's Services and slices, and what belongs to headless ones, by label, whatever its value. */
const LABELS_NOT_OURS = ['service.kubernetes.io/service-proxy-name', 'service.kubernetes.io/headless']
const LABEL_SERVICE_NAME = 'kubernetes.io/service-name'
const DEFAULT_AFFINITY_SECONDS = 10_800

const WEIGHT_MAX = 100
/** What other balancers call the same choice. */
const CILIUM_FORWARDING = 'service.cilium.io/forwarding-mode'
const KUBE_ROUTER_DSR = 'kube-router.io/service.dsr'
const LAST_CHANGE = 'endpoints.kubernetes.io/last-change-trigger-time'

function isNotOurs(object: api.ApiObject): boolean {
  return LABELS_NOT_OURS.some((label) => object.metadata.labels?.[label] !== undefined)
}

/** What `toService` leaves out, but for an ExternalName: that has no endpoints. */
export function toUnservedService({ spec, metadata }: api.Service): UnservedService | undefined {
  if (spec.type === 'ExternalName') return undefined
  return { key: objectKey(metadata.namespace ?? '', metadata.name ?? ''), labels: metadata.labels ?? {} }
}

/** What `toEndpointSlice` leaves out; undefined when it is nobody's, or holds something else than addresses. */
export function toUnservedSlice({
  metadata,
  addressType,
  endpoints,
}: api.EndpointSlice): UnservedSlice | undefined {
  const serviceName = metadata.labels?.[LABEL_SERVICE_NAME]
  const family = FAMILY_OF_TYPE.get(addressType)
  if (!serviceName || family === undefined) return undefined
  const namespace = metadata.namespace ?? ''
  const addresses = (endpoints ?? []).flatMap(
    ({ addresses: [first] }, index) => readEndpointAddress(first, family, index, []) ?? [],
  )
  return {
    key: objectKey(namespace, metadata.name ?? ''),
    service: objectKey(namespace, serviceName),
    addresses: fitted(addresses),
  }
}

/**
 * A Service as the planner needs it; undefined when it is not for us: headless, ExternalName, or another proxy's.
 */
export function toService(object: api.Service): Service | undefined {
  const { spec, metadata } = object
  if (isNotOurs(object) || spec.type === 'ExternalName') return undefined
  const ipTexts = spec.clusterIPs?.length ? spec.clusterIPs : [spec.clusterIP]
  if (!ipTexts[0] || ipTexts[0] === 'None') return undefined
  const problems: Problem[] = []
  const clusterIps = readAddresses((index) => `spec.clusterIPs[${index}]`, ipTexts, problems)
  const families = FAMILIES.filter((family) => clusterIps.some((ip) => familyOf(ip) === family))
  const isLocal = isServiceLocal(metadata.annotations)
  const externalPolicy = isLocal ? 'Local' : policyOf(spec.externalTrafficPolicy)
  const isBalanced = spec.type === 'LoadBalancer'
  return {
    key: objectKey(metadata.namespace ?? '', metadata.name ?? ''),
    uid: metadata.uid ?? '',
    labels: metadata.labels ?? {},
    clusterIps: fitted(clusterIps),
    externalIps: readAddresses(
      (index) => `spec.externalIPs[${index}]`,
      spec.externalIPs ?? [],
      problems,
    ).filter((ip) => isInFamilies(ip, families, 'spec.externalIPs', problems)),
    ...readIngress(object, families, problems),
    ports: fitted(readPorts(spec, problems)),
    sourceRanges: isBalanced
      ? readNetworks('spec.loadBalancerSourceRanges', spec.loadBalancerSourceRanges, problems)
      : [],
    externalTrafficPolicy: externalPolicy,
    internalTrafficPolicy: isLocal ? 'Local' : policyOf(spec.internalTrafficPolicy),
    healthCheckNodePort: isBalanced && externalPolicy === 'Local' ? (spec.healthCheckNodePort ?? 0) : 0,
    affinitySeconds:
      spec.sessionAffinity === 'ClientIP'
        ? (spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? DEFAULT_AFFINITY_SECONDS)
        : 0,
    ...readAnnotations(metadata.annotations, problems),
    announcing: readAnnouncing(metadata.annotations, problems),
    loadBalancerFamilies: isBalanced && !isForeignClass(spec) ? fitted(familiesOf(spec, clusterIps)) : [],
    isForeignBalancer: isForeignClass(spec),
    addressWish: readAddressWish(object),
    addressCondition: readAddressCondition(object),
    refusalCondition: readRefusalCondition(object),
    createdMs: Date.parse(metadata.creationTimestamp ?? '') || 0,
    problems,
  }
}

function readIngress(
  { spec, status }: api.Service,
  families: readonly Family[],
  problems: Problem[],
): Pick<Service, 'loadBalancerIps' | 'statusIps'> {
  const field = (index: number) => `status.loadBalancer.ingress[${index}].ip`
  const ingress = status?.loadBalancer?.ingress ?? []
  const served = spec.type === 'LoadBalancer' ? ingress : []
  return {
    statusIps: fitted(
      readAddresses(
        field,
        ingress.map((entry) => entry.ip),
        problems,
      ),
    ),
    // What cannot be read has been told of already.
    loadBalancerIps: fitted(
      readAddresses(
        field,
        served.map((entry) => (entry.ipMode === 'Proxy' ? undefined : entry.ip)),
        [],
      ).filter((ip) => isInFamilies(ip, families, 'status.loadBalancer.ingress', problems)),
    ),
  }
}

function readPorts(spec: api.Service['spec'], problems: Problem[]): ServicePort[] {
  const hasNodePorts = spec.type === 'NodePort' || spec.type === 'LoadBalancer'
  return (spec.ports ?? []).flatMap((port, index) => {
    if (!isPort(port.port)) {
      problems.push(problemAt(`spec.ports[${index}].port`, port.port, 'is no port; write 1 to 65535'))
      return []
    }
    const nodePort = hasNodePorts ? (port.nodePort ?? 0) : 0
    if (nodePort !== 0 && !isPort(nodePort))
      problems.push(problemAt(`spec.ports[${index}].nodePort`, nodePort, 'is no port; write 1 to 65535'))
    const protocol = readProtocol(port.protocol, `spec.ports[${index}].protocol`, problems)
    if (protocol === undefined) return []
    return [{ name: port.name ?? '', protocol, port: port.port, nodePort: isPort(nodePort) ? nodePort : 0 }]
  })
}

/** A policy that a later Kubernetes may have is read as the default. */
function policyOf(text: string | undefined): TrafficPolicy {
  return text === 'Local' ? 'Local' : 'Cluster'
}

function readAnnotations(
  annotations: Readonly<Record<string, string>> | undefined,
  problems: Problem[],
): Pick<Service, 'forwarding' | 'balancing' | 'topologyForExternal'> {
  const forwardings: readonly Forwarding[] = ['dsr', 'snat']
  const own = readChoice(annotations, SERVICE_KEYS.forwarding, forwardings, problems)
  const cilium = readChoice(annotations, CILIUM_FORWARDING, forwardings, problems)
  const kubeRouter = readChoice(annotations, KUBE_ROUTER_DSR, ['tunnel'], problems)
  return {
    forwarding: own ?? cilium ?? (kubeRouter === 'tunnel' ? 'dsr' : undefined),
    balancing: readChoice(annotations, SERVICE_KEYS.balancing, ['maglev', 'random'], problems) ?? 'maglev',
    topologyForExternal:
      readChoice(annotations, SERVICE_KEYS.topologyForExternal, ['true', 'false'], problems) === 'true',
  }
}

function familiesOf(spec: api.Service['spec'], clusterIps: readonly Address[]): Family[] {
  if (spec.ipFamilies?.length) return spec.ipFamilies.flatMap((family) => FAMILY_OF_TYPE.get(family) ?? [])
  return clusterIps.map(familyOf)
}

/** Names (FQDN), and what a later Kubernetes may have, are not among them. */
const FAMILY_OF_TYPE: ReadonlyMap<string, Family> = new Map([
  ['IPv4', 'ipv4'],
  ['IPv6', 'ipv6'],
])

/** undefined when the slice is nobody's, another proxy's, or holds something else than addresses. */
export function toEndpointSlice(object: api.EndpointSlice): EndpointSlice | undefined {
  const { metadata } = object
  const serviceName = metadata.labels?.[LABEL_SERVICE_NAME]
  const family = FAMILY_OF_TYPE.get(object.addressType)
  if (isNotOurs(object) || !serviceName || family === undefined) return undefined
  const namespace = metadata.namespace ?? ''
  const problems: Problem[] = []
  const endpoints: Endpoint[] = []
  const given = object.endpoints ?? []
  for (let index = 0; index < given.length; index += 1) {
    const read = toEndpoint(given[index] as api.Endpoint, family, index, problems)
    if (read) endpoints.push(read)
  }
  return {
    key: objectKey(namespace, metadata.name ?? ''),
    uid: metadata.uid ?? '',
    service: objectKey(namespace, serviceName),
    family,
    ports: fitted(readSlicePorts(object.ports ?? [], problems)),
    endpoints: fitted(endpoints),
    weight: readWeight(metadata.annotations?.[SLICE_KEYS.weight], problems),
    triggeredAtMs: readTime(metadata.annotations?.[LAST_CHANGE]),
    problems,
  }
}

/** A port without a number means "all ports", which no proxy can serve. */
function readSlicePorts(ports: readonly api.EndpointPort[], problems: Problem[]): SlicePort[] {
  return ports.flatMap((port, index) => {
    if (!port.port) return []
    if (isPort(port.port)) {
      const protocol = readProtocol(port.protocol, `ports[${index}].protocol`, problems)
      return protocol === undefined ? [] : [{ name: port.name ?? '', protocol, port: port.port }]
    }
    problems.push(problemAt(`ports[${index}].port`, port.port, 'is no port; write 1 to 65535'))
    return []
  })
}

const NO_HINTS: readonly string[] = []

/** Only the first address of an endpoint counts; absent conditions mean ready, serving and not terminating. */
function toEndpoint(
  { addresses, conditions, nodeName, hints }: api.Endpoint,
  family: Family,
  index: number,
  problems: Problem[],
): Endpoint | undefined {
  const address = readEndpointAddress(addresses[0], family, index, problems)
  if (address === undefined) return undefined
  return {
    address,
    nodeName: nodeName || undefined,
    ready: conditions?.ready ?? true,
    serving: conditions?.serving ?? true,
    terminating: conditions?.terminating ?? false,
    forZones: hints?.forZones?.map((zone) => zone.name) ?? NO_HINTS,
    forNodes: hints?.forNodes?.map((node) => node.name) ?? NO_HINTS,
  }
}

/** Of a hundred thousand endpoints nearly every one is in order: what names its field is made only for one that is not. */
function readEndpointAddress(
  text: string | undefined,
  family: Family,
  index: number,
  problems: Problem[],
): Address | undefined {
  if (text === undefined || text === '') return undefined
  const parsed = parseAddress(text)
  if (parsed !== undefined && familyOf(parsed) === family) return parsed
  const field = `endpoints[${index}].addresses[0]`
  if (parsed === undefined) problems.push(notAnAddress(field, text))
  else isInFamilies(parsed, [family], field, problems)
  return undefined
}

function readWeight(text: string | undefined, problems: Problem[]): number {
  if (text === undefined) return 1
  const weight = /^\d{1,3}$/.test(text.trim()) ? Number(text) : 0
  if (weight >= 1 && weight <= WEIGHT_MAX) return weight
  problems.push(
    problemAt(
      `annotation ${SLICE_KEYS.weight}`,
      text,
      `is no weight; write a whole number from 1 to ${WEIGHT_MAX}`,
    ),
  )
  return 1
}

function readTime(text: string | undefined): number | undefined {
  const ms = Date.parse(text ?? '')
  return Number.isNaN(ms) ? undefined : ms
}
