// EndpointSlice and the older Endpoints: addresses behind Services, often written by hand.

import type { FieldError, KindDefinition, KubeObject } from '../kind.ts'
import { ageColumn, defineKind, textColumn } from './define.ts'
import {
  duplicate,
  invalid,
  ipErrors,
  label1123Errors,
  notSupported,
  ownAddressErrors,
  portErrors,
  qualifiedNameErrors,
  required,
  subdomainErrors,
  tooMany,
} from './field-errors.ts'
import { canonicalAddress, type Family, familyOf } from './ip-ranges.ts'

const maxEndpoints = 1000
const maxPorts = 20_000
const maxAddresses = 100
const maxHints = 8
/** How many items kubectl get prints before it counts the rest. */
const shownItems = 3

interface EndpointPort {
  name?: string
  protocol?: string
  port?: number
  appProtocol?: string
}

interface Endpoint {
  addresses?: string[]
  hostname?: string
  nodeName?: string
  hints?: { forZones?: { name: string }[]; forNodes?: { name: string }[] }
}

interface EndpointSlice extends KubeObject {
  addressType?: string
  endpoints?: Endpoint[]
  ports?: EndpointPort[]
}

function validateSlice(object: KubeObject, previous: KubeObject | undefined): FieldError[] {
  const slice = object as EndpointSlice
  const endpoints = slice.endpoints ?? []
  const errors: FieldError[] = []
  if (!slice.addressType) errors.push(required('addressType'))
  if (previous !== undefined && slice.addressType !== (previous as EndpointSlice).addressType)
    errors.push(invalid('addressType', slice.addressType, 'field is immutable'))
  if (endpoints.length > maxEndpoints)
    return [...errors, tooMany('endpoints', endpoints.length, maxEndpoints)]
  for (const [index, endpoint] of endpoints.entries())
    errors.push(...endpointErrors(endpoint, `endpoints[${index}]`, slice.addressType ?? ''))
  return [...errors, ...slicePortErrors(slice.ports ?? [])]
}

function endpointErrors(endpoint: Endpoint, at: string, addressType: string): FieldError[] {
  const addresses = endpoint.addresses ?? []
  const errors: FieldError[] = []
  if (addresses.length === 0) errors.push(required(`${at}.addresses`, 'must contain at least 1 address'))
  if (addresses.length > maxAddresses) errors.push(tooMany(`${at}.addresses`, addresses.length, maxAddresses))
  for (const [index, address] of addresses.entries())
    errors.push(...addressErrors(`${at}.addresses[${index}]`, address, addressType))
  if (endpoint.nodeName !== undefined) errors.push(...subdomainErrors(`${at}.nodeName`, endpoint.nodeName))
  if (endpoint.hostname !== undefined) errors.push(...label1123Errors(`${at}.hostname`, endpoint.hostname))
  for (const field of ['forZones', 'forNodes'] as const) {
    const hints = endpoint.hints?.[field] ?? []
    if (hints.length > maxHints) errors.push(tooMany(`${at}.hints.${field}`, hints.length, maxHints))
    const names = hints.map((hint) => hint.name)
    for (const [index, name] of names.entries())
      if (names.indexOf(name) !== index) errors.push(duplicate(`${at}.hints.${field}[${index}].name`, name))
  }
  return errors
}

function addressErrors(field: string, address: string, addressType: string): FieldError[] {
  if (addressType === 'FQDN') return subdomainErrors(field, address)
  const syntax = ipErrors(field, address)
  if (syntax.length > 0) return syntax
  if (familyOf(address) !== (addressType as Family))
    return [invalid(field, address, `must be an ${addressType} address`)]
  return specialAddressErrors(field, address)
}

/** Addresses that can't be an endpoint: traffic to them never leaves the sender. */
export function specialAddressErrors(field: string, address: string): FieldError[] {
  const own = ownAddressErrors(field, address)
  if (own.length > 0) return own
  const canonical = canonicalAddress(address)
  if (canonical.startsWith('224.0.0.') || canonical.startsWith('ff02:'))
    return [invalid(field, address, 'may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)')]
  return []
}

