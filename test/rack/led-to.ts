// Where a router's kernel leads, by the devices of its routes: whatever the next hop is written as, the cable tells which node it is.

import type { Bed } from './conformance/bed.ts'

/** Nodes that a ToR's kernel leads to for a prefix, in order: `node1,node2`. */
export async function nodesLedTo(
  bed: Pick<Bed, 'run' | 'rack'>,
  tor: string,
  prefix: string,
): Promise<string> {
  const family = prefix.includes(':') ? ['-6'] : []
  const { stdout } = await bed.run(tor, ['ip', ...family, '-j', 'route', 'show', prefix])
  const routes = JSON.parse(stdout.trim() || '[]') as { dev?: string; nexthops?: { dev: string }[] }[]
  const devices = routes.flatMap(({ dev, nexthops }) => nexthops?.map((hop) => hop.dev) ?? dev ?? [])
  const names = bed.rack.plan.nodes.map(({ name }) => name)
  return devices
    .map((device) => device.replace('to-', ''))
    .filter((name) => names.includes(name))
    .sort()
    .join()
}
