// What the model promises to everybody behind it, whichever source filled it.

import { familyOf, parsePrefix, prefixParts } from '../../../../src/model/address.ts'
import { parseCommunity } from '../../../../src/model/communities.ts'
import { type NodeRouting, PREPEND_MAX } from '../../../../src/model/routing.ts'

/** @returns what does not hold on the node 10.255.0.1 */
export function broken({ asn, routerId, podCidrs, peers, rules }: NodeRouting): string[] {
  const names = peers.map(({ name }) => name)
  const remotes = peers.map(({ remote }) => (remote.kind === 'address' ? remote.address : remote.interface))
  const isQuad = (text: string) => familyOf(text as never) === 'ipv4'
  const isSortedSet = (all: readonly string[]) => [...new Set(all)].sort().join() === all.join()
  const checks: [string, boolean][] = [
    ['asn', Number.isInteger(asn) && asn >= 1],
    ['router id', isQuad(routerId)],
    ['unique names', new Set(names).size === names.length],
    ['unique remotes', new Set(remotes).size === remotes.length],
    ['not ourselves', !remotes.includes('10.255.0.1')],
    ['pod networks', podCidrs.every((one) => parsePrefix(one) === one && prefixParts(one).length > 0)],
    ...peers.flatMap((peer): [string, boolean][] => [
      ['families', peer.families.length > 0 && new Set(peer.families).size === peer.families.length],
      ['hold', peer.timers.holdSeconds >= 3 && peer.timers.keepaliveSeconds < peer.timers.holdSeconds],
      ['ports', peer.port >= 1 && peer.port <= 65_535],
      ['gtsm or multihop', peer.ttlSecurityMin === undefined || peer.multihopTtl === undefined],
      ['cluster id', peer.reflectorClient === undefined || isQuad(peer.reflectorClient.clusterId)],
      ['imports', (peer.imports?.prefixes ?? []).every(({ lengthMin, lengthMax }) => lengthMin <= lengthMax)],
      ['no password but whole', peer.password?.kind !== 'inline' || peer.password.text !== ''],
    ]),
    ...rules.flatMap((rule): [string, boolean][] => [
      ['kinds', rule.kinds.length > 0],
      [
        'peers of rules',
        (rule.peers ?? names).every((name) => names.includes(name)) && rule.peers?.length !== 0,
      ],
      ['sorted peers', isSortedSet(rule.peers ?? [])],
      ['prepend', rule.attributes.prepend >= 0 && rule.attributes.prepend <= PREPEND_MAX],
      [
        'communities',
        rule.attributes.communities.every((text) => parseCommunity(text)?.text === text) &&
          new Set(rule.attributes.communities).size === rule.attributes.communities.length,
      ],
    ]),
  ]
  return checks.filter(([, holds]) => !holds).map(([name]) => name)
}
