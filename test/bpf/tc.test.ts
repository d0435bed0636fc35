// weir_pod_tc: answers of pods, and the states that they bring to the flow table.

import t from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import { type Frame, frame, TCP, UDP } from './packet.ts'
import { BACKEND, FROM_POD, TARGET_PORT, TC, TO_LOCAL_CLIENT, UPLINK, World } from './world.ts'

const world = new World('tc')
t.teardown(() => world.close())
const { FLOW_HALF_OPEN, FLOW_ESTABLISHED, FLOW_BACKEND_CLOSED } = abi.FlowState
const R = abi.VerdictReason

/** struct __sk_buff as far as a test run reads it. */
const SKB_BYTES = 192
const GSO_SEGMENTS_AT = 164
const GSO_SIZE_AT = 176

function skb(gsoSegments = 0, gsoSize = 0): Buffer {
  const context = Buffer.alloc(SKB_BYTES)
  context.writeUInt32LE(gsoSegments, GSO_SEGMENTS_AT)
  context.writeUInt32LE(gsoSize, GSO_SIZE_AT)
  return context
}

function send(bytes: Uint8Array, context = skb()) {
  return world.datapath.podTc.testRun({ data: bytes, context, dataOutBytes: 70_000 })
}

function receive(sent: Frame): void {
  world.datapath.uplink.xdp.testRun({ data: sent.bytes() })
}

