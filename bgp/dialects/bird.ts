// BIRD 2: configuration text. Pure.

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
} from './model.ts'

/** After an error BIRD waits at least and at most this long; its defaults (60 and 300) would keep a mended link down. */
const ERROR_WAIT_SECONDS = '2,10'

/** The whole of bird.conf; of a router without a name what its own file includes. */
export function birdConfig(router: RouterModel): string {
  checkModelNames(router)
  const { name, groups } = router
  const whole = name === undefined ? includedLines(router) : wholeLines(router, name)
  return [
    ...whole,
    ...groups.flatMap((group) => familiesCarried(group).flatMap((family) => policyLines(group, family))),
    ...groups.flatMap(sessionsOf).flatMap((sessions) => sessionLines(router, sessions)),
    '',
  ].join('\n')
}

function wholeLines(router: RouterModel, name: string): string[] {
  const { routerId } = router
  return [
    ...remarkLines(router, '#'),
    'log stderr all;',
    `hostname "${name}";`,
    ...(routerId === undefined ? [] : [`router id ${routerId};`]),
    ...directLines(router),
    ...commonLines(router),
  ]
}

/** BIRD takes a device protocol and, of each table, a kernel's once only: they are the including file's. */
function includedLines(router: RouterModel): string[] {
  const { ownPrefixes, remarks = [] } = router
  return [
    ...remarkLines(
      {
        ...router,
        remarks: [
          'A part of bird.conf, not the whole: keep it in a file of its own, name it there with: include "FILE";',
          "and say: birdc configure. Printed anew it takes the file's place, and sessions go on.",
          ...remarks,
          'What it needs besides stands in most files already, and may only once. If yours lacks it:',
          ...commonLines(router).map((line) => `  ${line}`),
        ],
      },
      '#',
    ),
    ...(ownPrefixes.length === 0 ? [] : directLines(router)),
  ]
}

function commonLines(router: RouterModel): string[] {
  return [
    'protocol device { scan time 5; }',
    ...FAMILIES.flatMap((family) => kernelLines(router, family)),
    ...(router.groups.some(({ bfd }) => bfd) ? ['protocol bfd bfd1 {}'] : []),
  ]
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

/** Reads the answer to `show bfd sessions`. */
export function readBirdBfd(text: string): BfdSessionState[] {
  return [...text.matchAll(/^(\S+)\s+\S+\s+(Up|Down|Init|AdminDown)\s/gm)].map(([, address = '', state]) => ({
    address,
    isUp: state === 'Up',
  }))
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

/** BIRD keeps all symbols in one space: a group must not collide with a peer of the same name. */
function symbolOf(group: PeerGroup, family: Family): string {
  return `group_${group.name.replaceAll('-', '_')}_${family}`
}

function policyLines(group: PeerGroup, family: Family): string[] {
  const name = symbolOf(group, family)
  return [
    ...filterLines(`${name}_in`, family, group.accept),
    ...filterLines(`${name}_out`, family, group.announce),
  ]
}

function sessionLines(
  router: RouterModel,
  { group, family, carries, peers, ranges, timers }: Sessions,
): string[] {
  const name = symbolOf(group, family)
  return [
    `template bgp ${name} {`,
    `  local as ${router.asn};`,
    `  hold time ${timers.holdSeconds};`,
    `  keepalive time ${timers.keepaliveSeconds};`,
    `  connect retry time ${timers.connectRetrySeconds};`,
    '  connect delay time 1;',
    `  error wait time ${ERROR_WAIT_SECONDS};`,
    '  graceful restart aware;',
    // Of a session over several hops no link is known.
    ...(group.multihopTtl === undefined ? ['  check link yes;'] : [`  multihop ${group.multihopTtl};`]),
    ...(group.passive ? ['  passive yes;'] : []),
    ...(group.password === undefined ? [] : [`  password "${group.password}";`]),
    ...ttlSecurityLines(group),
    ...(group.bfd
      ? [`  bfd { interval ${group.bfd.intervalMs} ms; multiplier ${group.bfd.multiplier}; };`]
      : []),
    ...carries.flatMap((carried) => [
      `  ${carried} {`,
      '    import keep filtered on;',
      `    import filter ${symbolOf(group, carried)}_in;`,
      `    export filter ${symbolOf(group, carried)}_out;`,
      `    import limit ${group.prefixesMax} action block;`,
      ...(carried === 'ipv4' && family === 'ipv6' ? ['    extended next hop on;'] : []),
      '  };',
    ]),
    '}',
    ...peers.map((peer) => `protocol bgp ${birdProtocolName(peer)} from ${name} { ${neighborText(peer)} }`),
    ...ranges.map((range, index) => {
      const { asn } = group.listen ?? {}
      const from = asn === 'external' ? 'external' : `as ${asn}`
      const dynamic = `dynamic name "${name}_";`
      return `protocol bgp ${name}_range${index} from ${name} { ${dynamic} neighbor range ${range} ${from}; }`
    }),
  ]
}

/** BIRD takes the hops from `multihop`, and one for granted. */
function ttlSecurityLines({ ttlSecurityHops: hops }: PeerGroup): string[] {
  if (hops === undefined) return []
  return [...(hops > 1 ? [`  multihop ${hops};`] : []), '  ttl security on;']
}

function neighborText({ asn, address, localAddress, interface: link }: Peer): string {
  if (link !== undefined) return `neighbor ${address}%'${link}' as ${asn};`
  return `${localAddress === '' ? '' : `source address ${localAddress}; `}neighbor ${address} as ${asn};`
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
