// Arista EOS: configuration text, not run against a device. Pure.

import {
  checkModelNames,
  FAMILIES,
  type Family,
  familiesCarried,
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
  list: (keyword, name) => [`${keyword} prefix-list ${name}`],
  entry: (_keyword, _name, entry) => `   ${entry}`,
  indent: '   ',
}

const ANY_ASN = 'weir-any-asn'

export function eosConfig(router: RouterModel): string {
  checkModelNames(router)
  const sessions = router.groups.flatMap(sessionsOf)
  const takesAnyAsn = router.groups.some(({ listen }) => listen?.asn === 'external')
  return [
    ...untestedLines('!', 'Arista EOS'),
    ...remarkLines(router, '!'),
    gracefulShutdownLine(`ip community-list ${GRACEFUL_SHUTDOWN_LIST} permit`),
    ...router.groups.flatMap((group) =>
      familiesCarried(group).flatMap((family) => policyLines(group, family, WORDS)),
    ),
    ...(takesAnyAsn ? [`peer-filter ${ANY_ASN}`, '   10 match as-range 1-4294967295 result accept'] : []),
    `router bgp ${router.asn}`,
    ...(router.routerId === undefined ? [] : [`   router-id ${router.routerId}`]),
    '   no bgp default ipv4-unicast',
    // RFC 8212.
    '   bgp missing-policy direction in action deny',
    '   bgp missing-policy direction out action deny',
    // Every node has its own ASN.
    '   bgp bestpath as-path multipath-relax',
    `   maximum-paths ${router.ecmpPathsMax} ecmp ${router.ecmpPathsMax}`,
    ...sessions.flatMap(sessionLines),
    ...FAMILIES.flatMap((family) => familyLines(sessions, family)),
    '',
  ].join('\n')
}

function sessionLines({ name, group, timers, peers, ranges }: Sessions): string[] {
  const of = (text: string) => `   neighbor ${name} ${text}`
  const { bfd, listen } = group
  return [
    of('peer group'),
    of(`timers ${timers.keepaliveSeconds} ${timers.holdSeconds}`),
    of(`idle-restart-timer ${timers.connectRetrySeconds}`),
    of('graceful-restart-helper'),
    of(`maximum-routes ${group.prefixesMax} warning-limit ${WARN_PERCENT} percent`),
    ...(group.passive ? [of('transport connection-mode passive')] : []),
    ...(group.password === undefined ? [] : [of(`password 0 ${group.password}`)]),
    ...(group.multihopTtl === undefined ? [] : [of(`ebgp-multihop ${group.multihopTtl}`)]),
    ...(group.ttlSecurityHops === undefined ? [] : [of(`ttl maximum-hops ${group.ttlSecurityHops}`)]),
    ...(bfd
      ? [
          of('bfd'),
          of(`bfd interval ${bfd.intervalMs} min-rx ${bfd.intervalMs} multiplier ${bfd.multiplier}`),
        ]
      : []),
    ...peers.flatMap((peer) =>
      peer.interface === undefined
        ? [
            `   neighbor ${peer.address} peer group ${name}`,
            `   neighbor ${peer.address} remote-as ${peer.asn}`,
            `   neighbor ${peer.address} description ${peer.name}`,
            ...(peer.localAddress === ''
              ? []
              : [`   neighbor ${peer.address} local-address ${peer.localAddress}`]),
          ]
        : [`   neighbor interface ${peer.interface} peer-group ${name} remote-as ${peer.asn}`],
    ),
    ...ranges.map(
      (range) =>
        `   bgp listen range ${range} peer-group ${name} ` +
        (listen?.asn === 'external' ? `peer-filter ${ANY_ASN}` : `remote-as ${listen?.asn}`),
    ),
  ]
}

function familyLines(sessions: readonly Sessions[], family: Family): string[] {
  const carrying = sessions.filter(({ carries }) => carries.includes(family))
  if (carrying.length === 0) return []
  return [
    `   address-family ${family}`,
    ...carrying.flatMap(({ name, group, family: outer }) => [
      `      neighbor ${name} activate`,
      `      neighbor ${name} route-map ${policyName(group, family, 'in')} in`,
      `      neighbor ${name} route-map ${policyName(group, family, 'out')} out`,
      ...(family === 'ipv4' && outer === 'ipv6'
        ? [`      neighbor ${name} next-hop address-family ipv6 originate`]
        : []),
    ]),
  ]
}
