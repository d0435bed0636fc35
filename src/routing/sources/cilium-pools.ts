// CiliumLoadBalancerIPPools beside the file's pools → the pools in effect. Every address is of one pool: of two that overlap the older
// goes on, and the file's before all; the other gives nothing new, and says why. So does one that holds addresses of nodes or pods.
// What was given of it before stays, and may be announced, for it was somebody's; but never what is a node's, a pod's or a router's. Nor does
// one give anything new that cannot be read at the moment. Pure.

import {
  type Address,
  addressFromNumber,
  addressToNumber,
  type Prefix,
  parseAddress,
  parseNetwork,
  prefixParts,
} from '../../model/address.ts'
import {
  type AddressRange,
  innerRange,
  prefixRange,
  type RangeParts,
  rangeBetween,
  rangeParts,
  rangePrefixes,
  rangesOverlap,
  rangeText,
} from '../../model/address-range.ts'
import type { CiliumAddressPool, CiliumCondition } from '../../model/cilium.ts'
import type { Node } from '../../model/service.ts'
import { type AddressPool, DISABLED } from '../address-pools.ts'
import type { RoutingProblem } from './node-facts.ts'

export interface JoinedPools<Pool extends AddressPool> {
  readonly pools: readonly (Pool | AddressPool)[]
  readonly problems: readonly RoutingProblem[]
}

/** Addresses that are somebody's, so no Service may have them. */
export interface TakenRange {
  readonly range: AddressRange
  readonly owner: string
}

export interface PoolSources<Pool extends AddressPool> {
  readonly file: readonly Pool[]
  readonly cilium: readonly CiliumAddressPool[]
  readonly taken: readonly TakenRange[]
  /** Of all pools together; each is a comparison on every path that gobgpd exports. */
  readonly prefixesMax: number
  /** Cilium's are as they were last read, and cannot be read now. */
  readonly isUnreadable?: boolean
}

export function takenByNodes(nodes: Iterable<Node>): TakenRange[] {
  return [...nodes].flatMap(({ name, addresses, podCidrs }) => [
    ...addresses.map((one) => ({ range: { first: one, last: one }, owner: `node ${name}` })),
    ...podCidrs.map((prefix) => ({ range: prefixRange(prefix), owner: `pods of node ${name}` })),
  ])
}

const UNREADABLE = "it cannot be read now, and stands as it was ('weir status' says why)"

interface Claimed {
  readonly name: string
  readonly text: string
  readonly parts: RangeParts
}

export function joinPools<Pool extends AddressPool>(sources: PoolSources<Pool>): JoinedPools<Pool> {
  const { file, cilium, taken, prefixesMax, isUnreadable = false } = sources
  const problems: RoutingProblem[] = []
  const pools: (Pool | AddressPool)[] = [...file]
  const claimed = file.flatMap(({ name, prefixes }) =>
    prefixes.map((prefix) => ({ name, text: prefix as string, parts: rangeParts(prefixRange(prefix)) })),
  )
  const others = taken.map(({ range, owner }) => ({
    name: owner,
    text: rangeText(range),
    parts: rangeParts(range),
  }))
  let room = prefixesMax - file.flatMap(({ prefixes }) => prefixes).length
  const byAge = [...cilium].sort((a, b) => a.createdMs - b.createdMs || (a.name < b.name ? -1 : 1))
  for (const object of byAge) {
    const source = `CiliumLoadBalancerIPPool ${object.name}`
    const { blocks, invalid } = readBlocks(object)
    const isNamesake = file.some(({ name }) => name === object.name)
    const conflict =
      invalid[0] ??
      (isNamesake ? 'the configuration file has a pool of this name' : undefined) ??
      whyOverlapping(blocks, claimed, others)
    const prefixes = blocks.flatMap(({ range }) => withoutTaken(range, others)).flatMap(rangePrefixes)
    const hasRoom = prefixes.length <= room
    const closed = hasRoom
      ? conflict
      : `its ${prefixes.length} prefixes would be more than ${prefixesMax} with those of other pools`
    if (closed !== undefined) problems.push({ source, why: `gives out no addresses: ${closed}` })
    claimed.push(
      ...blocks.map(({ range }) => ({ name: object.name, text: rangeText(range), parts: rangeParts(range) })),
    )
    if (hasRoom) room -= prefixes.length
    pools.push({
      name: object.name,
      prefixes: hasRoom ? prefixes : [],
      ranges: hasRoom ? blocks.map(({ given }) => given) : [],
      ...(object.selector === undefined ? {} : { services: object.selector }),
      closed: closed ?? (object.isDisabled ? DISABLED : undefined) ?? (isUnreadable ? UNREADABLE : undefined),
    })
  }
  return { pools, problems }
}

