// What this node would announce under another routing, with the Services as they are served now: planned from nothing, so that neither
// a grace period nor a hold-down of the moment passes for a difference. In slices, for there may be ten thousand Services.

import { setImmediate } from 'node:timers/promises'
import type { Prefix } from '../model/address.ts'
import type { Announcement } from '../model/announcement.ts'
import type { NodeRouting } from '../model/routing.ts'
import type { ObjectKey } from '../model/service.ts'
import { AnnouncementGuard, type GuardLimits } from '../routing/guard.ts'
import { planNode, type VipContext } from '../routing/plan-announcements.ts'
import { VipPlans } from '../routing/vip-plans.ts'
import type { ServedService } from './service-loop.ts'
import { namedKinds, vipFacts } from './vip-facts.ts'

const SLICE = 500

export interface PreviewInput {
  readonly routing: NodeRouting
  readonly limits: GuardLimits
  readonly context: VipContext
  readonly served: ReadonlyMap<ObjectKey, ServedService>
}

export async function previewAnnouncements(input: PreviewInput): Promise<ReadonlyMap<Prefix, Announcement>> {
  const { routing, limits, context, served } = input
  const guard = new AnnouncementGuard(limits)
  guard.apply(planNode(routing, routing).map((row) => [row.prefix, row] as const))
  const plans = new VipPlans(context)
  const named = namedKinds(routing)
  let count = 0
  for (const [key, service] of served) {
    plans.setService(key, vipFacts(service, named))
    count += 1
    if (count % SLICE === 0) await setImmediate()
  }
  for (;;) {
    const { changed, isMore } = plans.plan(Date.now(), SLICE)
    guard.apply(changed)
    if (!isMore) return guard.accepted
    await setImmediate()
  }
}
