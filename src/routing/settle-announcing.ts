// What a Service's annotations say of its announcements, while they cannot be read: what they said before stays in force, whole, as the last
// good configuration does. One that never said anything that could be read is left marked, and the guard keeps its addresses in. Pure.

import { NO_ATTRIBUTES } from '../model/routing.ts'
import type { Service, ServiceAnnouncing } from '../model/service.ts'

const SILENT: ServiceAnnouncing = {
  attributes: NO_ATTRIBUTES,
  peers: undefined,
  advertise: {},
  withoutEndpoints: undefined,
}

/** @param before the same Service as it was settled last, by this agent or an earlier one; undefined: it was not there */
export function settleAnnouncing(
  next: Service,
  before: Pick<Service, 'uid' | 'announcing'> | undefined,
): Service {
  const overruled = next.announcing?.unreadable
  if (overruled === undefined || before === undefined || before.uid !== next.uid) return next
  const { announcing: last = SILENT } = before
  if (last.unreadable !== undefined) return next
  return { ...next, announcing: { ...last, overruled } }
}
