// Gives load-balancer addresses to Services: the one agent that holds the Lease runs the allocator over all of them and
// writes what differs into their status. What to give is decided by routing/allocate-addresses.ts; this file acts on it. Work is in
// proportion to the Services that changed.

import { setImmediate } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { KubeClient } from '../kube/client.ts'
import { isKubeError } from '../kube/errors.ts'
import type { EventRecorder } from '../kube/events.ts'
import { electLeader, type LeaderElection } from '../kube/leader-election.ts'
import { SERVICES } from '../kube/objects.ts'
import type { ObjectKey, Service } from '../model/service.ts'
import { Rounds } from '../reconcile/rounds.ts'
import { claimOf } from '../routing/address-claims.ts'
import { type AddressPool, isPoolAddress } from '../routing/address-pools.ts'
import { type AddressClaim, type AddressGrant, AddressLedger } from '../routing/allocate-addresses.ts'
import type { ChangeReader, Table } from '../tables/table.ts'
import { statusPatch } from './address-status.ts'
import type { PoolReporter } from './pool-reporter.ts'
import { serviceObject } from './report-problems.ts'

/** Claims noted at a stretch. */
const SLICE = 1000

/** Services whose status the API server refuses (an admission policy, say) before a round breaks off: then it is likely to be us. */
const REFUSALS_MAX = 100

const LEASE = { namespace: 'kube-system', name: 'weir-address-allocator' }

export interface AddressAllocatorOptions {
  readonly client: KubeClient
  readonly nodeName: string
  /** Those of now; say `poolsChanged` when they are others. Without any, nothing is written: another allocator may have that part. */
  readonly pools: () => readonly AddressPool[]
  /** False: there may be others, which cannot be read. What lies in none of those that are known is left alone then. */
  readonly areAllPoolsKnown?: () => boolean
  readonly services: Table<Service>
  /** Told after every round how the pools are used. */
  readonly reporter?: Pick<PoolReporter, 'report' | 'close'>
  readonly events: EventRecorder
  readonly log: Logger
}

export class AddressAllocator {
  readonly #options: AddressAllocatorOptions
  readonly #election: LeaderElection
  #changes: ChangeReader
  #ledger: AddressLedger
  /** Decided, and not in the Service's status yet. */
  readonly #unwritten = new Map<ObjectKey, AddressGrant>()
  readonly #rounds: Rounds
  #pools: readonly AddressPool[]
  #areAllKnown: boolean

