// BFD sessions in the uplinks' programs: every transition of RFC 5880 6.8.6, polls, intervals, silence, and what is not believed.
// The same at both hooks; the answers are compared byte by byte.

import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import { Bed, INTERVAL_US, NOTHING, OURS, QUIET, type Sent, THEIRS, UP } from './bfd-bed.ts'
import { type Control, encodeControl } from './bfd-control.ts'
import { type Frame, mac, UDP } from './packet.ts'
import { readFrame } from './read-frame.ts'
import { ARRIVING, World, XDP } from './world.ts'

/** RFC 5880 6.8.6, with every pair of states: what ours becomes. */
const TRANSITIONS: readonly (readonly [number, Control['state'], number, number])[] = [
  // ours, theirs → ours, diagnostic
  [1, 'admin-down', 1, 0],
  [1, 'down', 2, 0],
  [1, 'init', 3, 0],
  [1, 'up', 1, 0],
  [2, 'admin-down', 1, 3],
  [2, 'down', 2, 0],
  [2, 'init', 3, 0],
  [2, 'up', 3, 0],
  [3, 'admin-down', 1, 3],
  [3, 'down', 1, 3],
  [3, 'init', 3, 0],
  [3, 'up', 3, 0],
]

for (const hook of ['xdp', 'tc'] as const)
  for (const family of ['ipv4', 'ipv6'] as const) {
    const bed = new Bed(hook, family)
    t.teardown(() => bed.world.close())
    t.test(`${hook} ${family}`, async (t) => testSession(t, bed))
  }

async function testSession(t: Test, bed: Bed): Promise<void> {
  await t.test('the state machine', async (t) => testTransitions(t, bed))
  await t.test('polls and intervals', async (t) => testIntervals(t, bed))
  await t.test('what is not believed', async (t) => testRefusals(t, bed))
  await t.test('what is not ours', async (t) => testForeign(t, bed))
  await t.test('silence', async (t) => testSilence(t, bed))
}

async function testTransitions(t: Test, bed: Bed): Promise<void> {
  for (const [ours, theirs, next, diagnostic] of TRANSITIONS) {
    bed.reset({ state: ours })
    const answer = bed.say(t, { state: theirs, yours: OURS })
    const name = `${ours} and ${theirs}`
    t.equal(bed.state.state, next, `${name}: state`)
    t.match(answer, { diagnostic, mine: OURS, yours: THEIRS, multiplier: 3, length: 24, version: 1 }, name)
    t.match(answer, { state: ['admin-down', 'down', 'init', 'up'][next] }, `${name}: said`)
    t.match(
      bed.state,
      { ups: ours !== 3 && next === 3 ? 1 : 0, downs: ours === 3 && next !== 3 ? 1 : 0 },
      name,
    )
  }
  bed.reset()
  t.match(bed.say(t, { state: 'down', change: (one) => one.tagged(7) }), { state: 'init' }, 'with a VLAN tag')
  bed.reset()
  const padded = (one: Frame) => one.withoutChecksum()
  if (bed.family === 'ipv4') t.match(bed.say(t, { change: padded }), { state: 'init' }, 'without a checksum')

  bed.bringUp(t)
  bed.configure({ isAdminDown: 1 })
  t.match(bed.say(t, UP), { state: 'admin-down', diagnostic: 7 }, 'switched off here')
  t.match(bed.state, { state: 1, downs: 1 })
  bed.wait()
  t.match(bed.say(t, { state: 'down' }), { state: 'admin-down' }, 'and so it stays')
  bed.configure()
  t.match(bed.say(t, { state: 'down' }), { state: 'init' }, 'switched on again')
}

