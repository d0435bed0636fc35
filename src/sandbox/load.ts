// A small HTTP load for the rack's clients: `node load.ts --url URL …` run inside a client's network namespace. Every request
// is a TCP connection of its own, as new visitors' are, unless --keep-alive. Prints one JSON document at the end.
// Bounded in rate, concurrency and time, and stops by itself.
//
// Written on node:net and not node:http, because at a thousand connections a second the client must cost less than what it
// measures.

import { connect } from 'node:net'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'

export interface LoadOptions {
  readonly url: URL
  /** Requests begun per second; undefined: as fast as `concurrency` allows. */
  readonly rate: number | undefined
  readonly concurrency: number
  readonly durationMs: number
  /** Ends after so many requests even before the time is over. */
  readonly requestsMax: number
  readonly timeoutMs: number
  readonly keepAlive: boolean
}

export interface LoadFailure {
  /** Since the epoch, when the request began. */
  readonly atMs: number
  readonly reason: string
}

export interface LoadReport {
  readonly started: number
  readonly answered: number
  readonly failures: readonly LoadFailure[]
  /** Answers that took longer than SLOW_MS: a SYN that was lost and sent again, or a process that had to wait. */
  readonly slow: number
  /** Answers by body: with `/hostname`, by pod. */
  readonly byBody: Readonly<Record<string, number>>
  readonly beganMs: number
  readonly seconds: number
  readonly latencyMs: { readonly p50: number; readonly p99: number; readonly max: number }
}

const FAILURES_KEPT = 1000
const SLOW_MS = 900
const BODY_KEPT_CHARS = 200

class Load {
  readonly #options: LoadOptions
  readonly #latencies: number[] = []
  readonly #failures: LoadFailure[] = []
  readonly #byBody = new Map<string, number>()
  #started = 0
  #answered = 0
  #open = 0

  constructor(options: LoadOptions) {
    this.#options = options
  }

  async run(): Promise<LoadReport> {
    const beganMs = Date.now()
    const began = performance.now()
    const endsAt = began + this.#options.durationMs
    if (this.#options.rate === undefined) await this.#runClosed(endsAt)
    else await this.#runPaced(this.#options.rate, began, endsAt)
    return this.#report(beganMs, (performance.now() - began) / 1000)
  }

  /** Each of `concurrency` workers begins the next request when its last one ended. */
  async #runClosed(endsAt: number): Promise<void> {
    const worker = async () => {
      while (performance.now() < endsAt && this.#started < this.#options.requestsMax) {
        if (this.#options.keepAlive) await this.#session(endsAt)
        else await this.#request()
      }
    }
    await Promise.all(Array.from({ length: this.#options.concurrency }, worker))
  }

  /** Begins requests on a schedule, whatever became of the ones before, so that a stall shows as failures and not as a pause. */
  async #runPaced(rate: number, began: number, endsAt: number): Promise<void> {
    const pending = new Set<Promise<void>>()
    while (performance.now() < endsAt && this.#started < this.#options.requestsMax) {
      const due = Math.floor(((performance.now() - began) / 1000) * rate) + 1
      while (
        this.#started < Math.min(due, this.#options.requestsMax) &&
        this.#open < this.#options.concurrency
      ) {
        const request = this.#request().finally(() => pending.delete(request))
        pending.add(request)
      }
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    await Promise.all(pending)
  }

  /** One request on a connection of its own. Never rejects. */
  #request(): Promise<void> {
    return this.#converse(() => false)
  }

  /** Requests one after another on one connection until the time is over. */
  #session(endsAt: number): Promise<void> {
    return this.#converse(() => performance.now() < endsAt && this.#started < this.#options.requestsMax)
  }

  #converse(another: () => boolean): Promise<void> {
    const { url, timeoutMs, keepAlive } = this.#options
    const host = url.hostname.replace(/^\[|\]$/g, '')
    const port = Number(url.port || 80)
    const persistence = keepAlive ? 'keep-alive' : 'close'
    const text = `GET ${url.pathname} HTTP/1.1\r\nHost: ${url.host}\r\nConnection: ${persistence}\r\n\r\n`
    return new Promise((resolve) => {
      let begun = { atMs: 0, at: 0 }
      let received = ''
      let waiting = true
      const socket = connect({ host, port, noDelay: true })
      this.#open += 1
      const begin = () => {
        begun = { atMs: Date.now(), at: performance.now() }
        received = ''
        waiting = true
        this.#started += 1
        socket.write(text)
      }
      const finish = (reason: string | undefined) => {
        if (waiting && reason !== undefined) this.#fail(begun.atMs, reason)
        waiting = false
        socket.destroy()
      }
      begin()
      socket.setTimeout(timeoutMs, () => finish(`no answer within ${timeoutMs} ms`))
      socket.on('data', (chunk) => {
        received += chunk.toString('latin1')
        const body = wholeBody(received)
        if (body === undefined) return
        this.#succeed(performance.now() - begun.at, body)
        waiting = false
        if (another()) begin()
        // Else the server ends the connection, which was asked to: whoever ends it first keeps the port for a minute (TIME_WAIT), and
        // once half of a client's 28 000 are kept, each connect() looks through all of them, for milliseconds.
        else if (keepAlive) socket.destroy()
      })
      socket.on('error', (error: NodeJS.ErrnoException) => finish(error.code ?? error.message))
      socket.on('end', () => finish('closed before the whole answer'))
      socket.on('close', () => {
        this.#open -= 1
        resolve()
      })
    })
  }

  #succeed(latencyMs: number, body: string): void {
    this.#answered += 1
    this.#latencies.push(latencyMs)
    const key = body.trim().slice(0, BODY_KEPT_CHARS)
    this.#byBody.set(key, (this.#byBody.get(key) ?? 0) + 1)
  }

