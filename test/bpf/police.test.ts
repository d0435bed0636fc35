// Policy on packets: at both directions of a pod's device, and where an uplink's packets are delivered to one.

import t from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import { policyTables } from '../../src/datapath/maps.ts'
import { PolicyMaps } from '../../src/datapath/policy-maps.ts'
import { type Address, address, addressToBytes } from '../../src/model/address.ts'
import {
  CLASS_PROTOCOLS,
  type ClassRow,
  FIRST_RULE,
  type PortInterval,
  type SetDirection,
} from '../../src/policy/compile/rows.ts'
import { RingBuffer } from '../../src/sys/libbpf-ts/index.ts'
import { type Frame, frame, TCP, UDP } from './packet.ts'
import { readFrame } from './read-frame.ts'
import { FROM_POD, TARGET_PORT, TC, TO_POD, World, XDP } from './world.ts'

const world = new World('police', false, { enforcesPolicy: true, perPacket: true })
const tables = policyTables((name) => world.map(name))
const maps = new PolicyMaps(tables, () => 0)
t.teardown(() => world.close())

const R = abi.VerdictReason
const K = abi.FlowKind
/** struct __sk_buff as far as a test run reads it. */
const SKB_BYTES = 192
const INGRESS_IFINDEX_AT = 36
/** Test runs happen on loopback, so that is every pod's device here. */
const DEVICE = 1
const SET = { pod: 1, localClient: 2 } as const
const CLASS = { deny: 1, allow: 2, port80: 3, keep: 4, wouldDeny: 5, wouldAllow: 6 } as const
const AUDITED = 777
type Said = keyof typeof CLASS | 'open'
const PORT = 40_000

function said(isAllowed: boolean, first = 0, keepsExisting = false): PortInterval {
  return { first, isAllowed, rule: FIRST_RULE + (isAllowed ? 1 : 0), wouldBeRule: 0, keepsExisting }
}

function uniform(id: number, interval: PortInterval): ClassRow {
  return { class: id, protocols: CLASS_PROTOCOLS.map(() => [interval]), uniform: interval }
}

const port80: readonly PortInterval[] = [
  said(false),
  said(true, 80),
  said(false, 81),
  said(true, TARGET_PORT),
]
const ofPing = (type: number): readonly PortInterval[] => [
  said(false),
  said(true, type),
  said(false, type + 1),
]
maps.apply([
  {
    table: 'classes',
    put: [
      uniform(CLASS.deny, said(false)),
      uniform(CLASS.allow, said(true)),
      uniform(CLASS.keep, said(false, 0, true)),
      uniform(CLASS.wouldDeny, { ...said(true), wouldBeRule: AUDITED }),
      uniform(CLASS.wouldAllow, { ...said(false), wouldBeRule: AUDITED }),
      {
        class: CLASS.port80,
        uniform: undefined,
        protocols: [port80, port80, [said(false)], ofPing(8), ofPing(128), [said(false)]],
      },
    ],
  },
  {
    table: 'identities',
    put: ['0.0.0.0/0', '::/0'].map((text) => ({ kind: 'prefix', text, identity: 9, scope: 'outside' })),
  },
])

let epoch = 0
const direction = (all: Said): SetDirection =>
  all === 'open'
    ? { defaults: [0, 0, 0], isOpen: true }
    : { defaults: [CLASS[all], CLASS[all], CLASS[all]], isOpen: false }

/** What the pods' sets say from now on. */
function policy(who: keyof typeof SET, ingress: Said, egress: Said): void {
  epoch += 1
  const set = { set: SET[who], epoch, ingress: direction(ingress), egress: direction(egress) }
  maps.apply([{ table: 'sets', put: [set] }])
}

/** What a pod is let do that a Service leads to itself. */
let hairpin: { readonly ingress: number; readonly egress: number } = {
  ingress: CLASS.allow,
  egress: CLASS.allow,
}

function know(...pods: (readonly [Address, number])[]): void {
  const put = pods.map(([address, set]) => ({ kind: 'pod' as const, address, set, pod: 'a/b', hairpin }))
  maps.apply([{ table: 'subjects', put }])
}

