// Why a session with, or against, a password does not come up. gobgpd says nothing of it, nor does TCP: a segment whose MD5 signature
// (RFC 2385) is wrong, missing or unexpected is dropped, and a SYN simply stays unanswered. What can be seen is
//   - the kernel's counters of dropped segments, for the whole network namespace;
//   - our own sockets in SYN_SENT towards the peer: a router without a session for us would refuse, not keep silent.

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

export interface SilentPeer {
  readonly address: string
  readonly port: number
  readonly hasPassword: boolean
  /** Of our password. */
  readonly hasBlank?: boolean
}

/**
 * What the counters' growth and the unanswered SYN say of a peer whose session is down; undefined: nothing. The counters are the
 * namespace's, so the sentence says "perhaps" where several sessions are down.
 */
export function diagnose(
  peer: SilentPeer,
  ...seen: [before: Md5Counters, now: TcpFacts, isOnlyOne: boolean]
): string | undefined {
  const text = whySilent(peer, ...seen)
  if (text === undefined || !peer.hasBlank) return text
  return `${text}; ours holds a blank, and FRR for one takes a password of one word alone`
}

function whySilent(
  peer: SilentPeer,
  before: Md5Counters,
  now: TcpFacts,
  isOnlyOne: boolean,
): string | undefined {
  const grew = (key: keyof Md5Counters) => now.md5[key] - before[key]
  const perhaps = isOnlyOne ? '' : 'perhaps '
  const segments = (count: number) => `${count} ${count === 1 ? 'segment' : 'segments'}`
  if (peer.hasPassword && grew('failure') > 0)
    return `${perhaps}the router has another password: the kernel dropped ${segments(grew('failure'))} with a wrong signature`
  if (peer.hasPassword && grew('notFound') > 0)
    return `${perhaps}the router has no password: the kernel dropped ${segments(grew('notFound'))} without a signature`
  if (!peer.hasPassword && grew('unexpected') > 0)
    return `${perhaps}the router has a password and this peer has none: the kernel dropped ${segments(grew('unexpected'))} with a signature`
  if (!now.unanswered.has(`${peer.address} ${peer.port}`)) return undefined
  return peer.hasPassword
    ? 'the router does not answer our signed SYN: it has another password or none, or a filter drops it'
    : undefined
}
