// Kinds that the cluster lacks, looked for by discovery: one small request for each group that lacks any, and one for each kind of which several
// versions are read, so that kinds that are installed are followed within seconds, and no right beside everybody's is needed. Who must know that a kind is not there asks for a look at once: a
// 404 alone may be of a server that does not serve the kind yet, or serves it in another version. Of the versions that are read here the best
// that is served is taken; a kind that is served in others only is there, and cannot be read.

import type { KubeClient } from '../kube/client.ts'
import { isKubeError } from '../kube/errors.ts'
import { apiVersionOf, type Resource } from '../kube/objects.ts'

/** An answer of some kilobytes; every node asks. */
export const POLL_MS = 10_000
/** Kinds of one group are found absent one after the other. */
const TOGETHER_MS = 5
/** Of looks at once until one comes that nobody asked for: a start needs a few, and servers that contradict each other would ask for ever. */
const HURRIED_MAX = 16

export interface AbsentKindsOptions {
  readonly client: Pick<KubeClient, 'discover'>
  /** Those that are absent now, or of which a better version may have come; in the version in which they were asked for. */
  readonly absent: () => readonly Resource[]
  /** In the version to ask for. @param isGuess nobody may ask discovery */
  readonly onFound: (resource: Resource, isGuess: boolean) => void
  /** Discovery, if it may be asked, does not know it either. */
  readonly onConfirmed?: (resource: Resource) => void
  /** It is served, in versions that are not read here. */
  readonly onUnreadable?: (resource: Resource, versions: readonly string[]) => void
  readonly pollMs?: number | undefined
}

export class AbsentKinds {
  readonly #options: AbsentKindsOptions
  readonly #stop = new AbortController()
  #timer: NodeJS.Timeout | undefined
  #isLooking = false
  #isAskedAgain = false
  #hurried = 0

  constructor(options: AbsentKindsOptions) {
    this.#options = options
    this.#lookLater()
  }

  /** Does not wait for the next look, but after many of them. */
  lookNow(): void {
    if (this.#hurried >= HURRIED_MAX) return
    this.#isAskedAgain = this.#isLooking
    if (!this.#isLooking) this.#lookSoon()
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#stop.abort()
  }

  get #pauseMs(): number {
    return (this.#options.pollMs ?? POLL_MS) * (0.75 + Math.random() / 2)
  }

  #lookSoon(): void {
    this.#lookIn(TOGETHER_MS, () => {
      this.#hurried += 1
    })
  }

  #lookLater(): void {
    this.#lookIn(this.#pauseMs, () => {
      this.#hurried = 0
    })
  }

  #lookIn(ms: number, count: () => void): void {
    if (this.#stop.signal.aborted) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      count()
      void this.#look()
    }, ms)
    this.#timer.unref()
  }

  async #look(): Promise<void> {
    this.#isLooking = true
    const absent = this.#options.absent()
    const plain = absent.filter(({ versions }) => versions === undefined)
    for (const kinds of Map.groupBy(plain, apiVersionOf).values()) {
      await this.#lookFor(kinds as [Resource, ...Resource[]])
      if (this.#stop.signal.aborted) return
    }
    for (const kind of absent) {
      if (kind.versions !== undefined) await this.#lookForVersion(kind, kind.versions)
      if (this.#stop.signal.aborted) return
    }
    this.#isLooking = false
    const isAskedAgain = this.#isAskedAgain
    this.#isAskedAgain = false
    if (isAskedAgain) this.#lookSoon()
    else this.#lookLater()
  }

  /** @param kinds of one group */
  async #lookFor(kinds: readonly [Resource, ...Resource[]]): Promise<void> {
    const { client, onFound, onConfirmed } = this.#options
    const { group, version } = kinds[0]
    const all = kinds.map(({ plural }) => plural)
    // Who may not ask that asks for the kinds themselves, and has nothing but their answer.
    let isDenied = false
    const there = await client.discover(group, version, this.#stop.signal).catch((error: unknown) => {
      isDenied = isKubeError(error, 'forbidden')
      return all
    })
    if (this.#stop.signal.aborted) return
    for (const kind of kinds) {
      const isThere = there.includes(kind.plural)
      if (isThere) onFound(kind, isDenied)
      if (!isThere || isDenied) onConfirmed?.(kind)
    }
  }

  async #lookForVersion(kind: Resource, versions: readonly string[]): Promise<void> {
    const { onFound, onConfirmed, onUnreadable } = this.#options
    try {
      const { readable, others } = await this.#servedVersions(kind, versions)
      if (this.#stop.signal.aborted) return
      if (readable !== undefined) onFound({ ...kind, version: readable }, false)
      else if (others.length > 0) onUnreadable?.(kind, others)
      else onConfirmed?.(kind)
    } catch (error) {
      if (this.#stop.signal.aborted) return
      // Who may not ask that tries the versions in turn, and knows after the last one.
      const next = versions.indexOf(kind.version) + 1
      const isDenied = isKubeError(error, 'forbidden')
      const version = versions[next % versions.length] ?? kind.version
      onFound(isDenied ? { ...kind, version } : kind, isDenied)
      if (isDenied && next === versions.length) onConfirmed?.(kind)
    }
  }

  async #servedVersions({ group, plural }: Resource, versions: readonly string[]) {
    const { client } = this.#options
    const { signal } = this.#stop
    const served = await client.discover(group, undefined, signal)
    const others: string[] = []
    for (const version of [...versions, ...served.filter((one) => !versions.includes(one))]) {
      if (!served.includes(version)) continue
      if (!(await client.discover(group, version, signal)).includes(plural)) continue
      if (versions.includes(version)) return { readable: version, others }
      others.push(version)
    }
    return { readable: undefined, others }
  }
}
