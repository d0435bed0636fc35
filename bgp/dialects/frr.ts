// FRRouting: configuration text for zebra, bgpd and bfdd (8.x to 10.x), and the reading of its JSON answers. Pure.
// Only commands that the daemons read from their own file (`-f`) are used: no vtysh, staticd or mgmtd is needed.

import {
  type BfdSessionState,
  checkModelNames,
  FAMILIES,
  type Family,
  familiesCarried,
  ofFamily,
  type Peer,
  type PeerGroup,
  type PrefixRule,
  type RouterModel,
  remarkLines,
  type SessionState,
  type Sessions,
  sessionOf,
  sessionsOf,
  WARN_PERCENT,
} from './model.ts'

/** bgpd's configuration file. */
export function frrBgpConfig(router: RouterModel): string {
  checkModelNames(router)
  return [
    ...headLines(router),
    // Policy before sessions: a route-map that appears after its neighbor takes effect only with FRR's delay of 5 s.
    ...ownPolicyLines(router),
    ...router.groups.flatMap((group) =>
      familiesCarried(group).flatMap((family) => policyLines(router, group, family)),
    ),
    `router bgp ${router.asn}`,
    ...(router.routerId === undefined ? [] : [` bgp router-id ${router.routerId}`]),
    ' bgp log-neighbor-changes',
    // RFC 8212 is FRR's default, but stated: every session below has its two route-maps.
    ' bgp ebgp-requires-policy',
    ' no bgp default ipv4-unicast',
    // Without it only paths with the very same AS_PATH share load, and every node has its own ASN.
    ' bgp bestpath as-path multipath-relax',
    ...router.groups.flatMap(sessionsOf).flatMap((sessions) => sessionLines(router, sessions)),
    ...FAMILIES.flatMap((family) => familyLines(router, family)),
    'exit',
    '',
  ].join('\n')
}

const OVER_ITSELF =
  'Give it to vtysh -f. Lists, maps and settings of an earlier print make room for these, and sessions go on.'
const OVER_OTHERS =
  'A neighbour that is there by hand or in another peer-group keeps what it has, and FRR may refuse it: print with --replace, which ends its session.'
const REPLACING =
  'Give it to vtysh -f. The neighbours and peer-groups named here are removed and made anew: their sessions end, and begin again.'
const HEARING =
  "Give each interface with such callers 'no ipv6 nd suppress-ra', unless zebra has nexthop kernel enable: FRR finds the way to their IPv4 by router advertisements, and hears none otherwise."

/**
 * What vtysh reads as one file (`vtysh -f`, or a part of frr.conf): sessions, policy and BFD. A router without a name takes it over an
 * earlier one.
 */
export function frrIntegratedConfig(router: RouterModel): string {
  const withBfd = router.groups.some(({ bfd }) => bfd)
  const { remarks = [], ...plain } = router
  const parts = [...(withBfd ? [frrBfdConfig(plain)] : []), frrBgpConfig(plain)]
  const hasPassword = router.groups.some(({ password }) => password !== undefined)
  const ofPassword = hasPassword
    ? ['FRR takes a password of one word: with a blank in it the line is refused.']
    : []
  const isAnybodyMapped = router.groups
    .flatMap(sessionsOf)
    .some(({ family, carries, ranges }) => isMappedSession(family, carries) && ranges.length > 0)
  const ofRanges = isAnybodyMapped ? [HEARING] : []
  const all = [...overRemarks(router), ...remarks, ...ofPassword, ...ofRanges]
  return [...remarkLines({ ...router, remarks: all }, '!'), ...parts].join('\n')
}

function overRemarks({ name, isReplacing }: RouterModel): string[] {
  if (name !== undefined) return []
  return isReplacing ? [REPLACING] : [OVER_ITSELF, OVER_OTHERS]
}

function headLines({ name }: RouterModel): string[] {
  return name === undefined ? [] : [`hostname ${name}`, 'frr defaults traditional']
}

function ownPolicyLines({ name, ownPrefixes }: RouterModel): string[] {
  // A router that is only added to announces what it did before.
  if (name === undefined && ownPrefixes.length === 0) return []
  return [
    ...FAMILIES.flatMap((family) => prefixListLines(ownName(family), family, ownPrefixes)),
    ...FAMILIES.flatMap((family) => routeMapLines(ownName(family), family, ownPrefixes)),
  ]
}

/** zebra's configuration file: it only carries bgpd's routes to the kernel. */
export function frrZebraConfig(router: RouterModel): string {
  checkModelNames(router)
  return [
    ...headLines(router),
    // Routes carry their next hops themselves. With kernel next-hop groups, zebra 8.4 takes a group it re-uses after a link
    // came back for whole, while the kernel has dropped the member of that link: ECMP stays one short for good.
    'no zebra nexthop kernel enable',
    '',
  ].join('\n')
}

