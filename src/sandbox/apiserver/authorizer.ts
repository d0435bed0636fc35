// RBAC: a user may do what the roles that are bound to him list (rbac.authorization.k8s.io/v1). Asks the store at every question, so
// a changed role is in force with the next request; watches that are open go on. Members of system:masters may do everything.

import { forbiddenAccess, notFound } from './errors.ts'
import type { KubeObject } from './kind.ts'
import type { ApiRequest, User } from './request.ts'
import { type Attributes, attributesOf, type ResourceAttributes } from './request-attributes.ts'
import { type ResourceKey, resourceKey, type Storage } from './storage.ts'

const group = 'rbac.authorization.k8s.io'
const rolesKey = resourceKey(group, 'roles')
const clusterRolesKey = resourceKey(group, 'clusterroles')
const roleBindingsKey = resourceKey(group, 'rolebindings')
const clusterRoleBindingsKey = resourceKey(group, 'clusterrolebindings')

const mastersGroup = 'system:masters'
const authenticatedGroup = 'system:authenticated'

export interface Rule {
  readonly verbs?: readonly string[]
  readonly apiGroups?: readonly string[]
  readonly resources?: readonly string[]
  readonly resourceNames?: readonly string[]
  readonly nonResourceURLs?: readonly string[]
}

export interface Decision {
  readonly isAllowed: boolean
  /** What allows it; of a refusal the roles that are named and missing. May be empty. */
  readonly reason: string
}

interface Subject {
  readonly kind: string
  readonly name: string
  readonly namespace?: string
}

interface Binding extends KubeObject {
  readonly roleRef: { readonly kind: string; readonly name: string }
  readonly subjects?: readonly Subject[]
}

/** Rules with what grants them, or why a binding grants none. */
interface Grant {
  readonly rules: readonly Rule[]
  readonly source: string
  readonly problem?: string
}

const everything: Rule[] = [
  { verbs: ['*'], apiGroups: ['*'], resources: ['*'] },
  { verbs: ['*'], nonResourceURLs: ['*'] },
]

/** What a default cluster grants to whoever has a name: to look around, and to ask about himself. */
const basics: readonly Grant[] = [
  {
    source:
      'ClusterRoleBinding "system:discovery" of ClusterRole "system:discovery" to Group "system:authenticated"',
    rules: [
      {
        verbs: ['get'],
        nonResourceURLs: [
          ...['/api', '/api/*', '/apis', '/apis/*', '/openapi', '/openapi/*'],
          ...['/healthz', '/livez', '/readyz', '/version', '/version/'],
        ],
      },
    ],
  },
  {
    source:
      'ClusterRoleBinding "system:basic-user" of ClusterRole "system:basic-user" to Group "system:authenticated"',
    rules: [
      {
        verbs: ['create'],
        apiGroups: ['authorization.k8s.io'],
        resources: ['selfsubjectaccessreviews', 'selfsubjectrulesreviews'],
      },
      { verbs: ['create'], apiGroups: ['authentication.k8s.io'], resources: ['selfsubjectreviews'] },
    ],
  },
]

export class Authorizer {
  readonly #storage: Pick<Storage, 'get' | 'list'>

  constructor(storage: Pick<Storage, 'get' | 'list'>) {
    this.#storage = storage
  }

  /** Throws the refusal. */
  assert(user: User, attributes: Attributes): void {
    const { isAllowed, reason } = this.decide(user, attributes)
    if (!isAllowed) throw forbiddenAccess(user.name, attributes, reason)
  }

