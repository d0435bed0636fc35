// gobgpd 3.10 as far as exports go, as a model: one path per prefix, policy at the moment of sending, and what each peer was sent. Its
// two faults are in it: when policy or sets grow narrower nothing is withdrawn, and a soft reset withdraws nothing either. A path that
// is replaced is judged under the policy of that moment, new and old: accepted, it is sent; else withdrawn from whoever would have got the
// old one.

import type {
  DefinedSet,
  GobgpClient,
  Path,
  Peer,
  PeerSettings,
  Policy,
  PolicyAssignment,
  PolicyStatement,
} from '../../../bgp/client/gobgp-grpc-client.ts'
import { type Prefix, prefixParts } from '../../../src/model/address.ts'

/** What a peer sees of a path, as text. */
export type Sent = ReadonlyMap<string, ReadonlyMap<string, string>>

export class GobgpdModel {
  readonly #sets = new Map<string, DefinedSet>()
  readonly #policies = new Map<string, Policy>()
  #exports: PolicyAssignment = { direction: 'export', policies: [], defaultAction: 'reject' }
  readonly #paths = new Map<string, Path>()
  readonly #peers = new Map<string, PeerSettings>()
  readonly #sent = new Map<string, Map<string, string>>()
  /** Called after every call that could have changed what peers see. */
  onStep: (call: string) => void = () => {}

  get sent(): Sent {
    return this.#sent
  }

  get policyCount(): number {
    return this.#policies.size
  }

