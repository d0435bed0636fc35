// Who has an address and port: the rows of `frontends`, and which of the ports that want one owns it. A ClusterIP is its
// Service's own, whoever names it as an external address; else the older Service has it, and the other's claim waits.

import type { Address } from '../model/address.ts'
import { fitted } from '../model/fitted.ts'
import type { ObjectKey } from '../model/service.ts'
import { type DesiredFrontend, type DesiredPort, frontendName } from '../services/desired.ts'
import { FrontendFlags } from './abi.gen.ts'
import type { FrontendRows } from './frontend-rows.ts'
import type { FrontendKey, FrontendValue, ServiceTables } from './kernel-tables.ts'
import type { NamedIds } from './named-ids.ts'
import { NO_RANGE, type RangePair } from './slot-ranges.ts'

/** A port with its slot tables in place. */
export interface PlacedPort {
  readonly desired: DesiredPort
  readonly cluster: RangePair
  readonly local: RangePair
}

type Placed = (portId: string) => PlacedPort | undefined

interface Frontend {
  readonly name: string
  readonly key: FrontendKey
  readonly id: number
  /** Ports that want this address and port, each once; one of them owns it. Nearly always one. */
  claims: readonly DesiredPort[]
  value: FrontendValue | undefined
}

export interface FrontendClaimsOptions {
  readonly table: ServiceTables['frontends']
  readonly rows: FrontendRows
  readonly serviceIds: NamedIds<ObjectKey>
  /** Of Service ports, by `portName`. */
  readonly portIds: NamedIds<string>
  /** How long a flow's tick takes. */
  readonly tickSeconds: number
  readonly nowMs: () => number
}

export class FrontendClaims {
  readonly #options: FrontendClaimsOptions
  readonly #frontends = new Map<string, Frontend>()
  /** How many an earlier process left and nobody has claimed. */
  #unclaimed = 0

  constructor(options: FrontendClaimsOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#frontends.size
  }

