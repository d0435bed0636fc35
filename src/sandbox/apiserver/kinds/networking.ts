// networking.k8s.io: NetworkPolicy, Ingress, IngressClass, IPAddress, ServiceCIDR. And PodDisruptionBudget, which fits nowhere else.

import { parsePrefix } from '../../../model/address.ts'
import type { FieldError, KindDefinition, KubeObject } from '../kind.ts'
import { isCidr } from '../schema/formats.ts'
import { ageColumn, defineKind, numberColumn, selectorText, textColumn } from './define.ts'
import {
  cidrErrors,
  forbidden,
  immutableErrors,
  invalid,
  isEmptySelector,
  type LabelSelector,
  labelSelectorErrors,
  notSupported,
  portErrors,
  portOrNameErrors,
  required,
  subdomainErrors,
} from './field-errors.ts'
import { canonicalAddress, parseRange, rangeHolds } from './ip-ranges.ts'

interface PolicyPort {
  protocol?: string
  port?: number | string
  endPort?: number
}

interface PolicyPeer {
  podSelector?: LabelSelector
  namespaceSelector?: LabelSelector
  ipBlock?: { cidr: string; except?: string[] }
}

interface PolicySpec {
  podSelector?: LabelSelector
  policyTypes?: string[]
  ingress?: { ports?: PolicyPort[]; from?: PolicyPeer[] }[]
  egress?: { ports?: PolicyPort[]; to?: PolicyPeer[] }[]
}

function policySpec(object: KubeObject): PolicySpec {
  return (object['spec'] ?? {}) as PolicySpec
}

function policyErrors(object: KubeObject): FieldError[] {
  const spec = policySpec(object)
  const errors = labelSelectorErrors('spec.podSelector', spec.podSelector)
  for (const [index, rule] of (spec.ingress ?? []).entries())
    errors.push(...ruleErrors(`spec.ingress[${index}]`, rule.ports ?? [], 'from', rule.from ?? []))
  for (const [index, rule] of (spec.egress ?? []).entries())
    errors.push(...ruleErrors(`spec.egress[${index}]`, rule.ports ?? [], 'to', rule.to ?? []))
  const types = spec.policyTypes ?? []
  if (types.length > 2)
    errors.push(invalid('spec.policyTypes', types, 'may not specify more than two policyTypes'))
  return errors
}

function ruleErrors(
  at: string,
  ports: readonly PolicyPort[],
  peersName: string,
  peers: readonly PolicyPeer[],
): FieldError[] {
  return [
    ...ports.flatMap((port, index) => policyPortErrors(`${at}.ports[${index}]`, port)),
    ...peers.flatMap((peer, index) => peerErrors(`${at}.${peersName}[${index}]`, peer)),
  ]
}

function policyPortErrors(at: string, { port, endPort }: PolicyPort): FieldError[] {
  if (port === undefined)
    return endPort === undefined ? [] : [required(`${at}.port`, 'must be specified when `endPort` is set')]
  const errors = portOrNameErrors(`${at}.port`, port)
  if (endPort === undefined) return errors
  if (typeof port === 'string')
    return [...errors, invalid(`${at}.endPort`, endPort, 'cannot be specified when port is a name')]
  if (endPort < port)
    return [...errors, invalid(`${at}.endPort`, endPort, 'must be greater than or equal to `port`')]
  return [...errors, ...portErrors(`${at}.endPort`, endPort)]
}

function peerErrors(at: string, peer: PolicyPeer): FieldError[] {
  const { podSelector, namespaceSelector, ipBlock } = peer
  if (podSelector === undefined && namespaceSelector === undefined && ipBlock === undefined)
    return [required(at, 'must specify a peer')]
  if (ipBlock !== undefined && (podSelector !== undefined || namespaceSelector !== undefined))
    return [forbidden(at, 'may not specify both ipBlock and another peer')]
  return [
    ...labelSelectorErrors(`${at}.podSelector`, podSelector),
    ...labelSelectorErrors(`${at}.namespaceSelector`, namespaceSelector),
    ...(ipBlock === undefined ? [] : blockErrors(`${at}.ipBlock`, ipBlock)),
  ]
}

function blockErrors(at: string, { cidr, except }: { cidr: string; except?: string[] }): FieldError[] {
  if (cidr === '') return [required(`${at}.cidr`)]
  const errors = cidrErrors(`${at}.cidr`, cidr)
  if (errors.length > 0) return errors
  const outer = parseRange(cidr)
  return (except ?? []).flatMap((text, index) => {
    const field = `${at}.except[${index}]`
    if (!isCidr(text)) return cidrErrors(field, text)
    const inner = parseRange(text)
    return rangeHolds(outer, inner) && !rangeHolds(inner, outer)
      ? []
      : [invalid(field, text, `must be a strict subset of \`cidr\``)]
  })
}

