// A BGP speaker that says whatever it is told to. It waits for the node's gobgpd, agrees to everything, keeps the session alive, and
// remembers how it ended.

import { createServer, type Server, type Socket } from 'node:net'
import { listenTcpIn } from '../../../src/sys/libc/sockets.ts'
import { HEADER_BYTES, KEEPALIVE, keepalive, NOTIFICATION, OPEN, open, UPDATE } from './messages.ts'

const PORT = 179
const HOLD_SECONDS = 9
const KEEPALIVE_MS = 2_000

export interface RawSpeakerOptions {
  readonly namespace: string
  readonly address: string
  readonly asn: number
}

export class RawSpeaker {
  readonly options: RawSpeakerOptions
  readonly #server: Server
  #socket: Socket | undefined
  #keepalives: NodeJS.Timeout | undefined
  #received: Buffer = Buffer.alloc(0)
  #isUp = false
  /** Sessions that came up. */
  sessions = 0
  /** Messages of routes that gobgpd sent. */
  updatesHeard = 0
  /** Code and subcode of each NOTIFICATION that was heard: '3/1'. */
  readonly notifications: string[] = []

  constructor(options: RawSpeakerOptions) {
    this.options = options
    this.#server = createServer((socket) => this.#accept(socket))
    this.#server.listen({ fd: listenTcpIn(`/run/netns/${options.namespace}`, options.address, PORT) })
  }

  get isUp(): boolean {
    return this.#isUp
  }

  send(bytes: Buffer): void {
    this.#socket?.write(bytes)
  }

  /** Ends the connection after what was sent, without a word. */
  hangUp(): void {
    this.#socket?.end()
  }

  close(): void {
    this.#forget()
    this.#server.close()
  }

  #accept(socket: Socket): void {
    this.#forget()
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('data', (bytes) => {
      this.#received = Buffer.concat([this.#received, bytes])
      this.#read()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      if (this.#socket === socket) this.#forget()
    })
  }

  #forget(): void {
    clearInterval(this.#keepalives)
    this.#socket?.destroy()
    this.#socket = undefined
    this.#received = Buffer.alloc(0)
    this.#isUp = false
  }

  #read(): void {
    while (this.#received.length >= HEADER_BYTES) {
      const length = this.#received.readUInt16BE(16)
      if (this.#received.length < length) return
      const message = this.#received.subarray(0, length)
      this.#received = this.#received.subarray(length)
      this.#hear(message[18] ?? 0, message.subarray(HEADER_BYTES))
    }
  }

  #hear(type: number, body: Buffer): void {
    const { asn, address } = this.options
    if (type === OPEN) this.send(Buffer.concat([open(asn, address, HOLD_SECONDS), keepalive()]))
    if (type === UPDATE) this.updatesHeard += 1
    if (type === NOTIFICATION) this.notifications.push(`${body[0]}/${body[1]}`)
    if (type !== KEEPALIVE || this.#isUp) return
    this.#isUp = true
    this.sessions += 1
    this.#keepalives = setInterval(() => this.send(keepalive()), KEEPALIVE_MS)
  }
}
