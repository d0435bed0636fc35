// The drops that the programs tell of, the newest kept for who asks. The ring is looked at at intervals, whatever comes: a flood
// then fills a quarter of it in between, from where on the programs send a sample only, and this process has some thousand events
// a second to read instead of all. What finds no room in the ring is counted by the programs (EVENT_LOST); the counters by reason
// are whole in any case.

import { decodePacketEvent, EventKind, VERDICT_REASON_NAMES, VerdictReason } from '../datapath/abi.gen.ts'
import { type Address, formatAddress } from '../model/address.ts'
import type { RingBatch } from '../sys/libbpf-ts/index.ts'

export const DROPS_KEPT_MAX = 1000
/** Between two looks at the ring. */
export const DROPS_LOOK_MS = 250

export interface Drop {
  /** Milliseconds since the epoch. */
  readonly timeMs: number
  /** Name of enum verdict_reason without its prefix. */
  readonly reason: string
  readonly source: Address
  readonly sourcePort: number
  readonly destination: Address
  readonly destinationPort: number
  /** A pod's workload; undefined: it is none's. */
  readonly sourceName?: string | undefined
  readonly destinationName?: string | undefined
  /** `TCP`, or the number of one that has no name here. */
  readonly protocol: string
  readonly ifindex: number
  /** `namespace/name`; undefined: no Service was found. */
  readonly service: string | undefined
  /** Of what policy denied: by which rule. */
  readonly rule?: string
  readonly ruleId?: number
}

/** ICMP's and ICMPv6's messages have none, though policy's events name their type there. */
const WITHOUT_PORTS: ReadonlySet<number> = new Set([1, 58])

const PROTOCOLS: ReadonlyMap<number, string> = new Map([
  [1, 'ICMP'],
  [6, 'TCP'],
  [17, 'UDP'],
  [58, 'ICMPv6'],
  [132, 'SCTP'],
])

/** Their event names a rule in the Service's place. */
const BY_POLICY: ReadonlySet<number> = new Set([
  VerdictReason.REASON_POLICY_INGRESS,
  VerdictReason.REASON_POLICY_EGRESS,
])

export class DropLog {
  readonly #kept: Drop[] = []
  readonly #serviceOf: (serviceId: number) => string | undefined
  readonly #ruleOf: (rule: number) => string
  readonly #nameAt: (address: Address) => string | undefined
  readonly #bootMs: number
  #next = 0

  /** From when on drops are listed. */
  readonly sinceMs: number

  /**
   * @param bootMs when the node came up, milliseconds since the epoch: events count from there
   * @param ruleOf a rule of policy by its number
   * @param nameAt the workload of the pod that has an address
   */
  constructor(
    serviceOf: (serviceId: number) => string | undefined,
    bootMs: number,
    nowMs: number,
    ruleOf: (rule: number) => string = (rule) => `rule ${rule}`,
    nameAt: (address: Address) => string | undefined = () => undefined,
  ) {
    this.#serviceOf = serviceOf
    this.#ruleOf = ruleOf
    this.#nameAt = nameAt
    this.#bootMs = bootMs
    this.sinceMs = nowMs
  }

  /** Takes a batch of the ring. */
  take(batch: RingBatch): void {
    // What this batch itself would push out again is not decoded.
    for (let index = Math.max(0, batch.count - DROPS_KEPT_MAX); index < batch.count; index++) {
      const event = decodePacketEvent(batch.data, batch.offsets[index] ?? 0)
      if (event.kind !== EventKind.EVENT_DROP) continue
      const hasPorts = !WITHOUT_PORTS.has(event.protocol)
      const [source, destination] = [formatAddress(event.source), formatAddress(event.destination)]
      this.#kept[this.#next] = {
        timeMs: this.#bootMs + Number(event.timeNs / 1_000_000n),
        reason: VERDICT_REASON_NAMES.get(event.reason)?.replace('REASON_', '') ?? String(event.reason),
        source,
        sourceName: this.#nameAt(source),
        sourcePort: hasPorts ? event.sourcePort : 0,
        destination,
        destinationName: this.#nameAt(destination),
        destinationPort: hasPorts ? event.destinationPort : 0,
        protocol: PROTOCOLS.get(event.protocol) ?? String(event.protocol),
        ifindex: event.ifindex,
        ...this.#named(event.reason, event.serviceId),
      }
      this.#next = (this.#next + 1) % DROPS_KEPT_MAX
    }
  }

  /** What policy denies names its rule in the Service's place. */
  #named(reason: number, number: number): Pick<Drop, 'service' | 'rule' | 'ruleId'> {
    if (BY_POLICY.has(reason)) return { service: undefined, rule: this.#ruleOf(number), ruleId: number }
    return { service: number === 0 ? undefined : this.#serviceOf(number) }
  }

  /** The newest `count`, oldest first. */
  newest(count: number): Drop[] {
    const inOrder = [...this.#kept.slice(this.#next), ...this.#kept.slice(0, this.#next)]
    return inOrder.slice(Math.max(0, inOrder.length - count))
  }
}
