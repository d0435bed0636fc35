// Routing as the local API shows it: what is announced, refused and waiting, and why a prefix is announced or is not.

import {
  type Address,
  addressBits,
  familyOf,
  liesWithin,
  type Prefix,
  parseAddress,
  parsePrefix,
  prefixParts,
} from '../model/address.ts'
import type { Announcement, AnnouncementRow, RefusedAnnouncement } from '../model/announcement.ts'
import type { AnnounceKind, DrainMark, NodeRouting } from '../model/routing.ts'
import type { ChangePacer } from '../routing/change-pacer.ts'
import { exportsOf } from '../routing/exports.ts'
import type { AnnouncementGuard } from '../routing/guard.ts'
import type { VipContext } from '../routing/plan-announcements.ts'
import type { VipPlans } from '../routing/vip-plans.ts'
import { explainPrefix, type Why } from '../routing/why.ts'
import type { SpeakerStatus } from '../speaker/speaker.ts'
import type { ServedService } from './service-loop.ts'
import { vipFacts } from './vip-facts.ts'

export interface WaitingChange {
  readonly prefix: Prefix
  readonly change: 'announce' | 'change' | 'withdraw'
  readonly reason: string
}

export interface RoutingStatus extends SpeakerStatus {
  /** Changes that wait for their turn. */
  readonly waiting: readonly WaitingChange[]
  /** Why the newest configuration is not in force; undefined: it is. */
  readonly refusedRouting: string | undefined
}

export function mergeStatus(
  status: SpeakerStatus,
  pacer: ChangePacer,
  refused: readonly RefusedAnnouncement[],
  refusedRouting: string | undefined,
): RoutingStatus {
  const reason = waitingReason(pacer)
  const told = new Set(status.announcements.map(({ prefix }) => prefix))
  const waiting = [...pacer.waiting]
  return {
    ...status,
    announcements: [
      ...status.announcements,
      ...waiting.flatMap(([prefix, row]) =>
        row && !told.has(prefix) ? [{ ...row, status: { kind: 'pending', reason } as const }] : [],
      ),
    ],
    refused,
    waiting: waiting.map(([prefix, row]) => ({
      prefix,
      change: row === undefined ? 'withdraw' : told.has(prefix) ? 'change' : 'announce',
      reason,
    })),
    refusedRouting,
  }
}

function waitingReason({ changesPerSecond }: ChangePacer): string {
  return `it waits for its turn: routers are told ${changesPerSecond} changes a second (routing.maxChangesPerSecond)`
}

export interface WhyParts {
  readonly routing: NodeRouting | undefined
  readonly context: VipContext
  readonly served: Iterable<ServedService>
  readonly plans: VipPlans
  /** By asker, which is the prefix itself. */
  readonly own: ReadonlyMap<string, Announcement>
  readonly guard: AnnouncementGuard
  readonly pacer: ChangePacer
  readonly announcements: readonly AnnouncementRow[]
  readonly mark: DrainMark | undefined
  readonly sessions: SpeakerStatus['sessions']
}

const ALL_KINDS: ReadonlySet<AnnounceKind> = new Set(['load-balancer-ip', 'external-ip', 'cluster-ip'])

/** @param text an address or a prefix; undefined is answered to what is neither */
export function whyPrefix(text: string, parts: WhyParts): Why | undefined {
  const prefix = readPrefix(text)
  if (prefix === undefined) return undefined
  const { routing, context, plans, guard, pacer, own } = parts
  const family = familyOf(prefix)
  const vip = prefix.slice(0, prefix.indexOf('/')) as Address
  const isSingle = prefix === singlePrefix(vip)
  const kind = ownKind(prefix, routing)
  const asker = kind === undefined ? vip : prefix
  const facts =
    kind !== undefined || !isSingle
      ? []
      : [...parts.served].flatMap((served) => vipFacts(served, ALL_KINDS).filter((fact) => fact.vip === vip))
  const covering = kind === undefined && facts.length === 0 ? coveringOwn(prefix, routing) : undefined
  // Routers look an address up by the longest prefix that holds it; who asks about a prefix means that one.
  if (covering !== undefined && parseAddress(text) !== undefined) return ofCovering(vip, covering, parts)
  const view = kind === undefined && isSingle ? plans.view(vip) : undefined
  const pool = kind === undefined ? context.poolOf(vip) : undefined
  const subjects =
    kind === undefined
      ? facts.map(({ kinds, service }) => ({ kinds, family, pool, service }))
      : [{ kinds: [kind], family, pool, service: undefined }]
  const asked = kind === undefined ? view?.announcement : own.get(prefix)
  const exports = asked?.exports ?? exportsOf(context.routing, subjects)
  return explainPrefix({
    prefix,
    family,
    own: kind,
    pool: context.poolOf(vip),
    facts,
    view,
    context,
    exports,
    refusal: guard.refusalOf(asker),
    waits: pacer.waiting.has(prefix) ? waitingReason(pacer) : undefined,
    told: parts.announcements.find((row) => row.prefix === prefix)?.status,
    mark: parts.mark,
    established: new Set(
      parts.sessions.filter(({ session }) => session === 'established').map(({ name }) => name),
    ),
  })
}

/** The longest of the node's own prefixes that another lies in. */
function coveringOwn(prefix: Prefix, routing: NodeRouting | undefined): Prefix | undefined {
  const own = [...(routing?.loopbacks ?? []), ...(routing?.podCidrs ?? [])]
  const lengthOf = (one: Prefix) => prefixParts(one).length
  return own
    .filter((one) => one !== prefix && liesWithin(prefixParts(prefix), prefixParts(one)))
    .sort((a, b) => lengthOf(b) - lengthOf(a))[0]
}

function ofCovering(asked: Address, covering: Prefix, parts: WhyParts): Why | undefined {
  const why = whyPrefix(covering, parts)
  return why && { ...why, asked, summary: `${asked} is in ${covering}. ${why.summary}` }
}

function ownKind(prefix: Prefix, routing: NodeRouting | undefined): 'loopback' | 'pod-cidr' | undefined {
  if (routing?.loopbacks.includes(prefix)) return 'loopback'
  return routing?.podCidrs.includes(prefix) ? 'pod-cidr' : undefined
}

function readPrefix(text: string): Prefix | undefined {
  const address = parseAddress(text)
  return address === undefined ? parsePrefix(text) : singlePrefix(address)
}

function singlePrefix(address: Address): Prefix {
  return `${address}/${addressBits(familyOf(address))}` as Prefix
}
