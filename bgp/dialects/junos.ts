// Juniper Junos: `set` commands, not run against a device. Pure.

import {
  checkModelNames,
  type Family,
  familiesCarried,
  GRACEFUL_SHUTDOWN,
  ofFamily,
  type PeerGroup,
  type PrefixRule,
  type RouterModel,
  remarkLines,
  type Sessions,
  sessionsOf,
  WARN_PERCENT,
} from './model.ts'
import { GRACEFUL_SHUTDOWN_LIST, policyName, untestedLines } from './untested.ts'

const FAMILY_WORDS: Readonly<Record<Family, string>> = { ipv4: 'inet', ipv6: 'inet6' }
const LOAD_BALANCE = 'weir-load-balance'
const ANY_ASN = 'weir-any-asn'

export function junosConfig(router: RouterModel): string {
  checkModelNames(router)
  const { groups, asn, routerId } = router
  return [
    ...untestedLines('#', 'Juniper Junos'),
    ...remarkLines(router, '#'),
    ...(groups.some(({ ttlSecurityHops }) => ttlSecurityHops !== undefined)
      ? [
          '# GTSM: sent with TTL 255 here; what arrives is checked by a filter on lo0 (ttl-except 255), which is not written here.',
        ]
      : []),
    `set policy-options community ${GRACEFUL_SHUTDOWN_LIST} members ${GRACEFUL_SHUTDOWN}`,
    ...groups.flatMap((group) => familiesCarried(group).flatMap((family) => policyLines(group, family))),
    ...(groups.some(({ listen }) => listen?.asn === 'external')
      ? [`set policy-options as-list ${ANY_ASN} members 1-4294967295`]
      : []),
    // "Per packet" is Junos' word for per flow.
    `set policy-options policy-statement ${LOAD_BALANCE} then load-balance per-packet`,
    `set routing-options forwarding-table export ${LOAD_BALANCE}`,
    `set routing-options autonomous-system ${asn}`,
    ...(routerId === undefined ? [] : [`set routing-options router-id ${routerId}`]),
    ...groups.flatMap(sessionsOf).flatMap((sessions) => sessionLines(asn, sessions)),
    '',
  ].join('\n')
}

function policyLines(group: PeerGroup, family: Family): string[] {
  return [
    ...statementLines(policyName(group, family, 'in'), ofFamily(group.accept, family), true),
    ...statementLines(policyName(group, family, 'out'), ofFamily(group.announce, family), false),
  ]
}

function statementLines(name: string, rules: readonly PrefixRule[], withShutdown: boolean): string[] {
  const of = (text: string) => `set policy-options policy-statement ${name} ${text}`
  const from = (term: string) =>
    rules.map(({ prefix, lengthMin, lengthMax }) =>
      of(`term ${term} from route-filter ${prefix} prefix-length-range /${lengthMin}-/${lengthMax}`),
    )
  if (rules.length === 0) return [of('term others then reject')]
  const shutdown = [
    ...from('shutdown'),
    of(`term shutdown from community ${GRACEFUL_SHUTDOWN_LIST}`),
    of('term shutdown then local-preference 0'),
    of('term shutdown then accept'),
  ]
  return [
    ...(withShutdown ? shutdown : []),
    ...from('allowed'),
    of('term allowed then accept'),
    of('term others then reject'),
  ]
}

function sessionLines(asn: number, sessions: Sessions): string[] {
  const { name, group, family, timers, peers, ranges, carries } = sessions
  const { bfd, listen } = group
  const of = (text: string) => `set protocols bgp group weir-${name} ${text}`
  const isInternal = peers.length > 0 ? peers.every((peer) => peer.asn === asn) : listen?.asn === asn
  return [
    of(`type ${isInternal ? 'internal' : 'external'}`),
    // Keepalives are a third of it.
    of(`hold-time ${timers.holdSeconds}`),
    of('multipath multiple-as'),
    ...(group.passive ? [of('passive')] : []),
    ...(group.password === undefined ? [] : [of(`authentication-key "${group.password}"`)]),
    ...(group.multihopTtl === undefined ? [] : [of(`multihop ttl ${group.multihopTtl}`)]),
    ...(group.ttlSecurityHops === undefined ? [] : [of('ttl 255')]),
    ...(bfd
      ? [
          of(`bfd-liveness-detection minimum-interval ${bfd.intervalMs}`),
          of(`bfd-liveness-detection multiplier ${bfd.multiplier}`),
        ]
      : []),
    ...carries.flatMap((carried) => {
      const unicast = `family ${FAMILY_WORDS[carried]} unicast`
      return [
        of(`${unicast} prefix-limit maximum ${group.prefixesMax}`),
        of(`${unicast} prefix-limit teardown ${WARN_PERCENT} idle-timeout 1`),
        ...(carried === 'ipv4' && family === 'ipv6' ? [of(`${unicast} extended-nexthop`)] : []),
      ]
    }),
    ...(['in', 'out'] as const).map((direction) => {
      const names = carries.map((carried) => policyName(group, carried, direction))
      return of(`${direction === 'in' ? 'import' : 'export'} ${chain(names)}`)
    }),
    ...peers.flatMap((peer) => peerLines(peer, of)),
    ...ranges.map((range) => of(`allow ${range}`)),
    ...(ranges.length > 0 && !isInternal
      ? [listen?.asn === 'external' ? of(`peer-as-list ${ANY_ASN}`) : of(`peer-as ${listen?.asn}`)]
      : []),
  ]
}

function peerLines(
  { name, asn, address, localAddress, interface: link }: Sessions['peers'][number],
  of: (text: string) => string,
): string[] {
  if (link !== undefined)
    return [
      of(`dynamic-neighbor ${name} peer-auto-discovery family inet6 ipv6-nd`),
      of(`dynamic-neighbor ${name} peer-auto-discovery interface ${link}`),
      of(`peer-as-list weir-${name}`),
      `set policy-options as-list weir-${name} members ${asn}`,
    ]
  return [
    of(`neighbor ${address} peer-as ${asn}`),
    of(`neighbor ${address} description ${name}`),
    ...(localAddress === '' ? [] : [of(`neighbor ${address} local-address ${localAddress}`)]),
  ]
}

/** Policies of two families in one group: a route of the other family must pass the first one by, so both are asked as one expression. */
function chain(names: readonly string[]): string {
  const [first = '', ...others] = names
  return others.length === 0 ? first : `( ${[first, ...others].join(' || ')} )`
}
