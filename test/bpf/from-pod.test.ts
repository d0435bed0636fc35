// weir_pod_tc: what pods send to Services without having been translated at the socket, and how its answers come back.

import t from 'tap'
import * as abi from '../../src/datapath/abi.gen.ts'
import { addressToBytes, type Family } from '../../src/model/address.ts'
import { countedSince, countWhile, flowKinds, runUplink } from './check.ts'
import { type Frame, frame, SCTP, TCP, UDP } from './packet.ts'
import { readFrame } from './read-frame.ts'
import {
  ARRIVING,
  FROM_POD,
  SCTP_INIT,
  SERVICE,
  TARGET_PORT,
  TC,
  TO_LOCAL_CLIENT,
  TO_POD,
  UPLINK,
  World,
  XDP,
} from './world.ts'

const world = new World('from-pod', false, { perPacket: true })
const bySocket = new World('from-pod-socket')
t.teardown(() => {
  world.close()
  bySocket.close()
})

const SKB_BYTES = 192
const GSO_SEGMENTS_AT = 164
const GSO_SIZE_AT = 176
const CLIENT_PORT = 40000
const SCTP_DATA = 0
const NAMES: Readonly<Record<number, string>> = { [TCP]: 'TCP', [UDP]: 'UDP', [SCTP]: 'SCTP' }
const FROM_CLIENT = { destination: TO_LOCAL_CLIENT.source, source: TO_LOCAL_CLIENT.destination }
const R = abi.VerdictReason
const K = abi.FlowKind
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

function send(sent: Frame, { to = world, gsoSegments = 0, gsoSize = 0 } = {}) {
  const context = Buffer.alloc(SKB_BYTES)
  context.writeUInt32LE(gsoSegments, GSO_SEGMENTS_AT)
  context.writeUInt32LE(gsoSize, GSO_SIZE_AT)
  return to.datapath.podTc.testRun({ data: sent.bytes(), context, dataOutBytes: 70_000 })
}

const arrive = (sent: Frame) => runUplink(world, sent.bytes())
const count = (reason: number, act: () => void) => countWhile(world, reason, act)

