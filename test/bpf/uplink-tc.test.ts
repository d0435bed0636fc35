// weir_uplink_ingress does to a socket buffer what weir_uplink_xdp does to a frame: the same packets through both, and the same
// bytes out. weir_uplink_egress turns the answers that the host's stack sends.

import t from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import type { Family } from '../../src/model/address.ts'
import { type Frame, frame, TCP, UDP } from './packet.ts'
import { readFrame } from './read-frame.ts'
import { arriving } from './tunnel.ts'
import { ARRIVING, flowState, TARGET_PORT, TC, TO_POD, UPLINK, World, XDP } from './world.ts'

const atXdp = new World('uplink-xdp')
const atTc = new World('uplink-tc')
t.teardown(() => {
  atXdp.close()
  atTc.close()
})

const TC_UNSPEC = -1
/** BPF_F_TEST_SKB_CHECKSUM_COMPLETE: the run begins with the sum that a device would give, and ends with a look whether it still is. */
const F_TEST_SKB_CHECKSUM_COMPLETE = 4
const VERDICT: Readonly<Record<number, number>> = {
  [XDP.PASS]: TC_UNSPEC,
  [XDP.DROP]: TC.DROP,
  [XDP.TX]: TC.REDIRECT,
  [XDP.REDIRECT]: TC.REDIRECT,
}
const SKB_BYTES = 192
const GSO_SEGMENTS_AT = 164
const GSO_SIZE_AT = 176
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

function skb(gsoSegments = 0, gsoSize = 0): Buffer {
  const context = Buffer.alloc(SKB_BYTES)
  context.writeUInt32LE(gsoSegments, GSO_SEGMENTS_AT)
  context.writeUInt32LE(gsoSize, GSO_SIZE_AT)
  return context
}

function ingress(sent: Frame, context = skb()) {
  const run = { data: sent.bytes(), context, dataOutBytes: 70_000 }
  const { returnValue, ...rest } = atTc.datapath.uplink.ingress.testRun(run)
  return { ...rest, returnValue: returnValue | 0 }
}

function counted(world: World, act: () => void): Record<number, number> {
  const before = world.metrics()
  act()
  const more: Record<number, number> = {}
  for (const [reason, packets] of world.metrics())
    if (packets > (before.get(reason) ?? 0)) more[reason] = packets - (before.get(reason) ?? 0)
  return more
}

function packets(family: Family, protocol: number): Record<string, Frame> {
  const { stranger, node } = atTc.cast(family)
  const to = (port: number) => atTc.request(family, protocol, port)
  const further = (port: number) => (protocol === TCP ? to(port).tcp('ack') : to(port))
  const echo = family === 'ipv4' ? 8 : 128
  return {
    'not ours': to(80).to(stranger),
    'to this node': further(80).to(node, 22),
    'to a pod, first': to(81),
    'to a pod, further': further(81),
    'to a pod, no checksum':
      protocol === UDP && family === 'ipv4' ? further(81).withoutChecksum() : further(81),
    'to another node, first': to(80),
    'to another node, further': further(80),
    'left to the stack': to(82),
    'no endpoint': to(90),
    'no endpoint, further': further(90),
    'no endpoint here': to(91),
    'no such port': to(7777),
    'last hop': to(81).ttl(1),
    'too big for the pod': to(81).payload(1500),
    'too big for the tunnel': to(80).payload(2000),
    ping: to(0).icmp(echo, 0, Buffer.alloc(64)),
    'from the tunnel, first': arriving(atTc, to(80), family),
    'from the tunnel, further': arriving(atTc, further(80), family),
    'from an unknown tunnel': arriving(atTc, to(80), family).from(stranger),
    'from the tunnel, malformed': arriving(atTc, to(80), family, { type: 1 }),
  }
}