function states(): number[] {
  const state = (word: bigint) => Number(word >> BigInt(abi.AbiConstant.FLOW_STATE_SHIFT)) & 15
  return world.flows().map((flow) => state(flow.word))
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

for (const family of ['ipv4', 'ipv6'] as const)
  for (const protocol of [TCP, UDP]) {
    const name = `${family} ${protocol === TCP ? 'TCP' : 'UDP'}`
    const { client, localClient, pod, vip, stranger } = world.cast(family)
    const request = () => world.request(family, protocol, 81)
    const answer = (...flags: Parameters<Frame['tcp']>) => {
      const blank = frame(FROM_POD).from(pod, TARGET_PORT).to(client, 40000).payload(77)
      return protocol === TCP ? blank.tcp(...flags) : blank.udp()
    }
    const translated = (sent: Frame) => sent.from(vip, 81).ttl(63).link(UPLINK)

    t.test(`${name}: the answer has the frontend's address and leaves by an uplink`, async (t) => {
      world.forgetFlows()
      t.equal(send(answer('ack').bytes()).returnValue, TC.OK, 'no flow, no translation')
      receive(request())
      const sent = answer('syn', 'ack')
      const before = world.metrics().get(R.REASON_REPLY) ?? 0
      const result = send(sent.bytes())
      t.equal(result.returnValue, TC.REDIRECT)
      t.equal(hex(result.dataOut), hex(translated(sent).bytes()))
      t.equal(world.metrics().get(R.REASON_REPLY), before + 1)
      const other = answer('ack').to(stranger, 40000)
      t.equal(
        hex(send(other.bytes()).dataOut),
        hex(other.bytes()),
        'another connection of the pod is left alone',
      )
    })

    t.test(`${name}: a client that is a pod of this node`, async (t) => {
      world.forgetFlows()
      receive(request().from(localClient, 40000))
      const sent = answer('ack').to(localClient, 40000)
      const result = send(sent.bytes())
      t.equal(result.returnValue, TC.REDIRECT)
      t.equal(hex(result.dataOut), hex(translated(sent).link(TO_LOCAL_CLIENT).bytes()))
    })

    t.test(`${name}: what the stack must route`, async (t) => {
      world.forgetFlows()
      receive(request())
      const byStack = (title: string, sent: Frame) => {
        const result = send(sent.bytes())
        t.equal(result.returnValue, TC.OK, title)
        t.equal(hex(result.dataOut), hex(sent.from(vip, 81).bytes()), `${title}: bytes`)
      }
      byStack('the last hop', answer('ack').ttl(1))
      world.setUplinkMembers(0)
      byStack('no uplink', answer('ack'))
      world.setUplinkMembers(1)
    })

    t.test(`${name}: from half open to established to closing`, async (t) => {
      world.forgetFlows()
      receive(request())
      t.same(states(), [FLOW_HALF_OPEN, FLOW_HALF_OPEN])
      if (protocol === TCP) {
        send(answer('syn', 'ack').bytes())
        t.same(states(), [FLOW_HALF_OPEN, FLOW_HALF_OPEN], 'a forged SYN gets a SYN-ACK too')
      }
      send(answer('ack').bytes())
      t.same(states(), [FLOW_ESTABLISHED, FLOW_ESTABLISHED])
      if (protocol === UDP) return
      send(answer('fin', 'ack').bytes())
      t.same(states(), [FLOW_BACKEND_CLOSED, FLOW_BACKEND_CLOSED])
    })

    t.test(`${name}: a lost entry comes back with the client's next packet`, async (t) => {
      world.forgetFlows()
      receive(request())
      send(answer('ack').bytes())
      forget(abi.FlowKind.FLOW_REPLY)
      t.equal(send(answer('ack').bytes()).returnValue, TC.OK)
      age()
      receive(protocol === TCP ? request().tcp('ack') : request())
      t.equal(send(answer('ack').bytes()).returnValue, TC.REDIRECT)
      t.same(states(), [FLOW_ESTABLISHED, FLOW_ESTABLISHED])
    })

    t.test(`${name}: another frontend of the backend, named by the same client port`, async (t) => {
      world.forgetFlows()
      world.pointPort(family, protocol, 80, BACKEND.local)
      receive(request())
      send(answer('ack').bytes())
      receive(world.request(family, protocol, 80))
      const sent = answer('ack')
      t.equal(hex(send(sent.bytes()).dataOut), hex(translated(sent).from(vip, 80).bytes()), 'the newer')
      age()
      receive(protocol === TCP ? request().tcp('ack') : request())
      t.equal(hex(send(sent.bytes()).dataOut), hex(translated(sent).bytes()), 'the one that goes on')
      world.pointPort(family, protocol, 80, BACKEND.remote)
    })

    if (protocol === TCP)
      t.test(`${name}: the client's port used again for the pod's own address`, async (t) => {
        const finish = () => {
          world.forgetFlows()
          receive(request())
          send(answer('syn', 'ack').bytes())
          receive(request().tcp('ack'))
          send(answer('ack').bytes())
        }
        const past = (title: string) => {
          for (const sent of [answer('syn', 'ack'), answer('ack')])
            t.equal(hex(send(sent.bytes()).dataOut), hex(sent.bytes()), title)
        }
        const through = (title: string) => {
          const sent = answer('syn', 'ack')
          t.equal(hex(send(sent.bytes()).dataOut), hex(translated(sent).bytes()), title)
        }
        finish()
        through('a SYN-ACK sent twice')
        receive(request().tcp('fin', 'ack'))
        send(answer('fin', 'ack').bytes())
        past('closed')
        receive(request())
        through('through the Service again')
        finish()
        world.age(abi.AbiConstant.FLOW_IDLE_HALF_OPEN + 1)
        past('long silent')
      })

    if (protocol === TCP)
      t.test(`${name}: a segment that the device will cut keeps its size`, async (t) => {
        world.forgetFlows()
        receive(request())
        const sent = answer('ack').payload(2896)
        const result = send(sent.bytes(), skb(2, 1448))
        t.equal(result.returnValue, TC.REDIRECT)
        t.equal(hex(result.dataOut), hex(translated(sent).bytes()))
        t.equal(result.contextOut.readUInt32LE(GSO_SIZE_AT), 1448)
      })
  }

/** Frees the entries of a kind, as the sweeper does. */
function forget(kind: number): void {
  eachFlow((bytes, at, flow) => {
    if (flow.kind === kind) bytes.fill(0, at, at + abi.FLOW_BYTES)
  })
}

/** Puts every entry one tick back. */
function age(): void {
  eachFlow((bytes, at, flow) => {
    bytes.writeBigUInt64LE(flow.word - 1n, at)
  })
}

function eachFlow(visit: (bytes: Buffer, at: number, flow: abi.Flow) => void): void {
  const bytes = Buffer.from(world.flowBytes.buffer)
  for (let at = 0; at < bytes.length; at += abi.FLOW_BYTES)
    if (bytes.readBigUInt64LE(at) !== 0n) visit(bytes, at, abi.decodeFlow(bytes, at))
}
