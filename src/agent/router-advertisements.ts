// Makes neighbours on unnumbered links know each other. FRR opens a session on an interface only after it has heard a router
// advertisement there (RFC 4861), and gobgpd only to a neighbour that the kernel knows: so each link with an unnumbered peer is told of
// this node every few seconds, when it is asked for, and all on it are asked for their address until the kernel has it. Links with an IPv6
// session that carries IPv4 are told too: a zebra without next-hop groups leads such routes to 169.254.0.1, and makes the neighbour entry
// of that address, without which it sends nothing, when it hears an advertisement.
//
// The advertisement has a router lifetime of 0: it says "here I am", and nobody takes this node for a way out.

import type { Logger } from 'pino'
import { type Address, familyOf, parseNetwork, prefixContains } from '../model/address.ts'
import type { BgpPeer } from '../model/routing.ts'
import { steadyNowMs } from '../model/steady-clock.ts'
import { Icmpv6Socket } from '../sys/libc/icmpv6.ts'
import type { Link } from '../sys/node-netlink/links.ts'
import type { Netlink } from '../sys/node-netlink/netlink.ts'

const ECHO_REQUEST = 128
const ECHO_REPLY = 129
const SOLICITATION = 133
const ADVERTISEMENT = 134
const ALL_NODES = 'ff02::1'
const ALL_ROUTERS = 'ff02::2'
const LINK_LOCAL = /^fe[89ab]/

const ROUND_MS = 1000
/** Drawn anew each time (RFC 4861 6.2.4). */
const INTERVAL_MS = { min: 7_000, max: 10_000 } as const
/** RFC 4861 10: answers to solicitations. */
const DELAY_MAX_MS = 500
const BETWEEN_MS = 3_000

export interface UnnumberedOptions {
  /** That of `netlink`. */
  readonly namespacePath?: string
  readonly netlink: Pick<Netlink, 'addresses' | 'links' | 'neighbours'>
  readonly peers: () => readonly AdvertisedPeer[]
  readonly log: Pick<Logger, 'info' | 'debug'>
}

type AdvertisedPeer = Pick<BgpPeer, 'remote' | 'families'>

interface AdvertisedLink {
  readonly index: number
  readonly mac: string | undefined
  readonly socket: Icmpv6Socket
  nextMs: number
  lastMs: number
}

export class RouterAdvertisements {
  readonly #options: UnnumberedOptions
  readonly #timer: NodeJS.Timeout
  readonly #links = new Map<string, AdvertisedLink>()
  #running: Promise<void> | undefined
  #isClosed = false

  constructor(options: UnnumberedOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.#run(), ROUND_MS)
    this.#timer.unref()
    this.#run()
  }

  /** Names of the links that are told of this node. */
  get links(): readonly string[] {
    return [...this.#links.keys()].sort()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#timer)
    await this.#running
    for (const name of this.#links.keys()) this.#drop(name)
  }

  #run(): void {
    this.#running ??= this.#round()
      .catch((error: unknown) =>
        this.#options.log.debug({ err: error }, 'router advertisements: links cannot be read'),
      )
      .finally(() => {
        this.#running = undefined
      })
  }

  async #round(): Promise<void> {
    const { netlink } = this.#options
    const names = await this.#linksOfPeers()
    for (const name of this.#links.keys()) if (!names.has(name)) this.#drop(name)
    for (const name of names) {
      const link = await netlink.links.get(name)
      if (this.#isClosed) return
      const usable = link?.isUp && link.hasCarrier ? link : undefined
      const known = this.#links.get(name)
      if (known && (usable?.index !== known.index || usable.mac !== known.mac)) this.#drop(name)
      if (usable) await this.#tend(name, usable)
    }
  }

  async #linksOfPeers(): Promise<ReadonlySet<string>> {
    const { peers, netlink } = this.#options
    const names = new Set<string>()
    const carriers: Address[] = []
    for (const { remote, families } of peers()) {
      if (remote.kind === 'interface') names.add(remote.interface)
      else if (familyOf(remote.address) === 'ipv6' && families.includes('ipv4')) carriers.push(remote.address)
    }
    if (carriers.length === 0) return names
    const [addresses, links] = await Promise.all([
      netlink.addresses.list({ family: 'ipv6' }),
      netlink.links.list(),
    ])
    for (const { address, index } of addresses) {
      const network = parseNetwork(address)
      const name = links.find((link) => link.index === index)?.name
      if (network === undefined || name === undefined) continue
      if (carriers.some((carrier) => prefixContains(network, carrier))) names.add(name)
    }
    return names
  }

  async #tend(name: string, { index, mac }: Link): Promise<void> {
    const link = this.#links.get(name) ?? this.#open(name, index, mac)
    const now = steadyNowMs()
    if (now >= link.nextMs) this.#advertise(name, link)
    const rows = await this.#options.netlink.neighbours.list({ family: 'ipv6', index })
    const isKnown = rows.some(({ address, mac }) => LINK_LOCAL.test(address) && mac !== undefined)
    if (!isKnown) this.#send(name, link, echoRequest())
  }