export const networkPolicyKind: KindDefinition = defineKind('NetworkPolicy', {
  package: 'networking',
  group: 'networking.k8s.io',
  shortNames: ['netpol'],
  hasGeneration: true,
  columns: [textColumn('Pod-Selector', (object) => selectorText(policySpec(object).podSelector)), ageColumn],
  admit: (object) => {
    const spec = policySpec(object)
    if ((spec.policyTypes ?? []).length === 0)
      spec.policyTypes = (spec.egress ?? []).length > 0 ? ['Ingress', 'Egress'] : ['Ingress']
  },
  validate: policyErrors,
})

interface IngressBackend {
  service?: { name?: string; port?: { name?: string; number?: number } }
  resource?: object
}

interface IngressSpec {
  ingressClassName?: string
  defaultBackend?: IngressBackend
  rules?: {
    host?: string
    http?: { paths?: { path?: string; pathType?: string; backend?: IngressBackend }[] }
  }[]
  tls?: unknown[]
}

function ingressSpec(object: KubeObject): IngressSpec {
  return (object['spec'] ?? {}) as IngressSpec
}

function backendErrors(at: string, backend: IngressBackend | undefined): FieldError[] {
  if (backend?.resource !== undefined && backend.service !== undefined)
    return [invalid(at, '', 'cannot set both resource and service backends')]
  if (backend?.resource !== undefined) return []
  const service = backend?.service
  if (!service?.name) return [required(`${at}.service.name`)]
  const { name, number } = service.port ?? {}
  if (!name && !number) return [required(`${at}.service`, 'port name or number is required')]
  if (name && number)
    return [invalid(`${at}.service.port`, service.port, 'cannot set both port name & port number')]
  return number ? portErrors(`${at}.service.port.number`, number) : []
}

function ingressErrors(object: KubeObject): FieldError[] {
  const { rules, defaultBackend } = ingressSpec(object)
  const errors: FieldError[] = []
  if ((rules ?? []).length === 0 && defaultBackend === undefined)
    errors.push(invalid('spec', rules ?? [], 'either `defaultBackend` or `rules` must be specified'))
  if (defaultBackend !== undefined) errors.push(...backendErrors('spec.defaultBackend', defaultBackend))
  for (const [index, rule] of (rules ?? []).entries()) {
    const at = `spec.rules[${index}]`
    if (rule.host) errors.push(...subdomainErrors(`${at}.host`, rule.host.replace(/^\*\./, '')))
    for (const [position, path] of (rule.http?.paths ?? []).entries()) {
      const field = `${at}.http.paths[${position}]`
      if (path.pathType === undefined)
        errors.push(required(`${field}.pathType`, 'pathType must be specified'))
      else if (path.pathType !== 'ImplementationSpecific' && !path.path?.startsWith('/'))
        errors.push(invalid(`${field}.path`, path.path ?? '', 'must be an absolute path'))
      errors.push(...backendErrors(`${field}.backend`, path.backend))
    }
  }
  return errors
}

export const ingressKind: KindDefinition = defineKind('Ingress', {
  package: 'networking',
  group: 'networking.k8s.io',
  shortNames: ['ing'],
  hasGeneration: true,
  columns: [
    textColumn('Class', (object) => ingressSpec(object).ingressClassName ?? '<none>'),
    textColumn('Hosts', (object) => {
      const hosts = (ingressSpec(object).rules ?? [])
        .map((rule) => rule.host ?? '')
        .filter((host) => host !== '')
      return hosts.length === 0 ? '*' : hosts.join(',')
    }),
    textColumn('Address', (object) => {
      const status = object['status'] as
        | { loadBalancer?: { ingress?: { ip?: string; hostname?: string }[] } }
        | undefined
      return (status?.loadBalancer?.ingress ?? []).map((entry) => entry.ip || entry.hostname || '').join(',')
    }),
    textColumn('Ports', (object) => ((ingressSpec(object).tls ?? []).length > 0 ? '80, 443' : '80')),
    ageColumn,
  ],
  admit: (object) => {
    object['status'] ??= { loadBalancer: {} }
  },
  validate: ingressErrors,
})

interface IngressClassSpec {
  controller?: string
  parameters?: { apiGroup?: string; kind: string; name: string; namespace?: string }
}

