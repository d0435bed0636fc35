// Who there is, as far as policy sees it: pods, nodes, namespaces, endpoints of Services, and Cilium's shared lists of networks.

import { parseAddress, parseNetwork } from '../../model/address.ts'
import {
  NAMESPACE_NAME_LABEL,
  type PolicyNode,
  type PolicyPod,
  type PolicyWorld,
  type PortProtocol,
} from '../../model/policy.ts'
import type { ApiObject, Container, EndpointSlice, Namespace, Node, Pod, Service } from '../objects.ts'

const PROTOCOLS: Readonly<Record<string, PortProtocol>> = { TCP: 'tcp', UDP: 'udp', SCTP: 'sctp' }

/** Of pods that the kubelet runs from files of its own. */
const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror'

export function toPolicyPod({ metadata, spec, status }: Pod): PolicyPod {
  const namespace = metadata.namespace ?? ''
  const texts = status?.podIPs?.map(({ ip }) => ip) ?? [status?.podIP ?? '']
  return {
    key: `${namespace}/${metadata.name}`,
    namespace,
    labels: metadata.labels ?? {},
    serviceAccount: spec.serviceAccountName ?? 'default',
    uid: metadata.annotations?.[MIRROR_ANNOTATION] ?? metadata.uid,
    addresses: texts.flatMap((text) => parseAddress(text) ?? []),
    node: spec.nodeName ?? '',
    isHostNetwork: spec.hostNetwork === true,
    isFinished: status?.phase === 'Succeeded' || status?.phase === 'Failed',
    namedPorts: servingContainers(spec).flatMap(namedPortsOf),
  }
}

/** Those that serve while the pod runs: init containers that are restarted go on beside the others. */
function servingContainers({ containers, initContainers = [] }: Pod['spec']): readonly Container[] {
  return [...containers, ...initContainers.filter(({ restartPolicy }) => restartPolicy === 'Always')]
}

function namedPortsOf({ ports = [] }: Container): PolicyPod['namedPorts'] {
  return ports.flatMap(({ name, protocol = 'TCP', containerPort }) => {
    const known = PROTOCOLS[protocol]
    return name === undefined || known === undefined ? [] : [{ name, protocol: known, port: containerPort }]
  })
}

export function toPolicyNode({ metadata, status }: Node): PolicyNode {
  const texts = (status?.addresses ?? []).filter(({ type }) => type === 'InternalIP' || type === 'ExternalIP')
  return {
    name: metadata.name ?? '',
    labels: metadata.labels ?? {},
    addresses: [...new Set(texts.flatMap(({ address }) => parseAddress(address) ?? []))],
  }
}

/** Its labels; the name is among them whether the API server put it there or not. */
export function toNamespaceLabels({ metadata }: Namespace): Readonly<Record<string, string>> {
  return { ...metadata.labels, [NAMESPACE_NAME_LABEL]: metadata.name ?? '' }
}

export function toPolicyService(
  { metadata }: Service,
  slices: readonly EndpointSlice[],
): PolicyWorld['services'][number] {
  const namespace = metadata.namespace ?? ''
  const addresses = slices
    .flatMap(({ endpoints }) => endpoints ?? [])
    .flatMap((endpoint) => endpoint.addresses)
    .flatMap((text) => parseAddress(text) ?? [])
  return {
    key: `${namespace}/${metadata.name}`,
    namespace,
    labels: metadata.labels ?? {},
    endpoints: [...new Set(addresses)].sort(),
  }
}

export interface CidrGroup extends ApiObject {
  spec?: { externalCIDRs?: string[] }
}

/** What is no network is left out: a list that allows loses by it; what denies by it is told that it is broken. */
export function toNetworkGroup({ metadata, spec }: CidrGroup): PolicyWorld['networkGroups'][number] {
  const texts: unknown = spec?.externalCIDRs
  const items: readonly unknown[] = Array.isArray(texts) ? texts : [undefined]
  const read = items.map((text) => (typeof text === 'string' ? parseNetwork(text) : undefined))
  return {
    name: metadata.name ?? '',
    labels: metadata.labels ?? {},
    prefixes: [...new Set(read.filter((prefix) => prefix !== undefined))].sort(),
    ...(read.includes(undefined) ? { isBroken: true } : {}),
  }
}
