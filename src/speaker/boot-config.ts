// The file that gobgpd starts from. It closes every door before the first session: both default policies reject, nothing is imported
// but what this node itself originates, and nothing is exported but what it originated inside the allowed prefixes. gobgpd's own
// defaults accept everything both ways, which turns a node with two routers into a transit between them (RFC 8212 asks for the
// opposite). Sets and policies carry the names that the speaker later edits in place; peers and paths come from the speaker alone.
//
// `port = -1`: no listener, unless the configuration asks for one. The node opens its sessions, nobody reaches its port 179, and
// several speakers fit on one machine.

import type { Family } from '../model/address.ts'
import type { AllowedPrefix } from '../model/announcement.ts'
import type { NodeRouting } from '../model/routing.ts'
import { EXPORT_POLICY, FAMILY_SETS, IMPORT_POLICY } from './policy-names.ts'
import { writeOutMembers } from './prefix-sets.ts'

export interface BootFacts {
  readonly asn: number
  readonly routerId: string
  readonly allowed: Readonly<Record<Family, readonly AllowedPrefix[]>>
  /** Undefined: it dials only. */
  readonly listen?: NodeRouting['listen']
}

const FAMILIES: readonly Family[] = ['ipv4', 'ipv6']

/** The boot file as TOML text. A family without allowed prefixes gets neither set nor statement, and so announces nothing. */
export function renderBootConfig(facts: BootFacts): string {
  const families = FAMILIES.filter((family) => facts.allowed[family].length > 0)
  const sections = [
    '# Written by weir: gobgpd as it must start, with nothing allowed in or out but what is named here.',
    renderGlobal(facts),
    ...families.map((family) => renderPrefixSet(family, facts.allowed[family])),
    renderLocalOnlyPolicy(),
    renderOwnPrefixesPolicy(families),
  ]
  return `${sections.join('\n\n')}\n`
}

function renderGlobal(facts: BootFacts): string {
  const list = facts.listen?.addresses.map(quote).join(', ')
  const addresses = list ? `\n  local-address-list = [${list}]` : ''
  return `[global.config]
  as = ${facts.asn}
  router-id = ${quote(facts.routerId)}
  port = ${facts.listen?.port ?? -1}${addresses}
[global.use-multiple-paths.config]
  enabled = true
[global.apply-policy.config]
  import-policy-list = [${quote(IMPORT_POLICY)}]
  default-import-policy = "reject-route"
  export-policy-list = [${quote(EXPORT_POLICY)}]
  default-export-policy = "reject-route"`
}

function renderPrefixSet(family: Family, members: readonly AllowedPrefix[]): string {
  const rows = writeOutMembers(members).map(
    (member) => `  [[defined-sets.prefix-sets.prefix-list]]
    ip-prefix = ${quote(member.prefix)}
    masklength-range = "${member.lengthMin}..${member.lengthMax}"`,
  )
  return `[[defined-sets.prefix-sets]]
  prefix-set-name = ${quote(FAMILY_SETS[family].prefixSet)}
${rows.join('\n')}`
}

/** Without it, the rejecting default for imports would also swallow this node's own paths, silently. */
function renderLocalOnlyPolicy(): string {
  return `[[policy-definitions]]
  name = ${quote(IMPORT_POLICY)}
  [[policy-definitions.statements]]
    name = ${quote(IMPORT_POLICY)}
    [policy-definitions.statements.conditions.bgp-conditions]
      route-type = "local"
    [policy-definitions.statements.actions]
      route-disposition = "accept-route"`
}

function renderOwnPrefixesPolicy(families: readonly Family[]): string {
  const statements = families.map(
    (family) => `  [[policy-definitions.statements]]
    name = ${quote(FAMILY_SETS[family].exportStatement)}
    [policy-definitions.statements.conditions.match-prefix-set]
      prefix-set = ${quote(FAMILY_SETS[family].prefixSet)}
      match-set-options = "any"
    [policy-definitions.statements.conditions.bgp-conditions]
      route-type = "local"
    [policy-definitions.statements.actions]
      route-disposition = "accept-route"`,
  )
  return ['[[policy-definitions]]', `  name = ${quote(EXPORT_POLICY)}`, ...statements].join('\n')
}

/** TOML basic strings and JSON strings agree on everything that addresses and our own names can hold. */
function quote(text: string): string {
  return JSON.stringify(text)
}