for (const family of ['ipv4', 'ipv6'] as const)
  for (const protocol of [TCP, UDP]) {
    const name = `${family} ${protocol === TCP ? 'TCP' : 'UDP'}`
    const { client, vip, pod, node, remotePod, stranger } = atTc.cast(family)
    const to = (port: number) => atTc.request(family, protocol, port)
    const further = (port: number) => (protocol === TCP ? to(port).tcp('ack') : to(port))

    t.test(`${name}: as XDP does it`, async (t) => {
      for (const world of [atXdp, atTc]) world.forgetFlows()
      for (const [title, sent] of Object.entries(packets(family, protocol))) {
        let returnValue = 0
        let dataOut: Buffer = Buffer.alloc(0)
        const wanted = counted(atXdp, () => {
          const data = sent.bytes()
          ;({ returnValue, dataOut } = atXdp.datapath.uplink.xdp.testRun({ data, dataOutBytes: 12_000 }))
        })
        const got = counted(atTc, () => {
          const result = ingress(sent)
          t.equal(result.returnValue, VERDICT[returnValue], `${title}: verdict`)
          if (returnValue !== XDP.DROP) t.equal(hex(result.dataOut), hex(dataOut), `${title}: bytes`)
        })
        t.same(got, wanted, `${title}: counted`)
      }
      const kinds = (world: World) =>
        world
          .flows()
          .map((flow) => [flow.kind, flow.index, flowState(flow)])
          .sort()
      t.same(kinds(atTc), kinds(atXdp))
    })

    t.test(`${name}: the device's own sum of the packet stays right`, (t) => {
      atTc.forgetFlows()
      const summed = (bytes: Buffer) =>
        atTc.datapath.uplink.ingress.testRun({
          data: bytes,
          context: skb(),
          dataOutBytes: 4096,
          flags: F_TEST_SKB_CHECKSUM_COMPLETE,
        })
      try {
        summed(to(80).to(stranger).bytes())
      } catch (error) {
        // Before 6.16 a test run has no such sum.
        if (!/EINVAL/.test(String(error))) throw error
        t.plan(0, 'this kernel cannot tell')
        return
      }
      const [type, code] = family === 'ipv4' ? [3, 4] : [2, 0]
      const quoted = to(81).from(vip, 81).to(client, 40_000)
      const error = frame(ARRIVING)
        .from(stranger)
        .to(vip)
        .icmp(type ?? 0, code ?? 0, Buffer.concat([Buffer.alloc(4), quoted.packet().subarray(0, 80)]))
      const sent = { first: to(81), further: further(81), 'by the stack': to(82), 'an error': error }
      // The kernel compares, and fails the run.
      for (const [title, one] of Object.entries(sent)) t.doesNotThrow(() => summed(one.bytes()), title)
      t.end()
    })

    t.test(`${name}: masqueraded`, async (t) => {
      atTc.forgetFlows()
      const { FRONTEND_EXTERNAL, FRONTEND_ANY_ENDPOINT, FRONTEND_DSR } = abi.FrontendFlags
      atTc.changeFrontend(family, protocol, 80, { flags: FRONTEND_EXTERNAL | FRONTEND_ANY_ENDPOINT })
      const first = ingress(to(80))
      t.equal(first.returnValue, TC.REDIRECT)
      const port = readFrame(first.dataOut).sourcePort
      const out = (sent: Frame) => sent.from(node, port).to(remotePod, TARGET_PORT).ttl(63).link(UPLINK)
      t.equal(hex(first.dataOut), hex(out(to(80)).bytes()))
      t.equal(hex(ingress(further(80)).dataOut), hex(out(further(80)).bytes()))
      const blank = frame(ARRIVING).from(remotePod, TARGET_PORT).to(node, port).payload(41)
      const back = protocol === TCP ? blank.tcp('ack') : blank.udp()
      const turned = back.from(vip, 80).to(client, 40_000).ttl(63).link(UPLINK)
      t.equal(hex(ingress(back).dataOut), hex(turned.bytes()))
      atTc.changeFrontend(family, protocol, 80, {
        flags: FRONTEND_EXTERNAL | FRONTEND_ANY_ENDPOINT | FRONTEND_DSR,
      })
    })

    if (protocol === TCP)
      t.test(`${name}: what is merged is as big as its segments`, async (t) => {
        atTc.forgetFlows()
        const merged = further(81).payload(2800)
        const delivered = ingress(merged, skb(2, 1400))
        t.equal(delivered.returnValue, TC.REDIRECT)
        t.equal(hex(delivered.dataOut), hex(merged.to(pod, TARGET_PORT).ttl(63).link(TO_POD).bytes()))
        t.equal(delivered.contextOut.readUInt32LE(GSO_SIZE_AT), 1400)
        const refused = ingress(further(81).payload(3000), skb(2, 1500))
        t.equal(refused.returnValue, TC.REDIRECT)
        t.ok(refused.dataOut.length < 200, 'segments that do not fit are answered')
      })

    t.test(`${name}: answers of the host's stack`, async (t) => {
      atTc.forgetFlows()
      const egress = (sent: Frame, context = skb()) => {
        const run = { data: sent.bytes(), context, dataOutBytes: 70_000 }
        const { returnValue, dataOut } = atTc.datapath.uplink.egress.testRun(run)
        return { verdict: returnValue | 0, dataOut }
      }
      const blank = frame(UPLINK)
        .from(pod, TARGET_PORT + 1)
        .to(client, 40_000)
        .payload(99)
      const answer = (...flags: Parameters<Frame['tcp']>) =>
        protocol === TCP ? blank.tcp(...flags) : blank.udp()
      const untouched = (title: string, sent: Frame) => {
        const { verdict, dataOut } = egress(sent)
        t.equal(verdict, TC_UNSPEC, title)
        t.equal(hex(dataOut), hex(sent.bytes()), title)
      }
      untouched('no flow', answer('ack'))
      ingress(to(82))
      untouched('nobody’s address until the filter has it', answer('ack'))
      atTc.admit(pod)
      const { verdict, dataOut } = egress(answer('syn', 'ack'))
      t.equal(verdict, TC_UNSPEC, 'others see it too')
      t.equal(hex(dataOut), hex(answer('syn', 'ack').from(vip, 82).bytes()), 'the stack has routed it')
      egress(answer('ack'))
      t.ok(atTc.flows().every((flow) => flowState(flow) === abi.FlowState.FLOW_ESTABLISHED))
      untouched('another connection', answer('ack').to(stranger, 40_000))
      atTc.refuse(pod)
    })

    t.test(`SVC-019 ${name}: what this node sends to a port that a Service lacks`, async (t) => {
      const own = (port: number) => to(port).from(node, 40_000)
      const leave = (sent: Frame) => {
        const run = { data: sent.bytes(), context: skb(), dataOutBytes: 70_000 }
        const { returnValue, dataOut } = atTc.datapath.uplink.egress.testRun(run)
        return { verdict: returnValue | 0, dataOut }
      }
      atTc.admit(vip)
      t.equal(leave(own(81)).verdict, TC_UNSPEC, 'a port that it has')
      const { verdict, dataOut } = leave(own(7777))
      // A socket of TCP is refused by its connect().
      t.equal(verdict, protocol === UDP ? TC.REDIRECT : TC_UNSPEC)
      if (protocol === UDP)
        t.equal(hex(dataOut), hex(ingress(own(7777)).dataOut), 'the error that a client gets')
    })
  }
