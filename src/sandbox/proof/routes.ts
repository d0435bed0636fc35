// Claims about routing, read from the routers: sessions by vtysh and birdc, and the kernel tables of both ToRs.

import type { AddressPlan } from '../address-plan.ts'
import { runIn } from '../host.ts'
import { routerBfdSessions, routerNames, routerSessions } from '../routers.ts'
import { waitUntil } from '../wait.ts'
import type { Finding, ProofContext } from './context.ts'

const SETTLE_MS = 15_000

interface KernelRoute {
  readonly dst: string
  readonly gateway?: string
  readonly nexthops?: readonly { readonly gateway?: string; readonly dev?: string }[]
}

export async function proveSessions({ rack }: ProofContext): Promise<Finding> {
  const perRouter = await Promise.all(routerNames(rack.plan).map((name) => routerSessions(rack, name)))
  const sessions = perRouter.flat()
  const established = sessions.filter((session) => session.state === 'Established')
  const expected = expectedSessions(rack.plan)
  return {
    claim: 'all BGP sessions are Established, as the routers say',
    holds: established.length === expected && sessions.length === expected,
    seen: `${established.length} of ${expected}`,
    details: sessions
      .filter((session) => session.state !== 'Established')
      .map((session) => `${session.router} to ${session.peer} (${session.family}): ${session.state}`),
  }
}

/** Nodes keep them up in the kernel: see bpf/lib/bfd.h. */
export async function proveBfd({ rack }: ProofContext): Promise<Finding> {
  const perRouter = await Promise.all(
    rack.plan.tors.map(async ({ name }) =>
      (await routerBfdSessions(rack, name)).map((session) => ({ router: name, ...session })),
    ),
  )
  const spine = new Set(spineAddresses(rack.plan))
  const sessions = perRouter.flat().filter(({ address }) => !spine.has(address))
  const up = sessions.filter(({ isUp }) => isUp)
  const expected = sessionsOfNodes(rack.plan)
  return {
    claim: 'every node is watched by BFD, as both ToRs say',
    holds: up.length === expected,
    seen: `${up.length} of ${expected} sessions up`,
    details: sessions
      .filter(({ isUp }) => !isUp)
      .map(({ router, address }) => `${router} to ${address}: down`),
  }
}

/** Routers watch each other too. */
export function spineAddresses({ links }: AddressPlan): string[] {
  return links
    .filter(({ kind }) => kind === 'tor-spine')
    .flatMap(({ upper }) => Object.values(upper.address).map((address) => address.split('/')[0] ?? ''))
}

/** Two ToRs to each node and to the spine, once per family; the sessions among routers are told by both ends. */
function expectedSessions(plan: AddressPlan): number {
  return sessionsOfNodes(plan) + 2 * plan.tors.length * 2
}

/** One session carries both families over link-local addresses. */
function sessionsOfNodes({ nodes, tors, isUnnumbered }: AddressPlan): number {
  const ofNode = ({ families }: AddressPlan['nodes'][number]) => (isUnnumbered ? 1 : families.length)
  return tors.length * nodes.reduce((sum, node) => sum + ofNode(node), 0)
}

/** Next hops that a router's kernel has for an address. */
export async function kernelNextHops(
  context: Pick<ProofContext, 'rack'>,
  router: string,
  vip: string,
): Promise<number> {
  const family = vip.includes(':') ? ['-6'] : []
  const length = vip.includes(':') ? 128 : 32
  const { stdout } = await runIn(context.rack.host(router), [
    'ip',
    ...family,
    '-j',
    'route',
    'show',
    `${vip}/${length}`,
  ])
  const routes = JSON.parse(stdout.trim() || '[]') as KernelRoute[]
  return routes.reduce((sum, route) => sum + (route.nexthops?.length ?? 1), 0)
}

export async function proveRoutes(context: ProofContext): Promise<Finding> {
  const { rack, service } = context
  const wanted = rack.plan.nodes.length
  const seen: string[] = []
  const look = async () => {
    seen.length = 0
    let all = true
    for (const tor of rack.plan.tors) {
      for (const vip of service.vips) {
        const hops = await kernelNextHops(context, tor.name, vip)
        seen.push(`${tor.name} ${vip}: ${hops} next hops`)
        all &&= hops === wanted
      }
    }
    return all
  }
  // A route that was just announced takes the routers a moment (62 ms in FRR).
  const holds = await waitUntil('routes', SETTLE_MS, look).then(
    () => true,
    () => false,
  )
  return {
    claim: `the VIPs are in both ToRs' kernel tables with ${wanted} next hops`,
    holds,
    seen: holds ? `${seen.length} routes` : 'not so',
    details: seen,
  }
}
