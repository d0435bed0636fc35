// The status of CiliumLoadBalancerIPPools: conflicts, and how many addresses there are, are free, are in use. Written by the agent that
// gives the addresses out, at most once a second, where it differs.

import type { Logger } from 'pino'
import { LOAD_BALANCER_IP_POOLS } from '../kube/cilium.ts'
import type { KubeClient } from '../kube/client.ts'
import { isKubeError } from '../kube/errors.ts'
import type { CiliumAddressPool } from '../model/cilium.ts'
import { timeText } from '../model/time-text.ts'
import { Rounds } from '../reconcile/rounds.ts'
import type { AddressPool } from '../routing/address-pools.ts'
import { type PoolCondition, poolConditions } from '../routing/sources/cilium-pools.ts'

export interface PoolReporterOptions {
  readonly client: Pick<KubeClient, 'patch'>
  /** Cilium's, as they stand; none where they are not followed. */
  readonly ciliumPools: () => ReadonlyMap<string, CiliumAddressPool>
  readonly log: Pick<Logger, 'warn'>
}

export interface PoolUse {
  readonly pools: readonly AddressPool[]
  /** Addresses in use, by the pool's name. */
  readonly used: ReadonlyMap<string, number>
  /** Asked before every write. */
  readonly isLeader: () => boolean
}

export class PoolReporter {
  readonly #options: PoolReporterOptions
  readonly #rounds: Rounds
  #use: PoolUse | undefined

  constructor(options: PoolReporterOptions) {
    this.#options = options
    this.#rounds = new Rounds({
      name: 'pool status',
      settleMs: 1_000,
      retryMinMs: 1_000,
      retryMaxMs: 60_000,
      run: () => this.#round(),
      onError: (error) => options.log.warn({ err: error }, 'could not write the status of address pools'),
    })
  }

  report(use: PoolUse): void {
    this.#use = use
    if (this.#options.ciliumPools().size > 0) this.#rounds.request()
  }

  close(): Promise<void> {
    return this.#rounds.close()
  }

  async #round(): Promise<void> {
    if (this.#use === undefined) return
    const { pools, used, isLeader } = this.#use
    for (const [name, object] of this.#options.ciliumPools()) {
      const pool = pools.findLast((one) => one.name === name)
      const wanted = pool && poolConditions(object, pool, used.get(name) ?? 0)
      if (wanted !== undefined && isLeader()) await this.#write(object, wanted)
    }
  }

  /** A merge patch replaces the list, so others' conditions go along; those of before keep the time of their last transition. */
  async #write({ name, conditions }: CiliumAddressPool, wanted: readonly PoolCondition[]): Promise<void> {
    const nowText = timeText(Date.now())
    const written = wanted.map((one) => {
      const has = conditions.find(({ type }) => type === one.type)
      const isSame = has?.status === one.status && has.message === one.message
      return { ...one, lastTransitionTime: (isSame ? has.lastTransitionTime : '') || nowText }
    })
    const others = conditions.filter(({ type }) => !wanted.some((one) => one.type === type))
    const patch = { status: { conditions: [...others, ...written] } }
    try {
      await this.#options.client.patch(LOAD_BALANCER_IP_POOLS, { name, subresource: 'status' }, patch, {
        kind: 'merge',
      })
    } catch (error) {
      if (!isKubeError(error, 'not-found')) throw error
    }
  }
}
