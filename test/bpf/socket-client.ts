// A process in the test's cgroup: does what it is told by messages and tells what a program sees of its sockets.

import { createSocket } from 'node:dgram'
import type { EventEmitter } from 'node:events'
import { connect, Socket } from 'node:net'
import { openSocket, SOCK_STREAM } from '../../src/sys/libc/sockets.ts'

export interface SocketOrder {
  readonly kind: 'tcp' | 'mptcp' | 'udp' | 'udp-connected'
  readonly family: 4 | 6
  readonly host: string
  readonly port: number
  /** Datagrams sent one after another from one socket; 0: it only connects. */
  readonly count?: number
  /** Where every second datagram goes instead. */
  readonly otherPort?: number
  /** Between two datagrams it waits for "enough". */
  readonly pauses?: boolean
  /** After the answers the socket stays as it is, and the report comes when it breaks, or when told "enough". */
  readonly stays?: boolean
}

export interface SocketReport {
  readonly error?: string
  /** What broke a socket that stayed; absent when nothing did. */
  readonly broken?: string
  /** What getpeername() says after connect(). */
  readonly peer?: string
  /** Whom recvmsg() names as the sender, and what it sent. */
  readonly answers: readonly { readonly from: string; readonly text: string }[]
}

const DEADLINE_MS = 3000
const IPPROTO_MPTCP = 262
const ADDRESS_FAMILIES = { 4: 2, 6: 10 } as const
/** What the kernel said of a socket before the test says "enough" has arrived by then. */
const LINGER_MS = 50

/** Tells the test that the socket is connected, and waits for its end. */
function outlast(socket: EventEmitter): Promise<string | undefined> {
  process.send?.('connected')
  return new Promise((resolve) => {
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    process.once('message', () => setTimeout(() => resolve(undefined), LINGER_MS))
  })
}

function connectTcp({ kind, host, port, family }: SocketOrder): Socket {
  if (kind === 'tcp') return connect({ host, port, family })
  const fd = openSocket(ADDRESS_FAMILIES[family], SOCK_STREAM, IPPROTO_MPTCP)
  return new Socket({ fd }).connect({ host, port })
}

function overTcp(order: SocketOrder): Promise<SocketReport> {
  const { stays } = order
  return new Promise((resolve) => {
    const socket = connectTcp(order)
    socket.setTimeout(DEADLINE_MS, () => socket.destroy(new Error('timeout')))
    socket.once('error', (error: NodeJS.ErrnoException) =>
      resolve({ error: error.code ?? error.message, answers: [] }),
    )
    socket.once('data', async (data) => {
      const peer = `${socket.remoteAddress} ${socket.remotePort}`
      socket.removeAllListeners('error')
      const broken = stays ? await outlast(socket) : undefined
      resolve({ peer, answers: [{ from: peer, text: data.toString() }], ...(broken && { broken }) })
      socket.destroy()
    })
  })
}

function overUdp({
  kind,
  host,
  port,
  otherPort = port,
  pauses,
  family,
  stays,
  count = 1,
}: SocketOrder): Promise<SocketReport> {
  return new Promise((resolve) => {
    const socket = createSocket(family === 4 ? 'udp4' : 'udp6')
    const answers: { from: string; text: string }[] = []
    let peer: string | undefined
    const finish = async (error?: string) => {
      clearTimeout(timer)
      const broken = stays && !error ? await outlast(socket) : undefined
      socket.close()
      resolve({ answers, ...(peer && { peer }), ...(error && { error }), ...(broken && { broken }) })
    }
    const timer = setTimeout(() => finish('timeout'), DEADLINE_MS)
    const onSent = (error: NodeJS.ErrnoException | null) => error && finish(error.code ?? error.message)
    const ask = () => {
      const to = answers.length % 2 === 0 ? port : otherPort
      return peer === undefined ? socket.send('ask', to, host, onSent) : socket.send('ask', onSent)
    }
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (answers.length < count) finish(error.code ?? error.message)
    })
    socket.on('message', (data, sender) => {
      answers.push({ from: `${sender.address} ${sender.port}`, text: data.toString() })
      if (answers.length === count) finish()
      else if (pauses) {
        process.once('message', () => ask())
        process.send?.('answered')
      } else ask()
    })
    if (kind === 'udp') return ask()
    socket.connect(port, host, (error?: Error) => {
      if (error) {
        finish((error as NodeJS.ErrnoException).code ?? error.message)
        return
      }
      const remote = socket.remoteAddress()
      peer = `${remote.address} ${remote.port}`
      if (count === 0) finish()
      else ask()
    })
  })
}

process.on('message', async (order: SocketOrder | 'enough') => {
  if (order === 'enough') return
  process.send?.(await (order.kind.endsWith('tcp') ? overTcp(order) : overUdp(order)))
})
