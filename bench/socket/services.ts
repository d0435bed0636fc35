// Services by the thousand in freshly loaded maps, as the planner leaves ClusterIPs: a frontend for the port, one that catches the
// other ports, and a plain list of ten endpoints. Addresses lie scattered over the ServiceCIDR, as the API server draws them.

import * as abi from '../../src/datapath/abi.gen.ts'
import { FrontendFilter } from '../../src/datapath/frontend-filter.ts'
import type { BackendValue, FrontendKey, FrontendValue, TakesMany } from '../../src/datapath/kernel-tables.ts'
import type { LoadedDatapath } from '../../src/datapath/load.ts'
import { type DatapathTables, datapathTables } from '../../src/datapath/maps.ts'
import { ServiceCidrs } from '../../src/datapath/service-cidrs.ts'
import {
  type Address,
  address,
  addressFromNumber,
  addressToNumber,
  FAMILIES,
  type Family,
  type Prefix,
} from '../../src/model/address.ts'

export const SERVICE_PORT = 53
const TARGET_PORT = 5353
const ENDPOINTS = 10
/** Pods of a large cluster: of more Services than this, several have the same endpoints. */
const BACKENDS_MAX = 100_000
const SERVICE_CIDRS = { ipv4: '10.96.0.0/14', ipv6: 'fd00:96::/108' } as const
const CIDR_ADDRESSES = 1 << 18
const FIRST = {
  ipv4: '10.96.0.0',
  ipv6: 'fd00:96::',
  podsIpv4: '10.192.0.0',
  podsIpv6: 'fd00:244::',
} as const
/** Odd, so that each Service has an address of its own. */
const SCATTER = 40_503

const NONE = { base: 0, size: 0 }

function at(first: string, family: Family, index: number): Address {
  return addressFromNumber(family, addressToNumber(address(first)) + BigInt(index))
}

export function clusterIp(family: Family, service: number): Address {
  return at(FIRST[family], family, (service * SCATTER) % CIDR_ADDRESSES)
}

/** No Service's and in no ServiceCIDR: pods and the world. */
export function elsewhere(family: Family, index: number): Address {
  return at(family === 'ipv4' ? '198.18.0.0' : '2001:db8:e::', family, index * 7)
}

/** Rows of `frontends` that so many Services of both families take. */
export const frontendsOfServices = (services: number): number => services * FAMILIES.length * 2

export class Services {
  readonly #tables: DatapathTables
  readonly #filter: FrontendFilter

  /** Into empty maps. */
  constructor(datapath: LoadedDatapath) {
    this.#tables = datapathTables(datapath.map)
    this.#filter = new FrontendFilter(this.#tables.filter)
    const cidrs = FAMILIES.map((family) => SERVICE_CIDRS[family] as Prefix)
    new ServiceCidrs(this.#tables.serviceCidrs, this.#filter).set(new Set(cidrs))
  }

  write(count: number): void {
    const all = Array.from({ length: count }, (_, index) => index)
    for (const family of FAMILIES) {
      writeAll(this.#tables.backends, backendsOf(family, all))
      for (const service of all) {
        this.#filter.hold(clusterIp(family, service))
        for (let slot = 0; slot < ENDPOINTS; slot += 1)
          this.#tables.slots[slotBase(family, service) + slot] = backendId(family, service, slot)
      }
      writeAll(
        this.#tables.frontends,
        all.flatMap((service) => frontendsOf(family, service)),
      )
    }
  }
}

function writeAll<Key, Value>(table: TakesMany<Key, Value>, rows: readonly (readonly [Key, Value])[]): void {
  const batch = table.batch()
  for (const [key, value] of rows) batch.add(key, value)
  batch.write()
}

function backendsOf(family: Family, services: readonly number[]): (readonly [number, BackendValue])[] {
  const own = services.filter((service) => service * ENDPOINTS < BACKENDS_MAX)
  const pods = family === 'ipv4' ? FIRST.podsIpv4 : FIRST.podsIpv6
  const fixed = {
    port: TARGET_PORT,
    protocol: 'UDP',
    state: 'active',
    isLocal: false,
    nexthopId: 0,
    nodeId: 0,
  } as const
  return own.flatMap((service) =>
    Array.from({ length: ENDPOINTS }, (_, slot) => {
      const row = { address: at(pods, family, service * ENDPOINTS + slot), ...fixed }
      return [backendId(family, service, slot), row] as const
    }),
  )
}

/** Number 0 is nobody's. */
function backendId(family: Family, service: number, slot: number): number {
  const index = (service * ENDPOINTS + slot) % BACKENDS_MAX
  return 1 + index + (family === 'ipv4' ? 0 : BACKENDS_MAX)
}

function slotBase(family: Family, service: number): number {
  return (service * FAMILIES.length + FAMILIES.indexOf(family)) * ENDPOINTS
}

function frontendsOf(family: Family, service: number): (readonly [FrontendKey, FrontendValue])[] {
  const ip = clusterIp(family, service)
  const ids = { frontendId: 1 + service, serviceId: 1 + service, portId: 1 + service, affinityTicks: 0 }
  const unused = { clusterBefore: NONE, local: NONE, localBefore: NONE }
  const cluster = { base: slotBase(family, service), size: ENDPOINTS }
  const flags = abi.FrontendFlags.FRONTEND_ANY_ENDPOINT
  return [
    [
      { address: ip, port: SERVICE_PORT, protocol: 'UDP' },
      { ...ids, ...unused, flags, cluster },
    ],
    [
      { address: ip, port: 0, protocol: 'ANY' },
      { ...ids, ...unused, flags, cluster: NONE },
    ],
  ]
}
