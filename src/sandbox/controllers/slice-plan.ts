// Which EndpointSlices a Service should have, as the upstream controller writes them. Pure.
//
// Every pod the selector matches becomes an endpoint of each IP family of the Service, once it has an address and is not
// finished. Its conditions (KEP-1672):
//   serving      the pod's Ready condition, or the Service publishes not-ready addresses
//   terminating  deletionTimestamp is set
//   ready        serving and not terminating; always true when the Service publishes not-ready addresses
// A named targetPort may resolve to different numbers in different pods, and then to no number at all: pods are grouped by
// the ports they resolve to, and each group has slices of its own, of at most 100 endpoints.
// Existing slices are changed as little as possible: an endpoint stays where it is, new ones fill room that is left.

import type {
  Endpoint,
  EndpointPort,
  EndpointSlice,
  IpFamily,
  Node,
  Pod,
  Service,
  ServicePort,
} from '../../kube/objects.ts'
import { SERVICES } from '../../kube/objects.ts'
import {
  isPodFinished,
  isPodReady,
  matchesLabels,
  ownerReference,
  sameJson,
  servingContainers,
  stableJson,
} from './objects.ts'

export const MANAGED_BY = 'endpointslice-controller.k8s.io'
export const SERVICE_NAME_LABEL = 'kubernetes.io/service-name'
export const MANAGED_BY_LABEL = 'endpointslice.kubernetes.io/managed-by'
const HEADLESS_LABEL = 'service.kubernetes.io/headless'
const ZONE_LABEL = 'topology.kubernetes.io/zone'
export const ENDPOINTS_MAX = 100

export interface SliceChanges {
  create: EndpointSlice[]
  update: EndpointSlice[]
  delete: EndpointSlice[]
}

interface Group {
  family: IpFamily
  ports: EndpointPort[]
  endpoints: Endpoint[]
}

/** `existing` are this controller's slices of the Service, no others. */
export function planSlices(
  service: Service,
  pods: readonly Pod[],
  nodes: ReadonlyMap<string, Node>,
  existing: readonly EndpointSlice[],
): SliceChanges {
  const changes: SliceChanges = { create: [], update: [], delete: [] }
  const groups = groupEndpoints(service, pods, nodes)
  const unclaimed = new Set(existing)
  for (const group of groups.values()) {
    const mine = existing.filter(
      (slice) => slice.addressType === group.family && sameJson(slice.ports ?? [], group.ports),
    )
    for (const slice of mine) unclaimed.delete(slice)
    planGroup(service, group, mine, changes)
  }
  changes.delete.push(...unclaimed)
  return changes
}

/** Families of the Service, also when it was written by hand without the defaults. */
export function familiesOf(service: Service): IpFamily[] {
  const { ipFamilies, clusterIP } = service.spec
  if (ipFamilies !== undefined && ipFamilies.length > 0) return ipFamilies
  return [clusterIP?.includes(':') ? 'IPv6' : 'IPv4']
}

function groupEndpoints(
  service: Service,
  pods: readonly Pod[],
  nodes: ReadonlyMap<string, Node>,
): Map<string, Group> {
  const groups = new Map<string, Group>()
  for (const family of familiesOf(service)) {
    for (const pod of pods) {
      if (!isCandidate(service, pod)) continue
      const endpoint = endpointOf(service, pod, family, nodes)
      if (endpoint === undefined) continue
      const ports = resolvePorts(service, pod)
      // None of the named ports exists in this pod: it offers nothing.
      if (ports.length === 0 && (service.spec.ports ?? []).length > 0) continue
      const key = `${family} ${stableJson(ports)}`
      const group = groups.get(key) ?? { family, ports, endpoints: [] }
      group.endpoints.push(endpoint)
      groups.set(key, group)
    }
  }
  addPlaceholders(service, groups)
  return groups
}

/** A Service without endpoints still has one empty slice per family, which tells "none" from "not yet looked at". */
function addPlaceholders(service: Service, groups: Map<string, Group>): void {
  for (const family of familiesOf(service)) {
    const hasOne = [...groups.values()].some((group) => group.family === family)
    if (!hasOne) groups.set(`${family} none`, { family, ports: [], endpoints: [] })
  }
}

function isCandidate(service: Service, pod: Pod): boolean {
  const selected = matchesLabels(service.spec.selector ?? {}, pod.metadata.labels)
  return selected && !isPodFinished(pod) && (pod.status?.podIPs ?? []).length > 0
}

