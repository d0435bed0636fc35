// What a broken or hostile router may send, and what gobgpd 3.10 does about it, as measured; where RFC 4271 or RFC 7606 (revised error
// handling) want something else, that is beside it. Each case has a session of its own, which had announced the case's prefix in good
// order before.

import {
  asPath,
  attribute,
  ipv4,
  message,
  nextHop,
  nlri,
  OPTIONAL,
  origin,
  TRANSITIVE,
  UPDATE,
  u16,
  u32,
  update,
  updateBody,
} from './messages.ts'

export interface Place {
  readonly asn: number
  /** The sender's own: a good next hop. */
  readonly address: string
  readonly prefix: string
}

/**
 * `kept`: the session and the route, as if nothing had been; `withdrawn`: the session, without the route;
 * a NOTIFICATION's code and subcode: the session ended by it; `closed`: the session ended without a word.
 */
export type Outcome = 'kept' | 'withdrawn' | 'closed' | `${number}/${number}`

export interface MalformedCase {
  readonly what: string
  readonly bytes: (place: Place) => Buffer
  readonly outcome: Outcome
  /** What the RFCs ask for, where gobgpd does something else. */
  readonly standard?: string
  /** The sender ends the connection after it. */
  readonly hangsUp?: boolean
}

const good = ({ asn, address }: Place) => [...origin, ...asPath(asn), ...nextHop(address)]
export const goodUpdate = (place: Place): Buffer => update(good(place), place.prefix)

/** The good attributes and one more. */
const withOne =
  (flags: number, type: number, value: readonly number[]) =>
  (place: Place): Buffer =>
    update([...good(place), ...attribute(flags, type, value)], place.prefix)

/** The good attributes but for AS_PATH. */
const withAsPath =
  (value: (asn: number) => readonly number[]) =>
  (place: Place): Buffer => {
    const path = attribute(TRANSITIVE, 2, value(place.asn))
    return update([...origin, ...path, ...nextHop(place.address)], place.prefix)
  }

/** The good attributes but for ORIGIN. */
const withOrigin =
  (flags: number, value: readonly number[]) =>
  (place: Place): Buffer => {
    const first = attribute(flags, 1, value)
    return update([...first, ...asPath(place.asn), ...nextHop(place.address)], place.prefix)
  }

/** The good attributes but for NEXT_HOP. */
const withNextHop =
  (value: readonly number[] | undefined) =>
  (place: Place): Buffer => {
    const last = value === undefined ? [] : attribute(TRANSITIVE, 3, value)
    return update([...origin, ...asPath(place.asn), ...last], place.prefix)
  }

const reset = (bytes: Buffer, at: number, value: number): Buffer => {
  bytes[at] = value
  return bytes
}

