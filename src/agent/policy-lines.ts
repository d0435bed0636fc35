// Where a rule is written: the line of `kubectl get -o yaml`. Asked of the API server when somebody wants to know, since of an object no
// more is kept here than policy needs.

import type { KubeClient } from '../kube/client.ts'
import { KubectlYaml } from '../kube/kubectl-yaml.ts'
import type { Resource } from '../kube/objects.ts'
import { namesOf, POLICY_RESOURCES } from '../kube/policies/resources.ts'
import type { PolicyDirection, PolicyKind } from '../model/policy.ts'

/** A rule, a part of one, or with an empty path what isolates. */
export interface WrittenRule {
  readonly kind: PolicyKind
  readonly key: string
  readonly part: number
  readonly direction: PolicyDirection
  readonly path: string
  /** Place among the rules of its direction; -1: none of them. */
  readonly index?: number | undefined
}

export interface RuleLine {
  readonly kind: PolicyKind
  readonly policy: string
  readonly path: string
  readonly index?: number | undefined
  /** What prints the lines that are counted. */
  readonly command: string
  readonly line?: number | undefined
  readonly text?: string | undefined
  /** Why there is no line. */
  readonly problem?: string | undefined
}

/** Objects asked for at once. */
const OBJECTS_MAX = 20
const TIMEOUT_MS = 2_000

export class PolicyLines {
  readonly #client: Pick<KubeClient, 'list'>
  readonly #resourceOf: (kind: PolicyKind) => Resource

  /** @param resourceOf a kind, in the version that is followed */
  constructor(
    client: Pick<KubeClient, 'list'>,
    resourceOf: (kind: PolicyKind) => Resource = (kind) => POLICY_RESOURCES[kind],
  ) {
    this.#client = client
    this.#resourceOf = resourceOf
  }

  /** One for each of the rules, but for those of objects beyond the first few. */
  async of(rules: readonly WrittenRule[]): Promise<readonly RuleLine[]> {
    const byObject = Map.groupBy(rules, ({ kind, key }) => `${kind} ${key}`)
    const asked = [...byObject.values()].slice(0, OBJECTS_MAX)
    return (await Promise.all(asked.map((group) => this.#linesOf(group)))).flat()
  }

  async #linesOf(rules: readonly WrittenRule[]): Promise<readonly RuleLine[]> {
    const [first] = rules
    if (first === undefined) return []
    const read = await this.#read(first).catch((error: unknown) => ({
      problem: `the API server does not tell: ${error instanceof Error ? error.message : error}`,
    }))
    const distinct = new Map(rules.map((rule) => [`${rule.path} ${rule.direction} ${rule.part}`, rule]))
    return [...distinct.values()].map((rule) => lineOf(rule, read))
  }

  async #read({ kind, key }: WrittenRule): Promise<KubectlYaml | { readonly problem: string }> {
    const resource = this.#resourceOf(kind)
    const { namespace, name } = namesOf({ key })
    // The verb that the role has anyway.
    const { items } = await this.#client.list(
      resource,
      { namespace, fieldSelector: `metadata.name=${name}` },
      AbortSignal.timeout(TIMEOUT_MS),
    )
    const [object] = items
    return object === undefined ? { problem: 'it is gone' } : new KubectlYaml(resource, object)
  }
}

function lineOf(rule: WrittenRule, read: KubectlYaml | { readonly problem: string }): RuleLine {
  const { kind, key, index } = rule
  const { namespace, name } = namesOf(rule)
  const inNamespace = namespace === undefined ? '' : ` -n ${namespace}`
  const command = `kubectl get ${POLICY_RESOURCES[kind].plural}${inNamespace} ${name} -o yaml`
  const about = { kind, policy: key, command, ...(index === undefined ? {} : { index }) }
  if (!(read instanceof KubectlYaml)) return { ...about, path: rule.path, problem: read.problem }
  for (const path of placesOf(rule, read.find('spec') !== undefined)) {
    const found = read.find(path)
    if (found) return { ...about, path, ...found }
  }
  return { ...about, path: rule.path, problem: 'it was changed meanwhile, and has no such place any more' }
}

/** What isolates is said by the types, where they are written; else by the section, or by being there at all. */
function placesOf({ path, part, direction }: WrittenRule, hasSpec: boolean): readonly string[] {
  if (path !== '') return [path]
  // Where both are written, the parts begin with `spec`.
  const spec = hasSpec && part === 0 ? 'spec' : `specs[${hasSpec ? part - 1 : part}]`
  return [`${spec}.policyTypes`, `${spec}.${direction}`, spec]
}
