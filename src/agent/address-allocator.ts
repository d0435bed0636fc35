// Gives load-balancer addresses to Services: the one agent that holds the Lease runs the allocator over all of them and
// writes what differs into their status. What to give is decided by routing/allocate-addresses.ts; this file acts on it.

import type { Logger } from 'pino'
import type { KubeClient } from '../kube/client.ts'
import { isKubeError } from '../kube/errors.ts'
import type { EventRecorder } from '../kube/events.ts'
import { electLeader, type LeaderElection } from '../kube/leader-election.ts'
import { SERVICES } from '../kube/objects.ts'
import type { ObjectKey, Service } from '../model/service.ts'
import { Rounds } from '../reconcile/rounds.ts'
import {
  type AddressGrant,
  type AddressPool,
  allocateAddresses,
  isPoolAddress,
} from '../routing/allocate-addresses.ts'
import type { ChangeReader, Table } from '../tables/table.ts'

const LEASE = { namespace: 'kube-system', name: 'weir-address-allocator' }

export interface AddressAllocatorOptions {
  readonly client: KubeClient
  readonly nodeName: string
  readonly pools: readonly AddressPool[]
  readonly services: Table<Service>
  readonly events: EventRecorder
  readonly log: Logger
}

export class AddressAllocator {
  readonly #options: AddressAllocatorOptions
  readonly #election: LeaderElection
  readonly #changes: ChangeReader
  readonly #rounds: Rounds

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
    this.#changes = options.services.reader()
    this.#changes.onChange(() => this.#rounds.request())
    this.#election = electLeader({
      client: options.client,
      ...LEASE,
      identity: options.nodeName,
      onStarted: () => {
        options.log.info('this agent allocates load-balancer addresses now')
        this.#rounds.request()
      },
      onStopped: () => options.log.info('another agent allocates load-balancer addresses now'),
      onProblem: (error) => options.log.warn({ err: error }, 'cannot take or renew the allocator Lease'),
    })
  }

  get isLeader(): boolean {
    return this.#election.isLeader
  }

  async close(): Promise<void> {
    this.#changes.close()
    await this.#rounds.close()
    await this.#election.close()
  }

  async #round(): Promise<void> {
    this.#changes.take()
    if (!this.#election.isLeader) return
    const { services, pools } = this.#options
    const held = new Map<ObjectKey, Service>()
    for (const service of services.values()) held.set(service.key, service)
    const claims = [...held.values()]
      .filter((service) => !service.isForeignBalancer)
      .filter((service) => service.loadBalancerFamilies.length > 0 || service.statusIps.length > 0)
      .map((service) => ({
        service: service.key,
        families: service.loadBalancerFamilies,
        held: service.statusIps,
        createdMs: service.createdMs,
      }))
    for (const grant of allocateAddresses(pools, claims)) {
      const service = held.get(grant.service)
      if (service) await this.#write(service, grant)
    }
  }

  async #write(service: Service, grant: AddressGrant): Promise<void> {
    const { client, events, log, pools } = this.#options
    const [namespace = '', name = ''] = service.key.split('/')
    const object = { apiVersion: 'v1', kind: 'Service', namespace, name }
    for (const problem of grant.problems) events.record(object, 'Warning', 'NoAddress', problem)
    const isOurs =
      service.loadBalancerFamilies.length > 0 || service.statusIps.some((ip) => isPoolAddress(pools, ip))
    const isSame =
      grant.addresses.length === service.statusIps.length &&
      grant.addresses.every((ip) => service.statusIps.includes(ip))
    if (!isOurs || isSame || !this.#election.isLeader) return
    const ingress = grant.addresses.map((ip) => ({ ip, ipMode: 'VIP' }))
    const patch = { status: { loadBalancer: { ingress: ingress.length > 0 ? ingress : null } } }
    try {
      await client.patch(SERVICES, { namespace, name, subresource: 'status' }, patch, { kind: 'merge' })
    } catch (error) {
      if (isKubeError(error, 'not-found')) return
      throw error
    }
    log.info({ service: service.key, addresses: grant.addresses }, 'wrote load-balancer addresses')
    if (grant.addresses.length > 0) {
      events.record(
        object,
        'Normal',
        'AddressAllocated',
        `Load-balancer addresses ${grant.addresses.join(', ')}`,
      )
    }
  }
}