export const ingressClassKind: KindDefinition = defineKind('IngressClass', {
  package: 'networking',
  group: 'networking.k8s.io',
  namespaced: false,
  hasGeneration: true,
  columns: [
    textColumn('Controller', (object) => (object['spec'] as IngressClassSpec | undefined)?.controller ?? ''),
    textColumn('Parameters', (object) => {
      const parameters = (object['spec'] as IngressClassSpec | undefined)?.parameters
      if (parameters === undefined) return '<none>'
      const group = parameters.apiGroup === undefined ? '' : `.${parameters.apiGroup}`
      return `${parameters.kind}${group}/${parameters.name}`
    }),
    ageColumn,
  ],
  validate: (object, previous) => {
    if (previous === undefined) return []
    const controllerOf = (value: KubeObject): unknown =>
      (value['spec'] as IngressClassSpec | undefined)?.controller
    return immutableErrors('spec.controller', controllerOf(object), controllerOf(previous))
  },
})

interface AddressParent {
  group?: string
  resource?: string
  namespace?: string
  name?: string
}

export const ipAddressKind: KindDefinition = defineKind('IPAddress', {
  package: 'networking',
  group: 'networking.k8s.io',
  namespaced: false,
  plural: 'ipaddresses',
  shortNames: ['ip'],
  columns: [
    textColumn('ParentRef', (object) => {
      const parent = (object['spec'] as { parentRef?: AddressParent } | undefined)?.parentRef ?? {}
      const { group, resource, namespace, name } = parent
      const kind = group ? `${resource}.${group}` : (resource ?? '')
      return [kind, namespace, name].filter((part) => part !== undefined && part !== '').join('/')
    }),
  ],
  // The name is the address, in one spelling only.
  validate: (object) => {
    const name = object.metadata.name ?? ''
    const isCanonical = /[.:]/.test(name) && isCidr(`${name}/0`) && canonicalAddress(name) === name
    return isCanonical ? [] : [invalid('metadata.name', name, 'must be a valid IP address in canonical form')]
  },
})

interface ServiceCidrSpec {
  cidrs?: string[]
}

function serviceCidrs(object: KubeObject): string[] {
  return (object['spec'] as ServiceCidrSpec | undefined)?.cidrs ?? []
}

export const serviceCidrKind: KindDefinition = defineKind('ServiceCIDR', {
  package: 'networking',
  group: 'networking.k8s.io',
  namespaced: false,
  columns: [textColumn('CIDRs', (object) => serviceCidrs(object).join(',')), ageColumn],
  validate: (object, previous) => {
    const cidrs = serviceCidrs(object)
    if (cidrs.length === 0) return [required('spec.cidrs', 'at least one CIDR required')]
    const errors = cidrs.flatMap((cidr, index) => {
      const field = `spec.cidrs[${index}]`
      if (!isCidr(cidr)) return cidrErrors(field, cidr)
      return parsePrefix(cidr) !== undefined
        ? []
        : [invalid(field, cidr, 'must not have bits set beyond the prefix length')]
    })
    return previous === undefined
      ? errors
      : [...errors, ...immutableErrors('spec.cidrs', cidrs, serviceCidrs(previous))]
  },
})

interface BudgetSpec {
  minAvailable?: number | string
  maxUnavailable?: number | string
  unhealthyPodEvictionPolicy?: string
  selector?: LabelSelector
}

function budgetSpec(object: KubeObject): BudgetSpec {
  return (object['spec'] ?? {}) as BudgetSpec
}

const evictionPolicies = ['AlwaysAllow', 'IfHealthyBudget']

export const podDisruptionBudgetKind: KindDefinition = defineKind('PodDisruptionBudget', {
  package: 'policy',
  group: 'policy',
  shortNames: ['pdb'],
  hasGeneration: true,
  columns: [
    textColumn('Min Available', (object) => String(budgetSpec(object).minAvailable ?? 'N/A')),
    textColumn('Max Unavailable', (object) => String(budgetSpec(object).maxUnavailable ?? 'N/A')),
    numberColumn(
      'Allowed Disruptions',
      (object) => (object['status'] as { disruptionsAllowed?: number } | undefined)?.disruptionsAllowed ?? 0,
    ),
    ageColumn,
  ],
  validate: (object) => {
    const { minAvailable, maxUnavailable, unhealthyPodEvictionPolicy: policy, selector } = budgetSpec(object)
    const errors = isEmptySelector(selector) ? [] : labelSelectorErrors('spec.selector', selector)
    if (minAvailable !== undefined && maxUnavailable !== undefined)
      errors.push(invalid('spec', budgetSpec(object), 'minAvailable and maxUnavailable cannot be both set'))
    if (policy !== undefined && !evictionPolicies.includes(policy))
      errors.push(notSupported('spec.unhealthyPodEvictionPolicy', policy, evictionPolicies))
    return errors
  },
})
