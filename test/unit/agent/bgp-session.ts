// A session as the speaker tells of it, for tests of who shows it.

import type { SessionStatus } from '../../../src/speaker/session-status.ts'

const NO_MESSAGES = { open: 0, update: 0, keepalive: 0, notification: 0, refresh: 0, total: 0 }

export function sessionOf(name: string, address: string, change: Partial<SessionStatus> = {}): SessionStatus {
  return {
    name,
    source: `routing.peers ${name}`,
    remote: { kind: 'address', address },
    address,
    asn: 65001,
    routerId: '10.0.0.9',
    session: 'established',
    admin: 'up',
    sinceMs: 1_000,
    holdSeconds: 9,
    families: [{ family: 'ipv4', received: 3, accepted: 2, advertised: 5 }],
    messages: { received: NO_MESSAGES, sent: NO_MESSAGES },
    capabilities: { local: [], remote: ['graceful-restart'] },
    flaps: 2,
    wanted: { ipv4: 6, ipv6: 0 },
    taken: 1,
    problems: [],
    ...change,
  }
}
