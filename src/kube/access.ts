// Which rule of a Role a request needs, and which rules are lacking: noted where the API server refuses, forgotten where it grants.

import type { Resource } from './objects.ts'

/** What a request asks to do. */
export interface Access {
  readonly verb: 'get' | 'list' | 'watch' | 'create' | 'update' | 'patch' | 'delete'
  readonly resource: Resource
  readonly subresource?: string | undefined
  readonly namespace?: string | undefined
  readonly name?: string | undefined
}

export interface LackingRule {
  /** As a Role has it. */
  readonly rule: string
  /** `ClusterRole`, or `Role in kube-system`. */
  readonly where: string
  /** The server's own words, of the last time. */
  readonly message: string
  readonly sinceMs: number
}

/** These are granted where they are, and by name; everything else in the whole cluster. */
const GRANTED_BY_NAME: readonly string[] = ['secrets', 'leases']
/** There are not so many rules. */
const REMEMBERED_MAX = 100

/** The smallest rule that would allow it. */
export function ruleFor({ verb, resource, subresource, name }: Access): string {
  const { group, plural } = resource
  const what = subresource === undefined ? plural : `${plural}/${subresource}`
  const isNamed = name !== undefined && verb !== 'create' && GRANTED_BY_NAME.includes(plural)
  const names = isNamed ? `, resourceNames: [${name}]` : ''
  return `{ apiGroups: [${group || '""'}], resources: [${what}]${names}, verbs: [${verb}] }`
}

/** Whether a 403 is the roles' word; quotas, admission and namespaces that are going refuse, too. */
export function isRefusedByRoles(message: string): boolean {
  return / is forbidden: User ".*" cannot [a-z]+ /.test(message)
}

export class LackingRules {
  readonly #rules = new Map<string, LackingRule>()

  refused(access: Access, message: string): void {
    const rule = ruleFor(access)
    const where = placeOf(access)
    const key = `${where} ${rule}`
    const { sinceMs } = this.#rules.get(key) ?? { sinceMs: Date.now() }
    if (!this.#rules.has(key) && this.#rules.size >= REMEMBERED_MAX) return
    this.#rules.set(key, { rule, where, message, sinceMs })
  }

  granted(access: Access): void {
    if (this.#rules.size > 0) this.#rules.delete(`${placeOf(access)} ${ruleFor(access)}`)
  }

  list(): readonly LackingRule[] {
    return [...this.#rules.values()].sort((a, b) => a.sinceMs - b.sinceMs)
  }
}

function placeOf({ resource, namespace }: Access): string {
  const isInNamespace = namespace !== undefined && GRANTED_BY_NAME.includes(resource.plural)
  return isInNamespace ? `Role in ${namespace}` : 'ClusterRole'
}
