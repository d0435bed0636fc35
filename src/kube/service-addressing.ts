// What a Service asks of its load-balancer addresses → our model: `spec.loadBalancerIP` and annotations, ours, Cilium's LB-IPAM's and
// MetalLB's; and the condition in its status that says what became of it. Of names for one thing the first that is there counts.

import { type Address, familyOf, parseAddress } from '../model/address.ts'
import { SERVICE_KEYS } from '../model/own-keys.ts'
import type { AddressCondition, AddressWish, SharingWish } from '../model/service.ts'
import type * as api from './objects.ts'
import { SHOWN_VALUE_MAX } from './parts.ts'

type Annotations = Readonly<Record<string, string>>

/** `spec.loadBalancerClass` of Services that are ours beside those without one. */
export const LOAD_BALANCER_CLASS = 'weir.network/bgp'
export const ADDRESS_CONDITION = 'weir.network/AddressAllocated'

const ADDRESSES = [
  SERVICE_KEYS.loadBalancerIps,
  'lbipam.cilium.io/ips',
  'io.cilium/lb-ipam-ips',
  'metallb.io/loadBalancerIPs',
  'metallb.universe.tf/loadBalancerIPs',
]
const POOL = [SERVICE_KEYS.addressPool, 'metallb.io/address-pool', 'metallb.universe.tf/address-pool']
/** Beside its own namespace, those that the last annotation lists; MetalLB shares between all. */
const SHARING: readonly { readonly key: string; readonly namespaces: string | undefined }[] = [
  { key: SERVICE_KEYS.sharingKey, namespaces: SERVICE_KEYS.sharingCrossNamespace },
  { key: 'lbipam.cilium.io/sharing-key', namespaces: 'lbipam.cilium.io/sharing-cross-namespace' },
  { key: 'io.cilium/lb-ipam-sharing-key', namespaces: 'io.cilium/lb-ipam-sharing-cross-namespace' },
  { key: 'metallb.io/allow-shared-ip', namespaces: undefined },
  { key: 'metallb.universe.tf/allow-shared-ip', namespaces: undefined },
]

/** Another implementation's Service: a default one must leave every class alone but its own. */
export function isForeignClass({ loadBalancerClass = '' }: api.Service['spec']): boolean {
  return loadBalancerClass !== '' && loadBalancerClass !== LOAD_BALANCER_CLASS
}

/** undefined: it asks for nothing in particular, or not us. */
export function readAddressWish({ spec, metadata }: api.Service): AddressWish | undefined {
  if (spec.type !== 'LoadBalancer' || isForeignClass(spec)) return undefined
  const annotations = metadata.annotations ?? {}
  const asked = askedFor(spec, annotations)
  const pool = first(annotations, POOL)?.text
  const sharing = readSharing(spec, annotations)
  if (asked === undefined && pool === undefined && sharing === undefined) return undefined
  const addresses: Address[] = []
  const invalid = asked && readAsked(asked, addresses)
  return { addresses: invalid === undefined ? addresses : [], pool, sharing, invalid }
}

interface Said {
  readonly where: string
  readonly text: string
}

function askedFor({ loadBalancerIP = '' }: api.Service['spec'], annotations: Annotations): Said | undefined {
  const said = first(annotations, ADDRESSES)
  if (said) return { ...said, where: `annotation ${said.where}` }
  return loadBalancerIP.trim() === '' ? undefined : { where: 'spec.loadBalancerIP', text: loadBalancerIP }
}

/** @returns what is wrong with it */
function readAsked({ where, text }: Said, into: Address[]): string | undefined {
  for (const part of list(text)) {
    const parsed = parseAddress(part)
    if (parsed === undefined)
      return `${where} '${part.slice(0, SHOWN_VALUE_MAX)}' is not an IP address; write one of each family, parted by a comma`
    const other = into.find((one) => familyOf(one) === familyOf(parsed))
    if (other !== undefined)
      return `${where} asks for ${other} and ${parsed}; a Service has one address of each family`
    into.push(parsed)
  }
  return undefined
}

function readSharing({ selector }: api.Service['spec'], annotations: Annotations): SharingWish | undefined {
  for (const { key, namespaces } of SHARING) {
    const text = annotations[key]?.trim()
    if (!text) continue
    const listed = namespaces === undefined ? ['*'] : list(annotations[namespaces] ?? '')
    const labels = Object.entries(selector ?? {}).map(([name, value]) => `${name}=${value}`)
    return { key: text, namespaces: listed.includes('*') ? 'all' : listed.sort(), pods: labels.sort().join() }
  }
  return undefined
}

function first(annotations: Annotations, names: readonly string[]): Said | undefined {
  for (const where of names) {
    const text = annotations[where]?.trim()
    if (text) return { where, text }
  }
  return undefined
}

function list(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
}

/** What nearly every Service says; kept once. */
export const ALLOCATED: AddressCondition = { status: 'True', reason: 'Allocated', message: '' }

export function readAddressCondition({ status }: api.Service): AddressCondition | undefined {
  const found = status?.conditions?.find(({ type }) => type === ADDRESS_CONDITION)
  if (found === undefined) return undefined
  const { reason = '', message = '' } = found
  if (found.status === 'True' && reason === ALLOCATED.reason && message === '') return ALLOCATED
  return { status: found.status === 'True' ? 'True' : 'False', reason, message }
}
