// Claims under disturbance: a link is cut, a pod is deleted, an agent is killed, each while clients go on asking.
//
// One after the other: a pod that becomes ready on a node whose agent is away is known to every node but its own, and
// requests to it are lost until that agent is back. The cut link is healed at once and its sessions are looked at last,
// for routers take seconds to come back.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Host } from '../host.ts'
import { cutLink, findLink, healLink } from '../links.ts'
import type { LoadReport } from '../load.ts'
import { startAgent } from '../nodes.ts'
import { findProcess } from '../process.ts'
import { routerNames, routerSessions } from '../routers.ts'
import { waitUntil } from '../wait.ts'
import { askAgent, type Finding, loadFrom, type ProofContext, urlOf } from './context.ts'
import { listPods } from './sample.ts'

const CUT_LINK = 'node1:to-tor1'
const CUT_AFTER_MS = 500
/** The loss is bounded over this time after the cut, and must be zero afterwards. */
const CONVERGED_MS = 5000
const LOSS_MAX = 0.01
/** The load goes on this long after the bounded time. */
const AFTER_SECONDS = 2
const RATE = 200
const KILL_RATE = 1000
const KILL_AFTER_MS = 800
const RESTART_AFTER_MS = 500
const KILL_SECONDS = 3
const WAITING_MAX = 2000
const SESSIONS_MS = 30_000

/** Requests on a schedule; a stall lets this many wait at once before the schedule itself is held up. */
function pacedLoad(host: Host, url: string, rate: number, seconds: number): Promise<LoadReport> {
  const args = ['--rate', String(rate), '--seconds', String(seconds), '--concurrency', String(WAITING_MAX)]
  return loadFrom(host, url, args)
}

function describe(report: LoadReport): string {
  const { p50, p99, max } = report.latencyMs
  const slow = report.slow > 0 ? ` (${report.slow} took over 0.9 s)` : ''
  return `${report.answered} of ${report.started} answered; p50 ${p50} ms, p99 ${p99} ms, longest ${max} ms${slow}`
}

function reasons(report: LoadReport): string[] {
  const counts = new Map<string, number>()
  for (const { reason } of report.failures) counts.set(reason, (counts.get(reason) ?? 0) + 1)
  return [...counts].map(([reason, count]) => `${count} × ${reason}`)
}

export async function proveLinkCut({ rack, service }: ProofContext): Promise<Finding[]> {
  const link = findLink(rack.plan, CUT_LINK)
  const seconds = (CUT_AFTER_MS + CONVERGED_MS) / 1000 + AFTER_SECONDS
  // Each VIP, so each family, from a client of its own.
  const loads = service.vips.map((vip, index) => {
    const client = rack.plan.clients[index % rack.plan.clients.length]?.name ?? 'client1'
    return pacedLoad(rack.host(client), urlOf(vip, '/hostname'), RATE, seconds)
  })
  // The generators are processes that have to start first; their reports tell when each lost request began.
  await sleep(CUT_AFTER_MS)
  const cutAtMs = Date.now()
  try {
    await cutLink(link, rack.host)
    const reports = await Promise.all(loads)
    const failures = reports.flatMap((report) => report.failures)
    const early = failures.filter((failure) => failure.atMs < cutAtMs + CONVERGED_MS).length
    const late = failures.length - early
    const askedInTime = (reports.length * RATE * CONVERGED_MS) / 1000
    return [
      {
        claim: `link ${CUT_LINK} cut: at most ${LOSS_MAX * 100} % of requests in the next ${CONVERGED_MS / 1000} s are lost`,
        holds: early / askedInTime <= LOSS_MAX,
        seen: `${early} of ${askedInTime}`,
        details: reports.flatMap((report, index) => [
          `${service.vips[index]}: ${describe(report)}`,
          ...reasons(report),
        ]),
      },
      { claim: `and none in the ${AFTER_SECONDS} s after that`, holds: late === 0, seen: `${late} lost` },
    ]
  } finally {
    await Promise.allSettled(loads)
    await healLink(link, rack.host)
  }
}

export async function proveHealed({ rack }: ProofContext): Promise<Finding> {
  let seen = ''
  const look = async () => {
    const sessions = await Promise.all(routerNames(rack.plan).map((name) => routerSessions(rack, name)))
    const up = sessions
      .flat()
      .filter((session) => session.state === 'Established' && session.prefixesAccepted > 0)
    seen = `${up.length} of ${sessions.flat().length} sessions`
    return up.length === sessions.flat().length
  }
  const holds = await waitUntil('the sessions over the healed link', SESSIONS_MS, look).then(
    () => true,
    () => false,
  )
  return { claim: `link ${CUT_LINK} healed: its sessions are back`, holds, seen }
}

export async function provePodDeletion({ rack, service, kubectl }: ProofContext): Promise<Finding> {
  const victim = service.pods[0]?.name ?? ''
  const url = urlOf(service.vips[1] ?? service.vips[0] ?? '', '/hostname')
  const load = pacedLoad(rack.host('client2'), url, RATE, KILL_SECONDS)
  await sleep(KILL_AFTER_MS)
  await kubectl('delete', 'pod', victim, '--wait=false')
  const report = await load
  await kubectl('rollout', 'status', 'deployment/web', '--timeout=60s')
  const left = await listPods(kubectl)
  return {
    claim: 'a pod is deleted: no request fails',
    holds:
      report.failures.length === 0 &&
      report.answered === report.started &&
      left.every((pod) => pod.name !== victim),
    seen: `${report.failures.length} of ${report.started} failed`,
    details: [describe(report), ...reasons(report)],
  }
}

export async function proveAgentKill({ rack, service }: ProofContext): Promise<Finding> {
  const node = rack.plan.nodes[rack.plan.nodes.length - 1]
  if (!node) throw new RangeError('a rack without nodes proves nothing')
  const url = urlOf(service.vips[0] ?? '', '/hostname')
  const load = pacedLoad(rack.host('client1'), url, KILL_RATE, KILL_SECONDS)
  await sleep(KILL_AFTER_MS)
  const agent = findProcess(`${rack.host(node.name).directory}/agent.pid`)
  if (agent) process.kill(agent.pid, 'SIGKILL')
  await sleep(RESTART_AFTER_MS)
  await startAgent(rack, node)
  const report = await load
  await waitUntil(`the agent of ${node.name} to have synced`, SESSIONS_MS, async () => {
    const status = await askAgent<{ synced: boolean }>(rack, node.name, '/v1/status').catch(() => undefined)
    return status?.synced === true
  })
  return {
    claim: `the agent of ${node.name} is killed (kill -9) and started again during ${KILL_RATE} requests/s: none fails`,
    holds: agent !== undefined && report.failures.length === 0 && report.answered === report.started,
    seen: `${report.failures.length} of ${report.started} failed`,
    details: [describe(report), ...reasons(report)],
  }
}
