// Events: what changes in the kernel's tables, told as it happens.
//
// The kernel never waits for a reader. When events were lost, here or in the kernel, the iterator yields
// `overrun` in their place: what came before it may be stale, so list the tables again and go on iterating.
// Start the watch before the first listing, and a change between the two is seen at least once.

import { SystemError } from '../libc/errors.ts'
import { type Address, decodeAddressRow, RTM_DELADDR, RTM_NEWADDR } from './addresses.ts'
import { decodeLink, type Link, RTM_DELLINK, RTM_NEWLINK } from './links.ts'
import { decodeMessages, type Message } from './message.ts'
import { decodeNeighbour, type Neighbour, RTM_DELNEIGH, RTM_NEWNEIGH } from './neighbours.ts'
import { decodeRoute, type Route, RTM_DELROUTE, RTM_NEWROUTE } from './routes.ts'
import { decodeRule, RTM_DELRULE, RTM_NEWRULE, type Rule } from './rules.ts'
import { NetlinkSocket, type NetlinkSocketOptions } from './socket.ts'

/** RTNLGRP_* numbers. */
const groupNumbers = {
  links: [1],
  queues: [4],
  neighbours: [3],
  addresses: [5, 9],
  routes: [7, 11],
  rules: [8, 19],
} as const

/** A queueing discipline; struct tcmsg has the link's index behind four bytes. */
const RTM_NEWQDISC = 36
const RTM_DELQDISC = 37
const TCMSG_INDEX = 4

export type WatchGroup = keyof typeof groupNumbers

/** `isDeleted` false: the row is new or changed; the kernel does not tell which. */
export type NetlinkEvent =
  | { readonly kind: 'link'; readonly isDeleted: boolean; readonly link: Link }
  | { readonly kind: 'address'; readonly isDeleted: boolean; readonly address: Address }
  | { readonly kind: 'route'; readonly isDeleted: boolean; readonly route: Route }
  | { readonly kind: 'neighbour'; readonly isDeleted: boolean; readonly neighbour: Neighbour }
  /** One of the link's queueing disciplines came, changed or went. */
  | { readonly kind: 'queue'; readonly index: number }
  | { readonly kind: 'rule'; readonly isDeleted: boolean; readonly rule: Rule }
  | { readonly kind: 'overrun' }

export interface WatchOptions extends NetlinkSocketOptions {
  readonly groups: readonly WatchGroup[]
  /** Ends the iteration. */
  readonly signal?: AbortSignal | undefined
  /** Events kept for a slow reader. When they are exceeded, all are dropped for one `overrun`. */
  readonly eventsMax?: number | undefined
}

const eventsMaxDefault = 1 << 16

/** A turn of the event loop ends after so many datagrams; the poll brings the next turn. */
const datagramsPerTurn = 1024

/** Iterate it once, with `for await`. Ends when closed or aborted; a `break` closes it. */
export class Watch implements AsyncIterable<NetlinkEvent> {
  readonly #socket: NetlinkSocket
  readonly #eventsMax: number
  readonly #signal: AbortSignal | undefined
  readonly #onAbort = () => this.close()
  #events: NetlinkEvent[] = []
  /** Set while the iterator waits for an event. */
  #wake: (() => void) | undefined
  #failure: unknown
  #closed = false

  constructor(options: WatchOptions) {
    this.#eventsMax = options.eventsMax ?? eventsMaxDefault
    this.#socket = new NetlinkSocket(options, () => this.#receive())
    for (const group of options.groups) for (const number of groupNumbers[group]) this.#socket.join(number)
    this.#signal = options.signal
    if (this.#signal?.aborted) this.close()
    else this.#signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<NetlinkEvent> {
    try {
      for (;;) {
        const batch = this.#events
        this.#events = []
        yield* batch
        if (this.#failure !== undefined) throw this.#failure
        if (this.#closed) return
        if (this.#events.length > 0) continue
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      }
    } finally {
      this.close()
    }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#signal?.removeEventListener('abort', this.#onAbort)
    this.#socket.close()
    this.#wakeReader()
  }

  #receive(): void {
    try {
      for (let datagrams = 0; datagrams < datagramsPerTurn; datagrams++) {
        const datagram = this.#receiveDatagram()
        if (datagram === undefined) break
        for (const message of decodeMessages(datagram)) {
          const event = decodeEvent(message)
          if (event) this.#push(event)
        }
      }
    } catch (error) {
      this.#failure = error
      this.close()
    }
    if (this.#events.length > 0) this.#wakeReader()
  }

  #receiveDatagram(): Buffer | undefined {
    for (;;) {
      try {
        return this.#socket.receive()
      } catch (error) {
        // ENOBUFS is told once for any number of lost events; those that fitted are still to be read.
        if (!(error instanceof SystemError) || error.code !== 'ENOBUFS') throw error
        this.#push({ kind: 'overrun' })
      }
    }
  }

  #push(event: NetlinkEvent): void {
    if (this.#events.length >= this.#eventsMax) this.#events = [{ kind: 'overrun' }]
    this.#events.push(event)
  }

  #wakeReader(): void {
    this.#wake?.()
    this.#wake = undefined
  }
}

/** Undefined for messages of other kinds and of families this library does not speak of. */
function decodeEvent(message: Message): NetlinkEvent | undefined {
  switch (message.type) {
    case RTM_NEWLINK:
    case RTM_DELLINK: {
      const link = decodeLink(message)
      return link && { kind: 'link', isDeleted: message.type === RTM_DELLINK, link }
    }
    case RTM_NEWADDR:
    case RTM_DELADDR: {
      const address = decodeAddressRow(message)
      return address && { kind: 'address', isDeleted: message.type === RTM_DELADDR, address }
    }
    case RTM_NEWROUTE:
    case RTM_DELROUTE: {
      const route = decodeRoute(message)
      return route && { kind: 'route', isDeleted: message.type === RTM_DELROUTE, route }
    }
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH: {
      const neighbour = decodeNeighbour(message)
      return neighbour && { kind: 'neighbour', isDeleted: message.type === RTM_DELNEIGH, neighbour }
    }
    case RTM_NEWRULE:
    case RTM_DELRULE: {
      const rule = decodeRule(message)
      return rule && { kind: 'rule', isDeleted: message.type === RTM_DELRULE, rule }
    }
    case RTM_NEWQDISC:
    case RTM_DELQDISC:
      return { kind: 'queue', index: message.body.readInt32LE(TCMSG_INDEX) }
    default:
      return undefined
  }
}
