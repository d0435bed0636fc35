// Kinds that the cluster lacks, looked for by discovery: one small request for each group that lacks any, so that kinds that are installed
// are followed within seconds, and no right beside everybody's is needed.

import type { KubeClient } from '../kube/client.ts'
import type { Resource } from '../kube/objects.ts'

/** Every node asks. */
const POLL_MS = 10_000

export interface AbsentKindsOptions {
  readonly client: Pick<KubeClient, 'discover'>
  /** Those that are absent now. */
  readonly absent: () => readonly Resource[]
  readonly onFound: (resource: Resource) => void
  readonly pollMs?: number
}

export class AbsentKinds {
  readonly #options: AbsentKindsOptions
  readonly #stop = new AbortController()
  #timer: NodeJS.Timeout | undefined

  constructor(options: AbsentKindsOptions) {
    this.#options = options
    this.#lookSoon()
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#stop.abort()
  }

  #lookSoon(): void {
    const { pollMs = POLL_MS } = this.#options
    this.#timer = setTimeout(() => void this.#look(), pollMs * (0.75 + Math.random() / 2))
    this.#timer.unref()
  }

  async #look(): Promise<void> {
    const { client, absent, onFound } = this.#options
    const kinds = absent()
    const groups = new Map(kinds.map((kind) => [`${kind.group}/${kind.version}`, kind]))
    for (const [name, { group, version }] of groups) {
      const there = await client
        .discover(group, version, this.#stop.signal)
        .catch((): readonly string[] => [])
      if (this.#stop.signal.aborted) return
      for (const kind of kinds)
        if (`${kind.group}/${kind.version}` === name && there.includes(kind.plural)) onFound(kind)
    }
    this.#lookSoon()
  }
}
