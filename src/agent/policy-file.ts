// A file of policies, read as the API server's own objects are: several documents, Lists, every kind that policy is made of. What is no object
// of these kinds is left out and told of; what cannot be read refuses the whole file, with the place and the mend.

import { type Document, type ParseOptions, parseAllDocuments, type SchemaOptions, type Tags } from 'yaml'
import { type ApiObject, apiVersionOf, keyOf, type Resource } from '../kube/objects.ts'
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

/** As kubectl reads YAML: `yes` and `on` are booleans, `<<` merges, `010` is 8; but times of day and dates are text. */
const AS_KUBECTL: ParseOptions & SchemaOptions & { readonly version: '1.1' } = {
  version: '1.1',
  customTags: (tags: Tags) =>
    tags.filter(
      (tag) =>
        typeof tag === 'string' || (tag.format !== 'TIME' && tag.tag !== 'tag:yaml.org,2002:timestamp'),
    ),
}

/** Throws RequestError. */
export function readPolicyFile(text: string): PolicyFile {
  const problems: string[] = []
  const leftOut: string[] = []
  const policies: PolicyObject[] = []
  const groups: NetworkGroup[] = []
  for (const { found, read } of lastOfEach(objectsIn(text, problems), problems, leftOut)) {
    const { kind, version, object } = read
    if (kind === GROUP_KIND) groups.push(toNetworkGroup(checkedGroup(object, found.where, problems)))
    else policies.push(toPolicyObject(kind as PolicyKind, object, version))
  }
  if (problems.length > 0) throw new RequestError(400, problems.slice(0, PROBLEMS_MAX).join('\n'))
  return { policies, groups, leftOut }
}

interface Read {
  readonly kind: string
  readonly version: string
  readonly object: ApiObject
}

/** Applied in turn, the last of several objects of one name is the one that stays. */
function lastOfEach(
  all: readonly Found[],
  problems: string[],
  leftOut: string[],
): Iterable<{ readonly found: Found; readonly read: Read }> {
  const last = new Map<string, { readonly found: Found; readonly read: Read }>()
  for (const found of all) {
    const read = readObject(found, problems, leftOut)
    if (read === undefined) continue
    const { kind, object } = read
    const name = `${kind} ${keyOf(object)}`
    const before = last.get(name)
    if (before) leftOut.push(`${before.found.where}: ${name} is written again in ${found.where}, which holds`)
    last.delete(name)
    last.set(name, { found, read })
  }
  return last.values()
}

function objectsIn(text: string, problems: string[]): readonly Found[] {
  return [...parseAllDocuments(text, { ...AS_KUBECTL, prettyErrors: true })].flatMap((parsed, index) => {
    const where = `document ${index + 1}`
    const value = contentOf(parsed as Document, where, problems)
    if (value === null || value === undefined) return []
    const items = isRecord(value) && /List$/.test(String(value['kind'])) ? value['items'] : undefined
    if (Array.isArray(items))
      return items.map((item: unknown, place) => ({ value: item, where: `${where}, items[${place}]` }))
    return isRecord(value) && value['kind'] === 'List' ? [] : [{ value, where }]
  })
}

/** Undefined, and a problem, where it cannot be read. */
function contentOf(parsed: Document, where: string, problems: string[]): unknown {
  const [error] = parsed.errors
  const refuse = (at: string, message: string) =>
    void problems.push(`${where}${at}: ${message.split('\n')[0]} Mend: write YAML as kubectl takes it`)
  if (error)
    return refuse(error.linePos === undefined ? '' : `, line ${error.linePos[0].line}`, error.message)
  try {
    return parsed.toJS()
  } catch (thrown) {
    // An alias of nothing, or of more than anybody writes.
    return refuse('', `${thrown instanceof Error ? thrown.message : thrown}.`)
  }
}

/** Undefined: it is told of. */
function readObject({ value, where }: Found, problems: string[], leftOut: string[]): Read | undefined {
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