interface Block {
  readonly range: AddressRange
  /** Without the edges that are kept back. */
  readonly given: AddressRange
}

function readBlocks({ blocks, allowsFirstLast }: CiliumAddressPool): { blocks: Block[]; invalid: string[] } {
  const read: Block[] = []
  const invalid: string[] = []
  for (const [index, { cidr, start, stop }] of blocks.entries()) {
    const prefix = cidr === undefined ? undefined : parseNetwork(cidr)
    const range = prefix ? prefixRange(prefix) : readRange(start, stop)
    if (range === undefined || isEverything(range)) {
      const text = cidr ?? `${start ?? ''}-${stop ?? start ?? ''}`
      invalid.push(`spec.blocks[${index}] '${text}' is no network, and no range of one family`)
    } else read.push({ range, given: prefix && !allowsFirstLast ? innerRange(prefix, 'both') : range })
  }
  return { blocks: read, invalid }
}

/** Without `stop` it is one address. */
function readRange(start: string | undefined, stop: string | undefined): AddressRange | undefined {
  const first = parseAddress(start ?? '')
  const last: Address | undefined = stop === undefined || stop === '' ? first : parseAddress(stop)
  return first && last && rangeBetween(first, last)
}

function isEverything(range: AddressRange): boolean {
  return rangePrefixes(range).some((prefix: Prefix) => prefixParts(prefix).length === 0)
}

/** The guard lets out what lies in a pool: an address of a node, a pod or a router must not, whatever stands in a Service's status. */
function withoutTaken(range: AddressRange, taken: readonly Claimed[]): AddressRange[] {
  let left = [rangeParts(range)]
  for (const { parts } of taken)
    left = left.flatMap((piece) => {
      if (!rangesOverlap(piece, parts)) return [piece]
      const below = { ...piece, last: parts.first - 1n }
      const above = { ...piece, first: parts.last + 1n }
      return [below, above].filter(({ first, last }) => first <= last)
    })
  return left.map(({ family, first, last }) => ({
    first: addressFromNumber(family, first),
    last: addressFromNumber(family, last),
  }))
}

function whyOverlapping(
  blocks: readonly Block[],
  claimed: readonly Claimed[],
  others: readonly Claimed[],
): string | undefined {
  const own: Claimed[] = []
  for (const { range } of blocks) {
    const text = rangeText(range)
    const parts = rangeParts(range)
    const pool = claimed.find((one) => rangesOverlap(one.parts, parts))
    if (pool !== undefined) return `${text} overlaps ${pool.text} of pool ${pool.name}`
    const twice = own.find((one) => rangesOverlap(one.parts, parts))
    if (twice !== undefined) return `${text} overlaps ${twice.text} of its own`
    const other = others.find((one) => rangesOverlap(one.parts, parts))
    if (other !== undefined) return `${text} holds what belongs to ${other.name}`
    own.push({ name: '', text, parts })
  }
  return undefined
}

export type PoolCondition = Omit<CiliumCondition, 'lastTransitionTime'>

/** The conditions that Cilium's operator writes, counts included. @returns undefined: they stand so already */
export function poolConditions(
  { conditions, generation }: CiliumAddressPool,
  { closed, ranges = [] }: AddressPool,
  used: number,
): readonly PoolCondition[] | undefined {
  const conflict = closed === DISABLED ? undefined : closed
  const total = ranges.reduce((sum, range) => sum + sizeOf(range), 0n)
  const available = total > BigInt(used) ? total - BigInt(used) : 0n
  const count = (type: string, value: bigint) => condition(type, 'Unknown', 'noreason', `${value}`)
  const condition = (type: string, status: string, reason: string, message: string) => ({
    type: `cilium.io/${type}`,
    status,
    reason,
    message,
    observedGeneration: generation,
  })
  const wanted = [
    conflict === undefined
      ? condition('PoolConflict', 'False', 'resolved', '')
      : condition('PoolConflict', 'True', 'cidr_overlap', conflict),
    count('IPsTotal', total),
    count('IPsAvailable', available),
    count('IPsUsed', BigInt(used)),
  ]
  const isSame = wanted.every(({ type, status, message, observedGeneration }) => {
    const has = conditions.find((one) => one.type === type)
    return has?.status === status && has.message === message && has.observedGeneration === observedGeneration
  })
  return isSame ? undefined : wanted
}

function sizeOf({ first, last }: AddressRange): bigint {
  return addressToNumber(last) - addressToNumber(first) + 1n
}
