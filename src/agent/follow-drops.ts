// The kernel's ring of dropped packets, read into the log of drops, and where policy is enforced into its records.

import type { Address } from '../model/address.ts'
import { AddressBook } from './address-book.ts'
import { DROPS_LOOK_MS, DropLog } from './drop-log.ts'
import type { Ground } from './ground.ts'
import { PolicyLines } from './policy-lines.ts'
import type { PolicyLoop } from './policy-loop.ts'
import { PolicyRecords } from './policy-records.ts'
import { PolicyRecordsFile, readPolicyRecords } from './policy-records-file.ts'
import { ruleText } from './policy-rule.ts'

const NS_PER_MS = 1_000_000n

export interface FollowedDrops {
  readonly drops: DropLog
  /** Undefined: policy is not enforced. */
  readonly records: PolicyRecords | undefined
  /** Where the rules stand that drops and records name. */
  readonly lines: PolicyLines
  readonly stopFollowing: () => void
}

/** Programs count time from boot, as the monotonic clock does. */
export function followDrops(
  { config, client, datapath, sources, policySources, log }: FollowedGround,
  policy: () => Pick<PolicyLoop, 'nameOf'> | undefined,
): FollowedDrops {
  const nowMs = Date.now()
  const bootMs = nowMs - Number(process.hrtime.bigint() / NS_PER_MS)
  const nameOf = (rule: number) => policy()?.nameOf(rule)
  const drops = new DropLog(
    (serviceId) => datapath.services.serviceOf(serviceId),
    bootMs,
    nowMs,
    (rule) => ruleText(rule, nameOf(rule)),
  )
  const { stateDirectory } = config
  const book = policySources && new AddressBook({ pods: policySources.pods, nodes: sources.nodes })
  const who = book && ((address: Address) => book.at(address))
  const kept = book && readPolicyRecords(stateDirectory, log)
  const records = who && new PolicyRecords({ who, nameOf, bootMs, kept })
  const file = records && new PolicyRecordsFile(stateDirectory, records, log)
  const ring = datapath.openDropRing()
  ring.start(
    (batch) => {
      drops.take(batch)
      records?.take(batch)
    },
    {
      intervalMs: DROPS_LOOK_MS,
      onError: (error) => log.error({ err: error }, 'drops are no longer listed'),
    },
  )
  const lines = new PolicyLines(client, policySources && ((kind) => policySources.resourceOf(kind)))
  const stopFollowing = () => {
    ring.stop()
    file?.close()
  }
  return { drops, records, lines, stopFollowing }
}

type FollowedGround = Pick<Ground, 'config' | 'client' | 'datapath' | 'sources' | 'policySources' | 'log'>
