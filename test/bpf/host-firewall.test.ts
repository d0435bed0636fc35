// Policy of the node itself: what comes in by an uplink for it, what it sends, and what its own pods say to it. The programs run in a
// network namespace whose routing table tells the node's own addresses from others'.

import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import t from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import { type Address, address, addressToBytes } from '../../src/model/address.ts'
import { attachBed } from './attach-bed.ts'
import { flowKinds } from './check.ts'
import { type Frame, frame, speaking, TCP, UDP } from './packet.ts'
import {
  arrive,
  bridge,
  comeIn,
  count,
  deliver,
  judgeNode,
  know,
  leave,
  maps,
  PORT,
  policy,
  type Said,
  send,
  UNSPEC,
  world,
} from './police-bed.ts'
import { LOOPBACK } from './policy-rows.ts'
import { ARRIVING, BACKEND, FROM_POD, TC, TO_POD, UPLINK, XDP } from './world.ts'

const R = abi.VerdictReason
const K = abi.FlowKind
/** Of the node, but in no Node object. */
const SECOND = { ipv4: address('192.0.2.77'), ipv6: address('2001:db8:77::1') }
/** Some device. */
const POD_DEVICE = 7
const GENEVE = 6081
/** No pod's device. */
const UPLINK_IFINDEX = LOOPBACK + 1
const IGMP = 2
const IPIP = { ipv4: 4, ipv6: 41 } as const

const bed = attachBed(t, 'host')
bed.ip('link', 'set', 'lo', 'up')
for (const family of ['ipv4', 'ipv6'] as const) {
  const { node } = world.cast(family)
  const bits = family === 'ipv4' ? 32 : 128
  for (const own of [node, SECOND[family]]) bed.ip('address', 'add', `${own}/${bits}`, 'dev', 'lo')
  bed.ip(family === 'ipv4' ? '-4' : '-6', 'route', 'add', 'default', 'dev', 'lo')
  bed.inside(() => writeFileSync(`/proc/sys/net/${family}/conf/lo/forwarding`, '1'))
}

const server = createServer()
bed.inside(() => server.listen(80))
t.teardown(() => server.close())

const inside =
  <Args extends readonly unknown[]>(act: (...args: Args) => number) =>
  (...args: Args) =>
    bed.inside(() => act(...args))
const takes = inside(comeIn)
const leaves = inside(leave)
const sends = inside(send)

/** What the node's policies say from now on; nothing is remembered. */
function begin(ingress: Said, egress: Said): void {
  world.forgetFlows()
  know()
  policy('pod', 'open', 'open')
  policy('node', ingress, egress)
  judgeNode(true)
}

