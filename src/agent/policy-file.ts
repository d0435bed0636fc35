// A file of policies, read as the API server's own objects are: several documents, Lists, every kind that policy is made of. What is no object
// of these kinds is left out and told of; what cannot be read refuses the whole file, with the place and the mend.

import { parseAllDocuments } from 'yaml'
import { type ApiObject, apiVersionOf, type Resource } from '../kube/objects.ts'
import {
  CILIUM_CIDR_GROUPS,
  POLICY_RESOURCES,
  type PolicyObject,
  toPolicyObject,
} from '../kube/policies/resources.ts'
import { toNetworkGroup } from '../kube/policies/world.ts'
import { parseNetwork } from '../model/address.ts'
import { isRecord } from '../model/is-record.ts'
import { nearMatches } from '../model/near-matches.ts'
import type { PolicyKind, PolicyWorld } from '../model/policy.ts'
import { RequestError } from './local-api.ts'

export type NetworkGroup = PolicyWorld['networkGroups'][number]

export interface PolicyFile {
  readonly policies: readonly PolicyObject[]
  readonly groups: readonly NetworkGroup[]
  /** Sentences: what of the file is not simulated, and why. */
  readonly leftOut: readonly string[]
}

export const GROUP_KIND = CILIUM_CIDR_GROUPS.kind
export const SIMULATED_KINDS: readonly string[] = [...Object.keys(POLICY_RESOURCES), GROUP_KIND]
const NAMESPACE_DEFAULT = 'default'
/** Problems of one file that are told. */
const PROBLEMS_MAX = 10

interface Found {
  readonly value: unknown
  /** `document 2`, or `document 2, items[1]`. */
  readonly where: string
}

/** Throws RequestError. */
export function readPolicyFile(text: string): PolicyFile {
  const problems: string[] = []
  const leftOut: string[] = []
  const policies: PolicyObject[] = []
  const groups: NetworkGroup[] = []
  for (const found of objectsIn(text, problems)) {
    const read = readObject(found, problems, leftOut)
    if (read === undefined) continue
    const { kind, version, object } = read
    if (kind === GROUP_KIND) groups.push(toNetworkGroup(checkedGroup(object, found.where, problems)))
    else policies.push(toPolicyObject(kind as PolicyKind, object, version))
  }
  if (problems.length > 0) throw new RequestError(400, problems.slice(0, PROBLEMS_MAX).join('\n'))
  return { policies, groups, leftOut }
}

function objectsIn(text: string, problems: string[]): readonly Found[] {
  return [...parseAllDocuments(text, { prettyErrors: true })].flatMap((document, index) => {
    const where = `document ${index + 1}`
    const [error] = document.errors
    if (error) {
      const at = error.linePos === undefined ? '' : `, line ${error.linePos[0].line}`
      problems.push(`${where}${at}: ${error.message.split('\n')[0]} Mend: write YAML as kubectl takes it`)
      return []
    }
    const value: unknown = document.toJS()
    if (value === null || value === undefined) return []
    if (!isRecord(value) || value['kind'] !== 'List') return [{ value, where }]
    const items: readonly unknown[] = Array.isArray(value['items']) ? value['items'] : []
    return items.map((item, place) => ({ value: item, where: `${where}, items[${place}]` }))
  })
}

/** Undefined: it is told of. */
function readObject(
  { value, where }: Found,
  problems: string[],
  leftOut: string[],
): { readonly kind: string; readonly version: string; readonly object: ApiObject } | undefined {
  const kind = isRecord(value) ? value['kind'] : undefined
  if (!isRecord(value) || typeof kind !== 'string') {
    problems.push(`${where}: kind: is missing. Mend: write whole objects, with apiVersion, kind and metadata`)
    return undefined
  }
  const resource = resourceOf(kind)
  if (resource === undefined) {
    const [near] = nearMatches(kind, SIMULATED_KINDS, 1)
    const hint = near === undefined ? '' : ` (did you mean ${near}?)`
    leftOut.push(`${where}: a ${kind} says nothing of policy here${hint}`)
    return undefined
  }
  const readable = (resource.versions ?? [resource.version]).map((version) => ({ ...resource, version }))
  const written = readable.find((one) => apiVersionOf(one) === value['apiVersion'])
  if (written === undefined) {
    problems.push(
      `${where}: apiVersion: ${JSON.stringify(value['apiVersion'])} of ${kind} is not followed. Mend: write ${readable.map(apiVersionOf).join(' or ')}`,
    )
    return undefined
  }
  const metadata = isRecord(value['metadata']) ? value['metadata'] : {}
  const { name, namespace } = metadata
  if (typeof name !== 'string' || name === '') {
    problems.push(`${where}: metadata.name: is missing. Mend: name the ${kind}`)
    return undefined
  }
  const place = typeof namespace === 'string' && namespace !== '' ? namespace : NAMESPACE_DEFAULT
  const own = { ...metadata, namespace: resource.namespaced ? place : undefined }
  return { kind, version: written.version, object: { ...value, metadata: own } as ApiObject }
}

function resourceOf(kind: string): Resource | undefined {
  if (kind === GROUP_KIND) return CILIUM_CIDR_GROUPS
  return Object.hasOwn(POLICY_RESOURCES, kind) ? POLICY_RESOURCES[kind as PolicyKind] : undefined
}

/** The API's schema refuses what is no network; nothing is left out unsaid here either. */
function checkedGroup(object: ApiObject, where: string, problems: string[]): ApiObject {
  const { spec } = object as { spec?: unknown }
  const listed: unknown = isRecord(spec) ? spec['externalCIDRs'] : undefined
  if (!Array.isArray(listed)) {
    problems.push(`${where}: spec.externalCIDRs: is no list. Mend: write networks, as - 192.0.2.0/24`)
    return object
  }
  for (const [index, one] of listed.entries())
    if (typeof one !== 'string' || parseNetwork(one) === undefined)
      problems.push(
        `${where}: spec.externalCIDRs[${index}]: ${JSON.stringify(one)} is not a network. Mend: write one like 192.0.2.0/24`,
      )
  return object
}
