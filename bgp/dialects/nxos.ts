// Cisco NX-OS: configuration text, not run against a device. Pure.
// BFD's intervals are an interface's there; the ones asked for stand at the top for all.

import {
  checkModelNames,
  FAMILIES,
  familiesCarried,
  type Peer,
  type RouterModel,
  remarkLines,
  type Sessions,
  sessionsOf,
  WARN_PERCENT,
} from './model.ts'
import {
  GRACEFUL_SHUTDOWN_LIST,
  gracefulShutdownLine,
  type PolicyWords,
  policyLines,
  policyName,
  untestedLines,
} from './untested.ts'

const WORDS: PolicyWords = {
  list: () => [],
  entry: (keyword, name, entry) => `${keyword} prefix-list ${name} ${entry}`,
  indent: '  ',
}

const ANY_ASN = 'weir-any-asn'

export function nxosConfig(router: RouterModel): string {
  checkModelNames(router)
  const bfd = router.groups.find((group) => group.bfd)?.bfd
  const takesAnyAsn = router.groups.some(({ listen }) => listen?.asn === 'external')
  return [
    ...untestedLines('!', 'Cisco NX-OS'),
    ...remarkLines(router, '!'),
    'feature bgp',
    ...(bfd
      ? [
          'feature bfd',
          `bfd interval ${bfd.intervalMs} min_rx ${bfd.intervalMs} multiplier ${bfd.multiplier}`,
        ]
      : []),
    gracefulShutdownLine(`ip community-list standard ${GRACEFUL_SHUTDOWN_LIST} seq 10 permit`),
    ...router.groups.flatMap((group) =>
      familiesCarried(group).flatMap((family) => policyLines(group, family, WORDS)),
    ),
    ...(takesAnyAsn ? [`route-map ${ANY_ASN} permit 10`, '  match as-number 1-4294967295'] : []),
    `router bgp ${router.asn}`,
    ...(router.routerId === undefined ? [] : [`  router-id ${router.routerId}`]),
    '  log-neighbor-changes',
    '  graceful-restart-helper',
    // Every node has its own ASN.
    '  bestpath as-path multipath-relax',
    ...FAMILIES.filter((family) =>
      router.groups.some((group) => familiesCarried(group).includes(family)),
    ).flatMap((family) => [
      `  address-family ${family} unicast`,
      `    maximum-paths ${router.ecmpPathsMax}`,
      `    maximum-paths ibgp ${router.ecmpPathsMax}`,
    ]),
    ...router.groups.flatMap(sessionsOf).flatMap(sessionLines),
    '',
  ].join('\n')
}

function sessionLines(sessions: Sessions): string[] {
  const { name, group, timers, peers, ranges, carries } = sessions
  const { listen } = group
  return [
    `  template peer weir-${name}`,
    `    timers ${timers.keepaliveSeconds} ${timers.holdSeconds}`,
    `    reconnect-interval ${timers.connectRetrySeconds}`,
    ...(group.passive ? ['    transport connection-mode passive'] : []),
    ...(group.password === undefined ? [] : [`    password 0 ${group.password}`]),
    ...(group.multihopTtl === undefined ? [] : [`    ebgp-multihop ${group.multihopTtl}`]),
    ...(group.ttlSecurityHops === undefined ? [] : [`    ttl-security hops ${group.ttlSecurityHops}`]),
    ...(group.bfd ? ['    bfd'] : []),
    ...carries.flatMap((family) => [
      `    address-family ${family} unicast`,
      `      route-map ${policyName(group, family, 'in')} in`,
      `      route-map ${policyName(group, family, 'out')} out`,
      '      soft-reconfiguration inbound always',
      `      maximum-prefix ${group.prefixesMax} ${WARN_PERCENT} restart 1`,
    ]),
    ...peers.flatMap((peer) => peerLines(peer, name)),
    ...ranges.flatMap((range) => [
      `  neighbor ${range} remote-as ${listen?.asn === 'external' ? `route-map ${ANY_ASN}` : listen?.asn}`,
      `    inherit peer weir-${name}`,
    ]),
  ]
}

/** The source of a session is an interface there, and for a neighbour on the link the link itself. */
function peerLines({ name, asn, address, interface: link }: Peer, template: string): string[] {
  return [
    `  neighbor ${link ?? address} remote-as ${asn}`,
    `    inherit peer weir-${template}`,
    `    description ${name}`,
  ]
}