for (const family of ['ipv4', 'ipv6'] as const)
  for (const protocol of [TCP, UDP]) {
    const name = `${family} ${protocol === TCP ? 'TCP' : 'UDP'}`
    const { pod, remotePod, client, node, otherNode } = world.cast(family)
    const { spoken, swapped } = speaking(protocol)
    const into = (port: number, ...flags: Parameters<Frame['tcp']>) =>
      spoken(frame(ARRIVING).from(client, PORT).to(node, port).payload(9), ...flags)
    const out = (to: Address, port: number, ...flags: Parameters<Frame['tcp']>) =>
      spoken(frame(UPLINK).from(node, PORT).to(to, port).payload(9), ...flags)

    t.test(`${name}: nobody is asked while no policy selects the node`, async (t) => {
      begin('deny', 'deny')
      judgeNode(false)
      t.equal(takes(into(81, 'syn')), UNSPEC)
      t.equal(leaves(out(client, 81, 'syn')), UNSPEC)
      t.same(flowKinds(world), [], 'nothing is remembered')
    })

    t.test(`${name}: what comes in, and its answers`, async (t) => {
      begin('port80', 'deny')
      const came = into(80, 'syn')
      t.equal(takes(came), UNSPEC)
      t.same(flowKinds(world), [K.FLOW_POD])
      t.equal(leaves(swapped(came, 'syn', 'ack')), UNSPEC, 'though egress is denied')
      t.equal(takes(spoken(came, 'ack')), UNSPEC)
      const counted = count(R.REASON_POLICY_INGRESS, () => {
        t.equal(takes(into(81, 'syn')), TC.DROP)
      })
      t.equal(counted, 1)
    })

    t.test(`${name}: what the node begins, and its answers`, async (t) => {
      begin('deny', 'port80')
      const sent = out(client, 80, 'syn')
      t.equal(leaves(sent), UNSPEC)
      t.equal(takes(swapped(sent, 'syn', 'ack')), UNSPEC, 'though ingress is denied')
      t.equal(leaves(spoken(sent, 'ack')), UNSPEC)
      const counted = count(R.REASON_POLICY_EGRESS, () => {
        t.equal(leaves(out(client, 81, 'syn')), TC.DROP)
      })
      t.equal(counted, 1)
      if (protocol === TCP) t.equal(takes(swapped(sent, 'syn')), TC.DROP, 'a SYN is no answer')
    })

    t.test(`${name}: what is not the node's passes`, async (t) => {
      begin('deny', 'deny')
      t.equal(takes(into(81, 'syn').to(pod, 81)), UNSPEC, 'to a pod: its device judges')
      t.equal(takes(into(81, 'syn').to(remotePod, 81)), UNSPEC, 'forwarded')
      t.equal(leaves(out(client, 81, 'syn').from(pod, PORT), POD_DEVICE), UNSPEC, 'from a pod')
      t.same(flowKinds(world), [])
      t.equal(
        leaves(out(client, 81, 'syn').from(pod, PORT)),
        TC.DROP,
        'whatever address the stack sends from',
      )
    })

    t.test(`${name}: what the stack masquerades as the node gets its answers`, async (t) => {
      begin('deny', 'deny')
      const sent = out(client, 443, 'syn')
      t.equal(leaves(sent, POD_DEVICE), UNSPEC)
      t.equal(takes(swapped(sent, 'syn', 'ack')), UNSPEC)
      t.equal(leaves(spoken(sent, 'ack'), POD_DEVICE), UNSPEC)
      policy('node', 'deny', 'deny')
      t.equal(takes(swapped(sent, 'ack')), UNSPEC, 'no policy of the node’s is asked')
      t.equal(takes(swapped(out(client, 444), 'ack')), TC.DROP, 'another flow')
    })

    t.test(`${name}: policy tightens`, async (t) => {
      begin('port80', 'port80')
      const sent = out(client, 80, 'syn')
      const came = into(80, 'syn')
      const all = () => [
        leaves(spoken(sent, 'ack')),
        takes(swapped(sent, 'ack')),
        takes(spoken(came, 'ack')),
        leaves(swapped(came, 'ack')),
      ]
      leaves(sent)
      takes(came)
      t.same(all(), [UNSPEC, UNSPEC, UNSPEC, UNSPEC])
      policy('node', 'keep', 'keep')
      t.same(all(), [UNSPEC, UNSPEC, UNSPEC, UNSPEC], 'those that there are may go on')
      t.equal(takes(into(82, 'syn')), TC.DROP, 'new ones may not')
      policy('node', 'deny', 'allow')
      t.same(all(), [UNSPEC, UNSPEC, TC.DROP, TC.DROP], 'cut, and no answer becomes a flow of the node’s')
      policy('node', 'deny', 'deny')
      t.same(all(), [TC.DROP, TC.DROP, TC.DROP, TC.DROP])
      judgeNode(false)
      t.same(all(), [UNSPEC, UNSPEC, UNSPEC, UNSPEC], 'no policy selects the node any more')
    })

    if (protocol === TCP)
      t.test(`${name}: connections from before there was a policy`, async (t) => {
        const { port: listening } = server.address() as { port: number }
        t.equal(listening, 80)
        const began = out(client, 80, 'ack')
        const served = into(80, 'ack')
        begin('deny', 'allow')
        t.equal(takes(swapped(began, 'ack')), UNSPEC, 'nobody listens there: the node began it')
        t.equal(leaves(began), UNSPEC)
        t.equal(takes(served), TC.DROP, 'somebody does: the client began it')
        t.equal(leaves(swapped(served, 'ack')), TC.DROP)
        begin('port80', 'deny')
        t.equal(leaves(swapped(served, 'ack')), UNSPEC)
        t.equal(takes(served), UNSPEC)
        t.equal(leaves(began), TC.DROP)
        t.equal(takes(swapped(began, 'ack')), TC.DROP)
        begin('keep', 'keep')
        t.equal(takes(served), UNSPEC, 'kept')
        t.equal(leaves(began), UNSPEC)
      })

    t.test(`${name}: from the node's own pods`, async (t) => {
      begin('port80', 'deny')
      const ask = (port: number, ...flags: Parameters<Frame['tcp']>) =>
        spoken(frame(FROM_POD).from(pod, PORT).to(node, port).payload(9), ...flags)
      const answer = swapped(ask(80), 'syn', 'ack')
      t.equal(sends(ask(80, 'syn')), TC.OK)
      t.equal(deliver(answer, 0), UNSPEC)
      t.equal(sends(ask(80, 'ack')), TC.OK)
      const counted = count(R.REASON_POLICY_INGRESS, () => {
        t.equal(sends(ask(81, 'syn')), TC.DROP)
      })
      t.equal(counted, 1, 'as the node’s ingress')
      const probe = spoken(frame(TO_POD).from(node, PORT).to(pod, 8080).payload(9), 'syn')
      t.equal(deliver(probe, 0), UNSPEC, 'the kubelet, whatever the node’s egress says')
      t.equal(sends(swapped(probe, 'syn', 'ack')), TC.OK, 'and its answer')
      t.equal(sends(ask(81, 'syn').to(otherNode, 81)), TC.OK, 'another node judges for itself')
      t.equal(sends(ask(81, 'syn').to(remotePod, 81)), TC.OK)
      policy('node', 'deny', 'deny')
      t.equal(sends(ask(80, 'ack')), TC.DROP, 'policy tightens')
      policy('pod', 'open', 'deny')
      policy('node', 'allow', 'deny')
      world.forgetFlows()
      t.equal(sends(ask(80, 'syn')), TC.DROP, 'both ends must allow')
    })

    t.test(
      `${name}: from the node's own pods to an address of the node that the cluster does not know`,
      async (t) => {
        begin('port80', 'deny')
        const ask = (port: number, ...flags: Parameters<Frame['tcp']>) =>
          spoken(frame(FROM_POD).from(pod, PORT).to(SECOND[family], port).payload(9), ...flags)
        t.equal(sends(ask(80, 'syn')), TC.OK)
        t.equal(sends(ask(80, 'ack')), TC.OK)
        for (const _time of [1, 2, 3]) t.equal(sends(ask(81, 'syn')), TC.DROP, 'as often as it is tried')
        judgeNode(false)
        t.equal(sends(ask(81, 'syn')), TC.OK)
        t.equal(sends(ask(82, 'syn').to(client, 82)), TC.OK)
        judgeNode(true)
        t.equal(sends(ask(81, 'ack')), TC.DROP, 'begun before the node was judged')
        t.equal(sends(ask(82, 'ack').to(client, 82)), TC.OK, 'to somebody else')
        t.same(
          world.flows().flatMap(({ flags }) => (flags & abi.FlowFlags.FLOW_LEAVES ? [flags] : [])).length,
          1,
          'who is not asked for with each packet',
        )
        t.equal(sends(ask(82, 'ack').to(client, 82)), TC.OK)
      },
    )

    t.test(`${name}: where a pod's connection goes is looked at again, whoever speaks first`, async (t) => {
      begin('deny', 'deny')
      const later = address(family === 'ipv4' ? '192.0.2.88' : '2001:db8:88::1')
      // What an address of the node comes to, but at once: IPv6's own routes are made in the background.
      const turn = (how: 'add' | 'delete') =>
        bed.ip(family === 'ipv4' ? '-4' : '-6', 'route', how, 'local', later, 'dev', 'lo', 'table', 'local')
      const ask = (...flags: Parameters<Frame['tcp']>) =>
        spoken(frame(FROM_POD).from(pod, PORT).to(later, 80).payload(9), ...flags)
      const answer = spoken(frame(TO_POD).from(later, 80).to(pod, PORT).payload(9), 'ack')
      t.equal(sends(ask('syn')), TC.OK, 'to somebody else')
      t.equal(sends(ask('ack')), TC.OK)
      turn('add')
      for (const _tick of [1, 2, 3]) {
        world.age(1)
        t.equal(deliver(answer, UPLINK_IFINDEX), UNSPEC)
        t.equal(sends(ask('ack')), TC.DROP, 'who is this node itself by now')
      }
      turn('delete')
      t.equal(sends(ask('ack')), TC.OK)
      t.equal(sends(ask('ack')), TC.OK)
    })

    t.test(`${name}: by a pod's address, but from outside`, async (t) => {
      begin('allow', 'allow')
      const ask = spoken(frame(FROM_POD).from(pod, PORT).to(node, 80).payload(9), 'syn')
      const forged = count(R.REASON_FORGED_SOURCE, () => t.equal(takes(ask), TC.DROP))
      t.equal(forged, 1)
      t.equal(sends(ask), TC.OK)
      const further = count(R.REASON_FORGED_SOURCE, () => t.equal(takes(spoken(ask, 'ack')), TC.DROP))
      t.equal(further, 1, 'a flow that is known')
      t.equal(sends(spoken(ask, 'ack')), TC.OK)
    })

    t.test(`${name}: by a bridge that is an uplink, whose port the pod's device is`, async (t) => {
      begin('port80', 'deny')
      const ask = (port: number, ...flags: Parameters<Frame['tcp']>) =>
        spoken(frame(FROM_POD).from(pod, PORT).to(node, port).payload(9), ...flags)
      bridge(pod, LOOPBACK)
      for (const sent of [ask(80, 'syn'), ask(80, 'ack')]) {
        t.equal(sends(sent), TC.OK)
        t.equal(takes(sent), UNSPEC, 'a second time')
      }
      t.equal(takes(ask(81, 'syn')), TC.DROP, 'judged all the same')
      bridge(pod, 0)
      t.equal(takes(ask(80, 'ack')), TC.DROP)
    })

    t.test(`${name}: a Service's backend on the host network`, async (t) => {
      begin('allow', 'deny')
      const onHost = { address: addressToBytes(node), port: 82 }
      const usual = world.changeBackend(family, protocol, BACKEND.byStack, onHost)
      const request = world.request(family, protocol, 82)
      t.equal(arrive(request), XDP.PASS)
      const translated = request.to(node, 82)
      t.equal(takes(translated), UNSPEC)
      t.equal(leaves(swapped(translated, 'syn', 'ack')), UNSPEC, 'on its way out it is the frontend’s')
      policy('node', 'deny', 'deny')
      t.equal(takes(translated), TC.DROP)
      t.equal(leaves(swapped(translated, 'ack')), TC.DROP)
      begin('port80', 'deny')
      t.equal(arrive(request), XDP.PASS)
      t.equal(takes(translated), TC.DROP, 'judged by its own port, not the Service’s')
      begin('deny', 'deny')
      const ask = spoken(frame(FROM_POD).from(pod, PORT).to(request.fields.destination, 82), 'syn')
      t.equal(sends(ask), TC.DROP, 'also of a pod that its device balances')
      policy('node', 'allow', 'deny')
      t.equal(sends(ask), TC.OK)
      world.changeBackend(family, protocol, BACKEND.byStack, usual)
    })

    if (protocol === UDP)
      t.test(`${name}: fragments`, async (t) => {
        begin('port80', 'deny')
        const [first, later] = into(80).payload(64).id(7).pieces(32) as [Frame, Frame]
        t.equal(takes(later), TC.DROP, 'without its ports')
        t.equal(takes(later.to(pod, 80)), UNSPEC, 'to a pod')
        t.equal(takes(first), UNSPEC)
        t.equal(takes(later), UNSPEC)
      })
  }

