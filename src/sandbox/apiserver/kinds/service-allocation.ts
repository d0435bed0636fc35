// Gives a Service what must be unique in the cluster: cluster addresses per family, node ports, the health check's node port.
//
// Data in: the Service after schema defaults, its previous state, the other Services. Data out: the same Service with the fields
// filled. What the user chose stays as chosen; whether it may be had is for validation (service-validation.ts) to say. What an
// update leaves out is carried over, and what another type does not have is released: both as the API promises to clients that
// send only what they know.

import type { AdmissionContext, KubeObject } from '../kind.ts'
import { isSame } from './field-errors.ts'
import { type AddressRange, type Family, familyOf, freeAddress, parseRange } from './ip-ranges.ts'
import { type Claims, claimsOfOthers } from './service-claims.ts'
import {
  headless,
  ingressOf,
  isExternallyReachable,
  isHeadless,
  isSelectorless,
  mayHaveNodePorts,
  needsClusterIp,
  needsHealthCheckNodePort,
  needsNodePorts,
  nodePortsOf,
  protocolOf,
  type ServicePort,
  type ServiceSpec,
  specOf,
} from './service-spec.ts'

const defaultAffinitySeconds = 10_800

/** Defaults that follow from the other fields. */
export function admitService(object: KubeObject): void {
  fillSimpleDefaults(specOf(object))
}

export function allocateService(
  object: KubeObject,
  previous: KubeObject | undefined,
  context: AdmissionContext,
): void {
  const spec = specOf(object)
  const before = previous === undefined ? undefined : specOf(previous)
  if (before !== undefined) {
    followClusterIpChange(spec, before)
    carryOver(spec, before)
    releaseForeignFields(spec, before)
  }
  const others = claimsOfOthers(object, context)
  fillFamilies(spec, before, context.clusterIpRanges.map(parseRange))
  fillClusterIps(spec, others, context)
  fillNodePorts(spec, others, context)
  fillStatus(object, spec.type !== 'LoadBalancer' && before?.type === 'LoadBalancer')
}

function fillStatus(object: KubeObject, isReleased: boolean): void {
  const status = (object['status'] ?? { loadBalancer: {} }) as { loadBalancer?: object }
  if (isReleased) status.loadBalancer = {}
  object['status'] = status
  for (const ingress of ingressOf(object))
    if (ingress.ip !== undefined && ingress.ip !== '') ingress.ipMode ??= 'VIP'
}

function fillSimpleDefaults(spec: ServiceSpec): void {
  for (const port of spec.ports ?? [])
    if (port.targetPort === undefined || port.targetPort === 0 || port.targetPort === '')
      port.targetPort = port.port
  if (spec.sessionAffinity === 'ClientIP') {
    const seconds = spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? defaultAffinitySeconds
    spec.sessionAffinityConfig = { clientIP: { timeoutSeconds: seconds } }
  } else {
    delete spec.sessionAffinityConfig
  }
  if (spec.type !== 'ExternalName') spec.internalTrafficPolicy ??= 'Cluster'
  if (isExternallyReachable(spec) && !spec.externalTrafficPolicy) spec.externalTrafficPolicy = 'Cluster'
  if (spec.type === 'LoadBalancer') spec.allocateLoadBalancerNodePorts ??= true
}

/** A client that knows only clusterIP, or only clusterIPs, changes one of them: the other follows. */
function followClusterIpChange(spec: ServiceSpec, before: ServiceSpec): void {
  const isSingleChanged = (spec.clusterIP ?? '') !== (before.clusterIP ?? '')
  const isListChanged = !isSame(spec.clusterIPs ?? [], before.clusterIPs ?? [])
  if (isSingleChanged && !isListChanged) {
    // The second family's address stays, so that what is refused afterwards is only what the client changed.
    if (spec.clusterIP) spec.clusterIPs = [spec.clusterIP, ...(before.clusterIPs ?? []).slice(1)]
    else delete spec.clusterIPs
  } else if (isListChanged && !isSingleChanged && (spec.clusterIPs ?? []).length === 0) {
    delete spec.clusterIP
  }
}

