// What is known of sessions whose peers come and go.

import t from 'tap'
import type { GobgpClient, PeerEvent } from '../../../bgp/client/gobgp-grpc-client.ts'
import type { BgpPeer } from '../../../src/model/routing.ts'
import type { PlannedPeer } from '../../../src/speaker/peer-plan.ts'
import { SessionWatch } from '../../../src/speaker/session-watch.ts'
import { peerOf } from './bed.ts'

const NO_SEGMENTS = { failure: 0, notFound: 0, unexpected: 0 }

function watched(t: { teardown: (run: () => unknown) => void }) {
  const kernel = { nowMs: 0, md5: NO_SEGMENTS, silent: [] as string[], ages: new Map<string, number>() }
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
    nowMs: () => kernel.nowMs,
    onSessions: (established) => {
      sessions = new Map(established)
    },
    onLost: () => {},
    onLooked: () => {},
    readTcp: () => ({
      md5: kernel.md5,
      unanswered: new Set(kernel.silent.map((address) => `${address} 179`)),
    }),
    readNeighbours: async () => kernel.ages,
  })
  t.teardown(() => watch.close())
  watch.follow()
  const becomes = (address: string, session: PeerEvent['session']) =>
    tell({ kind: 'changed', remote: { kind: 'address', address }, address, session } as PeerEvent)
  const pass = async (seconds: number) => {
    for (let second = 0; second < seconds; second += 1) {
      kernel.nowMs += 1_000
      await watch.look()
    }
  }
  return { watch, becomes, sessions: () => Object.fromEntries(sessions), kernel, pass }
}

const planned = (address: string, change: Partial<BgpPeer> = {}): PlannedPeer =>
  ({
    peer: peerOf(address, address, change),
    address,
    policy: { address },
    settings: { password: change.password },
  }) as unknown as PlannedPeer

const secret = (text: string) => ({ password: { kind: 'inline', text } as const })
const ROUTER = '10.0.0.1'

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

t.test('a router that keeps silent may want a password, and that is all that is claimed', async (t) => {
  const { watch, kernel, pass } = watched(t)
  watch.expect([planned(ROUTER)], true)
  kernel.silent = [ROUTER]
  await pass(3)
  t.equal(watch.diagnosis(ROUTER), undefined, 'sessions need a moment')
  await pass(3)
  t.match(
    watch.diagnosis(ROUTER),
    /does not answer our SYN: it is off or cut off, or it wants a password, and this peer has none, or a filter.*Mend: see whether it answers a ping/,
  )
  t.same(watch.problems(), [], 'a router that is off is no matter of passwords')
  kernel.ages = new Map([[ROUTER, 500]])
  await pass(5)
  const likely =
    /on the link and does not answer our SYN: likely it wants a password, and this peer has none; else a filter/
  t.match(watch.diagnosis(ROUTER), likely)
  t.match(watch.problems(), [{ code: 'peer-silent', object: `routing.peers ${ROUTER}`, text: likely }])
  t.match(watch.problems()[0]?.text, /Mend: if the router has a password for this node, name it/)
})

t.test('what was heard of a router before its session went down is no sign of life', async (t) => {
  const { watch, becomes, kernel, pass } = watched(t)
  watch.expect([planned(ROUTER)], true)
  becomes(ROUTER, 'established')
  await pass(30)
  becomes(ROUTER, 'idle')
  kernel.silent = [ROUTER]
  kernel.ages = new Map([[ROUTER, 20_000]])
  await pass(10)
  t.match(watch.diagnosis(ROUTER), /off or cut off/)
})

t.test('one look at a SYN says nothing, for the answer may be on its way', async (t) => {
  const { watch, kernel, pass } = watched(t)
  watch.expect([planned(ROUTER)], true)
  await pass(6)
  for (const silent of [[ROUTER], [], [ROUTER], []]) {
    kernel.silent = silent
    await pass(1)
  }
  t.equal(watch.diagnosis(ROUTER), undefined)
})

t.test('an Event says the same while the counters grow', async (t) => {
  const { watch, kernel, pass } = watched(t)
  watch.expect([planned(ROUTER, secret('one'))], true)
  await pass(5)
  kernel.md5 = { ...NO_SEGMENTS, failure: 3 }
  await pass(1)
  const [before] = watch.problems()
  t.match(before, {
    code: 'authentication-failing',
    text: /another password.*Mend: give both sides the same/,
  })
  t.match(watch.diagnosis(ROUTER), /dropped 3 segments/)
  kernel.md5 = { ...NO_SEGMENTS, failure: 9 }
  await pass(1)
  t.match(watch.diagnosis(ROUTER), /dropped 9 segments/)
  t.same(watch.problems(), [before])
})

t.test('what was seen of a password is forgotten with it', async (t) => {
  const { watch, becomes, kernel, pass } = watched(t)
  const other = planned('10.0.0.2', secret('two'))
  watch.expect([planned(ROUTER, secret('right')), other], true)
  for (const address of [ROUTER, other.address]) becomes(address, 'established')
  await pass(10)
  // A trial with another password.
  becomes(ROUTER, 'idle')
  watch.expect([planned(ROUTER, secret('wrong')), other], true)
  kernel.silent = [ROUTER]
  await pass(6)
  t.match(
    watch.problems(),
    [{ code: 'authentication-failing', text: /on the link and does not answer our signed SYN/ }],
    'it was there when the password changed',
  )
  kernel.md5 = { ...NO_SEGMENTS, failure: 30 }
  await pass(2)
  t.match(watch.problems(), [{ text: /another password: the kernel drops/ }])
  // Rolled back: the counters are what they are, and the session needs its time.
  watch.expect([planned(ROUTER, secret('right')), other], true)
  kernel.silent = []
  t.same(watch.problems(), [])
  await pass(20)
  t.same([watch.problems(), watch.diagnosis(ROUTER)], [[], undefined])
  // And of a neighbour that was down all along.
  becomes(other.address, 'idle')
  await pass(20)
  t.equal(watch.diagnosis(other.address), undefined)
})
