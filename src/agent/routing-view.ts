// What the local API says and does about the configuration of routing: how it stands, what another one would change, and its trial
// (apply, confirm, rollback).

import type { NodeRouting } from '../model/routing.ts'
import { AllowedError } from '../routing/allowed.ts'
import { diffAnnounced, type PeerChanges } from '../routing/diff.ts'
import type { RoutingProblem } from '../routing/sources/node-facts.ts'
import type { Parts } from './agent.ts'
import { CandidateError, type CandidateStatus, CONFIRM_MAX_MS } from './config-candidate.ts'
import type { LiveRoutingStatus } from './live-routing.ts'
import { type LocalHandler, RequestError } from './local-api.ts'

type RoutingParts = Pick<Parts, 'inForce' | 'live' | 'routing'>

export interface RoutingView extends LiveRoutingStatus {
  /** Undefined: no source gives this node an AS number. */
  readonly routing: NodeRouting | undefined
}

export interface RoutingDiff {
  readonly peers: readonly PeerChanges[]
  /** Other settings of the node that differ. */
  readonly keys: readonly string[]
  /** What of the other configuration would not be followed. */
  readonly problems: readonly RoutingProblem[]
}

export interface ApplyAnswer {
  readonly diff: RoutingDiff
  readonly candidate: CandidateStatus | undefined
}

export function routingHandlers(parts: RoutingParts): Record<string, LocalHandler> {
  const { inForce, live } = parts
  const status = () => ({ candidate: inForce.candidate.status })
  return {
    '/v1/routing': (): RoutingView => ({ ...live.status(), routing: withoutPasswords(live.sources.current) }),
    'POST /v1/routing/diff': (_, body) => refusals(() => diff(parts, body)),
    'POST /v1/routing/apply': (query, body) =>
      refusals(async (): Promise<ApplyAnswer> => {
        const confirmMs = readConfirm(query)
        const made = await diff(parts, body)
        if (made.problems.length > 0 && query.get('force') !== 'true')
          throw new RequestError(409, describeProblems(made.problems))
        inForce.candidate.apply(body, confirmMs)
        return { diff: made, ...status() }
      }),
    'POST /v1/routing/confirm': () =>
      refusals(async () => {
        inForce.candidate.confirm()
        return status()
      }),
    'POST /v1/routing/rollback': () =>
      refusals(async () => {
        inForce.candidate.rollback()
        return status()
      }),
  }
}

async function diff({ inForce, live, routing }: RoutingParts, text: string): Promise<RoutingDiff> {
  const now = live.sources.current
  const next = inForce.candidate.check(text)
  const merged = live.sources.plan(next)
  if (merged.routing === undefined) throw new RequestError(400, describeProblems(merged.problems))
  const ofDaemon = live.daemonKeys(merged.routing)
  if (ofDaemon.length > 0)
    throw new RequestError(
      409,
      `${ofDaemon.join(', ')} can be other than gobgpd was started with only after both have restarted: change the file, and restart the pod`,
    )
  const known = new Set(live.status().problems.map(problemKey))
  return {
    peers: diffAnnounced(
      {
        peers: now?.peers ?? [],
        announcements: now ? await routing.preview(now, live.sources.pools) : new Map(),
      },
      {
        peers: merged.routing.peers,
        announcements: await routing.preview(merged.routing, live.sources.joinedPools(next).pools),
      },
    ),
    keys: changedKeys(now, merged.routing),
    problems: merged.problems.filter((problem) => !known.has(problemKey(problem))),
  }
}

function problemKey({ source, why }: RoutingProblem): string {
  return `${source}: ${why}`
}

function describeProblems(problems: readonly RoutingProblem[]): string {
  return `not everything of it would be followed:\n${problems.map((one) => `  ${problemKey(one)}`).join('\n')}`
}

/** Peers and what goes to them are compared on their own. */
function changedKeys(before: NodeRouting | undefined, after: NodeRouting): readonly string[] {
  const keys = (Object.keys(after) as (keyof NodeRouting)[]).filter(
    (key) => key !== 'peers' && key !== 'rules',
  )
  return keys.filter((key) => JSON.stringify(before?.[key]) !== JSON.stringify(after[key])).sort()
}

/** Kept by sources that hold them in clear, and nobody else's business. */
export function withoutPasswords(routing: NodeRouting | undefined): NodeRouting | undefined {
  return (
    routing && {
      ...routing,
      peers: routing.peers.map((peer) =>
        peer.password?.kind === 'inline' ? { ...peer, password: { kind: 'inline', text: '' } } : peer,
      ),
    }
  )
}

const MS = 1000

function readConfirm(query: URLSearchParams): number | undefined {
  const text = query.get('confirm')
  if (text === null) return undefined
  const seconds = /^\d{1,6}$/.test(text) ? Number(text) : 0
  if (seconds >= 1 && seconds * MS <= CONFIRM_MAX_MS) return seconds * MS
  throw new RequestError(400, `confirm=${text} is no number of seconds from 1 to ${CONFIRM_MAX_MS / MS}`)
}

/** What a user can mend is no failure of the agent. */
async function refusals<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof AllowedError) throw new RequestError(400, error.message)
    if (!(error instanceof CandidateError)) throw error
    throw new RequestError(error.code === 'INVALID' ? 400 : 409, error.message)
  }
}
