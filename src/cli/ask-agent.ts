// What commands for the node have in common: they ask the agent of this node through its socket, and print the answer as a
// table or, with -o json, as it came.

import { request } from 'node:http'
import type { ParseArgsOptionsConfig } from 'node:util'
import { PAGE_WIDTH } from '../model/text-table.ts'
import { UsageError } from './options.ts'

/** Where the agent of manifests/base listens. */
const SOCKET_DEFAULT = '/run/weir/agent.sock'
const TIMEOUT_MS = 10_000

export const AGENT_OPTIONS = {
  socket: { type: 'string' },
  output: { type: 'string', short: 'o' },
  help: { type: 'boolean', short: 'h' },
} as const satisfies ParseArgsOptionsConfig

export const AGENT_OPTIONS_HELP = `  -o json          as JSON
  --socket PATH    the agent's socket (default: $WEIR_SOCKET, else ${SOCKET_DEFAULT})
`

export interface AgentOptions {
  readonly socket?: string | undefined
  readonly output?: string | undefined
}

export class AgentError extends Error {
  readonly code: 'NO_AGENT' | 'REFUSED'
  constructor(code: AgentError['code'], message: string, cause?: unknown) {
    super(message, { cause })
    this.code = code
  }
}

/** Asks the agent of this node. Throws AgentError. */
export function askAgent<T>(options: AgentOptions, path: string): Promise<T> {
  return exchange<T>(options, { method: 'GET', path })
}

/** Tells the agent of this node to do something. Throws AgentError, with the agent's words where it refuses. */
export function tellAgent<T>(options: AgentOptions, path: string, body = ''): Promise<T> {
  return exchange<T>(options, { method: 'POST', path, body })
}

interface Asked {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly body?: string
}

async function exchange<T>({ socket }: AgentOptions, asked: Asked): Promise<T> {
  const socketPath = socket ?? process.env['WEIR_SOCKET'] ?? SOCKET_DEFAULT
  const { status, body } = await send(socketPath, asked).catch((error: NodeJS.ErrnoException) => {
    throw new AgentError(
      'NO_AGENT',
      `no agent answers on ${socketPath} (${error.code ?? error.message}). Mend: run this on a node with a running agent, as root; --socket names another place, STATE_DIRECTORY/agent.sock`,
    )
  })
  const answer = JSON.parse(body) as T & { error?: string }
  if (status !== 200) throw new AgentError('REFUSED', answer.error ?? `the agent answered ${status}`)
  return answer
}

/** The terminal's, or what people read: for a pipe as for a page. */
export function pageWidth({
  isTTY,
  columns,
}: {
  readonly isTTY?: boolean
  readonly columns?: number
}): number {
  return isTTY && columns !== undefined && columns > 0 ? columns : PAGE_WIDTH
}

/**
 * Prints the answer as it was asked for.
 * @param asText for a page of that width
 * @param asWide of answers that have more columns than fit
 */
export function printAnswer<T>(
  { output = 'table' }: AgentOptions,
  answer: T,
  asText: (answer: T, width: number) => string,
  asWide?: (answer: T) => string,
): void {
  const asJson = () => `${JSON.stringify(answer, undefined, 2)}\n`
  const writers = {
    json: asJson,
    table: () => asText(answer, pageWidth(process.stdout)),
    ...(asWide ? { wide: () => asWide(answer) } : {}),
  }
  checkOutput(output, Object.keys(writers))
  process.stdout.write(writers[output as keyof typeof writers]?.() ?? '')
}

export function checkOutput(output: string, known: readonly string[]): void {
  if (known.includes(output)) return
  const outputs = known.map((name) => `-o ${name}`)
  throw new UsageError(`there is no output '${output}'. Mend: ${outputs.join(' or ')}`)
}

function send(socketPath: string, what: Asked): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const { method, path } = what
    const asked = request({ socketPath, method, path, timeout: TIMEOUT_MS }, (response) => {
      const parts: Buffer[] = []
      response.on('data', (part: Buffer) => parts.push(part))
      response.on('error', reject)
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(parts).toString() }),
      )
    })
    asked.on('timeout', () => asked.destroy(new Error(`no answer in ${TIMEOUT_MS / 1000} s`)))
    asked.on('error', reject)
    asked.end(what.body)
  })
}