for (const family of ['ipv4', 'ipv6'] as const)
  for (const who of ['pod', 'localClient'] as const) {
    const at = addressToBytes(world.cast(family)[who])
    const row = abi.decodeEndpoint(world.map('endpoints').lookup(at) as Buffer)
    world.map('endpoints').update(at, abi.encodeEndpoint({ ...row, ifindex: DEVICE }))
  }

const PODS = (['ipv4', 'ipv6'] as const).flatMap((family) => [
  [world.cast(family).pod, SET.pod] as const,
  [world.cast(family).localClient, SET.localClient] as const,
])

/** From a pod's device. */
function send(sent: Frame): number {
  return world.datapath.podTc.testRun({ data: sent.bytes(), context: Buffer.alloc(SKB_BYTES) }).returnValue
}

const UNSPEC = 0xffff_ffff

/** To a pod's device. @param from the device that it came in by; 0: this node says it */
function deliver(sent: Frame, from = DEVICE): number {
  const context = Buffer.alloc(SKB_BYTES)
  context.writeUInt32LE(from, INGRESS_IFINDEX_AT)
  return world.datapath.podEgressTc.testRun({ data: sent.bytes(), context }).returnValue
}

function arrive(sent: Frame): number {
  return world.datapath.uplink.xdp.testRun({ data: sent.bytes(), dataOutBytes: 12_000 }).returnValue
}

function count(reason: number, act: () => void): number {
  const before = world.metrics().get(reason) ?? 0
  act()
  return (world.metrics().get(reason) ?? 0) - before
}

const kinds = () =>
  world
    .flows()
    .map(({ kind }) => kind)
    .sort()

