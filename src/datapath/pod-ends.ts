// The pods' ends of veths: MAC, namespace, addresses, and whether they take redirected XDP frames. Each is looked at once when it is asked
// for. One that cannot be looked at, and one whose addresses matter (a bridge's port, to which no route names the pod), is looked at again,
// ever more seldom: nothing tells what happens in another namespace.

import { type Address, parseAddress } from '../model/address.ts'
import { networkNamespaceCookie } from '../sys/libc/sockets.ts'
import type { Netlink } from '../sys/node-netlink/netlink.ts'
import { findVethPeer } from '../sys/node-netlink/veth-peer.ts'
import type { MacBytes, PodNamespace } from './nexthop-plan.ts'

export interface PodEnd {
  readonly mac: MacBytes
  readonly takesRedirects: boolean
  readonly namespace: PodNamespace | undefined
  readonly addresses: readonly Address[]
}

export interface PodEndsOptions {
  readonly netlink: Netlink
  readonly nameOf: (ifindex: number) => string | undefined
  readonly onChange: () => void
  readonly onProblem: (action: string, error: unknown) => void
}

export const NO_MAC: MacBytes = new Uint8Array(6)
/** A namespace may have no name and no process yet when its device is there already. */
const UNSEEN_RETRY_MIN_MS = 100
const UNSEEN_RETRY_MAX_MS = 10_000
/** Addresses come some time after the device. */
const FOLLOW_MIN_MS = 20
const FOLLOW_MAX_MS = 60_000

/** A pod whose end cannot be looked at is served through the host's routing, which needs neither MAC nor NAPI. */
const UNSEEN_END: PodEnd = { mac: NO_MAC, takesRedirects: false, namespace: undefined, addresses: [] }

interface Looked {
  end: PodEnd | undefined
  follows: boolean
  isLooking: boolean
  retryMs: number
  timer: NodeJS.Timeout | undefined
}

export class PodEnds {
  readonly #options: PodEndsOptions
  readonly #looked = new Map<number, Looked>()
  #isClosed = false

  constructor(options: PodEndsOptions) {
    this.#options = options
  }

  /** Undefined: it is being looked at. @param follows whether its addresses matter from now on */
  of(ifindex: number, follows = false): PodEnd | undefined {
    const known = this.#looked.get(ifindex)
    if (known) {
      if (follows && !known.follows) {
        known.follows = true
        this.lookAgain(ifindex)
      }
      return known.end
    }
    this.#looked.set(ifindex, unlooked(follows))
    void this.#look(ifindex)
    return undefined
  }

  /** Resolves when it has been looked at, with success or without; its addresses matter. */
  async lookAt(ifindex: number): Promise<void> {
    if (!this.#looked.has(ifindex)) this.#looked.set(ifindex, unlooked(true))
    await this.#look(ifindex)
  }

  /** Something may have changed there: soon, and again while it is fresh. */
  lookAgain(ifindex: number): void {
    const known = this.#looked.get(ifindex)
    if (!known?.follows) return
    known.retryMs = 0
    if (!known.isLooking) this.#lookIn(ifindex, known, 0)
  }

  forget(ifindex: number): void {
    clearTimeout(this.#looked.get(ifindex)?.timer)
    this.#looked.delete(ifindex)
  }

  close(): void {
    this.#isClosed = true
    for (const ifindex of [...this.#looked.keys()]) this.forget(ifindex)
  }

  async #look(ifindex: number): Promise<void> {
    const known = this.#looked.get(ifindex)
    if (!known || known.isLooking) return
    known.isLooking = true
    const end = await this.#read(ifindex, known).catch((error: unknown) => {
      if (known.end === undefined)
        this.#options.onProblem(
          `looking at the pod's end of ${this.#options.nameOf(ifindex) ?? ifindex}`,
          error,
        )
      return undefined
    })
    known.isLooking = false
    if (this.#isClosed || this.#looked.get(ifindex) !== known) return
    const before = known.end
    known.end = end ?? before ?? UNSEEN_END
    this.#plan(ifindex, known, end !== undefined)
    if (before === undefined || !isSame(before, known.end)) this.#options.onChange()
  }

  #plan(ifindex: number, known: Looked, isSeen: boolean): void {
    if (isSeen && !known.follows) return
    const [min, max] = isSeen ? [FOLLOW_MIN_MS, FOLLOW_MAX_MS] : [UNSEEN_RETRY_MIN_MS, UNSEEN_RETRY_MAX_MS]
    known.retryMs = Math.min(max, Math.max(min, known.retryMs * 2))
    this.#lookIn(ifindex, known, known.retryMs)
  }

  #lookIn(ifindex: number, known: Looked, delayMs: number): void {
    clearTimeout(known.timer)
    if (this.#isClosed) return
    known.timer = setTimeout(() => void this.#look(ifindex), delayMs)
    known.timer.unref()
  }

  async #read(ifindex: number, { end, follows }: Looked): Promise<PodEnd> {
    const peer = await findVethPeer(this.#options.netlink, ifindex, {
      first: end?.namespace?.path,
      readsAddresses: follows,
    })
    const path = peer.namespacePath
    const namespace = path === undefined ? path : { path, cookie: networkNamespaceCookie(path) }
    const mac = macBytes(peer.link.mac)
    if (!mac) return { ...UNSEEN_END, namespace }
    const addresses = peer.addresses.flatMap((text) => parseAddress(text.split('/')[0] ?? '') ?? [])
    return { mac, takesRedirects: peer.acceptsRedirects, namespace, addresses }
  }
}

function unlooked(follows: boolean): Looked {
  return { end: undefined, follows, isLooking: false, retryMs: 0, timer: undefined }
}

export function macBytes(text: string | undefined): MacBytes | undefined {
  if (text === undefined) return undefined
  const bytes = Uint8Array.from(text.split(':'), (part) => Number.parseInt(part, 16))
  return bytes.length === 6 ? bytes : undefined
}

function isSame(one: PodEnd, other: PodEnd): boolean {
  return (
    one.takesRedirects === other.takesRedirects &&
    one.namespace?.cookie === other.namespace?.cookie &&
    one.namespace?.path === other.namespace?.path &&
    one.mac.join() === other.mac.join() &&
    one.addresses.join() === other.addresses.join()
  )
}
