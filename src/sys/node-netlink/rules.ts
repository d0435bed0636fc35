// Rules: which routing table a packet is looked up in, tried in the order of their priorities.

import { checkInteger, checkInterfaceName, nameOf } from './checks.ts'
import type { Connection } from './connection.ts'
import { NetlinkError } from './errors.ts'
import { type Family, families, familyFromNumber, familyNumber, formatPrefix, parsePrefix } from './family.ts'
import { Attributes, BodyWriter, type Message, NLM_F_CREATE, NLM_F_EXCL } from './message.ts'
import { mainTable } from './routes.ts'

export const RTM_NEWRULE = 32
export const RTM_DELRULE = 33
const RTM_GETRULE = 34

const FRA_DST = 1
const FRA_SRC = 2
const FRA_IIFNAME = 3
const FRA_PRIORITY = 6
const FRA_FWMARK = 10
const FRA_TABLE = 15
const FRA_FWMASK = 16
const FRA_OIFNAME = 17
const FRA_PROTOCOL = 21
const FIB_RULE_INVERT = 0x2
const RT_TABLE_COMPAT = 252

const ruleActions = { table: 1, goto: 2, nop: 3, blackhole: 6, unreachable: 7, prohibit: 8 } as const

export type RuleAction = keyof typeof ruleActions

export interface Rule {
  readonly family: Family
  readonly priority: number
  readonly action: RuleAction | `${number}`
  /** Of action `table`. */
  readonly table: number
  readonly from: string | undefined
  readonly to: string | undefined
  readonly mark: number | undefined
  readonly mask: number | undefined
  readonly inputInterface: string | undefined
  readonly outputInterface: string | undefined
  readonly isInverted: boolean
  /** RTPROT_*: who wrote it. */
  readonly protocol: number
}

export interface RuleSpec {
  readonly family: Family
  readonly priority: number
  readonly action?: Exclude<RuleAction, 'goto'> | undefined
  readonly table?: number | undefined
  readonly from?: string | undefined
  readonly to?: string | undefined
  readonly mark?: number | undefined
  readonly mask?: number | undefined
  readonly inputInterface?: string | undefined
  readonly outputInterface?: string | undefined
  readonly protocol?: number | undefined
}

export class Rules {
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
  }

  async list(family?: Family, signal?: AbortSignal): Promise<Rule[]> {
    const wanted = family ? [family] : families
    const lists = await Promise.all(
      wanted.map((one) => {
        const body = encodeHeader(familyNumber(one), 0, 0, 0, 0)
        return this.#connection.dump({
          type: RTM_GETRULE,
          body,
          action: `list ${one} rules`,
          decode: decodeRule,
          signal,
        })
      }),
    )
    return lists.flat()
  }

  /** Fails with EEXIST when the same rule is there. */
  async add(spec: RuleSpec, signal?: AbortSignal): Promise<void> {
    const request = { type: RTM_NEWRULE, flags: NLM_F_CREATE | NLM_F_EXCL, body: encodeRule(spec), signal }
    await this.#connection.ask({ ...request, action: `add ${describe(spec)}` })
  }

  /** Deletes the first rule that has all that the spec says. Fails with ENOENT when there is none. */
  async delete(spec: RuleSpec, signal?: AbortSignal): Promise<void> {
    const request = { type: RTM_DELRULE, body: encodeRule(spec), signal }
    await this.#connection.ask({ ...request, action: `delete ${describe(spec)}` })
  }
}

export function decodeRule({ body }: Message): Rule | undefined {
  const family = familyFromNumber(body.readUInt8(0))
  if (family === undefined) return undefined
  const attributes = new Attributes(body, 12)
  const to = attributes.bytes(FRA_DST)
  const from = attributes.bytes(FRA_SRC)
  return {
    family,
    priority: attributes.u32(FRA_PRIORITY) ?? 0,
    action: nameOf(ruleActions, body.readUInt8(7)),
    table: attributes.u32(FRA_TABLE) ?? body.readUInt8(4),
    to: to && formatPrefix(family, to, body.readUInt8(1)),
    from: from && formatPrefix(family, from, body.readUInt8(2)),
    mark: attributes.u32(FRA_FWMARK),
    mask: attributes.u32(FRA_FWMASK),
    inputInterface: attributes.text(FRA_IIFNAME),
    outputInterface: attributes.text(FRA_OIFNAME),
    isInverted: (body.readUInt32LE(8) & FIB_RULE_INVERT) !== 0,
    protocol: attributes.u8(FRA_PROTOCOL) ?? 0,
  }
}

/** struct fib_rule_hdr. */
function encodeHeader(
  family: number,
  toLength: number,
  fromLength: number,
  table: number,
  action: number,
): Buffer {
  return Buffer.from([
    family,
    toLength,
    fromLength,
    0,
    table > 255 ? RT_TABLE_COMPAT : table,
    0,
    0,
    action,
    0,
    0,
    0,
    0,
  ])
}

function encodeRule(spec: RuleSpec): Buffer {
  const to = prefixOf(spec.to, spec.family)
  const from = prefixOf(spec.from, spec.family)
  const action = spec.action ?? 'table'
  const table = action === 'table' ? checkInteger('a table', spec.table ?? mainTable, 1, 0xffff_ffff) : 0
  const { inputInterface, outputInterface } = spec
  return new BodyWriter()
    .fixed(
      encodeHeader(familyNumber(spec.family), to?.length ?? 0, from?.length ?? 0, table, ruleActions[action]),
    )
    .bytes(FRA_DST, to?.bytes)
    .bytes(FRA_SRC, from?.bytes)
    .u32(FRA_PRIORITY, checkInteger('a rule priority', spec.priority, 0, 0xffff_ffff))
    .u32(FRA_TABLE, table === 0 ? undefined : table)
    .u32(FRA_FWMARK, spec.mark)
    .u32(FRA_FWMASK, spec.mask)
    .text(FRA_IIFNAME, inputInterface === undefined ? undefined : checkInterfaceName(inputInterface))
    .text(FRA_OIFNAME, outputInterface === undefined ? undefined : checkInterfaceName(outputInterface))
    .u8(FRA_PROTOCOL, spec.protocol)
    .finish()
}

/** Undefined for a prefix of length 0 too: it matches everything, and the kernel wants no attribute then. */
function prefixOf(text: string | undefined, family: Family): { bytes: Buffer; length: number } | undefined {
  if (text === undefined) return undefined
  const prefix = parsePrefix(text)
  if (prefix.family !== family) throw new NetlinkError('INVALID_INPUT', `${text} is no ${family} prefix`)
  return prefix.length === 0 ? undefined : prefix
}

function describe(spec: RuleSpec): string {
  return `${spec.family} rule ${spec.priority}`
}
