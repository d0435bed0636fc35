// Nodes, the pods of this node, and ServiceCIDRs → our model. See to-model.ts.

import { type Address, type Family, familyOf, parseAddress, parseNetwork } from '../model/address.ts'
import { DRAIN_KEY, OWN_PREFIX } from '../model/own-keys.ts'
import { type HostPort, type LocalPod, type Node, objectKey, type ServiceCidr } from '../model/service.ts'
import type * as api from './objects.ts'
import { isPort, readProtocol } from './parts.ts'

const LABEL_ZONE = 'topology.kubernetes.io/zone'
/** Set by the cluster autoscaler on a node it is about to delete (KEP-3836). */
const TAINT_LEAVING = 'ToBeDeletedByClusterAutoscaler'

export function toNode(object: api.Node): Node {
  const { metadata, spec, status } = object
  const addressesOf = (...types: string[]): Address[] =>
    (status?.addresses ?? [])
      .filter((entry) => types.includes(entry.type))
      .flatMap((entry) => parseAddress(entry.address) ?? [])
  const internalIps: Partial<Record<Family, Address>> = {}
  for (const entry of addressesOf('InternalIP')) internalIps[familyOf(entry)] ??= entry
  const podCidrs = spec?.podCIDRs ?? [spec?.podCIDR ?? '']
  return {
    name: metadata.name ?? '',
    uid: metadata.uid ?? '',
    labels: metadata.labels ?? NONE,
    annotations: annotationsRead(metadata.annotations),
    internalIps,
    addresses: [...new Set(addressesOf('InternalIP', 'ExternalIP'))],
    podCidrs: podCidrs.flatMap((text) => parseNetwork(text) ?? []),
    zone: metadata.labels?.[LABEL_ZONE] || undefined,
    isLeaving:
      metadata.deletionTimestamp !== undefined ||
      (spec?.taints ?? []).some((taint) => taint.key === TAINT_LEAVING),
    isCordoned: spec?.unschedulable === true,
    asksToDrain:
      metadata.labels?.[DRAIN_KEY] !== undefined ||
      (spec?.taints ?? []).some((taint) => taint.key === DRAIN_KEY),
  }
}

const NONE: Readonly<Record<string, string>> = {}
const KUBE_ROUTER_PREFIX = 'kube-router.io/'

function annotationsRead(annotations = NONE): Readonly<Record<string, string>> {
  const found = Object.entries(annotations).filter(
    ([key]) => key.startsWith(KUBE_ROUTER_PREFIX) || key.startsWith(OWN_PREFIX),
  )
  return found.length === 0 ? NONE : Object.fromEntries(found)
}

export function toLocalPod(object: api.Pod): LocalPod {
  const { metadata, spec, status } = object
  const texts = status?.podIPs?.length ? status.podIPs.map(({ ip }) => ip) : [status?.podIP ?? '']
  const hasFinished = status?.phase === 'Succeeded' || status?.phase === 'Failed'
  return {
    key: objectKey(metadata.namespace ?? '', metadata.name ?? ''),
    uid: metadata.uid ?? '',
    addresses: texts.flatMap((text) => parseAddress(text) ?? []),
    isHostNetwork: spec.hostNetwork === true,
    hostPorts: hostPortsOf(spec),
    isRunning: !hasFinished && metadata.deletionTimestamp === undefined,
    createdMs: Date.parse(metadata.creationTimestamp ?? '') || 0,
  }
}

/** Init containers count when they run on beside the others. */
function hostPortsOf(spec: api.PodSpec): HostPort[] {
  const sidecars = (spec.initContainers ?? []).filter((container) => container.restartPolicy === 'Always')
  return [...spec.containers, ...sidecars]
    .flatMap((container) => container.ports ?? [])
    .flatMap(({ protocol: text, hostPort, hostIP, containerPort }) => {
      const protocol = readProtocol(text, 'hostPort', [])
      if (!isPort(hostPort) || !isPort(containerPort) || protocol === undefined) return []
      return [{ protocol, hostPort, containerPort, hostIp: parseAddress(hostIP ?? '') }]
    })
}

export function toServiceCidr(object: api.ServiceCidr): ServiceCidr {
  return {
    name: object.metadata.name ?? '',
    prefixes: (object.spec?.cidrs ?? []).flatMap((text) => parseNetwork(text) ?? []),
  }
}