function carryOver(spec: ServiceSpec, before: ServiceSpec): void {
  if (needsClusterIp(spec) && needsClusterIp(before)) {
    if (!spec.clusterIP && before.clusterIP) spec.clusterIP = before.clusterIP
    if (
      (spec.clusterIPs ?? []).length === 0 &&
      spec.clusterIP === before.clusterIP &&
      before.clusterIPs !== undefined
    )
      spec.clusterIPs = [...before.clusterIPs]
    // A client of one address family sends neither: the Service keeps what it has.
    if (spec.ipFamilyPolicy === undefined && before.ipFamilyPolicy !== undefined)
      spec.ipFamilyPolicy = before.ipFamilyPolicy
    if ((spec.ipFamilies ?? []).length === 0 && before.ipFamilies !== undefined)
      spec.ipFamilies = [...before.ipFamilies]
    dropSecondFamily(spec, before)
  }
  if (needsNodePorts(spec) && needsNodePorts(before)) carryNodePorts(spec, before)
  if (
    needsHealthCheckNodePort(spec) &&
    needsHealthCheckNodePort(before) &&
    !spec.healthCheckNodePort &&
    before.healthCheckNodePort
  )
    spec.healthCheckNodePort = before.healthCheckNodePort
}

/** Going to SingleStack without saying which address to keep keeps the first. */
function dropSecondFamily(spec: ServiceSpec, before: ServiceSpec): void {
  if (spec.ipFamilyPolicy !== 'SingleStack' || before.ipFamilyPolicy === 'SingleStack') return
  if (isSame(spec.clusterIPs, before.clusterIPs)) spec.clusterIPs = (spec.clusterIPs ?? []).slice(0, 1)
  if (isSame(spec.ipFamilies, before.ipFamilies)) spec.ipFamilies = (spec.ipFamilies ?? []).slice(0, 1)
}

function carryNodePorts(spec: ServiceSpec, before: ServiceSpec): void {
  const used = new Set(nodePortsOf(spec))
  const keyOf = (port: ServicePort): string => `${protocolOf(port)}/${port.port}`
  const known = new Map((before.ports ?? []).map((port) => [keyOf(port), port.nodePort]))
  for (const port of spec.ports ?? []) {
    const nodePort = known.get(keyOf(port))
    if (!port.nodePort && nodePort && !used.has(nodePort)) port.nodePort = nodePort
  }
}

function releaseForeignFields(spec: ServiceSpec, before: ServiceSpec): void {
  if (!needsClusterIp(spec) && needsClusterIp(before)) {
    if (spec.clusterIP === before.clusterIP) {
      delete spec.clusterIP
      delete spec.clusterIPs
    }
    if (isSame(spec.ipFamilies, before.ipFamilies)) delete spec.ipFamilies
    if (spec.ipFamilyPolicy === before.ipFamilyPolicy) delete spec.ipFamilyPolicy
    if (spec.internalTrafficPolicy === before.internalTrafficPolicy) delete spec.internalTrafficPolicy
  }
  if (!mayHaveNodePorts(spec) && mayHaveNodePorts(before)) {
    const held = new Set(nodePortsOf(before))
    for (const port of spec.ports ?? [])
      if (port.nodePort !== undefined && held.has(port.nodePort)) delete port.nodePort
  }
  if (!needsHealthCheckNodePort(spec) && spec.healthCheckNodePort === before.healthCheckNodePort)
    delete spec.healthCheckNodePort
  if (spec.type !== 'LoadBalancer' && before.type === 'LoadBalancer') {
    if (spec.allocateLoadBalancerNodePorts === before.allocateLoadBalancerNodePorts)
      delete spec.allocateLoadBalancerNodePorts
    if (spec.loadBalancerClass === before.loadBalancerClass) delete spec.loadBalancerClass
  }
  if (
    !isExternallyReachable(spec) &&
    isExternallyReachable(before) &&
    spec.externalTrafficPolicy === before.externalTrafficPolicy
  )
    delete spec.externalTrafficPolicy
}

function otherFamily(family: string): Family {
  return family === 'IPv4' ? 'IPv6' : 'IPv4'
}

