// Joins the writer of Services with what ends sockets: after every round in which backends left, and once at the start, for what
// left while no agent was there.

import type { Logger } from 'pino'
import type { Datapath } from '../datapath/datapath.ts'
import type { NetworkView } from '../datapath/network-view.ts'
import { StaleSockets, type StaleSocketsStatus } from '../datapath/stale-sockets.ts'
import type { Address } from '../model/address.ts'
import type { Sources } from './sources.ts'

export interface EndedSocketsOptions {
  readonly datapath: Datapath
  readonly network: NetworkView
  readonly sources: Sources
  readonly endsTcp: boolean
  readonly log: Logger
}

export class EndedSockets {
  readonly #datapath: Datapath
  readonly #sockets: StaleSockets
  #departures: number | undefined

  constructor({ datapath, network, sources, endsTcp, log }: EndedSocketsOptions) {
    this.#datapath = datapath
    this.#sockets = new StaleSockets({
      ...datapath.socketLists,
      endsTcp,
      namespaces: () => network.facts().pods.flatMap((pod) => pod.namespace ?? []),
      isServing: (service, backend) => datapath.services.isServing(service, backend),
      listedAddresses: () => listedAddresses(sources),
      onProblem: (action, error) => log.warn({ err: error }, `${action} failed`),
    })
    const { problem } = this.#sockets.status
    if (problem !== undefined)
      log.warn({ problem }, 'sockets connected to backends that are gone cannot be ended on this kernel')
  }

  get status(): StaleSocketsStatus {
    return this.#sockets.status
  }

  /** To be called after every round that wrote the Service maps. */
  applied(): void {
    const { departures } = this.#datapath.services
    if (this.#departures !== departures) this.#sockets.backendsLeft()
    this.#departures = departures
  }

  async close(): Promise<void> {
    await this.#sockets.close()
  }
}

/** A pod leaves its slices when it is gone; one that only stopped being ready stays in them. */
function listedAddresses({ slices }: Sources): Set<Address> {
  const listed = new Set<Address>()
  for (const { endpoints } of slices.values()) for (const { address } of endpoints) listed.add(address)
  return listed
}
