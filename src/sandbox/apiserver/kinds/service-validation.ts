// Why a Service is refused, in the server's usual words.

import type { AdmissionContext, FieldError, KubeObject } from '../kind.ts'
import {
  cidrErrors,
  duplicate,
  forbidden,
  invalid,
  ipErrors,
  isSame,
  label1035Errors,
  label1123Errors,
  labelsErrors,
  notSupported,
  ownAddressErrors,
  portErrors,
  portOrNameErrors,
  qualifiedNameErrors,
  required,
  subdomainErrors,
} from './field-errors.ts'
import { familyOf, isUsable, parseRange } from './ip-ranges.ts'
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
  protocolOf,
  type ServicePort,
  type ServiceSpec,
  specOf,
} from './service-spec.ts'

const kubeletPort = 10_250
const maxAffinitySeconds = 86_400
const trafficDistributions = ['PreferClose', 'PreferSameNode', 'PreferSameZone']

export function validateService(
  object: KubeObject,
  previous: KubeObject | undefined,
  context: AdmissionContext,
): FieldError[] {
  const spec = specOf(object)
  const others = claimsOfOthers(object, context)
  return [
    ...label1035Errors('metadata.name', object.metadata.name ?? ''),
    ...typeErrors(spec),
    ...portListErrors(spec),
    ...labelsErrors('spec.selector', spec.selector),
    ...affinityErrors(spec),
    ...addressErrors(spec, others, context),
    ...familyErrors(spec, context),
    ...nodePortErrors(spec, others, context),
    ...trafficErrors(spec),
    ...loadBalancerErrors(spec),
    ...statusErrors(object, spec),
    ...(previous === undefined ? [] : updateErrors(spec, specOf(previous))),
  ]
}

function typeErrors(spec: ServiceSpec): FieldError[] {
  if (spec.type === 'ExternalName') {
    const errors =
      (spec.clusterIPs ?? []).length > 0 || spec.clusterIP
        ? [forbidden('spec.clusterIPs', 'may not be set for ExternalName services')]
        : []
    const name = (spec.externalName ?? '').replace(/\.$/, '')
    if (name === '') return [...errors, required('spec.externalName')]
    return [...errors, ...subdomainErrors('spec.externalName', name)]
  }
  if (isHeadless(spec) && mayHaveNodePorts(spec))
    return [invalid('spec.clusterIPs[0]', headless, `may not be set to 'None' for ${spec.type} services`)]
  return []
}

function portListErrors(spec: ServiceSpec): FieldError[] {
  const ports = spec.ports ?? []
  if (ports.length === 0) return needsClusterIp(spec) && !isHeadless(spec) ? [required('spec.ports')] : []
  const names = new Set<string>()
  const keys = new Set<string>()
  const errors: FieldError[] = []
  for (const [index, port] of ports.entries()) {
    const at = `spec.ports[${index}]`
    errors.push(...portNameErrorsOf(at, port, ports.length > 1, names), ...portFieldErrors(at, port))
    if (spec.type === 'LoadBalancer' && port.port === kubeletPort)
      errors.push(
        invalid(
          `${at}.port`,
          port.port,
          `may not expose port ${kubeletPort} externally since it is used by kubelet`,
        ),
      )
    const key = `${protocolOf(port)}/${port.port}`
    if (keys.has(key)) errors.push(duplicate(at, { port: port.port, protocol: protocolOf(port) }))
    keys.add(key)
  }
  return errors
}

function portNameErrorsOf(
  at: string,
  port: ServicePort,
  isNameNeeded: boolean,
  names: Set<string>,
): FieldError[] {
  const name = port.name ?? ''
  if (name === '') return isNameNeeded ? [required(`${at}.name`)] : []
  if (names.has(name)) return [duplicate(`${at}.name`, name)]
  names.add(name)
  return label1123Errors(`${at}.name`, name)
}

