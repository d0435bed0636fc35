// The numbers that frontends, events and metrics carry for a Service and for each of its ports: theirs for as long as the Service has them,
// then at rest for a while. With them what each Service was last given, which tells what it goes without now.

import type { ObjectKey } from '../model/service.ts'
import type { DesiredPort } from '../services/desired.ts'
import type { FrontendValue } from './kernel-tables.ts'
import { NamedIds } from './named-ids.ts'

export class ServiceNumbers {
  readonly services: NamedIds<ObjectKey>
  /** By `portName`. */
  readonly ports: NamedIds<string>
  /** What each Service was last given; while an attempt is not through, what it had before too. */
  readonly #desiredOf = new Map<ObjectKey, readonly DesiredPort[]>()

  /** @param graceMs how long a number rests before it is another's */
  constructor(graceMs: number) {
    this.services = new NamedIds(graceMs)
    this.ports = new NamedIds(graceMs)
  }

  /** Of a frontend that an earlier process left. */
  adopt({ serviceId, portId }: Pick<FrontendValue, 'serviceId' | 'portId'>): void {
    this.services.adopt(serviceId)
    this.ports.adopt(portId)
  }

  portsOf(service: ObjectKey): readonly DesiredPort[] {
    return this.#desiredOf.get(service) ?? []
  }

  /** An attempt that breaks off may leave a part of each: what the Service goes without in the end is found here. */
  begin(service: ObjectKey, desired: readonly DesiredPort[]): void {
    const known = this.portsOf(service)
    const fresh = desired.filter(
      (port) => !known.some(({ id, portName }) => id === port.id && portName === port.portName),
    )
    if (fresh.length > 0) this.#desiredOf.set(service, [...known, ...fresh])
  }

  /** Numbers of ports that the Service no longer has, and of the Service itself when it has none, are given back. */
  keep(service: ObjectKey, desired: readonly DesiredPort[], nowMs: number): void {
    for (const { portName } of this.portsOf(service))
      if (!desired.some((port) => port.portName === portName)) this.ports.release(portName, nowMs)
    if (desired.length > 0) {
      this.#desiredOf.set(service, desired)
      return
    }
    this.#desiredOf.delete(service)
    this.services.release(service, nowMs)
  }

  releaseUnclaimed(nowMs: number): void {
    this.services.releaseUnclaimed(nowMs)
    this.ports.releaseUnclaimed(nowMs)
  }

  wake(nowMs: number): void {
    this.services.wake(nowMs)
    this.ports.wake(nowMs)
  }
}
