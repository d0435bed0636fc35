// The node's BFD sessions: which are wanted (peers with `bfd`), where their neighbours are, and what became of them. The programs keep
// sessions up and find silence by themselves (bpf/lib/bfd.h): this process may stop for as long as it likes, and only learns of it
// afterwards. It speaks where nobody has spoken yet, and tells routing which neighbours are alive.

import type { Logger } from 'pino'
import { AbiConstant, BfdDiagnostic, BfdSessionState, type BfdState } from '../datapath/abi.gen.ts'
import { bfdPacket } from '../datapath/bfd-packet.ts'
import type { BfdEntry, BfdPlan, BfdSessions } from '../datapath/bfd-sessions.ts'
import type { Sessions } from '../datapath/live-uplinks.ts'
import type { Gateway } from '../datapath/nexthop-plan.ts'
import type { Address, Family } from '../model/address.ts'
import type { BgpPeer } from '../model/routing.ts'
import type { BfdPlace } from './bfd-place.ts'
import { type BfdView, describeBfdState, diagnosticOf } from './bfd-view.ts'

/** A look reads mapped memory alone. */
const LOOK_MS = 50
/** Where no peer has BFD there is nothing to see but the configuration: a waking costs more than the look. */
const WITHOUT_SESSIONS_MS = 500
/** While neighbours are not where they should be, and after the network has changed. */
const PLACE_NS = 1_000_000_000n
/** What changes peers comes in pieces: one that is gone for less than this is not gone. */
const SETTLE_NS = 2_000_000_000n
const NS_PER_MS = 1_000_000n
const NS_PER_US = 1000n
/** RFC 5880 6.8.3: no faster while a session is not up; 6.8.7: less a quarter by lot. */
const SPEAK_NS = 1e9
/** Who was heard so lately has been answered. */
const HEARD_NS = 1_300_000_000n
/** Beyond the hold time of BGP: keep-alives came through, so the way is alive and the router speaks no BFD any more. */
const DOUBT_MS = 5000
const MS_PER_SECOND = 1000
const US_PER_MS = 1000

export type BfdPeer = Pick<
  BgpPeer,
  'name' | 'remote' | 'localAddress' | 'bfd' | 'multihopTtl' | 'timers' | 'families'
>

export interface BfdWanted {
  /** The peers of the node; the same array as long as nothing changes. */
  readonly peers: readonly BfdPeer[]
  /** Every source has been heard: neighbours that are not among them, or no longer want BFD, are told so. */
  readonly areAll: boolean
}

export interface BfdOptions {
  readonly sessions: BfdSessions
  readonly findPlace: (peer: BfdPeer) => Promise<BfdPlace | undefined>
  readonly send: (packet: Buffer, peer: Address, ifindex: number) => void
  readonly gateways: () => readonly Gateway[]
  readonly linkNames: () => ReadonlyMap<number, string>
  /** Looked at again and again: whoever changes the peers need not know of BFD. */
  readonly wanted: () => BfdWanted
  /** Which BGP sessions are up, as far as known. */
  readonly bgpSessions: () => Sessions
  /** A session came up or went down. */
  readonly onChange: () => void
  /** The uplinks' rows may hold marks of a session that is no more. */
  readonly onReleased: () => void
  readonly log: Pick<Logger, 'info' | 'warn' | 'debug'>
  /** As the programs count: since boot. */
  readonly nowNs: () => bigint
}

export class Bfd {
  readonly #options: BfdOptions
  #timer: NodeJS.Timeout | undefined
  #isClosed = false
  #wanted: BfdWanted = { peers: [], areAll: false }
  /** Those of them that have sessions. */
  #peers: readonly BfdPeer[] = []
  /** By the peer's name. */
  readonly #places = new Map<string, BfdPlace>()
  readonly #seen = new Map<string, string>()
  readonly #nextWordNs = new Map<string, bigint>()
  #placing: Promise<void> | undefined
  #placeAgainNs: bigint | undefined = 0n
  #settledNs = 0n
  #lastError = ''
  #full: readonly BfdPlan[] = []