function portFieldErrors(at: string, port: ServicePort): FieldError[] {
  const target = port.targetPort
  return [
    ...portErrors(`${at}.port`, port.port),
    // Filled from port when absent: an error there is said once.
    ...(target === undefined || target === port.port ? [] : portOrNameErrors(`${at}.targetPort`, target)),
    ...(port.appProtocol === undefined ? [] : qualifiedNameErrors(`${at}.appProtocol`, port.appProtocol)),
  ]
}

function affinityErrors(spec: ServiceSpec): FieldError[] {
  const seconds = spec.sessionAffinityConfig?.clientIP?.timeoutSeconds
  if (seconds === undefined || (seconds > 0 && seconds <= maxAffinitySeconds)) return []
  const field = 'spec.sessionAffinityConfig.clientIP.timeoutSeconds'
  return [invalid(field, seconds, `must be greater than 0 and less than ${maxAffinitySeconds}`)]
}

function addressErrors(spec: ServiceSpec, others: Claims, context: AdmissionContext): FieldError[] {
  if (!needsClusterIp(spec)) return []
  const addresses = spec.clusterIPs ?? []
  if (addresses.length > 0 && !spec.clusterIP)
    return [invalid('spec.clusterIPs', addresses, 'must be empty when `clusterIP` is not specified')]
  if (spec.clusterIP && addresses.length > 0 && addresses[0] !== spec.clusterIP)
    return [invalid('spec.clusterIPs', addresses, 'first value must match `clusterIP`')]
  if (isHeadless(spec))
    return addresses.length > 1
      ? [invalid('spec.clusterIPs', addresses, "may only be set to ['None'] for headless services")]
      : []
  if (addresses.length > 2) return [invalid('spec.clusterIPs', addresses, 'may only hold up to 2 values')]
  const errors = addresses.flatMap((address, index) => {
    const syntax = ipErrors(`spec.clusterIPs[${index}]`, address)
    return syntax.length > 0 ? syntax : rangeErrors(addresses, address, others, context)
  })
  if (addresses.length === 2 && familyOf(addresses[0] ?? '') === familyOf(addresses[1] ?? ''))
    errors.push(invalid('spec.clusterIPs', addresses, 'may specify no more than one IP for each IP family'))
  if (errors.length === 0 && addresses.length === 0)
    errors.push(invalid('spec.clusterIPs', addresses, 'failed to allocate IP: range is full'))
  return errors
}

function rangeErrors(
  addresses: readonly string[],
  address: string,
  others: Claims,
  context: AdmissionContext,
): FieldError[] {
  const ranges = context.clusterIpRanges.map(parseRange).filter((range) => range.family === familyOf(address))
  if (ranges.length === 0) return []
  const failed = (why: string): FieldError[] => [
    invalid('spec.clusterIPs', addresses, `failed to allocate IP ${address}: ${why}`),
  ]
  if (!ranges.some((range) => isUsable(range, address))) {
    const valid = ranges.map((range) => range.text).join(', ')
    return failed(
      `the provided IP (${address}) is not in the valid range. The range of valid IPs is ${valid}`,
    )
  }
  return others.isAddressTaken(address) ? failed('provided IP is already allocated') : []
}