  /** Start it only after Services have synced once: what it does not see it would give away. */
  constructor(options: AddressAllocatorOptions) {
    this.#options = options
    this.#rounds = new Rounds({
      name: 'addresses',
      settleMs: 10,
      retryMinMs: 500,
      retryMaxMs: 30_000,
      run: () => this.#round(),
      onError: (error, retryInMs) =>
        options.log.warn({ err: error, retryInMs }, 'could not write load-balancer addresses'),
    })
    this.#pools = options.pools()
    this.#areAllKnown = options.areAllPoolsKnown?.() ?? true
    this.#ledger = new AddressLedger(this.#pools)
    this.#changes = options.services.reader()
    this.#election = electLeader({
      client: options.client,
      ...LEASE,
      identity: options.nodeName,
      onStarted: () => {
        options.log.info('this agent allocates load-balancer addresses now')
        this.#begin()
      },
      onStopped: () => options.log.info('another agent allocates load-balancer addresses now'),
      onProblem: (error) => options.log.warn({ err: error }, 'cannot take or renew the allocator Lease'),
    })
  }

  get isLeader(): boolean {
    return this.#election.isLeader
  }

  /** Every Service is looked at anew. */
  poolsChanged(): void {
    this.#rounds.request()
  }

  async close(): Promise<void> {
    this.#changes.close()
    await this.#rounds.close()
    await this.#options.reporter?.close()
    await this.#election.close()
  }

  async #round(): Promise<void> {
    if (!this.#election.isLeader) return
    const { services, pools, areAllPoolsKnown } = this.#options
    const areAllKnown = areAllPoolsKnown?.() ?? true
    const hasOtherPools = pools() !== this.#pools
    // Which claims are left alone is another matter then.
    if (areAllKnown !== this.#areAllKnown || (hasOtherPools && !areAllKnown)) this.#begin()
    const ledger = this.#ledger
    if (hasOtherPools) {
      this.#pools = pools()
      ledger.setPools(this.#pools)
    }
    let count = 0
    for (const key of this.#changes.take() as ReadonlySet<ObjectKey>) {
      const service = services.get(key)
      ledger.set(key, service && this.#claimOf(service))
      count += 1
      if (count % SLICE !== 0) continue
      await setImmediate()
      // A new term began in the pause: it asked for a round of its own, which knows every claim.
      if (ledger !== this.#ledger) return
    }
    const isLarge = hasOtherPools || count >= SLICE
    for (const grant of await this.#decide(isLarge))
      if (this.#pools.length > 0) this.#unwritten.set(grant.service, grant)
    if (isLarge) await setImmediate()
    await this.#writeAll()
    this.#options.reporter?.report({
      pools: this.#pools,
      used: ledger.usage,
      isLeader: () => this.#election.isLeader,
    })
  }

  /** What lies in no pool may be of one that cannot be read: it is left alone as if another implementation had given it. */
  #claimOf(service: Service): AddressClaim | undefined {
    const claim = claimOf(service)
    if (claim === undefined || this.#areAllKnown) return claim
    const isElsewhere = claim.held.some((ip) => !isPoolAddress(this.#pools, ip))
    return isElsewhere ? { ...claim, isForeign: true } : claim
  }

  async #decide(isLarge: boolean): Promise<readonly AddressGrant[]> {
    const ledger = this.#ledger
    const steps = ledger.decideInSteps()
    for (;;) {
      const step = steps.next()
      if (step.done) return step.value
      if (isLarge) await setImmediate()
      // A new term began in the pause.
      if (ledger !== this.#ledger) return []
    }
  }

  /** A Service that is refused waits behind the others, and keeps none of them from its addresses. */
  async #writeAll(): Promise<void> {
    const refusals: unknown[] = []
    for (const [key, grant] of [...this.#unwritten]) {
      // Of a term that has ended meanwhile.
      if (this.#unwritten.get(key) !== grant) continue
      const service = this.#options.services.get(key)
      try {
        if (service) await this.#write(service, grant)
        this.#unwritten.delete(key)
      } catch (error) {
        if (!isKubeError(error, 'forbidden', 'invalid', 'conflict', 'server-error')) throw error
        if (this.#unwritten.delete(key)) this.#unwritten.set(key, grant)
        if (refusals.push(error) >= REFUSALS_MAX) break
      }
    }
    if (refusals.length > 0) throw refusals[0]
  }

  /** A new term knows nothing of what another leader gave meanwhile. */
  #begin(): void {
    this.#pools = this.#options.pools()
    this.#areAllKnown = this.#options.areAllPoolsKnown?.() ?? true
    this.#ledger = new AddressLedger(this.#pools)
    this.#unwritten.clear()
    this.#changes.close()
    this.#changes = this.#options.services.reader()
    this.#changes.onChange(() => this.#rounds.request())
    this.#rounds.request()
  }

  /** Does nothing where the status says so already, and where another agent leads now. */
  async #write(service: Service, grant: AddressGrant): Promise<void> {
    const { client, events, log } = this.#options
    const patch = statusPatch(service, grant, this.#pools, Date.now())
    if (patch === undefined || !this.#election.isLeader) return
    const [namespace = '', name = ''] = service.key.split('/')
    const object = serviceObject(service.key, service.uid)
    for (const { reason, text } of [...grant.problems, ...grant.remarks])
      events.record(object, 'Warning', reason, text)
    try {
      await client.patch(SERVICES, { namespace, name, subresource: 'status' }, patch, { kind: 'strategic' })
    } catch (error) {
      if (isKubeError(error, 'not-found')) return
      throw error
    }
    const { addresses } = grant
    log.info({ service: service.key, addresses }, 'wrote load-balancer addresses')
    const given = addresses.filter((ip) => !service.statusIps.includes(ip))
    const lost = service.statusIps.filter((ip) => !addresses.includes(ip))
    if (given.length > 0)
      events.record(object, 'Normal', 'AddressAllocated', `Load-balancer addresses ${addresses.join(', ')}`)
    if (lost.length > 0)
      events.record(object, 'Normal', 'AddressReleased', `No longer has ${lost.join(', ')}`)
  }
}