  #open(name: string, index: number, mac: string | undefined): AdvertisedLink {
    const { log, namespacePath } = this.#options
    const socket = new Icmpv6Socket({
      namespacePath,
      ifindex: index,
      types: [SOLICITATION, ECHO_REPLY],
      groups: [ALL_ROUTERS],
      onMessage: (message, sender) => this.#hear(name, message.readUInt8(0), sender),
      onError: (error) => log.debug({ err: error, link: name }, 'router advertisements: nothing is heard'),
    })
    const link = { index, mac, socket, nextMs: 0, lastMs: 0 }
    this.#links.set(name, link)
    log.info({ link: name }, 'the neighbour on this link is told of this node by router advertisements')
    return link
  }

  #drop(name: string): void {
    this.#links.get(name)?.socket.close()
    this.#links.delete(name)
  }

  /** Only neighbours have such addresses; one that solicits may have none yet. */
  #hear(name: string, type: number, sender: string): void {
    const link = this.#links.get(name)
    if (!link) return
    if (type === ECHO_REPLY && LINK_LOCAL.test(sender)) {
      // A reply alone enters nobody in the kernel's table.
      this.#options.netlink.neighbours
        .resolve({ index: link.index, address: sender })
        .catch((error: unknown) => this.#options.log.debug({ err: error }, 'a neighbour is not asked'))
    }
    if (type !== SOLICITATION || !(LINK_LOCAL.test(sender) || sender === '::')) return
    const dueMs = Math.max(steadyNowMs() + Math.random() * DELAY_MAX_MS, link.lastMs + BETWEEN_MS)
    if (dueMs >= link.nextMs) return
    link.nextMs = dueMs
    setTimeout(() => {
      if (this.#links.get(name) === link && link.nextMs === dueMs) this.#advertise(name, link)
    }, dueMs - steadyNowMs()).unref()
  }

  #advertise(name: string, link: AdvertisedLink): void {
    link.lastMs = steadyNowMs()
    link.nextMs = link.lastMs + INTERVAL_MS.min + Math.random() * (INTERVAL_MS.max - INTERVAL_MS.min)
    this.#send(name, link, routerAdvertisement(link.mac))
  }

  #send(name: string, { socket }: AdvertisedLink, message: Buffer): void {
    try {
      socket.send(message, ALL_NODES)
    } catch (error) {
      this.#options.log.debug({ err: error, link: name }, 'router advertisements: a message was not sent')
    }
  }
}

/** RFC 4861 4.2, with the source's link-layer address; all it says is who is there. */
export function routerAdvertisement(mac: string | undefined): Buffer {
  const bytes = (mac ?? '').split(':').map((part) => Number.parseInt(part, 16))
  const header = Buffer.alloc(16)
  header.writeUInt8(ADVERTISEMENT, 0)
  if (bytes.length !== 6) return header
  const [sourceLinkLayerAddress, eights] = [1, 1]
  return Buffer.concat([header, Buffer.from([sourceLinkLayerAddress, eights, ...bytes])])
}

function echoRequest(): Buffer {
  const message = Buffer.alloc(8)
  message.writeUInt8(ECHO_REQUEST, 0)
  message.writeUInt16BE(process.pid & 0xffff, 4)
  return message
}
