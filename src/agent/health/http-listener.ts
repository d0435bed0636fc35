// A small HTTP server on one address that keeps trying to bind: for ports that are others' to take, and whose absence must not
// stop the agent. Answers are short, so connections are few and short-lived; close() ends them too, for a health checker that
// holds one open has to learn that the port is gone.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'

export interface ListenerOptions {
  /** undefined: every address of both families. */
  readonly host: string | undefined
  readonly port: number
  readonly onRequest: (request: IncomingMessage, response: ServerResponse) => void
  /** Called at each failure to bind that differs from the one before. */
  readonly onFailure: (error: Error) => void
  readonly retryMs?: number
}

const RETRY_MS = 5000
const CONNECTIONS_MAX = 256
const REQUEST_MS = 10_000
const IDLE_MS = 60_000

export class HttpListener {
  readonly #options: ListenerOptions
  #server: Server | undefined
  #retry: NodeJS.Timeout | undefined
  #failure: string | undefined
  #isClosed = false

  /** Binds at once. */
  constructor(options: ListenerOptions) {
    this.#options = options
    this.#open()
  }

  /** Why it does not listen; undefined when it does, or is about to. */
  get failure(): string | undefined {
    return this.#failure
  }

  /** The port it got, for one that asked for 0. */
  get port(): number {
    const bound = this.#server?.address()
    return typeof bound === 'object' && bound !== null ? bound.port : this.#options.port
  }

  /** To be called when the port may have become free. */
  retryNow(): void {
    if (this.#retry !== undefined) this.#open()
  }

  /** The port is free, and its connections are gone, when it returns. */
  close(): void {
    this.#isClosed = true
    clearTimeout(this.#retry)
    this.#retry = undefined
    this.#server?.close()
    this.#server?.closeAllConnections()
  }

  #open(): void {
    clearTimeout(this.#retry)
    this.#retry = undefined
    const { host, port, onRequest } = this.#options
    const server = createServer({ requestTimeout: REQUEST_MS, keepAliveTimeout: IDLE_MS }, onRequest)
    server.maxConnections = CONNECTIONS_MAX
    server.on('error', (error) => {
      // Also told of connections that could not be accepted, for want of descriptors: then it still listens.
      if (!server.listening) this.#noteFailure(error)
    })
    server.on('listening', () => {
      this.#failure = undefined
      // Closed before it was bound: then close() found nothing to close.
      if (this.#isClosed) server.close()
    })
    this.#server = server
    server.listen({ port, ...(host === undefined ? {} : { host, ipv6Only: host.includes(':') }) })
  }

  #noteFailure(error: Error): void {
    if (this.#isClosed) return
    const isNews = this.#failure !== error.message
    this.#failure = error.message
    this.#retry = setTimeout(() => this.#open(), this.#options.retryMs ?? RETRY_MS)
    if (isNews) this.#options.onFailure(error)
  }
}