for (const family of ['ipv4', 'ipv6'] as const)
  for (const protocol of [TCP, UDP, SCTP]) {
    const name = `${family} ${NAMES[protocol]}`
    const { localClient, pod, remotePod, vip, node } = world.cast(family)
    const spoken = (blank: Frame, ...flags: Parameters<Frame['tcp']>) =>
      protocol === TCP
        ? blank.tcp(...flags)
        : protocol === UDP
          ? blank.udp()
          : blank.sctp(flags.includes('syn') ? SCTP_INIT : SCTP_DATA)
    const request = (port: number, ...flags: Parameters<Frame['tcp']>) =>
      spoken(
        frame(FROM_CLIENT).from(localClient, CLIENT_PORT).to(vip, port).payload(23),
        ...(flags.length > 0 ? flags : (['syn'] as const)),
      )

    t.test(`${name}: to a pod of this node, and its answer`, async (t) => {
      world.forgetFlows()
      for (const flag of ['syn', 'ack'] as const) {
        const sent = request(81, flag)
        const before = world.metrics()
        const result = send(sent)
        t.same(countedSince(world, before), { [R.REASON_OF_POD]: 1 }, 'not as what is announced brings it')
        t.equal(result.returnValue, TC.REDIRECT)
        t.equal(hex(result.dataOut), hex(sent.to(pod, TARGET_PORT).ttl(63).link(TO_POD).bytes()))
      }
      t.same(flowKinds(world), [K.FLOW_TO_LOCAL, K.FLOW_REPLY])
      const answer = spoken(frame(FROM_POD).from(pod, TARGET_PORT).to(localClient, CLIENT_PORT), 'ack')
      const back = send(answer)
      t.equal(back.returnValue, TC.REDIRECT)
      t.equal(hex(back.dataOut), hex(answer.from(vip, 81).ttl(63).link(TO_LOCAL_CLIENT).bytes()))
    })

    t.test(`${name}: NAT-001 to another node with the pod’s own address, and its answer`, async (t) => {
      world.forgetFlows()
      for (const flag of ['syn', 'ack'] as const) {
        const sent = request(80, flag)
        const result = send(sent)
        t.equal(result.returnValue, TC.REDIRECT)
        t.equal(hex(result.dataOut), hex(sent.to(remotePod, TARGET_PORT).ttl(63).link(UPLINK).bytes()))
      }
      t.same(flowKinds(world), [K.FLOW_REPLY, K.FLOW_TO_REMOTE_PLAIN])
      const answer = spoken(frame(ARRIVING).from(remotePod, TARGET_PORT).to(localClient, CLIENT_PORT), 'ack')
      const back = arrive(answer)
      t.equal(back.returnValue, XDP.REDIRECT)
      t.equal(hex(back.dataOut), hex(answer.from(vip, 80).ttl(63).link(TO_LOCAL_CLIENT).bytes()))
      const other = answer.to(localClient, CLIENT_PORT + 1)
      t.equal(hex(arrive(other).dataOut), hex(other.bytes()), 'what the pod began itself is left alone')
    })

    t.test(`${name}: NAT-002, NAT-003 a pod that is its own backend`, async (t) => {
      world.forgetFlows()
      const sent = spoken(frame(FROM_POD).from(pod, CLIENT_PORT).to(vip, 81).payload(23), 'syn')
      const result = send(sent)
      t.equal(result.returnValue, TC.REDIRECT)
      const snatPort = readFrame(result.dataOut).sourcePort
      const turned = sent.from(node, snatPort).to(pod, TARGET_PORT).ttl(63).link(TO_POD)
      t.equal(hex(result.dataOut), hex(turned.bytes()), 'back into its device, from the node')
      const further = spoken(sent, 'ack')
      t.equal(readFrame(send(further).dataOut).sourcePort, snatPort, 'and so are its further packets')
      const answer = spoken(frame(FROM_POD).from(pod, TARGET_PORT).to(node, snatPort), 'syn', 'ack')
      const back = send(answer)
      t.equal(back.returnValue, TC.REDIRECT)
      t.equal(hex(back.dataOut), hex(answer.from(vip, 81).to(pod, CLIENT_PORT).ttl(63).link(TO_POD).bytes()))
    })

    t.test(`${name}: seen from inside`, async (t) => {
      const { FRONTEND_EXTERNAL, FRONTEND_EXTERNAL_LOCAL, FRONTEND_ANY_ENDPOINT } = abi.FrontendFlags
      world.forgetFlows()
      world.changeFrontend(family, protocol, 81, {
        flags: FRONTEND_EXTERNAL | FRONTEND_EXTERNAL_LOCAL | FRONTEND_ANY_ENDPOINT,
      })
      t.equal(send(request(81)).returnValue, TC.REDIRECT, 'SVC-017: a Local policy does not narrow')
      world.changeFrontend(family, protocol, 81, {
        flags: FRONTEND_EXTERNAL | FRONTEND_ANY_ENDPOINT | abi.FrontendFlags.FRONTEND_SOURCE_RANGES,
      })
      world.forgetFlows()
      const refused = count(R.REASON_SOURCE_RANGE, () => {
        t.equal(send(request(81)).returnValue, TC.DROP, 'EXT-008: source ranges are for pods too')
      })
      t.equal(refused, 1)
      admit(family, true)
      t.equal(send(request(81)).returnValue, TC.REDIRECT)
      admit(family, false)
      world.changeFrontend(family, protocol, 81, { flags: FRONTEND_EXTERNAL | FRONTEND_ANY_ENDPOINT })
    })

    t.test(`${name}: refusals go back into the pod’s device`, async (t) => {
      for (const [port, reason] of [
        [90, R.REASON_NO_ENDPOINT],
        [7777, R.REASON_NO_SUCH_PORT],
      ] as const) {
        const counted = count(reason, () => {
          const result = send(request(port))
          t.equal(result.returnValue, TC.REDIRECT)
          const { source, destination } = readFrame(result.dataOut)
          t.same([source, destination], [vip, localClient])
        })
        t.equal(counted, 1, `port ${port}`)
      }
      t.equal(send(request(91)).returnValue, TC.DROP, 'endpoints elsewhere, and none here')
    })

    t.test(`${name}: where sockets do it, packets to Services are left alone`, async (t) => {
      const sent = request(81)
      const result = send(sent, { to: bySocket })
      if (protocol === SCTP) {
        t.equal(result.returnValue, TC.REDIRECT, 'but SCTP has no hook at the socket')
        return
      }
      t.equal(result.returnValue, TC.OK)
      t.equal(hex(result.dataOut), hex(sent.bytes()))
      t.equal(
        send(request(7777), { to: bySocket }).returnValue,
        TC.REDIRECT,
        'but undefined ports are refused',
      )
    })

    if (protocol === TCP)
      t.test(`${name}: a segment that the device will cut keeps its size`, async (t) => {
        world.forgetFlows()
        for (const [port, to] of [
          [80, remotePod],
          [81, pod],
        ] as const) {
          const sent = request(port, 'ack').payload(2800)
          const result = send(sent, { gsoSegments: 2, gsoSize: 1400 })
          t.equal(result.returnValue, TC.REDIRECT)
          const link = to === pod ? TO_POD : UPLINK
          t.equal(hex(result.dataOut), hex(sent.to(to, TARGET_PORT).ttl(63).link(link).bytes()))
          t.equal(result.contextOut.readUInt32LE(GSO_SIZE_AT), 1400)
        }
      })
  }

