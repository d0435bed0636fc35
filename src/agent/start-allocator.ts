// Joins the allocator of load-balancer addresses to the pools in effect, and to who tells of their use.

import type { Logger } from 'pino'
import type { KubeClient } from '../kube/client.ts'
import type { EventRecorder } from '../kube/events.ts'
import { AddressAllocator } from './address-allocator.ts'
import type { AgentConfig } from './config.ts'
import type { LiveRouting } from './live-routing.ts'
import { PoolReporter } from './pool-reporter.ts'
import type { Sources } from './sources.ts'

export interface AllocatorGround {
  readonly config: Pick<AgentConfig, 'nodeName'>
  readonly client: KubeClient
  readonly events: EventRecorder
  readonly sources: Pick<Sources, 'services'>
  readonly live: Pick<LiveRouting, 'sources' | 'ciliumPools'>
  readonly log: Logger
}

export function startAllocator({
  config,
  client,
  events,
  sources,
  live,
  log,
}: AllocatorGround): AddressAllocator {
  return new AddressAllocator({
    client,
    nodeName: config.nodeName,
    pools: () => live.sources.pools,
    areAllPoolsKnown: () => live.sources.areAllPoolsKnown,
    services: sources.services,
    events,
    log,
    reporter: new PoolReporter({ client, ciliumPools: () => live.ciliumPools, log }),
  })
}
