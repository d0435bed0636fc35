// What the dialects have in common that nobody has run against a device: they say so, and two of them share the words of policy. Pure.

import { type Family, GRACEFUL_SHUTDOWN, ofFamily, type PeerGroup, type PrefixRule } from './model.ts'

/** The first lines of such a text. @param mark what begins a comment */
export function untestedLines(mark: string, system: string): string[] {
  return [
    `${mark} ${system}: not run against a device. Written from the vendor's documentation; try it where nothing depends on it.`,
  ]
}

export interface PolicyWords {
  /** A list's head; entries follow, indented. */
  readonly list: (keyword: 'ip' | 'ipv6', name: string) => readonly string[]
  readonly entry: (keyword: 'ip' | 'ipv6', name: string, entry: string) => string
  readonly indent: string
}

/**
 * Prefix lists and route maps of a group in one family. A path that says graceful shutdown gets the lowest preference first (RFC 8326);
 * what no entry permits is denied, and `-out` without a list denies all.
 */
export function policyLines(group: PeerGroup, family: Family, words: PolicyWords): string[] {
  return [
    ...listLines(policyName(group, family, 'in'), family, group.accept, words),
    ...listLines(policyName(group, family, 'out'), family, group.announce, words),
    ...mapLines(policyName(group, family, 'in'), family, group.accept, words, true),
    ...mapLines(policyName(group, family, 'out'), family, group.announce, words, false),
  ]
}

export function policyName(group: PeerGroup, family: Family, direction: 'in' | 'out'): string {
  return `weir-${group.name}-${family}-${direction}`
}

export const GRACEFUL_SHUTDOWN_LIST = 'weir-graceful-shutdown'

/** The list that route maps of `policyLines` ask. @param head as `ip community-list NAME permit` */
export function gracefulShutdownLine(head: string): string {
  return `${head} ${GRACEFUL_SHUTDOWN}`
}

function keywordOf(family: Family): 'ip' | 'ipv6' {
  return family === 'ipv4' ? 'ip' : 'ipv6'
}

function listLines(name: string, family: Family, rules: readonly PrefixRule[], words: PolicyWords): string[] {
  const members = ofFamily(rules, family)
  if (members.length === 0) return []
  const keyword = keywordOf(family)
  return [
    ...words.list(keyword, name),
    ...members.map((rule, index) =>
      words.entry(keyword, name, `seq ${(index + 1) * 10} permit ${rule.prefix}${lengthRange(rule)}`),
    ),
  ]
}

function lengthRange({ prefix, lengthMin, lengthMax }: PrefixRule): string {
  const own = Number(prefix.split('/')[1])
  if (lengthMin === lengthMax) return lengthMin === own ? '' : ` eq ${lengthMin}`
  return `${lengthMin > own ? ` ge ${lengthMin}` : ''} le ${lengthMax}`
}

function mapLines(
  name: string,
  family: Family,
  rules: readonly PrefixRule[],
  { indent }: PolicyWords,
  withShutdown: boolean,
): string[] {
  if (ofFamily(rules, family).length === 0) return [`route-map ${name} deny 10`]
  const match = `${indent}match ${keywordOf(family)} address prefix-list ${name}`
  const shutdown = [
    `route-map ${name} permit 10`,
    `${indent}match community ${GRACEFUL_SHUTDOWN_LIST}`,
    match,
    `${indent}set local-preference 0`,
  ]
  return [...(withShutdown ? shutdown : []), `route-map ${name} permit 20`, match]
}
