// A server of tiny kinds for one test: listening on loopback, with an HTTP client that knows its token.

import { mkdtemp, rm } from 'node:fs/promises'
import { request as httpsRequest } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ensureCertificates } from '../../../../src/sandbox/apiserver/certificates.ts'
import {
  type ApiServer,
  type ApiServerOptions,
  createApiServer,
} from '../../../../src/sandbox/apiserver/server.ts'
import { tinyKinds } from './tiny-kinds.ts'

export const token = 'test-token'

export interface Reply {
  status: number
  headers: Record<string, string | string[] | undefined>
  // biome-ignore lint/suspicious/noExplicitAny: a test reads whatever JSON the server sends
  body: any
}

export interface TestServer {
  server: ApiServer
  port: number
  ca: string
  send(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Reply>
  /** Lines of a watch as they come, until closed. */
  watch(path: string, headers?: Record<string, string>): Promise<WatchReader>
  close(): Promise<void>
}

export class WatchReader {
  // biome-ignore lint/suspicious/noExplicitAny: a test reads whatever JSON the server sends
  readonly events: any[] = []
  ended = false
  close: () => void = () => undefined
  #wakers: (() => void)[] = []

  wake(): void {
    for (const waker of this.#wakers.splice(0)) waker()
  }

  /** Resolves once `count` events have come, or the stream ended. */
  async until(count: number): Promise<typeof this.events> {
    while (this.events.length < count && !this.ended)
      await new Promise<void>((resolve) => this.#wakers.push(resolve))
    return this.events
  }
}

let certificates: ReturnType<typeof ensureCertificates> | undefined
const certificateDirectory = mkdtemp(join(tmpdir(), 'weir-apiserver-'))

/** Every test file of one process shares the certificates: making them costs more than a server. */
const sharedCertificates = async (): ReturnType<typeof ensureCertificates> => {
  certificates ??= ensureCertificates(await certificateDirectory)
  return certificates
}

export const removeCertificates = async (): Promise<void> =>
  rm(await certificateDirectory, { recursive: true, force: true })

export const startServer = async (options: Partial<ApiServerOptions> = {}): Promise<TestServer> => {
  const { ca, key, cert } = await sharedCertificates()
  const user = { name: 'tester', uid: '1', groups: ['system:masters'] }
  const server = await createApiServer({
    kinds: tinyKinds,
    tls: { key, cert },
    tokens: [{ token, user }],
    ...options,
  })
  const address = await server.listen({ host: '127.0.0.1', port: 0 })
  const port = address?.port ?? 0
  const base = { host: '127.0.0.1', port, ca }
  const open = (method: string, path: string, headers: Record<string, string>) =>
    httpsRequest({
      ...base,
      method,
      path,
      headers: { authorization: `Bearer ${token}`, ...headers },
      agent: false,
    })

  const send: TestServer['send'] = (method, path, body, headers = {}) =>
    new Promise((resolve, reject) => {
      const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body)
      const length = String(Buffer.byteLength(text))
      const type = text === '' ? {} : { 'content-type': 'application/json', 'content-length': length }
      const request = open(method, path, { ...type, ...headers })
      request.on('error', reject)
      request.on('response', (incoming) => {
        let received = ''
        incoming.setEncoding('utf8')
        incoming.on('data', (chunk: string) => {
          received += chunk
        })
        incoming.on('end', () => {
          const isJson = incoming.headers['content-type']?.includes('json')
          resolve({
            status: incoming.statusCode ?? 0,
            headers: incoming.headers,
            body: isJson ? JSON.parse(received) : received,
          })
        })
      })
      request.end(text)
    })

  const watch: TestServer['watch'] = (path, headers = {}) =>
    new Promise((resolve, reject) => {
      const request = open('GET', path, headers)
      request.on('error', reject)
      request.on('response', (incoming) => {
        const reader = new WatchReader()
        reader.close = () => request.destroy()
        let rest = ''
        incoming.setEncoding('utf8')
        incoming.on('data', (chunk: string) => {
          const lines = (rest + chunk).split('\n')
          rest = lines.pop() ?? ''
          for (const line of lines) reader.events.push(JSON.parse(line))
          reader.wake()
        })
        incoming.on('error', () => undefined)
        incoming.on('close', () => {
          reader.ended = true
          reader.wake()
        })
        request.removeAllListeners('error')
        request.on('error', () => undefined)
        resolve(reader)
      })
      request.end()
    })

  return { server, port, ca, send, watch, close: () => server.close() }
}
