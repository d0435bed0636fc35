// Where the programs look for a flow: the set its key belongs to, as bpf/lib/hash.h and bpf/lib/flow.h compute it. Needed when
// flows move to a table of another size; a test compares it with where the kernel put them.

const U32 = 0xffff_ffffn
const U64 = 0xffff_ffff_ffff_ffffn
const SECOND_WORD = 0xa0761d6478bd642en
const PORTS_MULTIPLIER = 0x8ebc6af09c88c6e3n
const IPV4_MULTIPLIER = 0x589965cc75374cc3n
const FINISH_MULTIPLIER = 0xd6e8feb86659fd93n
const IPV4_MARK = 4
const PROTOCOL_SHIFT = 8

function keyWord(key: bigint, multiplier: bigint): bigint {
  return ((key * multiplier) & U64) >> 32n
}

function nhPair(first: number, second: number, key: bigint, multiplier: bigint): bigint {
  const left = (BigInt(first) + keyWord(key, multiplier)) & U32
  const right = (BigInt(second) + keyWord(key, multiplier ^ SECOND_WORD)) & U32
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
function hashOfKey(key: Uint32Array, secret: bigint): bigint {
  const [source = 0, destination = 0, ports = 0, last = 0] = key
  const protocol = last >>> PROTOCOL_SHIFT
  if ((last & 0xff) === IPV4_MARK && protocol <= 0xff)
    return (
      (nhPair(ports, protocol, secret, PORTS_MULTIPLIER) +
        nhPair(source, destination, secret, IPV4_MULTIPLIER)) &
      U64
    )
  return BigInt(source) | (BigInt(destination) << 32n)
}

/**
 * @param key four words as they lie in the entry
 * @param secret `secrets[0]` of this boot
 * @param sets a power of two
 */
export function setOfFlow(key: Uint32Array, secret: readonly bigint[], sets: number): number {
  const [first = 0n, second = 0n] = secret
  return Number(finish(hashOfKey(key, first) ^ second) & BigInt(sets - 1))
}
