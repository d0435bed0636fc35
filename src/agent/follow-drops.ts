// The kernel's ring of dropped packets, read into the log of drops, and where policy is enforced into its records.

import { setTimeout } from 'node:timers/promises'
import type { Address } from '../model/address.ts'
import type { RingBatch, RingBuffer } from '../sys/libbpf-ts/index.ts'
import { AddressBook } from './address-book.ts'
import { DROPS_LOOK_MS, DropLog } from './drop-log.ts'
import type { Ground } from './ground.ts'
import { isLent, lentPorts } from './lent-ports.ts'
import { PolicyLines } from './policy-lines.ts'
import { PolicyRecords } from './policy-records.ts'
import { PolicyRecordsFile, readPolicyRecords } from './policy-records-file.ts'
import { ruleText } from './policy-rule.ts'

const NS_PER_MS = 1_000_000n
/** So long drops wait for the names of who sent them. */
const NAMES_WAIT_MS = 5_000

export interface FollowedDrops {
  readonly drops: DropLog
  /** Undefined: policy is not enforced. */
  readonly records: PolicyRecords | undefined
  /** Where the rules stand that drops and records name. */
  readonly lines: PolicyLines
  readonly stopFollowing: () => void
}

/** Programs count time from boot, as the monotonic clock does. */
export function followDrops(ground: FollowedGround): FollowedDrops {
  const { config, client, datapath, sources, policySources, policyRules, log } = ground
  const nowMs = Date.now()
  const bootMs = nowMs - Number(process.hrtime.bigint() / NS_PER_MS)
  const nameOf = (rule: number) => policyRules?.ids.nameOf(rule)
  const book = policySources && new AddressBook({ pods: policySources.pods, nodes: sources.nodes })
  const who = book && ((address: Address) => book.at(address))
  const drops = new DropLog(
    (serviceId) => datapath.services.serviceOf(serviceId),
    bootMs,
    nowMs,
    (rule) => ruleText(rule, nameOf(rule)),
    (address) => {
      const somebody = who?.(address)
      return somebody?.kind === 'pod' ? somebody.name : undefined
    },
  )
  const lent = lentPorts(config)
  const { stateDirectory } = config
  const kept = book && readPolicyRecords(stateDirectory, log)
  const records =
    who && new PolicyRecords({ who, isLent: (...asked) => isLent(...asked, lent), nameOf, bootMs, kept })
  const file = records && new PolicyRecordsFile(stateDirectory, records, log)
  const ring = datapath.openDropRing()
  const stopRing = startRing(ring, { sources, policySources, log }, (batch) => {
    drops.take(batch)
    records?.take(batch)
  })
  const lines = new PolicyLines(client, policySources && ((kind) => policySources.resourceOf(kind)))
  const stopFollowing = () => {
    stopRing()
    file?.close()
  }
  return { drops, records, lines, stopFollowing }
}

/** The ring keeps what nobody read while no agent ran: of whom that tells is known when the pods are. @returns stops it */
function startRing(
  ring: RingBuffer,
  { sources, policySources, log }: Pick<FollowedGround, 'sources' | 'policySources' | 'log'>,
  onBatch: (batch: RingBatch) => void,
): () => void {
  const abort = new AbortController()
  const begin = () => {
    if (abort.signal.aborted) return
    ring.start(onBatch, {
      intervalMs: DROPS_LOOK_MS,
      onError: (error) => log.error({ err: error }, 'drops are no longer listed'),
    })
  }
  if (policySources === undefined) begin()
  else {
    const known = Promise.all([sources.synced, policySources.synced])
    const late = setTimeout(NAMES_WAIT_MS, undefined, { ref: false, signal: abort.signal })
    Promise.race([known, late])
      .catch(() => {})
      .then(begin)
  }
  return () => {
    abort.abort()
    ring.stop()
  }
}

type FollowedGround = Pick<
  Ground,
  'config' | 'client' | 'datapath' | 'sources' | 'policySources' | 'policyRules' | 'log'
>
