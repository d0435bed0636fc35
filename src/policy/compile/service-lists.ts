// Lists of Services that rules refer to, and the addresses behind them.

import { selectorMatches, serviceLabels } from '../../model/label-selector.ts'
import { Grouped } from './grouped.ts'
import type { Objects, PolicyService } from './objects.ts'
import type { ServicesPeer } from './references.ts'

interface ServiceList {
  readonly wanted: ServicesPeer['services']
  /** Services in it, with the endpoints counted for them. */
  readonly services: Map<string, readonly string[]>
}

export class ServiceLists {
  readonly #objects: Objects
  readonly #lists = new Map<string, ServiceList>()
  /** Lists by address, once per Service that has it. */
  readonly #uses = new Map<string, Map<string, number>>()
  readonly #addressesByList = new Grouped<string, string>()

  constructor(objects: Objects) {
    this.#objects = objects
  }

  /** Lists that have an address, in the order of their keys. */
  listsWith(address: string): readonly string[] {
    const lists = this.#uses.get(address)
    return lists ? [...lists.keys()].sort() : []
  }

  /** A list is referred to first, or by nobody any more. @returns addresses of it */
  setList(key: string, isUsed: boolean): readonly string[] {
    if (!isUsed) {
      const addresses = [...this.#addressesByList.get(key)]
      for (const service of [...(this.#lists.get(key)?.services.keys() ?? [])])
        this.#setService(key, service, undefined)
      this.#lists.delete(key)
      return addresses
    }
    if (this.#lists.has(key)) return []
    this.#lists.set(key, { wanted: JSON.parse(key) as ServicesPeer['services'], services: new Map() })
    for (const service of this.#objects.services.values()) this.#place(key, service.key, service)
    return [...this.#addressesByList.get(key)]
  }

  /** A Service or its namespace changed, or it is gone. @returns addresses that are in other lists now than before */
  changed(service: string): readonly string[] {
    const moved = new Set<string>()
    for (const key of this.#lists.keys())
      for (const address of this.#place(key, service, this.#objects.services.get(service))) moved.add(address)
    return [...moved]
  }

  #place(list: string, key: string, service: PolicyService | undefined): readonly string[] {
    const wanted = this.#lists.get(list)?.wanted
    const isIn = service !== undefined && wanted !== undefined && this.#isWanted(service, wanted)
    return this.#setService(list, key, isIn ? service.endpoints : undefined)
  }

  #isWanted(service: PolicyService, wanted: ServicesPeer['services']): boolean {
    if ('key' in wanted) return service.key === wanted.key
    return (
      selectorMatches(wanted.namespaces, this.#objects.namespaceLabels(service.namespace)) &&
      selectorMatches(wanted.labels, serviceLabels(service.key, service.labels))
    )
  }

  /** @returns addresses that came or went */
  #setService(list: string, service: string, endpoints: readonly string[] | undefined): readonly string[] {
    const services = this.#lists.get(list)?.services
    const before = new Set(services?.get(service) ?? [])
    const after = new Set(endpoints ?? [])
    const added = [...after].filter((address) => !before.has(address))
    const removed = [...before].filter((address) => !after.has(address))
    for (const address of added) this.#count(list, address, 1)
    for (const address of removed) this.#count(list, address, -1)
    if (endpoints) services?.set(service, [...after])
    else services?.delete(service)
    return [...added, ...removed]
  }

  #count(list: string, address: string, by: number): void {
    const lists = this.#uses.get(address) ?? new Map<string, number>()
    const uses = (lists.get(list) ?? 0) + by
    if (uses > 0) lists.set(list, uses)
    else lists.delete(list)
    if (uses > 0) this.#addressesByList.add(list, address)
    else this.#addressesByList.delete(list, address)
    if (lists.size > 0) this.#uses.set(address, lists)
    else this.#uses.delete(address)
  }
}
