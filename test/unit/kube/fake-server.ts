// A small real HTTP server that speaks list and watch for one collection, and misbehaves on command.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { ApiObject } from '../../../src/kube/objects.ts'

export interface FakeServer {
  url: string
  port: number
  /** Every request seen: method and URL. */
  requests: { method: string; url: string; headers: IncomingMessage['headers']; body: string }[]
  watches: Set<ServerResponse>
  /** What it makes of sendInitialEvents; `ignored`: a server that does not know it. */
  streaming: 'served' | 'refused' | 'ignored'
  /** Answers instead of the server while it returns true. */
  intercept: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined
  set(object: { name: string; [field: string]: unknown }): void
  remove(name: string): void
  /** Changes the store without telling any watch, as if events were lost. */
  setSilently(object: { name: string; [field: string]: unknown }): void
  removeSilently(name: string): void
  send(event: unknown): void
  close(): Promise<void>
}

export async function fakeServer(port = 0): Promise<FakeServer> {
  const objects = new Map<string, ApiObject>()
  let version = 100
  let uid = 0
  const watches = new Set<ServerResponse>()

  const store = ({ name, ...fields }: { name: string; [field: string]: unknown }) => {
    version++
    const before = objects.get(name)
    const object = {
      ...fields,
      metadata: {
        name,
        namespace: 'default',
        uid: before?.metadata.uid ?? `u${++uid}`,
        resourceVersion: String(version),
      },
    }
    objects.set(name, object)
    return { type: before === undefined ? 'ADDED' : 'MODIFIED', object }
  }
  const drop = (name: string) => {
    const object = objects.get(name) as ApiObject
    objects.delete(name)
    version++
    return {
      type: 'DELETED',
      object: { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } },
    }
  }

  const list = (url: URL, response: ServerResponse) => {
    const all = [...objects.values()].sort((a, b) =>
      (a.metadata.name ?? '') < (b.metadata.name ?? '') ? -1 : 1,
    )
    const start = Number(url.searchParams.get('continue') ?? 0)
    const limit = Number(url.searchParams.get('limit') ?? all.length)
    const items = all.slice(start, start + limit)
    const next = start + limit < all.length ? String(start + limit) : undefined
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ metadata: { resourceVersion: String(version), continue: next }, items }))
  }

  const stream = (response: ServerResponse) => {
    const line = (event: unknown) => response.write(`${JSON.stringify(event)}\n`)
    for (const object of objects.values()) line({ type: 'ADDED', object })
    const annotations = { 'k8s.io/initial-events-end': 'true' }
    line({ type: 'BOOKMARK', object: { metadata: { resourceVersion: String(version), annotations } } })
  }

  const server: Server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk) => {
      body += chunk
    })
    request.on('end', () => {
      fake.requests.push({
        method: request.method ?? '',
        url: request.url ?? '',
        headers: request.headers,
        body,
      })
      if (fake.intercept?.(request, response) === true) return
      const url = new URL(request.url ?? '', 'http://x')
      if (url.searchParams.get('watch') !== 'true') {
        list(url, response)
        return
      }
      const isStreamed = url.searchParams.get('sendInitialEvents') === 'true'
      if (isStreamed && fake.streaming === 'refused') {
        const reason = {
          kind: 'Status',
          code: 422,
          reason: 'Invalid',
          message: 'sendInitialEvents: Forbidden',
        }
        response.writeHead(422, { 'content-type': 'application/json' }).end(JSON.stringify(reason))
        return
      }
      response.writeHead(200, { 'content-type': 'application/json' })
      response.flushHeaders()
      if (isStreamed && fake.streaming === 'served') stream(response)
      watches.add(response)
      response.on('close', () => watches.delete(response))
    })
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  const bound = (server.address() as AddressInfo).port

  const fake: FakeServer = {
    url: `http://127.0.0.1:${bound}`,
    port: bound,
    requests: [],
    watches,
    intercept: undefined,
    streaming: 'served',
    set: (object) => fake.send(store(object)),
    remove: (name) => fake.send(drop(name)),
    setSilently: (object) => void store(object),
    removeSilently: (name) => void drop(name),
    send: (event) => {
      for (const watch of watches) watch.write(`${JSON.stringify(event)}\n`)
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
  return fake
}

/** Waits for a condition, looking every 2 ms. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  withinMs = 3_000,
): Promise<void> {
  const deadline = Date.now() + withinMs
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`waited in vain for: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}