for (const family of ['ipv4', 'ipv6'] as const)
  for (const protocol of [TCP, UDP]) {
    const name = `${family} ${protocol === TCP ? 'TCP' : 'UDP'}`
    const { pod, localClient, remotePod, client, vip, node } = world.cast(family)
    const spoken = (blank: Frame, ...flags: Parameters<Frame['tcp']>) =>
      protocol === TCP ? blank.tcp(...flags) : blank.udp()
    /** What the pod sends, and what comes to it. */
    const out = (to: Address, port: number, ...flags: Parameters<Frame['tcp']>) =>
      spoken(frame(FROM_POD).from(pod, PORT).to(to, port).payload(9), ...flags)
    const into = (from: Address, port: number, ...flags: Parameters<Frame['tcp']>) =>
      spoken(frame(TO_POD).from(from, PORT).to(pod, port).payload(9), ...flags)
    const swapped = (sent: Frame, ...flags: Parameters<Frame['tcp']>) => {
      const { source, sourcePort, destination, destinationPort } = sent.fields
      return spoken(sent.from(destination, destinationPort).to(source, sourcePort), ...flags)
    }
    const begin = (ingress: Said, egress: Said) => {
      world.forgetFlows()
      know(...PODS)
      policy('pod', ingress, egress)
      policy('localClient', 'open', 'open')
    }

    t.test(`${name}: closed until it is known, but for its own node`, async (t) => {
      begin('open', 'open')
      maps.apply([{ table: 'subjects', delete: [{ kind: 'pod', address: pod }] }])
      t.equal(send(out(remotePod, 80, 'syn')), TC.DROP)
      t.equal(deliver(into(client, 80, 'syn')), TC.DROP)
      const probe = into(remotePod, 80, 'syn')
      t.equal(deliver(probe, 0), UNSPEC, 'the kubelet')
      t.equal(send(swapped(probe, 'syn', 'ack')), TC.OK, 'and its answer')
      know(...PODS)
      t.equal(send(out(remotePod, 80, 'syn')), TC.OK)
    })

    t.test(`${name}: what the pod begins, and its answers`, async (t) => {
      begin('deny', 'port80')
      const sent = out(remotePod, 80, 'syn')
      t.equal(send(sent), TC.OK)
      t.same(kinds(), [K.FLOW_POD])
      t.equal(send(spoken(sent, 'ack')), TC.OK)
      t.equal(deliver(swapped(sent, 'ack')), UNSPEC, 'NP-011: the answer, though ingress is denied')
      const counted = count(R.REASON_POLICY_EGRESS, () => {
        t.equal(send(out(remotePod, 81, 'syn')), TC.DROP)
      })
      t.equal(counted, 1)
      t.equal(world.flows().length, 1, 'what is denied has no entry')
      const refused = count(R.REASON_POLICY_INGRESS, () => {
        t.equal(deliver(into(remotePod, 80, 'syn')), TC.DROP)
      })
      t.equal(refused, 1)
      if (protocol === TCP)
        t.equal(deliver(swapped(sent, 'syn')), TC.DROP, 'a SYN is no answer, whatever its ports')
    })

    t.test(`${name}: what comes to the pod, and what it answers`, async (t) => {
      begin('port80', 'deny')
      const came = into(client, 80, 'syn')
      t.equal(deliver(came), UNSPEC)
      t.equal(send(swapped(came, 'syn', 'ack')), TC.OK, 'NP-011: though egress is denied')
      t.equal(deliver(spoken(came, 'ack')), UNSPEC)
      t.equal(deliver(into(client, 81, 'syn')), TC.DROP)
      t.equal(send(out(client, 80, 'syn')), TC.DROP)
    })

    t.test(`${name}: two pods of one node do not lend each other their verdicts`, async (t) => {
      begin('deny', 'deny')
      const sent = spoken(frame(FROM_POD).from(localClient, PORT).to(pod, 80).payload(9), 'syn')
      t.equal(send(sent), TC.OK, 'its own policy lets it')
      t.equal(deliver(sent), TC.DROP, 'the other’s does not')
      t.equal(send(swapped(sent, 'ack')), TC.DROP, 'nor is there anything to answer')
      policy('pod', 'port80', 'deny')
      t.equal(deliver(sent), UNSPEC)
      t.equal(send(swapped(sent, 'syn', 'ack')), TC.OK)
      t.equal(deliver(swapped(sent, 'syn', 'ack')), UNSPEC)
      t.same(kinds(), [K.FLOW_POD, K.FLOW_POD], 'an end each')
    })

    t.test(`${name}: NP-017 policy tightens`, async (t) => {
      begin('port80', 'port80')
      const sent = out(remotePod, 80, 'syn')
      const came = into(client, 80, 'syn')
      const all = () => [
        send(spoken(sent, 'ack')),
        deliver(swapped(sent, 'ack')),
        deliver(spoken(came, 'ack')),
        send(swapped(came, 'ack')),
      ]
      send(sent)
      deliver(came)
      t.same(all(), [TC.OK, UNSPEC, UNSPEC, TC.OK])
      policy('pod', 'port80', 'port80')
      t.same(all(), [TC.OK, UNSPEC, UNSPEC, TC.OK], 'judged again, and still allowed')
      policy('pod', 'keep', 'keep')
      t.same(all(), [TC.OK, UNSPEC, UNSPEC, TC.OK], 'those that there are may go on')
      t.equal(send(out(remotePod, 82, 'syn')), TC.DROP, 'new ones may not')
      policy('pod', 'deny', 'deny')
      t.same(all(), [TC.DROP, TC.DROP, TC.DROP, TC.DROP], 'cut')
      policy('pod', 'deny', 'open')
      t.equal(send(swapped(came, 'ack')), TC.DROP, 'the server’s half does not become a client’s')
      t.equal(deliver(spoken(came, 'ack')), TC.DROP)
      policy('pod', 'port80', 'port80')
      t.same(all(), [TC.OK, UNSPEC, UNSPEC, TC.OK], 'and allowed again')
    })

    t.test(`${name}: in the middle of a connection that nobody remembers`, async (t) => {
      begin('deny', 'open')
      const answer = swapped(into(client, 80), 'ack')
      t.equal(send(answer), TC.OK, 'egress says nothing against it')
      if (protocol === TCP) t.same(kinds(), [], 'but who began it is not to be seen')
      if (protocol === TCP) t.equal(deliver(into(client, 80, 'ack')), TC.DROP)
      begin('port80', 'deny')
      t.equal(deliver(into(client, 80, 'ack')), UNSPEC)
      t.equal(send(answer), TC.OK, 'the client’s packet brings it back')
    })

    t.test(`${name}: a pod sends from its own addresses alone`, async (t) => {
      begin('open', 'open')
      const counted = count(R.REASON_FORGED_SOURCE, () => {
        t.equal(send(out(remotePod, 80, 'syn').from(client, PORT)), TC.DROP)
        t.equal(send(out(remotePod, 80, 'syn').from(remotePod, PORT)), TC.DROP)
      })
      t.equal(counted, 2)
    })

    t.test(`${name}: a Service’s client outside, and a backend here`, async (t) => {
      begin('port80', 'deny')
      const request = world.request(family, protocol, 81)
      const further = spoken(request, 'ack')
      const answer = spoken(frame(FROM_POD).from(pod, TARGET_PORT).to(client, PORT), 'ack')
      t.equal(arrive(request), XDP.REDIRECT, 'its port is the pod’s own')
      t.equal(arrive(further), XDP.REDIRECT)
      t.equal(send(answer), TC.REDIRECT)
      t.same(kinds(), [K.FLOW_TO_LOCAL, K.FLOW_REPLY])
      t.equal(deliver(spoken(frame(TO_POD).from(client, PORT).to(pod, TARGET_PORT), 'ack')), UNSPEC)
      policy('pod', 'keep', 'deny')
      t.equal(arrive(further), XDP.REDIRECT)
      t.equal(send(answer), TC.REDIRECT)
      policy('pod', 'deny', 'open')
      const counted = count(R.REASON_POLICY_INGRESS, () => {
        t.equal(arrive(further), XDP.DROP)
        t.equal(send(answer), TC.DROP)
        t.equal(arrive(request.from(client, PORT + 1)), XDP.DROP)
      })
      t.equal(counted, 3)
      t.equal(arrive(world.request(family, protocol, 80)), XDP.TX, 'a backend elsewhere: judged there')
    })

    t.test(`${name}: from outside with the address of a pod that lives here`, async (t) => {
      begin('open', 'open')
      const counted = count(R.REASON_FORGED_SOURCE, () => {
        t.equal(arrive(world.request(family, protocol, 81).from(localClient, PORT)), XDP.DROP)
      })
      t.equal(counted, 1)
    })

    t.test(`${name}: NP-010 a pod to a Service, judged by where it leads`, async (t) => {
      begin('open', 'open')
      policy('localClient', 'open', 'port80')
      const ask = (port: number, ...flags: Parameters<Frame['tcp']>) =>
        spoken(frame(FROM_POD).from(localClient, PORT).to(vip, port).payload(9), ...flags)
      const there = spoken(frame(TO_POD).from(localClient, PORT).to(pod, TARGET_PORT).payload(9), 'syn')
      t.equal(send(ask(81, 'syn')), TC.REDIRECT, 'the backend’s port is allowed, the Service’s is not asked')
      t.equal(deliver(there), UNSPEC)
      t.equal(send(swapped(there, 'syn', 'ack')), TC.REDIRECT)
      t.equal(deliver(swapped(ask(81), 'ack')), UNSPEC, 'the answer, turned')
      policy('localClient', 'open', 'deny')
      t.equal(send(ask(81, 'ack')), TC.DROP)
      world.forgetFlows()
      t.equal(send(ask(81, 'syn')), TC.DROP)
      t.equal(send(ask(80, 'syn')), TC.DROP)
      policy('localClient', 'open', 'open')
      policy('pod', 'deny', 'open')
      t.equal(send(ask(81, 'syn')), TC.REDIRECT)
      t.equal(deliver(there), TC.DROP, 'the backend’s own policy')
      t.equal(send(swapped(there, 'syn', 'ack')), TC.DROP)
    })

    t.test(`${name}: CNP-008 a pod that a Service leads to itself`, async (t) => {
      begin('deny', 'deny')
      const ask = spoken(frame(FROM_POD).from(pod, PORT).to(vip, 81).payload(9), 'syn')
      for (const [ingress, egress, expected] of [
        ['allow', 'allow', TC.REDIRECT],
        ['deny', 'allow', TC.DROP],
        ['allow', 'deny', TC.DROP],
      ] as const) {
        world.forgetFlows()
        hairpin = { ingress: CLASS[ingress], egress: CLASS[egress] }
        know(...PODS)
        t.equal(send(ask), expected, `in ${ingress}, out ${egress}`)
      }
      hairpin = { ingress: CLASS.allow, egress: CLASS.allow }
      world.forgetFlows()
      know(...PODS)
      const result = world.datapath.podTc.testRun({ data: ask.bytes(), context: Buffer.alloc(SKB_BYTES) })
      const { sourcePort } = readFrame(result.dataOut)
      const turned = spoken(frame(TO_POD).from(node, sourcePort).to(pod, TARGET_PORT).payload(9), 'syn')
      t.equal(deliver(turned), UNSPEC, 'its own device knows it')
      t.equal(send(swapped(turned, 'syn', 'ack')), TC.REDIRECT)
    })

    if (protocol === UDP)
      t.test(`${name}: fragments`, async (t) => {
        begin('port80', 'deny')
        const [first, later] = into(client, 80).payload(64).id(7).pieces(32) as [Frame, Frame]
        t.equal(deliver(later), TC.DROP, 'without its ports')
        t.equal(deliver(first), UNSPEC)
        t.equal(deliver(later), UNSPEC)
        policy('pod', 'open', 'deny')
        t.equal(deliver(later.id(8)), UNSPEC, 'where all is allowed nobody asks')
      })
  }

