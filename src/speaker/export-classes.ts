// To whom a path goes, with which attributes, in the only form gobgpd has for it: policy. gobgpd's table holds one path per prefix,
// and what differs from peer to peer is said by export policy. Ten thousand VIPs must not become ten thousand statements, so
// announcements whose exports differ from one another in the same way share a *class*:
//
//   path    carries what all its exports have in common, and the class's marker
//   class   statements that match the marker and the peers, make the difference, and take the marker off again
//
// The marker is a large community (RFC 8092) under a reserved ASN that nobody may use; its other 64 bits are a hash of the class's
// content. So a class never changes: a prefix goes to another class by getting another path, which gobgpd judges and sends at once,
// withdrawing it from whoever may no longer have it. (It does not do so when a policy or a set grows narrower.) And a restarted agent
// finds the very same markers, and nothing to change.

import { createHash } from 'node:crypto'
import type { Path } from '../../bgp/client/gobgp-grpc-client.ts'
import type { Announcement } from '../model/announcement.ts'
import { NO_ATTRIBUTES, type PeerExport, type RouteAttributes } from '../model/routing.ts'

/** RFC 8092 §5: reserved, and to be used by nobody as a global administrator. */
const MARKER_ASN = 4_294_967_295
const MARKER_PREFIX = `${MARKER_ASN}:`

/** gobgpd asks each statement in turn about each path it sends; figures are in ARCHITECTURE.md. */
export const CLASSES_MAX = 128

/** What the export adds to what the path carries. */
export interface ExportChanges {
  readonly addCommunities: readonly string[]
  /** Undefined: what the path carries, without the marker. */
  readonly largeCommunities?: readonly string[]
  readonly med?: number
  readonly localPref?: number
  readonly prepend: number
}

export interface ClassExport {
  /** Addresses of peers, sorted; 'all' for every peer there is or will be. */
  readonly peers: readonly string[] | 'all'
  readonly changes: ExportChanges
}

export interface ExportClass {
  /** `global:high:low`, the large community. Equal ids, equal content. */
  readonly marker: string
  readonly exports: readonly ClassExport[]
}

export interface ClassifiedPath {
  readonly path: Path
  readonly class: ExportClass
}

/** The peers of the moment: by name or by session, the address that gobgpd knows them by. */
export type PeerAddresses = ReadonlyMap<string, string>

export function isMarker(largeCommunity: string): boolean {
  return largeCommunity.startsWith(MARKER_PREFIX)
}

export function markerOf(largeCommunities: readonly string[] | undefined): string | undefined {
  return largeCommunities?.find(isMarker)
}

/** Announcements → paths and their classes. Good for as long as the peers' addresses stay as they are. */
export class ExportClassifier {
  readonly #byName: PeerAddresses
  readonly #bySession: PeerAddresses
  readonly #everyAddress: ReadonlySet<string>
  /** Whether all peers there are, and only they, are ours to decide about. */
  readonly #mayNameAll: boolean
  readonly #classes = new Map<string, ExportClass>()
  /** The planner gives equal exports as the same object where it can. */
  readonly #known = new WeakMap<readonly PeerExport[], Shape | undefined>()

  /** @param bySession for exports that name sessions; one that is in none of them is nobody's */
  constructor(byName: PeerAddresses, mayNameAll: boolean, bySession: PeerAddresses = new Map()) {
    this.#byName = byName
    this.#bySession = bySession
    this.#everyAddress = new Set(byName.values())
    this.#mayNameAll = mayNameAll
  }

  /** @returns undefined when there is nobody to send it to */
  classify(announcement: Announcement): ClassifiedPath | undefined {
    const shape = this.#shapeOf(announcement)
    if (shape === undefined) return undefined
    const { common } = shape
    const path: Path = {
      prefix: announcement.prefix,
      ...(common.communities.length > 0 ? { communities: common.communities } : {}),
      largeCommunities: [...common.largeCommunities, shape.class.marker],
      ...(common.med === undefined ? {} : { med: common.med }),
      ...(common.localPref === undefined ? {} : { localPref: common.localPref }),
    }
    return { path, class: shape.class }
  }

