// Who has an address and port: the rows of `frontends`, and which of the ports that want one owns it. A ClusterIP is its
// Service's own, whoever names it as an external address; else the older Service has it, and the other's claim waits.

import type { Address } from '../model/address.ts'
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

interface Frontend {
  readonly key: FrontendKey
  readonly id: number
  /** Ports that want this address and port; one of them owns it. */
  readonly claims: Map<string, DesiredPort>
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
    this.#frontends.set(frontendName(key), { key, id: value.frontendId, claims: new Map(), value })
  }

  /** What an earlier process wrote for the first of these that nobody has claimed since. */
  adoptedValue(frontends: readonly DesiredFrontend[]): FrontendValue | undefined {
    return frontends
      .map((frontend) => this.#frontends.get(frontendName(frontend)))
      .find((frontend) => frontend?.claims.size === 0)?.value
  }

  /** The port that has this address and port; undefined when nobody does. */
  ownerOf(key: { address: Address; port: number; protocol: string }): DesiredPort | undefined {
    const frontend = this.#frontends.get(`${key.address} ${key.port} ${key.protocol}`)
    return frontend && ownerOf(frontend)
  }

  /** @returns false: the table is full */
  claim(key: DesiredFrontend, port: PlacedPort): boolean {
    const name = frontendName(key)
    let frontend = this.#frontends.get(name)
    if (!frontend) {
      const id = this.#options.rows.take(key.address)
      if (id === undefined) return false
      frontend = { key, id, claims: new Map(), value: undefined }
      this.#frontends.set(name, frontend)
    }
    frontend.claims.set(port.desired.id, port.desired)
    if (ownerOf(frontend)?.id === port.desired.id) this.#write(frontend, port)
    return true
  }

  /** One sentence for each address and port that another Service has. */
  conflictsOf(port: DesiredPort): string[] {
    return port.frontends.flatMap((key) => {
      const owner = key.port === 0 ? undefined : this.ownerOf(key)
      return owner && owner.service !== port.service ? [describeConflict(key, owner)] : []
    })
  }

  /**
   * Takes a port's claim away; without any other the row goes.
   * @param placed the tables of a port by its id, for the next in line
   * @returns the Service that has it from now on; undefined when nobody does
   */
  unclaim(
    key: DesiredFrontend,
    portId: string,
    placed: (portId: string) => PlacedPort | undefined,
  ): ObjectKey | undefined {
    const name = frontendName(key)
    const frontend = this.#frontends.get(name)
    if (!frontend?.claims.delete(portId)) return undefined
    const heir = ownerOf(frontend)
    if (!heir) {
      this.#drop(name, frontend)
      return undefined
    }
    const tables = placed(heir.id)
    if (tables) this.#write(frontend, tables)
    return heir.service
  }

  /** Writes what a port owns anew: its tables are others now. */
  rewrite(port: PlacedPort): void {
    for (const key of port.desired.frontends) {
      const frontend = this.#frontends.get(frontendName(key))
      if (frontend && ownerOf(frontend)?.id === port.desired.id) this.#write(frontend, port)
    }
  }

  /** Addresses that these ports have in the kernel. */
  heldBy(desired: readonly DesiredPort[]): Address[] {
    const held = new Set<Address>()
    for (const port of desired) {
      for (const key of port.frontends) {
        const frontend = this.#frontends.get(frontendName(key))
        if (key.port !== 0 && frontend?.value && ownerOf(frontend)?.id === port.id) held.add(key.address)
      }
    }
    return [...held]
  }

  /** What an earlier process left and nobody claims goes. */
  prune(): void {
    for (const [name, frontend] of this.#frontends) if (frontend.claims.size === 0) this.#drop(name, frontend)
  }

  #write(frontend: Frontend, { desired, cluster, local }: PlacedPort): void {
    const { table, rows, serviceIds, portIds, tickSeconds } = this.#options
    const serviceId = serviceIds.take(desired.service)
    const value: FrontendValue = {
      frontendId: frontend.id,
      serviceId,
      flags: flagsOf(desired, viewOf(desired, frontend.key)),
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

  #drop(name: string, frontend: Frontend): void {
    const { table, rows, nowMs } = this.#options
    table.delete(frontend.key)
    this.#frontends.delete(name)
    // Replies of flows that began before still name the row; it is cleared after the grace period.
    rows.rest(frontend.id, frontend.key.address, nowMs())
  }
}

/** A ClusterIP is its Service's own, whoever names it as an external address; else the older Service has it. */
function ownerOf(frontend: Frontend): DesiredPort | undefined {
  if (frontend.claims.size === 1) return frontend.claims.values().next().value
  const name = frontendName(frontend.key)
  const isExternal = (port: DesiredPort) =>
    port.frontends.find((candidate) => frontendName(candidate) === name)?.external ?? true
  const order = [...frontend.claims.values()].sort(
    (a, b) =>
      Number(isExternal(a)) - Number(isExternal(b)) || a.createdMs - b.createdMs || (a.id < b.id ? -1 : 1),
  )
  return order[0]
}

function describeConflict(key: DesiredFrontend, owner: DesiredPort): string {
  return `${key.address} port ${key.port}/${key.protocol} belongs to the older Service ${owner.service}; change one of the two`
}

/** An address and port as its owner means it: a node port, a load balancer's address; another Service may mean another thing. */
function viewOf(port: DesiredPort, key: FrontendKey): DesiredFrontend {
  const name = frontendName(key)
  const own = port.frontends.find((candidate) => frontendName(candidate) === name)
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
  const { FRONTEND_SOURCE_RANGES, FRONTEND_SOCKET_ONLY } = FrontendFlags
  return (
    (frontend.external ? FRONTEND_EXTERNAL : 0) |
    (port.forwarding === 'dsr' && isOnEveryNode(frontend) ? FRONTEND_DSR : 0) |
    (port.isRandom ? FRONTEND_RANDOM : 0) |
    (frontend.kind === 'load-balancer' && port.sourceRanges.length > 0 ? FRONTEND_SOURCE_RANGES : 0) |
    (frontend.kind === 'loopback' ? FRONTEND_SOCKET_ONLY : 0) |
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
