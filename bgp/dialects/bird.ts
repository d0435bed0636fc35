// BIRD 2: configuration text. Pure.
// BIRD has one list of channels per session; here each session has exactly one, of the family of its addresses.

import {
  checkModelNames,
  FAMILIES,
  type Family,
  ofFamily,
  type Peer,
  type PeerGroup,
  type PrefixRule,
  type RouterModel,
  type SessionState,
  sessionOf,
  TIMERS,
} from './model.ts'

/** After an error BIRD waits at least and at most this long; its defaults (60 and 300) would keep a mended link down. */
const ERROR_WAIT_SECONDS = '2,10'

/** The whole of bird.conf. */
export function birdConfig(router: RouterModel): string {
  checkModelNames(router)
  return [
    'log stderr all;',
    `hostname "${router.name}";`,
    `router id ${router.routerId};`,
    'protocol device { scan time 5; }',
    ...directLines(router),
    ...FAMILIES.flatMap((family) => kernelLines(router, family)),
    ...(router.groups.some(({ bfd }) => bfd) ? ['protocol bfd bfd1 {}'] : []),
    ...router.groups.flatMap((group) => FAMILIES.flatMap((family) => groupLines(router, group, family))),
    '',
  ].join('\n')
}

/** The name of a peer's protocol, as `birdc show protocols` lists it: `node1_ipv4`. */
export function birdProtocolName(peer: Peer): string {
  return `${peer.name.replaceAll('-', '_')}_${peer.address.includes(':') ? 'ipv6' : 'ipv4'}`
}

/** Reads the answer to `show protocols all`: one entry per peer, also for one that BIRD does not list. */
export function readBirdSessions(text: string, peers: readonly Peer[]): SessionState[] {
  const blocks = new Map(text.split(/\n(?=\S)/).map((block) => [block.split(/\s/, 1)[0] ?? '', block]))
  return peers.map((peer) => {
    const block = blocks.get(birdProtocolName(peer))
    const state = /BGP state:\s+(.+)/.exec(block ?? '')?.[1]?.trim() ?? 'not configured'
    return sessionOf(peer, state, Number(/Routes:\s+(\d+) imported/.exec(block ?? '')?.[1] ?? 0))
  })
}

function directLines(router: RouterModel): string[] {
  return [
    ...FAMILIES.flatMap((family) => filterLines(`own_${family}`, family, router.ownPrefixes)),
    // check link: a connected prefix goes with its cable, as it does in the kernel.
    'protocol direct { check link yes; ipv4 { import filter own_ipv4; }; ipv6 { import filter own_ipv6; }; }',
  ]
}

function kernelLines(router: RouterModel, family: Family): string[] {
  return [
    `protocol kernel kernel_${family} {`,
    '  scan time 30;',
    `  merge paths on limit ${router.ecmpPathsMax};`,
    `  ${family} { import none; export where source != RTS_DEVICE; };`,
    '}',
  ]
}

function groupLines(router: RouterModel, group: PeerGroup, family: Family): string[] {
  const peers = ofFamily(group.peers, family)
  if (peers.length === 0) return []
  // BIRD keeps all symbols in one space: a group must not collide with a peer of the same name.
  const name = `group_${group.name.replaceAll('-', '_')}_${family}`
  return [
    ...filterLines(`${name}_in`, family, group.accept),
    ...filterLines(`${name}_out`, family, group.announce),
    `template bgp ${name} {`,
    `  local as ${router.asn};`,
    `  hold time ${TIMERS.holdSeconds};`,
    `  keepalive time ${TIMERS.keepaliveSeconds};`,
    `  connect retry time ${TIMERS.connectRetrySeconds};`,
    '  connect delay time 1;',
    `  error wait time ${ERROR_WAIT_SECONDS};`,
    '  graceful restart aware;',
    '  check link yes;',
    ...(group.passive ? ['  passive yes;'] : []),
    ...(group.bfd
      ? [`  bfd { interval ${group.bfd.intervalMs} ms; multiplier ${group.bfd.multiplier}; };`]
      : []),
    `  ${family} {`,
    '    import keep filtered on;',
    `    import filter ${name}_in;`,
    `    export filter ${name}_out;`,
    `    import limit ${group.prefixesMax} action block;`,
    '  };',
    '}',
    ...peers.map(
      (peer) =>
        `protocol bgp ${birdProtocolName(peer)} from ${name} { ` +
        `source address ${peer.localAddress}; neighbor ${peer.address} as ${peer.asn}; }`,
    ),
  ]
}

/** Unlike FRR, BIRD knows graceful shutdown only if a filter says so. */
function filterLines(name: string, family: Family, rules: readonly PrefixRule[]): string[] {
  const members = ofFamily(rules, family).map((rule) => `${rule.prefix}{${rule.lengthMin},${rule.lengthMax}}`)
  // An empty set is a syntax error in BIRD.
  if (members.length === 0) return [`filter ${name} { reject; }`]
  return [
    `filter ${name} {`,
    `  if !(net ~ [ ${members.join(', ')} ]) then reject;`,
    ...(name.endsWith('_in') ? ['  if (65535, 0) ~ bgp_community then bgp_local_pref = 0;'] : []),
    '  accept;',
    '}',
  ]
}
