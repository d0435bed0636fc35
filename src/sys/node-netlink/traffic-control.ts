// What hangs on links at tc: queueing disciplines and filters. Listed, to see who else is there; a clsact is removed.

import type { Connection } from './connection.ts'
import { Attributes, type Message, zeroed } from './message.ts'

const RTM_NEWQDISC = 36
const RTM_DELQDISC = 37
const RTM_GETQDISC = 38
const RTM_NEWTFILTER = 44
const RTM_GETTFILTER = 46

const TCA_KIND = 1
const TCA_OPTIONS = 2
const TCA_BPF_NAME = 7
const TCA_BPF_ID = 11

/** struct tcmsg { family, index, handle, parent, info }. */
const headerBytes = 20
const CLSACT_HANDLE = 0xffff_0000
const CLSACT_PARENT = 0xffff_fff1
const PARENTS = { ingress: 0xffff_fff2, egress: 0xffff_fff3 } as const

export type FilterDirection = keyof typeof PARENTS

export interface Qdisc {
  readonly index: number
  /** `clsact`, `fq_codel`, `noqueue`, … */
  readonly kind: string
}

export interface Filter {
  readonly index: number
  readonly direction: FilterDirection
  /** Lower runs first. */
  readonly priority: number
  readonly handle: number
  /** `bpf`, `u32`, `flower`, … */
  readonly kind: string
  /** Of a `bpf` filter. */
  readonly programId: number | undefined
  readonly programName: string | undefined
}

export class TrafficControl {
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
  }

  qdiscs(signal?: AbortSignal): Promise<Qdisc[]> {
    return this.#connection.dump({
      type: RTM_GETQDISC,
      body: encodeHeader(0, 0, 0),
      action: 'list queueing disciplines',
      decode: ({ type, body }) =>
        type === RTM_NEWQDISC
          ? { index: body.readInt32LE(4), kind: new Attributes(body, headerBytes).text(TCA_KIND) ?? '' }
          : undefined,
      signal,
    })
  }

  /** Empty where the link has no clsact. */
  filters(index: number, direction: FilterDirection, signal?: AbortSignal): Promise<Filter[]> {
    return this.#connection.dump({
      type: RTM_GETTFILTER,
      body: encodeHeader(index, 0, PARENTS[direction]),
      action: `list ${direction} filters of link ${index}`,
      decode: (message) => decodeFilter(message, direction),
      signal,
    })
  }

  /** Removes the link's clsact with every filter in it. Fails with ENOENT or EINVAL when there is none. */
  async deleteClsact(index: number, signal?: AbortSignal): Promise<void> {
    await this.#connection.ask({
      type: RTM_DELQDISC,
      body: encodeHeader(index, CLSACT_HANDLE, CLSACT_PARENT),
      action: `delete the clsact of link ${index}`,
      signal,
    })
  }
}

function encodeHeader(index: number, handle: number, parent: number): Buffer {
  const header = zeroed(headerBytes)
  header.writeInt32LE(index, 4)
  header.writeUInt32LE(handle, 8)
  header.writeUInt32LE(parent, 12)
  return header
}

/** A dump tells each chain of filters first by a row without handle, which is no filter. */
function decodeFilter({ type, body }: Message, direction: FilterDirection): Filter | undefined {
  if (type !== RTM_NEWTFILTER) return undefined
  const handle = body.readUInt32LE(8)
  if (handle === 0) return undefined
  const attributes = new Attributes(body, headerBytes)
  const kind = attributes.text(TCA_KIND) ?? ''
  const options = kind === 'bpf' ? attributes.nested(TCA_OPTIONS) : undefined
  return {
    index: body.readInt32LE(4),
    direction,
    priority: body.readUInt32LE(16) >>> 16,
    handle,
    kind,
    programId: options?.u32(TCA_BPF_ID),
    programName: options?.text(TCA_BPF_NAME),
  }
}