export const MALFORMED: readonly MalformedCase[] = [
  {
    what: 'ORIGIN with the flag optional',
    bytes: withOrigin(0xc0, [0]),
    outcome: 'kept',
    standard: 'RFC 7606, 3c: withdrawn',
  },
  { what: 'ORIGIN of two bytes', bytes: withOrigin(TRANSITIVE, [0, 0]), outcome: 'withdrawn' },
  { what: 'ORIGIN of a value that does not exist', bytes: withOrigin(TRANSITIVE, [9]), outcome: 'withdrawn' },
  {
    what: 'ORIGIN twice',
    bytes: (place) => update([...origin, ...good(place)], place.prefix),
    outcome: 'kept',
  },
  {
    what: 'AS_PATH whose segment is longer than the attribute',
    bytes: withAsPath((asn) => [2, 9, ...u32(asn)]),
    outcome: 'withdrawn',
  },
  {
    what: 'AS_PATH with a segment of an unknown type',
    bytes: withAsPath((asn) => [9, 1, ...u32(asn)]),
    outcome: 'withdrawn',
  },
  {
    what: 'AS_PATH with an empty segment',
    bytes: withAsPath((asn) => [2, 0, 2, 1, ...u32(asn)]),
    outcome: 'withdrawn',
  },
  { what: 'AS_PATH of a single byte', bytes: withAsPath(() => [2]), outcome: 'withdrawn' },
  {
    what: 'AS_PATH of 900 ASNs',
    bytes: withAsPath((asn) =>
      Array.from({ length: 4 }, () => [2, 225, ...Array.from({ length: 225 }, () => u32(asn)).flat()]).flat(),
    ),
    outcome: 'kept',
  },
  {
    what: 'AS_PATH through this node',
    bytes: withAsPath((asn) => [2, 2, ...u32(asn), ...u32(65101)]),
    outcome: 'kept',
    standard: 'RFC 4271, 9.1.2: not used; the route of before stays',
  },
  { what: 'NEXT_HOP of three bytes', bytes: withNextHop([10, 66, 0]), outcome: 'withdrawn' },
  { what: 'no NEXT_HOP', bytes: withNextHop(undefined), outcome: 'withdrawn' },
  { what: 'NEXT_HOP 0.0.0.0', bytes: withNextHop(ipv4('0.0.0.0')), outcome: 'withdrawn' },
  { what: 'NEXT_HOP of loopback', bytes: withNextHop(ipv4('127.0.0.1')), outcome: 'withdrawn' },
  { what: 'NEXT_HOP of multicast', bytes: withNextHop(ipv4('224.0.0.5')), outcome: 'withdrawn' },
  { what: 'MED of three bytes', bytes: withOne(OPTIONAL, 4, [0, 0, 1]), outcome: 'withdrawn' },
  { what: 'LOCAL_PREF from outside', bytes: withOne(TRANSITIVE, 5, u32(900)), outcome: 'kept' },
  { what: 'ATOMIC_AGGREGATE with a value', bytes: withOne(TRANSITIVE, 6, [1]), outcome: 'kept' },
  { what: 'AGGREGATOR of three bytes', bytes: withOne(0xc0, 7, [1, 2, 3]), outcome: 'kept' },
  { what: 'COMMUNITIES of five bytes', bytes: withOne(0xc0, 8, [1, 2, 3, 4, 5]), outcome: 'withdrawn' },
  { what: 'ORIGINATOR_ID from outside', bytes: withOne(OPTIONAL, 9, ipv4('10.0.0.1')), outcome: 'kept' },
  {
    what: 'LARGE_COMMUNITY of eleven bytes',
    bytes: withOne(0xc0, 32, Array(11).fill(1)),
    outcome: 'withdrawn',
  },
  {
    what: 'an unknown attribute that calls itself well-known',
    bytes: withOne(TRANSITIVE, 200, [1]),
    outcome: '3/2',
  },
  {
    what: 'an unknown optional attribute of 3 900 bytes',
    bytes: withOne(0xc0, 201, Array(3900).fill(7)),
    outcome: 'kept',
  },
  {
    what: 'an attribute that is longer than all of them',
    bytes: (place) => {
      const attributes = [...good(place), 0xc0, 8, 200, 1, 2, 3, 4]
      return message(UPDATE, updateBody(attributes, nlri(place.prefix)))
    },
    outcome: 'kept',
    standard: 'RFC 7606, 3j: withdrawn',
  },
  {
    what: 'attributes that are longer than the message',
    bytes: (place) => message(UPDATE, updateBody(good(place), nlri(place.prefix), 3000)),
    outcome: '3/1',
  },
  {
    what: 'withdrawn routes that are longer than the message',
    bytes: () => message(UPDATE, [...u16(900), 24, 10, 200, 1, ...u16(0)]),
    outcome: '3/1',
  },
  {
    what: 'a prefix of 33 bits',
    bytes: (place) => message(UPDATE, updateBody(good(place), [33, 10, 200, 1, 1, 1])),
    outcome: '3/1',
    standard: 'RFC 4271, 6.3: 3/10',
  },
  {
    what: 'a prefix that is cut off',
    bytes: (place) => message(UPDATE, updateBody(good(place), [24, 10, 200])),
    outcome: '3/1',
    standard: 'RFC 4271, 6.3: 3/10',
  },
  {
    what: 'MP_REACH_NLRI with a next hop of seven bytes',
    bytes: (place) => {
      const value = [...u16(2), 1, 7, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0]
      return update([...good(place), ...attribute(OPTIONAL, 14, value)], place.prefix)
    },
    outcome: 'kept',
    standard: 'RFC 7606, 7.11: the session or the family ends',
  },
  {
    what: 'a wrong marker',
    bytes: (place) => reset(goodUpdate(place), 3, 0),
    outcome: 'kept',
    standard: 'RFC 4271, 6.1: 1/1',
  },
  {
    what: 'a message shorter than its header',
    // Nothing follows the header: what gobgpd leaves unread makes its close a reset, which may overtake the NOTIFICATION.
    bytes: () => message(UPDATE, [], 10),
    outcome: '1/2',
  },
  {
    what: 'a message longer than any may be',
    bytes: (place) =>
      message(
        UPDATE,
        updateBody([...good(place), ...attribute(0xc0, 201, Array(5000).fill(7))], nlri(place.prefix)),
      ),
    outcome: 'kept',
    standard: 'RFC 4271, 6.1: 1/2',
  },
  {
    what: 'a KEEPALIVE with a body',
    bytes: () => message(4, [1, 2, 3, 4]),
    outcome: 'kept',
    standard: 'RFC 4271, 6.1: 1/2',
  },
  {
    what: 'a message that is cut off',
    bytes: (place) => goodUpdate(place).subarray(0, 30),
    outcome: 'closed',
    hangsUp: true,
  },
]

/** What ends gobgpd 3.10 by a panic: every session of the node with it. Upstream's later versions have such places too, and mend them. */
export const FATAL: readonly Pick<MalformedCase, 'what' | 'bytes'>[] = [
  { what: 'a message of an unknown type', bytes: () => message(9, [1, 2, 3, 4]) },
  {
    what: 'MP_REACH_NLRI that ends before its prefixes',
    bytes: (place) => update([...good(place), ...attribute(OPTIONAL, 14, [...u16(2), 1])], place.prefix),
  },
]