/** bfdd's configuration file: a profile for each group that has BFD. The sessions are bgpd's to ask for. */
export function frrBfdConfig(router: RouterModel): string {
  checkModelNames(router)
  return [
    ...headLines(router),
    'bfd',
    ...router.groups.flatMap(({ name, bfd }) =>
      bfd
        ? [
            ` profile ${name}`,
            `  detect-multiplier ${bfd.multiplier}`,
            `  receive-interval ${bfd.intervalMs}`,
            `  transmit-interval ${bfd.intervalMs}`,
            ' exit',
          ]
        : [],
    ),
    'exit',
    '',
  ].join('\n')
}

/** Reads the answer to `show bgp summary json`: one entry per peer, also for one that FRR does not list. */
export function readFrrSessions(json: string, peers: readonly Peer[]): SessionState[] {
  const answer = JSON.parse(json) as Record<string, { peers?: Record<string, FrrPeer> }>
  const rows = { ...answer['ipv4Unicast']?.peers, ...answer['ipv6Unicast']?.peers }
  return peers.map((peer) => {
    // An unnumbered one is listed by its interface.
    const row = rows[peer.interface ?? peer.address]
    return sessionOf(peer, row?.state ?? 'not configured', row?.pfxRcd ?? 0)
  })
}

/** Reads the answer to `show bfd peers json`. */
export function readFrrBfd(json: string): BfdSessionState[] {
  const rows = JSON.parse(json) as readonly { readonly peer: string; readonly status: string }[]
  return rows.map(({ peer, status }) => ({ address: peer, isUp: status === 'up' }))
}

/** A prime; few enough for five digits. */
const NUMBERS = 65_521

interface FrrPeer {
  readonly state: string
  /** Prefixes that passed the filter. */
  readonly pfxRcd?: number
}

function sessionLines(
  router: RouterModel,
  { name, group, family, carries, peers, ranges, timers }: Sessions,
): string[] {
  const of = (text: string) => ` neighbor ${name} ${text}`
  const isMapped = isMappedSession(family, carries)
  return [
    ...replacingLines(router, name, peers),
    of('peer-group'),
    ...(router.name === undefined ? resetLines(group, isMapped, peers).map((text) => ` no${of(text)}`) : []),
    of(`timers ${timers.keepaliveSeconds} ${timers.holdSeconds}`),
    of(`timers connect ${timers.connectRetrySeconds}`),
    of('advertisement-interval 0'),
    ...gracefulRestartLines(of),
    ...(isPassive(group, isMapped, peers) ? [of('passive')] : []),
    ...(group.password === undefined ? [] : [of(`password ${group.password}`)]),
    ...(group.multihopTtl === undefined ? [] : [of(`ebgp-multihop ${group.multihopTtl}`)]),
    ...(group.ttlSecurityHops === undefined ? [] : [of(`ttl-security hops ${group.ttlSecurityHops}`)]),
    ...(isMapped ? [of('capability extended-nexthop')] : []),
    // Without check-control-plane-failure: it has FRR ignore the loss of BFD while a peer restarts that does not say C (RFC 5882, 4.3).
    // Weir says it, and 8.4 keeps stale routes for the whole restart time all the same.
    ...(group.bfd ? [of('bfd'), of(`bfd profile ${group.name}`)] : []),
    ...peers.flatMap((peer) => peerLines(peer, name)),
    ...(ranges.length > 0 ? [of(`remote-as ${group.listen?.asn}`)] : []),
    ...ranges.map((range) => ` bgp listen range ${range} peer-group ${name}`),
  ]
}

/** IPv4 with IPv6 next hops (RFC 8950). */
function isMappedSession(family: Family, carries: readonly Family[]): boolean {
  return family === 'ipv6' && carries.includes('ipv4')
}

/**
 * Never where IPv4 has IPv6 next hops and the session has addresses: 8.4 looks for the interface of such a neighbour as it makes ready to call,
 * finds it otherwise by chance, and hears router advertisements on no other. Without one it sends that IPv4 to 169.254.0.1, which nobody has,
 * unless zebra has kernel next-hop groups.
 */
function isPassive({ passive }: PeerGroup, isMapped: boolean, peers: readonly Peer[]): boolean {
  return passive && !(isMapped && peers.some(({ interface: link }) => link === undefined))
}

/** What is removed has to be there: FRR 8.4 refuses to remove a group or an interface's neighbour that is not. */
function replacingLines(
  { name: router, isReplacing }: RouterModel,
  group: string,
  peers: readonly Peer[],
): string[] {
  if (router !== undefined || !isReplacing) return []
  return [
    ...peers.flatMap(({ address, asn, interface: link }) =>
      link === undefined
        ? [` no neighbor ${address}`]
        : [` neighbor ${link} interface v6only remote-as ${asn}`, ` no neighbor ${link} interface`],
    ),
    ` neighbor ${group} peer-group`,
    ` no neighbor ${group} peer-group`,
  ]
}

/**
 * What an earlier group of the name may have and this one has not. Each is taken in silence where it is not set, and ends no session. TTLs
 * only where the group has none: FRR 8.4 sets both back whichever is named, which would end a session that has one.
 */