function endpointOf(
  service: Service,
  pod: Pod,
  family: IpFamily,
  nodes: ReadonlyMap<string, Node>,
): Endpoint | undefined {
  const address = pod.status?.podIPs?.find(({ ip }) => ip.includes(':') === (family === 'IPv6'))?.ip
  if (address === undefined) return undefined
  const publishAll = service.spec.publishNotReadyAddresses === true
  const terminating = pod.metadata.deletionTimestamp !== undefined
  const serving = publishAll || isPodReady(pod)
  const { nodeName, hostname, subdomain } = pod.spec
  const zone = nodes.get(nodeName ?? '')?.metadata.labels?.[ZONE_LABEL]
  return {
    addresses: [address],
    conditions: { ready: publishAll || (serving && !terminating), serving, terminating },
    // Only then does DNS know the pod under this name.
    ...(hostname !== undefined && subdomain === service.metadata.name ? { hostname } : {}),
    ...(nodeName === undefined ? {} : { nodeName }),
    ...(zone === undefined ? {} : { zone }),
    targetRef: {
      kind: 'Pod',
      namespace: pod.metadata.namespace,
      name: pod.metadata.name ?? '',
      uid: pod.metadata.uid,
    },
  }
}

function resolvePorts(service: Service, pod: Pod): EndpointPort[] {
  return (service.spec.ports ?? []).flatMap((port) => {
    const number = targetPortOf(port, pod)
    if (number === undefined) return []
    const { appProtocol } = port
    return [
      {
        name: port.name ?? '',
        port: number,
        protocol: port.protocol ?? 'TCP',
        ...(appProtocol === undefined ? {} : { appProtocol }),
      },
    ]
  })
}

function targetPortOf(port: ServicePort, pod: Pod): number | undefined {
  const target = port.targetPort ?? port.port
  if (typeof target === 'number') return target === 0 ? port.port : target
  for (const container of servingContainers(pod)) {
    for (const candidate of container.ports ?? []) {
      const sameProtocol = (candidate.protocol ?? 'TCP') === (port.protocol ?? 'TCP')
      if (candidate.name === target && sameProtocol) return candidate.containerPort
    }
  }
  return undefined
}

/** Keeps endpoints in the slice they are in, then fills free room, then makes new slices; emptied slices go but one. */
function planGroup(
  service: Service,
  group: Group,
  mine: readonly EndpointSlice[],
  changes: SliceChanges,
): void {
  const wanted = new Map(group.endpoints.map((endpoint) => [identityOf(endpoint), endpoint]))
  const contents = mine.map((slice) => ({ slice, endpoints: takeKnown(slice, wanted) }))
  const fresh = [...wanted.values()]
  for (const content of contents) {
    content.endpoints.push(...fresh.splice(0, Math.max(0, ENDPOINTS_MAX - content.endpoints.length)))
  }
  const filled = contents.filter(({ endpoints }) => endpoints.length > 0)
  const isPlaceholder = group.endpoints.length === 0
  const kept = isPlaceholder ? contents.slice(0, 1) : filled
  for (const { slice, endpoints } of kept) {
    const next = sliceOf(service, group, endpoints, slice)
    if (!sameContent(slice, next)) changes.update.push(next)
  }
  changes.delete.push(...contents.filter((content) => !kept.includes(content)).map(({ slice }) => slice))
  while (fresh.length > 0) changes.create.push(sliceOf(service, group, fresh.splice(0, ENDPOINTS_MAX)))
  if (isPlaceholder && contents.length === 0) changes.create.push(sliceOf(service, group, []))
}

function takeKnown(slice: EndpointSlice, wanted: Map<string, Endpoint>): Endpoint[] {
  const known: Endpoint[] = []
  for (const endpoint of slice.endpoints ?? []) {
    const now = wanted.get(identityOf(endpoint))
    if (now === undefined || known.length >= ENDPOINTS_MAX) continue
    wanted.delete(identityOf(endpoint))
    known.push(now)
  }
  return known
}

function identityOf(endpoint: Endpoint): string {
  return `${endpoint.targetRef?.uid ?? ''} ${endpoint.addresses[0] ?? ''}`
}

function sliceOf(
  service: Service,
  group: Group,
  endpoints: Endpoint[],
  existing?: EndpointSlice,
): EndpointSlice {
  const name = service.metadata.name ?? ''
  const headless = service.spec.clusterIP === 'None'
  const { [HEADLESS_LABEL]: _stale, ...labels } = { ...existing?.metadata.labels, ...service.metadata.labels }
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      ...(existing?.metadata ?? { generateName: `${name}-`, namespace: service.metadata.namespace }),
      labels: {
        ...labels,
        [SERVICE_NAME_LABEL]: name,
        [MANAGED_BY_LABEL]: MANAGED_BY,
        ...(headless ? { [HEADLESS_LABEL]: '' } : {}),
      },
      ownerReferences: [ownerReference(SERVICES, service)],
    },
    addressType: group.family,
    endpoints,
    ports: group.ports,
  }
}

function sameContent(a: EndpointSlice, b: EndpointSlice): boolean {
  return (
    sameJson(a.endpoints ?? [], b.endpoints ?? []) &&
    sameJson(a.ports ?? [], b.ports ?? []) &&
    sameJson(a.metadata.labels ?? {}, b.metadata.labels ?? {}) &&
    sameJson(a.metadata.ownerReferences ?? [], b.metadata.ownerReferences ?? [])
  )
}
