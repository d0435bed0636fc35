// A process on a host of the rack (client, node, or in a pod and its cgroup) that opens sockets as it is told, a line of JSON
// per order, and tells what a program sees of them. One lives per host as long as its rack: starting a process per connection
// would cost more time than all that is asked here. Whose other half is probes.ts.

import { createSocket, type Socket as DatagramSocket } from 'node:dgram'
import { createServer } from 'node:http'
import { connect, isIPv6, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { decodeAddress, encodeSocketAddress, familyOf } from '../../../src/sys/libc/addresses.ts'
import { DatagramReceiver, openSocket, SOCK_RAW, sendDatagram } from '../../../src/sys/libc/sockets.ts'

export interface Target {
  readonly address: string
  readonly port: number
  readonly sourcePort?: number
  readonly timeoutMs: number
}

export type Order =
  /** One connection: opened, asked for `path` unless there is none, closed. */
  | ({ readonly kind: 'tcp'; readonly path?: string } & Target)
  /** One datagram and its answer. `connected`: by connect(), which hears of refusals. */
  | ({ readonly kind: 'udp'; readonly message: string; readonly connected: boolean } & Target)
  /** A connection or socket that stays, under a name. */
  | ({ readonly kind: 'open'; readonly key: string; readonly protocol: 'tcp' | 'udp' } & Target)
  | { readonly kind: 'ask'; readonly key: string; readonly text: string; readonly timeoutMs: number }
  | { readonly kind: 'half-close' | 'close'; readonly key: string }
  /** Answers HTTP from now on, on every address that is local here, by the address that was asked. */
  | { readonly kind: 'listen'; readonly port: number }
  /** Sends a packet of a protocol from here; then or alone, takes what of that protocol has come since the socket was opened. */
  | {
      readonly kind: 'raw'
      readonly protocol: number
      readonly family: 4 | 6
      readonly to?: string
      readonly hex?: string
    }

/** How a connection or datagram ended. */
export type Outcome = 'open' | 'answered' | 'refused' | 'silent' | 'unreachable' | 'reset'

export interface Probe {
  readonly outcome: Outcome
  /** What came: the body of an HTTP answer, a datagram. Empty when nothing did. */
  readonly text: string
  /** Whom the program saw as its peer: getpeername() for TCP, recvmsg() for UDP. */
  readonly from: string
  readonly code?: string
}

export interface RawPacket {
  readonly from: string
  /** With the IP header where the kernel gives it: IPv4. */
  readonly hex: string
}

const kept = new Map<string, Conversation>()
const rawSockets = new Map<string, { fd: number; receiver: DatagramReceiver }>()

interface Conversation {
  ask(text: string, timeoutMs: number): Promise<Probe>
  halfClose(): void
  close(): void
}

function outcomeOf(error: NodeJS.ErrnoException, wasOpen: boolean): Outcome {
  if (error.code === 'ECONNREFUSED') return 'refused'
  if (error.code === 'ECONNRESET' || error.code === 'EPIPE') return wasOpen ? 'reset' : 'refused'
  return error.code === 'ETIMEDOUT' ? 'silent' : 'unreachable'
}

/** The body once it is whole by its Content-Length, as netexec always sends one. */
function bodyOf(received: string): string | undefined {
  const head = received.indexOf('\r\n\r\n')
  if (head < 0) return undefined
  const length = Number(/^content-length: *(\d+)/im.exec(received.slice(0, head))?.[1] ?? 0)
  const rest = received.slice(head + 4)
  return rest.length >= length ? rest.slice(0, length) : undefined
}

function openTcp(target: Target): Promise<{ opened: Probe; conversation?: Conversation }> {
  return new Promise((resolve) => {
    const { address, port, sourcePort, timeoutMs } = target
    const socket = connect({
      host: address,
      port,
      noDelay: true,
      allowHalfOpen: true,
      ...(sourcePort === undefined ? {} : { localPort: sourcePort }),
    })
    const timer = setTimeout(() => fail('silent'), timeoutMs)
    const fail = (outcome: Outcome, code?: string) => {
      clearTimeout(timer)
      socket.destroy()
      resolve({ opened: { outcome, text: '', from: '', ...(code === undefined ? {} : { code }) } })
    }
    socket.once('error', (error: NodeJS.ErrnoException) => fail(outcomeOf(error, false), error.code))
    socket.once('connect', () => {
      clearTimeout(timer)
      const opened: Probe = { outcome: 'open', text: '', from: socket.remoteAddress ?? '' }
      resolve({ opened, conversation: overTcp(socket) })
    })
  })
}

function overTcp(socket: Socket): Conversation {
  const from = socket.remoteAddress ?? ''
  let received = ''
  let broken: Probe | undefined
  let onChange = () => {}
  socket.removeAllListeners('error')
  socket.on('error', (error: NodeJS.ErrnoException) => {
    broken = { outcome: outcomeOf(error, true), text: '', from, ...(error.code ? { code: error.code } : {}) }
    onChange()
  })
  socket.setEncoding('latin1').on('data', (text: string) => {
    received += text
    onChange()
  })
  socket.on('end', () => {
    broken ??= { outcome: 'reset', text: '', from, code: 'FIN' }
    onChange()
  })
  return {
    ask: (path, timeoutMs) =>
      new Promise((resolve) => {
        received = ''
        const finish = (probe: Probe) => {
          clearTimeout(timer)
          onChange = () => {}
          resolve(probe)
        }
        const timer = setTimeout(() => finish({ outcome: 'silent', text: '', from }), timeoutMs)
        onChange = () => {
          const text = bodyOf(received)
          if (text !== undefined) finish({ outcome: 'answered', text, from })
          else if (broken) finish(broken)
        }
        onChange()
        if (!broken) socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n`)
      }),
    halfClose: () => socket.end(),
    close: () => socket.destroy(),
  }
}

function openUdp(target: Target, connected: boolean): Promise<Conversation> {
  const { address, port, sourcePort } = target
  const socket = createSocket({ type: isIPv6(address) ? 'udp6' : 'udp4', reuseAddr: true })
  return new Promise((resolve) => {
    const conversation = overUdp(socket, { address, port, connected })
    const begin = () => {
      if (!connected) return resolve(conversation)
      // The error of a failed connect() stays with the conversation, as that of a later datagram does.
      const onConnect = (error?: Error) => {
        if (error) socket.emit('error', error)
        resolve(conversation)
      }
      socket.connect(port, address, onConnect as () => void)
    }
    socket.once('error', () => resolve(conversation))
    if (sourcePort === undefined) begin()
    else socket.bind(sourcePort, begin)
  })
}

function overUdp(
  socket: DatagramSocket,
  { address, port, connected }: { address: string; port: number; connected: boolean },
): Conversation {
  let failed: NodeJS.ErrnoException | undefined
  let onError = (_error: NodeJS.ErrnoException) => {}
  let onMessage = (_text: string, _from: string) => {}
  socket.on('error', (error: NodeJS.ErrnoException) => {
    failed = error
    onError(error)
  })
  socket.on('message', (data, sender) => onMessage(data.toString('latin1'), sender.address))
  return {
    ask: (message, timeoutMs) =>
      new Promise((resolve) => {
        const finish = (outcome: Outcome, text = '', from = '', code?: string) => {
          clearTimeout(timer)
          onError = () => {}
          onMessage = () => {}
          failed = undefined
          resolve({ outcome, text, from, ...(code === undefined ? {} : { code }) })
        }
        const timer = setTimeout(() => finish('silent'), timeoutMs)
        onMessage = (text, from) => finish('answered', text, from)
        onError = (error) => finish(outcomeOf(error, false), '', '', error.code)
        if (failed) return onError(failed)
        const sent = (error: Error | null) => error && onError(error as NodeJS.ErrnoException)
        if (connected) socket.send(message, sent)
        else socket.send(message, port, address, sent)
      }),
    halfClose: () => {},
    close: () => socket.close(),
  }
}

async function once(order: Extract<Order, { kind: 'tcp' | 'udp' }>): Promise<Probe> {
  if (order.kind === 'udp') {
    const conversation = await openUdp(order, order.connected)
    const probe = await conversation.ask(order.message, order.timeoutMs)
    conversation.close()
    return probe
  }
  const { opened, conversation } = await openTcp(order)
  if (!conversation) return opened
  const probe = order.path === undefined ? opened : await conversation.ask(order.path, order.timeoutMs)
  conversation.close()
  return probe
}

async function open(order: Extract<Order, { kind: 'open' }>): Promise<Probe> {
  kept.get(order.key)?.close()
  if (order.protocol === 'udp') {
    kept.set(order.key, await openUdp(order, true))
    return { outcome: 'open', text: '', from: '' }
  }
  const { opened, conversation } = await openTcp(order)
  if (conversation) kept.set(order.key, conversation)
  return opened
}

function conversationOf(key: string): Conversation {
  const conversation = kept.get(key)
  if (!conversation) throw new Error(`no conversation '${key}' is open`)
  return conversation
}

function raw({ protocol, family, to, hex }: Extract<Order, { kind: 'raw' }>): readonly RawPacket[] {
  const name = `${family}/${protocol}`
  let socket = rawSockets.get(name)
  if (!socket) {
    const fd = openSocket(familyOf(family === 4 ? '0.0.0.0' : '::'), SOCK_RAW, protocol)
    socket = { fd, receiver: new DatagramReceiver(fd, 65_536) }
    rawSockets.set(name, socket)
  }
  const packets: RawPacket[] = []
  for (let one = socket.receiver.receive(); one; one = socket.receiver.receive()) {
    const from = decodeAddress(family === 4 ? one.sender.subarray(4, 8) : one.sender.subarray(8, 24))
    packets.push({ from, hex: socket.receiver.buffer.subarray(0, one.length).toString('hex') })
  }
  if (to !== undefined && hex !== undefined)
    sendDatagram(socket.fd, Buffer.from(hex, 'hex'), encodeSocketAddress(to, 0))
  return packets
}

function listen(port: number): Promise<unknown> {
  const server = createServer((request, response) => response.end(request.socket.localAddress ?? ''))
  return new Promise((resolve) => server.listen(port, '::', () => resolve({})))
}

async function obey(order: Order): Promise<unknown> {
  switch (order.kind) {
    case 'tcp':
    case 'udp':
      return await once(order)
    case 'open':
      return await open(order)
    case 'ask':
      return await conversationOf(order.key).ask(order.text, order.timeoutMs)
    case 'half-close':
      conversationOf(order.key).halfClose()
      return {}
    case 'close':
      conversationOf(order.key).close()
      kept.delete(order.key)
      return {}
    case 'listen':
      return await listen(order.port)
    case 'raw':
      return raw(order)
  }
}

createInterface({ input: process.stdin }).on('line', async (line) => {
  const { id, order } = JSON.parse(line) as { id: number; order: Order }
  const answer = await obey(order).catch((error: Error) => ({ error: error.message }))
  process.stdout.write(`${JSON.stringify({ id, answer })}\n`)
})
// Its owner's end is its end.
process.stdin.on('end', () => process.exit())