for (const family of ['ipv4', 'ipv6'] as const) {
  const { pod, client, node, otherNode } = world.cast(family)
  const ping = family === 'ipv4' ? { ask: 8, answer: 0 } : { ask: 128, answer: 129 }
  const icmp = (blank: Frame, type: number, identifier = 7) =>
    blank.icmp(type, 0, Buffer.from([0, identifier, 0, 1, 1, 2, 3, 4]))
  const out = (type: number) => icmp(frame(UPLINK).from(node).to(client), type)
  const into = (type: number) => icmp(frame(ARRIVING).from(client).to(node), type)
  const [type, code] = family === 'ipv4' ? ([3, 4] as const) : ([2, 0] as const)

  t.test(`${family}: pings`, async (t) => {
    begin('port80', 'deny')
    t.equal(takes(into(ping.ask)), UNSPEC)
    t.equal(leaves(out(ping.answer)), UNSPEC)
    t.equal(leaves(out(ping.ask)), TC.DROP)
    begin('deny', 'port80')
    t.equal(takes(into(ping.ask)), TC.DROP)
    t.equal(takes(into(ping.answer)), TC.DROP, 'an answer that nobody asked for')
    t.equal(leaves(out(ping.ask)), UNSPEC)
    t.equal(takes(into(ping.answer)), UNSPEC)
  })

  t.test(`${family}: errors`, async (t) => {
    begin('deny', 'port80')
    const sent = frame(UPLINK).from(node, PORT).to(client, 80).tcp('syn')
    t.equal(takes(sent.icmpError(type, code, 1400)), TC.DROP, 'about nothing')
    t.equal(leaves(sent), UNSPEC)
    t.equal(takes(sent.icmpError(type, code, 1400)), UNSPEC, 'about a flow of the node’s')
    const tunnelled = frame(UPLINK).from(node, PORT).to(otherNode, GENEVE).payload(64).udp()
    t.equal(takes(tunnelled.icmpError(type, code, 1400)), UNSPEC, 'about a tunnel')
    begin('deny', 'deny')
    const forwarded = frame(ARRIVING).from(client, PORT).to(pod, 80).tcp('syn')
    t.equal(leaves(forwarded.icmpError(type, code, 1400).from(node)), UNSPEC, 'a router’s own')
  })

  t.test(`${family}: what the link and the cluster need`, async (t) => {
    begin('deny', 'deny')
    const encapsulated = (from: Address, to: Address) =>
      frame(ARRIVING).from(from).to(to).body(IPIP[family], Buffer.alloc(60))
    t.equal(takes(encapsulated(otherNode, node)), TC.DROP, 'a tunnel of somebody')
    maps.apply([
      { table: 'identities', put: [{ kind: 'address', text: otherNode, identity: 6, scope: 'node' }] },
    ])
    t.equal(takes(encapsulated(otherNode, node)), UNSPEC, 'of another node')
    t.equal(leaves(encapsulated(node, otherNode)), UNSPEC)
    t.equal(takes(encapsulated(client, node)), TC.DROP)
    maps.apply([{ table: 'identities', delete: [{ kind: 'address', text: otherNode }] }])
    if (family === 'ipv4') {
      const report = frame(ARRIVING).from(client).to(address('224.0.0.22')).body(IGMP, Buffer.alloc(16))
      t.equal(takes(report), UNSPEC, 'multicast listeners')
      const offer = frame(ARRIVING).from(client, 67).to(address('255.255.255.255'), 68).udp()
      t.equal(takes(offer), TC.DROP, 'a broadcast is for the node too')
      return
    }
    const advertisement = icmp(frame(ARRIVING).from(client).to(node), 136).ttl(255)
    t.equal(takes(advertisement), UNSPEC, 'neighbour discovery')
    t.equal(takes(advertisement.ttl(64)), TC.DROP, 'not from this link')
    t.equal(takes(frame(ARRIVING).from(client, 1).to(address('ff02::fb'), 5353).udp()), TC.DROP)
  })

  t.test(`${family}: a Service at the node’s own address`, async (t) => {
    const { localClient, vip } = world.cast(family)
    bed.ip('address', 'add', `${vip}/${family === 'ipv4' ? 32 : 128}`, 'dev', 'lo')
    maps.apply([{ table: 'identities', put: [{ kind: 'address', text: vip, identity: 6, scope: 'node' }] }])
    begin('deny', 'deny')
    policy('localClient', 'open', 'open')
    const asked = (port: number) => frame(FROM_POD).from(localClient, PORT).to(vip, port).udp()
    t.equal(sends(asked(82)), TC.OK, 'leads to a pod, by the stack')
    t.equal(sends(asked(82)), TC.OK, 'and is known')
    maps.apply([{ table: 'identities', delete: [{ kind: 'address', text: vip }] }])
    bed.ip('address', 'delete', `${vip}/${family === 'ipv4' ? 32 : 128}`, 'dev', 'lo')
  })

  t.test(`${family}: tags`, async (t) => {
    begin('deny', 'deny')
    const sent = frame(ARRIVING).from(client, PORT).to(node, 80).tcp('syn')
    t.equal(takes(sent.tagged(0)), TC.DROP, 'a tag that a stack overlooks')
  })
}
