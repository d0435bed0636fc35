// What the steps of the proof share: the rack, a real kubectl, requests from a client, and the agents' own counters.

import { request } from 'node:http'
import { fileURLToPath } from 'node:url'
import { demand, type Host, runAt, runIn } from '../host.ts'
import type { LoadReport } from '../load.ts'
import type { Rack } from '../rack.ts'
import { RackError } from '../rack-error.ts'

const LOAD_SCRIPT = fileURLToPath(new URL('../load.ts', import.meta.url))
const KUBECTL_FINDER = fileURLToPath(new URL('../../../tools/kubectl.mjs', import.meta.url))
const KUBECTL_MS = 60_000

/** One line of the result: what was asked, whether it holds, and what was seen. */
export interface Finding {
  readonly claim: string
  readonly holds: boolean
  readonly seen: string
  /** Further lines, printed below. */
  readonly details?: readonly string[]
}

export interface ProofContext {
  readonly rack: Rack
  /** `kubectl` where PATH has one, else the path of the one that came with the development packages. */
  readonly kubectlProgram: string
  /** Runs kubectl against the rack; throws with what it said when it fails. */
  readonly kubectl: (...args: readonly string[]) => Promise<string>
  /** The sample Service's addresses. */
  readonly service: SampleService
}

export interface SampleService {
  readonly vips: readonly string[]
  readonly clusterIps: readonly string[]
  readonly pods: readonly { readonly name: string; readonly node: string }[]
}

export async function findKubectl(): Promise<string> {
  return (await demand({}, [process.execPath, KUBECTL_FINDER])).trim()
}

export function kubectlFor(rack: Rack, program: string): ProofContext['kubectl'] {
  return async (...args) => {
    const options = { env: { KUBECONFIG: rack.kubeconfig }, timeoutMs: KUBECTL_MS }
    const result = await runAt({}, [program, ...args], options)
    if (result.status === 0) return result.stdout
    throw new RackError(
      'command-failed',
      `kubectl ${args.join(' ')}: ${result.stderr.trim()}`,
      "see 'weir sandbox logs control'",
    )
  }
}

/** `http://203.0.113.1/path`, `http://[2001:db8::1]/path`. */
export function urlOf(address: string, path: string): string {
  return `http://${address.includes(':') ? `[${address}]` : address}${path}`
}

/** Requests by the load generator inside a host's network namespace. */
export async function loadFrom(host: Host, url: string, args: readonly string[]): Promise<LoadReport> {
  const timeoutMs = 60_000
  const result = await runIn(host, [process.execPath, LOAD_SCRIPT, '--url', url, ...args], { timeoutMs })
  if (result.status !== 0) {
    throw new RackError(
      'command-failed',
      `the load generator on ${host.name} failed: ${result.stderr.trim()}`,
      'see above',
    )
  }
  return JSON.parse(result.stdout) as LoadReport
}

/** GET on a node's agent, through its Unix socket. */
export function askAgent<T>(rack: Rack, node: string, path: string): Promise<T> {
  const socketPath = `${rack.host(node).directory}/agent.sock`
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, path, timeout: 2000 }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        text += chunk
      })
      response.on('end', () => {
        if (response.statusCode === 200) resolve(JSON.parse(text) as T)
        else
          reject(
            new RackError(
              'command-failed',
              `the agent of ${node} answered ${response.statusCode}: ${text.trim()}`,
              `see 'weir sandbox logs ${node}'`,
            ),
          )
      })
    })
    call.on('error', reject)
    call.end()
  })
}

/** Packets by reason on each node, from the datapath's own counters. */
export type Counters = Readonly<Record<string, { readonly packets: number; readonly bytes: number }>>

export async function countersOf(rack: Rack): Promise<Map<string, Counters>> {
  const rows = await Promise.all(
    rack.plan.nodes.map(
      async ({ name }) => [name, await askAgent<Counters>(rack, name, '/v1/metrics')] as const,
    ),
  )
  return new Map(rows)
}

export function packets(counters: Counters | undefined, ...reasons: readonly string[]): number {
  return reasons.reduce((sum, reason) => sum + (counters?.[reason]?.packets ?? 0), 0)
}