function familyErrors(spec: ServiceSpec, context: AdmissionContext): FieldError[] {
  const families = spec.ipFamilies ?? []
  if (!needsClusterIp(spec)) {
    return [
      ...(spec.ipFamilyPolicy === undefined
        ? []
        : [forbidden('spec.ipFamilyPolicy', 'may not be set for ExternalName services')]),
      ...(families.length === 0
        ? []
        : [forbidden('spec.ipFamilies', 'may not be set for ExternalName services')]),
    ]
  }
  const errors: FieldError[] = []
  const why = (list: string): string =>
    `must be RequireDualStack or PreferDualStack when multiple '${list}' are specified`
  if (spec.ipFamilyPolicy === 'SingleStack') {
    if ((spec.clusterIPs ?? []).length > 1)
      errors.push(invalid('spec.ipFamilyPolicy', spec.ipFamilyPolicy, why('clusterIPs')))
    else if (families.length > 1)
      errors.push(invalid('spec.ipFamilyPolicy', spec.ipFamilyPolicy, why('ipFamilies')))
  }
  if (families.length > 2) errors.push(invalid('spec.ipFamilies', families, 'may only hold up to 2 values'))
  for (const [index, family] of families.entries()) {
    if (families.indexOf(family) !== index) errors.push(duplicate(`spec.ipFamilies[${index}]`, family))
    const address = spec.clusterIPs?.[index]
    if (address !== undefined && familyOf(address) !== undefined && familyOf(address) !== family)
      errors.push(
        invalid(
          `spec.clusterIPs[${index}]`,
          address,
          `expected an ${family} value as indicated by \`ipFamilies[${index}]\``,
        ),
      )
  }
  return [...errors, ...clusterFamilyErrors(spec, context)]
}

function clusterFamilyErrors(spec: ServiceSpec, context: AdmissionContext): FieldError[] {
  // A headless Service without selector has hand-written endpoints: any family will do.
  if (isHeadless(spec) && isSelectorless(spec)) return []
  const known = new Set<string>(context.clusterIpRanges.map((range) => parseRange(range).family))
  const errors = (spec.ipFamilies ?? []).flatMap((family, index) =>
    known.has(family) ? [] : [invalid(`spec.ipFamilies[${index}]`, family, 'not configured on this cluster')],
  )
  if (spec.ipFamilyPolicy === 'RequireDualStack' && known.size < 2)
    errors.push(
      invalid(
        'spec.ipFamilyPolicy',
        spec.ipFamilyPolicy,
        'this cluster is not configured for dual-stack services',
      ),
    )
  return errors
}

function nodePortErrors(spec: ServiceSpec, others: Claims, context: AdmissionContext): FieldError[] {
  const { first, last } = context.nodePortRange
  const seen = new Set<string>()
  const errors: FieldError[] = []
  const check = (field: string, nodePort: number): void => {
    if (nodePort < first || nodePort > last)
      errors.push(
        invalid(
          field,
          nodePort,
          `provided port is not in the valid range. The range of valid ports is ${first}-${last}`,
        ),
      )
    else if (others.isNodePortTaken(nodePort))
      errors.push(invalid(field, nodePort, 'provided port is already allocated'))
  }
  for (const [index, port] of (spec.ports ?? []).entries()) {
    const field = `spec.ports[${index}].nodePort`
    if (!port.nodePort) continue
    if (!mayHaveNodePorts(spec)) {
      errors.push(forbidden(field, `may not be used when \`type\` is '${spec.type}'`))
      continue
    }
    const key = `${protocolOf(port)}/${port.nodePort}`
    if (seen.has(key)) errors.push(duplicate(field, port.nodePort))
    seen.add(key)
    check(field, port.nodePort)
  }
  if (spec.healthCheckNodePort) {
    const field = 'spec.healthCheckNodePort'
    if (!needsHealthCheckNodePort(spec)) {
      const why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
      errors.push(invalid(field, spec.healthCheckNodePort, why))
    } else check(field, spec.healthCheckNodePort)
  }
  return errors
}

function trafficErrors(spec: ServiceSpec): FieldError[] {
  const errors: FieldError[] = []
  if (spec.externalTrafficPolicy && !isExternallyReachable(spec))
    errors.push(
      invalid(
        'spec.externalTrafficPolicy',
        spec.externalTrafficPolicy,
        'may only be set for externally-accessible services',
      ),
    )
  for (const [index, address] of (spec.externalIPs ?? []).entries())
    errors.push(...externalIpErrors(`spec.externalIPs[${index}]`, address))
  if (spec.trafficDistribution !== undefined && !trafficDistributions.includes(spec.trafficDistribution))
    errors.push(notSupported('spec.trafficDistribution', spec.trafficDistribution, trafficDistributions))
  return errors
}

