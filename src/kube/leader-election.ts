// Leader election by Lease (coordination.k8s.io/v1), as Kubernetes' own components do it: whoever holds an unexpired Lease
// leads; it renews well before the end; others wait until the holder has been silent for the whole duration, measured by
// their own clock from when they last saw the Lease change, so that clock skew between nodes does not matter.

import { setTimeout as sleep } from 'node:timers/promises'
import type { KubeClient } from './client.ts'
import { isKubeError } from './errors.ts'
import { LEASES, type Lease } from './objects.ts'

const LEASE_DURATION_MS = 15_000
const RENEW_EVERY_MS = 5_000
const RETRY_EVERY_MS = 2_000

export interface LeaderElectionOptions {
  readonly client: KubeClient
  readonly namespace: string
  readonly name: string
  /** Must differ between candidates; a node's name does. */
  readonly identity: string
  readonly onStarted: () => void
  /** Called when leadership was lost or given up; after it nothing may be written any more. */
  readonly onStopped: () => void
  readonly onProblem: (error: unknown) => void
  readonly nowMs?: () => number
}

export interface LeaderElection {
  readonly isLeader: boolean
  /** Gives the Lease back, so that another candidate need not wait. */
  close(): Promise<void>
}

export function electLeader(options: LeaderElectionOptions): LeaderElection {
  const candidate = new Candidate(options)
  candidate.start()
  return candidate
}

class Candidate implements LeaderElection {
  readonly #options: LeaderElectionOptions
  readonly #nowMs: () => number
  readonly #stop = new AbortController()
  #loop: Promise<void> | undefined
  #leaderUntilMs = 0
  #leading = false
  /** The last change of the Lease as we saw it, and when. */
  #seen = { version: '', atMs: 0 }

  constructor(options: LeaderElectionOptions) {
    this.#options = options
    this.#nowMs = options.nowMs ?? (() => performance.now())
  }

  get isLeader(): boolean {
    return this.#leading && this.#nowMs() < this.#leaderUntilMs
  }

  start(): void {
    this.#loop = this.#run()
  }

  async close(): Promise<void> {
    this.#stop.abort()
    await this.#loop
    if (this.#leading) await this.#release().catch(this.#options.onProblem)
    this.#setLeading(false)
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        this.#setLeading(await this.#tryOnce())
      } catch (error) {
        if (this.#stop.signal.aborted) return
        this.#options.onProblem(error)
        // Not reaching the API server costs leadership only once others may have taken it.
        if (this.#nowMs() >= this.#leaderUntilMs) this.#setLeading(false)
      }
      const pauseMs = this.#leading ? RENEW_EVERY_MS : RETRY_EVERY_MS
      await sleep(pauseMs, undefined, { signal: this.#stop.signal }).catch(() => {})
    }
  }

  #setLeading(leading: boolean): void {
    if (leading === this.#leading) return
    this.#leading = leading
    if (leading) this.#options.onStarted()
    else this.#options.onStopped()
  }

  /** Creates, renews or takes over the Lease. @returns whether we hold it now */
  async #tryOnce(): Promise<boolean> {
    const { client, namespace, name } = this.#options
    const askedAtMs = this.#nowMs()
    const lease = await client.get(LEASES, { namespace, name }, this.#stop.signal).catch((error: unknown) => {
      if (isKubeError(error, 'not-found')) return undefined
      throw error
    })
    if (lease && !this.#mayTake(lease)) return false
    try {
      await this.#write(lease)
    } catch (error) {
      // Somebody else was quicker; that is an answer, not a failure.
      if (isKubeError(error, 'conflict', 'already-exists')) return false
      throw error
    }
    this.#leaderUntilMs = askedAtMs + LEASE_DURATION_MS
    return true
  }

  #mayTake(lease: Lease): boolean {
    const holder = lease.spec?.holderIdentity ?? ''
    if (holder === '' || holder === this.#options.identity) return true
    const version = lease.metadata.resourceVersion ?? ''
    if (version !== this.#seen.version) this.#seen = { version, atMs: this.#nowMs() }
    const durationMs = (lease.spec?.leaseDurationSeconds ?? LEASE_DURATION_MS / 1000) * 1000
    return this.#nowMs() - this.#seen.atMs > durationMs
  }

  async #write(lease: Lease | undefined): Promise<void> {
    const { client, namespace, name, identity } = this.#options
    const time = `${new Date().toISOString().slice(0, -1)}000Z`
    const isRenewal = lease?.spec?.holderIdentity === identity
    const spec = {
      ...lease?.spec,
      holderIdentity: identity,
      leaseDurationSeconds: LEASE_DURATION_MS / 1000,
      renewTime: time,
      acquireTime: isRenewal ? (lease?.spec?.acquireTime ?? time) : time,
      leaseTransitions: (lease?.spec?.leaseTransitions ?? 0) + (lease && !isRenewal ? 1 : 0),
    }
    if (lease) await client.update(LEASES, { ...lease, spec }, undefined, this.#stop.signal)
    else
      await client.create(
        LEASES,
        { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { namespace, name }, spec },
        this.#stop.signal,
      )
  }

  async #release(): Promise<void> {
    const { client, namespace, name, identity } = this.#options
    const lease = await client.get(LEASES, { namespace, name })
    if (lease.spec?.holderIdentity !== identity) return
    await client.update(LEASES, {
      ...lease,
      spec: { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1 },
    })
  }
}
