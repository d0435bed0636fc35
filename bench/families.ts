// Every family of figures, in the order of the page. A new one is a folder with a family.ts, and a line here.

import type { Family } from './frame/figure.ts'

/** Loaded when asked for: each family brings programs, packets and namespaces of its own. */
export const FAMILIES: Readonly<Record<string, () => Promise<Family>>> = {
  packet: async () => (await import('./packet/family.ts')).packetFamily,
  forward: async () => (await import('./forward/family.ts')).forwardFamily,
  socket: async () => (await import('./socket/family.ts')).socketFamily,
  tcp: async () => (await import('./tcp/family.ts')).tcpFamily,
  policy: async () => (await import('./policy/family.ts')).policyFamily,
  control: async () => (await import('./control/family.ts')).controlFamily,
  routing: async () => (await import('./routing/family.ts')).routingFamily,
}