function externalIpErrors(field: string, address: string): FieldError[] {
  const syntax = ipErrors(field, address)
  return syntax.length > 0 ? syntax : ownAddressErrors(field, address)
}

function loadBalancerErrors(spec: ServiceSpec): FieldError[] {
  const errors: FieldError[] = []
  const isLoadBalancer = spec.type === 'LoadBalancer'
  const onlyThere = "may only be used when `type` is 'LoadBalancer'"
  const ranges = spec.loadBalancerSourceRanges ?? []
  if (ranges.length > 0 && !isLoadBalancer) errors.push(forbidden('spec.LoadBalancerSourceRanges', onlyThere))
  for (const [index, range] of ranges.entries())
    errors.push(...cidrErrors(`spec.loadBalancerSourceRanges[${index}]`, range.trim()))
  if (spec.loadBalancerClass !== undefined)
    errors.push(
      ...(isLoadBalancer
        ? qualifiedNameErrors('spec.loadBalancerClass', spec.loadBalancerClass)
        : [forbidden('spec.loadBalancerClass', onlyThere)]),
    )
  if (spec.allocateLoadBalancerNodePorts !== undefined && !isLoadBalancer)
    errors.push(forbidden('spec.allocateLoadBalancerNodePorts', onlyThere))
  return errors
}

function statusErrors(object: KubeObject, spec: ServiceSpec): FieldError[] {
  const ingress = ingressOf(object)
  const field = 'status.loadBalancer.ingress'
  if (ingress.length > 0 && spec.type !== 'LoadBalancer')
    return [forbidden(field, 'may only be used when `spec.type` is "LoadBalancer"')]
  return ingress.flatMap((entry, index) => [
    ...(entry.ip ? ipErrors(`${field}[${index}].ip`, entry.ip) : []),
    ...(entry.hostname ? subdomainErrors(`${field}[${index}].hostname`, entry.hostname) : []),
    ...(entry.ipMode !== undefined && !entry.ip
      ? [forbidden(`${field}[${index}].ipMode`, 'may not be specified when `ip` is not set')]
      : []),
  ])
}

function updateErrors(spec: ServiceSpec, before: ServiceSpec): FieldError[] {
  const errors: FieldError[] = []
  if (needsClusterIp(spec) && needsClusterIp(before)) {
    const isPrimaryChanged = before.clusterIP && !isSame(spec.clusterIPs?.[0], before.clusterIPs?.[0])
    if (isPrimaryChanged)
      errors.push(invalid('spec.clusterIPs[0]', spec.clusterIPs ?? [], 'may not change once set'))
    const [, second] = spec.clusterIPs ?? []
    const [, secondBefore] = before.clusterIPs ?? []
    if (second !== undefined && secondBefore !== undefined && second !== secondBefore)
      errors.push(invalid('spec.clusterIPs[1]', spec.clusterIPs, 'may not change once set'))
    if (
      before.ipFamilies?.[0] !== undefined &&
      spec.ipFamilies?.[0] !== before.ipFamilies[0] &&
      !isPrimaryChanged
    )
      errors.push(invalid('spec.ipFamilies[0]', spec.ipFamilies ?? [], 'may not change once set'))
  }
  if (
    needsHealthCheckNodePort(spec) &&
    needsHealthCheckNodePort(before) &&
    before.healthCheckNodePort &&
    spec.healthCheckNodePort !== before.healthCheckNodePort
  )
    errors.push(forbidden('spec.healthCheckNodePort', 'field is immutable'))
  if (
    spec.type === 'LoadBalancer' &&
    before.type === 'LoadBalancer' &&
    spec.loadBalancerClass !== before.loadBalancerClass
  )
    errors.push(invalid('spec.loadBalancerClass', spec.loadBalancerClass ?? null, 'may not change once set'))
  return errors
}