async function testIntervals(t: Test, bed: Bed): Promise<void> {
  bed.reset()
  t.match(
    bed.say(t, { state: 'down' }),
    { desiredUs: 1_000_000, requiredUs: INTERVAL_US, flags: 'C' },
    'slow',
  )
  t.match(
    bed.say(t, { state: 'init', yours: OURS, flags: 'P' }),
    { state: 'up', flags: 'FC', desiredUs: 1_000_000 },
    'a poll is answered at once; while the neighbour sends slowly, no more is promised',
  )
  bed.wait()
  t.match(bed.say(t, UP), { flags: 'PC', desiredUs: INTERVAL_US }, 'what changed is polled for')
  t.equal(bed.say(t, { ...UP, flags: 'F' }), NOTHING, 'a Final alone makes nothing due')
  bed.wait()
  t.match(bed.say(t, UP), { flags: 'C' }, 'the poll has ended')
  t.equal(bed.state.detectionUs, 3 * INTERVAL_US)

  t.equal(bed.say(t, UP), NOTHING, 'no faster than the neighbour takes')
  t.equal(bed.say(t, { ...UP, flags: 'P' }) !== NOTHING, true, 'but a poll is')
  bed.change({ answeredNs: process.hrtime.bigint() - 250_000_000n })
  t.not(bed.say(t, UP), NOTHING, 'due after three quarters of the interval')
  bed.change({ answeredNs: process.hrtime.bigint() - 250_000_000n })
  t.equal(bed.say(t, { ...UP, requiredUs: 1_000_000 }), NOTHING, 'not to one that takes one a second')
  bed.wait()
  t.equal(bed.say(t, { ...UP, requiredUs: 0 }), NOTHING, 'nor to one that takes none')
  t.equal(bed.say(t, { ...UP, flags: 'D' }), NOTHING, 'nor on demand')
  t.not(bed.say(t, { ...UP, flags: 'DP' }), NOTHING, 'unless it polls')

  bed.bringUp(t)
  bed.configure({ intervalUs: 100_000 })
  t.match(
    bed.say(t, UP),
    { flags: 'PC', desiredUs: INTERVAL_US, requiredUs: 100_000 },
    'faster by configuration',
  )
  t.equal(bed.state.detectionUs, 3 * INTERVAL_US)
  bed.say(t, { ...UP, flags: 'F', desiredUs: 100_000 })
  t.equal(bed.state.detectionUs, 3 * 100_000, 'which counts when the neighbour has confirmed it')
  bed.configure()

  bed.bringUp(t)
  bed.say(t, { ...UP, multiplier: 255, desiredUs: 4_000_000_000 })
  t.equal(bed.state.detectionUs, 300_000_000, 'no silence is too long for its number')
}

const up = (change: Partial<Control>): Sent => ({ ...UP, ...change })