  #shapeOf({ exports, communities }: Announcement): Shape | undefined {
    if (exports === undefined) {
      const attributes = { ...NO_ATTRIBUTES, communities: communities ?? [] }
      const peers = this.#mayNameAll ? 'all' : [...this.#everyAddress].sort()
      return this.#build(peers.length > 0 ? [{ peers, attributes }] : [])
    }
    if (this.#known.has(exports)) return this.#known.get(exports)
    const resolved = exports.map((one) => ({ peers: this.#resolve(one), attributes: one.attributes }))
    const shape = this.#build(resolved.filter(({ peers }) => peers.length > 0))
    this.#known.set(exports, shape)
    return shape
  }

  #build(exports: readonly ResolvedExport[]): Shape | undefined {
    if (exports.length === 0) return undefined
    const common = commonAttributes(exports.map(({ attributes }) => attributes))
    const content = exports.map(({ peers, attributes }) => ({
      peers,
      changes: difference(attributes, common),
    }))
    return { common, class: this.#classOf(content) }
  }

  #classOf(exports: readonly ClassExport[]): ExportClass {
    const key = JSON.stringify(exports)
    const known = this.#classes.get(key)
    if (known) return known
    const hash = createHash('sha256').update(key).digest()
    const marker = `${MARKER_ASN}:${hash.readUInt32BE(0)}:${hash.readUInt32BE(4)}`
    const made = { marker, exports }
    this.#classes.set(key, made)
    return made
  }

  /**
   * All of them together are 'all', so that a peer that comes later changes no class. Nobody is named where the configuration has no
   * peers: then all of a host's are meant, and none in a gobgpd of our own, which has none.
   */
  #resolve({ peers: names, sessions }: PeerExport): readonly string[] | 'all' {
    if (names.length === 0 && !this.#mayNameAll) return [...this.#everyAddress].sort()
    const found = sessions
      ? sessions.flatMap((session) => this.#bySession.get(session) ?? [])
      : names.flatMap((name) => this.#byName.get(name) ?? [])
    const addresses = new Set(found)
    if (this.#mayNameAll && addresses.size > 0 && addresses.size === this.#everyAddress.size) return 'all'
    return [...addresses].sort()
  }
}

interface ResolvedExport {
  readonly peers: readonly string[] | 'all'
  readonly attributes: RouteAttributes
}

interface Shape {
  readonly common: RouteAttributes
  readonly class: ExportClass
}

/** What every one of them has; a number only where all agree, for policy can set one but not take it away. */
function commonAttributes(all: readonly RouteAttributes[]): RouteAttributes {
  const [first = NO_ATTRIBUTES, ...others] = all
  const inAll = (key: 'communities' | 'largeCommunities') =>
    first[key].filter((value) => others.every((one) => one[key].includes(value)))
  const agreed = (key: 'med' | 'localPref') => others.every((one) => one[key] === first[key])
  return {
    communities: inAll('communities'),
    largeCommunities: inAll('largeCommunities'),
    ...(agreed('med') && first.med !== undefined ? { med: first.med } : {}),
    ...(agreed('localPref') && first.localPref !== undefined ? { localPref: first.localPref } : {}),
    prepend: 0,
  }
}

function difference(wanted: RouteAttributes, common: RouteAttributes): ExportChanges {
  const hasMore = wanted.largeCommunities.length > common.largeCommunities.length
  return {
    addCommunities: wanted.communities.filter((value) => !common.communities.includes(value)),
    // One statement makes one change to large communities: the marker goes by replacing them all.
    ...(hasMore ? { largeCommunities: wanted.largeCommunities } : {}),
    ...(wanted.med !== common.med && wanted.med !== undefined ? { med: wanted.med } : {}),
    ...(wanted.localPref !== common.localPref && wanted.localPref !== undefined
      ? { localPref: wanted.localPref }
      : {}),
    prepend: wanted.prepend,
  }
}
