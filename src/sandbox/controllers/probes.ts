// Readiness, liveness and startup probes. HTTP and TCP probes connect from inside the pod's namespace without a process there: the
// socket is made inside and connected from here, so a probe costs what a request costs. Exec probes run in the pod's place.
// A probe counts successes and failures against its thresholds and reports when the verdict turns.

import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Container, Probe } from '../../kube/objects.ts'
import { AF_INET, AF_INET6 } from '../../sys/libc/addresses.ts'
import { withNetworkNamespace } from '../../sys/libc/namespaces.ts'
import { openSocket, SOCK_STREAM } from '../../sys/libc/sockets.ts'
import { runAt } from '../host.ts'
import { namespacePath } from '../names.ts'
import type { Place } from '../process.ts'

export interface ProbeTarget {
  place: Place
  /** Address of the pod that is probed. */
  address: string
  container: Container
  env: Readonly<Record<string, string>>
}

export interface RunningProbe {
  stop(): void
}

/**
 * Before its first success a probe without an initial delay looks this often, at most so many times, on top of its period: kubelet too
 * looks at once, and a rack comes up in seconds only if nobody waits for a period of ten.
 */
const EAGER_MS = 100
const EAGER_TRIES = 40

/** Calls `onVerdict` with true or false whenever the thresholds are reached the other way round. */
export function startProbe(
  probe: Probe,
  target: ProbeTarget,
  onVerdict: (good: boolean) => void,
): RunningProbe {
  const { periodSeconds = 10, initialDelaySeconds = 0, failureThreshold = 3, successThreshold = 1 } = probe
  let timer: NodeJS.Timeout | undefined
  let stopped = false
  let successes = 0
  let failures = 0
  let eagerTries = initialDelaySeconds === 0 ? EAGER_TRIES : 0
  let verdict: boolean | undefined

  const look = async () => {
    const good = await runProbe(probe, target)
    if (stopped) return
    const eager = verdict === undefined && !good && eagerTries-- > 0
    if (good) {
      successes++
      failures = 0
    } else if (!eager) {
      failures++
      successes = 0
    }
    if (good && successes >= successThreshold && verdict !== true) turn(true)
    if (!good && failures >= failureThreshold && verdict !== false) turn(false)
    // The verdict itself may have ended the probe.
    if (!stopped) timer = setTimeout(look, eager ? EAGER_MS : periodSeconds * 1000)
  }
  const turn = (good: boolean) => {
    verdict = good
    onVerdict(good)
  }
  timer = setTimeout(look, initialDelaySeconds * 1000)
  return {
    stop: () => {
      stopped = true
      clearTimeout(timer)
    },
  }
}

async function runProbe(probe: Probe, target: ProbeTarget): Promise<boolean> {
  const timeoutMs = (probe.timeoutSeconds ?? 1) * 1000
  try {
    if (probe.exec !== undefined) {
      const { status } = await runAt(target.place, probe.exec.command ?? [], { timeoutMs, env: target.env })
      return status === 0
    }
    if (probe.tcpSocket !== undefined) {
      const socket = connectInside(
        target,
        probe.tcpSocket.host,
        portOf(target.container, probe.tcpSocket.port),
      )
      return await connects(socket, timeoutMs)
    }
    if (probe.httpGet !== undefined) return await answersHttp(probe.httpGet, target, timeoutMs)
  } catch {
    // No socket, no namespace any more, no such command: the probe failed.
    return false
  }
  return true
}

function portOf(container: Container, port: number | string): number {
  if (typeof port === 'number') return port
  return container.ports?.find(({ name }) => name === port)?.containerPort ?? Number(port)
}

/** A connection that begins inside the pod's namespace. */
function connectInside(target: ProbeTarget, host: string | undefined, port: number): Socket {
  const address = host ?? target.address
  const family = address.includes(':') ? AF_INET6 : AF_INET
  const { namespace } = target.place
  const open = () => openSocket(family, SOCK_STREAM)
  const fd = namespace === undefined ? open() : withNetworkNamespace(namespacePath(namespace), open)
  const socket = new Socket({
    fd,
    readable: true,
    writable: true,
    manualStart: true,
  } as ConstructorParameters<typeof Socket>[0])
  socket.on('error', () => {})
  return socket.connect({ host: address, port })
}

function connects(socket: Socket, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const end = (good: boolean) => {
      socket.destroy()
      resolve(good)
    }
    socket.setTimeout(timeoutMs, () => end(false))
    socket.once('connect', () => end(true))
    socket.once('error', () => end(false))
  })
}

function answersHttp(
  action: NonNullable<Probe['httpGet']>,
  target: ProbeTarget,
  timeoutMs: number,
): Promise<boolean> {
  const port = portOf(target.container, action.port)
  const headers: Record<string, string> = { 'user-agent': 'kube-probe/weir', connection: 'close' }
  for (const { name, value } of action.httpHeaders ?? []) headers[name.toLowerCase()] = value
  const isSecure = action.scheme === 'HTTPS'
  const connection = (): Socket => {
    const socket = connectInside(target, action.host, port)
    // Whose certificate it is does not matter to a probe, as to kubelet.
    return isSecure ? connectTls({ socket, rejectUnauthorized: false }) : socket
  }
  return new Promise((resolve) => {
    const outgoing = (isSecure ? httpsRequest : httpRequest)({
      createConnection: connection,
      host: target.address,
      port,
      path: action.path || '/',
      headers,
      timeout: timeoutMs,
    })
    const deadline = setTimeout(() => outgoing.destroy(new Error('too late')), timeoutMs)
    const end = (good: boolean) => {
      clearTimeout(deadline)
      resolve(good)
    }
    outgoing.once('error', () => end(false))
    outgoing.once('response', (response) => {
      const status = response.statusCode ?? 0
      response.resume()
      end(status >= 200 && status < 400)
    })
    outgoing.end()
  })
}