for (const family of ['ipv4', 'ipv6'] as const) {
  const { pod, client, remotePod } = world.cast(family)
  const begin = (ingress: Said, egress: Said) => {
    world.forgetFlows()
    know(...PODS)
    policy('pod', ingress, egress)
  }
  const ping = family === 'ipv4' ? { ask: 8, answer: 0 } : { ask: 128, answer: 129 }
  const icmp = (blank: Frame, type: number, identifier = 7) =>
    blank.icmp(type, 0, Buffer.from([0, identifier, 0, 1, 1, 2, 3, 4]))
  const out = (type: number, identifier?: number) =>
    icmp(frame(FROM_POD).from(pod).to(client), type, identifier)
  const into = (type: number, identifier?: number) =>
    icmp(frame(TO_POD).from(client).to(pod), type, identifier)

  t.test(`${family}: what hides its ports, or its network`, async (t) => {
    begin('port80', 'port80')
    const tagged = frame(FROM_POD).from(pod, PORT).to(remotePod, 80).tcp('syn').tagged(0)
    t.equal(send(tagged), TC.DROP, 'a tag, which a stack may overlook')
    t.equal(deliver(tagged.from(client, PORT).to(pod, 80)), TC.DROP)
    if (family === 'ipv4') return
    const [hopByHop, options] = [0, 60]
    const hidden = frame(FROM_POD).from(pod).to(remotePod).body(options, Buffer.alloc(40, TCP))
    t.equal(send(hidden), TC.DROP, 'a transport behind a header')
    t.equal(deliver(hidden.from(client).to(pod)), TC.DROP)
    const report = frame(FROM_POD).from(pod).to(address('ff02::16')).body(hopByHop, Buffer.alloc(40, TCP))
    t.equal(send(report), TC.OK, 'a report of multicast listeners')
    policy('pod', 'open', 'open')
    t.equal(send(hidden), TC.OK, 'where all is allowed nobody asks')
  })

  t.test(`${family}: pings`, async (t) => {
    begin('deny', 'port80')
    t.equal(deliver(into(ping.ask)), TC.DROP)
    t.equal(deliver(into(ping.answer)), TC.DROP, 'an answer that nobody asked for')
    t.equal(send(out(ping.ask)), TC.OK)
    t.equal(deliver(into(ping.answer)), UNSPEC)
    t.equal(deliver(into(ping.answer, 8)), TC.DROP, 'to another question')
    t.equal(deliver(into(ping.ask)), TC.DROP, 'a question is no answer')
    begin('port80', 'deny')
    t.equal(deliver(into(ping.ask)), UNSPEC)
    t.equal(send(out(ping.answer)), TC.OK)
    t.equal(send(out(ping.ask)), TC.DROP)
  })

  t.test(`${family}: NP-021 errors go with the flow that they are about`, async (t) => {
    begin('deny', 'port80')
    const sent = frame(FROM_POD).from(pod, PORT).to(remotePod, 80).tcp('syn')
    const [type, code] = family === 'ipv4' ? [3, 4] : [2, 0]
    const error = sent.icmpError(type, code, 1400)
    t.equal(deliver(error), TC.DROP, 'about nothing')
    t.equal(send(sent), TC.OK)
    t.equal(deliver(error), UNSPEC)
    t.equal(deliver(error.from(client)), UNSPEC, 'of a router on the way')
    begin('port80', 'deny')
    const came = frame(TO_POD).from(client, PORT).to(pod, 80).udp()
    const closed = came.icmpError(family === 'ipv4' ? 3 : 1, family === 'ipv4' ? 3 : 4, 0)
    t.equal(send(closed), TC.DROP)
    t.equal(deliver(came), UNSPEC)
    t.equal(send(closed), TC.OK)
  })
}