for (const family of ['ipv4', 'ipv6'] as const) {
  const { localClient, vip, stranger } = world.cast(family)

  t.test(`${family}: affinity is the one that packets from outside and sockets have`, async (t) => {
    for (const protocol of [TCP, UDP]) {
      world.forgetFlows()
      const portId = 77
      world.changeFrontend(family, protocol, 80, { affinityTicks: 100, portId })
      const key = abi.encodeAffinityKey({ client: addressToBytes(localClient), portId })
      const sent = frame(FROM_CLIENT).from(localClient, CLIENT_PORT).to(vip, 80)
      send(protocol === TCP ? sent.tcp('syn') : sent.udp())
      const row = world.map('affinity').lookup(key)
      t.equal(row && abi.decodeAffinity(row).backendId, world.backendId(family, protocol, 1))
      world.map('affinity').delete(key)
      world.changeFrontend(family, protocol, 80, { affinityTicks: 0, portId: 0 })
    }
  })

  t.test(`${family}: a Service’s address answers a pod’s ping`, async (t) => {
    const [request, reply] = family === 'ipv4' ? [8, 0] : [128, 129]
    const ping = frame(FROM_CLIENT).from(localClient).to(vip).icmp(request, 0, Buffer.alloc(12, 7))
    const result = send(ping)
    t.equal(result.returnValue, TC.REDIRECT)
    const back = frame(TO_LOCAL_CLIENT).from(vip).to(localClient).icmp(reply, 0, Buffer.alloc(12, 7))
    t.equal(hex(result.dataOut), hex(back.bytes()))
  })

  t.test(`${family}: everything else is left alone`, async (t) => {
    for (const sent of [
      frame(FROM_CLIENT).from(localClient, CLIENT_PORT).to(stranger, 80).tcp('syn'),
      frame(FROM_CLIENT).from(localClient, CLIENT_PORT).to(stranger, 80).udp(),
    ]) {
      const result = send(sent)
      t.equal(result.returnValue, TC.OK)
      t.equal(hex(result.dataOut), hex(sent.bytes()))
    }
  })
}

function admit(family: Family, isAdmitted: boolean): void {
  const key = abi.encodeSourceRangeKey({
    prefixBits: 160,
    serviceId: SERVICE,
    source: addressToBytes(world.cast(family).localClient),
  })
  if (isAdmitted) world.map('source_ranges').update(key, Buffer.alloc(4, 1))
  else world.map('source_ranges').delete(key)
}
