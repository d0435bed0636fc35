// What the well-known agnhost image does for `netexec`: a small HTTP and UDP server that tells who answered and who asked,
// so that manifests written for upstream Service tests work in the rack. One process per container, so it is kept small:
// plain Node, four built-in modules, nothing of Weir.
//
// HTTP: /, /hostname, /clientip, /echo?msg=&code=, /header?key=, /healthz, /exit?code=&timeout=&wait=.
// UDP: `hostname`, `clientip`, `echo TEXT`. Left out, and answered 404: /shell, /dial, /upload, /redirect, SCTP.
// On SIGTERM it goes on serving, as the original does while its --delay-shutdown lasts; a terminating endpoint that still
// serves is what Kubernetes expects of it. It ends when the delay is over; without one, at the end of the grace period given in
// WEIR_GRACE_SECONDS less a little, or at once when asked by `--delay-shutdown=0`.

import { createSocket } from 'node:dgram'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { hostname as systemHostname } from 'node:os'

interface Options {
  httpPort: number
  udpPort: number
  hostname: string
  delayShutdownMs: number
}

const HTTP_PORT = 8080
const UDP_PORT = 8081
/** Leaves before SIGKILL would come, so that the exit status is 0. */
const BEFORE_KILL_MS = 500
const GRACE_SECONDS = 30

const options = parseOptions(process.argv.slice(2))
const startedMs = Date.now()

function parseOptions(args: readonly string[]): Options {
  const flags = new Map<string, string>()
  for (let index = 0; index < args.length; index++) {
    const match = /^--?([a-z-]+)(?:=(.*))?$/.exec(args[index] ?? '')
    if (!match) continue
    // Both `--http-port=80` and `--http-port 80` are written in manifests.
    flags.set(match[1] ?? '', match[2] ?? args[++index] ?? '')
  }
  const port = (name: string, fallback: number) => (flags.has(name) ? Number(flags.get(name)) : fallback)
  const graceMs = Number(process.env['WEIR_GRACE_SECONDS'] ?? GRACE_SECONDS) * 1000
  const delay = flags.get('delay-shutdown')
  return {
    httpPort: port('http-port', HTTP_PORT),
    udpPort: port('udp-port', UDP_PORT),
    hostname: flags.get('hostname') ?? process.env['HOSTNAME'] ?? systemHostname(),
    delayShutdownMs: delay === undefined ? Math.max(0, graceMs - BEFORE_KILL_MS) : Number(delay) * 1000,
  }
}

/** `address:port` as Go prints it: IPv6 in brackets, an IPv4 client of the dual-stack socket as IPv4. */
function endpoint(address: string, port: number): string {
  const plain = address.startsWith('::ffff:') ? address.slice('::ffff:'.length) : address
  return plain.includes(':') ? `[${plain}]:${port}` : `${plain}:${port}`
}

function clientOf(request: IncomingMessage): string {
  return endpoint(request.socket.remoteAddress ?? '', request.socket.remotePort ?? 0)
}

function answer(request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url ?? '/', 'http://x')
  const say = (text: string, status = 200) => {
    response.writeHead(status, {
      'content-type': 'text/plain; charset=utf-8',
      'content-length': Buffer.byteLength(text),
    })
    response.end(text)
  }
  switch (url.pathname) {
    case '/':
      say(`NOW: ${new Date().toISOString()}`)
      break
    case '/hostname':
    case '/hostName':
      say(options.hostname)
      break
    case '/clientip':
      say(clientOf(request))
      break
    case '/echo':
      say(url.searchParams.get('msg') ?? '', Number(url.searchParams.get('code') || 200))
      break
    case '/header':
      say(headerOf(request, url.searchParams.get('key') ?? ''))
      break
    case '/healthz':
      say('')
      break
    case '/exit':
      say('')
      setTimeout(
        () => process.exit(Number(url.searchParams.get('code') || 0)),
        durationMs(url.searchParams.get('wait')),
      )
      break
    default:
      say('404 page not found\n', 404)
  }
}

/** Go keeps Host apart from the headers, so the original answers nothing for it. */
function headerOf(request: IncomingMessage, key: string): string {
  if (key.toLowerCase() === 'host') return ''
  const value = request.headers[key.toLowerCase()]
  return Array.isArray(value) ? (value[0] ?? '') : (value ?? '')
}

/** Go's short duration forms: `500ms`, `2s`, `1m`. */
function durationMs(text: string | null): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m)$/.exec(text ?? '')
  if (!match) return 0
  return Number(match[1]) * ({ ms: 1, s: 1000, m: 60_000 }[match[2] ?? 'ms'] ?? 1)
}

/** Undefined: nothing is sent back, as the original does for what it does not know. It reads all text in lower case. */
function answerDatagram(text: string, client: string): string | undefined {
  const received = text.trim().toLowerCase()
  if (received === 'hostname') return options.hostname
  if (received === 'clientip') return client
  return received.startsWith('echo ') ? received.slice('echo '.length) : undefined
}

const http = createServer(answer)
// Upstream clients reuse connections; the default of 5 s would race with their next request.
http.keepAliveTimeout = 60_000
// '::' without IPV6_V6ONLY serves both families.
http.listen(options.httpPort, '::')

if (options.udpPort > 0) {
  // A second socket per family, for a reply from a dual-stack UDP socket would carry a mapped source that cgroup hooks see as IPv6.
  for (const type of ['udp4', 'udp6'] as const) {
    const socket = createSocket({ type, ipv6Only: type === 'udp6' })
    socket.on('message', (data, sender) => {
      const reply = answerDatagram(data.toString('utf8'), endpoint(sender.address, sender.port))
      if (reply !== undefined) socket.send(reply, sender.port, sender.address)
    })
    socket.bind(options.udpPort)
  }
}

process.stdout.write(
  `netexec: HTTP ${options.httpPort}, UDP ${options.udpPort}, up ${Date.now() - startedMs} ms\n`,
)

process.on('SIGTERM', () => {
  process.stdout.write(`netexec: SIGTERM, serving on for ${options.delayShutdownMs} ms\n`)
  setTimeout(() => process.exit(0), options.delayShutdownMs)
})