  /** What the table should hold. */
  *entries(): Generator<readonly [FrontendKey, FrontendValue]> {
    for (const { key, value } of this.#frontends.values()) if (value) yield [key, value]
  }

  /** Takes over what an earlier process left; it has no claim until a port makes one. */
  adopt(key: FrontendKey, value: FrontendValue): void {
    const name = frontendName(key)
    this.#frontends.set(name, { name, key, id: value.frontendId, claims: NO_CLAIMS, value })
    this.#unclaimed += 1
  }

  /** What an earlier process wrote for the first of these that nobody has claimed since. */
  adoptedValue(frontends: readonly DesiredFrontend[]): FrontendValue | undefined {
    if (this.#unclaimed === 0) return undefined
    for (const { name } of frontends) {
      const frontend = this.#frontends.get(name)
      if (frontend?.claims.length === 0) return frontend.value
    }
    return undefined
  }

  /** The port that has this address and port; undefined when nobody does. */
  ownerOf(key: { address: Address; port: number; protocol: string }): DesiredPort | undefined {
    const frontend = this.#frontends.get(`${key.address} ${key.port} ${key.protocol}`)
    return frontend && ownerOf(frontend)
  }

  /**
   * @param placed the tables of a port by its id, for who has it in place of this one
   * @param others takes the Service that lost it to this port, or has it now because this port has changed
   * @returns false: the table is full
   */
  claim(key: DesiredFrontend, port: PlacedPort, placed: Placed, others: Set<ObjectKey>): boolean {
    let frontend = this.#frontends.get(key.name)
    if (!frontend) {
      const id = this.#options.rows.take(key.address)
      if (id === undefined) return false
      frontend = { name: key.name, key, id, claims: NO_CLAIMS, value: undefined }
      this.#frontends.set(key.name, frontend)
    } else if (frontend.claims.length === 0) this.#unclaimed -= 1
    const before = ownerOf(frontend)
    frontend.claims = withClaim(frontend.claims, port.desired)
    const owner = ownerOf(frontend) ?? port.desired
    const isOwn = owner.id === port.desired.id
    if (before && before.id !== owner.id) others.add(isOwn ? before.service : owner.service)
    if (isOwn) this.#write(frontend, port)
    else this.#writeFor(owner, frontend, placed)
    return true
  }

  /** One sentence for each address and port that another Service has. */
  conflictsOf(port: DesiredPort): string[] {
    const conflicts: string[] = []
    for (const key of port.frontends) {
      const frontend = key.port === 0 ? undefined : this.#frontends.get(key.name)
      const owner = frontend && ownerOf(frontend)
      if (owner && owner.service !== port.service) conflicts.push(describeConflict(key, owner))
    }
    return conflicts
  }

  /**
   * Takes a port's claim away; without any other the row goes.
   * @param placed the tables of a port by its id, for the next in line
   * @returns the Service that has it from now on; undefined when nobody does
   */
  unclaim(key: DesiredFrontend, portId: string, placed: Placed): ObjectKey | undefined {
    const frontend = this.#frontends.get(key.name)
    if (!frontend?.claims.some(({ id }) => id === portId)) return undefined
    const claims = frontend.claims.filter(({ id }) => id !== portId)
    const heir = ownerOf({ name: key.name, claims })
    if (!heir) {
      this.#drop(frontend)
      return undefined
    }
    // Before the claim goes: where the kernel refuses, the next attempt finds it.
    this.#writeFor(heir, frontend, placed)
    frontend.claims = claims
    return heir.service
  }

  #writeFor({ id }: DesiredPort, frontend: Frontend, placed: Placed): void {
    const port = placed(id)
    // One that asks for it no more, and could not say so yet, will when it is tried again.
    if (port?.desired.frontends.some(({ name }) => name === frontend.name)) this.#write(frontend, port)
  }

  /** Writes what a port owns anew: its tables are others now. */
  rewrite(port: PlacedPort): void {
    for (const key of port.desired.frontends) {
      const frontend = this.#frontends.get(key.name)
      if (frontend && ownerOf(frontend)?.id === port.desired.id) this.#write(frontend, port)
    }
  }

  /** Addresses that these ports have in the kernel. */
  heldBy(desired: readonly DesiredPort[]): Address[] {
    const held: Address[] = []
    for (const port of desired) {
      for (const { name, address, port: number } of port.frontends) {
        if (number === 0 || held.includes(address)) continue
        const frontend = this.#frontends.get(name)
        if (frontend?.value && ownerOf(frontend)?.id === port.id) held.push(address)
      }
    }
    return fitted(held)
  }

  /** What an earlier process left and nobody claims goes. */
  prune(): void {
    for (const frontend of this.#frontends.values()) if (frontend.claims.length === 0) this.#drop(frontend)
    this.#unclaimed = 0
  }

  #write(frontend: Frontend, { desired, cluster, local }: PlacedPort): void {
    const { table, rows, serviceIds, portIds, tickSeconds } = this.#options
    const serviceId = serviceIds.take(desired.service)
    const value: FrontendValue = {
      frontendId: frontend.id,
      serviceId,
      flags: flagsOf(desired, viewOf(desired, frontend)),
      affinityTicks: Math.ceil(desired.affinitySeconds / tickSeconds),
      portId: portIds.take(desired.portName, frontend.value?.portId),
      cluster: cluster.current,
      clusterBefore: cluster.before,
      local: local.current,
      localBefore: local.before,
    }
    if (frontend.value && equalFrontends(frontend.value, value)) return
    const { address, port, protocol } = frontend.key
    // The row is written before the value, so where there is a value the row says the same but for the Service.
    if (frontend.value?.serviceId !== serviceId)
      rows.write(frontend.id, { address, port, protocol, serviceId })
    table.set(frontend.key, value)
    frontend.value = value
  }

  #drop(frontend: Frontend): void {
    const { table, rows, nowMs } = this.#options
    table.delete(frontend.key)
    this.#frontends.delete(frontend.name)
    // Replies of flows that began before still name the row; it is cleared after the grace period.
    rows.rest(frontend.id, frontend.key.address, nowMs())
  }
}