async function testRefusals(t: Test, bed: Bed): Promise<void> {
  bed.bringUp(t)
  const short = encodeControl({ ...QUIET, ...UP }).subarray(0, 23)
  const long = Buffer.concat([encodeControl({ ...QUIET, ...UP, length: 28 }), Buffer.alloc(4)])
  const cases: readonly (readonly [string, Sent, keyof typeof abi.BfdRefusal])[] = [
    ['a router on the way', { ...UP, change: (one) => one.ttl(254) }, 'BFD_REFUSED_HOPS'],
    ['authentication', up({ flags: 'A' }), 'BFD_REFUSED_AUTHENTICATED'],
    ['another version', up({ version: 0 }), 'BFD_REFUSED_MALFORMED'],
    ['shorter than a packet can be', up({ length: 23 }), 'BFD_REFUSED_MALFORMED'],
    ['longer than its datagram', up({ length: 25 }), 'BFD_REFUSED_MALFORMED'],
    ['cut', { payload: short }, 'BFD_REFUSED_MALFORMED'],
    ['with more behind it', { payload: long }, 'BFD_REFUSED_MALFORMED'],
    ['a multiplier of zero', up({ multiplier: 0 }), 'BFD_REFUSED_MALFORMED'],
    ['multipoint', up({ flags: 'M' }), 'BFD_REFUSED_MALFORMED'],
    ['Poll and Final', up({ flags: 'PF' }), 'BFD_REFUSED_MALFORMED'],
    ['no discriminator', up({ mine: 0 }), 'BFD_REFUSED_MALFORMED'],
    ['not our discriminator', up({ yours: OURS + 1 }), 'BFD_REFUSED_DISCRIMINATOR'],
    ['none of ours, though it claims to be up', up({ yours: 0 }), 'BFD_REFUSED_DISCRIMINATOR'],
    ['none of ours, though it claims to begin', up({ yours: 0, state: 'init' }), 'BFD_REFUSED_DISCRIMINATOR'],
    ['a wrong checksum', { ...UP, change: corrupt }, 'BFD_REFUSED_CHECKSUM'],
  ]
  for (const [name, said, kind] of cases) await t.test(name, async (t) => bed.refused(t, said, kind))
  if (bed.family === 'ipv6')
    await t.test('no checksum', async (t) =>
      bed.refused(t, { ...UP, change: (one) => one.withoutChecksum() }, 'BFD_REFUSED_CHECKSUM'),
    )
  else
    await t.test('IP options', async (t) =>
      bed.refused(t, { ...UP, change: (one) => one.ipOptions(Buffer.alloc(4, 1)) }, 'BFD_REFUSED_MALFORMED'),
    )
  t.equal(bed.state.state, 3, 'and the session is up as before')
  t.ok((bed.world.metrics().get(abi.VerdictReason.REASON_BFD_REFUSED) ?? 0) >= cases.length)
}

/** One bit of the payload differs from what the checksum was made of. */
function corrupt(sent: Frame): Frame {
  const segment = Buffer.from(sent.packet().subarray(-32))
  segment.writeUInt8(segment.readUInt8(20) ^ 1, 20)
  return sent.body(17, segment)
}

async function testForeign(t: Test, bed: Bed): Promise<void> {
  bed.bringUp(t)
  const { stranger } = bed.world.cast(bed.family)
  const before = bed.state
  for (const [name, change] of [
    ['of a stranger', (one: Frame) => one.from(stranger)],
    ['to another address', (one: Frame) => one.to(stranger)],
    ['to another port', (one: Frame) => one.to(one.fields.destination, 3785)],
    ['over TCP', (one: Frame) => one.tcp('syn')],
  ] as const) {
    const sent = bed.packet({ ...UP, change })
    const { returnValue, dataOut } = bed.run(sent)
    t.equal(returnValue, bed.hook === 'xdp' ? XDP.PASS : -1, name)
    t.equal(dataOut.toString('hex'), sent.bytes().toString('hex'), `${name}: as it was`)
  }
  t.same(bed.state, before, 'the session has seen nothing of it')
  bed.configure({ local: new Uint8Array(16) })
  t.not(bed.say(t, UP), NOTHING, 'a session without an address of its own takes any')
  bed.configure()
}

