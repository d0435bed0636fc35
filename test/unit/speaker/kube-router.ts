// A gobgpd that is set up as kube-router sets its own up: names of sets and policies, default export REJECT, an internal mesh and external
// peers. No kube-router runs here; what it does when it starts was read from its source.

import { execFileSync } from 'node:child_process'
import type { GobgpClient, PeerSettings } from '../../../bgp/client/gobgp-grpc-client.ts'

export interface KubeRouter {
  readonly asn: number
  readonly routerId: string
  /** What it announces itself: to internal peers the one, to external ones the other. */
  readonly podCidr: string
  readonly vip: string
  readonly external: readonly PeerSettings[]
  readonly internal: readonly PeerSettings[]
  readonly beforePeers?: () => Promise<void>
}

/** As its network routes controller does when it starts. */
export async function becomeKubeRouter(client: GobgpClient, options: KubeRouter): Promise<void> {
  const { asn, routerId, podCidr, vip, external, internal, beforePeers } = options
  await client.startIfIdle({ asn, routerId })
  const exactly = (prefix: string) => {
    const length = Number(prefix.split('/')[1])
    return [{ prefix, lengthMin: length, lengthMax: length }]
  }
  const sets = { podcidrdefinedset: podCidr, servicevipsdefinedset: vip }
  for (const [name, prefix] of Object.entries(sets))
    await client.addSetMembers({ kind: 'prefix', name, members: exactly(prefix) })
  const peers = { iBGPpeerset: internal, externalpeerset: external, allpeerset: [...external, ...internal] }
  for (const [name, list] of Object.entries(peers)) {
    const members = list.flatMap(({ remote }) => (remote.kind === 'address' ? [remote.address] : []))
    // One without members would match every peer.
    if (members.length > 0) await client.addSetMembers({ kind: 'neighbor', name, members })
  }
  const toMesh = {
    name: 'kube_router_export1_stmt0',
    conditions: { prefixSet: 'podcidrdefinedset', neighborSet: 'iBGPpeerset' },
    action: 'accept' as const,
  }
  await client.addPolicy({
    name: 'kube_router_export1',
    statements: [
      ...(internal.length > 0 ? [toMesh] : []),
      {
        name: 'kube_router_export1_stmt1',
        conditions: { prefixSet: 'servicevipsdefinedset', neighborSet: 'externalpeerset' },
        changes: { nextHop: 'self' },
        action: 'accept',
      },
    ],
  })
  await client.addPolicy({
    name: 'kube_router_import1',
    statements: [
      {
        name: 'kube_router_import1_stmt0',
        conditions: { prefixSet: 'servicevipsdefinedset', neighborSet: 'allpeerset' },
        action: 'reject',
      },
    ],
  })
  await client.appendAssignment('import', ['kube_router_import1'])
  // AddPolicyAssignment with a default; ours has none.
  await client.setAssignment({
    direction: 'export',
    policies: ['kube_router_export1'],
    defaultAction: 'reject',
  })
  await client.applyPaths({ withdraw: [], announce: [podCidr, vip].map((prefix) => ({ prefix })) })
  await beforePeers?.()
  for (const peer of [...external, ...internal]) await client.addPeer(peer)
}

/** All that the host has, as the gobgp command prints it; what begins with our prefix is left out. */
export function kubeRouterState(
  target: string,
  { podCidr, vip }: Pick<KubeRouter, 'podCidr' | 'vip'>,
): string {
  const ask = (...args: string[]): unknown => {
    const text = execFileSync('gobgp', ['--target', target, '-j', ...args], { encoding: 'utf8' })
    return text.trim() === '' ? null : JSON.parse(text)
  }
  const isOurs = (row: unknown) => /"(name|Name)":"weir-/.test(JSON.stringify(row))
  // gobgpd answers in the order of its hash tables.
  const sorted = (rows: unknown[]) => rows.map((row) => JSON.stringify(row)).sort()
  const foreign = (list: unknown) => (Array.isArray(list) ? sorted(list.filter((row) => !isOurs(row))) : list)
  const neighbors = ask('neighbor') as { conf: unknown }[]
  return JSON.stringify([
    ask('global'),
    foreign(ask('policy')),
    foreign(ask('policy', 'statement')),
    ...['prefix', 'neighbor', 'community', 'large-community'].map((kind) => foreign(ask('policy', kind))),
    sorted(neighbors.map(({ conf }) => conf)),
    sorted(Object.keys((ask('global', 'rib') ?? {}) as object)).filter(
      (prefix) => prefix.includes(podCidr) || prefix.includes(vip),
    ),
  ])
}