const NO_CLAIMS: readonly DesiredPort[] = []

/** A port that claims again stays where it was. */
function withClaim(claims: readonly DesiredPort[], port: DesiredPort): readonly DesiredPort[] {
  const index = claims.findIndex(({ id }) => id === port.id)
  return index < 0 ? [...claims, port] : claims.with(index, port)
}

/** A ClusterIP is its Service's own, whoever names it as an external address; else the older Service has it. */
function ownerOf(frontend: Pick<Frontend, 'name' | 'claims'>): DesiredPort | undefined {
  if (frontend.claims.length < 2) return frontend.claims[0]
  const isExternal = (port: DesiredPort) =>
    port.frontends.find(({ name }) => name === frontend.name)?.external ?? true
  const order = [...frontend.claims].sort(
    (a, b) =>
      Number(isExternal(a)) - Number(isExternal(b)) || a.createdMs - b.createdMs || (a.id < b.id ? -1 : 1),
  )
  return order[0]
}

function describeConflict(key: DesiredFrontend, owner: DesiredPort): string {
  return `${key.address} port ${key.port}/${key.protocol} belongs to the older Service ${owner.service}; change one of the two`
}

/** An address and port as its owner means it: a node port, a load balancer's address; another Service may mean another thing. */
function viewOf(port: DesiredPort, { name }: Frontend): DesiredFrontend {
  const own = port.frontends.find((candidate) => candidate.name === name)
  if (own) return own
  throw new Error(`${port.id} owns ${name} without asking for it`)
}

/** Another node can answer in the name of an address only if it has it too; a node's own address is known to that node alone. */
function isOnEveryNode({ kind }: DesiredFrontend): boolean {
  return kind === 'cluster-ip' || kind === 'external-ip' || kind === 'load-balancer'
}

function flagsOf(port: DesiredPort, frontend: DesiredFrontend): number {
  const { FRONTEND_EXTERNAL, FRONTEND_EXTERNAL_LOCAL, FRONTEND_INTERNAL_LOCAL } = FrontendFlags
  const { FRONTEND_DSR, FRONTEND_ANY_ENDPOINT, FRONTEND_RANDOM } = FrontendFlags
  const { FRONTEND_SOURCE_RANGES, FRONTEND_SOCKET_ONLY, FRONTEND_OF_NODE } = FrontendFlags
  return (
    (frontend.external ? FRONTEND_EXTERNAL : 0) |
    (port.forwarding === 'dsr' && isOnEveryNode(frontend) ? FRONTEND_DSR : 0) |
    (port.isRandom ? FRONTEND_RANDOM : 0) |
    (frontend.kind === 'load-balancer' && port.sourceRanges.length > 0 ? FRONTEND_SOURCE_RANGES : 0) |
    (frontend.kind === 'loopback' ? FRONTEND_SOCKET_ONLY : 0) |
    (isOnEveryNode(frontend) ? 0 : FRONTEND_OF_NODE) |
    (port.externalLocal ? FRONTEND_EXTERNAL_LOCAL : 0) |
    (port.internalLocal ? FRONTEND_INTERNAL_LOCAL : 0) |
    (port.anyEndpoint ? FRONTEND_ANY_ENDPOINT : 0)
  )
}

function equalFrontends(a: FrontendValue, b: FrontendValue): boolean {
  const equalRanges = (['cluster', 'clusterBefore', 'local', 'localBefore'] as const).every((name) => {
    const left = a[name] ?? NO_RANGE
    const right = b[name] ?? NO_RANGE
    return left.size === right.size && (left.size === 0 || left.base === right.base)
  })
  return (
    equalRanges &&
    a.serviceId === b.serviceId &&
    a.portId === b.portId &&
    a.flags === b.flags &&
    a.affinityTicks === b.affinityTicks
  )
}
