// The largest segment that a SYN-ACK announces, lowered to what fits the tunnel.

import t from 'tap'
import { type Frame, frame, TCP, UDP } from './packet.ts'
import { FROM_POD, TARGET_PORT, TC, UPLINK, World } from './world.ts'

const LIMIT = { ipv4: 1360, ipv6: 1340 } as const
const clamping = new World('mss', false, { mss: LIMIT })
const off = new World('mss-off')
t.teardown(() => {
  clamping.close()
  off.close()
})
const SKB_BYTES = 192

const mss = (value: number) => Buffer.from([2, 4, value >> 8, value & 0xff])
const scale = Buffer.from([1, 3, 3, 7])
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

for (const family of ['ipv4', 'ipv6'] as const)
  t.test(`${family}: the MSS of a SYN-ACK to a Service's client`, async (t) => {
    const { client, vip, pod } = clamping.cast(family)
    const limit = LIMIT[family]
    const answer = frame(FROM_POD).from(pod, TARGET_PORT).to(client, 40_000).tcp('syn', 'ack')
    const out = (sent: Frame, world = clamping) => {
      world.datapath.uplink.xdp.testRun({ data: world.request(family, TCP, 81).bytes() })
      const context = Buffer.alloc(SKB_BYTES)
      const result = world.datapath.podTc.testRun({ data: sent.bytes(), context, dataOutBytes: 2000 })
      t.equal(result.returnValue, TC.REDIRECT)
      return hex(result.dataOut)
    }
    const shown = (sent: Frame) => hex(sent.from(vip, 81).ttl(63).link(UPLINK).bytes())
    const odd = (value: number) => Buffer.concat([Buffer.from([1]), mss(value), Buffer.from([1, 1, 1])])
    const behind = (value: number) => Buffer.concat([scale, Buffer.from([4, 2, 1, 1]), mss(value)])
    for (const [title, options] of Object.entries({
      first: mss,
      'with others': (value: number) => Buffer.concat([mss(value), scale]),
      'behind others': behind,
      'at an odd place': odd,
    })) {
      const sent = answer.tcpOptions(options(1460))
      t.equal(out(sent), shown(answer.tcpOptions(options(limit))), `${title}: lowered`)
      t.equal(out(sent, off), shown(sent), `${title}: left alone without a limit`)
    }
    for (const [title, sent] of Object.entries({
      'small enough': answer.tcpOptions(mss(1200)),
      'not more than it': answer.tcpOptions(mss(limit)),
      'no options': answer,
      'no MSS': answer.tcpOptions(scale),
      'after the end': answer.tcpOptions(Buffer.concat([Buffer.alloc(4), mss(1460)])),
      'a length of nothing': answer.tcpOptions(Buffer.concat([Buffer.from([3, 0, 0, 0]), mss(1460)])),
      'cut short': answer.tcpOptions(Buffer.from([1, 1, 1, 2])),
      'no SYN-ACK': answer.tcp('ack').tcpOptions(mss(1460)),
    }))
      t.equal(out(sent), shown(sent), title)
    clamping.datapath.uplink.xdp.testRun({ data: clamping.request(family, UDP, 81).bytes() })
  })