  constructor(options: BfdOptions) {
    this.#options = options
    this.#lookLater()
  }

  #lookLater(): void {
    const isNeeded = this.#peers.length > 0 || this.#options.sessions.entries.length > 0
    this.#timer = setTimeout(
      () => {
        this.#attempt(() => this.look())
        if (!this.#isClosed) this.#lookLater()
      },
      isNeeded ? LOOK_MS : WITHOUT_SESSIONS_MS,
    ).unref()
  }

  /** Neighbours are looked for again. */
  networkChanged(): void {
    this.#placeAgainNs = 0n
  }

  /** Whether the neighbour is there, by address; what is not listed is unknown. Link-local ones are left out: they may be there twice. */
  get neighbours(): Sessions {
    return new Map(
      this.#options.sessions.entries.flatMap((entry) => {
        const isUp = this.#isUp(entry)
        const { peer } = entry.key
        return isUp === undefined || peer.startsWith('fe80:') ? [] : [[peer, isUp] as const]
      }),
    )
  }

  /** Undefined: BFD does not tell. */
  isGatewayUp({ address, ifindex }: Pick<Gateway, 'address' | 'ifindex'>): boolean | undefined {
    const entry = this.#options.sessions.entries.find(
      ({ key }) => key.peer === address && key.ifindex === ifindex,
    )
    return entry && this.#isUp(entry)
  }

  /** Sessions that anything is remembered of: no more than there are. */
  get remembered(): number {
    return new Set([...this.#seen.keys(), ...this.#nextWordNs.keys()]).size
  }

  /** Once: what has changed since the last look, and who is to be spoken to. */
  look(): void {
    const { sessions, nowNs } = this.#options
    if (sessions.retire(nowNs())) this.#options.onReleased()
    this.#follow()
    this.#place()
    let hasChanged = false
    this.#forget()
    for (const entry of sessions.entries) {
      const state = sessions.state(entry)
      hasChanged = this.#notice(entry, state) || hasChanged
      this.#speak(entry, state)
    }
    if (hasChanged) this.#options.onChange()
  }

  /** Resolves when neighbours have been looked for. */
  async settled(): Promise<void> {
    await this.#placing
  }

  /** Sessions go on without us. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    await this.#placing
  }

  /** One row a session, and one for each peer whose neighbour is nowhere. */
  describe(): readonly BfdView[] {
    const names = this.#options.linkNames()
    const placed = new Map([...this.#places].map(([name, { peer, ifindex }]) => [`${ifindex} ${peer}`, name]))
    const rows = this.#options.sessions.entries.map((entry) => {
      const { key, value } = entry
      const state = this.#options.sessions.state(entry)
      return {
        peer: placed.get(textOf(entry)),
        address: key.peer,
        local: value.local,
        link: names.get(key.ifindex) ?? `device ${key.ifindex}`,
        ...describeBfdState(value, state, this.#options.nowNs()),
      }
    })
    const full = new Set(this.#full.map(({ ifindex, peer }) => `${ifindex} ${peer}`))
    const lost = this.#peers.flatMap((peer) => {
      const place = this.#places.get(peer.name)
      if (place && !full.has(`${place.ifindex} ${place.peer}`)) return []
      const problem = place
        ? 'every session that the programs have room for is taken'
        : 'the neighbour is on no link of this node: check its address and the links'
      return [{ peer: peer.name, state: 'unplaced' as const, problem }]
    })
    return [...rows.sort((a, b) => (textOfView(a) < textOfView(b) ? -1 : 1)), ...lost]
  }

  #isUp(entry: BfdEntry): boolean | undefined {
    const state = this.#options.sessions.state(entry)
    if (entry.value.isAdminDown || state.remoteState === BfdSessionState.BFD_ADMIN_DOWN) return undefined
    if (state.state === BfdSessionState.BFD_UP) return true
    if (state.ups === 0 || !isLost(state)) return undefined
    return this.#isDoubtful(entry, state) ? undefined : false
  }

  /** BGP went on for longer than it could without the neighbour. */
  #isDoubtful({ key }: BfdEntry, state: BfdState): boolean {
    if (this.#options.bgpSessions().get(key.peer) !== true) return false
    const peer = this.#peers.find(({ name }) => this.#places.get(name)?.peer === key.peer)
    const downMs = Number((this.#options.nowNs() - state.changedNs) / NS_PER_MS)
    return peer !== undefined && downMs > peer.timers.holdSeconds * MS_PER_SECOND + DOUBT_MS
  }

  /** What the kernel refuses is tried again, and told once. */
  #attempt(act: () => void): void {
    try {
      act()
    } catch (error) {
      this.#complain(error)
    }
  }

  #complain(error: unknown): void {
    const text = String(error)
    if (text !== this.#lastError) this.#options.log.warn({ err: error }, 'BFD sessions cannot be written')
    this.#lastError = text
  }

  #follow(): void {
    const wanted = this.#options.wanted()
    if (wanted.peers === this.#wanted.peers && wanted.areAll === this.#wanted.areAll) return
    this.#wanted = wanted
    this.#settledNs = this.#options.nowNs() + SETTLE_NS
    this.#peers = wanted.peers.filter(({ bfd, multihopTtl }) => bfd && multihopTtl === undefined)
    const names = new Set(this.#peers.map(({ name }) => name))
    for (const name of this.#places.keys()) if (!names.has(name)) this.#places.delete(name)
    this.networkChanged()
  }

  #place(): void {
    const { nowNs } = this.#options
    if (this.#placing || this.#placeAgainNs === undefined || nowNs() < this.#placeAgainNs) return
    this.#placeAgainNs = undefined
    const isSettled = nowNs() >= this.#settledNs
    let isDone = false
    this.#placing = this.#placeAll(isSettled)
      .then(() => {
        this.#lastError = ''
        isDone = isSettled && this.#peers.every(({ name }) => this.#places.has(name))
      })
      .catch((error: unknown) => this.#complain(error))
      .finally(() => {
        this.#placing = undefined
        if (!isDone) this.#placeAgainNs ??= nowNs() + PLACE_NS
      })
  }

  /** One that is nowhere stays where it was as long as that link is there: its link may be down. */
  async #placeAll(isSettled: boolean): Promise<void> {
    const { findPlace, linkNames, sessions, log } = this.#options
    const peers = this.#peers
    const found = await Promise.all(
      peers.map((peer) =>
        findPlace(peer).catch((error: unknown) => {
          log.debug({ err: error, peer: peer.name }, 'a BFD neighbour cannot be looked for')
          return undefined
        }),
      ),
    )
    const links = linkNames()
    for (const [index, peer] of peers.entries()) {
      const place = found[index] ?? this.#formerPlace(peer)
      if (place && links.has(place.ifindex)) this.#places.set(peer.name, place)
      else this.#places.delete(peer.name)
    }
    if (peers !== this.#peers) return
    this.#full = sessions.set(this.#plans(), isSettled && this.#wanted.areAll, this.#options.nowNs())
  }

  /** As this process found it, or an earlier one. */
  #formerPlace({ name, remote }: BfdPeer): BfdPlace | undefined {
    const known = this.#places.get(name)
    if (known || remote.kind === 'interface') return known
    const entry = this.#options.sessions.entries.find(({ key }) => key.peer === remote.address)
    const local = entry?.value.local
    return entry && local !== undefined ? { ...entry.key, local } : undefined
  }

  #plans(): BfdPlan[] {
    const places = [...this.#places.values()]
    return this.#peers.flatMap(({ name, bfd }) => {
      const place = this.#places.get(name)
      if (!place || !bfd) return []
      const { intervalMs, multiplier } = bfd
      return [
        { ...place, intervalUs: intervalMs * US_PER_MS, multiplier, governs: this.#governed(place, places) },
      ]
    })
  }

  /** Families whose gateway is this neighbour; and if it is one, those whose gateway is beside it without a session of its own. */
  #governed({ peer, ifindex }: BfdPlace, places: readonly BfdPlace[]): Family[] {
    const onLink = this.#options.gateways().filter((gateway) => gateway.ifindex === ifindex)
    if (!onLink.some(({ address }) => address === peer)) return []
    const isWatched = (address: Address) =>
      places.some((place) => place.ifindex === ifindex && place.peer === address)
    const governed = onLink.filter(({ address }) => address === peer || !isWatched(address))
    return [...new Set(governed.map(({ family }) => family))].sort()
  }

  /** What is remembered of sessions that are no more: a link that comes and goes has another index each time. */
  #forget(): void {
    const { entries } = this.#options.sessions
    if (this.#seen.size <= entries.length && this.#nextWordNs.size <= entries.length) return
    const here = new Set(entries.map(textOf))
    for (const known of [this.#seen, this.#nextWordNs])
      for (const text of known.keys()) if (!here.has(text)) known.delete(text)
  }

  /** @returns whether the neighbour came or went since the last look */
  #notice(entry: BfdEntry, state: BfdState): boolean {
    const { linkNames, log } = this.#options
    const text = textOf(entry)
    const isUp = this.#isUp(entry)
    const now = `${isUp} ${entry.value.isAdminDown} ${state.ups} ${state.downs}`
    const before = this.#seen.get(text)
    this.#seen.set(text, now)
    if (before === now) return false
    this.#nextWordNs.delete(text)
    const details = { peer: entry.key.peer, link: linkNames().get(entry.key.ifindex) }
    if (isUp) log.info(details, 'BFD: the neighbour is up')
    else if (isUp === false) log.warn({ ...details, why: diagnosticOf(state) }, 'BFD: the neighbour is down')
    return true
  }

  #speak(entry: BfdEntry, state: BfdState): void {
    const { key, value } = entry
    const { nowNs, send, log } = this.#options
    const text = textOf(entry)
    if (value.local === undefined || nowNs() < (this.#nextWordNs.get(text) ?? 0n)) return
    if (!value.isAdminDown && nowNs() - state.heardNs < patienceNs(value, state)) return
    const isUp = state.state === BfdSessionState.BFD_UP && !value.isAdminDown
    if (!isUp) this.#nextWordNs.set(text, nowNs() + BigInt(Math.round(SPEAK_NS * (1 - Math.random() / 4))))
    try {
      send(bfdPacket(value, state, value.local, key.peer), key.peer, key.ifindex)
    } catch (error) {
      log.debug({ err: error, peer: key.peer }, 'a BFD packet was not sent')
    }
  }
}

/** Who was heard so lately has been answered. One that is up and yet silent may be of our own kind, which only answers. */
function patienceNs({ intervalUs }: BfdEntry['value'], state: BfdState): bigint {
  if (state.state !== BfdSessionState.BFD_UP) return HEARD_NS
  return (BigInt(Math.max(intervalUs, state.remoteDesiredUs)) * NS_PER_US * 11n) / 10n
}

/** As the programs judge it: it fell silent, or says that we did. One that begins anew gives another reason, or none. */
function isLost({ diagnostic, remoteDiagnostic }: BfdState): boolean {
  if (diagnostic === BfdDiagnostic.BFD_DIAGNOSTIC_SILENCE) return true
  const isLoss = ((AbiConstant.BFD_LOSSES >> remoteDiagnostic) & 1) === 1
  return diagnostic === BfdDiagnostic.BFD_DIAGNOSTIC_NEIGHBOUR && isLoss
}

function textOf({ key }: BfdEntry): string {
  return `${key.ifindex} ${key.peer}`
}

function textOfView({ link, address }: { readonly link: string; readonly address: Address }): string {
  return `${link} ${address}`
}