  #fail(atMs: number, reason: string): void {
    if (this.#failures.length < FAILURES_KEPT) this.#failures.push({ atMs, reason })
  }

  #report(beganMs: number, seconds: number): LoadReport {
    const sorted = this.#latencies.sort((a, b) => a - b)
    const at = (share: number) =>
      Number((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(2))
    return {
      started: this.#started,
      answered: this.#answered,
      failures: this.#failures,
      slow: sorted.filter((latency) => latency > SLOW_MS).length,
      byBody: Object.fromEntries([...this.#byBody].sort(([a], [b]) => (a < b ? -1 : 1))),
      beganMs,
      seconds: Number(seconds.toFixed(3)),
      latencyMs: { p50: at(0.5), p99: at(0.99), max: at(1) },
    }
  }
}

/** The body once it is complete by Content-Length or chunked coding; undefined before. A status other than 200 is part of it. */
function wholeBody(received: string): string | undefined {
  const headEnd = received.indexOf('\r\n\r\n')
  if (headEnd < 0) return undefined
  const head = received.slice(0, headEnd)
  const rest = received.slice(headEnd + 4)
  const status = head.slice(9, 12)
  const length = /^content-length: *(\d+)/im.exec(head)?.[1]
  let body: string | undefined
  if (length !== undefined) body = rest.length >= Number(length) ? rest.slice(0, Number(length)) : undefined
  else if (/^transfer-encoding: *chunked/im.test(head)) body = wholeChunks(rest)
  if (body === undefined) return undefined
  return status === '200' ? body : `status ${status} ${body}`
}

function wholeChunks(text: string): string | undefined {
  let body = ''
  for (let at = 0; ; ) {
    const lineEnd = text.indexOf('\r\n', at)
    if (lineEnd < 0) return undefined
    const size = Number.parseInt(text.slice(at, lineEnd), 16)
    if (size === 0) return text.length >= lineEnd + 4 ? body : undefined
    if (text.length < lineEnd + 2 + size + 2) return undefined
    body += text.slice(lineEnd + 2, lineEnd + 2 + size)
    at = lineEnd + 2 + size + 2
  }
}

export function runLoad(options: LoadOptions): Promise<LoadReport> {
  return new Load(options).run()
}

function optionsFromArguments(args: readonly string[]): LoadOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      url: { type: 'string' },
      rate: { type: 'string' },
      concurrency: { type: 'string', default: '64' },
      seconds: { type: 'string', default: '5' },
      requests: { type: 'string', default: '1000000' },
      'timeout-ms': { type: 'string', default: '2000' },
      'keep-alive': { type: 'boolean', default: false },
    },
  })
  if (values.url === undefined)
    throw new TypeError('--url is missing: name what to ask, like http://203.0.113.1/hostname')
  return {
    url: new URL(values.url),
    rate: values.rate === undefined ? undefined : Number(values.rate),
    concurrency: Number(values.concurrency),
    durationMs: Number(values.seconds) * 1000,
    requestsMax: Number(values.requests),
    timeoutMs: Number(values['timeout-ms']),
    keepAlive: values['keep-alive'],
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const report = await runLoad(optionsFromArguments(process.argv.slice(2)))
  process.stdout.write(`${JSON.stringify(report)}\n`)
}