async function testSilence(t: Test, bed: Bed): Promise<void> {
  bed.bringUp(t)
  t.equal(bed.membersDown('ipv4'), 0)
  // Long beside what a busy machine makes of a short sleep.
  const steady = { ...UP, multiplier: 10, desiredUs: 100_000 }
  bed.configure({ intervalUs: 100_000 })
  bed.say(t, steady)
  bed.say(t, { ...steady, flags: 'F' })
  bed.say(t, steady)
  t.equal(bed.state.detectionUs, 1_000_000)
  for (let round = 0; round < 4; round++) {
    await sleep(300)
    bed.say(t, steady)
  }
  t.match(bed.state, { state: 3, downs: 0 }, 'each packet puts the end off')
  for (let round = 0; round < 1000 && bed.state.state === 3; round++) await sleep(10)
  t.match(bed.state, { state: 1, diagnostic: 1, downs: 1, remoteDiscriminator: 0 }, 'silence ends it')
  t.same([bed.membersDown('ipv4'), bed.membersDown('ipv6')], [1, 1], 'and its uplink is out of use')
  bed.configure()

  t.match(bed.say(t, { state: 'down' }), { state: 'init', desiredUs: 1_000_000 }, 'begun anew')
  t.equal(bed.membersDown('ipv4'), 1, 'not yet back')
  bed.say(t, { state: 'up', yours: OURS })
  t.same([bed.membersDown('ipv4'), bed.membersDown('ipv6')], [0, 0], 'back')

  bed.configure({ governs: 2 })
  bed.wait()
  bed.say(t, { state: 'down', yours: OURS, mine: THEIRS + 1 })
  t.same([bed.membersDown('ipv4'), bed.membersDown('ipv6')], [0, 0], 'one that begins anew is not lost')
  bed.say(t, { state: 'down', yours: OURS, diagnostic: 7 })
  t.equal(bed.membersDown('ipv6'), 0, 'nor one that says it was switched off')
  bed.say(t, { state: 'down', yours: OURS, diagnostic: 1 })
  t.same([bed.membersDown('ipv4'), bed.membersDown('ipv6')], [0, 1], 'the families it vouches for alone')
  bed.say(t, { state: 'admin-down', yours: OURS })
  t.equal(bed.membersDown('ipv6'), 0, 'what the router switched off tells nothing of the way')
  bed.configure()
  bed.reset()
  bed.say(t, { state: 'down' })
  t.equal(bed.membersDown('ipv4'), 0, 'nor what never was up')
}

t.test('on a veth', async (t) => {
  const bed = new Bed('xdp', 'ipv4', true)
  t.teardown(() => bed.world.close())
  bed.reset()
  const { returnValue } = bed.run(bed.packet({}))
  t.equal(returnValue, XDP.REDIRECT, 'answered by a redirect')
  bed.reset()
  t.match(
    bed.say(t, { change: (one) => one.unfinished() }),
    { state: 'init' },
    'an unfinished checksum is none',
  )
  bed.bringUp(t)
  await t.test('a wrong one is', async (t) =>
    bed.refused(t, { ...UP, change: corrupt }, 'BFD_REFUSED_CHECKSUM'),
  )
})

t.test('a silent neighbour is left out of its group', async (t) => {
  const world = new World('bfd-group')
  t.teardown(() => world.close())
  const macs = ['06:00:00:00:00:a1', '06:00:00:00:00:a2', '06:00:00:00:00:a3']
  const members = [...macs, '00:00:00:00:00:00'].map((destination, index) => ({
    ifindex: index + 2,
    destination: mac(destination),
    source: mac(ARRIVING.destination),
  }))
  const group = { kind: abi.NexthopKind.NEXTHOP_KIND_GROUP, flags: 0, memberCount: 3, via: 0, mtu: 0 }
  /** How many of a hundred flows each member gets. */
  const spread = (membersDown: number) => {
    const row = Buffer.alloc(4)
    row.writeUInt32LE(abi.NexthopRow.NEXTHOP_UPLINKS_IPV4)
    const value = { ...group, membersDown, remote: Buffer.alloc(16), members }
    world.map('nexthops').update(row, abi.encodeNexthop(value))
    const counts = macs.map(() => 0)
    for (let port = 1; port <= 100; port++) {
      const sent = world.request('ipv4', UDP, 80).from(world.cast('ipv4').client, 30_000 + port)
      const { dataOut } = world.datapath.uplink.xdp.testRun({ data: sent.bytes(), dataOutBytes: 2000 })
      const member = macs.indexOf(readFrame(dataOut).link.destination)
      counts[member] = (counts[member] ?? 0) + 1
    }
    return counts
  }
  const [first = 0, second = 0, third = 0] = spread(0)
  t.ok(first && second && third, 'all are used')
  t.same(spread(0b001), [0, first + second, third], 'the next one stands in')
  t.same(spread(0b100), [first + third, second, 0], 'and the first for the last')
  t.same(spread(0b101), [0, 100, 0])
  t.same(spread(0b111), [first, second, third], 'of all silent ones none is believed dead')
})
