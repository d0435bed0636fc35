// Why a session with, or against, a password does not come up. gobgpd says nothing of it, nor does TCP: a segment whose MD5 signature
// (RFC 2385) is wrong, missing or unexpected is dropped, and a SYN simply stays unanswered. What can be seen is
//   - the kernel's counters of dropped segments, for the whole network namespace; a gobgpd that only dials drops none of a router's
//     signed SYNs, for nobody listens, and the router's own counters are out of our sight;
//   - our own sockets in SYN_SENT towards the peer: a router without a session for us would refuse, not keep silent;
//   - whether the router answers ARP or neighbour discovery all the same: then it is neither off nor cut off.
// So of a router that wants a password which this peer has not there is never proof, and it is told as likely.

import { readFileSync } from 'node:fs'
import { type Address, formatAddress } from '../model/address.ts'

export interface Md5Counters {
  /** A segment was signed otherwise than expected: the passwords differ. */
  readonly failure: number
  /** A segment had no signature though we have a password. */
  readonly notFound: number
  /** A segment was signed though we have none. */
  readonly unexpected: number
}

export interface TcpFacts {
  readonly md5: Md5Counters
  /** Peers that do not answer our SYN now, as `address port`. */
  readonly unanswered: ReadonlySet<string>
}

const SYN_SENT = '02'

/** Of the namespace that the calling thread is in. @param proc for tests */
export function readTcpFacts(proc = '/proc/thread-self'): TcpFacts {
  const read = (name: string) => {
    try {
      return readFileSync(`${proc}/net/${name}`, 'utf8')
    } catch {
      // No IPv6 here.
      return ''
    }
  }
  return {
    md5: parseMd5Counters(read('netstat')),
    unanswered: new Set([...parseUnanswered(read('tcp')), ...parseUnanswered(read('tcp6'))]),
  }
}

/** /proc/net/netstat: a line of names, then a line of numbers, both beginning with `TcpExt:`. */
export function parseMd5Counters(text: string): Md5Counters {
  const [names = [], numbers = []] = text
    .split('\n')
    .filter((line) => line.startsWith('TcpExt:'))
    .map((line) => line.split(' '))
  const value = (name: string) => Number(numbers[names.indexOf(name)] ?? 0)
  return {
    failure: value('TCPMD5Failure'),
    notFound: value('TCPMD5NotFound'),
    unexpected: value('TCPMD5Unexpected'),
  }
}

/** /proc/net/tcp and tcp6: `sl local remote state …`, addresses in words of the machine's byte order. */
export function parseUnanswered(text: string): string[] {
  return text.split('\n').flatMap((line) => {
    const [, , remote = '', state] = line.trim().split(/\s+/)
    if (state !== SYN_SENT) return []
    const [hex = '', port = ''] = remote.split(':')
    return [`${addressFromHex(hex)} ${Number.parseInt(port, 16)}`]
  })
}

function addressFromHex(hex: string): Address {
  const bytes = new Uint8Array(16)
  const offset = hex.length === 8 ? 12 : 0
  if (offset === 12) bytes.fill(0xff, 10, 12)
  for (let index = 0; index < hex.length / 2; index += 1) {
    const word = index & ~3
    bytes[offset + word + (3 - (index & 3))] = Number.parseInt(hex.slice(index * 2, index * 2 + 2), 16)
  }
  return formatAddress(bytes)
}

export interface DownPeer {
  readonly hasPassword: boolean
  /** Of our password. */
  readonly hasBlank?: boolean
  /** Our SYN stays unanswered. */
  readonly isSilent: boolean
  /** Known to be on the link: it was heard since the session went down. */
  readonly isThere: boolean
}

export interface Diagnosis {
  /** With what was counted, for whoever looks now. */
  readonly text: string
  /** In words that stay the same while the counters grow; undefined: too little is known to bother anybody with it. */
  readonly problem:
    | { readonly code: 'authentication-failing' | 'peer-silent'; readonly text: string }
    | undefined
  readonly mend: string
}

const SAME_PASSWORD = 'give both sides the same password'

/** A segment of each kind, and what it shows. */
const DROPPED = {
  failure: { hasPassword: true, cause: 'the router has another password', how: 'with a wrong signature' },
  notFound: { hasPassword: true, cause: 'the router has no password', how: 'without a signature' },
  unexpected: {
    hasPassword: false,
    cause: 'the router has a password and this peer has none',
    how: 'with a signature',
  },
} as const satisfies Readonly<Record<keyof Md5Counters, object>>

/**
 * What the counters' growth and the unanswered SYN say of a peer whose session is down; undefined: nothing. The counters are the
 * namespace's, so the sentence says "perhaps" where several sessions are down.
 */
export function diagnose(peer: DownPeer, grown: Md5Counters, isOnlyOne: boolean): Diagnosis | undefined {
  const found = whyDown(peer, grown, isOnlyOne)
  if (found === undefined || !peer.hasBlank) return found
  const more = (text: string) =>
    `${text}; ours holds a blank, and FRR for one takes a password of one word alone`
  const { problem } = found
  return { ...found, text: more(found.text), problem: problem && { ...problem, text: more(problem.text) } }
}

function whyDown(peer: DownPeer, grown: Md5Counters, isOnlyOne: boolean): Diagnosis | undefined {
  const kinds = ['failure', 'notFound', 'unexpected'] as const
  const kind = kinds.find((one) => DROPPED[one].hasPassword === peer.hasPassword && grown[one] > 0)
  if (kind === undefined) return peer.isSilent ? ofSilence(peer) : undefined
  const { how } = DROPPED[kind]
  const cause = `${isOnlyOne ? '' : 'perhaps '}${DROPPED[kind].cause}`
  const count = `${grown[kind]} ${grown[kind] === 1 ? 'segment' : 'segments'}`
  return {
    text: `${cause}: the kernel dropped ${count} ${how}`,
    problem: { code: 'authentication-failing', text: `${cause}: the kernel drops segments ${how}` },
    mend: SAME_PASSWORD,
  }
}

function ofSilence({ hasPassword, isThere }: DownPeer): Diagnosis {
  const what = hasPassword ? 'our signed SYN' : 'our SYN'
  const likely = hasPassword
    ? 'it has another password or none'
    : 'it wants a password, and this peer has none'
  if (!isThere)
    return {
      text: `the router does not answer ${what}: it is off or cut off, or ${likely}, or a filter drops it`,
      problem: undefined,
      mend: "see whether it answers a ping; if so, compare both sides' passwords, TTL security and filters of the port",
    }
  const text = `the router is on the link and does not answer ${what}: likely ${likely}; else a filter or TTL security there drops it`
  if (hasPassword) return { text, problem: { code: 'authentication-failing', text }, mend: SAME_PASSWORD }
  const mend =
    "if the router has a password for this node, name it as the peer's password (file or secret), or take it away there"
  return { text, problem: { code: 'peer-silent', text }, mend }
}
