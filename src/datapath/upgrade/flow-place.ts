// Where the programs look for a flow: the set its key belongs to, as bpf/lib/hash.h and bpf/lib/flow.h compute it. Needed when
// flows move to a table of another size; a test compares it with where the kernel put them.

import type { HashKey } from '../abi.gen.ts'
import { stretchHashKey } from '../hash-key.ts'

const U32 = 0xffff_ffffn
const U64 = 0xffff_ffff_ffff_ffffn
/** Where the words of a key begin that are added to these (HashWord in bpf/abi/config.h). */
const PORTS_WORD = 0
const IPV4_WORD = 2
const FINISH_MULTIPLIER = 0xd6e8feb86659fd93n
const IPV4_MARK = 4
const PROTOCOL_SHIFT = 8

function nhPair(first: number, second: number, { words }: HashKey, word: number): bigint {
  const left = (BigInt(first) + BigInt(words[word] ?? 0)) & U32
  const right = (BigInt(second) + BigInt(words[word + 1] ?? 0)) & U32
  return left * right
}

function finish(hash: bigint): bigint {
  let mixed = hash ^ (hash >> 32n)
  mixed = (mixed * FINISH_MULTIPLIER) & U64
  mixed ^= mixed >> 32n
  mixed = (mixed * FINISH_MULTIPLIER) & U64
  return mixed ^ (mixed >> 32n)
}

/** IPv4 keys are exact and end in protocol and family; a digest looks like one with probability 2^-24. */
function hashOfKey(key: Uint32Array, hashKey: HashKey): bigint {
  const [source = 0, destination = 0, ports = 0, last = 0] = key
  const protocol = last >>> PROTOCOL_SHIFT
  if ((last & 0xff) === IPV4_MARK && protocol <= 0xff)
    return (
      (nhPair(ports, protocol, hashKey, PORTS_WORD) + nhPair(source, destination, hashKey, IPV4_WORD)) & U64
    )
  return BigInt(source) | (BigInt(destination) << 32n)
}

/**
 * @param secret `secrets[0]` of this boot
 * @param sets a power of two
 * @returns the set of a flow by its key, four words as they lie in the entry
 */
export function placeFlows(secret: readonly bigint[], sets: number): (key: Uint32Array) => number {
  const [first = 0n, second = 0n] = secret
  const hashKey = stretchHashKey(first)
  return (key) => Number(finish(hashOfKey(key, hashKey) ^ second) & BigInt(sets - 1))
}