  /** Server-side apply of what is not there makes it: that is asked for twice. */
  assertRequest(user: User, request: ApiRequest): void {
    if (isMaster(user)) return
    const attributes = attributesOf(request)
    this.assert(user, attributes)
    const { resource } = attributes
    const isApply = request.headers['content-type']?.startsWith('application/apply-patch+yaml') ?? false
    if (!isApply || request.method !== 'PATCH' || resource?.name === undefined) return
    if (resource.subresource !== undefined) return
    const key = resourceKey(resource.group, resource.plural)
    if (this.#storage.get(key, namespaceOf(resource), resource.name) === undefined)
      this.assert(user, { ...attributes, verb: 'create' })
  }

  decide(user: User, attributes: Attributes): Decision {
    if (isMaster(user)) return { isAllowed: true, reason: '' }
    const problems: string[] = []
    for (const { rules, source, problem } of this.#grants(user, attributes.resource?.namespace)) {
      if (rules.some((rule) => allows(rule, attributes)))
        return { isAllowed: true, reason: `RBAC: allowed by ${source}` }
      if (problem !== undefined) problems.push(problem)
    }
    const told = problems.length > 1 ? `[${problems.join(', ')}]` : problems.join('')
    return { isAllowed: false, reason: told === '' ? '' : `RBAC: ${told}` }
  }

  /** Everything that is granted to the user, in a namespace. */
  rulesFor(user: User, namespace: string): readonly Rule[] {
    if (isMaster(user)) return everything
    return [...this.#grants(user, namespace)].flatMap(({ rules }) => rules)
  }

  *#grants(user: User, namespace: string | undefined): Generator<Grant> {
    yield* basics
    for (const binding of this.#storage.list(clusterRoleBindingsKey) as Binding[])
      yield* this.#grantOf(user, binding, undefined)
    if (namespace === undefined) return
    for (const binding of this.#storage.list(roleBindingsKey, namespace) as Binding[])
      yield* this.#grantOf(user, binding, namespace)
  }

  *#grantOf(user: User, binding: Binding, namespace: string | undefined): Generator<Grant> {
    const { roleRef, subjects = [], metadata } = binding
    const subject = subjects.find((one) => isMeant(user, one, namespace))
    if (!subject) return
    const name = namespace === undefined ? metadata.name : `${metadata.name}/${namespace}`
    const what = namespace === undefined ? 'ClusterRoleBinding' : 'RoleBinding'
    const source = `${what} "${name}" of ${roleRef.kind} "${roleRef.name}" to ${describe(subject, namespace)}`
    const [key, where]: [ResourceKey, string | undefined] =
      roleRef.kind === 'Role' ? [rolesKey, namespace] : [clusterRolesKey, undefined]
    const role = this.#storage.get(key, where, roleRef.name)
    if (role) yield { source, rules: (role['rules'] ?? []) as Rule[] }
    else yield { source, rules: [], problem: missingRole(key, roleRef.kind, roleRef.name) }
  }
}

const isMaster = ({ groups }: User): boolean => groups.includes(mastersGroup)

const missingRole = (key: ResourceKey, kind: string, name: string): string =>
  notFound({ group, plural: key.slice(group.length + 1).replace(/s$/, ''), kind }, name).message

const isMeant = (user: User, { kind, name, namespace }: Subject, bound: string | undefined): boolean => {
  if (kind === 'User') return user.name === name
  if (kind === 'Group') return name === authenticatedGroup || user.groups.includes(name)
  if (kind !== 'ServiceAccount') return false
  const own = namespace || bound
  return own !== undefined && user.name === `system:serviceaccount:${own}:${name}`
}

const describe = ({ kind, name, namespace }: Subject, bound = ''): string =>
  `${kind} "${kind === 'ServiceAccount' ? `${name}/${namespace || bound}` : name}"`

/** Of the attributes of a namespace itself, which the store has at cluster level. */
const namespaceOf = ({ group: own, plural, namespace }: ResourceAttributes): string | undefined =>
  own === '' && plural === 'namespaces' ? undefined : namespace

const has = (list: readonly string[] | undefined, value: string): boolean =>
  list?.some((one) => one === '*' || one === value) ?? false

const allows = (rule: Rule, { verb, path, resource }: Attributes): boolean => {
  if (!has(rule.verbs, verb)) return false
  if (resource === undefined) return (rule.nonResourceURLs ?? []).some((url) => coversPath(url, path))
  const { plural, subresource, name } = resource
  return (
    has(rule.apiGroups, resource.group) &&
    (rule.resources ?? []).some((one) => coversResource(one, plural, subresource)) &&
    // A rule with names allows nothing that has none: neither create nor a list of all.
    ((rule.resourceNames ?? []).length === 0 || (name !== undefined && has(rule.resourceNames, name)))
  )
}

const coversResource = (granted: string, plural: string, subresource: string | undefined): boolean =>
  granted === '*' ||
  granted === (subresource === undefined ? plural : `${plural}/${subresource}`) ||
  (subresource !== undefined && granted === `*/${subresource}`)

const coversPath = (granted: string, path: string): boolean =>
  granted === '*' ||
  granted === path ||
  (granted.endsWith('*') && path.startsWith(granted.replace(/\*+$/, '')))
