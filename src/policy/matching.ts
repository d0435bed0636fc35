// Whether a peer, a port or a subject of a policy is meant: one question each, asked of one packet.

import { type Address, familyOf, type Prefix, prefixContains } from '../model/address.ts'
import { selectorMatches, serviceLabels } from '../model/label-selector.ts'
import {
  type NetworksCover,
  PORT_MAX,
  type PolicyEntity,
  type PolicyPacket,
  type PolicyPeer,
  type PolicySubject,
  type PolicyWorld,
  type PortMatch,
  type PortRange,
} from '../model/policy.ts'
import { groupPrefixes, knownGroups } from './network-groups.ts'
import { namespaceLabels, type Party } from './parties.ts'

/** Nodes are protected by themselves only: a packet to another node is judged there. */
export function subjectMatches(subject: PolicySubject, party: Party): boolean {
  if (subject.kind === 'nodes')
    return party.kind === 'node' && party.isJudge && selectorMatches(subject.labels, party.node.labels)
  return (
    party.kind === 'pod' &&
    selectorMatches(subject.namespaces, party.namespaceLabels) &&
    selectorMatches(subject.pods, party.labels)
  )
}

function isWorld(party: Party, family: 'ipv4' | 'ipv6' | undefined): boolean {
  return party.kind === 'outside' && (family === undefined || familyOf(party.address as Address) === family)
}

/** Addresses in lists say who someone is, unless whoever sent this only borrowed the address. */
function isListed(addresses: readonly string[], party: Party): boolean {
  const isBorrowed = party.kind === 'outside' && party.isMasqueraded
  return !isBorrowed && addresses.includes(party.address)
}

function entityMatches(entity: PolicyEntity, party: Party, world: PolicyWorld): boolean {
  switch (entity) {
    case 'all':
      return true
    case 'world':
      return isWorld(party, undefined)
    case 'world-ipv4':
      return isWorld(party, 'ipv4')
    case 'world-ipv6':
      return isWorld(party, 'ipv6')
    case 'cluster':
      return party.kind !== 'outside'
    case 'host':
      return party.kind === 'node' && party.isJudge
    case 'remote-node':
      return party.kind === 'node' && !party.isJudge
    case 'kube-apiserver':
      return isListed(world.apiServers, party)
    // Weir has no such endpoints.
    case 'ingress':
    case 'init':
    case 'health':
    case 'unmanaged':
      return false
    case 'none':
      return false
  }
}

function networksMatch(
  prefixes: readonly Prefix[],
  { except, covers }: { readonly except: readonly Prefix[]; readonly covers: NetworksCover },
  party: Party,
): boolean {
  if (covers === 'outside' && party.kind !== 'outside') return false
  const isIn = (prefix: Prefix) => prefixContains(prefix, party.address as Address)
  return prefixes.some(isIn) && !except.some(isIn)
}

function serviceEndpoints(
  wanted: Extract<PolicyPeer, { kind: 'services' }>['services'],
  world: PolicyWorld,
): readonly string[] {
  return world.services
    .filter((service) =>
      'key' in wanted
        ? service.key === wanted.key
        : selectorMatches(wanted.namespaces, namespaceLabels(world, service.namespace)) &&
          selectorMatches(wanted.labels, serviceLabels(service.key, service.labels)),
    )
    .flatMap((service) => service.endpoints)
}

export function peerMatches(peer: PolicyPeer, party: Party, world: PolicyWorld): boolean {
  switch (peer.kind) {
    case 'pods':
      return (
        party.kind === 'pod' &&
        selectorMatches(peer.namespaces, party.namespaceLabels) &&
        selectorMatches(peer.pods, party.labels)
      )
    case 'nodes':
      return party.kind === 'node' && selectorMatches(peer.labels, party.node.labels)
    case 'networks':
      return networksMatch([peer.prefix], peer, party)
    case 'network-groups':
      return networksMatch(groupPrefixes(peer, knownGroups(world)), peer, party)
    case 'entity':
      return entityMatches(peer.entity, party, world)
    case 'services':
      return isListed(serviceEndpoints(peer.services, world), party)
  }
}

export function isInRange({ protocol, first, last }: PortRange, packet: PolicyPacket): boolean {
  return packet.protocol === protocol && packet.port >= first && packet.port <= last
}

/** Whether a match speaks of ports, not just of a protocol. */
export function namesPorts(match: PortMatch): boolean {
  return match.kind !== 'ports' || match.first > 0 || match.last < PORT_MAX
}

/** @param destination whose port it is: names of ports are the destination pod's, whichever direction is judged */
export function portMatches(match: PortMatch, packet: PolicyPacket, destination: Party): boolean {
  switch (match.kind) {
    case 'ports':
      return isInRange(match, packet)
    case 'icmp':
      return (
        packet.protocol === 'icmp' &&
        familyOf(packet.destination as Address) === match.family &&
        packet.port === match.type
      )
    case 'named':
      if (match.protocol !== undefined && match.protocol !== packet.protocol) return false
      return (
        destination.kind === 'pod' &&
        destination.pod.namedPorts.some(
          ({ name, protocol, port }) =>
            name === match.name && protocol === packet.protocol && port === packet.port,
        )
      )
  }
}
