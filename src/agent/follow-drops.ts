// The kernel's ring of dropped packets, read into the log of drops.

import type { Logger } from 'pino'
import type { Datapath } from '../datapath/datapath.ts'
import type { RingBuffer } from '../sys/libbpf-ts/index.ts'
import { DROPS_LOOK_MS, DropLog } from './drop-log.ts'

const NS_PER_MS = 1_000_000n

/** Programs count time from boot, as the monotonic clock does. */
export function followDrops(
  datapath: Datapath,
  log: Logger,
  ruleOf: (rule: number) => string,
): { drops: DropLog; ring: RingBuffer } {
  const nowMs = Date.now()
  const bootMs = nowMs - Number(process.hrtime.bigint() / NS_PER_MS)
  const drops = new DropLog((serviceId) => datapath.services.serviceOf(serviceId), bootMs, nowMs, ruleOf)
  const ring = datapath.openDropRing()
  ring.start((batch) => drops.take(batch), {
    intervalMs: DROPS_LOOK_MS,
    onError: (error) => log.error({ err: error }, 'drops are no longer listed'),
  })
  return { drops, ring }
}
