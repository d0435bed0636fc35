// A process in the test's cgroup: does what it is told by messages and tells what a program sees of its sockets.

import { createSocket } from 'node:dgram'
import { connect } from 'node:net'

export interface SocketOrder {
  readonly kind: 'tcp' | 'udp' | 'udp-connected'
  readonly family: 4 | 6
  readonly host: string
  readonly port: number
  /** Datagrams sent one after another from one socket; 0: it only connects. */
  readonly count?: number
}

export interface SocketReport {
  readonly error?: string
  /** What getpeername() says after connect(). */
  readonly peer?: string
  /** Whom recvmsg() names as the sender, and what it sent. */
  readonly answers: readonly { readonly from: string; readonly text: string }[]
}

const DEADLINE_MS = 3000

function overTcp({ host, port, family }: SocketOrder): Promise<SocketReport> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, family })
    socket.setTimeout(DEADLINE_MS, () => socket.destroy(new Error('timeout')))
    socket.once('error', (error: NodeJS.ErrnoException) =>
      resolve({ error: error.code ?? error.message, answers: [] }),
    )
    socket.once('data', (data) => {
      const peer = `${socket.remoteAddress} ${socket.remotePort}`
      resolve({ peer, answers: [{ from: peer, text: data.toString() }] })
      socket.destroy()
    })
  })
}

function overUdp({ kind, host, port, family, count = 1 }: SocketOrder): Promise<SocketReport> {
  return new Promise((resolve) => {
    const socket = createSocket(family === 4 ? 'udp4' : 'udp6')
    const answers: { from: string; text: string }[] = []
    let peer: string | undefined
    const finish = (error?: string) => {
      clearTimeout(timer)
      socket.close()
      resolve({ answers, ...(peer && { peer }), ...(error && { error }) })
    }
    const timer = setTimeout(() => finish('timeout'), DEADLINE_MS)
    const onSent = (error: NodeJS.ErrnoException | null) => error && finish(error.code ?? error.message)
    const ask = () =>
      peer === undefined ? socket.send('ask', port, host, onSent) : socket.send('ask', onSent)
    socket.on('error', (error: NodeJS.ErrnoException) => finish(error.code ?? error.message))
    socket.on('message', (data, sender) => {
      answers.push({ from: `${sender.address} ${sender.port}`, text: data.toString() })
      if (answers.length === count) finish()
      else ask()
    })
    if (kind === 'udp') return ask()
    socket.connect(port, host, (error?: Error) => {
      if (error) return finish((error as NodeJS.ErrnoException).code ?? error.message)
      const remote = socket.remoteAddress()
      peer = `${remote.address} ${remote.port}`
      if (count === 0) finish()
      else ask()
    })
  })
}

process.on('message', async (order: SocketOrder) => {
  process.send?.(await (order.kind === 'tcp' ? overTcp(order) : overUdp(order)))
})
