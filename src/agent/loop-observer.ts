// What the service loop tells while it works, for health answers and metrics. Calls are cheap and must not throw.

import type { EndpointSlice, ObjectKey, Service } from '../model/service.ts'
import type { DesiredPort } from '../services/desired.ts'

export interface AppliedService {
  readonly service: Service
  readonly slices: readonly EndpointSlice[]
  readonly desired: readonly DesiredPort[]
}

export interface LoopObserver {
  /** Something changed that the kernel does not hold yet. */
  queued(): void
  /** A round takes up all that was queued until now. */
  started(): void
  /** The kernel holds this Service as planned; undefined: it is gone. */
  applied(key: ObjectKey, applied: AppliedService | undefined): void
  /**
   * The round that started last is done.
   * @param failing objects that could not be applied, and are tried again on their own
   */
  finished(failing: FailingObjects): void
  /** It broke off, and will be repeated. */
  failed(): void
}

export type FailingObjects = Pick<ReadonlyMap<ObjectKey, unknown>, 'has' | 'size'>