t.test('what audited policies would say is told of, and changes nothing', async (t) => {
  const { pod, client, remotePod } = world.cast('ipv4')
  world.forgetFlows()
  know(...PODS)
  const ring = new RingBuffer(world.map('events'))
  const told = (act: () => void) => {
    const events: (readonly [number, number, number])[] = []
    ring.consume(() => {})
    act()
    ring.consume(({ data, count: found, offsets }) => {
      for (let index = 0; index < found; index++) {
        const { kind, reason, serviceId } = abi.decodePacketEvent(data, offsets[index])
        events.push([kind, reason, serviceId])
      }
    })
    return events
  }
  const { EVENT_DROP, EVENT_WOULD_DROP, EVENT_WOULD_PASS } = abi.EventKind
  const sent = frame(FROM_POD).from(pod, PORT).to(remotePod, 80).tcp('syn')
  const came = frame(TO_POD).from(client, PORT).to(pod, 80).tcp('syn')
  policy('pod', 'wouldDeny', 'wouldAllow')
  const counted = count(R.REASON_POLICY_AUDITED, () => {
    t.same(
      told(() => {
        t.equal(deliver(came), UNSPEC)
        t.equal(deliver(came.tcp('ack')), UNSPEC)
      }),
      [[EVENT_WOULD_DROP, R.REASON_POLICY_INGRESS, AUDITED]],
      'once a flow',
    )
    t.same(
      told(() => t.equal(send(sent), TC.DROP)),
      [
        [EVENT_WOULD_PASS, R.REASON_POLICY_EGRESS, AUDITED],
        [EVENT_DROP, R.REASON_POLICY_EGRESS, FIRST_RULE],
      ],
    )
  })
  t.equal(counted, 2)
})

t.test('neighbour discovery is the link’s business', async (t) => {
  const { pod } = world.cast('ipv6')
  world.forgetFlows()
  know(...PODS)
  policy('pod', 'deny', 'deny')
  const neighbour = (type: number, ttl: number) =>
    frame(FROM_POD).from(pod).to(pod).ttl(ttl).icmp(type, 0, Buffer.alloc(20))
  const other = neighbour(135, 255).to(world.cast('ipv6').client)
  t.equal(send(other), TC.OK)
  t.equal(deliver(other), UNSPEC)
  t.equal(send(other.ttl(64)), TC.DROP, 'from beyond a router')
})
