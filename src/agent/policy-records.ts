// What policy dropped, and what audited policies would have dropped or let pass, as the programs tell of it: one record for each pair of
// workloads, port, direction and rule, with how often and when. Bounded: whoever was not seen for longest makes room, and the many
// addresses of a scan are one. Of a flood the programs tell a sample (drop-log.ts), so that counts are lower bounds.

import { decodePacketEvent, EventKind, VerdictReason } from '../datapath/abi.gen.ts'
import { type Address, formatAddress } from '../model/address.ts'
import type { PolicyDirection, PolicyPacket } from '../model/policy.ts'
import type { RuleId } from '../policy/compile/rows.ts'
import type { BuiltInCause, RuleName } from '../policy/compile/rule-ids.ts'
import { OUTSIDE, outsideAs } from '../policy/simulate/simulate.ts'
import type { RingBatch } from '../sys/libbpf-ts/index.ts'
import type { Somebody } from './address-book.ts'
import { ruleText } from './policy-rule.ts'

export const RECORDS_MAX = 2000
/** Addresses outside that are told apart for one pod, port and rule. */
const OUTSIDERS_MAX = 32
/** Policies whose events are counted each for itself. */
const TALLIES_MAX = 1000
/** Of the others. */
const OTHERS = 'others'

export const RECORD_KINDS = ['dropped', 'would-drop', 'would-pass'] as const
export type RecordKind = (typeof RECORD_KINDS)[number]

export interface PolicyRecord {
  readonly kind: RecordKind
  readonly direction: PolicyDirection
  /** A workload, `node NAME`, an address outside, `outside` for many of them, or `outside, as ADDRESS` that a node lent. */
  readonly source: string
  readonly destination: string
  readonly protocol: PolicyPacket['protocol']
  /** The destination's own; of ICMP the type. */
  readonly port: number
  /** In words. */
  readonly rule: string
  /** Undefined: no policy's, or of one that is gone. */
  readonly name?: RuleName | undefined
  /** Packets that were told of. */
  readonly count: number
  readonly firstMs: number
  readonly lastMs: number
  /** The last of them. */
  readonly last: { readonly source: Address; readonly sourcePort: number; readonly destination: Address }
}

export type Tally = Readonly<Record<RecordKind, number>>

/** What outlives the agent. */
export interface KeptRecords {
  readonly records: readonly PolicyRecord[]
  readonly tallies: Readonly<Record<string, Tally>>
}

export interface PolicyRecordsOptions {
  readonly who: (address: Address) => Somebody
  /** Whether what a node sends may be another's, whom policy takes for the outside's. */
  readonly isLent: (packet: Pick<PolicyPacket, 'protocol' | 'port'>, sourcePort: number) => boolean
  readonly nameOf: (rule: RuleId) => RuleName | BuiltInCause | undefined
  /** When the node came up, milliseconds since the epoch: events count from there. */
  readonly bootMs: number
  readonly kept?: KeptRecords | undefined
}

const DIRECTIONS: ReadonlyMap<number, PolicyDirection> = new Map([
  [VerdictReason.REASON_POLICY_INGRESS, 'ingress'],
  [VerdictReason.REASON_POLICY_EGRESS, 'egress'],
])
const KINDS: ReadonlyMap<number, RecordKind> = new Map([
  [EventKind.EVENT_DROP, 'dropped'],
  [EventKind.EVENT_WOULD_DROP, 'would-drop'],
  [EventKind.EVENT_WOULD_PASS, 'would-pass'],
])
export const PROTOCOL_WORDS: ReadonlyMap<number, PolicyPacket['protocol']> = new Map([
  [1, 'icmp'],
  [6, 'tcp'],
  [17, 'udp'],
  [58, 'icmp'],
  [132, 'sctp'],
])

type Said = Omit<PolicyRecord, 'count' | 'firstMs' | 'lastMs'>

export class PolicyRecords {
  readonly #options: PolicyRecordsOptions
  /** Seen last last. */
  readonly #records = new Map<string, PolicyRecord>()
  readonly #outsiders = new Map<string, number>()
  readonly #tallies = new Map<string, Record<RecordKind, number>>()
  /** Records that made room for others. */
  forgotten = 0
  /** Grows with whatever is told. */
  revision = 0

  constructor(options: PolicyRecordsOptions) {
    this.#options = options
    const { records = [], tallies = {} } = options.kept ?? {}
    for (const record of records.slice(-RECORDS_MAX)) {
      const { key, crowd, isOutside } = keyOf(record, record)
      this.#records.set(key, record)
      if (isOutside) this.#outsiders.set(crowd, (this.#outsiders.get(crowd) ?? 0) + 1)
    }
    for (const [policy, tally] of Object.entries(tallies).slice(0, TALLIES_MAX))
      this.#tallies.set(policy, { ...tally })
  }