function resetLines(group: PeerGroup, isMapped: boolean, peers: readonly Peer[]): string[] {
  const hasTtl = group.multihopTtl !== undefined || group.ttlSecurityHops !== undefined
  return [
    ...(isPassive(group, isMapped, peers) ? [] : ['passive']),
    ...(group.password === undefined ? ['password'] : []),
    ...(hasTtl ? [] : ['ttl-security hops 1', 'ebgp-multihop']),
    ...(isMapped ? [] : ['capability extended-nexthop']),
    ...(group.bfd ? [] : ['bfd']),
  ]
}

/** Helper, whatever the router is to others. FRR 8.4 refuses the mode that a peer has already, so another one comes before it; the session goes on. */
function gracefulRestartLines(of: (text: string) => string): string[] {
  return [of('graceful-restart-disable'), of('graceful-restart-helper')]
}

function peerLines({ name, asn, address, localAddress, interface: link }: Peer, group: string): string[] {
  const one = ` neighbor ${link ?? address}`
  return [
    // Without v6only it would take the other end of an IPv4 network on the link.
    link === undefined ? `${one} remote-as ${asn}` : `${one} interface v6only remote-as ${asn}`,
    `${one} peer-group ${group}`,
    `${one} description ${name}`,
    ...(link === undefined && localAddress !== '' ? [`${one} update-source ${localAddress}`] : []),
  ]
}

function familyLines(router: RouterModel, family: Family): string[] {
  const all = router.groups.flatMap(sessionsOf)
  const sessions = all.filter(({ carries }) => carries.includes(family))
  const others = router.name === undefined ? all.filter(({ carries }) => !carries.includes(family)) : []
  return [
    ` address-family ${family} unicast`,
    ...(ofFamily(router.ownPrefixes, family).length > 0
      ? [`  redistribute connected route-map ${ownName(family)}`]
      : []),
    ...others.map(({ name }) => `  no neighbor ${name} activate`),
    ...sessions.flatMap(({ name, group }) => [
      `  neighbor ${name} activate`,
      // Refused prefixes stay visible: `show bgp … neighbors X received-routes`.
      `  neighbor ${name} soft-reconfiguration inbound`,
      `  neighbor ${name} route-map ${policyName(group, family)}-in in`,
      `  neighbor ${name} route-map ${policyName(group, family)}-out out`,
      // A session that breaks the limit is torn down, and tried again after a minute.
      `  neighbor ${name} maximum-prefix ${group.prefixesMax} ${WARN_PERCENT} restart 1`,
    ]),
    `  maximum-paths ${router.ecmpPathsMax}`,
    ' exit-address-family',
  ]
}

/** On a router that runs, what is gone must leave the lists: they are made anew, and FRR judges routes by what is there 5 s later. */
function policyLines(router: RouterModel, group: PeerGroup, family: Family): string[] {
  const name = policyName(group, family)
  const keyword = family === 'ipv4' ? 'ip' : 'ipv6'
  return [
    ...(router.name === undefined
      ? ['in', 'out'].flatMap((way) => [
          `no ${keyword} prefix-list ${name}-${way}`,
          `no route-map ${name}-${way}`,
        ])
      : []),
    ...prefixListLines(`${name}-in`, family, group.accept),
    ...prefixListLines(`${name}-out`, family, group.announce),
    ...routeMapLines(`${name}-in`, family, group.accept),
    ...routeMapLines(`${name}-out`, family, group.announce),
  ]
}

/**
 * An entry keeps its number whatever stands beside it: where `vtysh -f` has one come to stand under another's number, FRR 8.4 shows both and
 * matches one.
 */
function prefixListLines(name: string, family: Family, rules: readonly PrefixRule[]): string[] {
  const keyword = family === 'ipv4' ? 'ip' : 'ipv6'
  const taken = new Set<number>()
  return ofFamily(rules, family).map((rule) => {
    const entry = `permit ${rule.prefix}${lengthRange(rule)}`
    return `${keyword} prefix-list ${name} seq ${numberOf(entry, taken)} ${entry}`
  })
}

/** The order of entries that all permit is nothing. */
function numberOf(entry: string, taken: Set<number>): number {
  let number = [...entry].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % NUMBERS, 7) + 1
  while (taken.has(number)) number = (number % NUMBERS) + 1
  taken.add(number)
  return number
}

/** FRR refuses `ge` equal to the prefix's own length, and needs no `le` below it. */
function lengthRange(rule: PrefixRule): string {
  const own = Number(rule.prefix.split('/')[1])
  if (rule.lengthMin === own && rule.lengthMax === own) return ''
  return `${rule.lengthMin > own ? ` ge ${rule.lengthMin}` : ''} le ${rule.lengthMax}`
}

/** Without a rule, the map denies all. FRR itself lowers the local preference of graceful-shutdown paths to 0. */
function routeMapLines(name: string, family: Family, rules: readonly PrefixRule[]): string[] {
  if (ofFamily(rules, family).length === 0) return [`route-map ${name} deny 10`, 'exit']
  const keyword = family === 'ipv4' ? 'ip' : 'ipv6'
  return [`route-map ${name} permit 10`, ` match ${keyword} address prefix-list ${name}`, 'exit']
}

function policyName(group: PeerGroup, family: Family): string {
  return `${group.name}-${family}`
}

function ownName(family: Family): string {
  return `own-${family}`
}
