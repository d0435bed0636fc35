// The names of what is ours inside gobgpd, shared by the boot file and the running speaker. A gobgpd that belongs to somebody else
// (kube-router's) has names of its own; the prefix keeps them apart. Sets that depend on the configuration's content are named by a
// hash of it and never edited, so that a policy in force never changes its meaning by a detour.

import { createHash } from 'node:crypto'
import type { Family } from '../model/address.ts'

export const OWN_NAME_PREFIX = 'weir-'

/** Import: what this node originates, and what configured peers may tell; nothing else. */
export const IMPORT_POLICY = 'weir-local-only'

/** Export: what this node originated inside the allowed prefixes, to whom it belongs; nothing else. */
export const EXPORT_POLICY = 'weir-own-prefixes'

/** A replacement is built beside the policy in force, under the name that is free, and swapped in by one assignment. */
export const SPARE_SUFFIX = '-spare'

/** gobgpd refuses a prefix set of mixed families, hence one set and one statement for each. */
export const FAMILY_SETS: Readonly<Record<Family, { prefixSet: string; exportStatement: string }>> = {
  ipv4: { prefixSet: 'weir-allowed-ipv4', exportStatement: 'weir-export-ipv4' },
  ipv6: { prefixSet: 'weir-allowed-ipv6', exportStatement: 'weir-export-ipv6' },
}

/** What is ours, at any length: whoever tells it us is not believed. */
export const OWN_SETS: Readonly<Record<Family, string>> = { ipv4: 'weir-own-ipv4', ipv6: 'weir-own-ipv6' }

/** @param marker `global:high:low` */
export function classSetName(marker: string): string {
  return `weir-class-${marker.slice(marker.indexOf(':') + 1).replace(':', '-')}`
}

export function contentName(what: string, content: unknown): string {
  const hash = createHash('sha256').update(JSON.stringify(content)).digest('hex')
  return `${OWN_NAME_PREFIX}${what}-${hash.slice(0, 16)}`
}