  /** Takes a batch of the ring. */
  take(batch: RingBatch): void {
    for (let index = 0; index < batch.count; index++) {
      const event = decodePacketEvent(batch.data, batch.offsets[index] ?? 0)
      const direction = DIRECTIONS.get(event.reason)
      const kind = KINDS.get(event.kind)
      if (direction === undefined || kind === undefined) continue
      const { who, isLent, nameOf, bootMs } = this.#options
      const name = nameOf(event.serviceId)
      const source = formatAddress(event.source)
      const destination = formatAddress(event.destination)
      const protocol = PROTOCOL_WORDS.get(event.protocol) ?? 'other'
      const port = event.destinationPort
      const sender = who(source)
      const isHidden =
        direction === 'ingress' && sender.kind === 'node' && isLent({ protocol, port }, event.sourcePort)
      const said: Said = {
        ...{ kind, direction, protocol, port, rule: ruleText(event.serviceId, name) },
        source: isHidden ? outsideAs(source) : sender.name,
        destination: who(destination).name,
        ...(typeof name === 'object' ? { name } : {}),
        last: { source, sourcePort: event.sourcePort, destination },
      }
      this.#note(said, bootMs + Number(event.timeNs / 1_000_000n))
    }
  }

  /** Seen last first. */
  list(): PolicyRecord[] {
    return [...this.#records.values()].reverse()
  }

  get count(): number {
    return this.#records.size
  }

  /** By `KIND KEY` of the policy: also of what is not listed any more. */
  get tallies(): ReadonlyMap<string, Tally> {
    return this.#tallies
  }

  keep(): KeptRecords {
    return { records: [...this.#records.values()], tallies: Object.fromEntries(this.#tallies) }
  }

  #note(said: Said, timeMs: number): void {
    this.revision += 1
    if (said.name) this.#tally(`${said.name.kind} ${said.name.key}`)[said.kind] += 1
    const place = this.#placeOf(said)
    const known = this.#records.get(place.key)
    this.#records.delete(place.key)
    this.#records.set(place.key, {
      ...place.said,
      count: (known?.count ?? 0) + 1,
      firstMs: known?.firstMs ?? timeMs,
      lastMs: timeMs,
    })
    if (known === undefined && place.isOutside)
      this.#outsiders.set(place.crowd, (this.#outsiders.get(place.crowd) ?? 0) + 1)
    if (this.#records.size > RECORDS_MAX) this.#forgetOldest()
  }

  /** Of too many addresses outside none has a record of its own. */
  #placeOf(said: Said): { readonly said: Said } & ReturnType<typeof keyOf> {
    const own = keyOf(said, said)
    const isFull = own.isOutside && (this.#outsiders.get(own.crowd) ?? 0) >= OUTSIDERS_MAX
    if (!isFull || this.#records.has(own.key)) return { said, ...own }
    const folded = { ...said, [peerOf(said)]: OUTSIDE }
    return { said: folded, ...keyOf(folded, said), isOutside: false }
  }

  #tally(policy: string): Record<RecordKind, number> {
    const isRoom = this.#tallies.size < TALLIES_MAX || this.#tallies.has(policy)
    const key = isRoom ? policy : OTHERS
    const known = this.#tallies.get(key) ?? { dropped: 0, 'would-drop': 0, 'would-pass': 0 }
    this.#tallies.set(key, known)
    return known
  }

  #forgetOldest(): void {
    for (const [key, record] of this.#records) {
      this.#records.delete(key)
      this.forgotten += 1
      const { crowd, isOutside } = keyOf(record, record)
      const left = (this.#outsiders.get(crowd) ?? 0) - 1
      if (isOutside && left > 0) this.#outsiders.set(crowd, left)
      else if (isOutside) this.#outsiders.delete(crowd)
      return
    }
  }
}

function peerOf({ direction }: Pick<Said, 'direction'>): 'source' | 'destination' {
  return direction === 'egress' ? 'destination' : 'source'
}

/** @param crowd of the same, whoever the peer is */
function keyOf(
  said: Said,
  original: Said,
): { readonly key: string; readonly crowd: string; readonly isOutside: boolean } {
  const { kind, direction, source, destination, protocol, port, rule } = said
  const peer = peerOf(said)
  const subject = peer === 'source' ? destination : source
  const crowd = [kind, direction, subject, protocol, port, rule].join('|')
  // Who is nobody here is called by the address.
  const isOutside = said[peer] === original.last[peer]
  return { key: `${crowd}|${said[peer]}`, crowd, isOutside }
}
