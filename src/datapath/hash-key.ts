// The key of the tuple hashes of bpf/lib/hash.h, stretched to the words that the programs add: HashWord in bpf/abi/config.h says
// which is added to what. Done here once, for the programs would do it with every packet.

import type { HashKey } from './abi.gen.ts'

const U64 = 0xffff_ffff_ffff_ffffn
const SECOND_WORD = 0xa0761d6478bd642en
const SECOND_PAIR = 0xe7037ed1a0b428dan
const SOURCE_MULTIPLIER = 0x1d8e4e27c47d124fn
const DESTINATION_MULTIPLIER = 0xeb44accab455d165n
const PORTS_MULTIPLIER = 0x8ebc6af09c88c6e3n
const IPV4_MULTIPLIER = 0x589965cc75374cc3n

/** One for each pair of words, in their order. Odd constants without structure. */
const MULTIPLIERS = [
  PORTS_MULTIPLIER,
  IPV4_MULTIPLIER,
  SOURCE_MULTIPLIER,
  SOURCE_MULTIPLIER ^ SECOND_PAIR,
  DESTINATION_MULTIPLIER,
  DESTINATION_MULTIPLIER ^ SECOND_PAIR,
]

function upperHalf(product: bigint): number {
  return Number((product & U64) >> 32n)
}

export function stretchHashKey(key: bigint): HashKey {
  const words = MULTIPLIERS.flatMap((multiplier) => [
    upperHalf(key * multiplier),
    upperHalf(key * (multiplier ^ SECOND_WORD)),
  ])
  return { words }
}