  get setNames(): string[] {
    return [...this.#sets.keys()]
  }

  /** Killed, and back with nothing; under graceful restart peers keep what they have until they are told the end of it. */
  restart(): void {
    this.#sets.clear()
    this.#policies.clear()
    this.#paths.clear()
    this.#peers.clear()
    this.#exports = { direction: 'export', policies: [], defaultAction: 'reject' }
  }

  client(): GobgpClient {
    const step = async (call: string, change: () => void) => {
      // As over a socket: nothing happens in the same turn.
      await Promise.resolve()
      change()
      this.onStep(call)
    }
    const calls = {
      startIfIdle: async () => ({ asn: 65101, routerId: '10.255.0.1', apiVersion: 3 as const }),
      listPeers: async () => [...this.#peers.values()].map(asPeer),
      listOwnPaths: async (family: string) =>
        [...this.#paths.values()].filter(({ prefix }) => prefix.includes(':') === (family === 'ipv6')),
      listSets: async (kind: string) => [...this.#sets.values()].filter((set) => set.kind === kind),
      addSetMembers: (set: DefinedSet) => step('addSetMembers', () => this.#addMembers(set)),
      deleteSetMembers: (set: DefinedSet) => step('deleteSetMembers', () => this.#deleteMembers(set)),
      deleteSet: (_: string, name: string) => step('deleteSet', () => this.#deleteSet(name)),
      listPolicies: async () => [...this.#policies.values()],
      addPolicy: (policy: Policy) => step('addPolicy', () => this.#addPolicy(policy)),
      deletePolicy: (name: string) => step('deletePolicy', () => this.#deletePolicy(name)),
      getAssignment: async (direction: string) =>
        direction === 'export' ? this.#exports : { direction, policies: ['x'], defaultAction: 'reject' },
      setAssignment: (assignment: PolicyAssignment) =>
        step('setAssignment', () => {
          if (assignment.direction === 'export') this.#exports = assignment
        }),
      applyPaths: async ({
        withdraw,
        announce,
      }: {
        withdraw: readonly string[]
        announce: readonly Path[]
      }) => {
        for (const prefix of withdraw) await step('withdraw', () => this.#withdraw(prefix))
        for (const path of announce) await step('announce', () => this.#announce(path))
      },
      addPeer: (peer: PeerSettings) => step('addPeer', () => this.#addPeer(peer)),
      deletePeer: (remote: { address: string }) =>
        step('deletePeer', () => {
          this.#peers.delete(remote.address)
          this.#sent.delete(remote.address)
        }),
      resetPeer: () => step('resetPeer', () => this.#resend()),
      listBmp: async () => [],
      watchPeers: (_: unknown, signal: AbortSignal) =>
        new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve())),
      close: () => {},
    }
    return calls as unknown as GobgpClient
  }

  #addMembers(set: DefinedSet): void {
    const known = this.#sets.get(set.name)
    const members = [...(known?.members ?? []), ...set.members]
    this.#sets.set(set.name, { ...set, members } as DefinedSet)
  }

  #deleteMembers(set: DefinedSet): void {
    const gone = new Set(set.members.map((member) => JSON.stringify(member)))
    const known = this.#sets.get(set.name)
    const members = (known?.members ?? []).filter((member) => !gone.has(JSON.stringify(member)))
    this.#sets.set(set.name, { ...set, members } as DefinedSet)
  }

  #deleteSet(name: string): void {
    const isUsed = [...this.#policies.values()].some((policy) => JSON.stringify(policy).includes(`"${name}"`))
    if (isUsed) throw new Error(`set ${name} is in use`)
    this.#sets.delete(name)
  }

  #addPolicy(policy: Policy): void {
    const taken = [...this.#policies.values()].flatMap(({ statements }) => statements.map(({ name }) => name))
    for (const { name, conditions } of policy.statements) {
      if (taken.includes(name)) throw new Error(`statement ${name} already defined`)
      const { prefixSet, outsidePrefixSet, neighborSet, largeCommunitySet } = conditions
      for (const set of [prefixSet, outsidePrefixSet, neighborSet, largeCommunitySet?.name])
        if (set !== undefined && !this.#sets.has(set)) throw new Error(`not found set ${set}`)
    }
    this.#policies.set(policy.name, policy)
  }

  #deletePolicy(name: string): void {
    if (this.#exports.policies.includes(name)) throw new Error(`policy ${name} is in use`)
    this.#policies.delete(name)
  }

  #withdraw(prefix: string): void {
    this.#paths.delete(prefix)
    for (const sent of this.#sent.values()) sent.delete(prefix)
  }

  #announce(path: Path): void {
    const old = this.#paths.get(path.prefix)
    this.#paths.set(path.prefix, path)
    for (const [address, sent] of this.#sent) {
      const now = this.#judge(path, address)
      if (now !== undefined) sent.set(path.prefix, now)
      else if (old && this.#judge(old, address) !== undefined) sent.delete(path.prefix)
    }
  }

  /** A session that comes up begins with nothing, or after a restart ends with what is sent then. */
  #addPeer(peer: PeerSettings): void {
    const address = peer.remote.kind === 'address' ? peer.remote.address : peer.remote.interface
    this.#peers.set(address, peer)
    this.#sent.set(address, new Map())
    this.#resend(address)
  }

  #resend(only?: string): void {
    for (const [address, sent] of this.#sent) {
      if (only !== undefined && only !== address) continue
      for (const path of this.#paths.values()) {
        const now = this.#judge(path, address)
        if (now !== undefined) sent.set(path.prefix, now)
      }
    }
  }

  #judge(path: Path, peer: string): string | undefined {
    for (const name of this.#exports.policies)
      for (const statement of this.#policies.get(name)?.statements ?? [])
        if (this.#matches(statement, path, peer))
          return statement.action === 'accept' ? seen(path, statement) : undefined
    return undefined
  }

  #matches({ conditions }: PolicyStatement, path: Path, peer: string): boolean {
    const members = (name: string | undefined) => this.#sets.get(name ?? '')?.members ?? []
    const { prefixSet, outsidePrefixSet, neighborSet, largeCommunitySet, routeType, families } = conditions
    if (routeType !== undefined && routeType !== 'local') return false
    if (families && !families.includes(familyOf(path.prefix))) return false
    if (prefixSet !== undefined && !isInSet(path.prefix, this.#sets.get(prefixSet))) return false
    if (outsidePrefixSet !== undefined && !isOutside(path.prefix, this.#sets.get(outsidePrefixSet)))
      return false
    const neighbors = members(neighborSet) as readonly string[]
    if (neighborSet !== undefined && neighbors.length > 0 && !neighbors.includes(peer)) return false
    const wanted = members(largeCommunitySet?.name) as readonly string[]
    return !largeCommunitySet || (path.largeCommunities ?? []).some((one) => wanted.includes(one))
  }
}

const familyOf = (prefix: string) => (prefix.includes(':') ? 'ipv6' : 'ipv4')

/** Of an empty set gobgpd knows no family, and nothing is outside. */
function isOutside(prefix: string, set: DefinedSet | undefined): boolean {
  const [first] = set?.kind === 'prefix' ? set.members : []
  return first !== undefined && familyOf(first.prefix) === familyOf(prefix) && !isInSet(prefix, set)
}

/** The longest covering member alone is asked. */
function isInSet(prefix: string, set: DefinedSet | undefined): boolean {
  if (set?.kind !== 'prefix') return false
  const { family, first, last, length } = prefixParts(prefix as Prefix)
  const covering = set.members
    .map((member) => ({ ...member, parts: prefixParts(member.prefix as Prefix) }))
    .filter(({ parts }) => parts.family === family && parts.first <= first && parts.last >= last)
  const longest = Math.max(...covering.map(({ parts }) => parts.length))
  return covering.some(
    ({ parts, lengthMin, lengthMax }) =>
      parts.length === longest && lengthMin <= length && length <= lengthMax,
  )
}

function seen(path: Path, { changes }: PolicyStatement): string {
  const change = (
    list: readonly string[] | undefined,
    by: { kind: string; communities: readonly string[] } | undefined,
  ): string[] => {
    if (!by) return [...(list ?? [])]
    if (by.kind === 'replace') return [...by.communities]
    const rest = (list ?? []).filter((one) => !by.communities.includes(one))
    return by.kind === 'add' ? [...rest, ...by.communities] : rest
  }
  return describe({
    communities: change(path.communities, changes?.communities),
    largeCommunities: change(path.largeCommunities, changes?.largeCommunities),
    med: changes?.med?.value ?? path.med,
    prepend: changes?.prepend?.repeat ?? 0,
  })
}

export interface Seen {
  readonly communities: readonly string[]
  readonly largeCommunities: readonly string[]
  readonly med: number | undefined
  readonly prepend: number
}

export function describe({ communities, largeCommunities, med, prepend }: Seen): string {
  const sorted = (list: readonly string[]) => [...new Set(list)].sort().join(' ')
  return `${sorted(communities)}|${sorted(largeCommunities)}|${med ?? ''}|${prepend}`
}

function asPeer(settings: PeerSettings): Peer {
  const address = settings.remote.kind === 'address' ? settings.remote.address : ''
  return { settings, status: { remote: settings.remote, address, session: 'established' } } as unknown as Peer
}
