// The API for controllers that live in the server's process: the same requests through the same handler, without TLS and sockets.

import { StatusError } from './errors.ts'
import { errorResponse, type Handler } from './http-server.ts'
import type { KubeObject } from './kind.ts'
import type { ApiRequest, User } from './request.ts'

export interface InProcessReply<T> {
  readonly status: number
  readonly body: T
  readonly warnings: readonly string[]
}

export interface InProcessWatchEvent {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR'
  object: KubeObject
}

const controllerUser: User = {
  name: 'system:weir-sandbox-controller',
  uid: 'controller',
  groups: ['system:masters'],
}

export interface InProcessRequestOptions {
  readonly contentType?: string
  readonly headers?: Readonly<Record<string, string>>
}

export class InProcessClient {
  readonly #handler: Handler
  readonly #userAgent: string

  constructor(handler: Handler, userAgent = 'weir-sandbox-controller') {
    this.#handler = handler
    this.#userAgent = userAgent
  }

  /** The same client under another name: its field manager by default. */
  as(userAgent: string): InProcessClient {
    return new InProcessClient(this.#handler, userAgent)
  }

  /** Answers with whatever status the server gives; a refusal is a reply with a Status body, not an exception. */
  async request<T = unknown>(
    method: string,
    path: string,
    body?: unknown,
    options: InProcessRequestOptions = {},
  ): Promise<InProcessReply<T>> {
    const { status, body: text, warnings } = await this.#answer(this.#make(method, path, body, options))
    return { status, body: parseBody(text.toString()) as T, warnings }
  }

  /** Calls back on every event until the signal aborts or the server ends the watch; rejects with the Status on refusal (410). */
  async watch(
    path: string,
    onEvent: (event: InProcessWatchEvent) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const answer = await this.#handler(this.#make('GET', path, undefined, {}))
    const { stream } = answer
    if (!stream)
      throw new StatusError(400, 'BadRequest', `${path} is not a watch; add watch=true to the query`)
    await new Promise<void>((resolve) => {
      const stop = stream({
        write: (lines) => {
          for (const line of lines.trimEnd().split('\n')) onEvent(JSON.parse(line) as InProcessWatchEvent)
          return true
        },
        whenReady: setImmediate,
        end: resolve,
      })
      const abort = (): void => {
        stop()
        resolve()
      }
      if (signal.aborted) abort()
      else signal.addEventListener('abort', abort, { once: true })
    })
  }

  async #answer(request: ApiRequest): ReturnType<Handler> {
    try {
      return await this.#handler(request)
    } catch (error) {
      return errorResponse(error)
    }
  }

  #make(method: string, path: string, body: unknown, options: InProcessRequestOptions): ApiRequest {
    const url = new URL(path, 'https://in-process')
    return {
      method,
      path: url.pathname,
      query: url.searchParams,
      headers: {
        'content-type': options.contentType ?? 'application/json',
        'user-agent': this.#userAgent,
        ...options.headers,
      },
      body: Buffer.from(body === undefined ? '' : JSON.stringify(body)),
      user: controllerUser,
    }
  }
}

const parseBody = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