const protocols = ['SCTP', 'TCP', 'UDP']

function slicePortErrors(ports: readonly EndpointPort[]): FieldError[] {
  if (ports.length > maxPorts) return [tooMany('ports', ports.length, maxPorts)]
  const names = new Set<string>()
  return ports.flatMap((port, index) => {
    const at = `ports[${index}]`
    const name = port.name ?? ''
    const errors: FieldError[] = name === '' ? [] : label1123Errors(`${at}.name`, name)
    if (names.has(name)) errors.push(duplicate(`${at}.name`, name))
    names.add(name)
    if (port.port !== undefined) errors.push(...portErrors(`${at}.port`, port.port))
    if (port.protocol === undefined) errors.push(required(`${at}.protocol`))
    else if (!protocols.includes(port.protocol))
      errors.push(notSupported(`${at}.protocol`, port.protocol, protocols))
    if (port.appProtocol !== undefined)
      errors.push(...qualifiedNameErrors(`${at}.appProtocol`, port.appProtocol))
    return errors
  })
}

function shortList(items: readonly string[], none: string): string {
  if (items.length === 0) return none
  const rest = items.length - shownItems
  return `${items.slice(0, shownItems).join(',')}${rest > 0 ? ` + ${rest} more...` : ''}`
}

export const endpointSliceKind: KindDefinition = defineKind('EndpointSlice', {
  package: 'discovery',
  group: 'discovery.k8s.io',
  hasGeneration: true,
  columns: [
    textColumn('AddressType', (object) => (object as EndpointSlice).addressType ?? ''),
    textColumn('Ports', (object) => {
      const ports = ((object as EndpointSlice).ports ?? []).map((port) => String(port.port ?? '*'))
      return shortList(ports, '<unset>')
    }),
    textColumn('Endpoints', (object) => {
      const addresses = ((object as EndpointSlice).endpoints ?? []).flatMap(
        (endpoint) => endpoint.addresses ?? [],
      )
      return shortList(addresses, '<unset>')
    }),
    ageColumn,
  ],
  validate: validateSlice,
})

interface EndpointSubset {
  addresses?: { ip: string }[]
  notReadyAddresses?: { ip: string }[]
  ports?: EndpointPort[]
}

function subsetsOf(object: KubeObject): EndpointSubset[] {
  return (object['subsets'] ?? []) as EndpointSubset[]
}

function validateEndpoints(object: KubeObject): FieldError[] {
  return subsetsOf(object).flatMap((subset, index) => {
    const at = `subsets[${index}]`
    const errors: FieldError[] = []
    if ((subset.addresses ?? []).length === 0 && (subset.notReadyAddresses ?? []).length === 0)
      errors.push(required(at, 'must specify `addresses` or `notReadyAddresses`'))
    for (const field of ['addresses', 'notReadyAddresses'] as const)
      for (const [position, { ip }] of (subset[field] ?? []).entries()) {
        const syntax = ipErrors(`${at}.${field}[${position}].ip`, ip)
        errors.push(
          ...(syntax.length > 0 ? syntax : specialAddressErrors(`${at}.${field}[${position}].ip`, ip)),
        )
      }
    for (const [position, port] of (subset.ports ?? []).entries()) {
      if (!port.name && (subset.ports ?? []).length > 1)
        errors.push(required(`${at}.ports[${position}].name`))
      errors.push(...portErrors(`${at}.ports[${position}].port`, port.port ?? 0))
    }
    return errors
  })
}

export const endpointsKind: KindDefinition = defineKind('Endpoints', {
  package: 'core',
  shortNames: ['ep'],
  columns: [
    textColumn('Endpoints', (object) => {
      const pairs = subsetsOf(object).flatMap((subset) =>
        (subset.addresses ?? []).flatMap(({ ip }) => {
          const host = ip.includes(':') ? `[${ip}]` : ip
          return (subset.ports ?? []).length === 0
            ? [ip]
            : (subset.ports ?? []).map((port) => `${host}:${port.port ?? 0}`)
        }),
      )
      return shortList(pairs, '<none>')
    }),
    ageColumn,
  ],
  validate: validateEndpoints,
})
