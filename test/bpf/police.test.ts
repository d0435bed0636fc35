// Policy on flows: at both directions of a pod's device, and where an uplink's packets are delivered to one.

import t from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import type { Address } from '../../src/model/address.ts'
import { flowKinds } from './check.ts'
import { type Frame, frame, speaking, TCP, UDP } from './packet.ts'
import {
  arrive,
  bridge,
  CLASS,
  count,
  deliver,
  know,
  maps,
  PORT,
  policy,
  runFromPod,
  type Said,
  send,
  takeSet,
  UNSPEC,
  world,
} from './police-bed.ts'
import { LOOPBACK } from './policy-rows.ts'
import { readFrame } from './read-frame.ts'
import { arriving } from './tunnel.ts'
import { ARRIVING, FROM_POD, TARGET_PORT, TC, TO_POD, XDP } from './world.ts'

const R = abi.VerdictReason
const K = abi.FlowKind
/** No pod's device. */
const UPLINK_IFINDEX = LOOPBACK + 1

for (const family of ['ipv4', 'ipv6'] as const)
  for (const protocol of [TCP, UDP]) {
    const name = `${family} ${protocol === TCP ? 'TCP' : 'UDP'}`
    const { pod, localClient, remotePod, client, vip, node } = world.cast(family)
    const { spoken, swapped } = speaking(protocol)
    /** What the pod sends, and what comes to it. */
    const out = (to: Address, port: number, ...flags: Parameters<Frame['tcp']>) =>
      spoken(frame(FROM_POD).from(pod, PORT).to(to, port).payload(9), ...flags)
    const into = (from: Address, port: number, ...flags: Parameters<Frame['tcp']>) =>
      spoken(frame(TO_POD).from(from, PORT).to(pod, port).payload(9), ...flags)
    const begin = (ingress: Said, egress: Said) => {
      world.forgetFlows()
      know()
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
      know()
      t.equal(send(out(remotePod, 80, 'syn')), TC.OK)
    })

    t.test(`${name}: an entry names the pod's device and port to who reads the table`, async (t) => {
      const ends = () => world.flows().map(({ kind, index }) => [kind, index >>> 16, index & 0xffff])
      begin('open', 'open')
      t.equal(send(out(remotePod, 80, 'syn')), TC.OK)
      t.strictSame(ends(), [[K.FLOW_POD, LOOPBACK, PORT]])
      begin('open', 'open')
      t.equal(deliver(into(client, 80, 'syn')), UNSPEC)
      t.strictSame(ends(), [[K.FLOW_POD, LOOPBACK, 80]])
    })

    t.test(`${name}: what the pod begins, and its answers`, async (t) => {
      begin('deny', 'port80')
      const sent = out(remotePod, 80, 'syn')
      t.equal(send(sent), TC.OK)
      t.same(flowKinds(world), [K.FLOW_POD])
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
      t.same(flowKinds(world), [K.FLOW_POD, K.FLOW_POD], 'an end each')
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
      if (protocol === TCP) t.same(flowKinds(world), [], 'but who began it is not to be seen')
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
      t.same(flowKinds(world), [K.FLOW_TO_LOCAL, K.FLOW_REPLY])
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

    t.test(
      `${name}: nor does what comes to a pod by another device have that address, or the pod’s own`,
      async (t) => {
        begin('open', 'open')
        const sent = spoken(frame(FROM_POD).from(localClient, PORT).to(pod, 80).payload(9), 'syn')
        const counted = count(R.REASON_FORGED_SOURCE, () => {
          t.equal(deliver(sent, UPLINK_IFINDEX), TC.DROP)
          t.equal(deliver(sent.from(pod, PORT), UPLINK_IFINDEX), TC.DROP)
        })
        t.equal(counted, 2)
        bridge(localClient, UPLINK_IFINDEX)
        t.equal(deliver(sent, UPLINK_IFINDEX), UNSPEC, 'but the bridge whose port its device is')
        bridge(localClient, 0)
        t.equal(deliver(sent), UNSPEC, 'its own device')
        t.equal(deliver(sent.from(client, PORT), UPLINK_IFINDEX), UNSPEC)
      },
    )

    if (protocol === TCP)
      t.test(`${name}: a flow goes on only while its answers have a place`, async (t) => {
        begin('open', 'open')
        policy('pod', 'open', 'deny')
        const request = world.request(family, protocol, 81)
        const { source: from, sourcePort } = request.fields
        const answer = (...flags: Parameters<Frame['tcp']>) =>
          send(
            frame(FROM_POD)
              .from(pod, TARGET_PORT)
              .to(from, sourcePort)
              .payload(9)
              .tcp(...flags),
          )
        t.equal(arrive(request), XDP.REDIRECT)
        t.equal(answer('syn', 'ack'), TC.REDIRECT)
        const lost = takeSet(K.FLOW_REPLY)
        t.equal(answer('ack'), TC.DROP, 'not told from what the pod begins')
        const unplaced = count(R.REASON_FLOW_SET_FULL, () => {
          t.equal(arrive(request.tcp('ack')), XDP.DROP)
          t.equal(arrive(request.tcp('ack')), XDP.DROP, 'each one, before the pod has answered')
          t.equal(arrive(request), XDP.DROP, 'nor does it begin anew')
        })
        t.equal(unplaced, 3)
        lost.leaveOne()
        t.equal(arrive(request.tcp('ack')), XDP.REDIRECT)
        t.equal(answer('ack'), TC.REDIRECT)
        begin('open', 'open')
        t.equal(arrive(request), XDP.REDIRECT)
        world.free(({ kind }) => kind === K.FLOW_REPLY)
        t.equal(answer('syn', 'ack'), TC.OK, 'as if the pod began')
        t.equal(arrive(request.tcp('ack')), XDP.REDIRECT)
        t.equal(answer('ack'), TC.REDIRECT, 'and the flow takes its entry back')
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
      const kinds = flowKinds(world)
      t.equal(deliver(swapped(ask(81), 'syn')), UNSPEC)
      t.same(flowKinds(world), kinds, 'a SYN does not take the Service’s entry')
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
        know({ ingress: CLASS[ingress], egress: CLASS[egress] })
        t.equal(send(ask), expected, `in ${ingress}, out ${egress}`)
      }
      world.forgetFlows()
      know()
      const { sourcePort } = readFrame(runFromPod(ask).dataOut)
      const turned = spoken(frame(TO_POD).from(node, sourcePort).to(pod, TARGET_PORT).payload(9), 'syn')
      t.equal(deliver(turned), UNSPEC, 'its own device knows it')
      t.equal(send(swapped(turned, 'syn', 'ack')), TC.REDIRECT)
      const goesOn = () => [send(spoken(ask, 'ack')), deliver(swapped(ask, 'ack'))]
      t.same(goesOn(), [TC.REDIRECT, UNSPEC])
      know({ ingress: CLASS.keep, egress: CLASS.allow })
      t.same(goesOn(), [TC.REDIRECT, UNSPEC], 'NP-017 kept')
      for (const denied of ['ingress', 'egress']) {
        know({ ingress: CLASS.allow, egress: CLASS.allow, [denied]: CLASS.deny })
        t.same(goesOn(), [TC.DROP, TC.DROP], `NP-017 cut by ${denied}`)
      }
      know()
      t.same(goesOn(), [TC.REDIRECT, UNSPEC], 'and allowed again')
      const forged = count(R.REASON_FORGED_SOURCE, () => {
        t.equal(arrive(spoken(world.request(family, protocol, 81).from(pod, PORT), 'ack')), XDP.DROP)
        t.equal(arrive(spoken(frame(ARRIVING).from(pod, TARGET_PORT).to(node, sourcePort), 'ack')), XDP.DROP)
      })
      t.equal(forged, 2, 'nobody’s from outside')
    })

    t.test(`${name}: known flows of pods that live here are nobody’s from outside either`, async (t) => {
      begin('open', 'open')
      const ask = spoken(frame(FROM_POD).from(localClient, PORT).to(vip, 81).payload(9), 'syn')
      const further = spoken(frame(ARRIVING).from(localClient, PORT).to(vip, 81).payload(9), 'ack')
      t.equal(send(ask), TC.REDIRECT)
      t.equal(send(further), TC.REDIRECT)
      const sent = spoken(frame(FROM_POD).from(localClient, PORT).to(pod, 80).payload(9), 'syn')
      t.equal(send(sent), TC.OK)
      t.equal(deliver(sent), UNSPEC)
      world.admit(localClient)
      const forged = count(R.REASON_FORGED_SOURCE, () => {
        t.equal(arrive(further), XDP.DROP, 'the client’s')
        t.equal(
          arrive(spoken(frame(ARRIVING).from(pod, TARGET_PORT).to(localClient, PORT), 'ack')),
          XDP.DROP,
          'the backend’s answer',
        )
        t.equal(deliver(spoken(sent, 'ack'), UPLINK_IFINDEX), TC.DROP, 'without a Service')
        t.equal(deliver(swapped(sent, 'ack'), UPLINK_IFINDEX), TC.DROP, 'its answer')
      })
      world.refuse(localClient)
      t.equal(forged, 4)
      t.equal(send(further), TC.REDIRECT, 'the pod’s own go on')
      t.equal(deliver(spoken(sent, 'ack')), UNSPEC)
      t.equal(deliver(swapped(sent, 'ack')), UNSPEC)
    })

    t.test(`${name}: a pod's connection that another node leads back to this one`, async (t) => {
      begin('open', 'open')
      const ask = (...flags: Parameters<Frame['tcp']>) =>
        spoken(frame(FROM_POD).from(localClient, PORT).to(vip, 81).payload(9), ...flags)
      const there = (...flags: Parameters<Frame['tcp']>) =>
        spoken(frame(TO_POD).from(localClient, PORT).to(pod, TARGET_PORT).payload(9), ...flags)
      const comesBack = (sent: Frame) => arrive(arriving(world, sent, family))
      t.equal(comesBack(ask('syn')), XDP.REDIRECT)
      t.equal(deliver(there('syn'), UPLINK_IFINDEX), UNSPEC, 'where the stack delivers it')
      t.equal(deliver(there('ack'), UPLINK_IFINDEX), UNSPEC)
      policy('localClient', 'open', 'deny')
      t.equal(send(ask('ack')), TC.DROP, 'what the backend’s end says is not said of the client’s')
      policy('localClient', 'open', 'open')
      t.equal(send(ask('ack')), TC.REDIRECT, 'its own device knows the way now')
      policy('pod', 'deny', 'open')
      t.equal(comesBack(ask('ack')), XDP.DROP, 'nor the other way round')
      t.equal(send(ask('ack')), TC.REDIRECT)
      t.equal(deliver(there('ack')), TC.DROP)
      begin('open', 'open')
      t.equal(send(ask('syn')), TC.REDIRECT)
      t.equal(deliver(there('syn')), UNSPEC)
      const forged = count(R.REASON_FORGED_SOURCE, () => {
        t.equal(deliver(there('ack'), UPLINK_IFINDEX), TC.DROP)
      })
      t.equal(forged, 1, 'nobody leads back what never left')
      begin('deny', 'open')
      t.equal(comesBack(ask('syn')), XDP.DROP)
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
        policy('pod', 'allow', 'deny')
        t.equal(deliver(later.id(9)), UNSPEC, 'whoever may speak to every port')
        policy('pod', 'udp', 'deny')
        t.equal(deliver(later.id(10)), UNSPEC, 'or to every port of the protocol')
        policy('pod', 'wouldDenySome', 'deny')
        const audited = count(R.REASON_POLICY_AUDITED, () => t.equal(deliver(later.id(11)), UNSPEC))
        t.equal(audited, 1, 'audited: what would be dropped in force is told of')
      })
  }