/** ipFamilyPolicy and ipFamilies: from what was asked, the addresses chosen, and the families the cluster has. */
function fillFamilies(
  spec: ServiceSpec,
  before: ServiceSpec | undefined,
  ranges: readonly AddressRange[],
): void {
  if (!needsClusterIp(spec)) return
  const isFreeForm = isHeadless(spec) && isSelectorless(spec)
  const hasTwo = (spec.ipFamilies ?? []).length > 1 || (spec.clusterIPs ?? []).length > 1
  // Two of something without a policy is left for validation to refuse.
  if (spec.ipFamilyPolicy === undefined)
    spec.ipFamilyPolicy = isFreeForm && !hasTwo ? 'RequireDualStack' : 'SingleStack'
  const families = [...(spec.ipFamilies ?? [])]
  const addresses = spec.clusterIPs ?? (spec.clusterIP ? [spec.clusterIP] : [])
  for (const [index, address] of addresses.entries()) {
    const family = familyOf(address)
    if (family !== undefined) families[index] ??= family
  }
  const primary = ranges[0]?.family
  if (families.length === 0 && primary !== undefined) families.push(primary)
  const first = families[0]
  if (first !== undefined && families.length === 1 && wantsSecondFamily(spec, isFreeForm, ranges))
    families.push(otherFamily(first))
  if (before === undefined || families.length > 0) spec.ipFamilies = families
}

function wantsSecondFamily(spec: ServiceSpec, isFreeForm: boolean, ranges: readonly AddressRange[]): boolean {
  if (spec.ipFamilyPolicy === 'SingleStack') return false
  return isFreeForm || new Set(ranges.map((range) => range.family)).size > 1
}

function fillClusterIps(spec: ServiceSpec, others: Claims, context: AdmissionContext): void {
  if (!needsClusterIp(spec)) return
  if (isHeadless(spec)) {
    spec.clusterIP = headless
    spec.clusterIPs ??= [headless]
    return
  }
  if (!spec.clusterIP && (spec.clusterIPs ?? []).length > 0) return
  const ranges = context.clusterIpRanges.map(parseRange)
  const chosen = spec.clusterIPs ?? (spec.clusterIP ? [spec.clusterIP] : [])
  const families =
    spec.ipFamilyPolicy === 'SingleStack' ? (spec.ipFamilies ?? []).slice(0, 1) : spec.ipFamilies
  const addresses = (families ?? []).map((family, index) => {
    const range = ranges.find((candidate) => candidate.family === family)
    if (chosen[index] !== undefined || range === undefined) return chosen[index]
    return freeAddress(range, others.isAddressTaken, context.randomBytes)
  })
  // More chosen than families stays visible, for validation to refuse.
  const all = [...addresses, ...chosen.slice(addresses.length)].filter((address) => address !== undefined)
  if (all.length === 0) return
  spec.clusterIPs = all
  spec.clusterIP ??= all[0] ?? ''
  if (spec.clusterIP === '') spec.clusterIP = all[0] ?? ''
}

function fillNodePorts(spec: ServiceSpec, others: Claims, context: AdmissionContext): void {
  const own = new Set(nodePortsOf(spec))
  const claim = (): number | undefined => {
    const port = freeNodePort((candidate) => own.has(candidate) || others.isNodePortTaken(candidate), context)
    if (port !== undefined) own.add(port)
    return port
  }
  if (needsNodePorts(spec)) {
    for (const port of spec.ports ?? []) {
      if (port.nodePort) continue
      const nodePort = twinNodePort(spec, port) ?? claim()
      if (nodePort !== undefined) port.nodePort = nodePort
    }
  }
  if (needsHealthCheckNodePort(spec) && !spec.healthCheckNodePort) {
    const nodePort = claim()
    if (nodePort !== undefined) spec.healthCheckNodePort = nodePort
  }
}

/** TCP and UDP of one port number share a node port. */
function twinNodePort(spec: ServiceSpec, port: ServicePort): number | undefined {
  const twin = (spec.ports ?? []).find(
    (other) => other.port === port.port && protocolOf(other) !== protocolOf(port) && other.nodePort,
  )
  return twin?.nodePort
}

const randomTries = 32

function freeNodePort(isTaken: (port: number) => boolean, context: AdmissionContext): number | undefined {
  const { first, last } = context.nodePortRange
  const count = last - first + 1
  for (let attempt = 0; attempt < randomTries; attempt++) {
    const [high = 0, low = 0] = context.randomBytes(2)
    const port = first + ((high * 256 + low) % count)
    if (!isTaken(port)) return port
  }
  for (let port = first; port <= last; port++) if (!isTaken(port)) return port
  return undefined
}
