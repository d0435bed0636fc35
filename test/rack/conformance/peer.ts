// A process in a pod of the policy tests: serves ports by TCP, UDP and SCTP, telling its name, and asks many others at once, as it is told
// by a line of JSON per order. Whose other half is pairs.ts. Every round asks from sockets of its own, so that nothing is let through
// because an earlier connection was.
//
// SCTP goes by packets made by hand, for kernels without such sockets: an INIT, and whoever gets one answers INIT ACK.

import { createSocket, type Socket as DatagramSocket } from 'node:dgram'
import { connect, createServer, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { encodeSocketAddress, familyOf } from '../../../src/sys/libc/addresses.ts'
import { DatagramReceiver, openSocket, SOCK_RAW, sendDatagram } from '../../../src/sys/libc/sockets.ts'
import { INIT_ACK, readSctp, SCTP, sctpPacket } from './sctp.ts'

export interface PeerTarget {
  readonly address: string
  readonly port: number
  readonly protocol: 'tcp' | 'udp' | 'sctp'
  /** Who should answer. */
  readonly name: string
  readonly isWanted: boolean
}

/** Ends when all that are wanted have answered, and a while later, in which the others may; at once when one of those does. */
export interface PeerOrder {
  readonly targets: readonly PeerTarget[]
  /** How long after the last answer a silence is believed: of those that are wanted, and of the others. */
  readonly patienceMs: number
  readonly silenceMs: number
}

/** Indexes of targets that were answered by whom they should be. */
export interface PeerAnswer {
  readonly answered: readonly number[]
}

const [ownName = '', ...ports] = process.argv.slice(2)
const servedPorts = ports.map(Number)
const SCTP_POLL_MS = 4
const SCTP_BYTES = 2048
const FIRST_SOURCE_PORT = 20_000
const LAST_SOURCE_PORT = 60_000

type Answered = (index: number, name?: string) => void

let lastSourcePort = FIRST_SOURCE_PORT
const sctpWaiting = new Map<number, () => void>()
const sctpSockets = [4, 6].map((family) => {
  const fd = openSocket(familyOf(family === 4 ? '0.0.0.0' : '::'), SOCK_RAW, SCTP)
  return { family, fd, receiver: new DatagramReceiver(fd, SCTP_BYTES) }
})

function serve(port: number): void {
  createServer((socket) => socket.on('error', () => {}).end(ownName)).listen(port, '::')
  for (const type of ['udp4', 'udp6'] as const) {
    const socket = createSocket({ type, ipv6Only: type === 'udp6' })
    socket.on('message', (data, { address, port }) => socket.send(`${data} ${ownName}`, port, address))
    // What cannot be sent is not answered.
    socket.on('error', () => {})
    socket.bind(port)
  }
}

function takeSctp({ family, fd, receiver }: (typeof sctpSockets)[number]): void {
  for (let one = receiver.receive(); one; one = receiver.receive()) {
    const packet = readSctp(receiver.buffer.subarray(0, one.length).toString('hex'), family === 4)
    if (packet.chunkType === INIT_ACK) sctpWaiting.get(packet.destinationPort)?.()
    else if (servedPorts.includes(packet.destinationPort)) {
      const answer = sctpPacket(packet.destinationPort, packet.sourcePort, INIT_ACK)
      const to = Buffer.from(one.sender)
      // Where IPv6 has the port, raw sockets have the protocol or nothing.
      to.writeUInt16BE(0, 2)
      send(fd, answer, to)
    }
  }
}

/** Policy may refuse it here already; then it is silence. */
function send(fd: number, hex: string, to: Buffer): void {
  try {
    sendDatagram(fd, Buffer.from(hex, 'hex'), to)
  } catch {}
}

function askSctp(address: string, port: number, onAnswer: () => void): () => void {
  lastSourcePort = lastSourcePort < LAST_SOURCE_PORT ? lastSourcePort + 1 : FIRST_SOURCE_PORT
  const sourcePort = lastSourcePort
  sctpWaiting.set(sourcePort, onAnswer)
  const socket = sctpSockets[address.includes(':') ? 1 : 0]
  if (socket) send(socket.fd, sctpPacket(sourcePort, port), encodeSocketAddress(address, 0))
  return () => sctpWaiting.delete(sourcePort)
}

function askTcp(address: string, port: number, onAnswer: (name: string) => void): Socket {
  const socket = connect({ host: address, port })
  let received = ''
  socket.setEncoding('latin1').on('data', (text: string) => {
    received += text
  })
  socket.on('error', () => {}).on('end', () => onAnswer(received))
  return socket
}

/** One socket a family for all, which knows answers by the number that they bring back. */
function udpAsker(onAnswer: Answered): { ask(index: number, target: PeerTarget): void; close(): void } {
  const sockets = (['udp4', 'udp6'] as const).map((type): DatagramSocket => {
    const socket = createSocket(type)
    socket.on('message', (data) => {
      const [index, name] = data.toString('latin1').split(' ')
      onAnswer(Number(index), name)
    })
    socket.on('error', () => {})
    return socket
  })
  return {
    ask: (index, { address, port }) =>
      sockets[address.includes(':') ? 1 : 0]?.send(String(index), port, address, () => {}),
    close: () => {
      for (const socket of sockets) socket.close()
    },
  }
}

function round({ targets, patienceMs, silenceMs }: PeerOrder): Promise<PeerAnswer> {
  const { promise, resolve } = Promise.withResolvers<PeerAnswer>()
  const answered = new Set<number>()
  let missing = targets.filter(({ isWanted }) => isWanted).length
  const closers: (() => void)[] = []
  const end = () => {
    clearTimeout(timer)
    for (const close of closers) close()
    resolve({ answered: [...answered] })
  }
  let timer = setTimeout(end, patienceMs)
  const onAnswer: Answered = (index, name) => {
    const target = targets[index]
    if (target === undefined || answered.has(index)) return
    if (name !== undefined && name !== target.name) return
    answered.add(index)
    if (!target.isWanted) return end()
    missing -= 1
    clearTimeout(timer)
    timer = setTimeout(end, missing > 0 ? patienceMs : answered.size < targets.length ? silenceMs : 0)
  }
  const udp = udpAsker(onAnswer)
  closers.push(() => udp.close())
  for (const [index, target] of targets.entries()) {
    const { address, port, protocol } = target
    if (protocol === 'udp') udp.ask(index, target)
    else if (protocol === 'sctp') closers.push(askSctp(address, port, () => onAnswer(index)))
    else {
      const socket = askTcp(address, port, (name) => onAnswer(index, name))
      closers.push(() => socket.destroy())
    }
  }
  return promise
}

for (const port of servedPorts) serve(port)
setInterval(() => {
  for (const socket of sctpSockets) takeSctp(socket)
}, SCTP_POLL_MS)

createInterface({ input: process.stdin }).on('line', async (line) => {
  const { id, order } = JSON.parse(line) as { id: number; order: PeerOrder }
  process.stdout.write(`${JSON.stringify({ id, answer: await round(order) })}\n`)
})
// Its owner's end is its end.
process.stdin.on('end', () => process.exit())
