// The names that the boot file and the running speaker share inside gobgpd. A gobgpd that belongs to somebody else (kube-router's)
// has names of its own; the prefix keeps them apart.

import type { Family } from '../model/address.ts'

/** Import: what this node originates, nothing else. */
export const LOCAL_ONLY_POLICY = 'weir-local-only'

/** Export: what this node originated inside the allowed prefixes, nothing else. */
export const OWN_PREFIXES_POLICY = 'weir-own-prefixes'

/** gobgpd refuses a prefix set of mixed families, hence one set and one statement for each. */
export const FAMILY_SETS: Readonly<Record<Family, { prefixSet: string; exportStatement: string }>> = {
  ipv4: { prefixSet: 'weir-allowed-ipv4', exportStatement: 'weir-export-ipv4' },
  ipv6: { prefixSet: 'weir-allowed-ipv6', exportStatement: 'weir-export-ipv6' },
}
