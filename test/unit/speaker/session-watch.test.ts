// What is known of sessions whose peers come and go.

import t from 'tap'
import type { GobgpClient, PeerEvent } from '../../../bgp/client/gobgp-grpc-client.ts'
import type { PlannedPeer } from '../../../src/speaker/peer-plan.ts'
import { SessionWatch } from '../../../src/speaker/session-watch.ts'
import { peerOf } from './bed.ts'

function watched(t: { teardown: (run: () => unknown) => void }) {
  let tell: (event: PeerEvent) => void = () => {}
  let sessions: ReadonlyMap<string, boolean> = new Map()
  const client = {
    watchPeers: (onEvent: (event: PeerEvent) => void, signal: AbortSignal) => {
      tell = onEvent
      return new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
    },
  } as unknown as GobgpClient
  const watch = new SessionWatch({
    client,
    log: { info: () => {} },
    nowMs: () => 0,
    onSessions: (established) => {
      sessions = new Map(established)
    },
    onLost: () => {},
    onLooked: () => {},
  })
  t.teardown(() => watch.close())
  watch.follow()
  const becomes = (address: string, session: PeerEvent['session']) =>
    tell({ kind: 'changed', remote: { kind: 'address', address }, address, session } as PeerEvent)
  return { watch, becomes, sessions: () => Object.fromEntries(sessions) }
}

const planned = (address: string): PlannedPeer =>
  ({ peer: peerOf(address, address), address, policy: {}, settings: undefined }) as unknown as PlannedPeer

t.test('a peer that is none any more is not down, but unknown', async (t) => {
  const { watch, becomes, sessions } = watched(t)
  watch.expect([planned('10.0.0.1'), planned('10.0.0.2')], true)
  for (const address of ['10.0.0.1', '10.0.0.2']) becomes(address, 'established')
  becomes('10.0.0.1', 'idle')
  watch.expect([planned('10.0.0.1'), planned('10.0.0.2')], true)
  t.same(sessions(), { '10.0.0.1': false, '10.0.0.2': true })
  watch.expect([planned('10.0.0.2')], true)
  t.same(sessions(), { '10.0.0.2': true })
})

t.test("a host's peers are all known, though none is expected", async (t) => {
  const { watch, becomes, sessions } = watched(t)
  becomes('10.0.0.1', 'established')
  becomes('10.0.0.1', 'idle')
  watch.expect([], false)
  t.same(sessions(), { '10.0.0.1': false })
})
