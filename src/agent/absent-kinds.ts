// Kinds that the cluster lacks, looked for by discovery: one small request for each group that lacks any, so that kinds that are installed
// are followed within seconds, and no right beside everybody's is needed.

import type { KubeClient } from '../kube/client.ts'
import { apiVersionOf, type Resource } from '../kube/objects.ts'

/** An answer of some kilobytes; every node asks. */
export const POLL_MS = 10_000

export interface AbsentKindsOptions {
  readonly client: Pick<KubeClient, 'discover'>
  /** Those that are absent now. */
  readonly absent: () => readonly Resource[]
  readonly onFound: (resource: Resource) => void
  readonly pollMs?: number | undefined
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
    for (const kinds of Map.groupBy(absent(), apiVersionOf).values()) {
      const [{ group, version }] = kinds as [Resource]
      const there = await client
        .discover(group, version, this.#stop.signal)
        // Who may not ask that asks for the kinds themselves.
        .catch(() => kinds.map(({ plural }) => plural))
      if (this.#stop.signal.aborted) return
      for (const kind of kinds) if (there.includes(kind.plural)) onFound(kind)
    }
    this.#lookSoon()
  }
}
