// One kind of what policy is made of: how it is followed, what is known of it, and what is the matter with it.

import type { ListWatch } from '../kube/list-watch.ts'
import { groupResourceOf, type Resource } from '../kube/objects.ts'
import type { Table } from '../tables/table.ts'
import type { Outage } from './outage.ts'
import type { Readability } from './sources.ts'

/** A kind in one version. */
export interface Version {
  readonly resource: Resource
  readonly watch: Pick<ListWatch<unknown>, 'get' | 'rows' | 'retryNow' | 'close' | 'state'>
}

export interface Followed {
  /** Begins to follow another version of the kind, in place of the one before: once it has told all, where that one can be read. */
  readonly begin: (resource: Resource) => void
  /** What the table says. */
  now: Version
  /** It has not told all yet. */
  next: Version | undefined
  readonly table: Table<unknown>
  /** Whether the cluster may lack it. */
  readonly isOptional: boolean
  /** What the cluster has of it. */
  readonly known: Milestone
  /** It is known, or that it may not be read. */
  readonly answered: Milestone
  readability: Readability | undefined
  /** The versions that are served, where none of them is read here; else empty. */
  unreadable: readonly string[]
  /** The server answered, but with nothing of use; ends the waiting for it. */
  impatience: NodeJS.Timeout | undefined
  lastFailure: string
  /** Of a kind that is known. */
  readonly outage: Outage
}

export class Milestone {
  isReached = false
  readonly reached: Promise<void>
  readonly #resolve: () => void

  constructor() {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.reached = promise
    this.#resolve = resolve
  }

  reach(): void {
    this.isReached = true
    this.#resolve()
  }
}

/** What went while nobody followed the kind, between two versions. */
export function forgetGone({ table, now }: Followed): void {
  for (const [key] of table.entries()) if (now.watch.get(key) === undefined) table.delete(key)
}

export function isBestVersion({ version, versions = [version] }: Resource): boolean {
  return version === versions[0]
}

export function knowNow({ known, answered }: Followed): void {
  known.reach()
  answered.reach()
}

export function isAbsent({ isOptional, readability }: Followed): boolean {
  return isOptional && readability === 'absent'
}

/** What of it policy waits for, what becomes of policy meanwhile, and the mend; undefined: nothing. @param isOut nothing comes of it for long */
export function problemOf(followed: Followed, isOut: boolean): string | undefined {
  const { readability, unreadable, known, answered, lastFailure } = followed
  const { resource } = followed.now
  const what = groupResourceOf(resource)
  const then = known.isReached
    ? 'what was known of them stays in force'
    : 'until it does, pods go on by the policies that this node’s kernel holds; others are closed, on a node that has held policy since it booted all of them, else those whose device carries Weir’s programs'
  if (readability === 'forbidden')
    return `the agents' role does not grant list and watch of ${what}: ${then}. Mend: apply the manifests' ClusterRole (manifests/base/rbac.yaml)`
  if (unreadable.length > 0) {
    const read = (resource.versions ?? [resource.version]).join(' or ')
    return `the API server serves ${what} in no version that this Weir reads (${read}, not ${unreadable.join(', ')}): ${then}. Mend: serve ${read} too (in its CustomResourceDefinition), or run a version of Weir that reads ${unreadable.join(' or ')}`
  }
  if (known.isReached ? !isOut : !answered.isReached) return undefined
  return `the API server does not list ${what}: ${then}. It says: ${lastFailure}. Mend: see to it that 'kubectl get ${what} -A' works`
}
